//! The Replayed record: events of the past that a lane is owed from now on, and how far the replay
//! that owes them has come. One record says what is owed and that it has been looked at, so a
//! crash repeats neither.
//!
//! Body: id varint | number varint | when varint (ms since 1970) | flags u8 (1: the replay has
//! ended, 2: what it is follows) | cursor varint (all before it has been looked at) | with flag 2:
//! kind u8 (0 a new trigger's start, 1 a replay) | from varint (ms since 1970; 0: from the cursor)
//! | to varint (an offset) | broker's number varint | rate varint (a second; 0: none) | filters as
//! text | offsets, each as its distance from the one before (from 0 for the first), varints.

use journal::{Offset, Record, Stored, WallTime};

use super::wire::{self, Short, Take};
use super::{Malformed, Number, REPLAYED, VERSION};

const ENDED: u8 = 1;
const WITH_SPEC: u8 = 2;

/// What a replay is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Whether it is the start of a new trigger, and not asked for by a person.
    pub start: bool,
    /// Only events that arrived then or later, until the cursor has moved; ms since 1970, 0: all.
    pub from: u64,
    /// The first offset that isn't replayed.
    pub to: Offset,
    /// The number of the broker whose events are replayed.
    pub broker: Number,
    /// How many a second at the most; 0: as many as the lane takes.
    pub rate: u32,
    /// Filters beside the trigger's own, as a list in YAML; empty: none.
    pub filters: String,
}

/// One step of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The replay's id.
    pub id: u64,
    /// Whose lane.
    pub number: Number,
    /// When: what the new deliveries' age counts from.
    pub at: WallTime,
    /// All before it has been looked at.
    pub cursor: Offset,
    /// Whether nothing follows.
    pub ended: bool,
    /// What it is: in its first record, and at the opening of a segment.
    pub spec: Option<Spec>,
    /// What is owed again, ascending.
    pub offsets: Vec<Offset>,
}

impl Replayed {
    /// The record.
    pub fn record(&self) -> Record {
        let mut body = Vec::with_capacity(32 + self.offsets.len() * 2);
        wire::put_varint(&mut body, self.id);
        wire::put_varint(&mut body, u64::from(self.number));
        wire::put_varint(&mut body, self.at.0);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        body.push(flag(self.ended, ENDED) | flag(self.spec.is_some(), WITH_SPEC));
        wire::put_varint(&mut body, self.cursor.0);
        if let Some(spec) = &self.spec {
            body.push(u8::from(!spec.start));
            wire::put_varint(&mut body, spec.from);
            wire::put_varint(&mut body, spec.to.0);
            wire::put_varint(&mut body, u64::from(spec.broker));
            wire::put_varint(&mut body, u64::from(spec.rate));
            wire::put_bytes(&mut body, spec.filters.as_bytes());
        }
        let mut before = 0;
        for offset in &self.offsets {
            wire::put_varint(&mut body, offset.0 - before);
            before = offset.0;
        }
        Record {
            kind: REPLAYED,
            version: VERSION,
            tag: 0,
            body: body.into(),
        }
    }

    /// Reads a Replayed record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the body isn't of this layout.
    pub fn read(stored: &Stored) -> Result<Self, Malformed> {
        (|| -> Result<Self, Short> {
            let mut take = Take::new(&stored.body);
            let id = take.varint("id")?;
            let number = take.number("number")?;
            let at = WallTime(take.varint("when")?);
            let flags = take.byte("flags")?;
            let cursor = Offset(take.varint("cursor")?);
            let spec = match flags & WITH_SPEC {
                0 => None,
                _ => Some(Spec {
                    start: take.byte("kind")? == 0,
                    from: take.varint("from")?,
                    to: Offset(take.varint("to")?),
                    broker: take.number("broker")?,
                    rate: take.number("rate")?,
                    filters: take.text("filters")?.to_owned(),
                }),
            };
            let mut offsets = Vec::new();
            let mut offset = 0u64;
            while !take.is_empty() {
                offset = offset
                    .checked_add(take.varint("offset")?)
                    .ok_or(Short("offset"))?;
                offsets.push(Offset(offset));
            }
            Ok(Self {
                id,
                number,
                at,
                cursor,
                ended: flags & ENDED != 0,
                spec,
                offsets,
            })
        })()
        .map_err(Malformed::at(stored.offset, REPLAYED))
    }
}
