//! What the keeper keeps in moments that no scenario hits on its own.

use std::sync::Arc;
use std::time::Duration;

use journal::model_disk::ModelDisk;
use journal::{Clock, Group, Journal, Offset, Options, Record, WallTime};
use tokio::sync::mpsc;

use super::*;
use crate::records::dead::Dead;
use crate::records::envelope::{self, Context};
use crate::records::held::Held;
use crate::records::routed::Routed;
use crate::records::{Cause, Number};
use crate::view::Place;

struct Standing;

impl Clock for Standing {
    fn wall(&self) -> WallTime {
        WallTime(1_000_000)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

const BILLING: Number = 2;

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

/// Runs `scenario` with a keeper over an empty log whose history isn't kept at all.
fn run(scenario: impl AsyncFnOnce(&mut Keeper, &Journal)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(Standing);
        let options = options();
        let kept_options = crate::kept::options(&options);
        let (log, driver, _) =
            Journal::open(ModelDisk::new(), Arc::clone(&clock), options).unwrap();
        let (kept, kept_driver, _) =
            Journal::open(ModelDisk::new(), Arc::clone(&clock), kept_options).unwrap();
        let on_progress: OnProgress = Arc::new(|_| {});
        let standing = open(&log, kept, &Place::Memory, &on_progress).unwrap();
        let (_asking, questions) = mpsc::channel(1);
        let (router, _router) = mpsc::channel(1);
        let parts = Parts {
            log: Log::new(log.clone(), clock),
            questions,
            router,
            fence: Arc::default(),
            admission: Arc::default(),
            retention: Duration::ZERO,
            retention_dead_letters: Duration::from_secs(3600),
            bytes_max: 1 << 30,
        };
        let mut keeper = Keeper::new(parts, standing);
        tokio::select! {
            () = scenario(&mut keeper, &log) => {}
            end = driver.run() => panic!("{end:?}"),
            end = kept_driver.run() => panic!("{end:?}"),
        }
    });
}

async fn append(log: &Journal, record: Record) -> Offset {
    log.append(Group::one(record)).await.unwrap().start
}

fn event(n: u64) -> Record {
    let event = event::Event::build(&format!("o-{n}"), "/shop", "order.placed");
    let event = event.finish().unwrap();
    envelope::record(1, WallTime(n), &Context::default(), &event)
}

fn dead(offset: Offset) -> Record {
    let dead = Dead {
        number: BILLING,
        uid: [0; 16],
        offset,
        cause: Cause::Refused,
        forwarded: false,
        at: WallTime(0),
        namespace: "shop".into(),
        name: "billing".into(),
        broker: "shop/default".into(),
        destination: "http://f/".into(),
        attempts: Vec::new(),
        reply: None,
    };
    dead.record()
}

/// Fills the segment that is being written with events that are routed to nobody.
async fn fill(log: &Journal) {
    let before = log.segments().len().max(1);
    let mut last = log.start();
    while log.segments().len() <= before {
        last = append(log, event(last.0)).await;
    }
    let end = Offset(last.0 + 1);
    append(log, Routed::default().record(log.start(), end)).await;
}

/// A replay owed an event, and the delivery died: the router has read that, the keeper hasn't.
#[test]
fn a_replayed_event_that_has_just_died_is_kept_with_its_letter() {
    run(async |keeper, log| {
        fill(log).await;
        keeper.follow_to_end().unwrap();
        let of = Offset(3);
        let letter = append(log, dead(of)).await;
        keeper.reclaim().await.unwrap();
        assert!(of < log.start(), "its segment is gone");
        keeper.follow_to_end().unwrap();
        assert!(keeper.view.letter(letter).unwrap().is_some());
        assert!(keeper.view.kept_at(What::Copy, of).unwrap().is_some());
    });
}

/// More keys are blocked than one record takes, and some are let go again.
#[test]
fn blocked_keys_outlive_their_segment_however_many() {
    run(async |keeper, log| {
        let held = |n: u64, by| Held {
            number: BILLING,
            key: format!("{n:01024}").into_bytes().into(),
            by,
        };
        for n in 0..100 {
            append(log, held(n, Some(Offset(n))).record()).await;
        }
        fill(log).await;
        keeper.follow_to_end().unwrap();
        keeper.reclaim().await.unwrap();
        for n in 16..40 {
            append(log, held(n, None).record()).await;
        }
        fill(log).await;
        keeper.follow_to_end().unwrap();
        keeper.reclaim().await.unwrap();
        assert_eq!(log.segments().len(), 1, "all of it is gone");

        let kept = keeper.kept.journal().clone();
        let on_progress: OnProgress = Arc::new(|_| {});
        let anew = open(log, kept, &Place::Memory, &on_progress).unwrap();
        assert_eq!(anew.fold.blocked.len(), 76);
        assert_eq!(anew.fold.blocked, keeper.fold.blocked);
    });
}

/// Whoever looks something up: what else the view says can't be relied on, so nothing may go by it.
#[test]
fn a_damaged_value_that_somebody_met_ends_the_keeper() {
    run(async |keeper, _| {
        keeper.view.spoil_kept(Offset(5));
        let met = keeper.view.kept_at(What::Copy, Offset(5));
        assert!(met.is_err());
        let end = tokio::time::timeout(Duration::from_secs(10), keeper.turn()).await;
        assert!(matches!(end, Ok(Err(Fault::NotKept(_)))), "{end:?}");
    });
}
