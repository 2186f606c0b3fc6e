//! The model disk itself: what it tears, what it fails and how long it takes. And that an open which
//! fails, whatever it is that fails, is as if it hadn't been.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::model_disk::{
    CrashRule, LARGE_SECTOR_BYTES, Lasting, ModelDisk, Operation, SECTOR_BYTES,
};
use journal::{Disk, Journal};

use crate::play::{PausedClock, group, read_all, run, small};

/// A file of two blocks of zeros, durably, over which two of ones were written and not synced.
fn half_written() -> ModelDisk {
    let disk = ModelDisk::new();
    let file = disk.create("a").unwrap();
    file.zero_fill(8192).unwrap();
    file.sync().unwrap();
    disk.sync().unwrap();
    file.write_at(0, &[1; 8192]).unwrap();
    disk
}

/// Whether each sector of so many bytes is whole: old or new.
fn whole(disk: &ModelDisk, sector_bytes: usize) -> bool {
    let bytes = disk.open("a").unwrap().read_at(0, 8192).unwrap();
    let mut sectors = bytes.chunks(sector_bytes);
    sectors.all(|sector| sector.iter().all(|byte| *byte == sector[0]))
}

#[test]
fn a_crash_tears_between_sectors_of_either_size_and_never_within() {
    let disk = half_written();
    for rule in CrashRule::ALL {
        let (mut torn, mut mixed) = (0, 0);
        for seed in 0..100 {
            disk.set_sector_bytes(SECTOR_BYTES);
            let small = disk.crash(rule, seed);
            assert!(whole(&small, SECTOR_BYTES), "{rule:?} {seed}");
            torn += usize::from(!whole(&small, LARGE_SECTOR_BYTES));
            disk.set_sector_bytes(LARGE_SECTOR_BYTES);
            let large = disk.crash(rule, seed);
            assert!(whole(&large, LARGE_SECTOR_BYTES), "{rule:?} {seed}");
            mixed += usize::from(!whole(&large, 8192));
        }
        let tears = !matches!(rule, CrashRule::Nothing | CrashRule::Everything);
        assert_eq!(
            (torn > 50, mixed > 10),
            (tears, tears),
            "{rule:?}: {torn}, {mixed}"
        );
    }
}

/// Does one of these, and gives its error.
fn attempt(disk: &ModelDisk, operation: Operation) -> Result<(), ErrorKind> {
    let file = disk.open("a").unwrap();
    let done = match operation {
        Operation::Write => file.write_at(0, &[2; 4096]),
        Operation::Sync => file.sync(),
        Operation::Fill => file.zero_fill(16384),
        Operation::Read => file.read_at(0, 4096).map(drop),
        Operation::Create => disk.create("b").map(drop),
        Operation::Rename => disk.rename("b", "c"),
        Operation::SyncFolder => disk.sync(),
        Operation::List => disk.list().map(drop),
        Operation::Open => disk.open("a").map(drop),
        Operation::Remove => disk.remove("c"),
        Operation::Length => file.len().map(drop),
        Operation::Free => disk.free_bytes().map(drop),
        Operation::Forget => file.forget_cached(),
    };
    done.map_err(|error| error.kind())
}

#[test]
fn every_operation_fails_once_or_for_ever_until_the_disk_is_healed() {
    let disk = half_written();
    for operation in Operation::ALL {
        // What is opened first to try it counts as well.
        let nth = u64::from(operation == Operation::Open);
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            disk.fail(operation, nth, Lasting::Once, kind);
            assert_eq!(attempt(&disk, operation), Err(kind), "{operation:?}");
        }
        if operation != Operation::Open {
            disk.fail(operation, 0, Lasting::ForEver, ErrorKind::Other);
            for _ in 0..3 {
                let failed = attempt(&disk, operation);
                assert_eq!(failed, Err(ErrorKind::Other), "{operation:?}");
            }
        }
        disk.heal();
        assert_eq!(attempt(&disk, operation), Ok(()), "{operation:?}");
    }
}

#[test]
fn nobody_is_answered_before_a_slow_disk_would_have_synced() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        journal.append(group(0, &[10])).await.unwrap();
        disk.set_delay(Operation::Write, Duration::from_millis(3));
        disk.set_delay(Operation::Sync, Duration::from_millis(40));
        let began = tokio::time::Instant::now();
        let (first, second) = (
            journal.append(group(1, &[10])),
            journal.append(group(2, &[10])),
        );
        first.await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(43));
        second.await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(43), "one frame");
        disk.heal();
        journal.append(group(3, &[10])).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(43));
    });
}

#[test]
fn every_operation_is_seen_by_who_watches() {
    let disk = ModelDisk::new();
    let bytes = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&bytes);
    disk.watch(move |operation| {
        if operation.operation == Operation::Write && !operation.failed {
            seen.fetch_add(operation.bytes, Ordering::Relaxed);
        }
    });
    run(&disk, small(), async |journal| {
        journal.append(group(0, &[10])).await.unwrap();
    });
    // A segment's header, and a frame.
    assert_eq!(bytes.load(Ordering::Relaxed), 2 * 4096);
}

/// Opening fails at each of its operations in turn. It says so, and the next open finds everything.
#[test]
fn an_open_that_fails_is_as_if_it_had_not_been() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        for id in 0..40 {
            journal.append(group(id, &[3000, 10])).await.unwrap();
        }
    });
    let before = read_all(&disk, small()).unwrap();
    let mut failed = 0;
    for operation in Operation::ALL {
        for nth in 0..12 {
            for lasting in [Lasting::Once, Lasting::ForEver, Lasting::OnceWithDataGone] {
                let disk = disk.crash(CrashRule::Everything, nth);
                disk.fail(operation, nth, lasting, ErrorKind::Other);
                failed +=
                    u64::from(Journal::open(disk.clone(), PausedClock::new(), small()).is_err());
                disk.heal();
                let after = read_all(&disk, small());
                let after = after.unwrap_or_else(|error| panic!("{operation:?} {nth}: {error}"));
                assert_eq!(
                    after.groups, before.groups,
                    "{operation:?} {nth} {lasting:?}"
                );
            }
        }
    }
    assert!(failed > 20, "{failed} opens failed");
}
