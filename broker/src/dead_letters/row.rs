//! A row of the list of dead letters: what can be said of a letter without reading its record.
//!
//! Its bytes in the view: flags u8 (1 its sink is owed it, 2 payload discarded, 4 forwarded, 8 let
//! go) | state u8 (0 kept, 1 redriven, 2 discarded) | its record's bytes varint | since varint (ms since 1970; 0: kept) | reason
//! u8 (an outcome's code, or 255: rejected) | event's offset varint | number varint | time varint |
//! status varint (0: none) | namespace text | name text.

use journal::{Offset, RECORD_HEADER_BYTES, Stored, WallTime};
use triggers::TriggerName;

use crate::records::dead::Dead;
use crate::records::rejected::Rejected;
use crate::records::wire::{self, Short, Take};
use crate::records::{Cause, Number, Outcome};

const FORWARDING: u8 = 1;
const PAYLOAD_DISCARDED: u8 = 2;
const FORWARDED: u8 = 4;
const LET_GO: u8 = 8;
const REJECTED_CODE: u8 = 255;

/// Whose letters those are that no trigger has: what sources rejected.
pub(crate) const REJECTED_NUMBER: Number = 0;

/// Why a letter is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A delivery ended so.
    Dead(Cause),
    /// A source could make no event of what it got.
    Rejected,
}

impl Reason {
    /// The word that commands and metrics show.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dead(cause) => cause.word(),
            Self::Rejected => "rejected",
        }
    }
}

/// What has become of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for somebody to redrive or discard it.
    Kept,
    /// A new delivery of its event began then.
    Redriven(WallTime),
    /// Somebody said then that it isn't needed.
    Discarded(WallTime),
}

impl State {
    /// The word that commands show.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Redriven(_) => "redriven",
            Self::Discarded(_) => "discarded",
        }
    }

    /// Since when it isn't kept any more.
    pub fn since(self) -> Option<WallTime> {
        match self {
            Self::Kept => None,
            Self::Redriven(at) | Self::Discarded(at) => Some(at),
        }
    }
}

/// Where one dead letter is, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The Dead record's offset, or the Rejected record's: the letter's id.
    pub id: Offset,
    /// The event's offset; of a rejected record, its own.
    pub event: Offset,
    /// The trigger's number; 0 of a rejected record.
    pub number: Number,
    /// The trigger's name, which outlives it; of a rejected record, its source's.
    pub trigger: TriggerName,
    /// Why it is here.
    pub reason: Reason,
    /// When it came here.
    pub at: WallTime,
    /// Bytes of its record, which holds its attempts; 0 of a rejected record, which counts as an event.
    pub(crate) bytes: u64,
    /// The last answer's status.
    pub status: Option<u16>,
    /// Whether it was owed to a dead letter sink as well.
    pub forwarded: bool,
    /// Whether it still waits for somebody.
    pub state: State,
    /// Whether the event gave way to the quota: the record and its attempts are still there.
    pub payload_discarded: bool,
    /// Whether its dead letter sink is still owed it.
    pub forwarding: bool,
    /// Whether it expired while its dead letter sink was still owed it. Not listed any more.
    pub(crate) let_go: bool,
}

impl Row {
    /// The row of a Dead record.
    pub(crate) fn of(stored: &Stored, dead: &Dead) -> Self {
        Self {
            id: stored.offset,
            event: dead.offset,
            number: dead.number,
            trigger: TriggerName::new(&*dead.namespace, &*dead.name),
            reason: Reason::Dead(dead.cause),
            at: dead.at,
            bytes: (RECORD_HEADER_BYTES + stored.body.len()) as u64,
            status: dead.attempts.last().and_then(|attempt| attempt.status),
            forwarded: dead.forwarded,
            state: State::Kept,
            // What ends for the quota ends so that its event can go.
            payload_discarded: dead.cause == Cause::Quota,
            forwarding: dead.forwarded,
            let_go: false,
        }
    }

    /// The row of the Rejected record at `id`, which is what an event is to other letters.
    pub(crate) fn of_rejected(id: Offset, rejected: &Rejected) -> Self {
        Self {
            id,
            event: id,
            number: REJECTED_NUMBER,
            trigger: TriggerName::new(&*rejected.namespace, &*rejected.name),
            reason: Reason::Rejected,
            at: rejected.at,
            bytes: 0,
            status: None,
            forwarded: false,
            state: State::Kept,
            payload_discarded: false,
            forwarding: false,
            let_go: false,
        }
    }

    /// Whether it waits for somebody, and so is kept whole.
    pub fn is_kept(&self) -> bool {
        self.state == State::Kept && !self.let_go
    }

    /// Whether its event is still needed.
    pub(crate) fn needs_event(&self) -> bool {
        self.forwarding || (self.is_kept() && !self.payload_discarded)
    }

    /// Whether its own record is still needed: of a delivery as long as the letter, of what was
    /// rejected as long as its payload.
    pub(crate) fn needs_record(&self) -> bool {
        self.reason != Reason::Rejected || self.needs_event()
    }

    /// Whether nothing happened to it since it came.
    pub(crate) fn is_as_it_came(&self) -> bool {
        let ended_for_quota = self.reason == Reason::Dead(Cause::Quota);
        self.is_kept()
            && self.payload_discarded == ended_for_quota
            && self.forwarding == self.forwarded
    }

    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(
            flag(self.forwarding, FORWARDING)
                | flag(self.payload_discarded, PAYLOAD_DISCARDED)
                | flag(self.forwarded, FORWARDED)
                | flag(self.let_go, LET_GO),
        );
        let (state, since) = match self.state {
            State::Kept => (0, 0),
            State::Redriven(at) => (1, at.0),
            State::Discarded(at) => (2, at.0),
        };
        out.push(state);
        wire::put_varint(&mut out, self.bytes);
        wire::put_varint(&mut out, since);
        out.push(match self.reason {
            Reason::Dead(cause) => Outcome::Dead(cause).code(),
            Reason::Rejected => REJECTED_CODE,
        });
        wire::put_varint(&mut out, self.event.0);
        wire::put_varint(&mut out, u64::from(self.number));
        wire::put_varint(&mut out, self.at.0);
        wire::put_varint(&mut out, u64::from(self.status.unwrap_or(0)));
        wire::put_bytes(&mut out, self.trigger.namespace().as_bytes());
        wire::put_bytes(&mut out, self.trigger.name().as_bytes());
        out
    }

    /// The bytes of its record, of the bytes of a row.
    pub(crate) fn record_bytes(bytes: &[u8]) -> Result<u64, Short> {
        let mut take = Take::new(bytes);
        take.byte("letter's flags")?;
        take.byte("letter's state")?;
        take.varint("letter's bytes")
    }

    /// Reads it back.
    pub(crate) fn decode(id: Offset, bytes: &[u8]) -> Result<Self, Short> {
        let mut take = Take::new(bytes);
        let flags = take.byte("letter's flags")?;
        let state = take.byte("letter's state")?;
        let bytes = take.varint("letter's bytes")?;
        let since = WallTime(take.varint("letter's state")?);
        let state = match state {
            0 => State::Kept,
            1 => State::Redriven(since),
            2 => State::Discarded(since),
            _ => return Err(Short("letter's state")),
        };
        let reason = match take.byte("letter's reason")? {
            REJECTED_CODE => Reason::Rejected,
            code => match Outcome::from_code(code) {
                Some(Outcome::Dead(cause)) => Reason::Dead(cause),
                _ => return Err(Short("letter's reason")),
            },
        };
        let event = Offset(take.varint("letter's event")?);
        let number = take.number("letter's number")?;
        let at = WallTime(take.varint("letter's time")?);
        let status: u16 = take.number("letter's status")?;
        let namespace = take.text("letter's namespace")?.to_owned();
        let name = take.text("letter's name")?.to_owned();
        Ok(Self {
            id,
            event,
            number,
            trigger: TriggerName::new(namespace, name),
            reason,
            at,
            bytes,
            status: (status != 0).then_some(status),
            forwarded: flags & FORWARDED != 0,
            state,
            forwarding: flags & FORWARDING != 0,
            payload_discarded: flags & PAYLOAD_DISCARDED != 0,
            let_go: flags & LET_GO != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_written() {
        let mut row = Row {
            id: Offset(7),
            event: Offset(3),
            number: 2,
            trigger: TriggerName::new("shop", "billing"),
            reason: Reason::Dead(Cause::Loop),
            at: WallTime(1_700_000_000_000),
            bytes: 4321,
            status: Some(503),
            forwarded: true,
            state: State::Redriven(WallTime(9)),
            forwarding: false,
            payload_discarded: false,
            let_go: true,
        };
        assert_eq!(Row::decode(row.id, &row.encode()).as_ref(), Ok(&row));
        row.reason = Reason::Rejected;
        row.state = State::Discarded(WallTime(10));
        row.forwarding = true;
        row.status = None;
        row.payload_discarded = true;
        assert_eq!(Row::decode(row.id, &row.encode()).as_ref(), Ok(&row));
        let bytes = row.encode();
        assert_eq!(Row::record_bytes(&bytes), Ok(4321));
        for length in 0..bytes.len() {
            assert!(Row::decode(row.id, &bytes[..length]).is_err());
        }
    }
}
