//! The Redriven record: what was done with a dead letter.
//!
//! Body: action u8 (0 redriven, 1 discarded, 2 its payload gave way to the quota, 3 all of it
//! did) | the letter's id
//! varint | when varint (ms since 1970) | for action 0: number varint and offset varint of the new
//! delivery.

use journal::{Offset, Record, Stored, WallTime};

use super::wire::{self, Short, Take};
use super::{Malformed, Number, REDRIVEN, VERSION};

const AGAIN: u8 = 0;
const DISCARDED: u8 = 1;
const PAYLOAD_DISCARDED: u8 = 2;
const LET_GO: u8 = 3;

/// What was done with a dead letter, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redriven {
    /// The letter: its Dead record's offset.
    pub letter: Offset,
    /// When.
    pub at: WallTime,
    /// What.
    pub action: Action,
}

/// What was done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A new delivery of its event began.
    Again {
        /// Whose: its trigger's lane, or an ad hoc one.
        number: Number,
        /// The event's offset.
        offset: Offset,
    },
    /// A person said that it isn't needed. Its delivery's outcome stays in the books.
    Discarded,
    /// Its event gave way to the storage quota; what is known of its attempts stays.
    PayloadDiscarded,
    /// All of it gave way to the storage quota. Its delivery's outcome stays in the books.
    LetGo,
}

impl Redriven {
    /// The record.
    pub fn record(&self) -> Record {
        let mut body = Vec::with_capacity(24);
        body.push(match self.action {
            Action::Again { .. } => AGAIN,
            Action::Discarded => DISCARDED,
            Action::PayloadDiscarded => PAYLOAD_DISCARDED,
            Action::LetGo => LET_GO,
        });
        wire::put_varint(&mut body, self.letter.0);
        wire::put_varint(&mut body, self.at.0);
        if let Action::Again { number, offset } = self.action {
            wire::put_varint(&mut body, u64::from(number));
            wire::put_varint(&mut body, offset.0);
        }
        Record {
            kind: REDRIVEN,
            version: VERSION,
            tag: 0,
            body: body.into(),
        }
    }

    /// Reads a Redriven record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the body isn't of this layout.
    pub fn read(stored: &Stored) -> Result<Self, Malformed> {
        (|| -> Result<Self, Short> {
            let mut take = Take::new(&stored.body);
            let action = take.byte("action")?;
            let letter = Offset(take.varint("letter")?);
            let at = WallTime(take.varint("when")?);
            let action = match action {
                AGAIN => Action::Again {
                    number: take.number("number")?,
                    offset: Offset(take.varint("offset")?),
                },
                DISCARDED => Action::Discarded,
                PAYLOAD_DISCARDED => Action::PayloadDiscarded,
                LET_GO => Action::LetGo,
                _ => return Err(Short("action")),
            };
            Ok(Self { letter, at, action })
        })()
        .map_err(Malformed::at(stored.offset, REDRIVEN))
    }
}
