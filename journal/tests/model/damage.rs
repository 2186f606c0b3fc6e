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

/// Puts these bytes in place of a segment's header block.
fn put_header(disk: &ModelDisk, name: &str, block: &[u8]) {
    let file = disk.open(name).unwrap();
    file.write_at(0, block).unwrap();
    file.sync().unwrap();
}

fn header(disk: &ModelDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name).unwrap();
    file.read_at(0, 4096).unwrap().to_vec()
}

/// Every record is there, and the headers of `segments` are named.
#[track_caller]
fn only_headers_are_lost(disk: &ModelDisk, all: &[Stored], segments: &[u64]) {
    assert_eq!(read(disk), all);
    let verified = verify_disk(disk.clone()).unwrap();
    let named: Vec<_> = verified
        .damage
        .iter()
        .map(|d| (d.segment, d.cause))
        .collect();
    let headers = segments.iter().map(|one| (*one, Cause::SegmentHeader));
    assert_eq!(named, headers.collect::<Vec<_>>(), "{verified}");
    assert!(!verified.refused);
    let ran = run(disk, small(), async |journal| {
        journal.append(group(90, &[900])).await.unwrap();
    });
    assert_eq!(ran.recovered.damage.len(), segments.len());
    assert_eq!(read(disk)[..all.len()], *all);
}

#[test]
fn header_blocks_that_changed_places_cost_nothing() {
    for (a, b) in [(1, 2), (2, 3), (2, 4), (1, 4)] {
        let disk = log();
        let all = read(&disk);
        let names = [a, b].map(|sequence| format!("{sequence:012}.seg"));
        let blocks = names.clone().map(|name| header(&disk, &name));
        put_header(&disk, &names[0], &blocks[1]);
        put_header(&disk, &names[1], &blocks[0]);
        only_headers_are_lost(&disk, &all, &[a, b]);
    }
}

#[test]
fn a_header_block_of_another_log_costs_nothing() {
    for sequence in [1, 2, 4] {
        let (disk, other) = (log(), log());
        let all = read(&disk);
        let name = format!("{sequence:012}.seg");
        put_header(&disk, &name, &header(&other, &name));
        only_headers_are_lost(&disk, &all, &[sequence]);
    }
}

#[test]
fn a_segment_under_another_name_is_refused() {
    let disk = log();
    disk.rename("000000000002.seg", "000000000009.seg").unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, OpenError::Misplaced { .. }), "{error}");
}

#[test]
fn the_only_segment_without_header_is_refused_and_still_looked_at() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        journal.append(group(1, &[900])).await.unwrap();
    });
    overwrite(&disk, "000000000001.seg", 0, &[0; 96]);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, OpenError::LastHeader { .. }), "{error}");
    let verified = verify_disk(disk).unwrap();
    assert!(verified.refused && !verified.is_whole(), "{verified}");
}

/// A segment's header has both copies in one block: what it said follows from the others.
#[test]
fn a_segment_without_header_is_found_by_the_others() {
    for sequence in 1..=4 {
        let disk = log();
        let all = read(&disk);
        let name = format!("{sequence:012}.seg");
        overwrite(&disk, &name, 0, &[0; 96]);
        let verified = verify_disk(disk.clone()).unwrap();
        let [damage] = &verified.damage[..] else {
            panic!("{verified}");
        };
        assert_eq!(
            (damage.segment, damage.cause, damage.records()),
            (sequence, Cause::SegmentHeader, 0)
        );
        assert_eq!(read(&disk), all);
        // Twice, since the segment that is written next has the lost one behind it.
        for more in 0..2 {
            let ran = run(&disk, small(), async |journal| {
                journal.append(group(900 + more, &[100])).await.unwrap()
            });
            assert_eq!(
                ran.recovered.damage,
                std::slice::from_ref(damage),
                "{}",
                ran.recovered
            );
            assert_eq!(ran.result.start.0, all.len() as u64 + u64::from(more));
        }
        assert_eq!(read(&disk)[..all.len()], all);
    }
}

#[test]
fn a_repacked_segment_without_header_is_found_by_the_others() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        let mut id = 0;
        while journal.segments().len() < 4 {
            journal.append(group(id, &[200])).await.unwrap();
            id += 1;
        }
        while journal.repack().unwrap().is_some() {}
        journal.close(group(id, &[0])).await.unwrap();
    });
    let all = read(&disk);
    overwrite(&disk, "000000000002.seg", 0, &[0; 96]);
    assert_eq!(read(&disk), all);
    assert!(!verify_disk(disk).unwrap().is_whole());
}

/// Blocks that changed places cost nothing that is whole; believing the first of them would cost all between.
#[test]
fn records_that_changed_places_are_found_where_they_lie() {
    let disk = whole_log_of(12);
    let all = read(&disk);
    assert_eq!(all.len(), 12);
    let file = disk.open("000000000001.seg").unwrap();
    let block = |n: u64| file.read_at(n * 4096, 4096).unwrap();
    let (third, ninth) = (block(3), block(9));
    file.write_at(3 * 4096, &ninth).unwrap();
    file.write_at(9 * 4096, &third).unwrap();
    file.sync().unwrap();
    assert_eq!(read(&disk), all);
    let verified = verify_disk(disk.clone()).unwrap();
    let [damage] = &verified.damage[..] else {
        panic!("{verified}");
    };
    assert_eq!((damage.cause, damage.records()), (Cause::Order, 0));
    let ran = run(&disk, small(), async |journal| {
        journal.append(group(50, &[900])).await.unwrap();
        let mut reader = journal.reader();
        let get = |offset| reader.get(Offset(offset)).unwrap().is_some();
        (0..12).map(get).filter(|found| *found).count()
    });
    assert_eq!(ran.result, 12);
    // One of them a second time, in place of another.
    file.write_at(5 * 4096, &block(6)).unwrap();
    file.sync().unwrap();
    let rest: Vec<u64> = read(&disk).iter().map(|record| record.offset.0).collect();
    assert_eq!(rest, [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]);
}

/// The header of a record of several blocks, moved up by one, passes over the next record by its length.
#[test]
fn a_header_that_was_moved_costs_its_own_record_alone() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        for id in 0..6 {
            journal.append(group(id, &[9000])).await.unwrap();
        }
    });
    let all = read(&disk);
    let file = disk.open("000000000001.seg").unwrap();
    let block = |n: u64| file.read_at(n * 4096, 4096).unwrap();
    let (first, second) = (block(4), block(5));
    file.write_at(4 * 4096, &second).unwrap();
    file.write_at(5 * 4096, &first).unwrap();
    file.sync().unwrap();
    let left: Vec<u64> = read(&disk).iter().map(|record| record.offset.0).collect();
    assert_eq!(left, [0, 2, 3, 4, 5], "{} records", all.len());
    let verified = verify_disk(disk).unwrap();
    let lost: u64 = verified.damage.iter().map(|damage| damage.records()).sum();
    assert_eq!(lost, 1, "{verified}");
}

/// A last frame that was whole when the log was opened after a crash isn't the crash's doing when it is
/// damaged later; it was all too easy to call it so.
#[test]
fn what_was_whole_after_a_crash_is_not_torn_when_it_is_damaged_later() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        for id in 0..3 {
            journal.append(group(id, &[900, 900])).await.unwrap();
        }
    });
    let disk = disk.crash(CrashRule::Nothing, 1);
    run(&disk, small(), async |journal| {
        journal.append(group(3, &[900])).await.unwrap();
    });
    assert!(verify_disk(disk.clone()).unwrap().is_whole());
    disk.flip_bit("000000000001.seg", 3 * 4096 + 100, 1);
    let verified = verify_disk(disk).unwrap();
    assert!(!verified.is_whole(), "{verified}");
    let [damage] = &verified.damage[..] else {
        panic!("{verified}");
    };
    assert_eq!((damage.cause, damage.records()), (Cause::Body, 1));
}

#[test]
fn a_file_that_was_cut_short_is_named() {
    let disk = whole_log_of(6);
    let whole = verify_disk(disk.clone()).unwrap();
    assert!(whole.is_whole(), "{whole}");
    let file = disk.open("000000000001.seg").unwrap();
    file.zero_fill(4 * 4096 + 20).unwrap();
    file.sync().unwrap();
    let verified = verify_disk(disk.clone()).unwrap();
    let [damage] = &verified.damage[..] else {
        panic!("{verified}");
    };
    assert_eq!(
        (damage.cause, damage.position),
        (Cause::Short, 4 * 4096 + 20)
    );
    let ran = run(&disk, small(), async |_| ());
    assert_eq!(ran.recovered.damage, std::slice::from_ref(damage));
    // Where a frame ends, as a backup of a running log does.
    file.zero_fill(4 * 4096).unwrap();
    file.sync().unwrap();
    assert!(verify_disk(disk).unwrap().is_whole());
    // Within a block: what is before the cut is there.
    let disk = whole_log_of(6);
    let file = disk.open("000000000001.seg").unwrap();
    file.zero_fill(6 * 4096 + 1000).unwrap();
    file.sync().unwrap();
    assert_eq!(read(&disk).len(), 6);
    assert!(!verify_disk(disk).unwrap().is_whole());
}

/// One segment of so many records, each in a block of its own.
fn whole_log_of(records: u32) -> ModelDisk {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        for id in 0..records {
            journal.append(group(id, &[900])).await.unwrap();
        }
    });
    disk
}

#[test]
fn one_damaged_copy_of_a_header_is_named_by_who_verifies() {
    for (byte, at) in [(40, 0), (2048 + 40, 2048)] {
        let disk = log();
        disk.flip_bit("000000000002.seg", byte, 1);
        let verified = verify_disk(disk).unwrap();
        let [damage] = &verified.damage[..] else {
            panic!("{verified}");
        };
        assert_eq!(
            (damage.cause, damage.segment, damage.position),
            (Cause::HeaderCopy, 2, at)
        );
    }
}

#[test]
fn a_foreign_file_doesnt_keep_the_others_from_being_looked_at() {
    let (disk, other) = (log(), log());
    let all = read(&disk);
    let bytes = other.open("000000000003.seg").unwrap();
    let bytes = bytes.read_at(0, 64 << 10).unwrap();
    disk.open("000000000003.seg")
        .unwrap()
        .write_at(0, &bytes)
        .unwrap();
    let verified = verify_disk(disk.clone()).unwrap();
    assert!(verified.refused);
    let causes: Vec<_> = verified
        .damage
        .iter()
        .map(|d| (d.segment, d.cause))
        .collect();
    assert_eq!(causes, [(3, Cause::Foreign), (3, Cause::Segment)]);
    let rest = read(&disk);
    assert!(rest.len() > all.len() / 2 && rest.iter().all(|record| all.contains(record)));
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
