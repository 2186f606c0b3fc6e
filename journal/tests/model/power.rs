//! Power that fails in the middle of something: what the model disk does from then on, and what a journal
//! that it happens to finds afterwards.

use std::io::ErrorKind;

use journal::model_disk::{CrashRule, Lasting, ModelDisk, Operation};
use journal::{AppendError, Disk};

use crate::play::{contents, group, read_all, run, small};

/// A file of two blocks, durably.
fn two_blocks() -> ModelDisk {
    let disk = ModelDisk::new();
    let file = disk.create("a").unwrap();
    file.zero_fill(8192).unwrap();
    file.sync().unwrap();
    disk.sync().unwrap();
    disk
}

#[test]
fn after_so_many_changes_nothing_works_and_nothing_is_changed() {
    let disk = two_blocks();
    let file = disk.open("a").unwrap();
    disk.power_off_after(1);
    file.write_at(0, &[1; 4096]).unwrap();
    assert!(!disk.is_off() && !disk.is_durable());
    assert!(file.sync().is_err(), "that is the change it fails at");
    assert!(disk.is_off());
    assert!(file.write_at(4096, &[1; 4096]).is_err());
    assert!(file.read_at(0, 4096).is_err() && disk.list().is_err());
    assert!(disk.create("b").is_err() && disk.sync().is_err());
    for (rule, byte) in [(CrashRule::Nothing, 0), (CrashRule::Everything, 1)] {
        let after = disk.crash(rule, 1);
        assert!(!after.is_off() && after.is_durable());
        let held = after.open("a").unwrap().read_at(0, 8192).unwrap();
        assert!(held[..4096].iter().all(|held| *held == byte), "{rule:?}");
        assert!(held[4096..].iter().all(|held| *held == 0), "{rule:?}");
        assert_eq!(after.names(), ["a"]);
    }
    // A process alone that ended finds what it wrote, still not durable.
    disk.power_on();
    let held = file.read_at(0, 4096).unwrap();
    assert!(held.iter().all(|held| *held == 1) && !disk.is_durable());
    file.sync().unwrap();
    assert!(disk.is_durable());
}

#[test]
fn power_fails_at_the_nth_of_one_kind_of_change() {
    let disk = two_blocks();
    let file = disk.open("a").unwrap();
    disk.power_off_at(Operation::Sync, 1);
    for _ in 0..5 {
        file.write_at(0, &[1; 4096]).unwrap();
    }
    file.sync().unwrap();
    file.write_at(0, &[2; 4096]).unwrap();
    assert!(file.sync().is_err() && disk.is_off() && !disk.is_durable());
}

#[test]
fn who_waits_for_the_power_to_fail_is_told() {
    let disk = two_blocks();
    let ran = run(&ModelDisk::new(), small(), async |_| {
        let off = disk.until_off();
        let mut off = std::pin::pin!(off);
        let soon = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(soon, &mut off).await.is_err());
        disk.power_off_after(0);
        assert!(disk.create("b").is_err());
        off.await;
    });
    assert_eq!(ran.recovered.segments, 0);
}

#[test]
fn a_full_disk_takes_what_is_written_over_and_nothing_that_grows() {
    let disk = two_blocks();
    disk.set_capacity(8192);
    let file = disk.open("a").unwrap();
    file.write_at(4096, &[1; 4096]).unwrap();
    for grows in [file.write_at(8192, &[1; 4096]), file.zero_fill(12288)] {
        assert_eq!(grows.unwrap_err().kind(), ErrorKind::StorageFull);
    }
    assert_eq!(file.len().unwrap(), 8192, "nothing was made of it");
    // More room for the others, less than nothing for it.
    disk.set_capacity(4096);
    file.write_at(0, &[1; 8192]).unwrap();
}

#[test]
fn names_that_a_failed_sync_of_the_folder_lost_are_lost_for_good() {
    let disk = two_blocks();
    disk.create("b").unwrap();
    disk.fail(
        Operation::SyncFolder,
        0,
        Lasting::OnceWithDataGone,
        ErrorKind::Other,
    );
    assert!(disk.sync().is_err());
    assert_eq!(disk.names(), ["a", "b"], "it can still be read");
    disk.create("c").unwrap();
    disk.sync().unwrap();
    let after = disk.crash(CrashRule::Everything, 1);
    assert_eq!(after.names(), ["a", "c"]);
}

/// At each change of a short life, by each rule: what was answered is there, and the process that met
/// it answered nobody else.
#[test]
fn power_that_fails_between_a_write_and_its_sync_loses_nothing_that_was_answered() {
    let (mut torn, mut unsynced) = (0, 0);
    for change in 0.. {
        let disk = ModelDisk::new();
        disk.power_off_after(change);
        let mut answered = 0;
        let ran = run(&disk, small(), async |journal| {
            for id in 0..20 {
                match journal.append(group(id, &[3000, 10])).await {
                    Ok(_) => answered += 1,
                    Err(error) => {
                        assert_eq!(error, AppendError::Stopped);
                        return;
                    }
                }
            }
        });
        if !disk.is_off() {
            assert!(change > 40 && ran.end.is_none(), "{change}");
            break;
        }
        unsynced += u64::from(!disk.is_durable());
        for rule in CrashRule::ALL {
            let disk = disk.crash(rule, change);
            let next = run(&disk, small(), async |journal| contents(&journal));
            let found = next.result.unwrap();
            let lost: Vec<u32> = (0..answered)
                .filter(|id| !found.groups.contains_key(id))
                .collect();
            assert!(lost.is_empty(), "{change} {rule:?}: {lost:?}");
            torn += u64::from(next.recovered.torn.is_some());
        }
    }
    assert!(unsynced > 20 && torn > 10, "{unsynced}, {torn}");
}

/// A folder whose sync failed, with the names gone, and said yes to the next process: that one may not
/// answer before the name of the segment it writes to is durable.
#[test]
fn names_that_a_failed_sync_lost_are_made_again_by_the_next_start() {
    let disk = ModelDisk::new();
    disk.fail(
        Operation::SyncFolder,
        0,
        Lasting::OnceWithDataGone,
        ErrorKind::Other,
    );
    let ran = run(&disk, small(), async |journal| {
        let appended = journal.append(group(0, &[10])).await;
        assert_eq!(appended, Err(AppendError::Stopped));
    });
    assert!(ran.end.unwrap().is_err());
    run(&disk, small(), async |journal| {
        journal.append(group(1, &[10])).await.unwrap();
    });
    let found = read_all(&disk.crash(CrashRule::Nothing, 1), small()).unwrap();
    assert!(found.groups.contains_key(&1), "{:?}", disk.names());
}
