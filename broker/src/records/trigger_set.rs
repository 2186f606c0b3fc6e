//! The TriggerSet record: a change of the resources in force, effective where its last part
//! stands, or all of them, at the start of a segment.
//!
//! Body: revision varint | flags u8 (1: the last part of its change, 4: the first, 2: the first of a
//! snapshot, which replaces all before) | next number varint | operations:
//! - 1 put: number varint | uid 16 bytes | kind u8 (1 Broker, 2 Trigger, 3 DeliveryPolicy,
//!   4 Sink, 16 an ad hoc lane) | detached since
//!   varint (ms since 1970, 0: attached) | the resource as written, one line of JSON, behind a
//!   varint length
//! - 2 detach: number varint | since varint (ms since 1970)
//! - 3 attach: number varint
//! - 4 delete: number varint

use journal::{Record, Stored, WallTime};

use super::wire::{self, Short, Take};
use super::{Malformed, Number, TRIGGER_SET, VERSION};

const LAST: u8 = 1;
const SNAPSHOT: u8 = 2;
const FIRST: u8 = 4;

const PUT: u8 = 1;
const DETACH: u8 = 2;
const ATTACH: u8 = 3;
const DELETE: u8 = 4;

/// The kind of an ad hoc lane, apart from those of resources that people write.
const AD_HOC: u8 = 16;

/// How large one part's operations may grow before the next part begins, in bytes. Well under
/// the journal's group cap, so that a change of any size can be written.
pub const PART_BYTES_TARGET: usize = 1 << 20;

/// One step of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A resource is new, or written differently.
    Put {
        /// Its number.
        number: Number,
        /// Its UID.
        uid: [u8; 16],
        /// What it is.
        kind: Kind,
        /// Since when its file is gone, if it is.
        detached: Option<WallTime>,
        /// The resource as written.
        resource: String,
    },
    /// Its file is gone.
    Detach {
        /// Its number.
        number: Number,
        /// Since when.
        since: WallTime,
    },
    /// Its file is back, unchanged.
    Attach {
        /// Its number.
        number: Number,
    },
    /// It is no more, and what is owed to it is cancelled.
    Delete {
        /// Its number.
        number: Number,
    },
}

/// What a resource in the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `eventing.knative.dev/v1` Broker.
    Broker,
    /// `eventing.knative.dev/v1` Trigger.
    Trigger,
    /// `weft.dev/v1alpha1` DeliveryPolicy.
    DeliveryPolicy,
    /// `weft.dev/v1alpha1` Sink.
    Sink,
    /// A lane without a trigger, to another destination ([`crate::ad_hoc`]); written as a Trigger.
    AdHoc,
}

/// One part of a change, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The change's revision; grows by one a change.
    pub revision: u64,
    /// Whether the change begins here: parts before it, of a change that a crash cut off, are void.
    pub first: bool,
    /// Whether the change takes effect here.
    pub last: bool,
    /// Whether all before is replaced.
    pub snapshot: bool,
    /// The number that the next new resource gets.
    pub next_number: Number,
    /// The steps.
    pub ops: Vec<Op>,
}

/// The records of a change, each to be a group of its own; at least one.
pub fn records(revision: u64, snapshot: bool, next_number: Number, ops: &[Op]) -> Vec<Record> {
    let mut parts = vec![Vec::new()];
    for op in ops {
        if parts
            .last()
            .is_some_and(|part| part.len() >= PART_BYTES_TARGET)
        {
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            put(part, op);
        }
    }
    let last = parts.len() - 1;
    let record = |(index, ops): (usize, Vec<u8>)| {
        let mut body = Vec::with_capacity(ops.len() + 16);
        wire::put_varint(&mut body, revision);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let first = flag(index == 0, FIRST) | flag(snapshot && index == 0, SNAPSHOT);
        body.push(flag(index == last, LAST) | first);
        wire::put_varint(&mut body, u64::from(next_number));
        body.extend_from_slice(&ops);
        Record {
            kind: TRIGGER_SET,
            version: VERSION,
            tag: 0,
            body: body.into(),
        }
    };
    parts.into_iter().enumerate().map(record).collect()
}

fn put(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Put {
            number,
            uid,
            kind,
            detached,
            resource,
        } => {
            out.push(PUT);
            wire::put_varint(out, u64::from(*number));
            out.extend_from_slice(uid);
            out.push(match kind {
                Kind::Broker => 1,
                Kind::Trigger => 2,
                Kind::DeliveryPolicy => 3,
                Kind::Sink => 4,
                Kind::AdHoc => AD_HOC,
            });
            wire::put_varint(out, detached.map_or(0, |since| since.0));
            wire::put_bytes(out, resource.as_bytes());
        }
        Op::Detach { number, since } => {
            out.push(DETACH);
            wire::put_varint(out, u64::from(*number));
            wire::put_varint(out, since.0);
        }
        Op::Attach { number } => {
            out.push(ATTACH);
            wire::put_varint(out, u64::from(*number));
        }
        Op::Delete { number } => {
            out.push(DELETE);
            wire::put_varint(out, u64::from(*number));
        }
    }
}

/// Reads a TriggerSet record.
///
/// # Errors
///
/// [`Malformed`] when the body isn't of this layout.
pub fn read(stored: &Stored) -> Result<Part, Malformed> {
    (|| -> Result<Part, Short> {
        let mut take = Take::new(&stored.body);
        let revision = take.varint("revision")?;
        let flags = take.byte("flags")?;
        let next_number = take.number("next number")?;
        let mut ops = Vec::new();
        while !take.is_empty() {
            ops.push(take_op(&mut take)?);
        }
        let (first, last, snapshot) =
            (flags & FIRST != 0, flags & LAST != 0, flags & SNAPSHOT != 0);
        Ok(Part {
            revision,
            first,
            last,
            snapshot,
            next_number,
            ops,
        })
    })()
    .map_err(Malformed::at(stored.offset, TRIGGER_SET))
}

fn take_op(take: &mut Take<'_>) -> Result<Op, Short> {
    let op = take.byte("operation")?;
    let number = take.number("number")?;
    Ok(match op {
        PUT => Op::Put {
            number,
            uid: take.array("uid")?,
            kind: match take.byte("resource kind")? {
                1 => Kind::Broker,
                2 => Kind::Trigger,
                3 => Kind::DeliveryPolicy,
                4 => Kind::Sink,
                AD_HOC => Kind::AdHoc,
                _ => return Err(Short("resource kind")),
            },
            detached: match take.varint("detached since")? {
                0 => None,
                since => Some(WallTime(since)),
            },
            resource: take.text("resource")?.to_owned(),
        },
        DETACH => Op::Detach {
            number,
            since: WallTime(take.varint("since")?),
        },
        ATTACH => Op::Attach { number },
        DELETE => Op::Delete { number },
        _ => return Err(Short("operation")),
    })
}
