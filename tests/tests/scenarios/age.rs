//! Events that grow too old, by their trigger's terms or by their own `expirytime` (GUARANTEES 9).

use std::time::Duration;

use broker::records::Cause;
use event::Event;
use expect_test::expect;
use tests::{World, always, everything, hangs, order_placed, refuses_connection, terms, times};

const SECOND: Duration = Duration::from_secs(1);

/// An event that is of no use at or after this second of the world's first hour.
fn until(id: &str, second: u64) -> Event {
    let time = format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60);
    let event = Event::build(id, "/shop", "order.placed").attribute("expirytime", &time);
    event.finish().expect("a test's event is valid")
}

#[tokio::test(start_paused = true)]
async fn an_event_that_expires_while_parked_is_never_delivered() {
    let world = World::new()
        .trigger(
            "billing",
            everything(),
            terms().backoff("linear", "PT40S").no_jitter(),
        )
        .sink("billing", times(1, 500).then(200))
        .start()
        .await;
    world.publish(until("late", 30)).await;
    world.publish(until("in-time", 50)).await;
    world.advance(30 * SECOND + SECOND / 10).await;
    world.check(expect![[r#"
        billing  late  500  dead{expired}
        billing  in-time  500  owed
    "#]]);
    world.until_settled().await;
    world.check(expect![[r#"
        billing  late  500  dead{expired}
        billing  in-time  500 200  delivered
    "#]]);
}

/// Nobody may send it, so nobody looks at it before an attempt: an alarm does.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_never_attempted_expires_in_time() {
    let world = World::new()
        .trigger("billing", everything(), terms().backoff_max("PT1S"))
        .sink("billing", refuses_connection())
        .start()
        .await;
    world.publish(order_placed("o-0")).await;
    // The breaker opens meanwhile, and the first event is its probe. What comes now stands at the
    // head of what is owed, or behind it.
    world.advance(20 * SECOND).await;
    world.publish(until("head", 25)).await;
    world.publish(until("behind", 28)).await;
    world.advance(9 * SECOND).await;
    let books = world.report().await.books;
    assert_eq!(books.dead[Cause::Expired as usize], 2, "{books:?}");
    let called = |id: &str| world.calls_of("billing", id).len();
    assert_eq!(called("head") + called("behind"), 0);
    world.check(expect![[r#"
        billing  o-0  refused ×9  owed
        billing  head  dead{expired}
        billing  behind  dead{expired}
    "#]]);
    world.settle().await;
}

/// A trigger that wrote no `retry` gives up after a day, wherever its events wait.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_an_open_breaker_expires_after_a_day() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", refuses_connection())
        .start()
        .await;
    world
        .publish_all((0..1_000).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    world.advance(Duration::from_secs(86_399)).await;
    assert_eq!(world.report().await.books.owed, 1_000);
    world.advance(2 * SECOND).await;
    let books = world.report().await.books;
    assert_eq!(books.dead[Cause::Expired as usize], 1_000, "{books:?}");
    world.check_times(
        &[1, 60, 3600, 86399],
        expect![[r#"
        0-1 s           billing  refused ×100
        1-60 s          billing  refused ×5
        60-3600 s       billing  refused ×47
        3600-86399 s    billing  refused ×1113
    "#]],
    );
    world.settle().await;
}

const SHORT: &str = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: short}
spec: {maxEventAge: PT5M}
";

const DAY: &str = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: day}
spec: {maxEventAge: PT24H}
";

const ONE_PLACE: &str = "apiVersion: weft.dev/v1alpha1
kind: Sink
metadata: {name: erp}
spec: {uri: http://erp/?billing, maxInFlight: 1}
";

const BY_REFERENCE: &str = "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: billing, annotations: {weft.dev/policy: day}}
spec:
  broker: default
  subscriber: {ref: {apiVersion: weft.dev/v1alpha1, kind: Sink, name: erp}}
  delivery: {timeout: PT20M}
";

/// What waits and would have expired in a day does so when its trigger's terms now say.
#[tokio::test(start_paused = true)]
async fn an_age_limit_that_is_shortened_holds_for_what_waits() {
    let mut world = World::new()
        .file("short.yaml", SHORT)
        .trigger("billing", everything(), terms())
        .sink("billing", refuses_connection())
        .start()
        .await;
    world
        .publish_all((0..200).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    world.advance(60 * SECOND).await;
    world.write_trigger("billing", everything(), terms().policy("short"));
    world.reload().await;
    world.advance(245 * SECOND).await;
    let books = world.report().await.books;
    assert_eq!(books.dead[Cause::Expired as usize], 200, "{books:?}");
    world.settle().await;
}

/// What stands at the head of what waits has a day. It goes, and what comes after it has less.
#[tokio::test(start_paused = true)]
async fn one_that_comes_to_the_head_of_what_waits_expires_in_time() {
    let world = World::new()
        .file("day.yaml", DAY)
        .file("erp.yaml", ONE_PLACE)
        .file("billing.yaml", BY_REFERENCE)
        .sink("erp", always(200).after(600 * SECOND))
        .start()
        .await;
    for id in ["o-0", "o-1"] {
        world.publish(order_placed(id)).await;
    }
    world.publish(until("near", 700)).await;
    world.advance(705 * SECOND).await;
    world.check(expect![[r#"
        billing  o-0  200  delivered
        billing  o-1  …  owed
        billing  near  dead{expired}
    "#]]);
    world.settle().await;
}

/// At or after its time, not before: what is in the air then may still be taken.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_began_in_time_may_end_late() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(200).after(10 * SECOND))
        .trigger("stuck", everything(), terms().retry(3))
        .sink("stuck", hangs())
        .start()
        .await;
    world.publish(until("o-1", 5)).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  200  delivered
        stuck    o-1  timeout  dead{expired}
    "#]]);
}

/// A time that can't be read is ignored, and counted.
#[tokio::test(start_paused = true)]
async fn an_expirytime_that_is_none_is_ignored() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", 200)
        .start()
        .await;
    let event = Event::build("o-1", "/shop", "t").attribute("expirytime", "tomorrow");
    world.publish(event.finish().unwrap()).await;
    world.until_settled().await;
    let report = world.report().await;
    assert_eq!(report.books.delivered, 1);
    assert_eq!(report.triggers[0].lane.tally.expiry_unreadable, 1);
    world.check_grouped(expect![[r#"
        billing  200  delivered  ×1
    "#]]);
}
