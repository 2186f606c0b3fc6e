//! The Routed record: for a contiguous range of the log, which triggers each of its events is
//! owed to. Events that nobody wants are in the range and have no entry, so a restart matches
//! only what lies behind the last range.
//!
//! Body: range start varint | range length varint | entries {offset, as its distance from the
//! previous entry's (the range's start for the first) varint | count varint | numbers ascending,
//! the first as it is, each other as its distance from the one before, varints}.

use std::ops::Range;

use journal::{Offset, Record, Stored};

use super::wire::{self, Short, Take};
use super::{Malformed, Number, ROUTED, VERSION};

/// Collects one range's entries.
#[derive(Debug, Default)]
pub struct Routed {
    previous: Option<Offset>,
    entries: Vec<u8>,
}

impl Routed {
    /// Whether no event of the range is owed to anybody.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How large the record's body is so far.
    pub fn bytes(&self) -> usize {
        self.entries.len()
    }

    /// Adds an event of the range that begins at `start`, behind all added before, with its
    /// triggers in ascending order.
    pub fn push(&mut self, start: Offset, offset: Offset, numbers: &[Number]) {
        let previous = self.previous.unwrap_or(start);
        debug_assert!(previous <= offset);
        wire::put_varint(&mut self.entries, offset.0 - previous.0);
        wire::put_varint(&mut self.entries, numbers.len() as u64);
        let mut before = 0;
        for number in numbers {
            wire::put_varint(&mut self.entries, u64::from(number - before));
            before = *number;
        }
        self.previous = Some(offset);
    }

    /// The record of the range from `start` to before `end`.
    pub fn record(self, start: Offset, end: Offset) -> Record {
        let mut body = Vec::with_capacity(self.entries.len() + 20);
        wire::put_varint(&mut body, start.0);
        wire::put_varint(&mut body, end.0 - start.0);
        body.extend_from_slice(&self.entries);
        Record {
            kind: ROUTED,
            version: VERSION,
            tag: 0,
            body: body.into(),
        }
    }
}

/// Reads a Routed record: calls `each` with every event and its triggers, in order, and
/// returns the range.
///
/// # Errors
///
/// [`Malformed`] when the body isn't of this layout.
pub fn read(
    stored: &Stored,
    mut each: impl FnMut(Offset, &[Number]),
) -> Result<Range<Offset>, Malformed> {
    (|| -> Result<Range<Offset>, Short> {
        let mut take = Take::new(&stored.body);
        let start = take.varint("range start")?;
        let length = take.varint("range length")?;
        let end = start.checked_add(length).ok_or(Short("range length"))?;
        let mut offset = start;
        let mut numbers = Vec::new();
        while !take.is_empty() {
            offset = offset
                .checked_add(take.varint("offset")?)
                .ok_or(Short("offset"))?;
            let count: u32 = take.number("count")?;
            numbers.clear();
            let mut number: Number = 0;
            for _ in 0..count {
                number = number
                    .checked_add(take.number("number")?)
                    .ok_or(Short("number"))?;
                numbers.push(number);
            }
            each(Offset(offset), &numbers);
        }
        Ok(Offset(start)..Offset(end))
    })()
    .map_err(Malformed::at(stored.offset, ROUTED))
}
