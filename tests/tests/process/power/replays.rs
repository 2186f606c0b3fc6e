//! What a loss of power leaves: the disk as it was after every flush, and with any part of what was written
//! after one. The file system is mounted, the log verified, and a node started on it: each event that had been
//! answered 202 by then is there.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tests::http::Function;
use tests::{Seed, proof};

use super::blocks::{Blocks, SECTOR_BYTES};
use super::disk::{Disk, Done};
use super::drive::Drive;
use super::recorded::{OWED, Recorded, SETTLED, data, start, yaml};

const ROW: &str = "flushes and subsets replayed";

/// How many are replayed at a time.
const AT_A_TIME: usize = 4;

/// The node is killed in between: what it does at a start can be cut short, too.
const LIVES: usize = 3;

/// Between two events of a publisher: the full form lasts long enough for the view to be written and for segments
/// to be taken again.
const PAUSE: Duration = Duration::from_millis(20);

/// After so many findings the rest needn't be looked at.
const LOST_MAX: usize = 10;

/// The file system's superblock is in the first block. ext4 writes it over without its journal, so it relies on
/// the disk to write it whole, and so does this disk.
const SUPERBLOCK_BYTES: u64 = 4096;

/// A moment at which the power failed, and what the disk holds then.
pub(crate) struct Loss {
    pub(crate) what: String,
    /// All that was answered by then must be there.
    pub(crate) at: usize,
    pub(crate) holds: Blocks,
}

#[test]
fn power_that_fails_after_any_flush_leaves_all_that_was_acknowledged() {
    let mut seed = Seed::or(5077);
    eprintln!("SEED={}", seed.number);
    let events = usize::try_from(proof::size(250, 60)).expect("a small number");
    let recorded = match Recorded::run(LIVES, 4, events, PAUSE) {
        Ok(recorded) => recorded,
        Err(why) => return proof::skipped(ROW, &why),
    };
    let flushes = recorded.flushes();
    let subsets = usize::try_from(proof::size(1000, 20)).expect("a small number");
    let wanted = match proof::is_full() {
        true => (0..flushes.len()).collect(),
        false => some(&mut seed, flushes.len(), 20),
    };
    let mut in_parts: Vec<usize> = (0..subsets)
        .map(|_| seed.within(0..flushes.len() as u64) as usize)
        .collect();
    in_parts.sort_unstable();

    let (send, receive) = sync_channel(AT_A_TIME);
    let receive = Mutex::new(receive);
    let lost = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| replay_all(&receive, &recorded, &lost));
        }
        let mut holds = recorded.base.clone();
        let mut from = 0;
        for (k, &flush) in flushes.iter().enumerate() {
            if lost.lock().expect("nobody panicked with it").len() >= LOST_MAX {
                break;
            }
            apply(&mut holds, &recorded.log[from..flush]);
            from = flush + 1;
            let next = flushes.get(k + 1).copied().unwrap_or(recorded.log.len());
            let mut losses = Vec::new();
            if wanted.contains(&k) {
                losses.push(Loss {
                    what: format!("after flush {k}"),
                    // Up to the end of the next flush nothing more became durable.
                    at: next,
                    holds: holds.clone(),
                });
            }
            for _ in in_parts.iter().filter(|&&part| part == k) {
                let at = seed.within(from as u64..next as u64 + 1) as usize;
                let mut holds = holds.clone();
                apply_some(&mut holds, &recorded.log[from..at], &mut seed);
                let what = format!("after flush {k} with parts of what was written up to {at}");
                losses.push(Loss { what, at, holds });
            }
            for loss in losses {
                send.send(loss).expect("they are taken");
            }
        }
        drop(send);
    });
    let lost = lost.into_inner().expect("nobody panicked with it");
    proof::report(
        ROW,
        &[
            ("flushes", wanted.len() as u64),
            ("subsets", in_parts.len() as u64),
            ("acknowledged", recorded.came.acknowledged.len() as u64),
            ("lost", lost.len() as u64),
        ],
    );
    let replay = format!(
        "SEED={} cargo test -p tests --test process power_that_fails",
        seed.number
    );
    assert!(lost.is_empty(), "LOST: {lost:#?}\n{replay}");
}

/// So many of the numbers below `below`; the last is one of them.
fn some(seed: &mut Seed, below: usize, count: usize) -> BTreeSet<usize> {
    let mut some = BTreeSet::from([below - 1]);
    while some.len() < count.min(below) {
        some.insert(seed.within(0..below as u64) as usize);
    }
    some
}

fn apply(holds: &mut Blocks, log: &[Done]) {
    for done in log {
        if let Done::Write { at, bytes } = done {
            holds.write(*at, bytes);
        }
    }
}

/// Each write not at all, whole, or in some of its sectors.
fn apply_some(holds: &mut Blocks, log: &[Done], seed: &mut Seed) {
    for done in log {
        let Done::Write { at, bytes } = &done else {
            continue;
        };
        match seed.within(0..4) {
            0 => {}
            1 => holds.write(*at, bytes),
            _ if *at < SUPERBLOCK_BYTES => {}
            _ => {
                for (n, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if seed.within(0..2) == 0 {
                        holds.write(at + (n * SECTOR_BYTES) as u64, sector);
                    }
                }
            }
        }
    }
}

/// Replays what comes, and adds what it finds.
fn replay_all(losses: &Mutex<Receiver<Loss>>, recorded: &Recorded, lost: &Mutex<Vec<String>>) {
    loop {
        let next = losses.lock().expect("nobody panicked with it").recv();
        let Ok(loss) = next else { return };
        let found = catch_unwind(AssertUnwindSafe(|| replay(&loss, recorded)));
        // Such as a node that doesn't start.
        let found =
            found.unwrap_or_else(|_| vec![format!("{}: it panicked, see above", loss.what)]);
        if !found.is_empty() {
            keep(&loss);
        }
        lost.lock().expect("nobody panicked with it").extend(found);
    }
}

/// Leaves the disk as it was found, to look into: `mount -o loop FILE FOLDER`.
fn keep(loss: &Loss) {
    let name = format!("power-failed-at-{}.img", loss.at);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    match loss.holds.save(&path) {
        Ok(()) => eprintln!("{}: the disk is kept as {}", loss.what, path.display()),
        Err(error) => eprintln!("{}: the disk can't be kept: {error}", loss.what),
    }
}

/// What is missing or wrong after this loss.
pub(crate) fn replay(loss: &Loss, recorded: &Recorded) -> Vec<String> {
    let disk = Disk::new(loss.holds.clone(), Duration::ZERO);
    let drive = Drive::attach(&disk).expect("it could be attached before");
    let mounted = drive.mount().expect("ext4 survives this").to_owned();
    let acknowledged = recorded.came.acknowledged.iter();
    let acknowledged: Vec<_> = acknowledged.filter(|event| event.at <= loss.at).collect();
    let mut wrong = Vec::new();
    if !acknowledged.is_empty() {
        let data = data(&mounted);
        let verified = tests::node::weft(&["log", "verify", &data.to_string_lossy()]);
        if !verified.status.success() {
            let said = String::from_utf8_lossy(&verified.stdout).into_owned();
            wrong.push(format!("{}: the log isn't whole:\n{said}", loss.what));
        }
    }
    let function = Function::start(|_| 200);
    let folders = yaml(&function);
    let weft = start(&folders, &mounted).run();
    weft.until_settled();
    let dead = weft.status()["deadLetters"].as_u64();
    weft.kill();

    let received = function.received();
    let at = |path: &str| -> BTreeSet<&str> {
        let there = received.iter().filter(|one| one.request.target() == path);
        there.map(tests::http::Received::id).collect()
    };
    let (owed, settled) = (at(OWED), at(SETTLED));
    let what = &loss.what;
    for event in &acknowledged {
        let id = event.id.as_str();
        if !owed.contains(id) {
            wrong.push(format!("{what}: {id} isn't there"));
        }
        if !settled.contains(id) && !recorded.answered.contains_key(id) {
            wrong.push(format!("{what}: {id} was never delivered"));
        }
    }
    if dead != Some(0) {
        wrong.push(format!("{what}: {dead:?} dead letters"));
    }
    for id in settled {
        let answered = recorded.answered.get(id);
        if answered.is_some_and(|&answered| {
            recorded
                .came
                .is_noted(answered, acknowledged.iter().copied())
        }) {
            wrong.push(format!(
                "{what}: {id} was delivered again, and not just now"
            ));
        }
    }
    wrong
}
