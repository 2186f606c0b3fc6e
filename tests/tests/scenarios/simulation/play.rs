//! Plays a plan: a world, whoever publishes in it, and what a person or a supervisor would do.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use broker::letter_query::{From, Query};
use broker::pausing::{ResumeFrom, Target};
use broker::view::VIEW_FILE;
use broker::{redrive, replay};
use journal::model_disk::{CrashRule, Operation};
use journal::{Disk, Offset};
use tests::World;
use triggers::TriggerName;

use super::cast::{fleeting, of_everything, script, shifty};
use super::plan::{Kind, Mood, Plan, SINKS, Step, Then};
use super::trace::Trace;
use super::traffic::{AtWork, Publishing, Sent};

/// What is written rides in the next frame or within so long (DESIGN §4), and tokio's clock ticks in
/// milliseconds.
const NOTE_DELAY: Duration = Duration::from_millis(52);

/// The same where a log is nearly full, as a small one mostly is: what room is left must last.
const NOTE_DELAY_SHORT: Duration = Duration::from_millis(1002);

/// How long somebody who starts the process again waits before.
const STARTS_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long others leave a process that starts without room on the disk.
const ROOM_COMES_AFTER: Duration = Duration::from_secs(60);

/// How often a start is tried before the disk is put in order.
const STARTS_MAX: u32 = 3;

/// A request of an operator that takes longer than this hangs.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// How long those who publish may take once all is calm: each waits 10 s for each of some 80 events at
/// most, and several may.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(3600);

/// How long after a disk has room again what waited for it is written.
const ROOM_AGAIN: Duration = Duration::from_secs(10);

/// An end of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// From when on nothing that was answered became durable for certain.
    pub(super) unsure_from: Duration,
    /// When the process was gone.
    pub(super) at: Duration,
}

/// A plan being played.
pub(super) struct Play {
    pub(super) world: World,
    pub(super) sent: Rc<RefCell<Sent>>,
    /// Whoever publishes has a copy.
    publishers: AtWork,
    pub(super) ends: Vec<End>,
    /// Letters there ever were: whose, and of which event.
    pub(super) letters: BTreeSet<(String, Offset)>,
    /// Whether what is owed or dead may have given way to the quota.
    pub(super) gave_way: bool,
    pub(super) trace: Trace,
    pub(super) crashes: u64,
    pub(super) failed_starts: u64,
    /// Whether dead letters were asked to be delivered again.
    pub(super) redriven: bool,
    /// Since when what is answered may not find room on the disk, and until when.
    short: Option<(Duration, Duration)>,
    slow: Duration,
    note_delay: Duration,
}

impl Play {
    /// The world of a plan, before anything happens.
    pub(super) async fn begin(plan: &Plan) -> Play {
        let world = of_everything(plan).start().await;
        let trace = Trace::default();
        trace.watch(world.disk());
        world.disk().set_sector_bytes(plan.sector_bytes);
        Play {
            world,
            sent: Rc::default(),
            publishers: AtWork::default(),
            ends: Vec::new(),
            letters: BTreeSet::new(),
            gave_way: false,
            trace,
            crashes: 0,
            failed_starts: 0,
            redriven: false,
            short: None,
            slow: Duration::ZERO,
            note_delay: match plan.small_log {
                true => NOTE_DELAY_SHORT,
                false => NOTE_DELAY,
            },
        }
    }

    /// Takes one step, and starts the process again if that ended it.
    pub(super) async fn take(&mut self, step: &Step) {
        if std::env::var_os("SEED").is_some() {
            eprintln!("{:?}  {step:?}", self.world.time());
        }
        match step {
            Step::Traffic { kind, events, pace } => self.publish(*kind, *events, *pace),
            Step::Pass(time) => self.world.advance(*time).await,
            Step::Crash { rule, seed, view } => self.crash(*rule, *seed, *view).await,
            Step::Exit => {
                self.ended();
                self.world.end_process();
                self.start_again().await;
            }
            Step::Stop => self.stop().await,
            Step::Mood { sink, mood } => self.world.sink(sink, script(sink, *mood)),
            Step::Clock(seconds) => self.world.step_clock(*seconds),
            Step::Fault {
                operation,
                nth,
                lasting,
                kind,
            } => {
                let no_room = *kind == ErrorKind::StorageFull || *operation == Operation::Free;
                if no_room {
                    self.short = Some((self.world.time(), Duration::MAX));
                }
                self.world.disk().fail(*operation, *nth, *lasting, *kind);
            }
            Step::Full(left) => {
                self.short = Some((self.world.time(), Duration::MAX));
                let disk = self.world.disk();
                disk.set_capacity(disk.allocated() + left);
            }
            Step::Slow { write, sync } => {
                self.slow = self.slow.max(*write + *sync);
                self.world.disk().set_delay(Operation::Write, *write);
                self.world.disk().set_delay(Operation::Sync, *sync);
            }
            Step::Healed => self.heal(),
            Step::Redrive => self.redrive().await,
            Step::Replay { trigger, rate } => self.replay(trigger, *rate).await,
            Step::Pause(name) => self.pause(name).await,
            Step::Resume(name) => self.resume(name).await,
            Step::Filter(filter) => {
                self.world.write("shifty.yaml", shifty(filter));
                self.reload().await;
            }
            Step::Come => {
                self.world.write("fleeting.yaml", fleeting());
                self.reload().await;
            }
            Step::Go => {
                self.world.remove("fleeting.yaml");
                self.reload().await;
            }
        }
        self.look_after().await;
    }

    /// Brings everything back into order, as far as that takes a hand: the disk, the functions, what
    /// was paused.
    pub(super) async fn calm(&mut self) {
        self.heal();
        // Whoever was hit by the disk before shows it now.
        self.world.advance(Duration::from_secs(1)).await;
        self.look_after().await;
        for sink in SINKS {
            self.world.sink(sink, script(sink, Mood::Takes(1)));
            self.resume(sink).await;
        }
    }

    /// Waits until nobody publishes any more.
    pub(super) async fn until_published(&mut self) {
        let began = self.world.time();
        while Rc::strong_count(&self.publishers) > 1 {
            let waited = self.world.time() - began;
            assert!(waited < PUBLISHED_WITHIN, "somebody still publishes");
            self.take(&Step::Pass(Duration::from_secs(1))).await;
        }
    }

    fn heal(&mut self) {
        self.world.disk().heal();
        let now = self.world.time();
        if let Some((_, until)) = &mut self.short {
            *until = (*until).min(now + ROOM_AGAIN);
        }
    }

    /// A process that failed has exited: somebody starts it again.
    async fn look_after(&mut self) {
        let now = self.world.time();
        self.short = self.short.filter(|(_, until)| now <= *until);
        if !self.world.is_well() {
            self.ended();
            self.world.end_process();
            self.start_again().await;
            return;
        }
        if let Some(report) = self.world.try_report().await {
            let space = &report.space;
            self.gave_way |= space.quota_deliveries + space.quota_letters > 0;
        }
    }

    /// Writes down that the process ends now.
    fn ended(&mut self) {
        let at = self.world.time();
        let mut unsure_from = self.world.failed_at().unwrap_or(at).min(at);
        if let Some((from, until)) = self.short
            && at <= until
        {
            unsure_from = unsure_from.min(from);
        }
        let delay = self.note_delay + 4 * self.slow;
        let unsure_from = unsure_from.saturating_sub(delay);
        self.ends.push(End { unsure_from, at });
    }

    async fn crash(&mut self, rule: CrashRule, seed: u64, view: Then) {
        self.ended();
        self.crashes += 1;
        self.world.lose_power(rule, seed);
        // Another disk, which is as it should be: faults and delays were of the one before.
        self.heal();
        self.slow = Duration::ZERO;
        let disk = self.world.disk();
        match view {
            Then::Stays => {}
            Then::Goes => drop(disk.remove(VIEW_FILE)),
            Then::Flips(bits) => {
                let entries = disk.list().expect("a healed disk lists its files");
                let view = entries.iter().find(|entry| entry.name == VIEW_FILE);
                let bytes = view.map_or(0, |entry| entry.bytes);
                if bytes > 0 {
                    let byte = bits % bytes.min(200_000);
                    disk.flip_bit(VIEW_FILE, byte as usize, (bits >> 60) as u8 & 7);
                }
            }
        }
        self.start_again().await;
    }

    async fn stop(&mut self) {
        let stopped = tokio::time::timeout(ANSWERS_WITHIN, self.world.try_stop()).await;
        let stopped = stopped.expect("a stop ends");
        if stopped.is_err() {
            self.ended();
        }
        self.start_again().await;
    }

    /// Starts the process; when it can't, again and again, and then the disk is put in order. One that
    /// waits for room on a full disk goes on by itself when others make some.
    async fn start_again(&mut self) {
        for _ in 0..STARTS_MAX {
            let (disk, short) = (self.world.disk().clone(), self.short.is_some());
            let started = tokio::time::timeout(ANSWERS_WITHIN, self.world.try_start_again());
            let room_comes = async {
                tokio::time::sleep(ROOM_COMES_AFTER).await;
                if short {
                    disk.heal();
                }
                std::future::pending::<()>().await;
            };
            let started = tokio::select! {
                biased;
                started = started => started,
                () = room_comes => unreachable!("it only makes room"),
            };
            match started.expect("a start ends") {
                Ok(()) if self.world.is_well() => return,
                _ => self.failed_starts += 1,
            }
            self.ended();
            self.world.end_process();
            tokio::time::sleep(STARTS_AGAIN_AFTER).await;
        }
        self.heal();
        self.world.start_again().await;
    }

    fn publish(&mut self, kind: Kind, events: u64, pace: Duration) {
        let publishing = Publishing {
            publisher: self.world.publisher(),
            sent: Rc::clone(&self.sent),
            _at_work: Rc::clone(&self.publishers),
            kind,
            pace,
        };
        self.world.spawn(publishing.publish(events));
    }

    async fn redrive(&mut self) {
        self.note_letters();
        self.redriven = true;
        let asked = redrive::Asked {
            which: redrive::Which::All(Box::default()),
            what: redrive::What::Redrive {
                to: None,
                rate: None,
            },
            dry_run: false,
        };
        if let Ok((_, work)) = self.world.engine().redrive(asked) {
            self.world.spawn(work);
        }
    }

    /// Remembers who is in the dead letters: that is how their deliveries ended, whatever comes later.
    pub(super) fn note_letters(&mut self) {
        let letters = self.world.engine().dead_letters();
        for row in letters.rows(&Query::default(), From::Oldest(Offset(0)), 100_000) {
            let name = row.trigger.name().to_owned();
            self.letters.insert((name, row.event));
        }
    }

    async fn replay(&mut self, trigger: &str, rate: u32) {
        let asked = replay::Asked {
            to: replay::To::Trigger(TriggerName::new("default", trigger)),
            from: replay::Point::Earliest,
            until: None,
            filters: Vec::new(),
            rate: NonZeroU32::new(rate),
            dry_run: false,
        };
        let engine = self.world.engine().clone();
        // It may be refused: nothing is stored yet, or there are jobs enough.
        let begun = self.world.run(engine.replay(asked));
        self.answered(begun).await;
    }

    async fn pause(&mut self, name: &str) {
        let (engine, target) = (self.world.engine().clone(), target(name));
        let paused = self.world.run(engine.pause(&target));
        self.answered(paused).await;
    }

    async fn resume(&mut self, name: &str) {
        let (engine, target) = (self.world.engine().clone(), target(name));
        let resumed = self
            .world
            .run(engine.resume(&target, ResumeFrom::Backlog, false));
        // It may not be paused.
        self.answered(resumed).await;
    }

    /// Waits for the answer to an operator. Where the disk is full none may come: what was asked
    /// must be written before it holds.
    async fn answered<T>(&self, asked: impl Future<Output = T>) {
        let answer = tokio::time::timeout(ANSWERS_WITHIN, asked).await;
        assert!(answer.is_ok() || self.short.is_some(), "no answer comes");
    }

    async fn reload(&mut self) {
        if self.short.is_some() {
            // It would wait for room; whoever asked for it can't just leave.
            return;
        }
        let reloaded = tokio::time::timeout(ANSWERS_WITHIN, self.world.try_reload()).await;
        match reloaded {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => assert!(!self.world.is_well(), "only a reload failed: {why}"),
            Err(_) => panic!("a reload doesn't end"),
        }
    }
}

fn target(name: &str) -> Target {
    Target::Trigger(TriggerName::new("default", name))
}
