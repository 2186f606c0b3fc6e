//! The engine: everything between the door and the sinks, wired together.
//!
//! [`Engine::open`] folds the log and gives back the parts that must run: one router, and a
//! worker a core. `weft` gives each worker a thread; a scenario runs them all in one.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use journal::{Clock, Journal, Offset, Porter, mutant};
use tokio::sync::{mpsc, oneshot, watch};
use triggers::{Change, Resource};

use crate::admission::Admission;
use crate::books::by_cause;
use crate::careful::Careful;
use crate::dead_letters::DeadLetters;
use crate::dedup::Dedup;
use crate::fold::OpenError;
use crate::in_the_air::in_the_air;
use crate::ingress::Ingress;
use crate::jobs::{Job, Jobs, TooMany};
use crate::keeper::{self, Keeper, OnProgress, SpaceReport, Standing, ToKeeper};
use crate::lane::Tally;
use crate::limits::Limits;
use crate::log::{Log, Stopped};
use crate::pausing::Pausing;
use crate::records::trigger_set::Kind;
use crate::records::{FORWARD, MARK, Number, Outcome, VERSION};
use crate::redrive;
use crate::registrar::Registrar;
use crate::registry::Applied;
use crate::replay::{Replayer, Replays};
use crate::report::{
    BrokerReport, DestinationReport, LaneReport, LogReport, PausedReport, Report, TriggerReport,
};
use crate::router::fence::Fence;
use crate::router::{self, Router, RouterReport, ToRouter};
use crate::sidecar::Sidecars;
use crate::store::Store;
use crate::trace::Spans;
use crate::view;
use crate::worker::{self, ToWorker, Worker};

/// Messages to one worker that may wait. The router waits when they are all taken.
const INBOX_MESSAGES_MAX: usize = 64;

/// Questions to the router that may wait. Who asks waits.
const QUESTIONS_MAX: usize = 16;

/// What an engine is made of.
pub struct Setup {
    /// The log, opened.
    pub journal: Journal,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where ended attempts' spans go.
    pub spans: Arc<dyn Spans>,
    /// How many workers; at least 1.
    pub workers: usize,
    /// The engine's bounds.
    pub limits: Limits,
    /// The journal of what is kept of the log's reclaimed segments, opened; in a folder of its
    /// own beside the log's.
    pub kept: Journal,
    /// Where the view lies.
    pub view: view::Place,
    /// Is told how far opening has come.
    pub progress: OnProgress,
    /// Bytes that log, kept and view may take together (GUARANTEES 21).
    pub bytes_max: u64,
    /// How long history that nobody is owed is kept, at the most (default P7D).
    pub retention: Duration,
    /// How long dead letters are kept (default P14D, GUARANTEES 15).
    pub retention_dead_letters: Duration,
    /// Where jitter and span ids begin.
    pub seed: u64,
}

/// An opened engine: a handle, and what must run for it to live.
pub struct Opened {
    /// The handle.
    pub engine: Engine,
    /// Must run.
    pub router: Router,
    /// Must all run.
    pub workers: Vec<Worker>,
    /// Must run for replays to go on.
    pub replayer: Replayer,
    /// Must run; it blocks on the disk, so it wants a thread of its own.
    pub keeper: Keeper,
    /// What was in the log.
    pub found: Found,
}

/// What was in the log when it was opened.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Deliveries owed.
    pub owed: u64,
    /// Of those, how many wait to be tried again.
    pub parked: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Brokers in force.
    pub brokers: u64,
    /// Triggers in force.
    pub triggers: u64,
    /// Whether the view was made anew from kept and the log.
    pub view_anew: bool,
    /// Ranges of offsets that are lost to damage.
    pub lost: Vec<Range<Offset>>,
    /// The same of kept, in its own offsets.
    pub kept_lost: Vec<Range<Offset>>,
    /// Deliveries that may have ended the process before, twice, and now go one at a time.
    pub suspects: u64,
}

/// A running engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) log: Log,
    admission: Arc<Admission>,
    hops_max: u8,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) pausing: Arc<Pausing>,
    dead_letters: DeadLetters,
    careful: Arc<Careful>,
    pub(crate) router: mpsc::Sender<ToRouter>,
    pub(crate) workers: Vec<mpsc::Sender<ToWorker>>,
    jobs: Jobs,
    pub(crate) replays: Arc<Replays>,
    sidecars: Sidecars,
    keeper: mpsc::Sender<ToKeeper>,
}

/// The engine has ended, or its log has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Ended;

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Self {
        Self
    }
}

impl Engine {
    /// Opens the view, folds what it doesn't hold yet, and makes the parts. Without a view it
    /// reads all of the log: blocking.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing has been changed.
    pub fn open(setup: Setup) -> Result<Opened, OpenError> {
        let Setup {
            journal,
            clock,
            spans,
            workers,
            limits,
            kept,
            view,
            progress,
            bytes_max,
            retention,
            retention_dead_letters,
            seed,
        } = setup;
        let standing = keeper::open(&journal, kept.clone(), &view, &progress)?;
        let folded = &standing.fold;
        let mut dedup = Dedup::new(Dedup::draw_key(), limits.dedup_entries_max);
        dedup.ask(folded.registry_then.dedup());
        let from = dedup.window_start(&journal, folded.routed_to, clock.wall());
        if !mutant::is("forget-what-was-seen-on-restart") {
            dedup.recall(&journal, from, folded.routed_to)?;
        }
        let now = clock.wall();
        let store = Store::new(journal.clone(), kept, Arc::clone(&standing.view));
        let in_the_air = match folded.suspicion.is_needed() {
            true => in_the_air(folded, &store, now)?,
            false => Vec::new(),
        };
        let started = folded.suspicion.begin(
            &in_the_air,
            |(number, offset)| folded.owed.contains(number, offset),
            folded.routed_to..folded.end,
            limits.quarantine_after,
            journal.facts().group_bytes_max / 2,
            now,
        );
        let careful = Arc::new(Careful::new(&started, limits.quarantine_after));
        let log = Log::new(journal, clock);
        let found = found(&standing, &careful);
        // Nothing is, until the router runs.
        let (in_force, reached) = watch::channel(0);
        let registrar = Registrar::new(
            log.clone(),
            limits.clone(),
            folded.registry.clone(),
            reached,
        );
        let pausing = Pausing::new(log.clone(), folded.pauses.clone(), &folded.registry);
        let replays_then = match mutant::is("forget-replays-on-restart") {
            true => Default::default(),
            false => folded.replays.clone(),
        };
        let replays = Arc::new(Replays::new(replays_then));
        let (paused, going) = (pausing.opening(), Arc::clone(&replays));
        registrar.open_segments(move || {
            let mut records = paused();
            records.extend(going.board().book.opening());
            records
        });
        let pausing = Arc::new(pausing);
        let registrar = Arc::new(registrar);
        let admission = Arc::new(Admission::default());
        let (peers, inboxes): (Vec<_>, Vec<_>) = (0..workers.max(1))
            .map(|_| mpsc::channel(INBOX_MESSAGES_MAX))
            .unzip();
        let (router_asked, questions) = mpsc::channel(QUESTIONS_MAX);
        let workers = inboxes.into_iter().enumerate().map(|(index, inbox)| {
            let (log, limits, spans) = (log.clone(), limits.clone(), Arc::clone(&spans));
            let (peers, careful) = (peers.clone(), Arc::clone(&careful));
            let seed = seed.wrapping_add(index as u64);
            Worker::new(worker::Parts {
                log,
                store: store.clone(),
                limits,
                spans,
                seed,
                inbox,
                peers,
                careful,
            })
        });
        let workers = workers.collect();
        let dead_letters = DeadLetters::new(store);
        let fence = Arc::new(Fence::default());
        let parts = router::Parts {
            log: log.clone(),
            event_bytes_max: limits.event_bytes_max,
            retention_dead_letters,
            admission: Arc::clone(&admission),
            workers: peers.clone(),
            questions,
            registrar: Arc::clone(&registrar),
            in_force,
            pausing: Arc::clone(&pausing),
            replays: Arc::clone(&replays),
            fence: Arc::clone(&fence),
            dedup,
            started,
            careful: Arc::clone(&careful),
        };
        let router = Router::new(parts, folded, &standing.view)?;
        let jobs = Jobs::default();
        let sidecars = Sidecars::new(log.journal().clone());
        let replayer = Replayer {
            log: log.clone(),
            registrar: Arc::clone(&registrar),
            router: router_asked.clone(),
            jobs: jobs.clone(),
            replays: Arc::clone(&replays),
            sidecars: sidecars.clone(),
        };
        let (keeper, questions) = mpsc::channel(QUESTIONS_MAX);
        let parts = keeper::Parts {
            log: log.clone(),
            questions,
            router: router_asked.clone(),
            fence,
            admission: Arc::clone(&admission),
            retention,
            retention_dead_letters,
            bytes_max,
        };
        let keeps = Keeper::new(parts, standing);
        let engine = Self {
            log,
            admission,
            hops_max: limits.hops_max,
            registrar,
            pausing,
            dead_letters,
            careful,
            router: router_asked,
            workers: peers,
            jobs,
            replays,
            sidecars,
            keeper,
        };
        Ok(Opened {
            engine,
            router,
            workers,
            replayer,
            keeper: keeps,
            found,
        })
    }

    /// The door.
    pub fn ingress(&self) -> Ingress {
        Ingress::new(Arc::clone(&self.admission), self.log.clone(), self.hops_max)
    }

    /// The door for the tasks of one current-thread runtime, and the porter to spawn there:
    /// publishers whose events a commit made durable are woken by one of them, which saves a
    /// system call each.
    pub fn local_ingress(&self) -> (Ingress, Porter) {
        let (log, porter) = self.log.local();
        (
            Ingress::new(Arc::clone(&self.admission), log, self.hops_max),
            porter,
        )
    }

    /// What the log's segments hold. Someone must [`tend`](Sidecars::tend) them, or all is read.
    pub fn sidecars(&self) -> &Sidecars {
        &self.sidecars
    }

    /// The resources in force, as written. At start, those of the log.
    pub fn in_force(&self) -> Vec<Arc<Resource>> {
        self.registrar.resources()
    }

    /// Those of them whose files were there when somebody last looked: what a catalog goes on from at
    /// a start ([`Catalog::restore`](triggers::Catalog::restore)). A resource that is detached isn't
    /// among them, so that its file is news where it is back.
    pub fn attached(&self) -> Vec<Arc<Resource>> {
        self.registrar.attached()
    }

    /// Puts a change of resources in force. When it returns the change is durable, and events
    /// stored from now on are judged by it. What is `gone` stays in force, detached, for
    /// [`Limits::detached_for`].
    ///
    /// # Errors
    ///
    /// [`Ended`] when the log has stopped.
    pub async fn apply(&self, change: &Change) -> Result<Applied, Ended> {
        Ok(self.registrar.apply(change).await?)
    }

    /// Returns when the router has read all that was in the log when it was opened, so that
    /// every broker of the log is known at the door.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the log has stopped.
    pub async fn caught_up(&self) -> Result<(), Ended> {
        Ok(self.registrar.caught_up().await?)
    }

    /// How are things.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the router or a worker has.
    pub async fn report(&self) -> Result<Report, Ended> {
        let (to, router) = oneshot::channel();
        self.router
            .send(ToRouter::Report(to))
            .await
            .map_err(|_| Ended)?;
        let router = router.await.map_err(|_| Ended)?;
        let mut lanes = HashMap::new();
        let mut destinations = Vec::new();
        let mut retired = Tally::default();
        for worker in &self.workers {
            let (to, report) = oneshot::channel();
            worker.send(ToWorker::Report(to)).await.map_err(|_| Ended)?;
            let report = report.await.map_err(|_| Ended)?;
            lanes.extend(report.lanes.into_iter().map(|lane| (lane.number, lane)));
            destinations.extend(report.destinations);
            retired.add(&report.retired);
        }
        let (to, space) = oneshot::channel();
        let asked = self.keeper.send(ToKeeper::Report(to)).await;
        asked.map_err(|_| Ended)?;
        let space = space.await.map_err(|_| Ended)?;
        Ok(self.compose(router, space, &mut lanes, destinations, retired))
    }

    fn compose(
        &self,
        router: RouterReport,
        space: SpaceReport,
        lanes: &mut HashMap<Number, LaneReport>,
        mut destinations: Vec<DestinationReport>,
        retired: Tally,
    ) -> Report {
        let RouterReport {
            registry,
            books,
            log,
            stored,
            deduplicated,
            dedup,
        } = router;
        // Here, on the thread of who asks: kept by the router it would be megabytes.
        let (lowered, _) = registry.lowered();
        let log = LogReport {
            held_from: space.held_from,
            ..log
        };
        let mut brokers = Vec::new();
        let mut triggers = Vec::new();
        for entry in registry.entries() {
            let number = entry.number;
            match entry.kind {
                Kind::Broker => {
                    let name = entry.broker_name();
                    brokers.push(BrokerReport {
                        triggers: lowered
                            .triggers
                            .values()
                            .filter(|t| t.broker == name)
                            .count(),
                        name,
                        number,
                        detached: entry.detached,
                        stored: stored.get(&number).copied().unwrap_or(0),
                        deduplicated: deduplicated.get(&number).copied().unwrap_or(0),
                    });
                }
                Kind::DeliveryPolicy | Kind::Sink => {}
                Kind::Trigger => {
                    let name = entry.trigger_name();
                    let Some(trigger) = lowered.triggers.get(&name) else {
                        continue;
                    };
                    let sink = trigger
                        .dead_letter
                        .as_ref()
                        .map(|sink| sink.uri().to_owned());
                    triggers.push(TriggerReport {
                        name,
                        number,
                        uid: entry.uid,
                        broker: trigger.broker.clone(),
                        subscriber: trigger.subscriber.uri().to_owned(),
                        destination: trigger.subscriber.key().as_str().into(),
                        not_ready: trigger.not_ready,
                        detached: entry.detached,
                        book: books.of(number),
                        forward: sink.is_some().then(|| books.of(number | FORWARD)),
                        dead_letter_sink: sink,
                        lane: lanes.remove(&number).unwrap_or_default(),
                        dead_letters: space.letters.kept.get(&number).copied().unwrap_or(0),
                        suspects: self.careful.suspects_of(number) as u64,
                        held_bytes: space.held.get(&number).copied().unwrap_or(0),
                        paused: self.pausing.look(|book| {
                            PausedReport::of(book, number, trigger.subscriber.key().as_str())
                        }),
                    });
                }
                // Its job says how it goes.
                Kind::AdHoc => {}
            }
        }
        brokers.sort_by(|a, b| a.name.cmp(&b.name));
        triggers.sort_by(|a, b| a.name.cmp(&b.name));
        for destination in &mut destinations {
            let key = &destination.key;
            destination.paused = self
                .pausing
                .look(|book| PausedReport::of_destination(book, key));
        }
        destinations.sort_by(|a, b| a.key.cmp(&b.key));
        let (books, forwards) = (books.total(), books.forwards());
        Report {
            brokers,
            triggers,
            destinations,
            books,
            forwards,
            retired,
            log,
            dedup,
            suspects: self.careful.suspects() as u64,
            panics: self.careful.panics.counts(),
            space,
        }
    }

    /// The dead letters.
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.dead_letters
    }

    /// The jobs: redrives, discards, replays.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Begins to redrive or discard dead letters. What is returned must be run, anywhere; the job
    /// says how far it is.
    ///
    /// # Errors
    ///
    /// [`TooMany`] jobs are at work.
    pub fn redrive(
        &self,
        asked: redrive::Asked,
    ) -> Result<(Arc<Job>, impl Future<Output = ()> + Send + use<>), TooMany> {
        let now = self.log.clock().wall();
        let job = self.jobs.begin(asked.what.word(), asked.dry_run, now)?;
        let parts = redrive::Parts {
            log: self.log.clone(),
            letters: self.dead_letters.clone(),
            registrar: Arc::clone(&self.registrar),
            router: self.router.clone(),
        };
        let run = redrive::run(parts, asked, Arc::clone(&job));
        Ok((job, run))
    }

    /// The journal under the engine, for its facts and statistics.
    pub fn journal(&self) -> &Journal {
        self.log.journal()
    }

    /// The journal of what is kept of the log's reclaimed segments.
    pub fn kept(&self) -> &Journal {
        self.dead_letters.kept()
    }

    /// Starts no further attempt, lets those in the air finish for up to `grace`, and writes
    /// down what came of them. What isn't finished by then stays owed.
    pub async fn drain(&self, grace: Duration) {
        if self.router.send(ToRouter::Stop).await.is_err() {
            tracing::debug!("the router had stopped before the drain");
        }
        let drained = async {
            let mut waiting = Vec::new();
            for worker in &self.workers {
                let (done, drained) = oneshot::channel();
                if worker.send(ToWorker::Drain(done)).await.is_ok() {
                    waiting.push(drained);
                }
            }
            for drained in waiting {
                // A worker that is gone has nothing in the air.
                drop(drained.await);
            }
        };
        if tokio::time::timeout(grace, drained).await.is_err() {
            tracing::warn!(
                ?grace,
                "some attempts didn't finish in time; they stay owed"
            );
        }
    }

    /// Closes the log after a drain: everything noted is written, then a Mark that says the stop
    /// was clean.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the log had stopped already.
    pub async fn close(&self) -> Result<(), Ended> {
        let body = self.log.clock().wall().0.to_le_bytes().to_vec();
        let mark = journal::Record {
            kind: MARK,
            version: VERSION,
            tag: 0,
            body: body.into(),
        };
        let log = self.log.journal().clone();
        let closed = log.close(journal::Group::one(mark)).await;
        // Also after a log that had stopped: what is durable of it is written to the view.
        let (done, kept) = oneshot::channel();
        let asked = self.keeper.send(ToKeeper::Close(done)).await;
        asked.map_err(|_| Ended)?;
        kept.await.map_err(|_| Ended)?;
        closed.map(drop).map_err(|_| Ended)
    }
}

fn found(standing: &Standing, careful: &Careful) -> Found {
    let fold = &standing.fold;
    let kind = |kind: Kind| {
        let entries = fold.registry.entries();
        entries.filter(|entry| entry.kind == kind).count()
    };
    Found {
        owed: fold.owed.len(),
        parked: fold.parked.len(),
        dead_letters: standing.view.letter_counts().kept_total(),
        brokers: kind(Kind::Broker) as u64,
        triggers: kind(Kind::Trigger) as u64,
        view_anew: standing.anew,
        lost: fold.lost.clone(),
        kept_lost: standing.kept.lost.clone(),
        suspects: careful.suspects() as u64,
    }
}

/// The dead of a report's book, in the words of metrics and tables.
pub fn dead_words(dead: &[u64; 9]) -> Vec<(String, u64)> {
    by_cause(dead)
        .map(|(cause, count)| (Outcome::Dead(cause).to_string(), count))
        .collect()
}
