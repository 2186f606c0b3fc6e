//! A destination is brought back to full speed in steps: after its breaker closed, and after a
//! pause (GUARANTEES 13).

use std::time::Duration;

use expect_test::{Expect, expect};
use tests::{World, after, order_placed, refuses_connection};

const SECOND: Duration = Duration::from_secs(1);

/// How many of the hundred places of a trigger's destination are in use, so long after `began`.
fn check(world: &World, began: Duration, expect: Expect) {
    let calls = world.calls();
    let mut table = "second  in the air\n".to_owned();
    for second in [0, 1, 3, 6, 10, 15, 20, 25, 29, 30, 40] {
        let at = began + second * SECOND + SECOND / 100;
        let in_air = |call: &&tests::sinks::Call| {
            call.began <= at && call.ended.is_none_or(|ended| at < ended)
        };
        table += &format!("{second:6}  {:10}\n", calls.iter().filter(in_air).count());
    }
    expect.assert_eq(&table);
}

const SINK: &str = "apiVersion: weft.dev/v1alpha1
kind: Sink
metadata: {name: erp}
spec: {uri: http://erp/?billing, maxInFlight: 100}
";

fn trigger(paused: bool) -> String {
    let annotations = match paused {
        true => "{weft.dev/paused: \"true\"}",
        false => "{}",
    };
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: billing, annotations: {annotations}}}\n\
         spec:\n  broker: default\n  subscriber: {{ref: {{apiVersion: weft.dev/v1alpha1, kind: Sink, name: erp}}}}\n"
    )
}

async fn publish(world: &World, events: usize) {
    world
        .publish_all((0..events).map(|n| order_placed(&format!("o-{n}"))))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_share_grows_after_a_breaker_closed() {
    let world = World::new()
        .file("erp.yaml", SINK)
        .file("billing.yaml", trigger(false))
        .sink("erp", refuses_connection())
        .start()
        .await;
    publish(&world, 4_000).await;
    world.advance(10 * SECOND).await;
    let down = world.calls().len();
    world.sink("erp", after(SECOND));
    world.until_settled().await;
    // The probe's answer closes it.
    let probe = world.calls()[down].clone();
    check(
        &world,
        probe.ended.expect("it was answered"),
        expect![[r#"
            second  in the air
                 0          10
                 1          10
                 3          10
                 6          20
                10          34
                15          50
                20          67
                25          84
                29          97
                30         100
                40         100
        "#]],
    );
}

#[tokio::test(start_paused = true)]
async fn a_share_grows_after_a_pause() {
    let mut world = World::new()
        .file("erp.yaml", SINK)
        .file("billing.yaml", trigger(true))
        .sink("erp", after(SECOND))
        .start()
        .await;
    publish(&world, 4_000).await;
    world.advance(10 * SECOND).await;
    assert_eq!(world.calls().len(), 0);
    world.write("billing.yaml", trigger(false));
    world.reload().await;
    world.until_settled().await;
    let resumed = world.calls()[0].began;
    check(
        &world,
        resumed,
        expect![[r#"
        second  in the air
             0          10
             1          10
             3          10
             6          20
            10          34
            15          50
            20          67
            25          84
            29          97
            30         100
            40         100
    "#]],
    );
}
