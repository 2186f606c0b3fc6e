//! What each call of the handle promises.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use journal::model_disk::{CrashRule, ModelDisk, Operation};
use journal::{AppendError, Disk, Group, Offset, Options, ReadError, Record, Stored, Why};

use crate::play::{contents, group, run, small};

fn offsets(range: std::ops::Range<u64>) -> std::ops::Range<Offset> {
    Offset(range.start)..Offset(range.end)
}

#[test]
fn groups_get_contiguous_offsets_in_the_order_of_the_calls() {
    run(&ModelDisk::new(), small(), async |journal| {
        let first = journal.append(group(0, &[1]));
        let second = journal.append(group(1, &[1, 2, 3]));
        journal.note(group(2, &[4])).unwrap();
        let third = journal.append(group(3, &[5]));
        assert_eq!(third.await, Ok(offsets(5..6)));
        assert_eq!(first.await, Ok(offsets(0..1)));
        assert_eq!(second.await, Ok(offsets(1..4)));
        assert_eq!(*journal.durable().borrow(), Offset(6));
    });
}

#[test]
fn what_waits_is_written_and_synced_together() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        journal.append(group(0, &[1])).await.unwrap();
        let (syncs, writes) = (Operation::Sync, Operation::Write);
        let before = (disk.counters().of(syncs), disk.counters().of(writes));
        let waiting: Vec<_> = (1..11).map(|id| journal.append(group(id, &[9]))).collect();
        for appended in waiting {
            appended.await.unwrap();
        }
        let after = (disk.counters().of(syncs), disk.counters().of(writes));
        assert_eq!(after, (before.0 + 1, before.1 + 1));
        let stats = journal.stats();
        assert_eq!((stats.frames, stats.records, stats.rolls), (2, 11, 1));
        assert_eq!(stats.sync_seconds.count(), stats.syncs);
    });
}

#[test]
fn nothing_is_acknowledged_before_its_sync() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        for id in 0..50 {
            let range = journal.append(group(id, &[300])).await.unwrap();
            let crashed = disk.crash(CrashRule::Nothing, 0);
            let found = journal::cat_disk(crashed, range.start).unwrap();
            let found: Vec<Offset> = found.map(|stored| stored.unwrap().offset).collect();
            assert_eq!(found, [range.start]);
        }
    });
}

#[test]
fn a_note_is_durable_within_its_delay_and_not_at_once() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        let mut durable = journal.durable();
        let began = tokio::time::Instant::now();
        journal.note(group(0, &[1])).unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        journal.note(group(1, &[1])).unwrap();
        assert_eq!(*durable.borrow_and_update(), Offset(0));
        durable.changed().await.unwrap();
        assert_eq!(*durable.borrow(), Offset(2));
        assert_eq!(began.elapsed(), Duration::from_millis(50));
    });
}

#[test]
fn notes_ride_with_the_next_append() {
    run(&ModelDisk::new(), small(), async |journal| {
        journal.note(group(0, &[1])).unwrap();
        let range = journal.append(group(1, &[1])).await.unwrap();
        assert_eq!(range, offsets(1..2));
        assert_eq!(journal.stats().frames, 1);
    });
}

#[test]
fn notes_past_their_bound_are_given_back_until_there_is_room() {
    run(&ModelDisk::new(), small(), async |journal| {
        let mut id = 0;
        let full = loop {
            match journal.note(group(id, &[900])) {
                Ok(()) => id += 1,
                Err(full) => break full,
            }
        };
        assert_eq!(full.group, group(id, &[900]));
        assert!(matches!(full.why, Why::Full { limit: 32768, .. }), "{full}");
        assert!(30_000 < id * 940, "{id} notes");
        journal.noted_room().await;
        journal.note(full.group).unwrap();
        journal.flush().await.unwrap();
        assert_eq!(contents(&journal).unwrap().groups.len(), id as usize + 1);
    });
}

#[test]
fn appends_past_their_bound_wait_for_room() {
    run(&ModelDisk::new(), small(), async |journal| {
        let many: Vec<_> = (0..200)
            .map(|id| journal.append(group(id, &[900])))
            .collect();
        let mut end = 0;
        for appended in many {
            let range = appended.await.unwrap();
            assert_eq!(range.start, Offset(end));
            end = range.end.0;
        }
        assert_eq!(contents(&journal).unwrap().groups.len(), 200);
    });
}

#[test]
fn a_group_past_the_bound_is_refused_with_both_numbers() {
    run(&ModelDisk::new(), small(), async |journal| {
        let large = group(0, &[20_000, 10_000]);
        let (got, limit) = (large.bytes(), 24 << 10);
        let error = AppendError::TooLarge { got, limit };
        assert_eq!(journal.append(large.clone()).await, Err(error.clone()));
        assert_eq!(journal.note(large).unwrap_err().why, Why::Refused(error));
    });
}

#[test]
fn a_flush_of_nothing_is_answered() {
    run(&ModelDisk::new(), small(), async |journal| {
        assert_eq!(journal.flush().await, Ok(offsets(0..0)));
    });
}

#[test]
fn records_read_back_as_written_from_memory_and_from_disk() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        for id in 0..100 {
            journal.append(group(id, &[1200])).await.unwrap();
        }
        let mut reader = journal.reader();
        for id in (0..100).chain((0..100).rev()) {
            let stored = reader.get(Offset(id.into())).unwrap().unwrap();
            let Record {
                kind,
                version,
                tag,
                body,
            } = crate::play::record(id, 0, 1, 1200);
            let expected = Stored {
                offset: Offset(id.into()),
                kind,
                version,
                tag,
                body,
            };
            assert_eq!(stored, expected);
        }
        assert_eq!(reader.get(Offset(100)).unwrap(), None);
        let reading = journal.read(Offset(100), 1).unwrap();
        assert_eq!((reading.records.len(), reading.next), (0, Offset(100)));
    });
}

#[test]
fn reading_in_order_asks_the_disk_once_a_chunk() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        for id in 0..400 {
            journal.append(group(id, &[500])).await.unwrap();
        }
        journal.close(group(400, &[0])).await.unwrap();
    });
    run(&disk, small(), async |journal| {
        let before = disk.counters().of(Operation::Read);
        let mut reader = journal.reader();
        for offset in 0..401 {
            // Three lanes go through the log at about the same place.
            for behind in [0, 3, 9] {
                let offset = Offset(u64::saturating_sub(offset, behind));
                assert_eq!(reader.get(offset).unwrap().unwrap().offset, offset);
            }
        }
        let reads = disk.counters().of(Operation::Read) - before;
        let segments = journal.segments().len() as u64;
        // Segments are 64 KiB here, as are the reader's reads, which may need one to overlap.
        assert!(
            reads <= 2 * segments + 8,
            "{reads} reads of {segments} segments"
        );
    });
}

#[test]
fn a_record_far_from_others_is_read_alone() {
    let options = || Options {
        segment_bytes: 4 << 20,
        bytes_max: 64 << 20,
        reserve_bytes: 8 << 20,
        ..small()
    };
    let disk = ModelDisk::new();
    run(&disk, options(), async |journal| {
        for id in 0..100 {
            journal.append(group(id, &[1000; 20])).await.unwrap();
        }
        journal.close(group(100, &[0])).await.unwrap();
    });
    run(&disk, options(), async |journal| {
        let before = disk.counters().of(Operation::Read);
        let mut reader = journal.reader();
        let far_apart: Vec<u64> = (0..10).map(|at| 1900 - at * 190).collect();
        for offset in &far_apart {
            let offset = Offset(*offset);
            assert_eq!(reader.get(offset).unwrap().unwrap().offset, offset);
        }
        let reads = disk.counters().of(Operation::Read) - before;
        // What is read begins at most 64 KiB before the record; a chunk would go 128 KiB beyond.
        assert!(reads <= 2 * 10, "{reads} reads of 10 records");
    });
}

#[test]
fn what_is_reclaimed_is_gone_and_its_file_used_again() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        let mut reader = journal.reader();
        for id in 0..200 {
            journal.append(group(id, &[1000])).await.unwrap();
        }
        reader.get(Offset(3)).unwrap().unwrap();
        let third = journal.segments()[2].first;
        assert_eq!(
            journal.reclaim(Offset(third.0 - 1)).start,
            journal.segments()[0].first
        );
        let reclaimed = journal.reclaim(third);
        assert_eq!((reclaimed.start, journal.start()), (third, third));
        let gone = journal.read(Offset(3), 1).unwrap_err();
        assert!(
            matches!(gone, ReadError::Gone { first, .. } if first == third),
            "{gone}"
        );
        assert!(reader.get(Offset(3)).is_err());
        let created = disk.counters().of(Operation::Create);
        for id in 200..220 {
            journal.append(group(id, &[1000])).await.unwrap();
        }
        assert_eq!(disk.counters().of(Operation::Create), created);
        assert_eq!(contents(&journal).unwrap().start, third.0);
    });
}

#[test]
fn each_use_of_a_file_has_a_generation_of_its_own() {
    let disk = ModelDisk::new();
    let mut seen = std::collections::BTreeSet::new();
    let ran = run(&disk, small(), async |journal| {
        for id in 0..300 {
            let offset = journal.append(group(id, &[5000])).await.unwrap().start;
            let last = journal.segments().pop().unwrap();
            let name = format!("{:012}.seg", last.sequence);
            let block = disk.open(&name).unwrap().read_at(0, 4096).unwrap();
            seen.insert(<[u8; 8]>::try_from(&block[32..40]).unwrap());
            journal.reclaim(offset);
        }
        journal.segments().pop().unwrap().sequence
    });
    assert!(10 < ran.result, "only {} segments", ran.result);
    assert_eq!(seen.len() as u64, ran.result);
    // The lower half alone differs: that is what makes the checksums' seeds differ for certain.
    let upper: std::collections::BTreeSet<_> = seen.iter().map(|bytes| &bytes[4..]).collect();
    assert_eq!(upper.len(), 1);
    assert!(
        disk.names().len() < 8,
        "files are used again: {:?}",
        disk.names()
    );
}

#[test]
fn the_segment_written_to_is_never_reclaimed() {
    run(&ModelDisk::new(), small(), async |journal| {
        journal.append(group(0, &[1])).await.unwrap();
        assert_eq!(journal.reclaim(Offset(u64::MAX)).segments, 0);
    });
}

#[test]
fn offsets_go_on_after_everything_was_reclaimed() {
    let disk = ModelDisk::new();
    let end = run(&disk, small(), async |journal| {
        for id in 0..200 {
            journal.append(group(id, &[1000])).await.unwrap();
        }
        let end = *journal.durable().borrow();
        journal.reclaim(end);
        journal.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        end
    })
    .result;
    for rule in CrashRule::ALL {
        let ran = run(&disk.crash(rule, 3), small(), async |journal| {
            journal.append(group(900, &[1])).await.unwrap().start
        });
        assert!(end <= ran.result, "{rule:?}");
    }
}

#[test]
fn each_segment_opens_with_what_was_asked_for() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        journal.set_opening(Arc::new(move || {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            vec![opening(call, 0), opening(call, 1)]
        }));
        for id in 0..200 {
            journal.append(group(id, &[1000])).await.unwrap();
        }
        let segments = journal.segments();
        assert_eq!(calls.load(Ordering::SeqCst), segments.len());
        for (call, segment) in segments.iter().enumerate() {
            let reading = journal.read(segment.first, 200).unwrap();
            let bodies: Vec<_> = reading.records.iter().map(|r| &r.body[..]).collect();
            let expected = [opening(call, 0), opening(call, 1)];
            let expected = expected
                .each_ref()
                .map(|group| &group.records()[0].body[..]);
            assert_eq!(bodies[..2], expected, "segment {call}");
        }
    });
}

fn opening(call: usize, which: usize) -> Group {
    Group::one(Record {
        kind: 200,
        version: 0,
        tag: 0,
        body: format!("opening {which} of segment {call}, {}", "x".repeat(100)).into(),
    })
}

#[test]
fn an_opening_that_fills_half_a_segment_stops_the_journal() {
    let ran = run(&ModelDisk::new(), small(), async |journal| {
        journal.set_opening(Arc::new(|| (0..3).map(|id| group(id, &[12_000])).collect()));
        let stopped = journal.append(group(9, &[1])).await;
        assert_eq!(stopped, Err(AppendError::Stopped));
    });
    let fault = ran.end.unwrap().unwrap_err();
    assert!(matches!(fault, journal::Fault::Opening { .. }), "{fault}");
}

#[test]
fn a_close_writes_what_was_noted_and_ends_it() {
    let disk = ModelDisk::new();
    let ran = run(&disk, small(), async |journal| {
        journal.note(group(0, &[1])).unwrap();
        let other = journal.clone();
        assert_eq!(journal.close(group(1, &[0])).await, Ok(offsets(1..2)));
        assert_eq!(other.append(group(2, &[1])).await, Err(AppendError::Closed));
        let late = other.note(group(2, &[1])).unwrap_err();
        assert_eq!(late.why, Why::Refused(AppendError::Closed));
    });
    assert!(matches!(ran.end, None | Some(Ok(()))));
    let ran = run(&disk, small(), async |journal| {
        let range = journal.append(group(2, &[1])).await.unwrap();
        assert_eq!(range, offsets(2..3));
        journal.segments().len()
    });
    assert!(ran.recovered.clean, "{}", ran.recovered);
    assert_eq!(
        ran.result, 1,
        "a log that was closed goes on in its last segment"
    );
    let ran = run(&disk, small(), async |journal| {
        journal.append(group(3, &[1])).await.unwrap();
        journal.segments().len()
    });
    assert!(!ran.recovered.clean);
    assert_eq!(ran.result, 2, "one that wasn't goes on in another");
}

#[test]
fn an_unclean_start_that_appends_nothing_costs_no_segment() {
    let disk = ModelDisk::new();
    run(&disk, small(), async |journal| {
        journal.append(group(0, &[1])).await.unwrap();
    });
    let before = disk.names();
    for _ in 0..5 {
        let ran = run(&disk, small(), async |_| ());
        assert_eq!(ran.recovered.end, Offset(1));
    }
    assert_eq!(disk.names(), before);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_porter_is_woken_once_and_wakes_the_others() {
    run(&ModelDisk::new(), small(), async |journal| {
        let (local, porter) = journal.local();
        let mut porter = Box::pin(porter);
        let (carried, waited) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (porter_waker, waker) = (Waker::from(carried.clone()), Waker::from(waited.clone()));
        let polled = porter
            .as_mut()
            .poll(&mut Context::from_waker(&porter_waker));
        assert!(polled.is_pending());
        let mut appended: Vec<_> = (0..10)
            .map(|id| Box::pin(local.append(group(id, &[1]))))
            .collect();
        for one in &mut appended {
            assert!(
                one.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        journal.flush().await.unwrap();
        assert_eq!((carried.get(), waited.get()), (1, 0));
        let polled = porter
            .as_mut()
            .poll(&mut Context::from_waker(&porter_waker));
        assert!(polled.is_pending());
        assert_eq!(waited.get(), 10);
        for one in &mut appended {
            assert!(
                one.as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_ready()
            );
        }
    });
}

#[test]
fn appends_whose_porter_is_gone_are_woken_one_by_one() {
    run(&ModelDisk::new(), small(), async |journal| {
        let (local, porter) = journal.local();
        let waiting = local.append(group(0, &[1]));
        drop(porter);
        waiting.await.unwrap();
        local.append(group(1, &[1])).await.unwrap();
        let (local, porter) = journal.local();
        let waiting = local.append(group(2, &[1]));
        journal.flush().await.unwrap();
        drop(porter);
        waiting.await.unwrap();
    });
}

#[test]
fn options_that_contradict_each_other_open_nothing() {
    let options = Options {
        bytes_max: 0,
        ..small()
    };
    let clock = Arc::new(journal::OsClock::new());
    let error = journal::Journal::open(ModelDisk::new(), clock, options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bytes_max is 0, less than the reserve and one segment, 196608"
    );
}
