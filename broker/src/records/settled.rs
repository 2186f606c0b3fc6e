//! The Settled record: deliveries that ended, many a record, each with what `explain` needs.
//!
//! Body: time u64 (ms since 1970) | entries {number varint | offset, as its signed distance from
//! the entry before (0 for the first), zigzag varint | outcome u8 | attempt varint | status
//! varint (0: none) | latency varint (ms) | settled, as its signed distance in ms from the
//! body's time, zigzag varint}.

use journal::{Offset, Record, Stored, WallTime};

use super::wire::{self, Short, Take};
use super::{Malformed, Number, Outcome, SETTLED, VERSION};

/// One delivery that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// Whose delivery; with [`super::FORWARD`] set, of its dead letter lane.
    pub number: Number,
    /// The event's offset; in a dead letter lane, the Dead record's.
    pub offset: Offset,
    /// How it ended.
    pub outcome: Outcome,
    /// The last attempt, counted from 1; 0 when none was made.
    pub attempt: u32,
    /// The last answer's status; 0 when nothing came back.
    pub status: u16,
    /// How long the last attempt took, in ms.
    pub latency_ms: u32,
    /// When it ended.
    pub at: WallTime,
}

/// Collects settlements for one record.
#[derive(Debug, Default)]
pub struct Settled {
    base: Option<WallTime>,
    previous: Offset,
    body: Vec<u8>,
    /// How many settlements are in it.
    pub count: usize,
}

impl Settled {
    /// Adds one.
    pub fn push(&mut self, settlement: Settlement) {
        let base = *self.base.get_or_insert_with(|| {
            self.body.extend_from_slice(&settlement.at.0.to_le_bytes());
            settlement.at
        });
        let body = &mut self.body;
        wire::put_varint(body, u64::from(settlement.number));
        wire::put_signed(
            body,
            settlement.offset.0.wrapping_sub(self.previous.0) as i64,
        );
        body.push(settlement.outcome.code());
        wire::put_varint(body, u64::from(settlement.attempt));
        wire::put_varint(body, u64::from(settlement.status));
        wire::put_varint(body, u64::from(settlement.latency_ms));
        wire::put_signed(body, settlement.at.0.wrapping_sub(base.0) as i64);
        self.previous = settlement.offset;
        self.count += 1;
    }

    /// The record of all that was pushed, and begins anew; `None` when nothing was.
    pub fn take(&mut self) -> Option<Record> {
        let settled = std::mem::take(self);
        settled.base?;
        Some(Record {
            kind: SETTLED,
            version: VERSION,
            tag: 0,
            body: settled.body.into(),
        })
    }
}

/// Reads a Settled record: calls `each` with every settlement, in order.
///
/// # Errors
///
/// [`Malformed`] when the body isn't of this layout.
pub fn read(stored: &Stored, mut each: impl FnMut(Settlement)) -> Result<(), Malformed> {
    (|| -> Result<(), Short> {
        let mut take = Take::new(&stored.body);
        let base = u64::from_le_bytes(take.array("time")?);
        let mut previous = 0u64;
        while !take.is_empty() {
            let number = take.number("number")?;
            previous = previous.wrapping_add(take.signed("offset")? as u64);
            let outcome = Outcome::from_code(take.byte("outcome")?).ok_or(Short("outcome"))?;
            each(Settlement {
                number,
                offset: Offset(previous),
                outcome,
                attempt: take.number("attempt")?,
                status: take.number("status")?,
                latency_ms: take.number("latency")?,
                at: WallTime(base.wrapping_add(take.signed("settled")? as u64)),
            });
        }
        Ok(())
    })()
    .map_err(Malformed::at(stored.offset, SETTLED))
}
