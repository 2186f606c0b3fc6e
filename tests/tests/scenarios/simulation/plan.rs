//! What a seed makes happen: the world, and the steps that are taken in it, one after the other. All
//! chance is here; playing a plan draws nothing.

use std::io::ErrorKind;
use std::time::Duration;

use journal::model_disk::{CrashRule, LARGE_SECTOR_BYTES, Lasting, Operation, SECTOR_BYTES};
use tests::Seed;

/// How many steps a plan has, not counting those that bring everything back into order.
const STEPS: std::ops::Range<u64> = 14..34;

/// What makes another seed of a plan's, for its cuts.
const CUTS: u64 = 0xc075;

/// How many cuts a plan has.
const CUTS_MADE: std::ops::Range<u64> = 2..9;

/// Who is sent to, and may be in a bad mood.
pub(super) const SINKS: [&str; 8] = [
    "billing", "shipping", "fraud", "audit", "ordered", "blocking", "shifty", "once",
];

/// Those of them that keep order.
pub(super) const ORDERED: [&str; 2] = ["ordered", "blocking"];

/// A world and what happens in it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) workers: usize,
    /// Whether the log is so small that its history goes while the plan is played.
    pub(super) small_log: bool,
    /// Whether each start is compared with one without the view.
    pub(super) compares_views: bool,
    pub(super) sector_bytes: usize,
    pub(super) steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Somebody begins to publish so many, one after the other.
    Traffic {
        kind: Kind,
        events: u64,
        pace: Duration,
    },
    /// Time passes.
    Pass(Duration),
    /// The power fails while nothing is being done.
    Crash(Off),
    /// The disk makes so many more changes, and none after: somewhere between a write and its sync,
    /// or in the middle of a commit, the power fails or the process ends.
    Cut {
        after: u64,
        /// Whether only syncs are counted, so that something is written that isn't synced.
        at_sync: bool,
        what: Cut,
    },
    /// The process ends, the power stays.
    Exit,
    /// A clean stop.
    Stop,
    /// A function answers so from now on.
    Mood {
        sink: &'static str,
        mood: Mood,
    },
    /// Somebody sets the wall clock.
    Clock(i64),
    /// The disk is about to fail.
    Fault {
        operation: Operation,
        nth: u64,
        lasting: Lasting,
        kind: ErrorKind,
    },
    /// Others fill the disk, up to so many bytes.
    Full(u64),
    /// The disk becomes slow.
    Slow {
        write: Duration,
        sync: Duration,
    },
    /// The disk is as it should be.
    Healed,
    /// All dead letters are delivered again.
    Redrive,
    /// A trigger gets again what it got so far.
    Replay {
        trigger: &'static str,
        rate: u32,
    },
    /// A trigger is paused, or goes on.
    Pause(&'static str),
    Resume(&'static str),
    /// The filter of `shifty` becomes this one.
    Filter(&'static str),
    /// The file of `fleeting` comes or goes.
    Come,
    Go,
}

/// What a cut ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// The power fails.
    Power(Off),
    /// The process ends, and what it wrote can still be read.
    Process,
}

/// How the power fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Off {
    pub(super) rule: CrashRule,
    pub(super) seed: u64,
    pub(super) view: Then,
    /// It fails again after so many changes of the start that follows.
    pub(super) again: Option<u64>,
}

/// What happens to the view's file while the power is off.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    /// Nothing.
    Stays,
    /// It is removed.
    Goes,
    /// A bit of it flips.
    Flips(u64),
}

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Orders, which are replied to.
    Orders,
    /// Events of a few keys, whose order matters.
    Steps,
    /// The same of keys that nobody used before, so that no dead letter blocks them.
    NewKeys,
    /// Batches of both.
    Batches,
    /// Events that take room.
    History,
    /// Events of the broker that drops what it has seen, some of them twice.
    Twice,
}

/// How a function answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    /// It takes the event after so many ms.
    Takes(u64),
    /// It fails.
    Fails(u16),
    /// It refuses the event for good.
    Rejects,
    /// It fails a few times and then takes it.
    Stumbles(u32),
    /// It answers after so many ms, which may be too late.
    Stalls(u64),
    /// It never answers.
    Hangs,
    /// It asks to be left alone.
    PushesBack(u64),
    /// It says that it didn't process the event.
    Nacks,
    /// Its answer is no answer.
    Garbles,
    /// Nobody listens.
    Vanishes,
    /// Connections break.
    Resets,
}

const FILTERS: [&str; 4] = [
    "[]",
    "[{exact: {type: order.placed}}]",
    "[{prefix: {type: st}}]",
    "[{not: {exact: {type: step}}}]",
];

impl Plan {
    /// The plan of a seed.
    pub(super) fn of(number: u64) -> Plan {
        let mut seed = Seed::of(number);
        let mut steps = Vec::new();
        let rough = seed.within(0..4) == 0;
        for _ in 0..seed.within(STEPS) {
            steps.push(next(&mut seed, rough));
            if seed.within(0..2) == 0 {
                steps.push(traffic(&mut seed));
            }
            steps.push(Step::Pass(while_passing(&mut seed)));
        }
        cut(&mut steps, &mut Seed::of(number ^ CUTS));
        Plan {
            seed: number,
            workers: seed.within(1..3) as usize,
            small_log: seed.within(0..3) == 0,
            compares_views: seed.within(0..4) == 0,
            sector_bytes: seed.of_these(&[SECTOR_BYTES, LARGE_SECTOR_BYTES]),
            steps,
        }
    }
}

/// Mostly moments, sometimes long enough for what is late to expire.
fn while_passing(seed: &mut Seed) -> Duration {
    let micros = match seed.within(0..12) {
        0..8 => seed.within(0..300_000),
        8..11 => seed.within(0..8_000_000),
        _ => seed.within(0..900_000_000),
    };
    Duration::from_micros(micros)
}

fn traffic(seed: &mut Seed) -> Step {
    let kinds = [
        Kind::Orders,
        Kind::Orders,
        Kind::Steps,
        Kind::Steps,
        Kind::Batches,
        Kind::History,
        Kind::Twice,
    ];
    Step::Traffic {
        kind: seed.of_these(&kinds),
        events: seed.within(5..80),
        pace: Duration::from_micros(seed.within(0..12_000)),
    }
}

fn next(seed: &mut Seed, rough: bool) -> Step {
    match seed.within(0..40) {
        0..8 => Step::Mood {
            sink: seed.of_these(&SINKS),
            mood: mood(seed),
        },
        8..12 => traffic(seed),
        12..19 => Step::Crash(off(seed)),
        19 | 20 => Step::Exit,
        21..23 => Step::Stop,
        23 => Step::Clock(seed.of_these(&[-7200, -61, -3, 2, 61, 900, 7200])),
        24..28 => fault(seed, rough),
        28 => Step::Full(seed.within(0..400_000)),
        29 => Step::Slow {
            write: Duration::from_micros(seed.within(0..5_000)),
            sync: Duration::from_micros(seed.within(0..60_000)),
        },
        30 | 31 => Step::Healed,
        32 => Step::Redrive,
        33 => Step::Replay {
            trigger: seed.of_these(&["audit", "ordered", "shipping"]),
            rate: seed.of_these(&[0, 50, 1000]),
        },
        34 => Step::Pause(seed.of_these(&SINKS)),
        35 => Step::Resume(seed.of_these(&SINKS)),
        36 | 37 => Step::Filter(seed.of_these(&FILTERS)),
        38 => Step::Come,
        _ => Step::Go,
    }
}

/// How the power fails once.
fn off(seed: &mut Seed) -> Off {
    Off {
        rule: seed.of_these(&CrashRule::ALL),
        seed: seed.bits(),
        view: match seed.within(0..6) {
            0 => Then::Goes,
            1 => Then::Flips(seed.bits()),
            _ => Then::Stays,
        },
        again: None,
    }
}

/// Puts cuts between the steps, and has the power fail in some of the starts.
fn cut(steps: &mut Vec<Step>, seed: &mut Seed) {
    for step in steps.iter_mut() {
        if let Step::Crash(off) = step
            && seed.within(0..3) == 0
        {
            off.again = Some(changes(seed));
        }
    }
    for _ in 0..seed.within(CUTS_MADE) {
        let at = seed.within(0..steps.len() as u64) as usize;
        let what = match seed.within(0..5) {
            0 => Cut::Process,
            _ => Cut::Power(Off {
                again: (seed.within(0..3) == 0).then(|| changes(seed)),
                ..off(seed)
            }),
        };
        let (after, at_sync) = match seed.within(0..2) {
            0 => (changes(seed), false),
            _ => (seed.within(0..60), true),
        };
        let cut = Step::Cut {
            after,
            at_sync,
            what,
        };
        // Many at once make frames of several blocks, which tear.
        let many = Step::Traffic {
            kind: seed.of_these(&[Kind::History, Kind::Batches, Kind::Orders]),
            events: seed.within(5..60),
            pace: Duration::from_micros(seed.within(0..3_000)),
        };
        let pass = Step::Pass(Duration::from_micros(seed.within(0..400_000)));
        steps.splice(at..at, [cut, many.clone(), many, pass]);
    }
}

/// How many changes are still made: mostly few, so that starts are met too.
fn changes(seed: &mut Seed) -> u64 {
    let most = seed.of_these(&[6, 30, 100, 600]);
    seed.within(0..most)
}

fn mood(seed: &mut Seed) -> Mood {
    match seed.within(0..16) {
        0..4 => Mood::Takes(seed.within(0..40)),
        4..6 => Mood::Fails(seed.of_these(&[500, 503, 404, 408])),
        6 => Mood::Rejects,
        7..9 => Mood::Stumbles(seed.within(1..4) as u32),
        9 => Mood::Stalls(seed.within(500..4000)),
        10 => Mood::Hangs,
        11 => Mood::PushesBack(seed.within(1..20)),
        12 => Mood::Nacks,
        13 => Mood::Garbles,
        14 => Mood::Vanishes,
        _ => Mood::Resets,
    }
}

/// A fault that comes within the next few operations of its kind. In a rough world any operation may
/// fail, in others those that the log itself does.
fn fault(seed: &mut Seed, rough: bool) -> Step {
    let operations: &[Operation] = match rough {
        true => &Operation::ALL,
        false => &[
            Operation::Write,
            Operation::Sync,
            Operation::Fill,
            Operation::Read,
            Operation::SyncFolder,
        ],
    };
    Step::Fault {
        operation: seed.of_these(operations),
        nth: seed.within(0..60),
        lasting: seed.of_these(&[
            Lasting::Once,
            Lasting::Once,
            Lasting::ForEver,
            Lasting::OnceWithDataGone,
        ]),
        kind: seed.of_these(&[ErrorKind::Other, ErrorKind::Other, ErrorKind::StorageFull]),
    }
}
