//! Pausing and resuming: who asks, and what must be on disk before it holds.
//!
//! The book of pauses is changed first, then its record is noted, then lanes are told. So a
//! segment that opens in between begins with the change, and what is told survives a crash.
//! Resuming from another point than the backlog ends what is owed before that point as
//! `cancelled{dropped}` while still paused, and resumes when that is on disk: a crash in between
//! leaves it paused, with part of it dropped.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use journal::{Offset, Record, WallTime};
use tokio::sync::oneshot;
use triggers::{Destination, Lowered, NotReady, TriggerName};

use crate::engine::{Ended, Engine};
use crate::log::{Log, Stopped};
use crate::pauses::{PauseBook, Pauses, What};
use crate::records::{Number, paused};
use crate::registry::Registry;
use crate::router::ToRouter;
use crate::worker::{ToWorker, Whose};

/// The book of pauses, and the log that keeps it.
pub(crate) struct Pausing {
    log: Log,
    book: Arc<Mutex<PauseBook>>,
    /// One change at a time, so that records stand in the order of changes.
    turn: tokio::sync::Mutex<()>,
    /// What the resources of the log pause and no record says yet: the process ended in between.
    found: Mutex<Vec<What>>,
}

impl Pausing {
    /// With what the log says, and what the last resources of the log pause: nothing may be sent
    /// to them while the router is still reading how they came to be.
    pub(crate) fn new(log: Log, mut book: PauseBook, registry: &Registry) -> Self {
        let (lowered, _) = registry.lowered();
        let now = log.clock().wall();
        let mut found: Vec<What> = annotated(&lowered, |name| registry.trigger_number(name))
            .into_iter()
            .collect();
        found.retain(|what| book.annotation(what, true, now));
        Self {
            log,
            book: Arc::new(Mutex::new(book)),
            turn: tokio::sync::Mutex::new(()),
            found: Mutex::new(found),
        }
    }

    /// Writes down what was found paused when the log was opened.
    pub(crate) async fn note_found(&self) -> Result<(), Stopped> {
        let _turn = self.turn.lock().await;
        let found = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        self.change(|_, _| found).await
    }

    /// What a segment opens with, beside the resources.
    pub(crate) fn opening(&self) -> impl Fn() -> Vec<Record> + Send + Sync + 'static {
        // Not the log: the journal keeps this, and would keep itself.
        let book = Arc::clone(&self.book);
        move || {
            let book = book.lock().unwrap_or_else(PoisonError::into_inner);
            book.iter()
                .map(|(what, standing)| paused::record(what, standing))
                .collect()
        }
    }

    /// Looks at the book.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&PauseBook) -> T) -> T {
        look(&self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When a lane was, or is, paused.
    pub(crate) fn of(&self, trigger: Option<Number>, destination: &str) -> Pauses {
        self.look(|book| book.of(trigger, destination))
    }

    /// Pauses or resumes by command, durably.
    async fn command(&self, what: &What, pause: bool) -> Result<(), Stopped> {
        let _turn = self.turn.lock().await;
        self.change(|book, now| match book.command(what, pause, now) {
            true => vec![what.clone()],
            false => Vec::new(),
        })
        .await?;
        self.log.flush().await
    }

    /// Takes in what annotations pause now: these, and nothing else.
    pub(crate) async fn annotated(&self, wanted: &HashSet<What>) -> Result<(), Stopped> {
        let differs = self.look(|book| {
            let by_annotation = book.iter().filter(|(_, standing)| standing.annotation);
            let known: HashSet<&What> = by_annotation.map(|(what, _)| what).collect();
            known.len() != wanted.len() || wanted.iter().any(|what| !known.contains(what))
        });
        if !differs {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        self.change(|book, now| {
            let mut all: HashSet<What> = book.iter().map(|(what, _)| what.clone()).collect();
            all.extend(wanted.iter().cloned());
            all.into_iter()
                .filter(|what| book.annotation(what, wanted.contains(what), now))
                .collect()
        })
        .await
    }

    /// Forgets deleted triggers. Their Delete is on disk, which says the same.
    pub(crate) fn forget(&self, deleted: &HashSet<Number>) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.iter().for_each(|number| book.forget(*number));
    }

    async fn change(
        &self,
        change: impl FnOnce(&mut PauseBook, WallTime) -> Vec<What>,
    ) -> Result<(), Stopped> {
        let now = self.log.clock().wall();
        let records: Vec<Record> = {
            let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = change(&mut book, now);
            let records = changed.iter().map(|what| {
                let standing = book.get(what).cloned().unwrap_or_default();
                paused::record(what, &standing)
            });
            records.collect()
        };
        self.log.note(records).await
    }
}

/// What a lowered set of resources pauses by annotation.
pub(crate) fn annotated(
    lowered: &Lowered,
    number: impl Fn(&TriggerName) -> Option<Number>,
) -> HashSet<What> {
    let mut paused = HashSet::new();
    for trigger in lowered.triggers.values() {
        if trigger.terms.paused
            && let Some(number) = number(&trigger.name)
        {
            paused.insert(What::Trigger(number));
        }
        for destination in destinations_of(trigger) {
            if destination.health().is_some_and(|health| health.paused) {
                paused.insert(What::Destination(destination.key().as_str().into()));
            }
        }
    }
    paused
}

fn destinations_of(trigger: &triggers::Trigger) -> impl Iterator<Item = &Destination> {
    std::iter::once(&trigger.subscriber).chain(&trigger.dead_letter)
}

/// What to pause or resume, in a person's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A trigger.
    Trigger(TriggerName),
    /// A destination: its address, its key, or the name of a Sink, `namespace/name`.
    Destination(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Trigger(name) => write!(f, "trigger {name}"),
            Self::Destination(text) => write!(f, "destination {text}"),
        }
    }
}

/// Where a resumed lane goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResumeFrom {
    /// With all that is owed.
    #[default]
    Backlog,
    /// With what is stored from now on.
    Latest,
    /// With what was stored at this time or later.
    At(WallTime),
}

/// Paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// Since when.
    pub since: WallTime,
    /// Whether it was before.
    pub already: bool,
}

/// Resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// How many deliveries were, or would be, cancelled.
    pub dropped: u64,
    /// How long it was paused.
    pub paused_for: Duration,
}

/// Why nothing was paused or resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PauseError {
    /// There is no such trigger.
    #[error("there is no trigger {0}; `weft get triggers` lists those there are")]
    NoSuchTrigger(TriggerName),
    /// No trigger sends there.
    #[error(
        "no trigger sends to {text:?}; `weft get destinations` lists where they send, and a Sink is named NAMESPACE/NAME"
    )]
    NoSuchDestination {
        /// What was asked for.
        text: String,
    },
    /// It runs.
    #[error("{0} isn't paused")]
    NotPaused(String),
    /// It runs, but for where it sends.
    #[error("{what} isn't paused itself, its destination is: {cure}")]
    WithDestination {
        /// What was to go on.
        what: String,
        /// What lets its destination go on.
        cure: String,
    },
    /// Its YAML says so, and goes on saying so.
    #[error("{what} is paused by its YAML, not by a command: {cure}")]
    ByAnnotation {
        /// What is paused.
        what: String,
        /// The resource that says so: `Trigger shop/billing`.
        resource: String,
        /// What to edit.
        cure: &'static str,
    },
    /// Nobody paused it: what it names isn't there.
    #[error("{what} isn't paused but not ready ({}): nothing is sent until {}", .why.reason(), .why.waits_for())]
    NotReady {
        /// What is held back.
        what: String,
        /// What is missing.
        why: NotReady,
    },
    /// The log stopped, or the engine has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl From<Stopped> for PauseError {
    fn from(stopped: Stopped) -> Self {
        Self::Ended(stopped.into())
    }
}

impl Engine {
    /// Pauses a trigger or a destination: from when this returns nothing more is sent, what is in
    /// the air may finish, and events go on being matched and owed. It survives a restart.
    ///
    /// # Errors
    ///
    /// [`PauseError`]; nothing has changed.
    pub async fn pause(&self, target: &Target) -> Result<Paused, PauseError> {
        let what = self.resolve(target)?;
        let since = |book: &PauseBook| book.get(&what).and_then(|standing| standing.since);
        let before = self.pausing.look(since);
        self.pausing.command(&what, true).await?;
        self.pauses_changed().await?;
        let since = self.pausing.look(since);
        Ok(Paused {
            since: since.unwrap_or_else(|| self.log.clock().wall()),
            already: before.is_some(),
        })
    }

    /// Resumes what a command paused. With `count_only` nothing changes: it says what would be
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`PauseError`]; it stays paused.
    pub async fn resume(
        &self,
        target: &Target,
        from: ResumeFrom,
        count_only: bool,
    ) -> Result<Resumed, PauseError> {
        let what = self.resolve(target)?;
        let standing = self.pausing.look(|book| book.get(&what).cloned());
        let standing = standing.unwrap_or_default();
        let Some(since) = standing.since else {
            return Err(self.not_paused(target));
        };
        if standing.annotation {
            return Err(self.by_yaml(target, &what));
        }
        let before = match from {
            ResumeFrom::Backlog => None,
            ResumeFrom::Latest => Some(self.log.end()),
            ResumeFrom::At(time) => Some(self.offset_at(time).await?),
        };
        let mut dropped = 0;
        if let Some(before) = before {
            // What is stored must be owed before it can be dropped.
            self.routed_to(before).await?;
            loop {
                let now = self.end_owed(&what, before, count_only).await?;
                dropped += now;
                if count_only || now == 0 {
                    break;
                }
            }
        }
        let paused_for = self.log.clock().wall().since(since);
        if !count_only {
            self.log.flush().await?;
            self.pausing.command(&what, false).await?;
            self.pauses_changed().await?;
        }
        Ok(Resumed {
            dropped,
            paused_for,
        })
    }

    /// What is so instead: a trigger may be held back by its destination.
    fn not_paused(&self, target: &Target) -> PauseError {
        let what = target.to_string();
        let Target::Trigger(name) = target else {
            return PauseError::NotPaused(what);
        };
        let (lowered, _) = self.registrar.lowered();
        let trigger = lowered.triggers.get(name);
        let key = trigger.map(|trigger| Arc::<str>::from(trigger.subscriber.key().as_str()));
        let standing = key.map(|key| {
            let destination = What::Destination(Arc::clone(&key));
            (
                key,
                self.pausing.look(|book| book.get(&destination).cloned()),
            )
        });
        match standing {
            Some((key, Some(standing))) if standing.since.is_some() => {
                let name = key.strip_prefix("sink:").unwrap_or(&key);
                let cure = match standing.annotation {
                    true => format!("edit spec.paused of the Sink {name}"),
                    false => format!("`weft resume destination {name}`"),
                };
                PauseError::WithDestination { what, cure }
            }
            _ => PauseError::NotPaused(what),
        }
    }

    /// Whether there is a trigger of this name.
    pub fn has_trigger(&self, name: &TriggerName) -> bool {
        self.registrar.trigger_number(name).is_some()
    }

    /// Why no command resumes it.
    fn by_yaml(&self, target: &Target, what: &What) -> PauseError {
        let not_ready = match target {
            Target::Trigger(name) => {
                let (lowered, _) = self.registrar.lowered();
                lowered.triggers.get(name).and_then(|found| found.not_ready)
            }
            Target::Destination(_) => None,
        };
        match not_ready {
            Some(why) => PauseError::NotReady {
                what: target.to_string(),
                why,
            },
            None => by_annotation(target, what),
        }
    }

    fn resolve(&self, target: &Target) -> Result<What, PauseError> {
        match target {
            Target::Trigger(name) => {
                let number = self.registrar.trigger_number(name);
                let number = number.ok_or_else(|| PauseError::NoSuchTrigger(name.clone()))?;
                Ok(What::Trigger(number))
            }
            Target::Destination(text) => {
                let (lowered, _) = self.registrar.lowered();
                let mut keys: HashSet<Arc<str>> = lowered
                    .triggers
                    .values()
                    .flat_map(destinations_of)
                    .map(|destination| Arc::from(destination.key().as_str()))
                    .collect();
                // One that was paused can be resumed though nobody sends there any more.
                self.pausing.look(|book| {
                    keys.extend(book.iter().filter_map(|(what, _)| match what {
                        What::Destination(key) => Some(Arc::clone(key)),
                        What::Trigger(_) => None,
                    }));
                });
                spellings(text)
                    .iter()
                    .find_map(|spelling| keys.get(spelling.as_str()))
                    .map(|key| What::Destination(Arc::clone(key)))
                    .ok_or_else(|| PauseError::NoSuchDestination { text: text.clone() })
            }
        }
    }

    /// Has the router tell every lane whether it is paused.
    async fn pauses_changed(&self) -> Result<(), Ended> {
        let (done, told) = oneshot::channel();
        let asked = self.router.send(ToRouter::PausesChanged(done)).await;
        asked.map_err(|_| Ended)?;
        told.await.map_err(|_| Ended)
    }

    /// Ends, or counts, a batch of what lanes owe before an offset.
    async fn end_owed(&self, what: &What, before: Offset, count_only: bool) -> Result<u64, Ended> {
        let mut ended = 0;
        for worker in &self.workers {
            let (done, count) = oneshot::channel();
            let drop_owed = ToWorker::Drop {
                whose: Whose::from(what),
                before,
                count_only,
                done,
            };
            worker.send(drop_owed).await.map_err(|_| Ended)?;
            ended += count.await.map_err(|_| Ended)?;
        }
        Ok(ended)
    }
}

fn by_annotation(target: &Target, what: &What) -> PauseError {
    let (resource, cure) = match what {
        What::Trigger(_) => (
            target.to_string().replacen('t', "T", 1),
            "remove the annotation weft.dev/paused, or make it \"false\"",
        ),
        What::Destination(key) => (
            format!("Sink {}", key.strip_prefix("sink:").unwrap_or(key)),
            "remove spec.paused of the Sink, or make it false",
        ),
    };
    PauseError::ByAnnotation {
        what: target.to_string(),
        resource,
        cure,
    }
}

/// How a destination may be written: as its key, as an address, as a Sink's name.
fn spellings(text: &str) -> Vec<String> {
    let mut spellings = vec![text.to_owned()];
    if let Ok(destination) = Destination::parse(text) {
        spellings.push(destination.key().as_str().to_owned());
    } else {
        spellings.push(format!("sink:{text}"));
        spellings.push(format!("sink:default/{text}"));
    }
    spellings
}
