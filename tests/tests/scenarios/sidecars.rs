//! Sidecars: what a running node knows of its log's segments without reading them.

use std::io::ErrorKind;
use std::time::Duration;

use broker::jobs::State;
use broker::replay::{Asked, Point, To};
use event::Event;
use journal::model_disk::{Lasting, ModelDisk, Operation};
use tests::{World, always, event, everything, order_placed, terms};
use triggers::TriggerName;

/// Bytes of data of an event that is there to take room.
const LARGE: usize = 100_000;

fn large(id: &str) -> Event {
    let event = Event::build(id, "/shop", "photo.taken");
    let event = event.data(vec![7; LARGE]);
    event.finish().expect("the event is valid")
}

fn sides(disk: &ModelDisk) -> usize {
    let names = disk.names();
    names.iter().filter(|name| name.ends_with(".side")).count()
}

/// A world in which all segments hold events of one broker, and of the other one only the ends.
async fn world() -> World {
    let world = World::new()
        .journal(|options| options.tail_bytes = 0)
        .broker("photos", terms())
        .trigger("billing", everything(), terms())
        .sink("billing", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    for n in 0..200 {
        let taken = world.try_publish("photos", vec![large(&format!("p-{n}"))]);
        taken.await.expect("there is room");
    }
    world.publish(order_placed("o-2")).await;
    world.until_settled().await;
    world
}

/// Replays all of `billing`, and says how often the disk was read to find it.
async fn reads_of_a_replay(world: &World) -> u64 {
    let reads = || world.disk().counters().of(Operation::Read);
    let before = reads();
    let asked = Asked {
        to: To::Trigger(TriggerName::new("default", "billing")),
        from: Point::Earliest,
        until: None,
        filters: Vec::new(),
        rate: None,
        dry_run: false,
    };
    let progress = world.replay(asked).await;
    assert_eq!((progress.state, progress.done), (State::Done, 2));
    let read = reads() - before;
    world.until_settled().await;
    read
}

#[tokio::test(start_paused = true)]
async fn a_replay_reads_only_the_segments_that_have_events_of_its_broker() {
    let world = world().await;
    let without = reads_of_a_replay(&world).await;
    world.spawn(world.engine().sidecars().clone().tend());
    world.advance(Duration::from_secs(60)).await;
    let sealed = world.engine().journal().segments().len() - 1;
    assert!(8 < sealed);
    assert_eq!(sides(world.disk()), sealed);
    reads_of_a_replay(&world).await;
    let with = reads_of_a_replay(&world).await;
    eprintln!("{sealed} sealed segments: {without} reads without sidecars, {with} with them");
    assert!(with * 4 < without, "{with} of {without}");
}

#[tokio::test(start_paused = true)]
async fn each_segment_gets_one_when_it_is_sealed_whatever_becomes_of_others() {
    let world = world().await;
    world
        .disk()
        .fail(Operation::Create, 0, Lasting::Once, ErrorKind::Other);
    world.spawn(world.engine().sidecars().clone().tend());
    world.advance(Duration::from_secs(60)).await;
    let sealed = || world.engine().journal().segments().len() - 1;
    assert_eq!(sides(world.disk()), sealed() - 1, "one failed");
    let before = sealed();
    while sealed() == before {
        world
            .try_publish("photos", vec![large("more")])
            .await
            .expect("there is room");
    }
    world.publish(event("small", "order.placed")).await;
    world.advance(Duration::from_secs(3)).await;
    assert_eq!(sides(world.disk()), sealed() - 1, "the new one has one");
    world.settle().await;
}
