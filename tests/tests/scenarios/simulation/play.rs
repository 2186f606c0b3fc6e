//! Plays a plan: a world, whoever publishes in it, and what a person or a supervisor would do.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use broker::letter_query::{From, Query};
use broker::pausing::{ResumeFrom, Target};
use broker::{redrive, replay};
use journal::Offset;
use journal::model_disk::Operation;
use tests::World;
use triggers::TriggerName;

use super::cast::{fleeting, of_everything, script, shifty};
use super::ends::{Counts, End};
use super::plan::{Cut, Kind, Mood, Plan, SINKS, Step};
use super::trace::Trace;
use super::traffic::{AtWork, Publishing, Sent};

/// What is written rides in the next frame or within so long (DESIGN §4), and tokio's clock ticks in
/// milliseconds.
const NOTE_DELAY: Duration = Duration::from_millis(52);

/// The same where a log is nearly full, as a small one mostly is: what room is left must last.
const NOTE_DELAY_SHORT: Duration = Duration::from_millis(1002);

/// A request of an operator that takes longer than this hangs.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// How long those who publish may take once all is calm: each waits 10 s for each of some 80 events at
/// most, and several may.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(3600);

/// How long after a disk has room again what waited for it is written.
const ROOM_AGAIN: Duration = Duration::from_secs(10);

/// A plan being played.
pub(super) struct Play {
    pub(super) world: World,
    pub(super) sent: Rc<RefCell<Sent>>,
    /// Whoever publishes has a copy.
    publishers: AtWork,
    pub(super) ends: Vec<End>,
    /// Letters there ever were: whose, and of which event.
    pub(super) letters: BTreeSet<(String, Offset)>,
    /// Whether letters gave way to the quota as a whole, so that nobody can tell any more which.
    pub(super) gave_way: bool,
    /// While the file of `fleeting` is there: how many had been answered with yes when it came.
    pub(super) fleeting_from: Option<usize>,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    /// Whether dead letters were asked to be delivered again.
    pub(super) redriven: bool,
    /// Since when what is answered may not find room on the disk, and until when.
    pub(super) short: Option<(Duration, Duration)>,
    /// What the disk is about to cut off.
    pub(super) cut: Option<Cut>,
    pub(super) slow: Duration,
    pub(super) note_delay: Duration,
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
            fleeting_from: None,
            trace,
            counts: Counts::default(),
            cut: None,
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
            Step::Pass(time) => self.pass(*time).await,
            Step::Crash(off) => {
                self.lose_power(*off);
                self.start_again().await;
            }
            Step::Cut {
                after,
                at_sync,
                what,
            } => {
                self.cut = Some(*what);
                match at_sync {
                    true => self.world.disk().power_off_at(Operation::Sync, *after),
                    false => self.world.disk().power_off_after(*after),
                }
            }
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
                let acknowledged = self.world.ledger.borrow().acknowledged().len();
                self.fleeting_from.get_or_insert(acknowledged);
            }
            Step::Go => {
                self.world.remove("fleeting.yaml");
                self.fleeting_from = None;
                self.reload().await;
            }
        }
        self.look_after().await;
    }

    /// Brings everything back into order, as far as that takes a hand: the disk, the functions, what
    /// was paused.
    pub(super) async fn calm(&mut self) {
        self.heal();
        self.no_cut();
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

    pub(super) fn heal(&mut self) {
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
        if self.world.disk().is_off() {
            self.cut_off();
            self.start_again().await;
            return;
        }
        if !self.world.is_well() {
            self.ended();
            self.world.end_process();
            self.start_again().await;
            return;
        }
        if let Some(report) = self.world.try_report().await {
            let space = &report.space;
            self.gave_way |= space.quota_letters > 0;
            self.note_letters();
        }
    }

    /// Time passes; whatever ends the process meanwhile ends it then.
    async fn pass(&mut self, time: Duration) {
        let until = self.world.time() + time;
        loop {
            let left = until.saturating_sub(self.world.time());
            if self.world.advance_while_well(left).await {
                return;
            }
            self.look_after().await;
        }
    }

    async fn stop(&mut self) {
        let stopped = tokio::time::timeout(ANSWERS_WITHIN, self.world.try_stop()).await;
        let stopped = stopped.expect("a stop ends");
        if stopped.is_err() {
            self.ended();
        }
        self.start_again().await;
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
        self.counts.redrives += 1;
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
        if let Some(Ok(_)) = self.answered(begun).await {
            self.counts.replays += 1;
        }
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
    async fn answered<T>(&self, asked: impl Future<Output = T>) -> Option<T> {
        let answer = tokio::time::timeout(ANSWERS_WITHIN, asked).await;
        assert!(answer.is_ok() || self.short.is_some(), "no answer comes");
        answer.ok()
    }

    async fn reload(&mut self) {
        if self.short.is_some() {
            // It would wait for room; whoever asked for it can't just leave.
            return;
        }
        let reloaded = tokio::time::timeout(ANSWERS_WITHIN, self.world.try_reload()).await;
        match reloaded {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => {
                let ended = !self.world.is_well() || self.world.disk().is_off();
                assert!(ended, "only a reload failed: {why}");
            }
            Err(_) => panic!("a reload doesn't end"),
        }
    }
}

fn target(name: &str) -> Target {
    Target::Trigger(TriggerName::new("default", name))
}
