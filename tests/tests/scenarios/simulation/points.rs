//! The power fails before every single change of the disk, whichever file it is of: the log, what is kept
//! of it, or the view. By every rule of what survives, with sectors of either size. From each of the disks
//! that this leaves the engine starts, pays what it owes, and is judged by all that was promised until
//! then.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::letter_query::{From, Query};
use journal::Offset;
use journal::model_disk::{CrashRule, LARGE_SECTOR_BYTES, SECTOR_BYTES};
use tests::sinks::{Key, Sinks};
use tests::world::Builder;
use tests::{
    Seed, World, after, always, everything, order_placed, proof, replies, terms, times, ty,
};

use super::judge::Seen;
use super::play::End;
use super::{in_paused_time, on_all_processors};

const MS: Duration = Duration::from_millis(1);

/// How many points there are to be, in full and in short.
const POINTS: (u64, u64) = (100_000, 3_000);

/// In short each workload gives about so many, spread over it.
const POINTS_EACH: u64 = 750;

/// How often the start is compared with one without the view.
const COMPARED_OF: u64 = 16;

/// A log of 1 MiB, so that its history goes and what is owed of it moves to kept.
fn small(options: &mut journal::Options) {
    options.segment_bytes = 64 << 10;
    options.group_bytes_max = 16 << 10;
    options.queue_bytes_max = 64 << 10;
    options.note_bytes_max = 64 << 10;
    options.reserve_bytes = 128 << 10;
    options.bytes_max = 1 << 20;
}

fn of_everything(seed: u64) -> Builder {
    World::new()
        .journal(small)
        .seed(seed)
        .trigger(
            "down",
            ty("order.placed"),
            terms().backoff("linear", "PT2S").backoff_max("PT2S"),
        )
        .trigger(
            "refuses",
            ty("order.placed"),
            terms().dead_letter("graveyard"),
        )
        .trigger("billing", ty("order.placed"), terms())
        .trigger("shipping", ty("order.billed"), terms())
        .trigger("audit", everything(), terms())
}

fn with_functions(builder: Builder) -> Builder {
    builder
        .sink("down", always(503))
        .sink("refuses", always(422).body("no"))
        .sink("graveyard", times(1, 503).then(after(20 * MS)))
        .sink("billing", replies("order.billed").after(3 * MS))
        .sink("shipping", after(2 * MS))
        .sink("audit", after(MS))
}

/// An event that takes room.
fn history(n: u64) -> event::Event {
    let event = event::Event::build(&format!("h-{n}"), "/shop", "history");
    let event = event.data(vec![b'x'; 8 << 10]).finish();
    event.expect("a test's event is valid")
}

/// A run whose every moment can be gone back to.
struct Workload {
    seed: u64,
    world: World,
    /// When each change of the disk was made.
    changed_at: Arc<Mutex<Vec<Duration>>>,
    sent: BTreeMap<Key, event::Event>,
}

impl Workload {
    /// Old debts and letters first, then enough history that they move to kept; and from then on every
    /// change of the disk is remembered, while orders come and the log rolls.
    async fn play(mut seed: Seed) -> Workload {
        let world = with_functions(of_everything(seed.number)).start().await;
        let mut workload = Workload {
            seed: seed.number,
            world,
            changed_at: Arc::default(),
            sent: BTreeMap::new(),
        };
        for n in 0..4 {
            workload.publish(order_placed(&format!("old-{n}"))).await;
        }
        for n in 0..100 {
            workload.publish(history(n)).await;
            workload.world.advance(16 * MS).await;
        }
        workload.remember();
        for n in 100..140 {
            workload.publish(history(n)).await;
            if seed.within(0..3) == 0 {
                workload.publish(order_placed(&format!("o-{n}"))).await;
            }
            let pause = Duration::from_micros(seed.within(1000..300_000));
            workload.world.advance(pause).await;
        }
        workload.world.advance(Duration::from_secs(6)).await;
        workload.world.settle().await;
        workload
    }

    async fn publish(&mut self, event: event::Event) {
        let key = event.as_ref();
        let key = (key.source().to_owned(), key.id().to_owned());
        self.sent.insert(key, event.clone());
        self.world.publish(event).await;
    }

    fn remember(&self) {
        let disk = self.world.disk();
        disk.keep_history();
        let (changed_at, began) = (Arc::clone(&self.changed_at), tokio::time::Instant::now());
        let offset = self.world.time();
        disk.watch(move |seen| {
            if seen.operation.changes() {
                let mut changed_at = changed_at.lock().unwrap_or_else(PoisonError::into_inner);
                changed_at.push(offset + began.elapsed());
            }
        });
    }

    /// Goes back to just before this change, and on from what a loss of power leaves of the disk then.
    async fn judge(&self, change: u64, point: Point) {
        let disk = self.world.disk();
        disk.set_sector_bytes(point.sector_bytes);
        let crashed = disk.crash_before(change, point.rule, point.seed);
        let mut ledger = self.world.ledger.borrow().clone();
        ledger.as_of_change(change);
        let sinks: Sinks = self.world.sinks.as_of_change(change);
        let again = of_everything(self.seed)
            .disk(crashed)
            .ledger(ledger)
            .sinks(sinks.clone())
            .compares_views(point.seed.is_multiple_of(COMPARED_OF))
            .start()
            .await;
        again.sink("down", always(200));
        // What is parked is due by then; looking at the engine all the time costs more.
        again.advance(Duration::from_secs(3)).await;
        again.until_settled().await;
        let letters = again.engine().dead_letters();
        let letters = letters.rows(&Query::default(), From::Oldest(Offset(0)), 10_000);
        let letters = letters.into_iter();
        let letters: BTreeSet<(String, Offset)> = letters
            .map(|row| (row.trigger.name().to_owned(), row.event))
            .collect();
        let at = {
            let changed_at = self
                .changed_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let index = change as usize;
            changed_at
                .get(index)
                .copied()
                .unwrap_or_else(|| self.world.time())
        };
        let calls = again.calls();
        let ledger = again.ledger.borrow();
        let seen = Seen {
            calls: &calls,
            acknowledged: ledger.acknowledged(),
            letters: &letters,
            sent: &self.sent,
            replied: &sinks.replied(),
            ends: &[End {
                unsure_from: at.saturating_sub(52 * MS),
                at,
            }],
            redriven: false,
        };
        let wrong = seen.wrong(false);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// Goes through a workload's moments, about so many of them, and says how many those were.
async fn through(seed: Seed, points: u64) -> u64 {
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
    let mut judged = 0;
    for (change, point) in all.into_iter().skip(first).step_by(step) {
        place.point.set(Some((change, point)));
        workload.judge(change, point).await;
        judged += 1;
    }
    judged
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
    let (points, workloads) = (AtomicU64::new(0), AtomicU64::new(0));
    on_all_processors(|| {
        while points.load(Ordering::Relaxed) < wanted {
            let number = workloads.fetch_add(1, Ordering::Relaxed) + 1;
            let seed = match &given {
                None => Seed::of(number),
                Some(seed) if number == 1 => seed.clone(),
                Some(_) => return,
            };
            let more = in_paused_time(through(seed, each));
            points.fetch_add(more, Ordering::Relaxed);
        }
    });
    let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
    let figures = [
        ("points", of(&points)),
        ("workloads", of(&workloads)),
        ("lost", 0),
    ];
    proof::report("crash points", &figures);
}
