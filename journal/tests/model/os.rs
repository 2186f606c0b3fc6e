//! A real disk, real threads.

use std::path::Path;
use std::sync::Arc;

use journal::{Journal, Offset, OpenError, Options, OsClock, OsDisk, cat, verify};

use crate::play::group;

fn options() -> Options {
    Options {
        segment_bytes: 1 << 20,
        group_bytes_max: 256 << 10,
        min_free: 0,
        tail_bytes: 64 << 10,
        ..Options::default()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Four threads append and note, then all is read back, closed, opened and read again.
fn write_and_read(folder: &Path, disk: impl Fn() -> OsDisk) {
    let clock = || Arc::new(OsClock::new());
    let (journal, driver, recovered) = Journal::open(disk(), clock(), options()).unwrap();
    assert!(recovered.clean);
    let thread = driver.spawn_thread();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                block_on(async {
                    for turn in 0..100 {
                        let id = writer * 1000 + turn * 2;
                        journal.append(group(id, &[3000, 0, 7])).await.unwrap();
                        journal.note(group(id + 1, &[500])).unwrap();
                    }
                });
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    block_on(journal.flush()).unwrap();
    assert_eq!(*journal.durable().borrow(), Offset(1600));
    let mut reader = journal.reader();
    for offset in 0..1600 {
        let stored = reader.get(Offset(offset)).unwrap().unwrap();
        assert_eq!(stored.offset, Offset(offset));
    }
    let Err(OpenError::Locked { pid }) = Journal::open(disk(), clock(), options()) else {
        panic!("two of them have it open");
    };
    assert_eq!(pid, std::process::id());

    // Looking takes no lock, and sees a running node's log.
    let seen = verify(folder).unwrap();
    assert!(seen.is_whole(), "{seen}");
    assert_eq!(cat(folder, Offset(1590)).unwrap().count(), 10);

    // The close overtakes the helper thread, and what was reclaimed stays so all the same.
    let before = journal.reclaim(Offset(1300));
    assert!(0 < before.segments);
    block_on(journal.close(group(9000, &[0]))).unwrap();
    thread.join().unwrap().unwrap();
    drop(reader);

    let (journal, driver, recovered) = Journal::open(disk(), clock(), options()).unwrap();
    assert!(recovered.clean, "{recovered}");
    assert_eq!(recovered.end, Offset(1601));
    assert_eq!(recovered.start, before.start);
    let mut at = journal.start();
    let mut count = 0;
    while at < recovered.end {
        let reading = journal.read(at, 100_000).unwrap();
        assert!(reading.damaged.is_empty());
        count += reading.records.len() as u64;
        at = reading.next;
    }
    assert_eq!(count, 1601 - before.start.0);
    drop(driver);
}

#[test]
fn a_log_on_this_disk_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/log");
    write_and_read(&path, || OsDisk::open(&path).unwrap());
}

#[test]
fn a_log_through_the_page_cache() {
    let folder = tempfile::tempdir().unwrap();
    write_and_read(folder.path(), || {
        OsDisk::open(folder.path()).unwrap().buffered()
    });
}

#[test]
fn looking_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(verify(folder.path()).unwrap().segments, []);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let missing = folder.path().join("missing");
    assert!(matches!(verify(&missing), Err(OpenError::Io { .. })));
    assert!(!missing.exists());
}

#[test]
fn a_failure_names_what_it_was_doing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let clock = Arc::new(OsClock::new());
    let error = Journal::open_folder(&file.join("log"), clock, options()).unwrap_err();
    assert!(error.to_string().starts_with("opening folder "), "{error}");
}
