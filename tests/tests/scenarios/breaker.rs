//! A destination that is down is left alone, probed, and brought back (GUARANTEES 10, 13).

use std::time::Duration;

use expect_test::expect;
use tests::{World, after, always, everything, order_placed, refuses_connection, terms, ty};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn orders(range: std::ops::Range<usize>) -> impl Iterator<Item = event::Event> {
    range.map(|n| order_placed(&format!("o-{n}")))
}

/// It sees at most 7 and those in flight, then one probe at a time, ever less often.
#[tokio::test(start_paused = true)]
async fn a_dead_sink_sees_seven_and_those_in_flight_and_then_probes() {
    let world = World::new()
        .trigger("billing", everything(), terms().max_in_flight(10))
        .sink("billing", always(503).after(20 * MS))
        .start()
        .await;

    world.publish_all(orders(0..500)).await;
    let began = world.time();
    world.advance(600 * SECOND).await;

    let calls: Vec<Duration> = world
        .calls()
        .iter()
        .map(|call| call.began - began)
        .collect();
    let burst = calls.iter().filter(|at| **at < SECOND).count();
    assert!(burst <= 7 + 10, "{burst} at first");
    let probes: Vec<u64> = calls[burst..].iter().map(Duration::as_secs).collect();
    let waits = probes.windows(2).map(|pair| pair[1] - pair[0]);
    // 1 s, doubling to 60 s, each up to half as long again.
    for (wait, nominal) in waits.zip([2, 4, 8, 16, 32, 60, 60, 60]) {
        assert!(
            (nominal..=nominal * 3 / 2 + 1).contains(&wait),
            "{probes:?}"
        );
    }
    assert!((10..=14).contains(&probes.len()), "{probes:?}");
    let report = world.report().await;
    assert_eq!(report.books.owed, 500, "and nothing is lost");
    assert_eq!(report.triggers[0].lane.tally.attempts as usize, calls.len());
    world.check_times(
        &[1, 4, 16, 60, 300],
        expect![[r#"
        0-1 s           billing  503 ×10
        1-4 s           billing  503 ×2
        4-16 s          billing  503 ×1
        16-60 s         billing  503 ×2
        60-300 s        billing  503 ×3
        300- s          billing  503 ×4
    "#]],
    );
    world.settle().await;
}

/// Healed, it is found by the next probe and is back at full speed after its warm-up.
#[tokio::test(start_paused = true)]
async fn a_healed_sink_is_back_within_a_penalty_and_its_warm_up() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", refuses_connection())
        .start()
        .await;
    world.publish_all(orders(0..8_000)).await;
    world.advance(3600 * SECOND).await;
    let down = world.calls().len();
    assert!(down < 7 + 100 + 70, "{down} calls in an hour");

    world.sink("billing", after(200 * MS));
    let healed = world.time();
    world.until_settled().await;

    let calls = world.calls();
    let back = calls[down].began;
    assert!(back - healed <= 90 * SECOND, "the next probe");
    // The share of 256 places that may be used grows with time; a lane has 100 at the most.
    let in_air = |at: Duration| {
        let over =
            |call: &&tests::sinks::Call| call.began <= at && call.ended.is_some_and(|e| at < e);
        calls.iter().filter(over).count()
    };
    let shares: Vec<usize> = [1, 6, 9]
        .map(|s| in_air(back + s * SECOND + 100 * MS))
        .into();
    assert!(shares[0] <= 26 && shares[0] >= 20, "{shares:?}");
    assert!((45..=56).contains(&shares[1]), "{shares:?}");
    assert!((70..=80).contains(&shares[2]), "{shares:?}");
    // 100 in the air, 200 ms each: 500 a second at full speed.
    let took = world.time() - back;
    assert!(took <= 30 * SECOND, "{took:?}");
    assert_eq!(world.report().await.books.delivered, 8_000);
    world.check_times(
        &[1, 60, 3600],
        expect![[r#"
        0-1 s           billing  refused ×100
        1-60 s          billing  refused ×5
        60-3600 s       billing  refused ×47
        3600- s         billing  200 ×8000
    "#]],
    );
}

/// The lanes of a dead destination take turns as its probe, and each sends one real event.
#[tokio::test(start_paused = true)]
async fn lanes_take_turns_as_probes() {
    let mut builder = World::new().sink("shared", always(500));
    for name in ["a", "b", "c"] {
        builder = builder.trigger(name, everything(), terms().to("shared").max_in_flight(3));
    }
    let world = builder.start().await;
    world.publish_all(orders(0..5)).await;
    world.advance(SECOND / 2).await;
    let burst = world.calls().len();
    world.advance(600 * SECOND).await;
    let mut probes = std::collections::BTreeMap::new();
    for call in &world.calls()[burst..] {
        *probes.entry(call.whose.clone()).or_insert(0) += 1;
    }
    let (most, least) = (
        probes.values().max().unwrap(),
        probes.values().min().unwrap(),
    );
    assert!(probes.len() == 3 && most - least <= 1, "{probes:?}");
    world.check_times(
        &[1, 60, 300],
        expect![[r#"
        0-1 s           a  500 ×3
        0-1 s           b  500 ×3
        0-1 s           c  500 ×3
        1-60 s          a  500 ×2
        1-60 s          b  500 ×2
        1-60 s          c  500 ×1
        60-300 s        a  500 ×1
        60-300 s        b  500 ×1
        60-300 s        c  500 ×1
        300- s          a  500 ×1
        300- s          b  500 ×1
        300- s          c  500 ×2
    "#]],
    );
    world.settle().await;
}

/// A destination's breaker is its own: another one's deliveries notice nothing.
#[tokio::test(start_paused = true)]
async fn lanes_behind_an_open_breaker_cost_a_live_one_nothing() {
    const DEAD: usize = 300;
    let mut builder = World::new()
        .sink("dead", refuses_connection())
        .sink("live", after(MS))
        .trigger("live", everything(), terms());
    for n in 0..DEAD {
        builder = builder.trigger(&format!("d-{n}"), ty("order.placed"), terms().to("dead"));
    }
    let world = builder.start().await;
    world.publish_all(orders(0..20)).await;
    world.advance(100 * SECOND).await;
    let began = world.time();
    world.publish_all(orders(20..1_020)).await;
    world
        .until("delivered", |report| report.books.delivered == 1_020)
        .await;
    let calls = world.calls();
    let live = calls.iter().filter(|call| call.sink == "live");
    let took = live.filter_map(|call| call.ended).max().unwrap() - began;
    // 100 in the air, a millisecond each.
    assert!(took <= 30 * MS, "{took:?}");
    let dead = world
        .calls()
        .iter()
        .filter(|call| call.sink == "dead")
        .count();
    assert!(dead <= 7 + 256 + 10, "{dead}");
    world.check_times(
        &[1, 100],
        expect![[r#"
        0-1 s           d-*   refused ×256
        0-1 s           live  200 ×20
        1-100 s         d-*   refused ×6
        100- s          live  200 ×1000
    "#]],
    );
    world.settle().await;
}

/// 404, 408 and 409 speak of the event: they count neither way, and many of them stop nobody.
#[tokio::test(start_paused = true)]
async fn answers_about_an_event_open_no_breaker() {
    let world = World::new()
        .trigger("billing", everything(), terms().retry(1))
        .sink("billing", always(409))
        .start()
        .await;
    world.publish_all(orders(0..3)).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-0  409 409  dead{exhausted}
        billing  o-1  409 409  dead{exhausted}
        billing  o-2  409 409  dead{exhausted}
    "#]]);
    let destination = &world.report().await.destinations[0];
    assert_eq!(destination.breaker.trips, [0, 0, 0]);
}
