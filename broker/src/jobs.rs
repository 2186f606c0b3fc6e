//! Jobs: work that the engine does on request and that takes a while, as a redrive. Each has an id,
//! says how far it is, and stops when it is told to.
//!
//! Jobs are not remembered over a restart. What they did is in the log, so the same request goes on
//! where one was cut off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use journal::WallTime;
use tokio::sync::watch;

use crate::log::Log;
pub use crate::router::again::Tracker;

/// Jobs at work at the same time. A further one is refused.
pub const RUNNING_MAX: usize = 8;

/// Jobs that have ended and can still be asked about. The oldest are forgotten first.
pub const ENDED_KEPT_MAX: usize = 100;

/// Refusals that a job tells by name. Beyond, they are only counted.
pub const REFUSALS_KEPT_MAX: usize = 100;

/// All jobs of an engine. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Jobs(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    last: u64,
    jobs: BTreeMap<u64, Arc<Job>>,
}

/// There are [`RUNNING_MAX`] jobs at work already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{RUNNING_MAX} jobs are at work already; wait for one to end, or stop one")]
pub struct TooMany;

/// One job.
#[derive(Debug)]
pub struct Job {
    /// What it is asked about with.
    pub id: u64,
    /// What it does, in a word: `redrive`, `discard`, `replay`.
    pub kind: &'static str,
    /// When it began.
    pub began: WallTime,
    /// Whether it only says what it would do.
    pub dry_run: bool,
    /// How what it began ended.
    pub tracker: Arc<Tracker>,
    progress: Mutex<Progress>,
    stop: watch::Sender<bool>,
}

/// How far a job is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Whether it is at work.
    pub state: State,
    /// When it ended.
    pub ended: Option<WallTime>,
    /// What it has looked at.
    pub looked_at: u64,
    /// What it has done; in a dry run, what it would have.
    pub done: u64,
    /// The first few of them.
    pub first: Vec<u64>,
    /// What it couldn't do.
    pub refused: u64,
    /// The first [`REFUSALS_KEPT_MAX`] of them.
    pub refusals: Vec<Refusal>,
}

/// Whether a job is at work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// It is.
    #[default]
    Running,
    /// It has done all it was asked to. What it began may still be on its way.
    Done,
    /// It was told to stop.
    Stopped,
    /// It couldn't go on.
    Failed(String),
}

/// Something that a job couldn't do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A dead letter's id, or an event's offset.
    pub id: u64,
    /// Why not, and what to do.
    pub why: String,
}

impl Jobs {
    /// A new job.
    ///
    /// # Errors
    ///
    /// [`TooMany`].
    pub fn begin(
        &self,
        kind: &'static str,
        dry_run: bool,
        began: WallTime,
    ) -> Result<Arc<Job>, TooMany> {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |job: &&Arc<Job>| job.progress().state == State::Running;
        if board.jobs.values().filter(running).count() >= RUNNING_MAX {
            return Err(TooMany);
        }
        while board.jobs.len() >= RUNNING_MAX + ENDED_KEPT_MAX {
            let ended = board.jobs.values().find(|job| !running(job));
            let Some(id) = ended.map(|job| job.id) else {
                break;
            };
            board.jobs.remove(&id);
        }
        board.last += 1;
        let job = Arc::new(Job {
            id: board.last,
            kind,
            began,
            dry_run,
            tracker: Arc::default(),
            progress: Mutex::default(),
            stop: watch::Sender::new(false),
        });
        board.jobs.insert(job.id, Arc::clone(&job));
        Ok(job)
    }

    /// One of them.
    pub fn get(&self, id: u64) -> Option<Arc<Job>> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.jobs.get(&id).cloned()
    }

    /// All that are remembered, the newest first.
    pub fn all(&self) -> Vec<Arc<Job>> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.jobs.values().rev().cloned().collect()
    }
}

impl Job {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.locked(|progress| progress.clone())
    }

    /// Tells it to stop. What it began goes on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Returns when it is told to stop.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives in this job.
        drop(stop.wait_for(|stop| *stop).await);
    }

    /// Notes how far it is.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Progress)) {
        self.locked(change);
    }

    /// Notes what it couldn't do.
    pub(crate) fn refuse(&self, id: u64, why: impl Into<String>) {
        self.locked(|progress| {
            progress.refused += 1;
            if progress.refusals.len() < REFUSALS_KEPT_MAX {
                let why = why.into();
                progress.refusals.push(Refusal { id, why });
            }
        });
    }

    /// Has the job end as failed where its work is dropped before it has said how it ended.
    pub(crate) fn ending(self: &Arc<Self>, log: Log) -> Ending {
        let job = Arc::clone(self);
        Ending { job, log }
    }

    /// It is at work no more.
    pub(crate) fn end(&self, state: State, now: WallTime) {
        self.locked(|progress| {
            progress.state = state;
            progress.ended = Some(now);
        });
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Progress) -> T) -> T {
        act(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sees to it that no job is at work for ever that nobody works at.
pub(crate) struct Ending {
    job: Arc<Job>,
    log: Log,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.job.progress().state == State::Running {
            let why = "its work was dropped; make the same request again to go on";
            self.job
                .end(State::Failed(why.into()), self.log.clock().wall());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_run_and_the_oldest_that_ended_are_forgotten() {
        let jobs = Jobs::default();
        let begin = || jobs.begin("redrive", false, WallTime(1));
        let running: Vec<_> = (0..RUNNING_MAX).map(|_| begin().unwrap()).collect();
        assert_eq!(begin().err(), Some(TooMany));
        running[1].end(State::Done, WallTime(2));
        for _ in 0..ENDED_KEPT_MAX + 5 {
            begin().unwrap().end(State::Stopped, WallTime(3));
        }
        assert!(jobs.get(running[0].id).is_some(), "it runs");
        assert!(jobs.get(running[1].id).is_none(), "it ended first");
        assert!(jobs.all().len() <= RUNNING_MAX + ENDED_KEPT_MAX);
        assert!(jobs.all()[0].id > jobs.all()[1].id, "the newest first");
    }

    #[test]
    fn refusals_are_told_up_to_a_bound_and_counted_beyond() {
        let job = Jobs::default()
            .begin("discard", false, WallTime(1))
            .unwrap();
        for id in 0..150 {
            job.refuse(id, "it is gone");
        }
        let progress = job.progress();
        assert_eq!((progress.refused, progress.refusals.len()), (150, 100));
    }
}
