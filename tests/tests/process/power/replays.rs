//! What a loss of power leaves: the disk as it was after every flush, and with any part of what was written
//! after one. The file system is mounted, the log verified, and a node started on it: each event that had been
//! answered 202 by then is there.

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tests::http::Function;
use tests::{Seed, proof};

use super::blocks::{Blocks, SECTOR_BYTES};
use super::disk::{Disk, Done};
use super::drive::{Class, Drive};
use super::load::Acknowledged;
use super::recorded::{OWED, Recorded, SETTLED, data, start, yaml};

const ROW: &str = "flushes and subsets replayed";
const ROW_BUFFERED: &str = "the same through the page cache";

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
    /// All that was flushed is there and nothing else.
    pub(crate) is_at_flush: bool,
    /// All that was answered by then must be there.
    pub(crate) at: usize,
    pub(crate) holds: Blocks,
}

#[test]
fn power_that_fails_after_any_flush_leaves_all_that_was_acknowledged() {
    let (events, subsets) = (proof::size(250, 60), proof::size(1000, 20));
    let flushes = (!proof::is_full()).then_some(20);
    power_fails(ROW, Class::Direct, events, flushes, subsets);
}

#[test]
fn power_that_fails_where_files_are_buffered_leaves_all_that_was_acknowledged() {
    let (events, moments) = (proof::size(100, 40), proof::size(60, 8));
    let flushes = usize::try_from(moments).ok();
    power_fails(ROW_BUFFERED, Class::Buffered, events, flushes, moments);
}

/// Records so many events of each publisher, and lets the power fail after so many flushes, or all of them, and
/// so many times between two.
fn power_fails(row: &str, class: Class, events: u64, at_flushes: Option<usize>, subsets: u64) {
    let mut seed = Seed::or(5077);
    eprintln!("SEED={}", seed.number);
    let events = usize::try_from(events).expect("a small number");
    let recorded = match Recorded::run(class, LIVES, 4, events, PAUSE) {
        Ok(recorded) => recorded,
        Err(why) => return proof::skipped(row, &why),
    };
    let flushes = recorded.flushes();
    let subsets = usize::try_from(subsets).expect("a small number");
    // Where something had been answered.
    let answered = recorded
        .came
        .acknowledged
        .iter()
        .map(|event| event.at)
        .min();
    let first = flushes.partition_point(|&flush| Some(flush) < answered);
    let wanted = match at_flushes {
        None => (0..flushes.len()).collect(),
        Some(count) => some(&mut seed, first..flushes.len(), count),
    };
    let mut in_parts: Vec<usize> = (0..subsets)
        .map(|_| seed.within(first as u64..flushes.len() as u64) as usize)
        .collect();
    in_parts.sort_unstable();

    let (send, receive) = sync_channel(AT_A_TIME);
    let receive = Mutex::new(receive);
    let lost = Mutex::new(Vec::new());
    let (mut at_flush, mut in_part, mut looked_for) = (0, 0, 0);
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
                    is_at_flush: true,
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
                losses.push(Loss {
                    is_at_flush: false,
                    what,
                    at,
                    holds,
                });
            }
            for loss in losses {
                // Before the first 202 there is nothing to look for.
                let events = recorded.acknowledged_at(&loss).count() as u64;
                match loss.is_at_flush {
                    _ if events == 0 => {}
                    true => at_flush += 1,
                    false => in_part += 1,
                }
                looked_for += events;
                send.send(loss).expect("they are taken");
            }
        }
        drop(send);
    });
    let lost = lost.into_inner().expect("nobody panicked with it");
    proof::report(
        row,
        &[
            ("flushes", at_flush),
            ("subsets", in_part),
            ("acknowledged", recorded.came.acknowledged.len() as u64),
            ("times an event was looked for", looked_for),
            ("lost", lost.len() as u64),
        ],
    );
    let replay = format!(
        "SEED={} cargo test -p tests --test process power_that_fails",
        seed.number
    );
    assert!(lost.is_empty(), "LOST: {lost:#?}\n{replay}");
}

impl Recorded {
    /// What had been answered 202 by then.
    fn acknowledged_at(&self, loss: &Loss) -> impl Iterator<Item = &Acknowledged> {
        let all = self.came.acknowledged.iter();
        let at = loss.at;
        all.filter(move |event| event.at <= at)
    }
}

/// So many of these numbers; the last is one of them.
fn some(seed: &mut Seed, of: Range<usize>, count: usize) -> BTreeSet<usize> {
    let mut some = BTreeSet::from([of.end - 1]);
    while some.len() < count.min(of.len()) {
        some.insert(seed.within(of.start as u64..of.end as u64) as usize);
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
    let mounted = drive
        .mount(recorded.class)
        .expect("ext4 survives this")
        .to_owned();
    let acknowledged: Vec<_> = recorded.acknowledged_at(loss).collect();
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
