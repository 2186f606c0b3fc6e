//! The Paused record: whether a trigger or a destination is paused, and when it was before. All
//! that is known of one thing, so that the last record of it counts, a segment can open with all
//! of them, and reading one twice changes nothing.
//!
//! Body: what u8 (1 trigger, 2 destination) | number varint, or the destination's key as text |
//! flags u8 (1: by command, 2: by annotation; 0: not paused) | since varint (ms since 1970; 0: not
//! paused) | count varint | pauses that ended {from, as its distance from
//! the end of the one before (0 for the first) varint | length varint, ms}.

use std::sync::Arc;

use journal::{Record, Stored, WallTime};

use super::wire::{self, Short, Take};
use super::{Malformed, PAUSED, VERSION};
use crate::pauses::{Span, Standing, What};

const TRIGGER: u8 = 1;
const DESTINATION: u8 = 2;

const BY_COMMAND: u8 = 1;
const BY_ANNOTATION: u8 = 2;

/// The record of one thing's standing.
pub fn record(what: &What, standing: &Standing) -> Record {
    let mut body = Vec::with_capacity(32);
    match what {
        What::Trigger(number) => {
            body.push(TRIGGER);
            wire::put_varint(&mut body, u64::from(*number));
        }
        What::Destination(key) => {
            body.push(DESTINATION);
            wire::put_bytes(&mut body, key.as_bytes());
        }
    }
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    body.push(flag(standing.command, BY_COMMAND) | flag(standing.annotation, BY_ANNOTATION));
    wire::put_varint(&mut body, standing.since.map_or(0, |since| since.0));
    wire::put_varint(&mut body, standing.past.len() as u64);
    let mut before = 0;
    for span in &standing.past {
        wire::put_varint(&mut body, span.from.saturating_sub(before));
        wire::put_varint(&mut body, span.to.saturating_sub(span.from));
        before = span.to;
    }
    Record {
        kind: PAUSED,
        version: VERSION,
        tag: 0,
        body: body.into(),
    }
}

/// Reads a Paused record.
///
/// # Errors
///
/// [`Malformed`] when the body isn't of this layout.
pub fn read(stored: &Stored) -> Result<(What, Standing), Malformed> {
    (|| -> Result<(What, Standing), Short> {
        let mut take = Take::new(&stored.body);
        let what = match take.byte("what")? {
            TRIGGER => What::Trigger(take.number("number")?),
            DESTINATION => What::Destination(Arc::from(take.text("destination")?)),
            _ => return Err(Short("what")),
        };
        let flags = take.byte("flags")?;
        let since = match take.varint("since")? {
            0 => None,
            since => Some(WallTime(since)),
        };
        let count: u64 = take.varint("count")?;
        let mut past = Vec::new();
        let mut before = 0u64;
        for _ in 0..count {
            let from = before
                .checked_add(take.varint("from")?)
                .ok_or(Short("from"))?;
            let to = from
                .checked_add(take.varint("length")?)
                .ok_or(Short("length"))?;
            past.push(Span { from, to });
            before = to;
        }
        Ok((
            what,
            Standing {
                since,
                command: flags & BY_COMMAND != 0,
                annotation: flags & BY_ANNOTATION != 0,
                past,
            },
        ))
    })()
    .map_err(Malformed::at(stored.offset, PAUSED))
}
