//! Sidecars: what each sealed segment of the log holds, in about a hundredth of its size.
//!
//! Replay and seeking by time go through a week of log, `explain` looks for one event in it. A
//! sidecar says which brokers have events in a segment, from when to when, and the hashes of their
//! (`source`, `id`), so that segments without what is looked for are skipped. It only ever says "not
//! in here": what it doesn't rule out is read. It is derived from its segment ([`build`]), so one
//! that is missing or damaged costs time and nothing else. Bytes: `docs/format.md`, Sidecar.

mod read;
mod tend;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use journal::{Journal, Offset, SegmentFacts, WallTime};

use crate::records::Number;

pub use read::Summary;
pub use write::{BuildError, build};

/// The hash by which sidecars know an event. Stable for ever: it is on disk.
///
/// FNV-1a, 64 bits, over the source's bytes, a byte 0xff (which UTF-8 never holds) and the id's,
/// finished as MurmurHash3's 64 bit finalizer does.
pub fn event_hash(source: &str, id: &str) -> u64 {
    let bytes = source.bytes().chain([0xff]).chain(id.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The sidecars of a log. Keeps their summaries (some 50 bytes a segment) and not their hashes.
/// Cheap to clone; clones share what they learnt.
#[derive(Clone)]
pub struct Sidecars {
    journal: Journal,
    known: Arc<Mutex<HashMap<u64, Arc<Summary>>>>,
}

impl Sidecars {
    /// Those of `journal`. Nothing is read yet.
    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            known: Arc::default(),
        }
    }

    /// Builds the sidecar of the newest sealed segment that has none, but for those `but`, if there
    /// is one. Reads that segment whole: blocking. Returns its sequence.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if the segment can't be read or the sidecar can't be written; what it would
    /// have ruled out is read until it can.
    pub fn build_one(&self, but: &HashSet<u64>) -> Result<Option<u64>, BuildError> {
        for segment in self.journal.segments().iter().rev() {
            let wanted = segment.sealed && !but.contains(&segment.sequence);
            if wanted && self.summary(segment).is_none() {
                build(&self.journal, segment)?;
                return Ok(Some(segment.sequence));
            }
        }
        Ok(None)
    }

    /// The first offset, `from` or later, at which an event of `broker` may stand; `from` when the
    /// log has nothing there. Reads the sidecars that weren't read yet: blocking.
    pub fn next_with(&self, from: Offset, broker: Number) -> Offset {
        let mut segments = self.journal.segments();
        segments.retain(|segment| from < segment.end);
        let may_hold = |segment: &&SegmentFacts| {
            let summary = self.summary(segment);
            summary.is_none_or(|summary| {
                summary.may_hold(WallTime(0), WallTime(u64::MAX), Some(broker))
            })
        };
        let first = segments.iter().find(may_hold).or(segments.last());
        first.map_or(from, |segment| segment.first.max(from))
    }

    /// The segments, oldest first, that may hold an event which arrived from `from` up to and
    /// without `to`, of `broker` if one is given. Those without a sidecar may. Reads the sidecars
    /// that weren't read yet: blocking.
    pub fn segments_between(
        &self,
        from: WallTime,
        to: WallTime,
        broker: Option<Number>,
    ) -> Vec<SegmentFacts> {
        let mut segments = self.journal.segments();
        segments.retain(|segment| {
            self.summary(segment)
                .is_none_or(|summary| summary.may_hold(from, to, broker))
        });
        segments
    }

    /// The segments, newest first, that may hold the event of this `source` and `id`. Reads all
    /// sidecars: blocking.
    pub fn segments_with(&self, source: &str, id: &str) -> Vec<SegmentFacts> {
        let hash = event_hash(source, id);
        let mut segments = self.journal.segments();
        segments.reverse();
        segments.retain(|segment| {
            let Some(content) = self.content(segment) else {
                return true;
            };
            read::holds_hash(&content, hash).unwrap_or(true)
        });
        segments
    }

    /// The first offset at which an event may stand that arrived at `time` or later: where reading
    /// from that time on begins. Exact to a segment.
    pub fn seek(&self, time: WallTime) -> Offset {
        let end = *self.journal.durable().borrow();
        let first = self
            .segments_between(time, WallTime(u64::MAX), None)
            .into_iter()
            .next();
        first.map_or(end, |segment| segment.first)
    }

    /// What the sidecar of a segment says; none without a readable one.
    pub fn summary(&self, segment: &SegmentFacts) -> Option<Arc<Summary>> {
        if !segment.sealed {
            return None;
        }
        let known = self.known().get(&segment.sequence).cloned();
        if known.is_some() {
            return known;
        }
        let content = self.content(segment)?;
        let summary = Arc::new(Summary::read(&content)?);
        if (summary.first, summary.end) != (segment.first, segment.end) {
            return None;
        }
        let oldest = self.journal.segments().first().map(|first| first.sequence);
        let mut known = self.known();
        known.retain(|sequence, _| oldest.is_none_or(|oldest| oldest <= *sequence));
        known.insert(segment.sequence, Arc::clone(&summary));
        Some(summary)
    }

    fn content(&self, segment: &SegmentFacts) -> Option<bytes::Bytes> {
        if !segment.sealed {
            return None;
        }
        // A disk that can't read it is met again when the segment itself is read.
        self.journal.read_side(segment.sequence).ok().flatten()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Summary>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
