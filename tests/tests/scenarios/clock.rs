//! A wall clock that steps, an hour or fifteen days, ahead or back: for ten minutes nothing expires
//! or is deleted, and no retry comes early (issue 4, DESIGN §4).

use std::time::Duration;

use broker::records::Cause;
use expect_test::expect;
use tests::{World, always, everything, order_placed, refuses_connection, terms, times};

const SECOND: Duration = Duration::from_secs(1);
const STEPS: [i64; 4] = [3_600, -3_600, 15 * 86_400, -15 * 86_400];

#[tokio::test(start_paused = true)]
async fn nothing_expires_for_ten_minutes_after_a_step() {
    for step in STEPS {
        let mut world = World::new()
            .trigger("parked", everything(), terms().policy("short"))
            .trigger("waiting", everything(), terms().policy("short"))
            .file("short.yaml", POLICY)
            .sink("parked", always(404))
            .sink("waiting", refuses_connection())
            .start()
            .await;
        for n in 0..100 {
            world.publish(order_placed(&format!("o-{n}"))).await;
        }
        world.advance(10 * SECOND).await;
        world.step_clock(step);
        world.advance(599 * SECOND).await;
        let books = world.report().await.books;
        assert_eq!(books.owed, 200, "{step}: {books:?}");
        // Later what is older than five minutes by the wall clock goes: what is parked, when it is
        // due next, after 450 s at the most.
        world.advance(460 * SECOND).await;
        let books = world.report().await.books;
        let expired = books.dead[Cause::Expired as usize];
        match step > 0 {
            true => assert_eq!(expired, 200, "{step}: {books:?}"),
            false => assert_eq!(books.owed, 200, "{step}: it is young again"),
        }
        world.settle().await;
    }
}

const POLICY: &str = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: short}
spec: {maxEventAge: PT5M}
";

#[tokio::test(start_paused = true)]
async fn no_retry_comes_early_or_late() {
    for step in STEPS {
        let slow = terms().retry(3).backoff("linear", "PT100S").no_jitter();
        let mut world = World::new()
            .trigger("billing", everything(), slow)
            .sink("billing", times(2, 503).then(200))
            .start()
            .await;
        world.publish(order_placed("o-1")).await;
        world.advance(10 * SECOND).await;
        world.step_clock(step);
        world.until_settled().await;
        world.check(expect![[r#"
            billing  o-1  503 503 200  delivered
        "#]]);
        let waits: Vec<u64> = world
            .waits_of("billing", "o-1")
            .iter()
            .map(Duration::as_secs)
            .collect();
        assert_eq!(waits, [100, 200], "{step}");
    }
}

/// What is due when the node starts again is made no earlier than it was told, whatever the clock
/// says by then.
#[tokio::test(start_paused = true)]
async fn a_step_before_a_restart_makes_no_retry_wait_longer_than_it_was_told() {
    let slow = terms().retry(3).backoff("linear", "PT100S").no_jitter();
    let mut world = World::new()
        .trigger("billing", everything(), slow)
        .sink("billing", times(1, 503).then(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(10 * SECOND).await;
    world.step_clock(-3_600);
    world.restart().await;
    world.until_settled().await;
    let wait = world.waits_of("billing", "o-1")[0];
    assert!((100 * SECOND..=111 * SECOND).contains(&wait), "{wait:?}");
}

/// A trigger whose file is gone stays for its ten minutes, and those don't pass by a step.
#[tokio::test(start_paused = true)]
async fn a_detached_trigger_is_not_deleted_by_a_step() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(404))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.remove("billing.yaml");
    world.reload().await;
    world.advance(10 * SECOND).await;
    world.step_clock(86_400);
    world.advance(590 * SECOND).await;
    assert_eq!(world.report().await.books.owed, 1);
    world.advance(20 * SECOND).await;
    let books = world.report().await.books;
    assert_eq!((books.owed, books.cancelled), (0, 1));
    world.settle().await;
}
