//! What sidecars rule out, and that they rule out nothing else.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use journal::model_disk::ModelDisk;
use journal::{Clock, Group, Journal, Offset, Options, WallTime};

use super::{Sidecars, event_hash};
use crate::records::envelope::{self, Context};

struct Standing;

impl Clock for Standing {
    fn wall(&self) -> WallTime {
        WallTime(1_000)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        reserve_bytes: 128 << 10,
        min_free: 0,
        group_bytes_max: 16 << 10,
        tail_bytes: 0,
        ..Options::default()
    }
}

/// Event `n` of broker `1 + n / 40` arrives at second `n`; about 15 make a segment.
fn record(n: u64) -> journal::Record {
    let event = event::Event::build(&format!("o-{n}"), "/shop", "order.placed");
    let event = event.finish().unwrap();
    let broker = 1 + (n / 40) as u32;
    envelope::record(broker, WallTime(n * 1000), &Context::default(), &event)
}

fn run<T>(disk: &ModelDisk, scenario: impl AsyncFnOnce(Journal) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (journal, driver, _) =
            Journal::open(disk.clone(), Arc::new(Standing), options()).unwrap();
        tokio::select! {
            result = scenario(journal) => result,
            end = driver.run() => panic!("{end:?}"),
        }
    })
}

async fn fill(journal: &Journal) {
    for n in 0..100 {
        journal.append(Group::one(record(n))).await.unwrap();
    }
}

fn sequences(segments: &[journal::SegmentFacts]) -> Vec<u64> {
    segments.iter().map(|segment| segment.sequence).collect()
}

fn built(sidecars: &Sidecars) -> usize {
    std::iter::from_fn(|| sidecars.build_one(&HashSet::new()).unwrap()).count()
}

#[test]
fn segments_without_what_is_looked_for_are_skipped() {
    let disk = ModelDisk::new();
    // The seventh is being written, so it may hold anything, until a restart seals it.
    let look = |sidecars: &Sidecars, last: &[u64]| {
        let between = |from, to, broker| {
            sequences(&sidecars.segments_between(WallTime(from), WallTime(to), broker))
        };
        let with_last = |mut segments: Vec<u64>| {
            segments.extend(last);
            segments
        };
        // 15 to a segment.
        assert_eq!(between(20_000, 31_000, None), with_last(vec![2, 3]));
        assert_eq!(between(29_001, 30_000, None), last, "it ends where it ends");
        assert_eq!(between(0, 30_000, None), with_last(vec![1, 2]));
        assert_eq!(between(0, u64::MAX, Some(1)), with_last(vec![1, 2, 3]));
        assert_eq!(between(0, u64::MAX, Some(3)), [6, 7]);
        let with = |id| sequences(&sidecars.segments_with("/shop", id));
        assert_eq!(with("o-33"), [last, &[3]].concat());
        assert_eq!(with("x"), last);
        assert_eq!(sidecars.seek(WallTime(44_001)), Offset(45));
        assert_eq!(sidecars.seek(WallTime(44_000)), Offset(30));
    };
    run(&disk, async |journal| {
        fill(&journal).await;
        let sidecars = Sidecars::new(journal.clone());
        let all = sidecars.segments_between(WallTime(0), WallTime(1), None);
        assert_eq!(all.len(), 7, "without sidecars nothing is ruled out");
        assert_eq!(built(&sidecars), 6);
        look(&sidecars, &[7]);
    });
    // They are read back after a restart, and are those of the repacked segments too.
    run(&disk, async |journal| {
        while journal.repack().unwrap().is_some() {}
        let sidecars = Sidecars::new(journal);
        assert_eq!(built(&sidecars), 1);
        look(&sidecars, &[]);
    });
}

#[test]
fn one_that_is_missing_or_damaged_is_built_again() {
    let disk = ModelDisk::new();
    run(&disk, async |journal| {
        fill(&journal).await;
        assert_eq!(built(&Sidecars::new(journal)), 6);
    });
    journal::Disk::remove(&disk, "000000000002.side").unwrap();
    for byte in [0, 13, 50, 120] {
        disk.flip_bit("000000000003.side", byte, 2);
        run(&disk, async |journal| {
            let sidecars = Sidecars::new(journal);
            let between = sidecars.segments_between(WallTime(200_000), WallTime(201_000), None);
            assert!(sequences(&between).contains(&3), "byte {byte}");
            assert_eq!(built(&sidecars), if byte == 0 { 3 } else { 1 });
            let between = sidecars.segments_between(WallTime(200_000), WallTime(201_000), None);
            assert!(between.is_empty());
        });
    }
}

#[test]
fn the_next_offset_of_a_broker_is_in_a_segment_that_has_it() {
    run(&ModelDisk::new(), async |journal| {
        fill(&journal).await;
        let sidecars = Sidecars::new(journal.clone());
        let next = |from, broker| sidecars.next_with(Offset(from), broker).0;
        assert_eq!(next(0, 3), 0, "without sidecars nothing is skipped");
        built(&sidecars);
        // 15 to a segment; broker 2 has 40 up to 80, broker 3 from 80.
        assert_eq!([next(0, 1), next(7, 1), next(44, 1)], [0, 7, 44]);
        assert_eq!([next(0, 2), next(33, 2), next(79, 2)], [30, 33, 79]);
        assert_eq!([next(0, 3), next(99, 3)], [75, 99]);
        // The one that is being written may hold anything; behind it there is nothing.
        assert_eq!([next(50, 1), next(95, 1), next(100, 1)], [90, 95, 100]);
    });
}

#[test]
fn a_sidecar_goes_with_its_segment() {
    let disk = ModelDisk::new();
    run(&disk, async |journal| {
        fill(&journal).await;
        let sidecars = Sidecars::new(journal.clone());
        assert_eq!(built(&sidecars), 6);
        journal.reclaim(Offset(45));
        while journal.usage().bytes_used != 4 * (64 << 10) {
            tokio::task::yield_now().await;
        }
        let sides = disk.names().iter().filter(|n| n.ends_with(".side")).count();
        assert_eq!(sides, 3);
        assert!(!journal.write_side(1, b"late").unwrap());
        let all = sidecars.segments_between(WallTime(0), WallTime(u64::MAX), None);
        assert_eq!(sequences(&all), [4, 5, 6, 7]);
    });
}

#[test]
fn a_hash_is_what_it_was() {
    // On disk for ever: a change of these numbers is a change of the format.
    assert_eq!(event_hash("", ""), HASH_OF_NOTHING);
    assert_eq!(event_hash("/shop", "o-1"), HASH_OF_AN_EVENT);
    assert_ne!(event_hash("/sho", "po-1"), HASH_OF_AN_EVENT);
}

const HASH_OF_NOTHING: u64 = 0x1bbd_5c81_3c69_a8d7;
const HASH_OF_AN_EVENT: u64 = 0xafaa_1e0f_9a5f_7a15;
