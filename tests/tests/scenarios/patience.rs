//! Who wrote `retry` gets Knative's patience: it runs while attempts fail and while the breaker is
//! open, and never while a limit or an operator defers (contract §2).

use std::time::Duration;

use broker::records::Cause;
use expect_test::expect;
use tests::{World, after, everything, hangs, order_placed, refuses_connection, terms, times};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn orders(range: std::ops::Range<usize>) -> impl Iterator<Item = event::Event> {
    range.map(|n| order_placed(&format!("o-{n}")))
}

/// Knative's defaults: retry 10, exponential, PT0.2S. All are dead 204.6 s after the breaker
/// opened, whether they were attempted or not.
#[tokio::test(start_paused = true)]
async fn behind_an_open_breaker_all_are_exhausted_after_their_patience() {
    let world = World::new()
        .trigger("billing", everything(), terms().retry(10))
        .sink("billing", refuses_connection())
        .start()
        .await;
    world.publish_all(orders(0..3_000)).await;
    world.advance(204 * SECOND).await;
    let books = world.report().await.books;
    assert_eq!(books.owed, 3_000, "none before");
    world.advance(3 * SECOND).await;
    let books = world.report().await.books;
    assert_eq!(books.dead[Cause::Exhausted as usize], 3_000, "{books:?}");
    assert!(world.calls().len() < 107 + 20, "{}", world.calls().len());
    world.check_times(
        &[1, 60, 204],
        expect![[r#"
        0-1 s           billing  refused ×100
        1-60 s          billing  refused ×5
        60-204 s        billing  refused ×2
    "#]],
    );
    world.settle().await;
}

/// What comes while the breaker is open has its whole patience from then on.
#[tokio::test(start_paused = true)]
async fn patience_begins_with_an_events_arrival_if_that_is_later() {
    let world = World::new()
        .trigger("billing", everything(), terms().retry(10))
        .sink("billing", refuses_connection())
        .start()
        .await;
    world.publish_all(orders(0..10)).await;
    world.advance(100 * SECOND).await;
    world.publish_all(orders(10..20)).await;
    world.advance(106 * SECOND).await;
    assert_eq!(world.report().await.books.owed, 10);
    world.advance(97 * SECOND).await;
    assert_eq!(world.report().await.books.owed, 10);
    world.advance(5 * SECOND).await;
    let books = world.report().await.books;
    assert_eq!(books.dead[Cause::Exhausted as usize], 20, "{books:?}");
    world.check_times(
        &[1, 100, 204],
        expect![[r#"
        0-1 s           billing  refused ×10
        1-100 s         billing  refused ×6
        100-204 s       billing  refused ×1
        204- s          billing  refused ×1
    "#]],
    );
    world.settle().await;
}

/// Nobody wrote `retry`: an outage of an hour loses nothing.
#[tokio::test(start_paused = true)]
async fn who_wrote_no_retry_outlives_an_hour() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", refuses_connection())
        .start()
        .await;
    world.publish_all(orders(0..2_000)).await;
    world.advance(3600 * SECOND).await;
    world.sink("billing", after(MS));
    world.until_settled().await;
    assert_eq!(world.report().await.books.delivered, 2_000);
    world.check_times(
        &[1, 60, 3600],
        expect![[r#"
        0-1 s           billing  refused ×100
        1-60 s          billing  refused ×5
        60-3600 s       billing  refused ×47
        3600- s         billing  200 ×2000
    "#]],
    );
}

/// Slowness alone kills nothing: 400 wait behind one place for over three times their patience.
#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_costs_nothing() {
    let world = World::new()
        .trigger("billing", everything(), terms().retry(10).max_in_flight(1))
        .sink("billing", after(2 * SECOND))
        .start()
        .await;
    world.publish_all(orders(0..400)).await;
    world.until_settled().await;
    assert!(world.time() >= 800 * SECOND);
    assert_eq!(world.report().await.books.delivered, 400);
    world.check_grouped(expect![[r#"
        billing  200  delivered  ×400
    "#]]);
}

/// The time of an attempt costs nothing either: four of 30 s each, with 1.4 s of patience.
#[tokio::test(start_paused = true)]
async fn a_sink_that_hangs_gets_all_its_attempts() {
    let world = World::new()
        .trigger("billing", everything(), terms().retry(3))
        .sink("billing", hangs())
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  timeout timeout timeout timeout  dead{exhausted}
    "#]]);
}

/// A pause stops the clock: what was owed before it is not exhausted by it.
#[tokio::test(start_paused = true)]
async fn a_pause_stops_patience() {
    let mut world = World::new()
        .trigger("billing", everything(), terms().retry(10))
        .sink("billing", refuses_connection())
        .start()
        .await;
    world.publish_all(orders(0..300)).await;
    world.advance(100 * SECOND).await;
    world.write_trigger("billing", everything(), terms().retry(10).paused());
    world.reload().await;
    world.advance(3600 * SECOND).await;
    assert_eq!(world.report().await.books.owed, 300, "while it is paused");
    world.write_trigger("billing", everything(), terms().retry(10));
    world.reload().await;
    world.advance(90 * SECOND).await;
    assert_eq!(world.report().await.books.owed, 300, "104.6 s are left");
    world.advance(60 * SECOND).await;
    let books = world.report().await.books;
    assert_eq!(books.dead[Cause::Exhausted as usize], 300, "{books:?}");
    world.check_times(
        &[1, 100, 3700, 3790],
        expect![[r#"
        0-1 s           billing  refused ×100
        1-100 s         billing  refused ×6
        3700-3790 s     billing  refused ×2
    "#]],
    );
    world.settle().await;
}

/// A breaker postpones and doesn't decide: three failures are outlived with `retry: 3`, however
/// many events fail at once.
#[tokio::test(start_paused = true)]
async fn a_patience_shorter_than_the_breakers_is_not_held_by_it() {
    let world = World::new()
        .trigger("billing", everything(), terms().retry(3))
        .sink("billing", times(3, 500).then(200))
        .start()
        .await;
    world.publish_all(orders(0..50)).await;
    world.until_settled().await;
    assert_eq!(world.report().await.books.delivered, 50);
    world.check_grouped(expect![[r#"
        billing  500 500 500 200  delivered  ×50
    "#]]);
}
