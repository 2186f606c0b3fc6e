//! The disk fails for a moment, or no more files can be opened: what is owed waits, and nothing of it
//! ends (GUARANTEES 21).

use std::io::ErrorKind;
use std::time::Duration;

use broker::jobs::State;
use broker::pausing::{ResumeFrom, Target};
use broker::replay;
use event::Event;
use expect_test::expect;
use journal::model_disk::{Lasting, Operation};
use tests::world::Builder;
use tests::{World, always, everything, order_placed, terms};
use triggers::TriggerName;

/// A node that was started anew, so that what it owes is on disk alone, and whose next reads fail, so
/// many.
async fn reads_fail(builder: Builder, reads: u64) -> World {
    let mut world = builder.sink("billing", always(200)).start().await;
    let billing = Target::Trigger(TriggerName::new("default", "billing"));
    world
        .run(world.engine().pause(&billing))
        .await
        .expect("billing can be paused");
    for id in ["o-1", "o-2", "o-3"] {
        let event = Event::build(id, "/shop", "order.placed").attribute("partitionkey", "a");
        world.publish(event.finish().expect("a whole event")).await;
    }
    world.settle().await;
    world.restart().await;
    for nth in 0..reads {
        let (read, once) = (Operation::Read, Lasting::Once);
        world.disk().fail(read, nth, once, ErrorKind::Other);
    }
    let resumed = world.engine().resume(&billing, ResumeFrom::Backlog, false);
    world.run(resumed).await.expect("billing can be resumed");
    world
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_for_a_moment_is_delivered_once_it_can() {
    let world = World::new().trigger("billing", everything(), terms().retry(0));
    let world = reads_fail(world, 2).await;
    world.advance(Duration::from_millis(900)).await;
    world.check(expect![[r#"
        billing  o-1  owed
        billing  o-2  owed
        billing  o-3  200  delivered
    "#]]);
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  200  delivered
        billing  o-2  200  delivered
        billing  o-3  200  delivered
    "#]]);
    let report = world.report().await;
    assert_eq!(
        report.triggers[0].lane.tally.attempts, 3,
        "none was counted that wasn't made"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_what_cannot_be_read_where_order_is_kept() {
    let policy = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: ordered}
spec: {ordering: {by: partitionkey}}
";
    let world = World::new().file("ordered.yaml", policy).trigger(
        "billing",
        everything(),
        terms().retry(0).policy("ordered"),
    );
    let world = reads_fail(world, 1).await;
    world.advance(Duration::from_millis(900)).await;
    world.check(expect![[r#"
        billing  o-1  owed
        billing  o-2  owed
        billing  o-3  owed
    "#]]);
    world.until_settled().await;
    let calls = world.calls();
    let ids: Vec<&str> = calls.iter().map(|call| call.key.1.as_str()).collect();
    assert_eq!(ids, ["o-1", "o-2", "o-3"]);
}

/// A replay waits for a disk that fails for a moment, and goes on where it was.
#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_the_disk() {
    let asked = replay::Asked {
        to: replay::To::Trigger(TriggerName::new("default", "billing")),
        from: replay::Point::Earliest,
        until: None,
        filters: Vec::new(),
        rate: None,
        dry_run: false,
    };
    let world = World::new().trigger("billing", everything(), terms());
    let mut world = world.sink("billing", always(200)).start().await;
    for n in 0..5 {
        world.publish(order_placed(&format!("o-{n}"))).await;
    }
    world.until_settled().await;
    world.restart().await;
    for nth in 0..3 {
        let (read, once) = (Operation::Read, Lasting::Once);
        world.disk().fail(read, nth, once, ErrorKind::Other);
    }
    let progress = world.replay(asked).await;
    assert_eq!((progress.state, progress.done), (State::Done, 5));
    assert_eq!(world.engine().jobs().all().len(), 1, "it isn't begun anew");
    world.until_settled().await;
}
