//! The whole engine on a disk that fails and loses power, under whatever a seed thinks of: who publishes
//! what, functions that stall, lie and vanish, changes of triggers, pauses, replays, clocks that step and
//! disks that fail or fill up. What holds through all of it is in `judge`; DESIGN §10.
//!
//! `SEED=… cargo test -p tests --test scenarios simulation` replays one.

mod cast;
mod ends;
mod judge;
mod plan;
mod play;
mod points;
mod trace;
mod traffic;
mod workload;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::model_disk::CrashRule;
use tests::proof;
use tests::{Seed, World};

use self::judge::Seen;
use self::plan::{Kind, Plan};
use self::play::Play;
use self::trace::Traced;

/// Plans that are played, in full and in short.
const SEEDS: (u64, u64) = (320, 25);

/// Of those, how many are played twice.
const TWICE: (u64, u64) = (40, 4);

/// How many events of each kind are published when all is calm again.
const LAST_EVENTS: u64 = 3;

/// What runs came to, added up.
#[derive(Debug, Default)]
struct Sums {
    events: AtomicU64,
    calls: AtomicU64,
    crashes: AtomicU64,
    ends: AtomicU64,
    failed_starts: AtomicU64,
    unsynced: AtomicU64,
    unsynced_ends: AtomicU64,
    cut_starts: AtomicU64,
    torn: AtomicU64,
    redrives: AtomicU64,
    replays: AtomicU64,
    gave_way: AtomicU64,
    /// Runs in which something was wrong, and what was lost in them.
    failed: AtomicU64,
    lost: AtomicU64,
    letters: AtomicU64,
}

/// Says how to replay a run that panics.
struct Replay<'a>(&'a Plan);

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Replay(plan) = self;
            let steps: Vec<String> = plan
                .steps
                .iter()
                .map(|step| format!("  {step:?}"))
                .collect();
            let Plan {
                workers,
                small_log,
                compares_views,
                sector_bytes,
                ..
            } = plan;
            eprintln!(
                "{workers} workers, a small log: {small_log}, compares views: {compares_views}, sectors of \
                 {sector_bytes}\n{}\nSEED={} cargo test -p tests --test scenarios simulation",
                steps.join("\n"),
                plan.seed
            );
        }
    }
}

/// Runs `work` in a runtime of its own, in paused time.
fn in_paused_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    runtime.block_on(work)
}

/// Does `work` on as many threads as there are processors.
fn on_all_processors(work: impl Fn() + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(&work);
        }
    });
}

/// Does `work` for each of so many seeds, or for that of the environment alone. Says for how many.
fn for_each_seed(seeds: u64, work: impl Fn(Seed) + Sync) -> u64 {
    let all = Seed::all(1..seeds + 1);
    let next = AtomicU64::new(0);
    on_all_processors(|| {
        while let Some(seed) = all.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            work(seed.clone());
        }
    });
    all.len() as u64
}

/// Plays a plan to its end and judges what came of it.
async fn run(plan: &Plan, sums: &Sums) -> Traced {
    let mut play = Play::begin(plan).await;
    for step in &plan.steps {
        play.take(step).await;
    }
    play.calm().await;
    for kind in [Kind::Orders, Kind::NewKeys, Kind::Twice] {
        let pace = Duration::from_millis(20);
        play.take(&plan::Step::Traffic {
            kind,
            events: LAST_EVENTS,
            pace,
        })
        .await;
    }
    play.take(&plan::Step::Pass(Duration::from_secs(30))).await;
    play.until_published().await;
    let seed = plan.seed;
    assert!(
        play.world.is_well(),
        "the engine ended by itself: {:?}",
        play.world.ends()
    );
    play.world.until_settled().await;
    play.note_letters();
    let mut wrong = judge::unhealthy(&play.world.report().await);
    wrong.extend(judge::replayed_twice(&play.world).await);
    wrong.extend(rests(&mut play.world, seed).await);
    wrong.extend(judged(&play));
    assert!(
        wrong.is_empty(),
        "{} things are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let add = |sum: &AtomicU64, more: u64| {
        sum.fetch_add(more, Ordering::Relaxed);
    };
    add(&sums.events, play.sent.borrow().taken);
    add(&sums.calls, play.world.sinks.count() as u64);
    add(&sums.crashes, play.counts.crashes);
    add(&sums.ends, play.ends.len() as u64);
    add(&sums.failed_starts, play.counts.failed_starts);
    add(&sums.unsynced, play.counts.unsynced);
    add(&sums.unsynced_ends, play.counts.unsynced_ends);
    add(&sums.cut_starts, play.counts.cut_starts);
    add(&sums.torn, play.counts.torn);
    add(&sums.redrives, play.counts.redrives);
    add(&sums.replays, play.counts.replays);
    add(&sums.gave_way, u64::from(play.gave_way));
    add(&sums.letters, play.letters.len() as u64);
    play.trace.of(&play.world)
}

/// The power fails once more, long after everything was settled: then nobody is called again.
async fn rests(world: &mut World, seed: u64) -> Vec<String> {
    world.advance(Duration::from_secs(1)).await;
    let calls = world.sinks.count();
    world.crash(CrashRule::Nothing, seed).await;
    world.until_settled().await;
    let mut again = world.calls().split_off(calls);
    // A replay may be at work all the same, at the rate that was asked for.
    again.retain(|call| call.added("weftreplay").is_none());
    let again = again.iter().map(|call| {
        let (whose, id) = (&call.whose, &call.key.1);
        format!("{whose} got {id} again, which was settled a second before the power failed")
    });
    again.collect()
}

fn judged(play: &Play) -> Vec<String> {
    let (calls, sent) = (play.world.calls(), play.sent.borrow());
    let ledger = play.world.ledger.borrow();
    let seen = Seen {
        calls: &calls,
        acknowledged: ledger.acknowledged(),
        letters: &play.letters,
        sent: &sent.events,
        replied: &play.world.sinks.replied(),
        ends: &play.ends,
        redriven: play.redriven,
        fleeting_from: play.fleeting_from,
    };
    seen.wrong(play.gave_way)
}

#[test]
fn no_seed_loses_doubles_mixes_up_or_invents_anything() {
    let (full, short) = SEEDS;
    let sums = Sums::default();
    let seeds = for_each_seed(proof::size(full, short), |seed| {
        let plan = Plan::of(seed.number);
        let _played = counting_what_is_wrong(&sums, || {
            let _says = Replay(&plan);
            in_paused_time(run(&plan, &sums))
        });
    });
    let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
    let figures = [
        ("seeds", seeds),
        ("events", of(&sums.events)),
        ("calls", of(&sums.calls)),
        ("crashes", of(&sums.crashes)),
        ("of them with unsynced data", of(&sums.unsynced)),
        ("ends of the process", of(&sums.ends)),
        ("kills with unsynced data", of(&sums.unsynced_ends)),
        ("starts that failed", of(&sums.failed_starts)),
        ("of them cut off", of(&sums.cut_starts)),
        ("torn frames met", of(&sums.torn)),
        ("redrives", of(&sums.redrives)),
        ("replays", of(&sums.replays)),
        ("dead letters", of(&sums.letters)),
        ("runs in which letters gave way", of(&sums.gave_way)),
        ("runs that failed", of(&sums.failed)),
        ("lost", of(&sums.lost)),
    ];
    proof::report("simulation", &figures);
    assert_eq!(of(&sums.failed), 0, "runs failed, see above");
    // One seed alone needn't do everything.
    if seeds > 1 {
        let idle = figures
            .iter()
            .filter(|(name, figure)| *figure == 0 && !MAY_BE_NONE.contains(name));
        let idle: Vec<_> = idle.collect();
        assert!(idle.is_empty(), "the seeds do too little: {idle:?}");
        assert!(of(&sums.gave_way) * 20 <= seeds, "too many gave way");
    }
}

/// Figures that may be none; all others say that the seeds do what they are for.
const MAY_BE_NONE: [&str; 3] = ["runs in which letters gave way", "runs that failed", "lost"];

/// Does `work`, and counts it as failed when it panics: the others are played all the same, and the row
/// says how many it were and what was lost.
fn counting_what_is_wrong<T>(sums: &Sums, work: impl FnOnce() -> T) -> Option<T> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    done.map_err(|panic| {
        let said = panic.downcast_ref::<String>().map_or("", String::as_str);
        let lost = said.matches("LOST").count() as u64;
        sums.failed.fetch_add(1, Ordering::Relaxed);
        sums.lost.fetch_add(lost, Ordering::Relaxed);
    })
    .ok()
}

/// A failure can be replayed only if a seed does the same again: the disk's operations, the calls with
/// their times, and the log.
#[test]
fn a_seed_does_the_same_again() {
    let (full, short) = TWICE;
    let (sums, differing) = (Sums::default(), AtomicU64::new(0));
    let steps = AtomicU64::new(0);
    let seeds = for_each_seed(proof::size(full, short), |seed| {
        let plan = Plan::of(seed.number);
        let _played = counting_what_is_wrong(&sums, || {
            let _says = Replay(&plan);
            let first = in_paused_time(run(&plan, &sums));
            let second = in_paused_time(run(&plan, &sums));
            steps.fetch_add(first.len(), Ordering::Relaxed);
            let differ = first.differs(&second);
            differing.fetch_add(u64::from(!differ.is_empty()), Ordering::Relaxed);
            assert!(differ.is_empty(), "two runs differ:\n{}", differ.join("\n"));
        });
    });
    let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
    let figures = [
        ("seeds", seeds),
        (
            "calls, records and changes of the disk compared",
            of(&steps),
        ),
        ("that differed", of(&differing)),
        ("runs that failed", of(&sums.failed)),
        ("lost", of(&sums.lost)),
    ];
    proof::report("played twice", &figures);
    assert_eq!(of(&sums.failed), 0, "runs failed, see above");
}
