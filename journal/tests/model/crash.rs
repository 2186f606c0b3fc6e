//! The power fails before every single change of the disk, under every rule of what survives.

use journal::model_disk::{CrashRule, LARGE_SECTOR_BYTES, ModelDisk, SECTOR_BYTES};

use crate::play::{Ledger, Op, contents, group, play, read_all, run, small};

/// Dice for workloads.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn sizes(&mut self) -> Vec<u16> {
        let records = 1 + self.below(4);
        (0..records)
            .map(|_| match self.below(10) {
                0 => 5000 + self.below(600),
                1..4 => 400 + self.below(1200),
                _ => self.below(80),
            } as u16)
            .collect()
    }

    fn op(&mut self) -> Op {
        match self.below(22) {
            0..9 => Op::Append((0..1 + self.below(6)).map(|_| self.sizes()).collect()),
            9..14 => Op::Note(self.sizes()),
            14 => Op::Wait,
            15 | 16 => Op::Flush,
            17 | 18 => Op::Reclaim(self.below(101) as u8),
            19 | 20 => Op::Repack,
            _ => Op::Reopen,
        }
    }
}

const OPS: usize = 60;
const CRASHES_MIN: u64 = 10_000;

/// Plays one workload, then loses power before each of its changes. Returns how many times, and how
/// many segments it repacked.
fn crash_everywhere(seed: u64) -> Result<(u64, u64), String> {
    let mut dice = Dice(seed);
    let ops: Vec<Op> = (0..OPS).map(|_| dice.op()).collect();
    let disk = ModelDisk::new();
    disk.keep_history();
    let mut ledger = Ledger::default();
    let disk = play(disk, &small(), &ops, &mut ledger)?;
    let mut crashes = 0;
    for change in 0..=disk.changes() {
        let sectors = [SECTOR_BYTES, LARGE_SECTOR_BYTES];
        disk.set_sector_bytes(sectors[((change ^ seed) % 2) as usize]);
        for rule in CrashRule::ALL {
            crashes += 1;
            let crash_seed = seed ^ (change << 8);
            survive(
                &disk.crash_before(change, rule, crash_seed),
                &ledger,
                change,
            )
            .map_err(|what| format!("before change {change}, {rule:?} survives: {what}"))?;
        }
    }
    Ok((crashes, ledger.repacks))
}

/// The disk holds what it must. Then the log goes on, and crashes again: what was read stays.
fn survive(disk: &ModelDisk, ledger: &Ledger, change: u64) -> Result<(), String> {
    let first = read_all(disk, small())?;
    ledger.check(&first, change)?;
    let new = 1_000_000;
    let ran = run(disk, small(), async |journal| {
        let range = journal.append(group(new, &[10, 3000, 0])).await;
        journal
            .note(group(new + 1, &[10]))
            .map_err(|error| error.to_string())?;
        range.map_err(|error| error.to_string())
    });
    let range = ran.result?;
    if range.start.0 < first.end {
        return Err(format!("offset {} was given twice", range.start));
    }
    let again = disk.crash(CrashRule::Nothing, 0);
    let second = read_all(&again, small())?;
    for (id, offsets) in &first.groups {
        if second.groups.get(id) != Some(offsets) {
            return Err(format!(
                "group {id} was read at {offsets:?} and is gone after a second crash"
            ));
        }
    }
    if second.groups.get(&new) != Some(&(range.start.0..range.end.0)) {
        return Err(format!(
            "what was appended at {range:?} after recovery is lost"
        ));
    }
    if second.groups.len() != first.groups.len() + 1 {
        return Err("a second crash brought groups back".into());
    }
    Ok(())
}

#[test]
fn no_crash_point_loses_tears_or_resurrects_anything() {
    let given = std::env::var("SEED").ok().map(|seed| seed.parse().unwrap());
    let (mut crashes, mut repacks) = (0, 0);
    let mut seed = given.unwrap_or(1);
    while crashes < CRASHES_MIN {
        match crash_everywhere(seed) {
            Ok((more, packed)) => (crashes, repacks) = (crashes + more, repacks + packed),
            Err(what) => panic!("SEED={seed} cargo test -p journal --test model\n{what}"),
        }
        if given.is_some() {
            return;
        }
        seed += 1;
    }
    assert_ne!(repacks, 0, "no workload repacks anything");
    eprintln!(
        "{crashes} crashes, {} workloads, {repacks} segments repacked",
        seed - 1
    );
}

#[test]
fn what_a_crash_left_readable_stays_or_goes_for_good() {
    // Three groups in one frame, of which the crash keeps a part: whichever it is, every later
    // open gives the same answer.
    for seed in 0..200 {
        let disk = ModelDisk::new();
        let ran = run(&disk, small(), async |journal| {
            journal.append(group(0, &[5])).await.unwrap();
            for id in 1..4 {
                journal.note(group(id, &[700, 700, 700])).unwrap();
            }
        });
        assert!(ran.recovered.clean);
        // Recovery's sync is answered, that of the frame behind it isn't.
        disk.fail(
            journal::model_disk::Operation::Sync,
            3,
            journal::model_disk::Lasting::Once,
            std::io::ErrorKind::Other,
        );
        run(&disk, small(), async |journal| {
            drop(journal.append(group(4, &[700, 700, 700])));
            drop(journal.append(group(5, &[700, 700, 700])));
            let mut durable = journal.durable();
            while durable.changed().await.is_ok() {}
        });
        let disk = disk.crash(CrashRule::Subset, seed);
        let first = read_all(&disk, small()).unwrap();
        run(&disk, small(), async |journal| {
            journal.append(group(9, &[1])).await.unwrap();
        });
        let ran = run(&disk, small(), async |journal| contents(&journal));
        let second = ran.result.unwrap();
        assert_eq!(first.groups.len() + 1, second.groups.len(), "seed {seed}");
    }
}

/// A killed process leaves bytes that only memory has. Who opens the log acts on what is read, so by then
/// it must be on disk.
#[test]
fn what_a_killed_process_left_in_memory_is_on_disk_once_it_was_read() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        journal.append(group(0, &[5])).await.unwrap();
        // The frame is written, and the process ends in its sync.
        disk.fail(
            journal::model_disk::Operation::Sync,
            0,
            journal::model_disk::Lasting::Once,
            std::io::ErrorKind::Interrupted,
        );
        drop(journal.append(group(1, &[700, 700])));
        let mut durable = journal.durable();
        while durable.changed().await.is_ok() {}
    });
    let first = run(&disk, small(), async |journal| contents(&journal).unwrap()).result;
    assert!(first.groups.contains_key(&1), "memory has it");
    let second = read_all(&disk.crash(CrashRule::Nothing, 0), small()).unwrap();
    assert_eq!(first.groups, second.groups);
}
