//! What the broker writes to the log: a kind and a body layout each.
//!
//! The journal keeps kinds and tags opaque; this is where they mean something. All kinds are
//! reserved from the start, also those that a later version writes, and their bytes are in
//! `docs/format.md`. A kind that this version doesn't know refuses to open: skipping it could
//! lose what it says about a delivery.

pub mod attempt;
pub mod dead;
pub mod envelope;
pub mod held;
pub mod intent;
pub mod parked;
pub mod paused;
pub mod redriven;
pub mod rejected;
pub mod replayed;
pub mod routed;
pub mod settled;
pub mod started;
pub mod trigger_set;
pub mod wire;

#[cfg(test)]
mod tests;

use journal::Offset;

/// An event as it came in, with what the broker keeps beside it.
pub const EVENT: u8 = 1;
/// Which triggers each event of a range is owed to.
pub const ROUTED: u8 = 2;
/// Deliveries that ended other than in the dead letters.
pub const SETTLED: u8 = 3;
/// A delivery after a failed attempt, with its due time.
pub const PARKED: u8 = 4;
/// A key of an ordered trigger that a dead letter blocks, or lets go.
pub const HELD: u8 = 5;
/// A delivery that ended in the dead letters, with every attempt.
pub const DEAD: u8 = 6;
/// A dead letter that was redriven or discarded.
pub const REDRIVEN: u8 = 7;
/// A change of the resources in force, or all of them at a segment's start.
pub const TRIGGER_SET: u8 = 8;
/// What a source got and could make no event of.
pub const REJECTED: u8 = 9;
/// The delivery that is about to be tried, while poison is suspected.
pub const INTENT: u8 = 10;
/// A clean stop.
pub const MARK: u8 = 11;
/// Events of the past that a trigger is owed from now on: a replay, or its start.
pub const REPLAYED: u8 = 12;
/// Whether a trigger or destination is paused, and when it was.
pub const PAUSED: u8 = 13;
/// A start of the process, and how the one before ended.
pub const STARTED: u8 = 14;

/// The version of every body layout of this release.
pub const VERSION: u8 = 1;

/// A record that passed its checksum and still doesn't read: written by another version, or by
/// a bug of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {offset} of kind {kind} is malformed: {what}")]
pub struct Malformed {
    /// Where it stands.
    pub offset: u64,
    /// Its kind.
    pub kind: u8,
    /// What couldn't be read.
    pub what: &'static str,
}

impl Malformed {
    pub(crate) fn at(offset: Offset, kind: u8) -> impl Fn(wire::Short) -> Self {
        move |short| Self {
            offset: offset.0,
            kind,
            what: short.0,
        }
    }
}

/// How a delivery ended. There is no other way for an event to leave a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The destination took it.
    Delivered,
    /// It is kept in the dead letters.
    Dead(Cause),
    /// Nobody wants it any more.
    Cancelled(Why),
}

/// Why a delivery is in the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// All attempts that the trigger's terms allow have failed.
    Exhausted,
    /// The destination refused it for good.
    Refused,
    /// It grew older than its trigger's terms, or than its own `expirytime`, allow.
    Expired,
    /// Its replies went round more often than the hop limit allows.
    Loop,
    /// Its reply was refused by ingress for good.
    Reply,
    /// The process ended twice while handling it.
    Poison,
    /// An earlier event of its key is in the dead letters.
    Blocked,
    /// A transform failed on it.
    Transform,
    /// Its payload gave way to the storage quota.
    Quota,
}

/// Why a delivery was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// Its trigger was deleted, or has no dead letter sink any more that is owed this.
    Deleted,
    /// The destination said to drop it.
    Dropped,
}

const CAUSES: [(Cause, &str); 9] = [
    (Cause::Exhausted, "exhausted"),
    (Cause::Refused, "refused"),
    (Cause::Expired, "expired"),
    (Cause::Loop, "loop"),
    (Cause::Reply, "reply"),
    (Cause::Poison, "poison"),
    (Cause::Blocked, "blocked"),
    (Cause::Transform, "transform"),
    (Cause::Quota, "quota"),
];

/// Codes of the causes begin here, so that 0 stays `delivered`.
const CAUSE_CODE_FIRST: u8 = 1;
const CANCELLED_DELETED_CODE: u8 = 32;
const CANCELLED_DROPPED_CODE: u8 = 33;

impl Cause {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Exhausted,
        Self::Refused,
        Self::Expired,
        Self::Loop,
        Self::Reply,
        Self::Poison,
        Self::Blocked,
        Self::Transform,
        Self::Quota,
    ];

    /// The cause of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        CAUSES
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(cause, _)| *cause)
    }

    /// The word that commands, metrics and documents use.
    pub fn word(self) -> &'static str {
        CAUSES
            .iter()
            .find(|(cause, _)| *cause == self)
            .map_or("", |(_, word)| word)
    }
}

impl Outcome {
    /// The outcome's byte in a record.
    pub fn code(self) -> u8 {
        match self {
            Self::Delivered => 0,
            Self::Dead(cause) => {
                let index = CAUSES
                    .iter()
                    .position(|(known, _)| *known == cause)
                    .unwrap_or(0);
                CAUSE_CODE_FIRST + index as u8
            }
            Self::Cancelled(Why::Deleted) => CANCELLED_DELETED_CODE,
            Self::Cancelled(Why::Dropped) => CANCELLED_DROPPED_CODE,
        }
    }

    /// The outcome of a record's byte.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Delivered),
            CANCELLED_DELETED_CODE => Some(Self::Cancelled(Why::Deleted)),
            CANCELLED_DROPPED_CODE => Some(Self::Cancelled(Why::Dropped)),
            _ => {
                let index = usize::from(code.checked_sub(CAUSE_CODE_FIRST)?);
                CAUSES.get(index).map(|(cause, _)| Self::Dead(*cause))
            }
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Dead(cause) => write!(f, "dead{{{}}}", cause.word()),
            Self::Cancelled(Why::Deleted) => f.write_str("cancelled{deleted}"),
            Self::Cancelled(Why::Dropped) => f.write_str("cancelled{dropped}"),
        }
    }
}

/// The number of a trigger or broker in the log; never used again.
pub type Number = u32;

/// Set in the number of the lane that forwards a trigger's dead letters to its sink.
pub const FORWARD: Number = 1 << 31;
