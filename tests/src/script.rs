//! How a function answers, as a script: `times(2, 503).then(200)`.
//!
//! A script is followed per event: each event meets it from its first line, so that what comes of
//! one event doesn't depend on how many others there are. Its last line holds for ever.

use std::time::Duration;

use broker::Nack;
use bytes::Bytes;

/// One kind of answer.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A status, perhaps with a body.
    Status(u16),
    /// This status with an event of this type.
    Reply(u16, String),
    /// A success that claims to be an event and isn't.
    Garbled,
    /// Nothing ever.
    Hang,
    /// Nobody listens.
    Refuse,
    /// The connection breaks.
    Reset,
    /// A bug of ours: the sink panics.
    Panic,
}

/// One line of a script.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// How often it is given; the last line's is ignored.
    times: u32,
    pub(crate) what: What,
    pub(crate) wait: Duration,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) nack: Option<Nack>,
    /// How many it answers at the same time; 0: all.
    pub(crate) workers: usize,
    pub(crate) body: Bytes,
    /// Whether the body begins with a number of its own at each call.
    pub(crate) numbered: bool,
}

/// What a function answers to one event, attempt by attempt.
#[derive(Debug, Clone)]
pub struct Script {
    lines: Vec<Line>,
}

/// This status each time. A 2xx has no body unless [`Script::body`] gives it one.
pub fn always(status: u16) -> Script {
    Script::of(What::Status(status))
}

/// This status so many times; say what comes [`Script::then`].
pub fn times(count: u32, status: u16) -> Script {
    always(status).times(count)
}

/// Takes the request and never answers.
pub fn hangs() -> Script {
    Script::of(What::Hang)
}

/// Answers 200 with an event of this type, its `id` made from the request's.
pub fn replies(ty: &str) -> Script {
    replies_with(200, ty)
}

/// Answers this success with an event of this type.
pub fn replies_with(status: u16, ty: &str) -> Script {
    Script::of(What::Reply(status, ty.to_owned()))
}

/// Answers 200 with a body that claims to be an event and isn't.
pub fn garbles() -> Script {
    Script::of(What::Garbled)
}

/// The sink panics, as a bug of ours would have it.
pub fn panics() -> Script {
    Script::of(What::Panic)
}

/// Answers 200 after this long.
pub fn after(wait: Duration) -> Script {
    always(200).after(wait)
}

/// Nobody listens there.
pub fn refuses_connection() -> Script {
    Script::of(What::Refuse)
}

/// The connection breaks before an answer.
pub fn resets() -> Script {
    Script::of(What::Reset)
}

impl Script {
    fn of(what: What) -> Script {
        let line = Line {
            times: 1,
            what,
            wait: Duration::ZERO,
            retry_after: None,
            nack: None,
            workers: 0,
            body: Bytes::new(),
            numbered: false,
        };
        Script { lines: vec![line] }
    }

    /// Gives the last line so many times.
    #[must_use]
    pub fn times(self, count: u32) -> Script {
        self.with(|line| line.times = count)
    }

    /// Has the last line take so long.
    #[must_use]
    pub fn after(self, wait: Duration) -> Script {
        self.with(|line| line.wait = wait)
    }

    /// Has the last line ask to be left alone so long.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Script {
        self.with(|line| line.retry_after = Some(wait))
    }

    /// Has the last line decline the event by `Weft-Nack`.
    #[must_use]
    pub fn nack(self, nack: Nack) -> Script {
        self.with(|line| line.nack = Some(nack))
    }

    /// Has so many requests of the last line worked on at the same time: who comes beyond waits
    /// until one is done.
    #[must_use]
    pub fn workers(self, count: usize) -> Script {
        self.with(|line| line.workers = count)
    }

    /// Gives the last line a body; with a reply, its data.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Script {
        let body = body.into();
        self.with(|line| line.body = body)
    }

    /// Has the last line's body differ from call to call.
    #[must_use]
    pub fn numbered(self) -> Script {
        self.with(|line| line.numbered = true)
    }

    /// What comes after.
    #[must_use]
    pub fn then(mut self, next: impl Into<Script>) -> Script {
        self.lines.extend(next.into().lines);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Line)) -> Script {
        if let Some(line) = self.lines.last_mut() {
            change(line);
        }
        self
    }

    /// The line for an event that has been answered so many times.
    pub(crate) fn line(&self, answered: u32) -> &Line {
        let mut before = 0;
        let last = self.lines.len() - 1;
        let found = self.lines[..last].iter().find(|line| {
            before += line.times;
            answered < before
        });
        found.unwrap_or(&self.lines[last])
    }
}

impl From<u16> for Script {
    fn from(status: u16) -> Script {
        always(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_given_in_order_and_the_last_for_ever() {
        let script = times(2, 503).then(429).then(hangs().times(2)).then(200);
        let given: Vec<String> = (0..7)
            .map(|n| match &script.line(n).what {
                What::Status(status) => status.to_string(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(given, ["503", "503", "429", "Hang", "Hang", "200", "200"]);
    }
}
