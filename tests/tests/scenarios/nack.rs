//! Functions that say what became of an event otherwise than by status: `Weft-Nack` (GUARANTEES 7)
//! and Dapr's statuses (GUARANTEES 4).

use std::time::Duration;

use broker::Nack;
use broker::records::Cause;
use event::Event;
use expect_test::expect;
use tests::{World, always, event, everything, order_placed, terms, times};

const SECOND: Duration = Duration::from_secs(1);
const RETRY: Nack = Nack::Retry { after: None };

#[tokio::test(start_paused = true)]
async fn fifty_nacks_and_then_a_success_are_one_attempt() {
    let world = World::new()
        .trigger(
            "billing",
            everything(),
            terms().retry(0).backoff_max("PT60S"),
        )
        .sink("billing", times(50, 200).nack(RETRY).then(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  200+nack ×50 200  delivered
    "#]]);
    let calls = world.calls_of("billing", "o-1");
    assert!(calls.iter().all(|call| call.attempt == 1));
    assert_eq!(world.report().await.triggers[0].lane.tally.nacks, 50);
    // At least a second, growing, up to the policy's longest; each up to half as long again.
    let waits = world.waits_of("billing", "o-1");
    for (wait, nominal) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        let allowed = nominal * SECOND..=nominal * SECOND * 3 / 2 + SECOND / 10;
        assert!(allowed.contains(wait), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_nack_may_ask_for_time_and_may_drop() {
    let asks = Nack::Retry {
        after: Some(100 * SECOND),
    };
    let world = World::new()
        .trigger("asks", everything(), terms())
        .trigger("drops", everything(), terms().dead_letter("graveyard"))
        .sink("asks", times(1, 503).nack(asks).then(200))
        .sink("drops", always(500).nack(Nack::Drop))
        .sink("graveyard", 200)
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        asks   o-1  503+nack 200  delivered
        drops  o-1  500+nack  cancelled{dropped}
    "#]]);
    assert!(world.waits_of("asks", "o-1")[0] >= 100 * SECOND);
    let books = world.report().await.books;
    assert_eq!((books.delivered, books.cancelled), (1, 1));
}

/// A nack burns neither attempts nor patience; where `retry` is written, a day is the end of it.
#[tokio::test(start_paused = true)]
async fn who_declines_for_a_day_gets_the_event_no_more() {
    let world = World::new()
        .trigger("billing", everything(), terms().retry(2).no_jitter())
        .sink("billing", always(503).nack(RETRY))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(24 * 3600 - 10)).await;
    assert_eq!(world.report().await.books.owed, 1);
    world.advance(Duration::from_secs(20)).await;
    let books = world.report().await.books;
    assert_eq!((books.owed, books.dead()), (0, 1));
    assert_eq!(books.dead[Cause::Expired as usize], 1);
    world.until_settled().await;
}

/// A nack is neither a failure of the destination nor of the event: no breaker, no dead letter.
#[tokio::test(start_paused = true)]
async fn nacks_open_no_breaker() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", times(1, 503).nack(RETRY).then(200))
        .start()
        .await;
    world
        .publish_all((0..50).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    world.until_settled().await;
    let report = world.report().await;
    assert_eq!(report.destinations[0].breaker.trips, [0, 0, 0]);
    assert_eq!(report.books.delivered, 50);
    world.check_grouped(expect![[r#"
        billing  503+nack 200  delivered  ×50
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn statuses_of_dapr_are_obeyed_where_they_are_asked_for() {
    let says = |body: &'static str| always(200).body(body);
    let world = World::new()
        .trigger("dapr", everything(), terms().retry(2).dapr())
        .trigger("plain", everything(), terms())
        .sink_for("dapr", "ok", says(r#"{"status":"SUCCESS"}"#))
        .sink_for("dapr", "drop", says(r#"{"status":"DROP"}"#))
        .sink_for("dapr", "never", says(r#"{"status":"RETRY"}"#))
        .sink_for("dapr", "other", says("OK"))
        .sink("dapr", 200)
        .sink("plain", says(r#"{"status":"RETRY"}"#))
        .start()
        .await;
    for id in ["ok", "drop", "never", "other"] {
        world.publish(event(id, "t")).await;
    }
    world.until_settled().await;
    world.check(expect![[r#"
        dapr   ok  200  delivered
        dapr   drop  200  cancelled{dropped}
        dapr   never  200 200 200  dead{exhausted}
        dapr   other  200  delivered
        plain  ok  200  delivered
        plain  drop  200  delivered
        plain  never  200  delivered
        plain  other  200  delivered
    "#]]);
    assert_eq!(
        world.report().await.books.dead[Cause::Exhausted as usize],
        1
    );
}

/// What was dropped has ended: the next event of its key goes.
#[tokio::test(start_paused = true)]
async fn a_drop_lets_the_events_of_its_key_go_on() {
    let policy = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: by-key}
spec: {ordering: {by: subject}}
";
    let keyed = |id: &str| {
        let event = Event::build(id, "/shop", "t").attribute("subject", "k");
        event.finish().expect("a test's event is valid")
    };
    let world = World::new()
        .file("by-key.yaml", policy)
        .trigger("billing", everything(), terms().policy("by-key"))
        .sink_for("billing", "first", times(1, 503).then(503).nack(Nack::Drop))
        .sink("billing", 200)
        .start()
        .await;
    world.publish(keyed("first")).await;
    world.publish(keyed("second")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  first  503 503+nack  cancelled{dropped}
        billing  second  200  delivered
    "#]]);
}
