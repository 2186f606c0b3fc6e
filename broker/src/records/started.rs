//! The Started record: a start of the process, how the one before ended, and which deliveries may
//! have been in the air at ends that weren't in order. Each start writes one before its first
//! attempt.
//!
//! Body: when varint (ms since 1970) | before u8 (0 nothing, 1 in order, 2 not in order) | ends
//! varint | unrouted from varint, its length varint | count varint | accused {number varint | offset
//! varint | times varint} | suspects to the body's end: number varint, as its distance from the
//! entry before | offset, as its signed distance from the entry before, zigzag varint.

use std::ops::Range;

use journal::{Offset, Record, Stored, WallTime};

use super::wire::{self, Short, Take};
use super::{Malformed, Number, STARTED, VERSION};

/// One delivery: whose, and of what.
pub type Which = (Number, Offset);

/// How the process before ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Before {
    /// There was none: the log is new.
    #[default]
    Nothing,
    /// It was stopped, and wrote a Mark.
    InOrder,
    /// It was killed, it crashed, or the power failed.
    NotInOrder,
}

/// A Started record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    /// When.
    pub at: WallTime,
    /// How the process before ended.
    pub before: Before,
    /// Ends in a row that weren't in order and before which no suspect had landed.
    pub ends: u32,
    /// Events whose deliveries aren't known yet, and may have been in the air all the same.
    pub unrouted: Range<Offset>,
    /// Deliveries that were tried alone when the process ended, and how often that happened.
    pub accused: Vec<(Which, u32)>,
    /// Deliveries that may have been in the air at each of the ends, in ascending order.
    pub suspects: Vec<Which>,
}

impl Started {
    /// The record.
    pub fn record(&self) -> Record {
        Record {
            kind: STARTED,
            version: VERSION,
            tag: 0,
            body: self.body().into(),
        }
    }

    /// The record's body.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(32 + 3 * self.suspects.len());
        wire::put_varint(&mut body, self.at.0);
        body.push(match self.before {
            Before::Nothing => 0,
            Before::InOrder => 1,
            Before::NotInOrder => 2,
        });
        wire::put_varint(&mut body, u64::from(self.ends));
        wire::put_varint(&mut body, self.unrouted.start.0);
        let unrouted = self.unrouted.end.0.saturating_sub(self.unrouted.start.0);
        wire::put_varint(&mut body, unrouted);
        wire::put_varint(&mut body, self.accused.len() as u64);
        for ((number, offset), times) in &self.accused {
            wire::put_varint(&mut body, u64::from(*number));
            wire::put_varint(&mut body, offset.0);
            wire::put_varint(&mut body, u64::from(*times));
        }
        let mut before = (0, Offset(0));
        for (number, offset) in &self.suspects {
            wire::put_varint(&mut body, u64::from(number.wrapping_sub(before.0)));
            wire::put_signed(&mut body, offset.0.wrapping_sub(before.1.0) as i64);
            before = (*number, *offset);
        }
        body
    }

    /// Reads a Started record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the body isn't of this layout.
    pub fn read(stored: &Stored) -> Result<Self, Malformed> {
        Self::of_body(&stored.body).map_err(Malformed::at(stored.offset, STARTED))
    }

    /// Reads the body.
    pub(crate) fn of_body(body: &[u8]) -> Result<Self, Short> {
        let mut take = Take::new(body);
        let at = WallTime(take.varint("when")?);
        let before = match take.byte("before")? {
            0 => Before::Nothing,
            1 => Before::InOrder,
            2 => Before::NotInOrder,
            _ => return Err(Short("before")),
        };
        let ends = take.number("ends")?;
        let from = take.varint("unrouted")?;
        let until = from.checked_add(take.varint("unrouted")?);
        let unrouted = Offset(from)..Offset(until.ok_or(Short("unrouted"))?);
        let mut accused = Vec::new();
        for _ in 0..take.varint("accused")? {
            let which = (take.number("number")?, Offset(take.varint("offset")?));
            accused.push((which, take.number("times")?));
        }
        let mut suspects = Vec::new();
        let mut last: Which = (0, Offset(0));
        while !take.is_empty() {
            let number = last.0.wrapping_add(take.number("number")?);
            let offset = last.1.0.wrapping_add(take.signed("offset")? as u64);
            last = (number, Offset(offset));
            suspects.push(last);
        }
        Ok(Self {
            at,
            before,
            ends,
            unrouted,
            accused,
            suspects,
        })
    }
}
