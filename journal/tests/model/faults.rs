//! Disks that fail, lie and fill up.

use std::io::ErrorKind;

use journal::model_disk::{CrashRule, Lasting, ModelDisk, Operation};
use journal::{AppendError, Fault, Offset, Options, Why};

use crate::play::{group, read_all, run, small};

/// Appends one group, makes `operation` fail at its next turn, and appends another. Returns the
/// disk, and how the driver ended.
fn fail_second(operation: Operation, lasting: Lasting) -> (ModelDisk, Fault) {
    let disk = ModelDisk::new();
    let ran = run(&disk, small(), async |journal| {
        journal.append(group(0, &[10])).await.unwrap();
        disk.fail(operation, 0, lasting, ErrorKind::Other);
        let waiting = journal.append(group(1, &[10, 700]));
        let flush = journal.flush();
        assert_eq!(waiting.await, Err(AppendError::Stopped));
        assert_eq!(flush.await, Err(AppendError::Stopped));
        let syncs = disk.counters().of(Operation::Sync);
        let writes = disk.counters().of(Operation::Write);
        assert_eq!(
            journal.append(group(2, &[10])).await,
            Err(AppendError::Stopped)
        );
        let refused = journal.note(group(3, &[10])).unwrap_err();
        assert_eq!(refused.why, Why::Refused(AppendError::Stopped));
        assert_eq!(refused.group, group(3, &[10]));
        journal.noted_room().await;
        // Whoever follows the log learns of it too.
        let mut durable = journal.durable();
        while durable.changed().await.is_ok() {}
        assert_eq!(syncs, disk.counters().of(Operation::Sync));
        assert_eq!(writes, disk.counters().of(Operation::Write));
    });
    let fault = ran.end.unwrap().unwrap_err();
    (disk, fault)
}

#[test]
fn a_failed_sync_stops_the_journal_for_good() {
    let (disk, fault) = fail_second(Operation::Sync, Lasting::Once);
    assert!(matches!(fault, Fault::Sync { .. }), "{fault}");
    let found = read_all(&disk.crash(CrashRule::Nothing, 0), small()).unwrap();
    assert_eq!(found.groups.keys().copied().collect::<Vec<_>>(), [0]);
}

#[test]
fn a_failed_write_stops_the_journal_for_good() {
    let (disk, fault) = fail_second(Operation::Write, Lasting::ForEver);
    assert!(matches!(fault, Fault::Write { .. }), "{fault}");
    let found = read_all(&disk, small()).unwrap();
    assert_eq!(found.groups.keys().copied().collect::<Vec<_>>(), [0]);
}

#[test]
fn what_a_failed_sync_lost_is_not_believed_though_memory_shows_it() {
    let (disk, _) = fail_second(Operation::Sync, Lasting::OnceWithDataGone);
    // No crash: the same machine, whose memory still has the frame and says it is clean.
    let found = read_all(&disk, small()).unwrap();
    assert_eq!(found.groups.keys().copied().collect::<Vec<_>>(), [0]);
}

#[test]
fn a_segment_that_cannot_be_put_in_place_stops_the_journal() {
    for operation in [Operation::Rename, Operation::SyncFolder] {
        let disk = ModelDisk::new();
        let ran = run(&disk, small(), async |journal| {
            disk.fail(operation, 0, Lasting::Once, ErrorKind::Other);
            let appended = journal.append(group(0, &[10])).await;
            assert_eq!(appended, Err(AppendError::Stopped));
        });
        let fault = ran.end.unwrap().unwrap_err();
        assert!(matches!(fault, Fault::Roll { .. }), "{fault}");
        let found = read_all(&disk.crash(CrashRule::Subset, 1), small()).unwrap();
        assert!(found.groups.is_empty());
    }
}

#[test]
fn a_dropped_driver_answers_everybody() {
    let disk = ModelDisk::new();
    let clock = std::sync::Arc::new(journal::OsClock::new());
    let (journal, driver, _) = journal::Journal::open(disk, clock, small()).unwrap();
    let appended = journal.append(group(0, &[10]));
    drop(driver);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert_eq!(runtime.block_on(appended), Err(AppendError::Stopped));
}

/// Two segments for all, two more for notes.
fn tight() -> Options {
    Options {
        bytes_max: 4 * (64 << 10),
        reserve_bytes: 2 * (64 << 10),
        ..small()
    }
}

/// Appends until there is no space. Returns the next group's id.
async fn fill(journal: &journal::Journal) -> u32 {
    let mut id = 0;
    loop {
        match journal.append(group(id, &[5000])).await {
            Ok(_) => id += 1,
            Err(AppendError::NoSpace { .. }) => return id + 1,
            Err(error) => panic!("{error}"),
        }
        assert!(id < 1000, "it never fills up");
    }
}

#[test]
fn a_full_log_refuses_appends_takes_notes_and_recovers_when_reclaimed() {
    let disk = ModelDisk::new();
    let ran = run(&disk, tight(), async |journal| {
        let mut id = fill(&journal).await;
        let end = *journal.durable().borrow();
        assert_eq!(journal.usage().bytes_used, 2 * (64 << 10));
        // The reserve is for notes alone, also once it has been opened.
        for _ in 0..6 {
            journal.note(group(id, &[5000])).unwrap();
            journal.flush().await.unwrap();
            id += 1;
            let refused = journal.append(group(id, &[10])).await;
            assert!(
                matches!(refused, Err(AppendError::NoSpace { .. })),
                "{refused:?}"
            );
            id += 1;
        }
        assert_eq!(*journal.durable().borrow(), Offset(end.0 + 6));
        assert_eq!(journal.usage().bytes_used, 3 * (64 << 10));
        let reclaimed = journal.reclaim(end);
        assert_eq!(reclaimed.segments, 2);
        let appended = journal.append(group(id, &[5000])).await.unwrap();
        assert_eq!(appended.start, Offset(end.0 + 6));
    });
    assert!(ran.end.is_none());
    let found = read_all(&disk, tight()).unwrap();
    assert_eq!(
        found.groups.len(),
        7,
        "nothing of what was refused was stored"
    );
}

#[test]
fn notes_without_any_space_wait_for_some() {
    let disk = ModelDisk::new();
    run(&disk, tight(), async |journal| {
        let mut id = fill(&journal).await;
        while journal.usage().bytes_used < tight().bytes_max {
            journal.note(group(id, &[5000])).unwrap();
            journal.flush().await.unwrap();
            id += 1;
        }
        let first = id;
        while journal.note(group(id, &[5000])).is_ok() {
            id += 1;
            assert!(id < first + 1000, "notes are never refused");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        let end = journal.durable().borrow().0;
        journal.reclaim(Offset(end));
        journal.noted_room().await;
        journal.flush().await.unwrap();
        let found = crate::play::contents(&journal).unwrap();
        assert!((first..id).all(|id| found.groups.contains_key(&id)));
    });
}

#[test]
fn a_full_disk_is_no_fault() {
    let disk = ModelDisk::new();
    disk.set_capacity(2 * (64 << 10) + 100);
    let ran = run(&disk, small(), async |journal| {
        let id = fill(&journal).await;
        let end = *journal.durable().borrow();
        let again = journal.append(group(id, &[5000])).await;
        assert!(
            matches!(again, Err(AppendError::NoSpace { .. })),
            "{again:?}"
        );
        assert_eq!(journal.reclaim(end).segments, 1);
        journal.append(group(id + 1, &[5000])).await.unwrap();
    });
    assert!(ran.end.is_none());
}

#[test]
fn appends_leave_the_disk_its_free_space_and_notes_may_use_it() {
    let disk = ModelDisk::new();
    disk.set_capacity(6 * (64 << 10));
    let options = Options {
        min_free: 3 * (64 << 10),
        ..small()
    };
    run(&disk, options, async |journal| {
        let id = fill(&journal).await;
        assert_eq!(journal.usage().bytes_used, 3 * (64 << 10));
        for more in 0..6 {
            journal.note(group(id + more, &[5000])).unwrap();
        }
        journal.flush().await.unwrap();
        assert_eq!(journal.usage().bytes_used, 4 * (64 << 10));
        let refused = journal.append(group(id + 20, &[10])).await;
        assert!(
            matches!(refused, Err(AppendError::NoSpace { .. })),
            "{refused:?}"
        );
        let end = *journal.durable().borrow();
        journal.reclaim(end);
        journal.append(group(id + 21, &[10])).await.unwrap();
    });
}

#[test]
fn a_full_journal_can_be_closed_if_its_notes_fit() {
    let disk = ModelDisk::new();
    run(&disk, tight(), async |journal| {
        let id = fill(&journal).await;
        journal.note(group(id, &[10])).unwrap();
        journal.close(group(id + 1, &[0])).await.unwrap();
    });
    let ran = run(&disk, tight(), async |_| ());
    assert!(ran.recovered.clean);
}
