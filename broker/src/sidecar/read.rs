//! Reading a sidecar: its summary, and whether a hash is among its hashes.

use journal::{Offset, WallTime};

use super::write::LAYOUT;
use crate::records::Number;
use crate::records::wire::Take;

/// What a sidecar says of its segment, without the hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The segment's first offset.
    pub first: Offset,
    /// The offset behind its last record.
    pub end: Offset,
    /// How many events it holds.
    pub events: u64,
    /// When the earliest of them arrived. Clocks step, so it needn't be the first.
    pub from: WallTime,
    /// When the latest of them arrived.
    pub to: WallTime,
    /// Numbers of the brokers that have events in it, ascending.
    pub brokers: Vec<Number>,
}

impl Summary {
    /// Reads what [`super::build`] wrote; none if it is of another layout.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        read(content).map(|(summary, _)| summary)
    }

    /// Whether an event may be in the segment that arrived from `from` up to and without `to`.
    pub fn may_hold(&self, from: WallTime, to: WallTime, broker: Option<Number>) -> bool {
        self.events != 0
            && from <= self.to
            && self.from < to
            && broker.is_none_or(|broker| self.brokers.binary_search(&broker).is_ok())
    }
}

/// Whether `hash` is among the hashes; none if the content is of another layout.
pub(super) fn holds_hash(content: &[u8], hash: u64) -> Option<bool> {
    let (_, hashes) = read(content)?;
    let hashes = hashes.as_chunks::<8>().0;
    Some(
        hashes
            .binary_search_by_key(&hash, |bytes| u64::from_le_bytes(*bytes))
            .is_ok(),
    )
}

/// The summary, and the bytes of the hashes.
fn read(content: &[u8]) -> Option<(Summary, &[u8])> {
    let mut take = Take::new(content);
    let mut word = || take.array("word").ok().map(u64::from_le_bytes);
    if word()? != LAYOUT {
        return None;
    }
    let (first, end) = (Offset(word()?), Offset(word()?));
    let (from, to) = (WallTime(word()?), WallTime(word()?));
    let (events, brokers) = (word()?, word()?);
    let mut summary = Summary {
        first,
        end,
        events,
        from,
        to,
        brokers: Vec::new(),
    };
    for _ in 0..brokers {
        summary
            .brokers
            .push(u32::from_le_bytes(take.array("broker").ok()?));
    }
    let hashes = take.rest();
    let whole = hashes.len() as u64 == events.checked_mul(8)?;
    whole.then_some((summary, hashes))
}
