//! The same `source` and `id` within a broker's window is delivered once, over restarts too, and
//! answered with yes each time (GUARANTEES 2).

use std::time::Duration;

use event::Event;
use expect_test::expect;
use journal::model_disk::CrashRule;
use tests::want::trigger_yaml;
use tests::world::Builder;
use tests::{Seed, World, always, everything, order_placed, replies, terms, times, ty};

const MS: Duration = Duration::from_millis(1);

/// A broker that remembers for ten minutes, and a trigger that wants everything.
fn remembering() -> Builder {
    World::new()
        .broker("default", terms().dedup_window("PT10M"))
        .trigger("billing", everything(), terms())
        .sink("billing", always(200))
}

fn from(source: &str, id: &str) -> Event {
    let event = Event::build(id, source, "order.placed").finish();
    event.expect("a test's event is valid")
}

/// How many events the broker has dropped since the last start.
async fn deduplicated(world: &World) -> u64 {
    world.report().await.brokers[0].deduplicated
}

#[tokio::test(start_paused = true)]
async fn a_hundred_times_the_same_is_one_delivery_over_a_stop_and_a_crash() {
    let mut world = remembering().start().await;
    for _ in 0..40 {
        world.publish(from("/a", "1")).await;
    }
    world.until_settled().await;
    assert_eq!(deduplicated(&world).await, 39);
    world.restart().await;
    for _ in 0..30 {
        world.publish(from("/a", "1")).await;
    }
    world.until_settled().await;
    assert_eq!(deduplicated(&world).await, 30, "after a stop");
    world.crash(CrashRule::ALL[0], 1).await;
    for _ in 0..30 {
        world.publish(from("/a", "1")).await;
    }
    world.publish(from("/b", "1")).await;
    world.publish(from("/a", "2")).await;
    world.until_settled().await;
    assert_eq!(deduplicated(&world).await, 30, "after a crash");
    assert_eq!(world.ledger.borrow().acknowledged().len(), 102);
    let calls = world.calls().into_iter().map(|call| call.key);
    let calls: Vec<String> = calls.map(|(source, id)| format!("{source} {id}")).collect();
    assert_eq!(calls, ["/a 1", "/b 1", "/a 2"]);
    world.check(expect![[r#"
        billing  1  200  delivered
        billing  1  200  delivered
        billing  2  200  delivered
    "#]]);
}

/// The window begins with the event that was delivered; those that were dropped don't lengthen it.
#[tokio::test(start_paused = true)]
async fn after_the_window_it_is_delivered_again() {
    let mut world = remembering().start().await;
    let mut came = Vec::new();
    for minutes in 0..25 {
        world.publish(order_placed("o-1")).await;
        world.until_settled().await;
        if world.calls().len() > came.len() {
            came.push(minutes);
        }
        if minutes % 7 == 3 {
            world.restart().await;
        }
        let next = Duration::from_secs(60 * (minutes + 1));
        world.advance(next - world.time()).await;
    }
    assert_eq!(came, [0, 10, 20]);
    world.check_grouped(expect![[r#"
        billing  200 200 200  delivered  ×3
    "#]]);
    world.settle().await;
}

/// Whoever asks for nothing gets everything, however often it comes.
#[tokio::test(start_paused = true)]
async fn it_is_off_unless_asked_for_and_each_broker_remembers_its_own() {
    let mut world = remembering()
        .broker("other", terms())
        .file(
            "copy.yaml",
            tests::want::trigger_yaml("copy", "other", "[]", &terms()),
        )
        .sink("copy", always(200))
        .start()
        .await;
    for broker in ["default", "other", "default", "other"] {
        let receipt = world.try_publish(broker, vec![order_placed("o-1")]).await;
        receipt.expect("the event is taken");
    }
    world.until_settled().await;
    assert_eq!(world.calls_of("billing", "o-1").len(), 1);
    assert_eq!(world.calls_of("copy", "o-1").len(), 2);

    // Switched off, what was remembered is forgotten, and doesn't come back.
    world.write(
        "broker-default.yaml",
        tests::want::broker_yaml("default", &terms()),
    );
    world.reload().await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    assert_eq!(world.calls_of("billing", "o-1").len(), 2);
}

/// A function that answers each retry with the same event: its reply is an event like any other.
#[tokio::test(start_paused = true)]
async fn a_reply_that_was_stored_before_is_dropped_too() {
    let world = World::new()
        .broker("default", terms().dedup_window("PT10M"))
        .trigger("first", ty("order.placed"), terms().to("function"))
        .trigger("second", ty("order.placed"), terms().to("function"))
        .trigger("billed", ty("order.billed"), terms())
        .sink("function", replies("order.billed"))
        .sink("billed", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billed  o-1'  200  delivered
        first   o-1  200+reply  delivered
        second  o-1  200+reply  delivered
    "#]]);
}

/// What was dropped isn't noted: a start long after judges it again, by what was seen when it came, though
/// the log has gone on since.
#[tokio::test(start_paused = true)]
async fn what_was_dropped_long_before_a_crash_is_dropped_again() {
    let small = |options: &mut journal::Options| {
        options.segment_bytes = 64 << 10;
        options.group_bytes_max = 16 << 10;
        options.queue_bytes_max = 64 << 10;
        options.note_bytes_max = 64 << 10;
        options.reserve_bytes = 128 << 10;
    };
    let patient = terms().backoff("linear", "PT1S").backoff_max("PT1S");
    let mut world = remembering()
        .journal(small)
        .broker("other", terms())
        .file(
            "failing.yaml",
            trigger_yaml("failing", "other", "[]", &patient),
        )
        .sink("failing", always(503))
        .start()
        .await;
    let other = world.try_publish("other", vec![order_placed("o")]).await;
    other.expect("it is taken");
    world.publish(from("/a", "1")).await;
    world.advance(100 * MS).await;
    world.publish(from("/a", "1")).await;
    let before = world.engine().journal().segments().len();
    world.advance(Duration::from_secs(2 * 3600)).await;
    let after = world.engine().journal().segments().len();
    assert!(before + 1 < after, "the log went on: {after} segments");
    world.crash(CrashRule::Everything, 1).await;
    world.advance(MS).await;
    assert_eq!(world.calls_of("billing", "1").len(), 1);
    world.sink("failing", always(200));
    world.until_settled().await;
}

/// Power fails again and again while every event is sent three times: whatever was acknowledged is
/// owed once, and the model that reads the log agrees on which.
#[tokio::test(start_paused = true)]
async fn power_that_fails_drops_what_was_seen_and_nothing_else() {
    for mut seed in Seed::all(0..12) {
        let small = |options: &mut journal::Options| {
            options.segment_bytes = 64 << 10;
            options.group_bytes_max = 16 << 10;
            options.queue_bytes_max = 64 << 10;
            options.note_bytes_max = 64 << 10;
            options.reserve_bytes = 128 << 10;
            options.bytes_max = 64 << 20;
        };
        let mut world = remembering()
            .journal(small)
            .seed(seed.number)
            .sink("billing", times(1, 503).then(200))
            .start()
            .await;
        for round in 0..5 {
            for copy in 0..3 {
                let publisher = world.publisher();
                world.spawn(async move {
                    for n in 0..120 {
                        // Each round sends half of what the one before did, once more.
                        let event = order_placed(&format!("o-{}", round * 60 + n));
                        if publisher.publish("default", vec![event]).await.is_err() {
                            return;
                        }
                        tokio::time::sleep((copy + 1) * MS).await;
                    }
                });
            }
            world
                .advance(Duration::from_micros(seed.within(0..150_000)))
                .await;
            if seed.within(0..3) == 0 {
                world.restart().await;
            } else {
                world
                    .crash(seed.of_these(&CrashRule::ALL), seed.bits())
                    .await;
            }
        }
        world.until_settled().await;
        let log = world.log();
        let first = log.events.values().filter(|event| !event.duplicate).count();
        let (owed, stored) = (log.deliveries.len(), log.events.len());
        assert_eq!(owed, first, "seed {}", seed.number);
        assert!(first < stored, "something came again: {first} of {stored}");
    }
}

/// Too many to remember: the oldest are forgotten, counted, and delivered if they come again.
#[tokio::test(start_paused = true)]
async fn beyond_the_bound_the_oldest_are_forgotten() {
    let world = remembering()
        .limits(|limits| limits.dedup_entries_max = 50)
        .start()
        .await;
    for n in (0..60).chain([59, 0]) {
        world.publish(order_placed(&format!("o-{n}"))).await;
    }
    world
        .until("settled", |report| {
            report.books.owed == 0 && report.log.routed_to == report.log.end
        })
        .await;
    assert_eq!(world.calls_of("billing", "o-59").len(), 1);
    assert_eq!(world.calls_of("billing", "o-0").len(), 2, "forgotten");
    let dedup = world.report().await.dedup;
    assert_eq!((dedup.entries, dedup.forgotten), (50, 11));
    // The ledger forgets nothing.
    world.settle_books().await;
}
