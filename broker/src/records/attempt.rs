//! One attempt as the log keeps it: when, how long, what came back, and the start of the body.
//!
//! Bytes: started varint (ms since 1970) | latency varint (ms) | verdict u8 (with 128: left out
//! varint follows) | status varint (0: none) | text behind a varint length | body: 0 none, 1 followed by bytes behind a varint
//! length, n+2 the same as the n-th attempt's of the same record.

use bytes::Bytes;
use journal::WallTime;

use super::wire::{self, Short, Take};

/// How much of the body of a middle attempt is kept, in bytes; the first and the last keep
/// [`crate::answer::ANSWER_BODY_KEPT_BYTES`].
pub const MIDDLE_BODY_KEPT_BYTES: usize = 512;

/// How much of the bodies of all middle attempts is kept with a dead letter, in bytes. Beyond, only
/// when they were made and what they came to: a day of answers that all differ must fit a record.
pub const MIDDLE_BODIES_BYTES_MAX: usize = 64 * 1024;

/// Attempts of one delivery that are kept: the first and the last half of these. Beyond, those
/// between are left out and counted. A day by the default schedule is about 300.
pub const ATTEMPTS_KEPT_MAX: usize = 1000;

/// Of the verdict's byte: attempts before this one are left out.
const LEFT_OUT: u8 = 0x80;

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When the request left.
    pub started: WallTime,
    /// How long it took, in ms.
    pub latency_ms: u32,
    /// What came back.
    pub verdict: Verdict,
    /// The answer's status, when there was one.
    pub status: Option<u16>,
    /// What a person should know beside the status: why nothing came back, what was wrong.
    pub text: Box<str>,
    /// The start of the answer's body.
    pub body: Bytes,
    /// How many attempts between the one before and this are left out.
    pub left_out: u32,
}

/// Appends the next attempt of a delivery; beyond [`ATTEMPTS_KEPT_MAX`] one in the middle goes.
pub fn push(history: &mut Vec<Attempt>, attempt: Attempt) {
    history.push(attempt);
    if history.len() > ATTEMPTS_KEPT_MAX {
        let gone = history.remove(ATTEMPTS_KEPT_MAX / 2);
        let next = &mut history[ATTEMPTS_KEPT_MAX / 2];
        next.left_out = next
            .left_out
            .saturating_add(gone.left_out.saturating_add(1));
    }
}

/// Leaves out all but the first and the last, and counts them.
pub(crate) fn keep_ends(history: &mut Vec<Attempt>) {
    let last = history.len().saturating_sub(1);
    let Some(middle) = history.get(1..last) else {
        return;
    };
    let gone = middle.iter().fold(0u32, |gone, attempt| {
        gone.saturating_add(attempt.left_out.saturating_add(1))
    });
    history.drain(1..last);
    if let Some(last) = history.get_mut(1) {
        last.left_out = last.left_out.saturating_add(gone);
    }
}

/// How many attempts were made, those left out too.
pub fn count(history: &[Attempt]) -> u32 {
    numbered(history).last().map_or(0, |(number, _)| number)
}

/// Each attempt that is kept, with its number from 1.
pub fn numbered(history: &[Attempt]) -> impl Iterator<Item = (u32, &Attempt)> {
    history.iter().scan(0, |number, attempt| {
        *number = u32::saturating_add(*number, attempt.left_out.saturating_add(1));
        Some((*number, attempt))
    })
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The destination answered with a status that isn't a success.
    Said,
    /// A success whose body claims to be an event and isn't one.
    Garbled,
    /// A success with a body that isn't an event, where the trigger asked for strict replies.
    NotAnEvent,
    /// Nothing came in time.
    TimedOut,
    /// No connection, or one that broke.
    Unreachable,
    /// A success; kept where what follows it failed, as a refused reply.
    Took,
}

const VERDICTS: [(Verdict, &str); 6] = [
    (Verdict::Said, "answered"),
    (Verdict::Garbled, "garbled"),
    (Verdict::NotAnEvent, "not an event"),
    (Verdict::TimedOut, "timed out"),
    (Verdict::Unreachable, "unreachable"),
    (Verdict::Took, "took"),
];

impl Verdict {
    /// The word that commands show.
    pub fn word(self) -> &'static str {
        VERDICTS
            .iter()
            .find(|(verdict, _)| *verdict == self)
            .map_or("", |(_, word)| word)
    }
}

/// What of an attempt's body goes into a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    /// Its bytes.
    Own,
    /// It is the same as that of the record's attempt with this index.
    As(usize),
    /// Nothing.
    Nothing,
}

/// Appends `attempt`, and of its body what `keep` says.
pub(super) fn put(out: &mut Vec<u8>, attempt: &Attempt, keep: Keep) {
    wire::put_varint(out, attempt.started.0);
    wire::put_varint(out, u64::from(attempt.latency_ms));
    let code = VERDICTS
        .iter()
        .position(|(verdict, _)| *verdict == attempt.verdict)
        .unwrap_or(0);
    if attempt.left_out == 0 {
        out.push(code as u8);
    } else {
        out.push(code as u8 | LEFT_OUT);
        wire::put_varint(out, u64::from(attempt.left_out));
    }
    wire::put_varint(out, u64::from(attempt.status.unwrap_or(0)));
    wire::put_bytes(out, attempt.text.as_bytes());
    match keep {
        Keep::Own if !attempt.body.is_empty() => {
            wire::put_varint(out, 1);
            wire::put_bytes(out, &attempt.body);
        }
        Keep::As(same) => wire::put_varint(out, same as u64 + 2),
        Keep::Own | Keep::Nothing => wire::put_varint(out, 0),
    }
}

/// Appends a whole history: each different body once, the first attempt's and the last's always,
/// those between while they are [`MIDDLE_BODIES_BYTES_MAX`] together.
pub(crate) fn put_all(out: &mut Vec<u8>, attempts: &[Attempt]) {
    let mut room = MIDDLE_BODIES_BYTES_MAX;
    let mut own: Vec<usize> = Vec::new();
    for (index, attempt) in attempts.iter().enumerate() {
        let length = attempt.body.len();
        let is_end = index == 0 || index + 1 == attempts.len();
        let same = own.iter().find(|own| attempts[**own].body == attempt.body);
        let keep = match same {
            _ if length == 0 => Keep::Nothing,
            Some(same) => Keep::As(*same),
            None if is_end => Keep::Own,
            None if length <= room => {
                room -= length;
                Keep::Own
            }
            None => Keep::Nothing,
        };
        if let Keep::Own = keep {
            own.push(index);
        }
        put(out, attempt, keep);
    }
}

/// Reads one attempt; `earlier` are those already read from the same record.
pub(crate) fn take(take: &mut Take<'_>, earlier: &[Attempt]) -> Result<Attempt, Short> {
    let started = WallTime(take.varint("attempt time")?);
    let latency_ms = take.number("attempt latency")?;
    let byte = take.byte("attempt verdict")?;
    let verdict = *VERDICTS
        .get(usize::from(byte & !LEFT_OUT))
        .map(|(verdict, _)| verdict)
        .ok_or(Short("attempt verdict"))?;
    let left_out = match byte & LEFT_OUT {
        0 => 0,
        _ => take.number("attempts left out")?,
    };
    let status: u16 = take.number("attempt status")?;
    let text = take.text("attempt text")?.into();
    let body = match take.varint("attempt body")? {
        0 => Bytes::new(),
        1 => Bytes::copy_from_slice(take.bytes("attempt body")?),
        same => {
            let index = usize::try_from(same - 2).map_err(|_| Short("attempt body"))?;
            earlier
                .get(index)
                .ok_or(Short("attempt body"))?
                .body
                .clone()
        }
    };
    let status = (status != 0).then_some(status);
    Ok(Attempt {
        started,
        latency_ms,
        verdict,
        status,
        text,
        body,
        left_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32) -> Attempt {
        Attempt {
            started: WallTime(u64::from(number)),
            latency_ms: 0,
            verdict: Verdict::Said,
            status: Some(503),
            text: Box::default(),
            body: Bytes::new(),
            left_out: 0,
        }
    }

    #[test]
    fn the_first_and_the_last_are_kept_and_the_others_counted() {
        let mut history = Vec::new();
        (1..=1_000).for_each(|number| push(&mut history, attempt(number)));
        assert!(history.iter().all(|attempt| attempt.left_out == 0));
        (1_001..=5_000).for_each(|number| push(&mut history, attempt(number)));
        assert_eq!((history.len(), count(&history)), (ATTEMPTS_KEPT_MAX, 5_000));
        let numbers: Vec<u32> = numbered(&history).map(|(number, _)| number).collect();
        let expected: Vec<u32> = (1..=500).chain(4_501..=5_000).collect();
        assert_eq!(numbers, expected);
        let numbers_are_theirs =
            numbered(&history).all(|(number, attempt)| attempt.started.0 == u64::from(number));
        assert!(numbers_are_theirs);
    }
}
