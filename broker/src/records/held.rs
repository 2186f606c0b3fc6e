//! The Held record: a key of an ordered trigger that a dead letter blocks, or lets go. It is what
//! keeps later events of that key from passing after a restart.
//!
//! Body: number varint | key as bytes | count varint (1: blocked, 0: let go) | for 1: the offset
//! varint of the event whose dead letter blocks it.

use std::sync::Arc;

use journal::{Offset, Record, Stored};

use super::wire::{self, Short, Take};
use super::{HELD, Malformed, Number, VERSION};

/// A Held record, read or to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose key.
    pub number: Number,
    /// The key, as [`crate::keys::key_of`] makes it.
    pub key: Arc<[u8]>,
    /// The event whose dead letter blocks it; `None` lets it go.
    pub by: Option<Offset>,
}

impl Held {
    /// The record.
    pub fn record(&self) -> Record {
        let mut body = Vec::with_capacity(20 + self.key.len());
        wire::put_varint(&mut body, u64::from(self.number));
        wire::put_bytes(&mut body, &self.key);
        wire::put_varint(&mut body, u64::from(self.by.is_some()));
        if let Some(by) = self.by {
            wire::put_varint(&mut body, by.0);
        }
        Record {
            kind: HELD,
            version: VERSION,
            tag: 0,
            body: body.into(),
        }
    }

    /// Reads a Held record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the body isn't of this layout.
    pub fn read(stored: &Stored) -> Result<Self, Malformed> {
        (|| -> Result<Self, Short> {
            let mut take = Take::new(&stored.body);
            Ok(Self {
                number: take.number("number")?,
                key: take.bytes("key")?.into(),
                by: match take.varint("count")? {
                    0 => None,
                    1 => Some(Offset(take.varint("offset")?)),
                    _ => return Err(Short("count")),
                },
            })
        })()
        .map_err(Malformed::at(stored.offset, HELD))
    }
}
