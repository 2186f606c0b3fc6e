//! Whatever outsiders hand us: each way in holds for the seeds and past finds of `tests/fuzz/`, and for
//! mutations of them. `make fuzz` goes on with libFuzzer where this stops.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tests::fuzz::drive::{Bounds, Drive, Driven, Origin};
use tests::fuzz::{TARGETS, Target};
use tests::{Seed, proof};

/// Picks one target to be run alone.
const TARGET: &str = "FUZZ";

/// Replaces how many seconds each target's mutations go on.
const SECONDS: &str = "FUZZ_SECONDS";

/// Where this run's mutations begin; a find names its own number.
const FIRST: u64 = 1;

/// How long each target's mutations go on.
const SHORT: Duration = Duration::from_millis(2500);
const FULL: Duration = Duration::from_secs(60);

/// Each target is run so often at least, on a slow machine too.
const MUTATIONS_MIN: u64 = 200;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn drive(target: Target) -> Driven {
    let drive = Drive::of(target, &folder()).expect("the seeds lie in the repository");
    if std::env::var_os("SEED").is_some() {
        return drive.replay(Seed::or(FIRST).number);
    }
    let asked = std::env::var(SECONDS).ok();
    let asked = asked.map(|text| Duration::from_secs(text.parse().expect("seconds are a number")));
    let usual = if proof::is_full() { FULL } else { SHORT };
    let bounds = Bounds {
        mutations_min: MUTATIONS_MIN,
        time: asked.unwrap_or(usual),
    };
    drive.run(FIRST, bounds)
}

/// What to do about a find: it is kept, and can be run again.
fn say(target: Target, driven: &Driven) -> Option<String> {
    let find = driven.find.as_ref()?;
    let again = match &find.origin {
        Origin::File(path) => format!("the input {path}"),
        Origin::Seed(number) => {
            let path = std::env::temp_dir().join(format!("weft-fuzz-{}-{number}", target.name));
            let kept = std::fs::write(&path, &find.bytes).map(|()| path.display().to_string());
            let kept = kept.unwrap_or_else(|error| format!("nowhere: {error}"));
            format!(
                "SEED={number} {TARGET}={} cargo test -p tests --test scenarios fuzz::\n  \
                 the input is kept in {kept}; put it into tests/fuzz/finds/{}/",
                target.name, target.name
            )
        }
    };
    Some(format!("{}: {}\n  {again}", target.name, find.why))
}

#[test]
fn every_way_in_holds_for_seeds_finds_and_their_mutations() {
    let asked = std::env::var(TARGET).ok();
    let asked = |target: &Target| asked.as_deref().is_none_or(|name| name == target.name);
    let waiting: Mutex<Vec<Target>> = Mutex::new(TARGETS.into_iter().filter(asked).collect());
    let targets = waiting.lock().unwrap().len() as u64;
    assert_ne!(targets, 0, "{TARGET} names no target");
    let done: Mutex<Vec<(Target, Driven)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop();
                    let Some(target) = next else { return };
                    let driven = drive(target);
                    done.lock().unwrap().push((target, driven));
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    for (target, driven) in &done {
        eprintln!(
            "fuzz {}: {} executions, {} of them seeds and past finds",
            target.name, driven.executions, driven.files
        );
        let ended_early = driven.find.is_some() || std::env::var_os("SEED").is_some();
        assert!(
            ended_early || 3 <= driven.files,
            "{} has no seeds",
            target.name
        );
    }
    let executions = done.iter().map(|(_, driven)| driven.executions).sum();
    let finds: Vec<String> = done
        .iter()
        .filter_map(|(target, driven)| say(*target, driven))
        .collect();
    let loses = |target: &Target| ["frames", "folder"].contains(&target.name);
    let lost = done
        .iter()
        .filter(|(target, driven)| loses(target) && driven.find.is_some());
    let figures = [
        ("targets", targets),
        ("executions", executions),
        ("failures", finds.len() as u64),
        ("lost", lost.count() as u64),
    ];
    proof::report("fuzz", &figures);
    assert!(finds.is_empty(), "\n{}", finds.join("\n"));
}

/// The driver itself can fail: it finds a planted fault, and its number finds it again.
#[test]
fn a_planted_fault_is_found_and_replayed() {
    fn planted(bytes: &[u8]) {
        assert!(!bytes.windows(4).any(|window| window == b"weft"), "planted");
    }
    let target = Target {
        name: "planted",
        run: planted,
        bytes_max: 64,
        words: &["we", "ft"],
    };
    let drive = Drive::with(target, vec![("seed".to_owned(), b"a seed".to_vec())]);
    let bounds = Bounds {
        mutations_min: 100_000,
        time: Duration::ZERO,
    };
    let driven = drive.run(FIRST, bounds);
    let find = driven.find.expect("the planted fault is found");
    assert!(find.why.contains("planted"));
    let Origin::Seed(number) = find.origin else {
        panic!("the seed itself is sound");
    };
    let again = drive.replay(number).find.expect("its number replays it");
    assert_eq!(again.bytes, find.bytes);
}

/// A seed that fails is found as well, and named.
#[test]
fn a_seed_that_fails_is_named() {
    fn planted(bytes: &[u8]) {
        assert_ne!(bytes, b"bad", "planted");
    }
    let target = Target {
        name: "planted",
        run: planted,
        bytes_max: 64,
        words: &[],
    };
    let inputs = ["bad", "good"].map(|text| (text.to_owned(), text.as_bytes().to_vec()));
    let bounds = Bounds {
        mutations_min: 0,
        time: Duration::ZERO,
    };
    let driven = Drive::with(target, inputs.to_vec()).run(FIRST, bounds);
    let find = driven.find.expect("the bad seed is found");
    assert_eq!(find.origin, Origin::File("bad".to_owned()));
    assert_eq!(driven.executions, 1);
}
