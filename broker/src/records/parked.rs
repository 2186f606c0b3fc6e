//! The Parked record: a delivery after a failed attempt, and when it is due again. It is what
//! lets a restart go on with attempt 4 instead of 1.
//!
//! Body: number varint | offset varint | attempt varint (the one that failed, from 1) | due
//! varint (ms since 1970) | the attempt ([`super::attempt`]).

use journal::{Offset, Record, Stored, WallTime};

use super::attempt::{self, Attempt};
use super::wire::{self, Short, Take};
use super::{Malformed, Number, PARKED, VERSION};

/// A Parked record, read or to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Whose delivery.
    pub number: Number,
    /// The event's offset; in a dead letter lane, the Dead record's.
    pub offset: Offset,
    /// The attempt that failed, counted from 1.
    pub attempt: u32,
    /// Not before this is the next one made.
    pub due: WallTime,
    /// What came of it.
    pub failed: Attempt,
}

impl Parked {
    /// The record.
    pub fn record(&self) -> Record {
        let mut body = Vec::with_capacity(40 + self.failed.body.len());
        wire::put_varint(&mut body, u64::from(self.number));
        wire::put_varint(&mut body, self.offset.0);
        wire::put_varint(&mut body, u64::from(self.attempt));
        wire::put_varint(&mut body, self.due.0);
        attempt::put(&mut body, &self.failed, attempt::Keep::Own);
        Record {
            kind: PARKED,
            version: VERSION,
            tag: 0,
            body: body.into(),
        }
    }

    /// Reads a Parked record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the body isn't of this layout.
    pub fn read(stored: &Stored) -> Result<Self, Malformed> {
        (|| -> Result<Self, Short> {
            let mut take = Take::new(&stored.body);
            Ok(Self {
                number: take.number("number")?,
                offset: Offset(take.varint("offset")?),
                attempt: take.number("attempt")?,
                due: WallTime(take.varint("due")?),
                failed: attempt::take(&mut take, &[])?,
            })
        })()
        .map_err(Malformed::at(stored.offset, PARKED))
    }
}
