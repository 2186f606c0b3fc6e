//! The Intent record: the delivery that is about to be tried, while poison is suspected. It is
//! durable before the attempt is made, so that a start after a crash knows which it was.
//!
//! Body: number varint | offset varint | attempt varint (from 1; 0: it isn't made after all, or came
//! down, and this delivery is not being tried any more).

use journal::{Offset, Record, Stored};

use super::wire::{self, Short, Take};
use super::{INTENT, Malformed, Number, VERSION};

/// An Intent record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// Whose delivery.
    pub number: Number,
    /// The event's offset; in a dead letter lane, the Dead record's.
    pub offset: Offset,
    /// The attempt that is about to be made, from 1. 0: none is, any more.
    pub attempt: u32,
}

impl Intent {
    /// Takes back the intent that was written for this delivery.
    pub fn none(number: Number, offset: Offset) -> Self {
        Self {
            number,
            offset,
            attempt: 0,
        }
    }

    /// The record.
    pub fn record(&self) -> Record {
        let mut body = Vec::with_capacity(16);
        wire::put_varint(&mut body, u64::from(self.number));
        wire::put_varint(&mut body, self.offset.0);
        wire::put_varint(&mut body, u64::from(self.attempt));
        Record {
            kind: INTENT,
            version: VERSION,
            tag: 0,
            body: body.into(),
        }
    }

    /// Reads an Intent record.
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
            })
        })()
        .map_err(Malformed::at(stored.offset, INTENT))
    }
}
