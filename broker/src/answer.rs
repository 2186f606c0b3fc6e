//! What came back from one attempt, in no protocol's words.
//!
//! An adapter turns a status line, a Kafka error or a refused connection into an [`Answer`]; what
//! follows from it is decided in [`crate::next_step`], which is pure. Statuses are HTTP's, since
//! that is what the CloudEvents and Knative specifications speak.

use std::time::Duration;

use bytes::Bytes;
use event::Event;

/// How much of an answer's body is kept beside an attempt, in bytes: enough for a person to see
/// what the function said, and for `knativeerrordata` (1,024 base64 characters, 768 bytes).
pub const ANSWER_BODY_KEPT_BYTES: usize = 4 * 1024;

/// What came back from one attempt.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The destination took the event.
    Took(Reply),
    /// A success whose body claims to be an event and isn't one.
    Garbled {
        /// The success's status.
        status: u16,
        /// What is wrong with the claimed event.
        why: String,
    },
    /// The destination answered with this status, and asked to be left alone this long.
    Said {
        /// The status, 100 to 999.
        status: u16,
        /// `Retry-After`, already a span from now.
        retry_after: Option<Duration>,
    },
    /// "Not processed, safe to send again" or "drop it": the header `Weft-Nack`, on any status.
    Declined {
        /// The answer's status.
        status: u16,
        /// What is asked for.
        nack: Nack,
    },
    /// Nothing came within the attempt's timeout.
    TimedOut,
    /// No connection, or one that broke before an answer. The text says which.
    Unreachable(String),
}

/// What a function asks for that did not process an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nack {
    /// `Weft-Nack: retry`. The attempt doesn't count.
    Retry {
        /// `Retry-After`, already a span from now.
        after: Option<Duration>,
    },
    /// `Weft-Nack: drop`. Nobody wants the event any more.
    Drop,
}

/// What a success carried.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Nothing, or a 202, whose body is never a reply.
    None {
        /// The success's status.
        status: u16,
    },
    /// A body that doesn't claim to be a CloudEvent, as function runtimes answer `OK`.
    Ignored {
        /// The success's status.
        status: u16,
    },
    /// What claims to be a CloudEvent and is larger than any ingress takes. The function did its
    /// work, and would answer the same again.
    TooLarge {
        /// The success's status.
        status: u16,
        /// How large, for people.
        why: String,
    },
    /// A CloudEvent, which goes through ingress of the same broker.
    Event {
        /// The success's status.
        status: u16,
        /// The event that was answered.
        event: Event,
    },
}

/// One attempt's answer with what is kept of it for people.
#[derive(Debug, Clone)]
pub struct Attempted {
    /// What it means.
    pub answer: Answer,
    /// The start of the answer's body, at most [`ANSWER_BODY_KEPT_BYTES`].
    pub body: Bytes,
}

impl Answer {
    /// The final status as `knativeerrorcode` shows it: 500 for a transport failure
    /// (contract §3).
    pub fn code(&self) -> u16 {
        match self {
            Self::Took(
                Reply::None { status }
                | Reply::Ignored { status }
                | Reply::TooLarge { status, .. }
                | Reply::Event { status, .. },
            )
            | Self::Garbled { status, .. }
            | Self::Said { status, .. }
            | Self::Declined { status, .. } => *status,
            Self::TimedOut | Self::Unreachable(_) => 500,
        }
    }
}

impl From<Answer> for Attempted {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            body: Bytes::new(),
        }
    }
}
