//! What holds of any folder that the journal is given: it opens it or says why not, deletes nothing,
//! serves what survives, and goes on behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use journal::model_disk::{CrashRule, ModelDisk, Operation};
use journal::{
    Disk, Group, Journal, Offset, OpenError, Options, Record, Recovered, Stored, cat_disk,
    verify_disk,
};

use super::wire::{self, Standing};

/// A log's smallest segment.
pub(super) const SEGMENT_BYTES: usize = 16 << 10;

fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES as u64,
        bytes_max: 64 << 20,
        reserve_bytes: 2 * SEGMENT_BYTES as u64,
        min_free: 0,
        frame_bytes_target: 4 << 10,
        frame_records_target: 16,
        group_bytes_max: 4 << 10,
        queue_bytes_max: 8 << 10,
        note_bytes_max: 8 << 10,
        tail_bytes: 4 << 10,
        ..Options::default()
    }
}

/// Puts a file on the disk, durably; `false` if the name is taken.
pub(super) fn put(disk: &ModelDisk, name: &str, bytes: &[u8]) -> bool {
    let Ok(file) = disk.create(name) else {
        return false;
    };
    let mut blocks = bytes.to_vec();
    blocks.resize(bytes.len().next_multiple_of(super::format::BLOCK), 0);
    let put = || -> std::io::Result<()> {
        file.write_at(0, &blocks)?;
        file.sync()?;
        file.zero_fill(bytes.len() as u64)?;
        file.sync()?;
        disk.sync()
    };
    put().expect("nothing was made to fail");
    true
}

type Files = BTreeMap<String, Bytes>;

fn files(disk: &ModelDisk) -> Files {
    let read = |name: &str| -> std::io::Result<Bytes> {
        let file = disk.open(name)?;
        file.read_at(
            0,
            usize::try_from(file.len()?).map_err(std::io::Error::other)?,
        )
    };
    let names = disk.names().into_iter();
    let files = names.map(|name| {
        let bytes = read(&name).expect("nothing was made to fail");
        (name, bytes)
    });
    files.collect()
}

fn changes(disk: &ModelDisk) -> Vec<u64> {
    let changing = [
        Operation::Write,
        Operation::Fill,
        Operation::Create,
        Operation::Rename,
        Operation::SyncFolder,
    ];
    let counters = disk.counters();
    changing.map(|operation| counters.of(operation)).to_vec()
}

/// Opens the log and runs `scenario` beside its driver. What waits at the end is left as it is.
fn opened<T>(
    disk: &ModelDisk,
    scenario: impl AsyncFnOnce(Journal, &Recovered) -> T,
) -> Result<T, OpenError> {
    wire::run(async {
        let (journal, driver, recovered) =
            Journal::open(disk.clone(), Arc::new(Standing), options())?;
        let mut driver = std::pin::pin!(driver.run());
        let mut scenario = std::pin::pin!(scenario(journal, &recovered));
        let mut ended = false;
        loop {
            tokio::select! {
                biased;
                result = &mut scenario => return Ok(result),
                end = &mut driver, if !ended => {
                    end.expect("nothing was made to fail");
                    ended = true;
                }
            }
        }
    })
}

/// All that can be read, with every offset served or named as lost.
fn read_all(journal: &Journal) -> Vec<Stored> {
    let (mut at, end) = (journal.start(), *journal.durable().borrow());
    let mut records: Vec<Stored> = Vec::new();
    while at < end {
        let reading = journal.read(at, 4096).expect("nothing was made to fail");
        assert!(at < reading.next, "reading stands still at {at}");
        let mut covered: Vec<(u64, u64)> = Vec::new();
        covered.extend(reading.records.iter().map(|r| (r.offset.0, r.offset.0 + 1)));
        let lost = reading.damaged.iter();
        covered.extend(lost.map(|d| (d.offsets.start.0, d.offsets.end.0)));
        covered.retain(|(from, to)| from != to);
        covered.sort_unstable();
        let mut next = at.0;
        for (from, to) in covered {
            assert_eq!(from, next, "neither served nor named, or both");
            next = to;
        }
        assert_eq!(next, reading.next.0, "neither served nor named");
        records.extend(reading.records);
        at = reading.next;
    }
    records
}

fn record(tag: u32) -> Group {
    Group::one(Record {
        kind: 9,
        version: 1,
        tag,
        body: Bytes::from_static(b"what comes next"),
    })
}

/// Asserts all of it for the log that lies on `disk`, and returns what was found and what it serves, if
/// it opens.
pub(super) fn assert_served(disk: &ModelDisk) -> Option<(Recovered, Vec<Stored>)> {
    let (before, changed) = (files(disk), changes(disk));
    let seen: Result<Vec<Stored>, OpenError> = cat_disk(disk.clone(), Offset(0))
        .map(|all| all.map(|r| r.expect("nothing was made to fail")).collect());
    let verified = verify_disk(disk.clone());
    let first = opened(disk, async |journal, recovered| {
        let read = read_all(&journal);
        assert_eq!(recovered.end, *journal.durable().borrow());
        assert_eq!(recovered.start, journal.start());
        let mut reader = journal.reader();
        for record in read.iter().take(20) {
            let got = reader.get(record.offset).expect("nothing was made to fail");
            assert_eq!(got.as_ref(), Some(record));
        }
        (read, recovered.clone())
    });
    let (read, recovered) = match first {
        Ok(first) => first,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(changes(disk), changed, "changed and refused: {error}");
            assert_eq!(files(disk), before);
            // Who only looks may be shown what there is; and is told.
            let is_told = verified.as_ref().map_or(true, |verified| verified.refused);
            assert!(is_told, "looked at: {error}");
            assert_eq!(seen.is_err(), verified.is_err());
            return None;
        }
    };
    assert_kept(&before, &files(disk), &[]);
    assert_eq!(seen.expect("what opens can be looked at"), read);
    let verified = verified.expect("what opens can be looked at");
    let counted: u64 = verified
        .segments
        .iter()
        .map(|segment| segment.records)
        .sum();
    assert_eq!(counted, read.len() as u64, "{verified}");
    assert_goes_on(disk, &before, &read, &recovered);
    Some((recovered, read))
}

/// Nothing is gone, or other than it was, but spares, and those files that are named.
fn assert_kept(before: &Files, after: &Files, written: &[String]) {
    for (name, bytes) in before {
        if name.starts_with("spare-") || written.contains(name) {
            continue;
        }
        assert_eq!(after.get(name), Some(bytes), "{name} was touched");
    }
}

/// The log takes another record, and after the power has failed, and after a close, all is there.
fn assert_goes_on(disk: &ModelDisk, before: &Files, read: &[Stored], recovered: &Recovered) {
    let appended = opened(disk, async |journal, _| {
        let appended = journal.append(record(1)).await.expect("there is room");
        let mut reader = journal.reader();
        let got = reader.get(appended.start);
        assert!(got.expect("nothing was made to fail").is_some());
        appended
    });
    let appended = appended.expect("it opened before");
    assert_eq!(appended, recovered.end..Offset(recovered.end.0 + 1));
    // Only a segment that was closed in order is written on.
    let last = before.keys().rfind(|name| name.ends_with(".seg")).cloned();
    let written: Vec<String> = last.into_iter().filter(|_| recovered.clean).collect();
    assert_kept(before, &files(disk), &written);
    let disk = disk.crash(CrashRule::Nothing, 0);
    let closed = opened(&disk, async |journal, after| {
        let again = read_all(&journal);
        let (rest, new) = again.split_at(again.len().saturating_sub(1));
        assert_eq!(rest, read, "what was served once is served");
        assert!(new[0].offset == appended.start && new[0].tag == 1);
        assert!(!after.clean, "nobody closed it");
        journal.close(record(2)).await.expect("there is room")
    });
    let closed = closed.expect("it opened before");
    let end = opened(&disk, async |journal, after| {
        assert!(after.clean, "closed in order: {after}");
        let again = read_all(&journal);
        assert_eq!(again.len(), read.len() + 2);
        assert_eq!(again[..read.len()], *read);
        after.end
    });
    assert_eq!(end.expect("it was closed"), closed.end);
}
