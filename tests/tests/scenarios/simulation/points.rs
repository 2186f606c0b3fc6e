//! The power fails before every single change of the disk, whichever file it is of: the log, what is kept
//! of it, or the view. By every rule of what survives, with sectors of either size. From each of the disks
//! that this leaves the engine starts, pays what it owes, and is judged by all that was promised until
//! then.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::letter_query::{From, Query};
use broker::pausing::{ResumeFrom, Target};
use journal::Offset;
use journal::model_disk::{CrashRule, LARGE_SECTOR_BYTES, ModelDisk, SECTOR_BYTES};
use tests::ledger::Ledger;
use tests::sinks::Sinks;
use tests::{Seed, World, always, proof};
use triggers::TriggerName;

use super::ends::End;
use super::judge::Seen;
use super::workload::{Recorder, Workload, of_everything};
use super::{in_paused_time, on_all_processors};

const MS: Duration = Duration::from_millis(1);

/// How many points there are to be, in full and in short.
const POINTS: (u64, u64) = (100_000, 3_000);

/// In short each workload gives about so many, spread over it.
const POINTS_EACH: u64 = 750;

/// How often the start is compared with one without the view.
const COMPARED_OF: u64 = 16;

/// The power fails once more, in the life that the first loss of power led to: of so many points one.
const AGAIN_OF: u64 = 4;

/// What is known when the power fails: what was promised, who was called, and how the process ended.
struct Known {
    ledger: Ledger,
    sinks: Sinks,
    ends: Vec<End>,
}

/// A life that went on from what a loss of power left.
struct Life {
    world: World,
    recorder: Recorder,
}

impl Known {
    /// The same, had the power failed just before this change of this life.
    fn as_of_change(&self, life: (&World, &Recorder), change: u64) -> Known {
        let (world, recorder) = life;
        let mut ledger = world.ledger.borrow().clone();
        ledger.as_of_change(change);
        let at = recorder.at(change).unwrap_or_else(|| world.time());
        let mut ends = self.ends.clone();
        ends.push(End {
            unsure_from: at.saturating_sub(52 * MS),
            at,
        });
        Known {
            ledger,
            sinks: world.sinks.as_of_change(change),
            ends,
        }
    }
}

impl Workload {
    /// Goes on from this disk until all is settled, and judges it.
    async fn go_on(&self, disk: ModelDisk, known: &Known, point: Point, offset: Duration) -> Life {
        let recorder = Recorder::of(&disk, offset);
        let sinks = known.sinks.clone();
        let again = of_everything(self.seed)
            .disk(disk)
            .ledger(known.ledger.clone())
            .sinks(sinks.clone())
            .compares_views(point.seed.is_multiple_of(COMPARED_OF))
            .start()
            .await;
        again.sink("down", always(200));
        let engine = again.engine().clone();
        let audit = Target::Trigger(TriggerName::new("default", "audit"));
        let resumed = engine.resume(&audit, ResumeFrom::Backlog, false);
        // It may not be paused.
        drop(again.run(resumed).await);
        // What is parked is due by then; looking at the engine all the time costs more.
        again.advance(Duration::from_secs(3)).await;
        again.until_settled().await;
        let letters = again.engine().dead_letters();
        let letters = letters.rows(&Query::default(), From::Oldest(Offset(0)), 10_000);
        let letters = letters.into_iter();
        let letters: BTreeSet<(String, Offset)> = letters
            .map(|row| (row.trigger.name().to_owned(), row.event))
            .collect();
        let calls = again.calls();
        let seen = Seen {
            calls: &calls,
            acknowledged: known.ledger.acknowledged(),
            letters: &letters,
            sent: &self.sent,
            replied: &sinks.replied(),
            ends: &known.ends,
            redriven: self.redriven,
            fleeting_from: None,
        };
        let wrong = seen.wrong(false);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Life {
            world: again,
            recorder,
        }
    }

    /// Goes back to just before this change, and on from what a loss of power leaves of the disk then.
    /// Of some points the power fails again in the life that follows, mostly in its start. Whether it did.
    async fn judge(&self, change: u64, point: Point) -> bool {
        let disk = self.world.disk();
        disk.set_sector_bytes(point.sector_bytes);
        let crashed = disk.crash_before(change, point.rule, point.seed);
        let nothing = Known {
            ledger: Ledger::default(),
            sinks: self.world.sinks.clone(),
            ends: Vec::new(),
        };
        let known = nothing.as_of_change((&self.world, &self.recorder), change);
        let life = self.go_on(crashed, &known, point, self.world.time()).await;
        let mut chance = Seed::of(point.seed);
        if chance.within(0..AGAIN_OF) != 0 {
            return false;
        }
        let disk = life.world.disk();
        let most = chance.of_these(&[10, 60, u64::MAX]).min(disk.changes());
        let change = chance.within(0..most + 1);
        let crashed = disk.crash_before(change, point.rule, chance.bits());
        let known = known.as_of_change((&life.world, &life.recorder), change);
        self.go_on(crashed, &known, point, self.world.time()).await;
        true
    }

    /// Every way in which the power may fail before this change.
    fn points(&self, change: u64, seed: &mut Seed) -> Vec<Point> {
        let rules: &[CrashRule] = match self.world.disk().was_durable_before(change) {
            true => &[CrashRule::Nothing],
            false => &CrashRule::ALL,
        };
        let mut points = Vec::new();
        for &rule in rules {
            let tears = !matches!(rule, CrashRule::Nothing | CrashRule::Everything);
            let sizes: &[usize] = match tears {
                true => &[SECTOR_BYTES, LARGE_SECTOR_BYTES],
                false => &[SECTOR_BYTES],
            };
            points.extend(sizes.iter().map(|&sector_bytes| Point {
                rule,
                sector_bytes,
                seed: seed.bits(),
            }));
        }
        points
    }
}

/// How the power fails.
#[derive(Debug, Clone, Copy)]
struct Point {
    rule: CrashRule,
    sector_bytes: usize,
    seed: u64,
}

/// Says where a run that panics stood.
struct Where {
    seed: u64,
    point: Cell<Option<(u64, Point)>>,
}

impl Drop for Where {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "before change and how: {:?}\nSEED={} cargo test -p tests --test scenarios crash_point",
                self.point.get(),
                self.seed
            );
        }
    }
}

/// Goes through a workload's moments, about so many of them. Says how many those were, and in how many the
/// power failed once more.
async fn through(seed: Seed, points: u64) -> (u64, u64) {
    let mut chance = Seed::of(seed.number ^ 0x5eed);
    let place = Where {
        seed: seed.number,
        point: Cell::new(None),
    };
    let workload = Workload::play(seed).await;
    let changes = workload.world.disk().changes();
    let mut all = Vec::new();
    for change in 0..=changes {
        let ways = workload.points(change, &mut chance);
        all.extend(ways.into_iter().map(|point| (change, point)));
    }
    let step = (all.len() as u64 / points.max(1)).max(1) as usize;
    let first = chance.within(0..step as u64) as usize;
    let (mut judged, mut again) = (0, 0);
    for (change, point) in all.into_iter().skip(first).step_by(step) {
        place.point.set(Some((change, point)));
        again += u64::from(workload.judge(change, point).await);
        judged += 1;
    }
    (judged, again)
}

#[test]
fn no_crash_point_of_log_kept_and_view_loses_anything() {
    let (full, short) = POINTS;
    let wanted = proof::size(full, short);
    let given = std::env::var_os("SEED").map(|_| Seed::or(0));
    let each = match given.is_some() || proof::is_full() {
        true => u64::MAX,
        false => POINTS_EACH,
    };
    let [points, again, workloads] = [(); 3].map(|()| AtomicU64::new(0));
    on_all_processors(|| {
        while points.load(Ordering::Relaxed) < wanted {
            let number = workloads.fetch_add(1, Ordering::Relaxed) + 1;
            let seed = match &given {
                None => Seed::of(number),
                Some(seed) if number == 1 => seed.clone(),
                Some(_) => return,
            };
            let (more, twice) = in_paused_time(through(seed, each));
            points.fetch_add(more, Ordering::Relaxed);
            again.fetch_add(twice, Ordering::Relaxed);
        }
    });
    let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
    let figures = [
        ("points", of(&points)),
        ("in which it failed again", of(&again)),
        ("workloads", of(&workloads)),
        ("lost", 0),
    ];
    proof::report("crash points", &figures);
}
