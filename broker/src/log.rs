//! The log as the broker uses it: the journal with its clock, and the broker's words for it.
//!
//! `append` is for what must be durable before somebody is told so (events, replies with their
//! settlement); `note` for what may repeat after a crash (Routed, Settled, Parked, Dead): it is
//! durable within 50 ms, in order, and never dropped: when the journal has no room the noting
//! side waits.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use journal::{
    AppendError, Appended, Clock, Full, Group, Journal, LocalJournal, Offset, Porter, Record, Why,
    mutant,
};

use crate::steady::Steady;

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    journal: Journal,
    /// Of a thread with a porter: its appends are woken together.
    local: Option<LocalJournal>,
    clock: Arc<dyn Clock>,
    /// Whether what room is left must be kept for endings.
    short: Arc<AtomicBool>,
    steady: Arc<Steady>,
}

/// The journal has stopped: nothing can be written any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log has stopped")]
pub struct Stopped;

impl Log {
    /// The log over `journal`, with the clock that stamps what is written.
    pub fn new(journal: Journal, clock: Arc<dyn Clock>) -> Self {
        Self {
            journal,
            local: None,
            clock,
            short: Arc::new(AtomicBool::new(false)),
            steady: Arc::default(),
        }
    }

    /// The same log for the tasks of one current-thread runtime, whose appends are woken
    /// together by the porter, which must be spawned there.
    pub fn local(&self) -> (Self, Porter) {
        let (local, porter) = self.journal.local();
        (
            Self {
                local: Some(local),
                ..self.clone()
            },
            porter,
        )
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Whether what is too old may end now: not for a while after the wall clock stepped.
    pub fn may_delete(&self) -> bool {
        self.steady.may_delete(&*self.clock) || mutant::is("expire-after-clock-step")
    }

    /// How long nothing may end for its age yet.
    pub fn unsure_for(&self) -> Option<Duration> {
        self.steady.unsure_for(&*self.clock)
    }

    /// The journal under it.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether so little room is left that it must be kept for what ends deliveries, and so lets
    /// the log be reclaimed. Parked records are not written then: their attempts repeat if the
    /// process ends before there is room again.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Says whether it is; the router looks now and then.
    pub(crate) fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }

    /// The first offset that is not durable yet.
    pub fn end(&self) -> Offset {
        *self.journal.durable().borrow()
    }

    /// Writes `group`, all or none, and returns its offsets once it would survive a power cut.
    pub fn append(&self, group: Group) -> Appended {
        match &self.local {
            Some(local) => local.append(group),
            None => self.journal.append(group),
        }
    }

    /// As [`Log::append`], for what ends more than it begins: it may use a share of the room that
    /// is kept for endings.
    pub fn append_reserved(&self, group: Group) -> Appended {
        match &self.local {
            Some(local) => local.append_reserved(group),
            None => self.journal.append_reserved(group),
        }
    }

    /// Notes groups, or records, each a group of its own; waits while the journal has no room for them.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the journal has.
    pub async fn note(&self, groups: impl IntoIterator<Item: Into<Group>>) -> Result<(), Stopped> {
        for group in groups {
            let mut group = group.into();
            loop {
                match self.journal.note(group) {
                    Ok(()) => break,
                    Err(Full {
                        group: back,
                        why: Why::Full { .. },
                    }) => {
                        if mutant::is("drop-notes-without-room") {
                            break;
                        }
                        group = back;
                        self.journal.noted_room().await;
                    }
                    Err(Full {
                        why: Why::Refused(_),
                        ..
                    }) => return Err(Stopped),
                }
            }
        }
        Ok(())
    }

    /// Returns once everything noted so far is durable.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the journal has.
    pub async fn flush(&self) -> Result<(), Stopped> {
        self.journal.flush().await.map(drop).map_err(|_| Stopped)
    }

    /// Writes a reply and its settlement as one group, so that a crash repeats both or neither.
    /// Replies have reserved room, so that they still fit when publishers are refused.
    /// While storage can't take it, keeps it and tries again each second.
    ///
    /// # Errors
    ///
    /// [`AppendError::Stopped`] when the journal has; [`AppendError::TooLarge`] when the
    /// reply can never be stored.
    pub async fn append_reply(
        &self,
        reply: Record,
        settled: Record,
    ) -> Result<Range<Offset>, AppendError> {
        if mutant::is("settle-before-reply-is-stored") {
            let noted = self.note([settled]).await;
            noted.map_err(|_| AppendError::Stopped)?;
            self.flush().await.map_err(|_| AppendError::Stopped)?;
            return self.append_reserved(Group::one(reply)).await;
        }
        loop {
            let group = Group::new(vec![reply.clone(), settled.clone()]);
            match self.append_reserved(group).await {
                Err(AppendError::NoSpace { .. }) => tokio::time::sleep(REPLY_RETRY_EVERY).await,
                end => return end,
            }
        }
    }
}

/// How long a reply that storage couldn't take is kept before it is tried again.
const REPLY_RETRY_EVERY: Duration = Duration::from_secs(1);
