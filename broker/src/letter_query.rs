//! Which dead letters: the filters of `weft dead-letters`, the same for list, redrive, discard and
//! export.
//!
//! What the view knows is asked of it; the rest, type and text, is asked of the letter's record, so
//! such a search reads the disk and is bounded ([`READ_MAX`]).

use journal::{Offset, WallTime};
use triggers::TriggerName;

use crate::dead_letters::{Letter, Reason, Row, State};
use crate::records::Number;

/// Letters that one look reads from disk in search of those that are wanted. A longer search goes
/// on from where it stopped.
pub const READ_MAX: usize = 2_000;

/// Which letters. Everything that is `None` doesn't matter.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only this trigger's.
    pub trigger: Option<TriggerName>,
    /// Only those of the trigger with this number.
    pub number: Option<Number>,
    /// Only those that are here for this.
    pub reason: Option<Reason>,
    /// Only those in this state.
    pub state: Option<StateIs>,
    /// Only those whose last attempt was answered with this status.
    pub status: Option<u16>,
    /// Only those whose event is of this type.
    pub ty: Option<TypeIs>,
    /// Only those that died before then.
    pub died_before: Option<WallTime>,
    /// Only those that died then or later.
    pub died_from: Option<WallTime>,
    /// Only those that have this text in what an attempt came to: the start of the answer's body,
    /// or why there was none; in what a source rejected: why, or the value.
    pub contains: Option<String>,
}

/// What has become of a letter, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateIs {
    /// It waits for somebody.
    Kept,
    /// It was redriven.
    Redriven,
    /// It was discarded.
    Discarded,
}

/// An event type, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeIs {
    /// This type.
    Exactly(String),
    /// All that begin so; written with a `*` behind it.
    Beginning(String),
}

impl TypeIs {
    /// Reads `com.example.order.placed` or `com.example.*`.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::Beginning(beginning.to_owned()),
            None => Self::Exactly(text.to_owned()),
        }
    }

    fn is(&self, ty: &str) -> bool {
        match self {
            Self::Exactly(exactly) => ty == exactly,
            Self::Beginning(beginning) => ty.starts_with(beginning.as_str()),
        }
    }
}

impl Query {
    /// Whether the index says that it may be wanted.
    pub fn wants_row(&self, row: &Row) -> bool {
        let state = |state| match row.state {
            State::Kept => state == StateIs::Kept,
            State::Redriven(_) => state == StateIs::Redriven,
            State::Discarded(_) => state == StateIs::Discarded,
        };
        self.trigger
            .as_ref()
            .is_none_or(|name| row.trigger == *name)
            && self.number.is_none_or(|number| row.number == number)
            && self.reason.is_none_or(|reason| row.reason == reason)
            && self.state.is_none_or(state)
            && self.status.is_none_or(|status| row.status == Some(status))
            && self.died_before.is_none_or(|before| row.at < before)
            && self.died_from.is_none_or(|from| from <= row.at)
    }

    /// Whether the letter itself must be read to know.
    pub fn reads(&self) -> bool {
        self.ty.is_some() || self.contains.is_some()
    }

    /// Whether a letter is wanted whose row is.
    pub fn wants(&self, letter: &Letter) -> bool {
        let ty = |wanted: &TypeIs| {
            let event = letter.event.as_ref();
            event.is_ok_and(|envelope| wanted.is(envelope.event.as_ref().ty()))
        };
        let contains = |text: &String| {
            let rejected = letter.rejected().is_some_and(|rejected| {
                rejected.why.contains(text.as_str()) || has(&rejected.value, text.as_bytes())
            });
            let mut attempts = letter.attempts().iter();
            rejected
                || attempts.any(|attempt| {
                    attempt.text.contains(text.as_str()) || has(&attempt.body, text.as_bytes())
                })
        };
        self.ty.as_ref().is_none_or(ty) && self.contains.as_ref().is_none_or(contains)
    }
}

fn has(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|window| window == text)
}

/// In which order letters are looked at, and from where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The newest first, of those older than this one.
    NewestBefore(Offset),
    /// The oldest first, from this one on.
    Oldest(Offset),
}

/// What a look found.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The letters.
    pub letters: Vec<Letter>,
    /// Where to go on looking; `None` when all have been looked at.
    pub next: Option<Offset>,
    /// How many had to be read from disk.
    pub read: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_may_end_in_a_star() {
        let is = |pattern: &str, ty| TypeIs::parse(pattern).is(ty);
        assert!(is("com.example.order", "com.example.order"));
        assert!(!is("com.example.order", "com.example.order.placed"));
        assert!(is("com.example.*", "com.example.order.placed"));
        assert!(!is("com.example.*", "com.exempli.order"));
        assert!(is("*", ""));
    }

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        assert!(has(b"no such customer", b"customer"));
        assert!(has(b"", b""));
        assert!(!has(b"cust", b"customer"));
        assert!(!has(b"no such customer", b"Customer"));
    }
}
