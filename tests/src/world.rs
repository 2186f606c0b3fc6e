//! The whole engine in process: router, workers and journal as tasks of one paused-time runtime,
//! over a disk that loses power on demand and functions that answer by script.
//!
//! Time moves only when everything rests, so a day of retries takes milliseconds, and nothing in a
//! world waits for real. A world that is made again with the same seed does the same again.

mod faults;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker::engine::Found;
use broker::fold::OpenError;
use broker::keeper;
use broker::records::envelope::Context;
use broker::report::Report;
use broker::trace::NoSpans;
use broker::view::Place;
use broker::{Clock, Engine, Fault, Limits, Opened, Receipt, Refusal, Setup, WallTime};
use broker::{jobs, redrive, replay};
use event::{Batch, Event};
use futures_util::future::join_all;
use journal::model_disk::{CrashRule, ModelDisk};
use journal::{Journal, Offset, Options, Recovered};
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::Instant;
use triggers::files::File;
use triggers::{BrokerName, Catalog, Change, Problem, Resource, ResourceKey};

use crate::beside::{Beside, KEPT_PREFIX};
use crate::clock::TestClock;
use crate::ledger::{self, Acknowledged, Ledger};
use crate::logbook::Logbook;
use crate::script::Script;
use crate::sinks::{Call, Sinks};
use crate::want::{Terms, broker_yaml, trigger_yaml};

/// How long a world may take to settle, of its own time, before the test fails.
const SETTLES_WITHIN: Duration = Duration::from_secs(26 * 60 * 60);

/// Waits between two looks at the engine grow from the one to the other.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_secs(20);

/// How soon after a deadly delivery the power fails, at the latest.
const STRIKES_WITHIN: Duration = Duration::from_micros(100);

/// How long a drain waits for what is in the air (GUARANTEES 22).
const GRACE: Duration = Duration::from_secs(25);

/// What kept and the view may take beside the log.
pub const BESIDE_LOG_BYTES: u64 = 8 << 20;

/// A journal small enough that a test can fill it and have hundreds of them.
pub fn small_options() -> Options {
    Options {
        segment_bytes: 2 << 20,
        group_bytes_max: 512 << 10,
        queue_bytes_max: 2 << 20,
        note_bytes_max: 2 << 20,
        bytes_max: 128 << 20,
        reserve_bytes: 4 << 20,
        min_free: 0,
        tail_bytes: 4 << 20,
        ..Options::default()
    }
}

/// An event of this type, from `/shop`.
pub fn event(id: &str, ty: &str) -> Event {
    let event = Event::build(id, "/shop", ty).data(format!("data of {id}"));
    event.finish().expect("a test's event is valid")
}

/// An event of type `order.placed`.
pub fn order_placed(id: &str) -> Event {
    event(id, "order.placed")
}

/// A world to be.
#[must_use]
pub struct Builder {
    workers: usize,
    limits: Limits,
    options: Options,
    seed: u64,
    disk: ModelDisk,
    files: BTreeMap<String, String>,
    sinks: Sinks,
    ledger: Ledger,
    retention: Duration,
    retention_dead_letters: Duration,
    bytes_max: Option<u64>,
    compares_views: Option<bool>,
    damaged: bool,
}

impl Builder {
    /// How many workers share the destinations; 1 unless said.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.workers = workers;
        self
    }

    /// Changes the engine's bounds.
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Builder {
        change(&mut self.limits);
        self
    }

    /// Changes the journal's bounds.
    pub fn journal(mut self, change: impl FnOnce(&mut Options)) -> Builder {
        change(&mut self.options);
        self
    }

    /// Where jitter begins.
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = seed;
        self
    }

    /// Begins with a disk that has been used before.
    pub fn disk(mut self, disk: ModelDisk) -> Builder {
        self.disk = disk;
        self
    }

    /// Begins with promises that were made before.
    pub fn ledger(mut self, ledger: Ledger) -> Builder {
        self.ledger = ledger;
        self
    }

    /// Begins with functions that have been called before.
    pub fn sinks(mut self, sinks: Sinks) -> Builder {
        self.sinks = sinks;
        self
    }

    /// How long history that nobody is owed is kept.
    pub fn retention(mut self, retention: Duration) -> Builder {
        self.retention = retention;
        self
    }

    /// How long dead letters are kept.
    pub fn retention_dead_letters(mut self, retention: Duration) -> Builder {
        self.retention_dead_letters = retention;
        self
    }

    /// Bytes that log, kept and view may take together; unless said, [`BESIDE_LOG_BYTES`] more than
    /// the log.
    pub fn storage(mut self, bytes_max: u64) -> Builder {
        self.bytes_max = Some(bytes_max);
        self
    }

    /// Whether each start is made without the view too, and both are compared; unless said, the
    /// first worlds of a test do, and some of the others.
    pub fn compares_views(mut self, compares: bool) -> Builder {
        self.compares_views = Some(compares);
        self
    }

    /// Begins with records that are damaged: they may be lost, and then the view knows what they said
    /// and a start without it doesn't.
    pub fn damaged(mut self) -> Builder {
        self.damaged = true;
        self
    }

    /// A trigger of the broker `default`. It sends to the sink of its own name unless its terms
    /// name another.
    pub fn trigger(self, name: &str, filters: impl Into<String>, terms: Terms) -> Builder {
        let yaml = trigger_yaml(name, "default", &filters.into(), &terms);
        self.file(&format!("{name}.yaml"), yaml)
    }

    /// A broker, with what its triggers inherit.
    pub fn broker(self, name: &str, terms: Terms) -> Builder {
        self.file(&format!("broker-{name}.yaml"), broker_yaml(name, &terms))
    }

    /// A file of YAML.
    pub fn file(mut self, path: &str, yaml: impl Into<String>) -> Builder {
        self.files.insert(path.to_owned(), yaml.into());
        self
    }

    /// A function.
    pub fn sink(self, name: &str, script: impl Into<Script>) -> Builder {
        self.sinks.put(name, script.into());
        self
    }

    /// How a function answers the events with this id.
    pub fn sink_for(self, name: &str, id: &str, script: impl Into<Script>) -> Builder {
        self.sinks.put_for(name, id, script.into());
        self
    }

    /// Opens the engine and puts the YAML in force.
    pub async fn start(self) -> World {
        let mut world = self.not_started();
        world.open().await;
        world
    }

    /// The same, where it may be refused.
    ///
    /// # Errors
    ///
    /// Why it was.
    pub async fn try_start(self) -> Result<World, String> {
        let mut world = self.not_started();
        world.try_open().await?;
        Ok(world)
    }

    fn not_started(self) -> World {
        let beside = self.options.bytes_max + BESIDE_LOG_BYTES;
        let bytes_max = self.bytes_max.unwrap_or(beside);
        World {
            disk: self.disk,
            clock: Arc::new(TestClock::new()),
            began: Instant::now(),
            sinks: self.sinks,
            ledger: Rc::new(RefCell::new(self.ledger)),
            files: self.files,
            catalog: Catalog::default(),
            gone: BTreeMap::new(),
            workers: self.workers,
            limits: self.limits,
            options: self.options,
            retention: self.retention,
            retention_dead_letters: self.retention_dead_letters,
            bytes_max,
            compares_views: !self.damaged && self.compares_views.unwrap_or_else(compares_views),
            damaged: self.damaged,
            seed: self.seed,
            ends: Ends::default(),
            failed_at: Rc::default(),
            ended: Rc::default(),
            view_anew: false,
            found: Found::default(),
            recovered: None,
            kept_recovered: None,
            running: None,
            settled: Cell::new(false),
        }
    }
}

/// How the engine's tasks ended.
type Ends = Rc<RefCell<Vec<(&'static str, Result<(), String>)>>>;

/// A running world.
pub struct World {
    disk: ModelDisk,
    clock: Arc<TestClock>,
    began: Instant,
    /// The functions.
    pub sinks: Sinks,
    /// The promises.
    pub ledger: Rc<RefCell<Ledger>>,
    files: BTreeMap<String, String>,
    catalog: Catalog,
    /// What stands in no file any more, and when it may be deleted.
    gone: BTreeMap<ResourceKey, (Resource, Instant)>,
    workers: usize,
    limits: Limits,
    options: Options,
    retention: Duration,
    retention_dead_letters: Duration,
    bytes_max: u64,
    /// Whether each start is made without the view too, and what comes of both compared.
    compares_views: bool,
    /// Whether records may be lost.
    damaged: bool,
    seed: u64,
    ends: Ends,
    /// When the first of them did that failed.
    failed_at: Rc<Cell<Option<Duration>>>,
    /// Told whenever one of them ends.
    ended: Rc<Notify>,
    /// Whether the last opening made the view anew.
    pub view_anew: bool,
    /// What the last opening found.
    pub found: Found,
    /// What the journal had to recover at the last opening.
    pub recovered: Option<Recovered>,
    /// What it had to recover of kept.
    pub kept_recovered: Option<Recovered>,
    running: Option<Running>,
    /// Whether nothing was done since the ledger was settled.
    settled: Cell<bool>,
}

struct Running {
    engine: Engine,
    tasks: LocalSet,
}

/// Worlds of a test whose starts are all compared; of the others one in [`COMPARED_OF`].
const COMPARED_FIRST: u32 = 4;
const COMPARED_OF: u32 = 8;

/// Whether the next world of this test is to compare its starts: some tests make hundreds.
fn compares_views() -> bool {
    thread_local! {
        static WORLDS: Cell<u32> = const { Cell::new(0) };
    }
    let world = WORLDS.get();
    WORLDS.set(world + 1);
    world < COMPARED_FIRST || world.is_multiple_of(COMPARED_OF)
}

impl World {
    /// A world without triggers, with a disk that is empty.
    #[expect(clippy::new_ret_no_self, reason = "a world is made by its builder")]
    pub fn new() -> Builder {
        Builder {
            workers: 1,
            limits: Limits::default(),
            options: small_options(),
            seed: 1,
            disk: ModelDisk::new(),
            files: BTreeMap::new(),
            sinks: Sinks::new(),
            ledger: Ledger::default(),
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            retention_dead_letters: Duration::from_secs(14 * 24 * 60 * 60),
            bytes_max: None,
            compares_views: None,
            damaged: false,
        }
    }

    async fn open(&mut self) {
        if let Err(why) = self.try_open().await {
            panic!("the engine doesn't open: {why} (seed {})", self.seed);
        }
    }

    /// As a process that ends when it can't start.
    async fn try_open(&mut self) -> Result<(), String> {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let opened = Journal::open(self.disk.clone(), Arc::clone(&clock), self.options.clone());
        let (journal, driver, recovered) = opened.map_err(|error| error.to_string())?;
        self.recovered = Some(recovered);
        let kept = Journal::open(
            Beside::new(&self.disk, KEPT_PREFIX),
            Arc::clone(&clock),
            // As in a node, whose log, kept and view take as much as storage gives to all of them.
            Options {
                bytes_max: self.bytes_max,
                ..broker::kept::options(&self.options)
            },
        );
        let (kept, kept_driver, kept_recovered) = kept.map_err(|error| error.to_string())?;
        self.kept_recovered = Some(kept_recovered);
        let view = Place::Disk(Arc::new(self.disk.clone()));
        if self.compares_views {
            let differ = self.view_differs(&journal, &kept, &view);
            let differ = differ.map_err(|error| error.to_string())?;
            self.view_anew = differ.is_none();
            let differ = differ.unwrap_or_default();
            assert!(
                differ.is_empty(),
                "seed {}: a start from the view isn't one without it:\n{}",
                self.seed,
                differ.join("\n")
            );
        }
        let setup = Setup {
            journal,
            kept,
            view,
            progress: Arc::new(|_| {}),
            bytes_max: self.bytes_max,
            retention_dead_letters: self.retention_dead_letters,
            clock,
            spans: Arc::new(NoSpans),
            workers: self.workers,
            limits: self.limits.clone(),
            retention: self.retention,
            seed: self.seed,
        };
        let Opened {
            engine,
            router,
            workers,
            replayer,
            keeper,
            found,
        } = Engine::open(setup).map_err(|error| error.to_string())?;
        let lost = &found.kept_lost;
        assert!(
            self.damaged || lost.is_empty(),
            "seed {}: records that were kept are gone: {lost:?}",
            self.seed
        );
        self.found = found;
        let tasks = LocalSet::new();
        self.ends.borrow_mut().clear();
        self.failed_at.set(None);
        self.sinks.count_changes_of(&self.disk);
        let note = |name: &'static str| {
            let (ends, failed_at) = (Rc::clone(&self.ends), Rc::clone(&self.failed_at));
            let (began, ended) = (self.began, Rc::clone(&self.ended));
            move |end: Result<(), String>| {
                if end.is_err() && failed_at.get().is_none() {
                    failed_at.set(Some(began.elapsed()));
                }
                ends.borrow_mut().push((name, end));
                ended.notify_one();
            }
        };
        let ended = note("journal");
        tasks.spawn_local(
            async move { ended(driver.run().await.map_err(|fault| fault.to_string())) },
        );
        let ended = note("kept");
        tasks.spawn_local(async move {
            ended(kept_driver.run().await.map_err(|fault| fault.to_string()))
        });
        let said = |fault: Fault| fault.to_string();
        let ended = note("keeper");
        tasks.spawn_local(async move { ended(keeper.run().await.map_err(said)) });
        let ended = note("router");
        tasks.spawn_local(async move { ended(router.run().await.map_err(said)) });
        let ended = note("replayer");
        tasks.spawn_local(async move { ended(replayer.run().await.map_err(said)) });
        for worker in workers {
            let (ended, sinks) = (note("worker"), self.sinks.clone());
            tasks.spawn_local(async move { ended(worker.run(sinks).await.map_err(said)) });
        }
        self.catalog = Catalog::restore(engine.attached());
        self.running = Some(Running { engine, tasks });
        let caught_up = self.while_well(self.engine().caught_up()).await?;
        caught_up.map_err(|ended| ended.to_string())?;
        self.try_reload().await.map(drop)
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the engine runs")
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.running().engine
    }

    /// The disk, to make it fail.
    pub fn disk(&self) -> &ModelDisk {
        &self.disk
    }

    /// Whether a start on this disk, which a crash left, would believe the view that lies there.
    ///
    /// # Panics
    ///
    /// If it can't be opened.
    pub fn believes_view_of(&self, disk: ModelDisk) -> bool {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let beside = Beside::new(&disk, KEPT_PREFIX);
        let log = Journal::open(disk.clone(), Arc::clone(&clock), self.options.clone());
        let kept = Journal::open(beside, clock, broker::kept::options(&self.options));
        let (log, kept) = (log.expect("it opens"), kept.expect("it opens"));
        let view = Place::Disk(Arc::new(disk));
        let differ = self.view_differs(&log.0, &kept.0, &view);
        differ.expect("it opens").is_some()
    }

    /// What a start with the view finds otherwise than one without it; none where it is made anew.
    fn view_differs(
        &self,
        log: &Journal,
        kept: &Journal,
        view: &Place,
    ) -> Result<Option<Vec<String>>, OpenError> {
        let retention = self.retention_dead_letters.as_millis() as u64;
        let letters_from = WallTime(self.clock.wall().0.saturating_sub(retention));
        keeper::differences(log, kept, view, letters_from)
    }

    /// How the engine's tasks ended that have.
    pub fn ends(&self) -> Vec<(&'static str, Result<(), String>)> {
        self.ends.borrow().clone()
    }

    /// Sets the wall clock, by so many seconds: ahead, or back. Time goes on as before.
    pub fn step_clock(&mut self, seconds: i64) {
        self.clock.step(seconds);
        // A process that starts takes what the clock says for time that it was down, so what is
        // detached may end so much sooner.
        let ahead = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        self.ledger.borrow_mut().sooner(ahead);
        for (_, until) in self.gone.values_mut() {
            *until = until.checked_sub(ahead).unwrap_or_else(Instant::now);
        }
    }

    /// How long the world has been running, of its own time.
    pub fn time(&self) -> Duration {
        self.began.elapsed()
    }

    /// Lets the engine work while `act` does.
    pub async fn run<T>(&self, act: impl Future<Output = T>) -> T {
        self.settled.set(false);
        self.look(act).await
    }

    /// The same for what changes nothing.
    async fn look<T>(&self, act: impl Future<Output = T>) -> T {
        self.running().tasks.run_until(act).await
    }

    /// Redrives or discards dead letters, and returns when the job has done all it could: what it
    /// began may still be on its way.
    pub async fn redrive(&self, asked: redrive::Asked) -> jobs::Progress {
        let (job, work) = self.begin_redrive(asked);
        self.run(work).await;
        job.progress()
    }

    /// The same, without doing the work: it must be run.
    pub fn begin_redrive(
        &self,
        asked: redrive::Asked,
    ) -> (Arc<jobs::Job>, impl Future<Output = ()> + use<>) {
        self.engine().redrive(asked).expect("few jobs run")
    }

    /// Lets this much time pass.
    pub async fn advance(&self, time: Duration) {
        self.run(tokio::time::sleep(time)).await;
    }

    /// Publishes to the broker `default`.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub async fn publish(&self, event: Event) -> Offset {
        let receipt = self.try_publish("default", vec![event]).await;
        receipt.expect("the event is taken").positions.start
    }

    /// Publishes all at the same time, each by itself.
    ///
    /// # Panics
    ///
    /// If one is refused.
    pub async fn publish_all(&self, events: impl IntoIterator<Item = Event>) {
        let publisher = self.publisher();
        let each = events
            .into_iter()
            .map(|event| publisher.publish("default", vec![event]));
        let all = self.run(join_all(each)).await;
        for receipt in all {
            receipt.expect("the event is taken");
        }
    }

    /// Publishes a batch to a broker, and writes down the answer.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn try_publish(&self, broker: &str, events: Vec<Event>) -> Result<Receipt, Refusal> {
        let publisher = self.publisher();
        self.run(publisher.publish(broker, events)).await
    }

    /// Who publishes and writes the answers down, for a task of its own.
    pub fn publisher(&self) -> Publisher {
        Publisher {
            engine: self.engine().clone(),
            ledger: Rc::clone(&self.ledger),
            disk: self.disk.clone(),
        }
    }

    /// Starts a task that runs whenever the engine does, and ends with it.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.running().tasks.spawn_local(task);
    }

    /// Has a function answer differently from now on.
    pub fn sink(&self, name: &str, script: impl Into<Script>) {
        self.sinks.put(name, script.into());
    }

    /// Replays, and returns when the job has owed all it could: that may still be on its way.
    ///
    /// # Panics
    ///
    /// If it is refused, or takes more than a day of the world's time.
    pub async fn replay(&self, asked: replay::Asked) -> jobs::Progress {
        let job = self.run(self.engine().replay(asked)).await;
        let job = job.expect("it is replayed");
        self.until("replayed", |_| job.progress().state != jobs::State::Running)
            .await;
        job.progress()
    }

    /// Has a function answer the events with this id differently from now on.
    pub fn sink_for(&self, name: &str, id: &str, script: impl Into<Script>) {
        self.sinks.put_for(name, id, script.into());
    }

    /// Writes a file of YAML. It is read by the next [`World::reload`].
    pub fn write(&mut self, path: &str, yaml: impl Into<String>) {
        self.files.insert(path.to_owned(), yaml.into());
    }

    /// Writes a trigger's file.
    pub fn write_trigger(&mut self, name: &str, filters: impl Into<String>, terms: Terms) {
        let yaml = trigger_yaml(name, "default", &filters.into(), &terms);
        self.write(&format!("{name}.yaml"), yaml);
    }

    /// Removes a file of YAML.
    pub fn remove(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// Reads all files and puts the change in force, as a node does. The problems are what it
    /// would print.
    ///
    /// # Panics
    ///
    /// If the log has stopped.
    pub async fn reload(&mut self) -> Vec<Problem> {
        self.try_reload().await.expect("the change is taken")
    }

    /// The same, where the log may have stopped: then nobody knows whether it is in force.
    ///
    /// # Errors
    ///
    /// It has.
    pub async fn try_reload(&mut self) -> Result<Vec<Problem>, String> {
        let change = self.planned();
        let applied = self.while_well(self.engine().apply(&change)).await?;
        applied.map_err(|ended| ended.to_string())?;
        self.ledger.borrow_mut().changed();
        Ok(change.problems)
    }

    /// Reads all files and starts putting the change in force, without waiting for it.
    pub fn begin_reload(&mut self) {
        let change = self.planned();
        let (engine, ledger) = (self.engine().clone(), Rc::clone(&self.ledger));
        self.spawn(async move {
            engine.apply(&change).await.expect("the change is taken");
            ledger.borrow_mut().changed();
        });
    }

    fn planned(&mut self) -> Change {
        let files = self.files.iter().map(|(path, text)| File {
            path: path.as_str().into(),
            text: Ok(text.clone()),
        });
        let before: Vec<Resource> = self.catalog.in_force().cloned().collect();
        let change = self.catalog.reload(files.collect());
        let until = Instant::now() + self.limits.detached_for;
        for resource in before
            .into_iter()
            .filter(|before| change.gone.contains(&before.key()))
        {
            // What is gone already goes no later for that.
            let known = self.gone.entry(resource.key());
            known.or_insert((resource, until));
        }
        self.gone.retain(|key, _| self.catalog.get(key).is_none());
        let detached = self
            .gone
            .values()
            .map(|(resource, until)| (resource, Some(*until)));
        let in_force = self.catalog.in_force().map(|resource| (resource, None));
        let all: Vec<(&Resource, Option<Instant>)> = in_force.chain(detached).collect();
        self.ledger.borrow_mut().changing(&all);
        change
    }

    /// Stops in order and starts again.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.open().await;
    }

    /// Stops in order.
    pub async fn stop(&mut self) {
        let engine = self.engine().clone();
        self.run(async {
            engine.drain(GRACE).await;
            engine.close().await.expect("the log closes");
        })
        .await;
        drop(engine);
        self.kill();
    }

    /// Loses power now, and starts again with what the disk kept.
    pub async fn crash(&mut self, rule: CrashRule, seed: u64) {
        self.lose_power(rule, seed);
        self.open().await;
    }

    /// Loses power now.
    pub fn lose_power(&mut self, rule: CrashRule, seed: u64) {
        self.disk = self.disk.crash(rule, seed);
        self.kill();
    }

    /// Waits for a deadly delivery ([`Sinks::deadly`]) to be sent, loses power in that moment, and
    /// starts again. `false` when none is within this time.
    pub async fn until_struck(&mut self, within: Duration, rule: CrashRule, seed: u64) -> bool {
        let until = Instant::now() + within;
        while !self.sinks.struck() {
            if until <= Instant::now() {
                return false;
            }
            self.advance(STRIKES_WITHIN).await;
        }
        self.crash(rule, seed).await;
        true
    }

    /// Starts again what lost power or was stopped.
    pub async fn start_again(&mut self) {
        self.kill();
        self.open().await;
    }

    fn kill(&mut self) {
        let running = self.running.take();
        self.sinks.while_killing(|| drop(running));
    }

    /// How the engine is.
    pub async fn report(&self) -> Report {
        match self.look(self.engine().report()).await {
            Ok(report) => report,
            Err(_) => panic!(
                "the engine has ended: {:?} (seed {})",
                self.ends(),
                self.seed
            ),
        }
    }

    /// Waits until `holds` does.
    ///
    /// # Panics
    ///
    /// If that takes more than a day of the world's time.
    pub async fn until(&self, what: &str, holds: impl Fn(&Report) -> bool) {
        let began = Instant::now();
        let mut look = LOOK_FIRST;
        loop {
            let report = self.report().await;
            if holds(&report) {
                return;
            }
            let waited = began.elapsed();
            if waited >= SETTLES_WITHIN {
                let Report {
                    books,
                    forwards,
                    log,
                    ..
                } = report;
                let table = self.table();
                panic!("not {what} after {waited:?}: {books:?} {forwards:?} {log:?}\n{table}");
            }
            self.advance(look).await;
            look = (look * 5 / 4).min(LOOK_LAST);
        }
    }

    /// Waits until nothing is owed to anybody, then settles the ledger.
    pub async fn until_settled(&self) {
        self.until("settled", |report| {
            let routed = report.log.routed_to == report.log.end;
            routed && report.books.owed == 0 && report.forwards.owed == 0
        })
        .await;
        self.settle().await;
    }

    /// Settles the ledger as things are: what is owed may be.
    ///
    /// # Panics
    ///
    /// If a promise was broken, or the books don't say what the log does. Every way in which they
    /// differ is told.
    pub async fn settle(&self) {
        // Whatever is noted or decided must be on disk before the two are compared.
        self.until("routed", |report| report.log.routed_to == report.log.end)
            .await;
        let flushed = self.run(self.engine().journal().flush()).await;
        flushed.expect("the log takes a flush");
        self.until("routed", |report| report.log.routed_to == report.log.end)
            .await;
        let report = self.report().await;
        let log = self.log();
        let start = self.engine().journal().start();
        let wrong = self
            .ledger
            .borrow()
            .settle(&log, &report, &self.sinks, start);
        assert!(
            wrong.is_empty(),
            "{} (seed {})",
            wrong.join("\n"),
            self.seed
        );
        self.settled.set(true);
    }

    /// Settles the books alone, where the ledger can't say who was owed what.
    ///
    /// # Panics
    ///
    /// If they don't balance.
    pub async fn settle_books(&self) {
        let wrong = ledger::unbalanced(&self.report().await);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        self.settled.set(true);
    }

    /// What the log says.
    pub fn log(&self) -> Logbook {
        Logbook::read(self.engine().journal())
    }

    /// All calls to functions, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.sinks.calls()
    }

    /// The calls of one delivery: of this trigger, for the event with this id.
    pub fn calls_of(&self, trigger: &str, id: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.whose == trigger && call.key.1 == id);
        calls
    }

    /// When each attempt of a delivery began, since the one before.
    pub fn waits_of(&self, trigger: &str, id: &str) -> Vec<Duration> {
        let calls = self.calls_of(trigger, id);
        let pairs = calls.windows(2);
        pairs
            .map(|pair| pair[1].began - pair[0].ended.unwrap_or(pair[0].began))
            .collect()
    }

    /// The names of functions that were called.
    pub fn called(&self) -> BTreeSet<String> {
        self.calls().into_iter().map(|call| call.sink).collect()
    }
}

/// The books balance at the end of every test (GUARANTEES 49): a world that runs when it is dropped
/// was settled after the last thing that was done to it.
impl Drop for World {
    fn drop(&mut self) {
        let runs = self.running.is_some() && self.ends.borrow().is_empty();
        if runs && !self.settled.get() && !std::thread::panicking() {
            panic!(
                "a test ends without `World::settle`, so nobody asked whether the books balance"
            );
        }
    }
}

/// Publishes, and writes the answers down.
#[derive(Clone)]
pub struct Publisher {
    engine: Engine,
    ledger: Rc<RefCell<Ledger>>,
    disk: ModelDisk,
}

impl Publisher {
    /// Publishes a batch to a broker of the namespace `default`.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn publish(&self, broker: &str, events: Vec<Event>) -> Result<Receipt, Refusal> {
        self.publish_with(broker, &Context::default(), events).await
    }

    /// Publishes with what came beside the events.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn publish_with(
        &self,
        broker: &str,
        context: &Context,
        events: Vec<Event>,
    ) -> Result<Receipt, Refusal> {
        let broker = BrokerName::new("default", broker);
        let ingress = self.engine.ingress();
        let facts = ingress.broker(&broker)?;
        let batch = Batch { events };
        let owed_before: Vec<BTreeSet<String>> = {
            let mut ledger = self.ledger.borrow_mut();
            batch.events.iter().for_each(|event| ledger.trying(event));
            batch
                .events
                .iter()
                .map(|event| ledger.owed_to(&broker, event))
                .collect()
        };
        let receipt = ingress.publish(&facts, context, &batch).await?;
        let mut ledger = self.ledger.borrow_mut();
        for ((event, before), offset) in batch
            .events
            .iter()
            .zip(owed_before)
            .zip(receipt.positions.start.0..)
        {
            // Who wants it is only sure if that didn't change while it was on its way.
            let after = ledger.owed_to(&broker, event);
            let event = event.as_ref();
            ledger.acknowledge(Acknowledged {
                key: (event.source().to_owned(), event.id().to_owned()),
                offset: Offset(offset),
                owed_to: before.intersection(&after).cloned().collect(),
                disk_changes: self.disk.changes(),
            });
        }
        Ok(receipt)
    }
}
