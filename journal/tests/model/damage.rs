//! Flipped bits, missing and foreign files: what they cost, and what is said about them.

use std::sync::Arc;

use journal::model_disk::{CrashRule, ModelDisk};
use journal::{Cause, Disk, Journal, Offset, OpenError, OsClock, Stored, cat_disk, verify_disk};

use crate::crash::Dice;
use crate::play::{group, read_all, run, small};

/// Four segments of single records and groups, closed in order.
fn log() -> ModelDisk {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        let mut id = 0;
        while journal.segments().len() < 4 {
            let sizes: &[u16] = if id % 3 == 0 {
                &[700, 30, 900]
            } else {
                &[1100]
            };
            journal.append(group(id, sizes)).await.unwrap();
            id += 1;
        }
        journal.close(group(id, &[0])).await.unwrap();
    });
    disk
}

fn read(disk: &ModelDisk) -> Vec<Stored> {
    cat_disk(disk.clone(), Offset(0))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn open(disk: &ModelDisk) -> Result<(), OpenError> {
    Journal::open(disk.clone(), Arc::new(OsClock::new()), small()).map(|_| ())
}

#[test]
fn a_flipped_bit_costs_at_most_the_record_it_is_in() {
    let pristine = log();
    let all = read(&pristine);
    let names: Vec<String> = pristine
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".seg"))
        .collect();
    let mut dice = Dice(7);
    let (mut lost, mut harmless) = (0, 0);
    for _ in 0..600 {
        let name = &names[dice.below(names.len() as u64) as usize];
        let byte = dice.below(64 << 10) as usize;
        let disk = pristine.crash(CrashRule::Everything, 0);
        disk.flip_bit(name, byte, dice.below(8) as u8);
        let verified = verify_disk(disk.clone()).unwrap();
        let named: u64 = verified.damage.iter().map(|damage| damage.records()).sum();
        let rest = read(&disk);
        let at = format!("{name} byte {byte}: {verified}");
        assert_eq!(all.len() as u64, rest.len() as u64 + named, "{at}");
        assert!(named <= 1, "{at}");
        assert!(rest.iter().all(|record| all.contains(record)), "{at}");
        for damage in &verified.damage {
            let start = damage.position..damage.position + damage.bytes;
            assert!(start.contains(&(byte as u64)), "{at}");
        }
        let ran = run(&disk, small(), async |journal| {
            let reading = journal.append(group(5000, &[1])).await.unwrap();
            journal.read(reading.start, 1).unwrap().records.len()
        });
        assert_eq!(ran.result, 1, "{at}");
        if named == 0 {
            harmless += 1;
        } else {
            lost += 1;
        }
    }
    assert!(
        100 < lost && 100 < harmless,
        "{lost} lost, {harmless} harmless"
    );
}

#[test]
fn reading_and_getting_go_round_a_damaged_record() {
    let disk = log();
    let second = read(&disk).into_iter().nth(12).unwrap();
    let name = "000000000001.seg";
    let file = disk.open(name).unwrap().read_at(0, 64 << 10).unwrap();
    let body = &second.body;
    let at = file
        .windows(body.len())
        .position(|w| w == &body[..])
        .unwrap();
    disk.flip_bit(name, at + 100, 3);
    let ran = run(&disk, small(), async |journal| {
        let reading = journal.read(Offset(0), 1 << 20).unwrap();
        let mut reader = journal.reader();
        assert_eq!(reader.get(second.offset).unwrap(), None);
        let next = Offset(second.offset.0 + 1);
        assert_eq!(reader.get(next).unwrap().unwrap().offset, next);
        reading
    });
    let [damage] = &ran.result.damaged[..] else {
        panic!("{:?}", ran.result.damaged);
    };
    assert_eq!(damage.offsets, second.offset..Offset(second.offset.0 + 1));
    assert_eq!((damage.cause, damage.segment), (Cause::Body, 1));
    assert!(ran.recovered.clean, "an old record's damage is not a crash");
}

#[test]
fn a_missing_segment_is_a_named_hole() {
    let disk = log();
    let all = read(&disk);
    let facts = run(&disk, small(), async |journal| journal.segments()).result;
    disk.remove("000000000002.seg").unwrap();
    let hole = facts[1].first..facts[1].end;
    let ran = run(&disk, small(), async |journal| {
        let mut records = Vec::new();
        let mut at = journal.start();
        while at < *journal.durable().borrow() {
            let reading = journal.read(at, 1 << 16).unwrap();
            records.extend(reading.records);
            at = reading.next;
        }
        records
    });
    let [damage] = &ran.recovered.damage[..] else {
        panic!("{}", ran.recovered);
    };
    assert_eq!((damage.segment, damage.cause), (2, Cause::Segment));
    assert_eq!(damage.offsets, hole);
    let rest: Vec<Stored> = all
        .into_iter()
        .filter(|r| !hole.contains(&r.offset))
        .collect();
    assert_eq!(ran.result, rest);
}

fn overwrite(disk: &ModelDisk, name: &str, at: usize, bytes: &[u8]) {
    let file = disk.open(name).unwrap();
    let mut block = file.read_at(0, 4096).unwrap().to_vec();
    block[at..at + bytes.len()].copy_from_slice(bytes);
    block[2048 + at..2048 + at + bytes.len()].copy_from_slice(bytes);
    file.write_at(0, &block).unwrap();
    file.sync().unwrap();
}

#[test]
fn an_unknown_version_is_refused_and_nothing_changes() {
    let disk = log();
    overwrite(&disk, "000000000001.seg", 8, &[2, 0, 0, 0]);
    let before = disk.counters();
    let error = open(&disk).unwrap_err();
    assert_eq!(
        error.to_string(),
        "000000000001.seg has format version 2, this program knows version 1"
    );
    for operation in [
        journal::model_disk::Operation::Write,
        journal::model_disk::Operation::Rename,
        journal::model_disk::Operation::Create,
    ] {
        assert_eq!(before.of(operation), disk.counters().of(operation));
    }
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (disk, other) = (log(), log());
    let foreign = other.open("000000000003.seg").unwrap();
    let bytes = foreign.read_at(0, 64 << 10).unwrap();
    let file = disk.open("000000000003.seg").unwrap();
    file.write_at(0, &bytes).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn a_segment_under_another_name_is_refused() {
    let disk = log();
    disk.rename("000000000002.seg", "000000000009.seg").unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, OpenError::Misplaced { .. }), "{error}");
}

#[test]
fn a_last_segment_without_header_is_refused_since_the_next_offset_is_unknown() {
    let disk = log();
    overwrite(&disk, "000000000004.seg", 0, &[0; 96]);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, OpenError::LastHeader { .. }), "{error}");
}

#[test]
fn a_middle_segment_without_header_is_a_named_hole() {
    let disk = log();
    overwrite(&disk, "000000000002.seg", 0, &[0; 96]);
    let ran = run(&disk, small(), async |_| ());
    let [damage] = &ran.recovered.damage[..] else {
        panic!("{}", ran.recovered);
    };
    assert_eq!((damage.segment, damage.cause), (2, Cause::Segment));
    assert!(!verify_disk(disk).unwrap().is_whole());
}

#[test]
fn a_locked_folder_names_who_holds_it() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |_journal| {
        let error = open(&disk).unwrap_err();
        let pid = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("the folder is in use by process {pid}")
        );
    });
    open(&disk).unwrap();
}

/// Somebody puts yesterday's segments back beside today's spare files. What these held in a life that
/// is no more, at offsets that are given anew now, must not come back behind what is written first.
#[test]
fn what_spares_of_a_later_life_held_never_comes_back() {
    let disk = ModelDisk::new();
    let mut earlier = Vec::new();
    run(&disk, small(), async |journal| {
        let mut segments = 0;
        for id in 0..200 {
            let appended = journal.append(group(id, &[1100])).await.unwrap();
            if id % 7 == 0 {
                earlier.push(disk.crash(CrashRule::Everything, 0));
            }
            if segments != journal.segments().len() {
                // Two segments are in use, the others are spare.
                journal.reclaim(appended.start);
                segments = journal.segments().len();
            }
        }
        journal.flush().await.unwrap();
    });
    let is_segment = |name: &String| name.ends_with(".seg");
    let mut used = 0;
    for early in earlier {
        let mixed = disk.crash(CrashRule::Everything, 0);
        for name in mixed.names().iter().filter(|name| is_segment(name)) {
            mixed.remove(name).unwrap();
        }
        let spares = mixed.names();
        for name in early.names().iter().filter(|name| is_segment(name)) {
            let bytes = early.open(name).unwrap().read_at(0, 64 << 10).unwrap();
            let file = mixed.create(name).unwrap();
            file.write_at(0, &bytes).unwrap();
            file.sync().unwrap();
        }
        mixed.sync().unwrap();
        let before = read_all(&mixed, small()).unwrap();
        run(&mixed, small(), async |journal| {
            journal.append(group(1_000_000, &[1100])).await.unwrap();
        });
        let found = read_all(&mixed.crash(CrashRule::Nothing, 0), small()).unwrap();
        let mut new = found.groups;
        new.retain(|id, _| !before.groups.contains_key(id));
        let new: Vec<u32> = new.into_keys().collect();
        assert_eq!(new, [1_000_000], "behind offset {}", before.end);
        used += usize::from(spares.iter().any(|name| !mixed.names().contains(name)));
    }
    assert!(5 < used, "a spare was used {used} times");
}
