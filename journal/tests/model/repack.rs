//! Padding given back: the same records at the same offsets in less room, at any moment and after
//! any crash.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use journal::model_disk::{CrashRule, Lasting, ModelDisk, Operation};
use journal::{Cause, Group, Journal, Offset, Options, Record, verify_disk};

use crate::play::{contents, group, read_all, run, small};

const SEGMENT: u64 = 64 << 10;

/// Groups that each get a frame to themselves, as at a quiet node.
async fn lone_groups(journal: &Journal, ids: std::ops::Range<u32>) {
    for id in ids {
        journal.append(group(id, &[60, 300])).await.unwrap();
    }
}

/// Repacks all there is.
fn repack_all(journal: &Journal) -> usize {
    std::iter::from_fn(|| journal.repack().unwrap()).count()
}

#[test]
fn a_quiet_nodes_segments_shrink_to_what_they_hold() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        lone_groups(&journal, 0..100).await;
        let before = contents(&journal).unwrap();
        let segments = journal.segments();
        assert_eq!(segments.len(), 7);
        // 15 frames of 4 KiB, each with two records of 440 bytes in all.
        assert_eq!(segments[0].record_bytes, Some(15 * 448));
        assert_eq!(journal.usage().bytes_used, 7 * SEGMENT);

        assert_eq!(repack_all(&journal), 6);
        let usage = journal.usage();
        // A header and two blocks each.
        assert_eq!(usage.bytes_used, 6 * 3 * 4096 + SEGMENT);
        for (old, new) in segments.iter().zip(journal.segments()).take(6) {
            assert!(new.repacked);
            assert_eq!(
                (
                    old.sequence,
                    old.first,
                    old.end,
                    old.created,
                    old.record_bytes
                ),
                (
                    new.sequence,
                    new.first,
                    new.end,
                    new.created,
                    new.record_bytes
                )
            );
        }
        let after = contents(&journal).unwrap();
        assert_eq!(before.groups, after.groups);
        let stats = journal.stats();
        assert_eq!((stats.repacks, stats.repack_failures), (6, 0));
        assert_eq!(stats.repacked_bytes, 7 * SEGMENT - usage.bytes_used);
        // It goes on as ever, and goes when it is reclaimed.
        lone_groups(&journal, 100..110).await;
        assert_eq!(journal.reclaim(Offset(61)).segments, 2);
        journal.flush().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(journal.usage().bytes_used, 4 * 3 * 4096 + 2 * SEGMENT);
        assert_eq!(journal.usage().bytes_spare, 0, "too short to be used again");
    });
    let found = read_all(&disk, small()).unwrap();
    assert_eq!(found.groups.len(), 80);
    // What it knew of its segments, it knows again.
    run(&disk, small(), async |journal| {
        let segments = journal.segments();
        assert!(segments.iter().all(|s| s.record_bytes.is_some()));
        assert_eq!(repack_all(&journal), 1, "the one sealed since");
        assert_eq!(repack_all(&journal), 0, "once is enough");
    });
}

#[test]
fn a_full_segment_keeps_its_layout() {
    run(&ModelDisk::new(), small(), async |journal| {
        for id in 0..40 {
            journal.append(group(id, &[8000])).await.unwrap();
        }
        assert!(4 < journal.segments().len());
        assert_eq!(repack_all(&journal), 0);
    });
}

#[test]
fn power_lost_at_any_moment_of_a_repack_loses_nothing() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        lone_groups(&journal, 0..40).await;
        journal.close(group(40, &[0])).await.unwrap();
    });
    disk.keep_history();
    run(&disk, small(), async |journal| {
        assert_eq!(repack_all(&journal), 2);
    });
    assert!(10 < disk.changes());
    let mut packed = [0; 3];
    for change in 0..=disk.changes() {
        for rule in CrashRule::ALL {
            let disk = disk.crash_before(change, rule, change);
            let found = read_all(&disk, small()).unwrap();
            assert_eq!(found.groups.len(), 41, "before change {change}, {rule:?}");
            // Nothing is left behind of one that wasn't finished, and it can be finished.
            run(&disk, small(), async |journal| {
                assert_eq!(journal.usage().bytes_spare % SEGMENT, 0);
                let before = journal.segments().iter().filter(|s| s.repacked).count();
                assert_eq!(before + repack_all(&journal), 2);
                packed[before] += 1;
            });
            assert_eq!(read_all(&disk, small()).unwrap().groups.len(), 41);
        }
    }
    assert!(packed.iter().all(|&seen| 0 < seen), "{packed:?}");
}

#[test]
fn a_repack_that_fails_leaves_everything_as_it_was() {
    for operation in [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Rename,
    ] {
        let disk = ModelDisk::new();
        run(&disk, small(), async |journal| {
            lone_groups(&journal, 0..40).await;
            disk.fail(operation, 0, Lasting::Once, ErrorKind::Other);
            let names = disk.names();
            let error = journal.repack().unwrap_err();
            assert_eq!(error.to_string(), "repacking 000000000002.seg");
            assert_eq!(disk.names(), names, "{operation:?}");
            assert_eq!(contents(&journal).unwrap().groups.len(), 40);
            assert_eq!(repack_all(&journal), 2);
            lone_groups(&journal, 40..50).await;
            assert_eq!(contents(&journal).unwrap().groups.len(), 50);
        });
        assert_eq!(read_all(&disk, small()).unwrap().groups.len(), 50);
    }
}

#[test]
fn a_segment_that_lost_something_is_left_as_it_is() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        lone_groups(&journal, 0..60).await;
    });
    // A body in the second of four segments.
    disk.flip_bit("000000000002.seg", 4096 + 40, 3);
    run(&disk, small(), async |journal| {
        assert_eq!(repack_all(&journal), 2);
        let segments = journal.segments();
        let repacked: Vec<bool> = segments.iter().map(|segment| segment.repacked).collect();
        assert_eq!(repacked, [true, false, true, false]);
        assert_eq!(repack_all(&journal), 0);
    });
    let verified = verify_disk(disk).unwrap();
    let lost: Vec<_> = verified
        .damage
        .iter()
        .map(|d| (d.segment, d.cause))
        .collect();
    assert_eq!(lost, [(2, Cause::Body)]);
}

#[test]
fn a_flipped_bit_in_a_repacked_segment_costs_what_it_hits() {
    let filled = ModelDisk::new();
    run(&filled, small(), async |journal| {
        lone_groups(&journal, 0..20).await;
        assert_eq!(repack_all(&journal), 1);
    });
    for byte in (0..3 * 4096).step_by(17) {
        let disk = filled.crash(CrashRule::Everything, 0);
        disk.flip_bit("000000000001.seg", byte, 1);
        let verified = verify_disk(disk).unwrap();
        let records: u64 = verified.segments.iter().map(|s| s.records).sum();
        let lost: u64 = verified.damage.iter().map(|d| d.records()).sum();
        assert_eq!(records + lost, 40, "byte {byte}");
        assert!(lost <= 1, "byte {byte} cost {lost} records");
        let mut damage = verified.damage.iter();
        assert!(damage.all(|damage| damage.position + damage.bytes <= 3 * 4096));
    }
}

#[test]
fn nothing_is_repacked_while_files_are_held() {
    run(&ModelDisk::new(), small(), async |journal| {
        lone_groups(&journal, 0..20).await;
        let hold = journal.hold();
        assert_eq!(repack_all(&journal), 0);
        drop(hold);
        assert_eq!(repack_all(&journal), 1);
    });
}

#[test]
fn a_copy_that_finds_no_room_waits_for_some() {
    let disk = ModelDisk::new();
    let options = Options {
        spare_segments_max: 0,
        ..small()
    };
    run(&disk, options, async |journal| {
        lone_groups(&journal, 0..40).await;
        disk.set_capacity(4 * SEGMENT);
        assert_eq!(repack_all(&journal), 0);
        disk.set_capacity(5 * SEGMENT);
        assert_eq!(repack_all(&journal), 2);
    });
}

/// With its threads, as in production: readers read while the helper repacks behind the writer.
#[test]
fn readers_never_notice() {
    let disk = ModelDisk::new();
    let clock = std::sync::Arc::new(journal::OsClock::new());
    let options = Options {
        tail_bytes: 4096,
        ..small()
    };
    let (journal, driver, _) = Journal::open(disk.clone(), clock, options.clone()).unwrap();
    let driver = driver.spawn_thread();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|seed| {
                let (disk, journal, stop) = (disk.clone(), journal.clone(), &stop);
                scope.spawn(move || {
                    let mut dice = crate::crash::Dice(seed);
                    let mut reader = journal.reader();
                    let mut read = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        contents(&journal).unwrap();
                        let end = journal.durable().borrow().0;
                        for _ in 0..20.min(end) {
                            let offset = Offset(dice.below(end));
                            let found = reader.get(offset).unwrap();
                            assert_eq!(found.unwrap().offset, offset);
                            read += 1;
                        }
                        reader.forget();
                        assert!(verify_disk(disk.clone()).unwrap().is_whole());
                    }
                    read
                })
            })
            .collect();
        for id in 0..600 {
            runtime
                .block_on(journal.append(group(id, &[60, 300])))
                .unwrap();
        }
        // The helper is behind; every segment but the last comes to its turn.
        while journal.stats().repacks < journal.segments().len() as u64 - 1 {
            std::thread::yield_now();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| 0 < reader.join().unwrap()));
    });
    runtime.block_on(journal.close(group(600, &[0]))).unwrap();
    driver.join().unwrap().unwrap();
    assert_eq!(read_all(&disk, options).unwrap().groups.len(), 601);
}

/// 10 events a second of 300 bytes of data keep P7D inside 10 GiB (issue of the quiet node), here a
/// two hundredth of each: time, room and segments. Sizes of records are those that the broker
/// writes: an event, and for one trigger its Routed and Settled records.
#[test]
fn a_quiet_node_keeps_its_week_in_ten_gibibytes() {
    const SCALE: u64 = 200;
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600 / SCALE);
    let record = |kind, bytes| {
        Group::one(Record {
            kind,
            version: 1,
            tag: 0,
            body: Bytes::from(vec![kind; bytes]),
        })
    };
    let bytes_max = (10 << 30) / SCALE / 4096 * 4096;
    let options = Options {
        segment_bytes: 1 << 20,
        bytes_max,
        reserve_bytes: 2 << 20,
        ..small()
    };
    let kept = |repacks: bool| {
        let ran = run(&ModelDisk::memory(), options.clone(), async |journal| {
            let began = tokio::time::Instant::now();
            let mut rolls = 0;
            while began.elapsed() < WEEK {
                if journal.append(record(1, 640)).await.is_err() {
                    break;
                }
                journal.note(record(2, 24)).unwrap();
                tokio::time::sleep(Duration::from_millis(60)).await;
                journal.note(record(3, 40)).unwrap();
                tokio::time::sleep(Duration::from_millis(40)).await;
                let now = journal.stats().rolls;
                if repacks && rolls < now {
                    rolls = now;
                    repack_all(&journal);
                }
            }
            let usage = journal.usage();
            assert_eq!(journal.start(), Offset(0));
            (began.elapsed(), usage.bytes_used + usage.bytes_spare)
        });
        ran.result
    };
    let ((padded_for, padded), (packed_for, packed)) = (kept(false), kept(true));
    eprintln!(
        "with padding full after {:.1} days, without {:.1} GiB after {:.1} days",
        (padded_for * SCALE as u32).as_secs_f64() / 86400.0,
        (packed * SCALE) as f64 / (1u64 << 30) as f64,
        (packed_for * SCALE as u32).as_secs_f64() / 86400.0,
    );
    assert!(padded_for < WEEK / 4, "{padded} bytes after {padded_for:?}");
    assert!(WEEK <= packed_for);
    assert!(packed < bytes_max * 6 / 10, "{packed} of {bytes_max} bytes");
}
