//! The whole engine on a disk that fails and loses power, under whatever a seed thinks of: who publishes
//! what, functions that stall, lie and vanish, changes of triggers, pauses, replays, clocks that step and
//! disks that fail or fill up. What holds through all of it is in `judge`; DESIGN §10.
//!
//! `SEED=… cargo test -p tests --test scenarios simulation` replays one.

mod cast;
mod judge;
mod plan;
mod play;
mod points;
mod trace;
mod traffic;

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
    add(&sums.crashes, play.crashes);
    add(&sums.ends, play.ends.len() as u64);
    add(&sums.failed_starts, play.failed_starts);
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
    };
    seen.wrong(play.gave_way)
}

#[test]
fn no_seed_loses_doubles_mixes_up_or_invents_anything() {
    let (full, short) = SEEDS;
    let sums = Sums::default();
    let seeds = for_each_seed(proof::size(full, short), |seed| {
        let plan = Plan::of(seed.number);
        let _says = Replay(&plan);
        in_paused_time(run(&plan, &sums));
    });
    let of = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
    let alive = of(&sums.crashes) > 0 && of(&sums.letters) > 0;
    assert!(alive || seeds == 1, "the seeds do too little: {sums:?}");
    let figures = [
        ("seeds", seeds),
        ("events", of(&sums.events)),
        ("calls", of(&sums.calls)),
        ("crashes", of(&sums.crashes)),
        ("ends of the process", of(&sums.ends)),
        ("starts that failed", of(&sums.failed_starts)),
        ("lost", 0),
    ];
    proof::report("simulation", &figures);
}

/// A failure can be replayed only if a seed does the same again: the disk's operations, the calls with
/// their times, and the log.
#[test]
fn a_seed_does_the_same_again() {
    let (full, short) = TWICE;
    for_each_seed(proof::size(full, short), |seed| {
        let plan = Plan::of(seed.number);
        let _says = Replay(&plan);
        let sums = Sums::default();
        let first = in_paused_time(run(&plan, &sums));
        let second = in_paused_time(run(&plan, &sums));
        let differ = first.differs(&second);
        assert!(differ.is_empty(), "two runs differ:\n{}", differ.join("\n"));
    });
}
