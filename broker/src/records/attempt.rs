//! One attempt as the log keeps it: when, how long, what came back, and the start of the body.
//!
//! Bytes: started varint (ms since 1970) | latency varint (ms) | verdict u8 | status varint (0:
//! none) | text behind a varint length | body: 0 none, 1 followed by bytes behind a varint
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
    out.push(code as u8);
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
    let verdict = *VERDICTS
        .get(usize::from(take.byte("attempt verdict")?))
        .map(|(verdict, _)| verdict)
        .ok_or(Short("attempt verdict"))?;
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
    })
}
