//! What a source counts. Relaxed atomics that one worker writes and `/metrics` reads.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use super::refused::Reason;

/// The counters of one worker's source; since its start, never reset.
#[derive(Debug, Default)]
pub struct SourceStats {
    by_class: [AtomicU64; 6],
    refused: [AtomicU64; Reason::ALL.len()],
    events: AtomicU64,
    bytes: AtomicU64,
}

/// The counters as read at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceCounts {
    /// Requests answered, by the first digit of the status (index 2: 2xx).
    pub by_class: [u64; 6],
    /// Requests refused, by reason.
    pub refused: Vec<(Reason, u64)>,
    /// Events answered with 202.
    pub events: u64,
    /// Bytes of the bodies that carried them.
    pub bytes: u64,
}

impl SourceStats {
    /// Reads all counters.
    pub fn counts(&self) -> SourceCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SourceCounts {
            by_class: self.by_class.each_ref().map(read),
            refused: Reason::ALL
                .iter()
                .copied()
                .zip(self.refused.iter().map(read))
                .collect(),
            events: read(&self.events),
            bytes: read(&self.bytes),
        }
    }

    pub(super) fn answered(&self, status: StatusCode) {
        add(&self.by_class[usize::from(status.as_u16() / 100).min(5)], 1);
    }

    pub(super) fn refused(&self, reason: Reason) {
        add(&self.refused[reason as usize], 1);
    }

    pub(super) fn stored(&self, events: usize, bytes: usize) {
        add(&self.events, events as u64);
        add(&self.bytes, bytes as u64);
    }
}

/// One writer: a load and a store are enough, and no locked instruction is spent.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
