//! One slow function can't starve others: caps a trigger, a destination and a worker, and turns.

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::expect;
use tests::{World, after, always, everything, hangs, order_placed, terms};

const MS: Duration = Duration::from_millis(1);

fn orders(count: usize) -> impl Iterator<Item = event::Event> {
    (0..count).map(|n| order_placed(&format!("o-{n}")))
}

#[tokio::test(start_paused = true)]
async fn a_trigger_has_100_requests_in_the_air_at_the_most() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .trigger("audit", everything(), terms().max_in_flight(7))
        .sink("billing", after(10 * MS))
        .sink("audit", after(10 * MS))
        .start()
        .await;
    world.publish_all(orders(500)).await;
    world.until_settled().await;
    assert_eq!(world.sinks.in_flight_most("billing"), 100);
    assert_eq!(world.sinks.in_flight_most("audit"), 7);
    world.check_grouped(expect![[r#"
        audit    200  delivered  ×500
        billing  200  delivered  ×500
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn a_destination_has_256_requests_in_the_air_at_the_most() {
    let mut builder = World::new()
        .sink("shared", after(10 * MS))
        .sink("other", after(10 * MS));
    for n in 0..5 {
        builder = builder.trigger(&format!("t{n}"), everything(), terms().to("shared"));
    }
    let world = builder
        .trigger("other", everything(), terms())
        .start()
        .await;
    world.publish_all(orders(300)).await;
    world.until_settled().await;
    assert_eq!(world.sinks.in_flight_most("shared"), 256);
    assert_eq!(world.sinks.in_flight_most("other"), 100);
    world.check_grouped(expect![[r#"
        other  200  delivered  ×300
        t0     200  delivered  ×300
        t1     200  delivered  ×300
        t2     200  delivered  ×300
        t3     200  delivered  ×300
        t4     200  delivered  ×300
    "#]]);
}

/// How long 99 of 100 deliveries of nine good functions took from being published, with a hung
/// one beside them or without.
async fn good_p99(hung: bool) -> Duration {
    let good: Vec<String> = (1..10).map(|n| format!("good-{n}")).collect();
    let mut builder = World::new();
    if hung {
        builder = builder
            .trigger("hung", everything(), terms())
            .sink("hung", hangs());
    }
    for name in &good {
        builder = builder
            .trigger(name, everything(), terms())
            .sink(name, after(5 * MS));
    }
    let world = builder.start().await;
    world.publish_all(orders(1000)).await;
    let published = world.time();
    world
        .until("delivered by the good ones", |report| {
            report.books.delivered == 9 * 1000
        })
        .await;
    assert_eq!(world.sinks.in_flight("hung"), if hung { 100 } else { 0 });
    let calls = world.calls();
    let good = calls.iter().filter(|call| call.sink != "hung");
    let mut took: Vec<Duration> = good
        .filter_map(|call| Some(call.ended?.saturating_sub(published)))
        .collect();
    took.sort();
    world.settle().await;
    took[took.len() * 99 / 100]
}

/// GUARANTEES 11.
#[tokio::test(start_paused = true)]
async fn one_hung_function_does_not_delay_nine_good_ones() {
    let (alone, beside) = (good_p99(false).await, good_p99(true).await);
    // 10 rounds of 100 in the air, 5 ms each.
    assert!(alone < 200 * MS, "{alone:?}");
    assert!(beside <= alone * 11 / 10, "{beside:?} and {alone:?} alone");
}

/// With room for three requests, each of three ready lanes has one in the air, however many one
/// of them owes.
#[tokio::test(start_paused = true)]
async fn ready_lanes_get_one_place_each_before_any_gets_its_second() {
    let mut builder = World::new().limits(|limits| limits.in_flight_max = 3);
    for name in ["a", "b", "c"] {
        builder = builder
            .trigger(name, tests::ty("order.placed"), terms())
            .sink(name, after(100 * MS));
    }
    let world = builder
        .trigger("rich", tests::ty("rich"), terms())
        .sink("rich", after(100 * MS));
    let world = world.start().await;
    world
        .publish_all((0..300).map(|n| tests::event(&format!("r-{n}"), "rich")))
        .await;
    world.publish_all(orders(20)).await;
    world.until_settled().await;

    // Four lanes share three places: each waits for two rounds of 100 ms at the most.
    let mut turns: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for call in world
        .calls()
        .into_iter()
        .filter(|call| call.key.1.starts_with("o-"))
    {
        turns.entry(call.whose).or_default().push(call.began);
    }
    for (name, times) in turns {
        let longest = times
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap();
        assert!(
            longest <= 220 * MS,
            "{name} waited {longest:?} for its turn: {times:?}"
        );
    }
}

/// A trigger whose function is down parks what it tried, and doesn't take the place of others.
#[tokio::test(start_paused = true)]
async fn parked_deliveries_take_no_place() {
    let world = World::new()
        .limits(|limits| limits.in_flight_max = 10)
        .trigger("down", everything(), terms())
        .trigger("up", everything(), terms())
        .sink("down", always(503))
        .sink("up", after(MS))
        .start()
        .await;
    world.publish_all(orders(1000)).await;
    let published = world.time();
    world
        .until("delivered", |report| report.books.delivered == 1000)
        .await;
    let took = world.time() - published;
    assert!(took < Duration::from_secs(2), "{took:?}");
    world.settle().await;
}

/// Past the bound on parked deliveries a lane only retries; what it hasn't tried stays owed.
#[tokio::test(start_paused = true)]
async fn a_lane_at_its_share_of_parked_deliveries_only_retries() {
    let world = World::new()
        .limits(|limits| limits.parked_max = 50)
        .trigger("down", everything(), terms())
        // A status that speaks of the event, so that the breaker doesn't hold the others back.
        .sink("down", always(404))
        .start()
        .await;
    world.publish_all(orders(400)).await;
    world.advance(Duration::from_secs(60)).await;
    let report = world.report().await;
    let lane = &report.triggers[0].lane;
    // The bound is looked at before a turn of up to 16.
    assert!(
        (50..=50 + 100).contains(&(lane.parked + lane.in_flight)),
        "{lane:?}"
    );
    assert_eq!(lane.waiting + u64::from(lane.parked + lane.in_flight), 400);
    world.sink("down", always(200));
    world.until_settled().await;
    assert_eq!(world.report().await.books.delivered, 400);
}
