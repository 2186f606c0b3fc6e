//! `Retry-After` delays the destination, not only the event that met it (GUARANTEES 5).

use std::time::Duration;

use expect_test::expect;
use tests::{World, everything, order_placed, terms, times};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn nobody_calls_a_destination_that_asked_for_seven_seconds() {
    let asks = |status| times(1, status).retry_after(7 * SECOND).then(200);
    for status in [429, 503] {
        let world = World::new()
            .trigger("billing", everything(), terms().to("shared"))
            .trigger("audit", everything(), terms().to("shared").retry(3))
            .sink("shared", asks(status))
            .start()
            .await;
        world.publish(order_placed("o-1")).await;
        world.advance(SECOND).await;
        let asked = world.calls().len();
        // Others come meanwhile, and wait too.
        world.publish(order_placed("o-2")).await;
        world.advance(5 * SECOND).await;
        assert_eq!(world.calls().len(), asked, "{status}");
        world.until_settled().await;
        let late = world.calls()[asked].began;
        assert!(late >= 7 * SECOND, "{status}: {late:?}");
        assert_eq!(world.report().await.books.delivered, 4);
        assert!(world.report().await.destinations[0].pushback >= 7 * SECOND);
        if status == 429 {
            world.check_times(
                &[1, 7],
                expect![[r#"
                0-1 s           audit    429 ×1
                0-1 s           billing  429 ×1
                7- s            audit    200 ×2 429 ×1
                7- s            billing  200 ×2 429 ×1
            "#]],
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_trigger_that_ignores_it_delays_nobody() {
    let world = World::new()
        .trigger(
            "billing",
            everything(),
            terms().retry_after_max("PT0S").no_jitter(),
        )
        .sink("billing", times(1, 503).retry_after(100 * SECOND).then(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    assert!(world.time() < SECOND);
    world.check(expect![[r#"
        billing  o-1  503 200  delivered
    "#]]);
}

/// Being pushed back is no failure of the event's: what waits for it loses no patience.
#[tokio::test(start_paused = true)]
async fn a_pushback_costs_no_patience() {
    let world = World::new()
        .trigger("billing", everything(), terms().retry(2))
        .sink("billing", times(2, 429).retry_after(299 * SECOND).then(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  429 429 200  delivered
    "#]]);
    assert!(world.time() >= 598 * SECOND);
}
