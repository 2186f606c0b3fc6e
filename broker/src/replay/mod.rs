//! Replay: events of the past are owed again, to a trigger or to another destination; and a new
//! trigger's start, which is the same from the log's beginning, or a time, to the trigger's own.
//!
//! A replay goes through the log once, from its cursor to its end, and owes what matches through
//! the router, as a redrive does: no more than [`OUTSTANDING_MAX`](crate::again::OUTSTANDING_MAX)
//! deliveries ahead of what has ended, in the lane's list that gives way to live events. Each step
//! is one record, so that a restart goes on at the cursor and owes nothing twice. What is judged
//! by is the trigger's filter when the replay began, or was taken up again by a restart.
//!
//! It reads the log's history and nothing else: an event that retention took is gone for a replay,
//! also where a dead letter of it is still kept.

mod book;
mod filters;
mod run;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::{Offset, Record, WallTime};
use tokio::sync::Notify;
use triggers::{BrokerName, Resource, ResourceKey, TriggerName};

pub(crate) use self::book::ReplayBook;
pub use self::run::Replayer;

use crate::ad_hoc::{AdHoc, AdHocLane};
use crate::engine::{Ended, Engine};
use crate::jobs::{Job, TooMany};
use crate::log::Stopped;
use crate::records::Number;
use crate::records::replayed::{Replayed, Spec};
use crate::time::rfc3339;

/// Who gets what is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// A trigger: what its filter wants.
    Trigger(TriggerName),
    /// Another address: what this broker was sent.
    Uri {
        /// The broker.
        broker: BrokerName,
        /// An absolute address.
        uri: String,
    },
}

/// A point in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The oldest event that the log holds.
    Earliest,
    /// The first event that arrived then or later.
    Time(WallTime),
    /// This offset.
    Offset(Offset),
}

/// A replay to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Who gets it.
    pub to: To,
    /// Where it begins.
    pub from: Point,
    /// Where it ends, that point not included; `None`: with what is stored now.
    pub until: Option<Point>,
    /// Filters that must hold beside the trigger's own, each in YAML as in a Trigger:
    /// `{prefix: {type: com.}}`.
    pub filters: Vec<String>,
    /// How many a second at the most.
    pub rate: Option<NonZeroU32>,
    /// Only say what would be owed.
    pub dry_run: bool,
}

/// Why nothing is replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is no such trigger.
    #[error("there is no trigger {0}; `weft get triggers` lists those there are")]
    NoSuchTrigger(TriggerName),
    /// There is no such broker.
    #[error("there is no broker {0}; `weft get brokers` lists those there are")]
    NoSuchBroker(BrokerName),
    /// The address can't be used.
    #[error("the address {0}")]
    Address(String),
    /// A filter doesn't compile.
    #[error("{0}")]
    Filter(String),
    /// The log doesn't reach back so far.
    #[error(
        "the log reaches back to {reaches} (offset {offset}), not further: what was before was let go of; begin there, or with `earliest`"
    )]
    TooEarly {
        /// When its oldest segment was begun.
        reaches: String,
        /// Its first offset.
        offset: u64,
    },
    /// It would end before it begins.
    #[error("nothing is stored there: it would begin at offset {from} and end before offset {to}")]
    Empty {
        /// Where it would begin.
        from: u64,
        /// Where it would end.
        to: u64,
    },
    /// Too many jobs.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The log stopped, or the engine has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl From<Stopped> for ReplayError {
    fn from(stopped: Stopped) -> Self {
        Self::Ended(stopped.into())
    }
}

/// What the engine, the router and the [`Replayer`] share.
#[derive(Default)]
pub(crate) struct Replays {
    board: Mutex<Board>,
    /// Something is new on the board.
    pub(crate) changed: Notify,
}

#[derive(Default)]
pub(crate) struct Board {
    pub(crate) book: ReplayBook,
    /// Those that a person waits for, with their jobs. Those of the book alone were begun by a
    /// trigger's start, or before a restart. Bounded by [`crate::jobs::RUNNING_MAX`].
    pub(crate) asked: VecDeque<Work>,
}

/// A replay to be worked on.
pub(crate) struct Work {
    /// `None`: a dry run, which leaves no trace.
    pub(crate) id: Option<u64>,
    pub(crate) number: Number,
    pub(crate) spec: Spec,
    pub(crate) cursor: Offset,
    pub(crate) job: Arc<Job>,
    /// Kept for as long as it is in use.
    pub(crate) ad_hoc: Option<AdHocLane>,
}

impl Replays {
    pub(crate) fn new(book: ReplayBook) -> Self {
        let board = Board {
            book,
            asked: VecDeque::new(),
        };
        Self {
            board: Mutex::new(board),
            changed: Notify::new(),
        }
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a step in, and gives its record, to be noted now.
    pub(crate) fn step(&self, replayed: &Replayed) -> Record {
        self.board().book.take(replayed);
        replayed.record()
    }
}

impl Engine {
    /// Begins a replay. It is durable when this returns, and the [`Replayer`] works on it; the job
    /// says how far it is.
    ///
    /// # Errors
    ///
    /// [`ReplayError`]; nothing was begun.
    pub async fn replay(&self, asked: Asked) -> Result<Arc<Job>, ReplayError> {
        let (lowered, _) = self.registrar.lowered();
        let filters = filters::list(&asked.filters);
        filters::compile(&filters).map_err(ReplayError::Filter)?;
        let (name, trigger) = match &asked.to {
            To::Uri { broker, uri } => {
                let parsed = triggers::Destination::parse(uri);
                parsed.map_err(|wrong| ReplayError::Address(wrong.to_string()))?;
                (broker.clone(), None)
            }
            To::Trigger(name) => {
                let number = self.registrar.trigger_number(name);
                let trigger = lowered.triggers.get(name).zip(number);
                let trigger = trigger.ok_or_else(|| ReplayError::NoSuchTrigger(name.clone()))?;
                (trigger.0.broker.clone(), Some(trigger.1))
            }
        };
        let broker = self.registrar.number(&ResourceKey {
            kind: triggers::Kind::Broker,
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
        });
        let broker = broker.ok_or_else(|| ReplayError::NoSuchBroker(name.clone()))?;
        let from = self.place(asked.from).await?;
        let to = match asked.until {
            None => self.log.end(),
            Some(point) => self.place(point).await?.min(self.log.end()),
        };
        if to <= from {
            let (from, to) = (from.0, to.0);
            return Err(ReplayError::Empty { from, to });
        }
        let now = self.log.clock().wall();
        let job = self.jobs().begin("replay", asked.dry_run, now)?;
        let ad_hoc = match (&asked.to, asked.dry_run) {
            (To::Uri { broker, uri }, false) => {
                let ad_hoc = AdHoc {
                    purpose: "replay",
                    broker: broker.clone(),
                    uri: uri.clone(),
                    like: None,
                };
                Some(self.registrar.make_ad_hoc(&ad_hoc).await?)
            }
            _ => None,
        };
        let number = trigger.or(ad_hoc.as_ref().map(|lane| lane.number));
        let mut work = Work {
            id: None,
            number: number.unwrap_or_default(),
            spec: Spec {
                start: false,
                from: 0,
                to,
                broker,
                rate: asked.rate.map_or(0, NonZeroU32::get),
                filters,
            },
            cursor: from,
            job: Arc::clone(&job),
            ad_hoc,
        };
        if asked.dry_run {
            self.replays.board().asked.push_back(work);
        } else {
            let record = {
                let mut board = self.replays.board();
                let id = board.book.next_id();
                work.id = Some(id);
                let first = Replayed {
                    id,
                    number: work.number,
                    at: now,
                    cursor: from,
                    ended: false,
                    spec: Some(work.spec.clone()),
                    offsets: Vec::new(),
                };
                board.book.take(&first);
                board.asked.push_back(work);
                first.record()
            };
            self.log.note([record]).await?;
            self.log.flush().await?;
        }
        self.replays.changed.notify_one();
        Ok(job)
    }

    /// The offset of a point, where the log still reaches back to it.
    async fn place(&self, point: Point) -> Result<Offset, ReplayError> {
        let start = self.log.journal().start();
        let oldest = self.log.journal().segments();
        let begun = oldest.first().map_or(WallTime(0), |oldest| oldest.created);
        let (offset, too_early) = match point {
            Point::Earliest => (start, false),
            Point::Offset(offset) => (offset, offset < start),
            Point::Time(time) => (self.offset_at(time).await?, time < begun),
        };
        if too_early && start > Offset(0) {
            return Err(ReplayError::TooEarly {
                reaches: rfc3339(begun),
                offset: start.0,
            });
        }
        Ok(offset)
    }
}

/// What a new trigger's start is, unless it begins with what comes.
pub(crate) fn start_of(resource: &Resource) -> Option<triggers::Start> {
    filters::start_of(resource).filter(|start| *start != triggers::Start::Latest)
}
