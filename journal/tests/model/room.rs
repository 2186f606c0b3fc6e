//! Who may use how much room: appends, reserved appends, notes; and who keeps files in place.

use std::time::Duration;

use journal::model_disk::ModelDisk;
use journal::{AppendError, Journal, Offset, Options};

use crate::play::{group, read_all, run, small};

const SEGMENT: u64 = 64 << 10;

/// Two segments for all, one more for reserved appends, another for notes alone.
fn tight() -> Options {
    Options {
        bytes_max: 4 * SEGMENT,
        reserve_bytes: 2 * SEGMENT,
        ..small()
    }
}

/// Appends until there is no space. Returns the next group's id.
async fn fill(journal: &Journal, from: u32) -> u32 {
    let mut id = from;
    while !refused(journal.append(group(id, &[5000])).await) {
        id += 1;
        assert!(id < from + 1000, "it never fills up");
    }
    id + 1
}

/// Whether there was no space for it.
#[track_caller]
fn refused(outcome: Result<std::ops::Range<Offset>, AppendError>) -> bool {
    match outcome {
        Ok(_) => false,
        Err(AppendError::NoSpace { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_reserved_append_goes_on_where_appends_are_refused_and_leaves_notes_their_half() {
    let disk = ModelDisk::new();
    run(&disk, tight(), async |journal| {
        let mut id = fill(&journal, 0).await;
        assert_eq!(journal.usage().bytes_used, 2 * SEGMENT);
        let mut reserved = 0;
        while !refused(journal.append_reserved(group(id, &[5000])).await) {
            assert!(refused(journal.append(group(id + 1, &[10])).await));
            (id, reserved) = (id + 2, reserved + 1);
        }
        assert_eq!(journal.usage().bytes_used, 3 * SEGMENT);
        assert!(7 <= reserved, "{reserved} fit in a segment");
        // What is left is for notes, and they get all of it.
        id += 1;
        journal.note(group(id, &[5000])).unwrap();
        journal.flush().await.unwrap();
        assert_eq!(journal.usage().bytes_used, 4 * SEGMENT);
        assert!(refused(journal.append_reserved(group(id + 1, &[10])).await));
        // Reclaimed, everybody is served again.
        journal.reclaim(*journal.durable().borrow());
        assert!(!refused(
            journal.append_reserved(group(id + 2, &[10])).await
        ));
        assert!(!refused(journal.append(group(id + 3, &[10])).await));
    });
    read_all(&disk, tight()).unwrap();
}

#[test]
fn reserved_appends_leave_the_disk_half_of_its_free_space() {
    let disk = ModelDisk::new();
    disk.set_capacity(8 * SEGMENT);
    let options = Options {
        min_free: 4 * SEGMENT,
        ..small()
    };
    run(&disk, options, async |journal| {
        let mut id = fill(&journal, 0).await;
        assert_eq!(journal.usage().bytes_used, 4 * SEGMENT);
        while !refused(journal.append_reserved(group(id, &[5000])).await) {
            id += 1;
        }
        assert_eq!(journal.usage().bytes_used, 6 * SEGMENT);
        for more in 1..8 {
            journal.note(group(id + more, &[5000])).unwrap();
            journal.flush().await.unwrap();
        }
        assert_eq!(journal.usage().bytes_used, 7 * SEGMENT);
    });
}

#[test]
fn where_others_filled_the_disk_the_last_file_is_for_notes() {
    let disk = ModelDisk::new();
    let options = Options {
        min_free: 4 * SEGMENT,
        ..small()
    };
    run(&disk, options, async |journal| {
        let mut id = 0;
        while journal.usage().bytes_used < 4 * SEGMENT {
            journal.append(group(id, &[5000])).await.unwrap();
            id += 1;
        }
        journal.reclaim(*journal.durable().borrow());
        journal.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let usage = journal.usage();
        assert_eq!(
            (usage.bytes_used, usage.bytes_spare),
            (SEGMENT, 2 * SEGMENT)
        );
        disk.set_capacity(3 * SEGMENT);
        id = fill(&journal, id).await;
        assert_eq!(journal.usage().bytes_used, 2 * SEGMENT);
        for more in 0..6 {
            journal.note(group(id + more, &[5000])).unwrap();
            journal.flush().await.unwrap();
        }
        assert_eq!(journal.usage().bytes_used, 3 * SEGMENT);
        assert!(refused(journal.append(group(id + 10, &[10])).await));
        // What they let go is for notes first, then for all.
        journal.reclaim(*journal.durable().borrow());
        assert!(!refused(journal.append(group(id + 11, &[10])).await));
    });
}

#[test]
fn lone_notes_share_frames_while_room_is_short() {
    // A note every 100 ms finds a frame of its own as long as there is room, and shares one with
    // nine others when the reserve is all that is left.
    let frames = async |journal: &Journal, from: u32| {
        let before = journal.stats().frames;
        for id in from..from + 60 {
            journal.note(group(id, &[10])).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        journal.flush().await.unwrap();
        journal.stats().frames - before
    };
    run(&ModelDisk::new(), small(), async |journal| {
        assert_eq!(frames(&journal, 0).await, 60);
    });
    run(&ModelDisk::new(), tight(), async |journal| {
        let id = fill(&journal, 0).await;
        let few = frames(&journal, id).await;
        assert!((5..=8).contains(&few), "{few} frames");
    });
}

#[test]
fn the_bound_may_change_while_it_runs_and_leaves_notes_their_room() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        let mut id = 0;
        while journal.usage().bytes_used < 5 * SEGMENT {
            journal.append(group(id, &[5000])).await.unwrap();
            id += 1;
        }
        assert_eq!(journal.set_bytes_max(20 * SEGMENT), 20 * SEGMENT);
        // Less than is used: appends end, notes keep the reserve.
        assert_eq!(journal.set_bytes_max(SEGMENT), 7 * SEGMENT);
        assert_eq!(journal.usage().bytes_max, 7 * SEGMENT);
        id = fill(&journal, id).await;
        assert_eq!(journal.usage().bytes_used, 5 * SEGMENT);
        for more in 0..14 {
            journal.note(group(id + more, &[5000])).unwrap();
            journal.flush().await.unwrap();
        }
        assert_eq!(journal.usage().bytes_used, 7 * SEGMENT);
        // What notes have used of their reserve isn't given anew.
        assert_eq!(journal.set_bytes_max(SEGMENT), 7 * SEGMENT);
        journal.reclaim(*journal.durable().borrow());
        journal.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(journal.usage().bytes_used, SEGMENT);
        assert_eq!(journal.set_bytes_max(0), 3 * SEGMENT);
        assert_eq!(journal.set_bytes_max(9 * SEGMENT), 9 * SEGMENT);
        let before = journal.usage().bytes_used;
        fill(&journal, id + 30).await;
        assert!(before < journal.usage().bytes_used);
        assert_eq!(journal.usage().bytes_used, 7 * SEGMENT);
    });
}

#[test]
fn no_file_is_recycled_while_somebody_holds_them() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        let mut id = 0;
        let mut fill_to = async |segments: u64| {
            while journal.usage().bytes_used < segments * SEGMENT {
                journal.append(group(id, &[5000])).await.unwrap();
                id += 1;
            }
        };
        fill_to(3).await;
        let holds = [journal.hold(), journal.hold()];
        let names = disk.names();
        let end = *journal.durable().borrow();
        assert_eq!(journal.reclaim(end).segments, 2);
        fill_to(5).await;
        assert_eq!(journal.usage().bytes_used, 5 * SEGMENT);
        for name in names {
            assert!(disk.names().contains(&name), "{name} is gone");
        }
        let [first, second] = holds;
        drop(first);
        assert!(journal.usage().held);
        journal.flush().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(journal.usage().bytes_used, 5 * SEGMENT);
        drop(second);
        assert!(!journal.usage().held);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(journal.usage().bytes_used, 3 * SEGMENT);
        assert_eq!(journal.usage().bytes_spare, 2 * SEGMENT);
    });
    read_all(&disk, small()).unwrap();
}

#[test]
fn what_is_copied_while_held_opens_as_a_log_of_that_moment() {
    let disk = ModelDisk::new();
    let folder = tempfile::tempdir().unwrap();
    let end = run(&disk, small(), async |journal| {
        for id in 0..40 {
            journal.append(group(id, &[3000, 10])).await.unwrap();
        }
        journal.repack().unwrap();
        let hold = journal.hold();
        // What is reclaimed, sealed and written meanwhile makes no difference to the files held.
        journal.reclaim(Offset(60));
        for id in 40..60 {
            journal.append(group(id, &[3000, 10])).await.unwrap();
        }
        let end = *journal.durable().borrow();
        let files = hold.files();
        journal.append(group(60, &[7])).await.unwrap();
        assert_eq!(files.last().unwrap().end, end);
        let mut copied = 0;
        for file in &files {
            let path = folder.path().join(&file.name);
            let crc = hold.copy(file, &path, |bytes| copied += bytes).unwrap();
            let written = std::fs::read(&path).unwrap();
            assert_eq!(written.len() as u64, file.bytes);
            assert_eq!(crc, crc32c::crc32c(&written));
        }
        assert_eq!(copied, files.iter().map(|file| file.bytes).sum::<u64>());
        end
    })
    .result;
    let verified = journal::verify(folder.path()).unwrap();
    assert!(
        verified.is_whole() && verified.damage.is_empty(),
        "{verified}"
    );
    assert_eq!(
        verified.segments[0].first,
        Offset(0),
        "held, though reclaimed"
    );
    let records: u64 = verified
        .segments
        .iter()
        .map(|segment| segment.records)
        .sum();
    assert_eq!(records, end.0);
    // And it goes on where it ended.
    let clock = std::sync::Arc::new(journal::OsClock::new());
    let (journal, driver, recovered) = Journal::open_folder(folder.path(), clock, small()).unwrap();
    assert_eq!((recovered.end, recovered.torn), (end, None));
    let driver = driver.spawn_thread();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let appended = runtime.block_on(journal.append(group(100, &[9]))).unwrap();
    assert_eq!(appended.start, end);
    runtime.block_on(journal.close(group(101, &[0]))).unwrap();
    driver.join().unwrap().unwrap();
}
