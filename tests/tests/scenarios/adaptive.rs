//! Requests under way follow a destination's latency, where its Sink asks for it (GUARANTEES 12).

use std::time::Duration;

use expect_test::expect;
use tests::{World, after, order_placed};

const SINK: &str = "apiVersion: weft.dev/v1alpha1
kind: Sink
metadata: {name: erp}
spec:
  uri: http://erp/?billing
  maxInFlight: 1000
  concurrency: {mode: adaptive}
";

const POLICY: &str = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: wide}
spec: {maxInFlight: 1000}
";

const TRIGGER: &str = "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: billing, annotations: {weft.dev/policy: wide}}
spec:
  broker: default
  subscriber: {ref: {apiVersion: weft.dev/v1alpha1, kind: Sink, name: erp}}
";

/// The limit of a destination with so many workers, a tenth of a second each, second by second.
async fn limits(workers: usize, seconds: usize) -> Vec<u32> {
    let world = World::new()
        .file("erp.yaml", SINK)
        .file("wide.yaml", POLICY)
        .file("billing.yaml", TRIGGER)
        .sink("erp", after(Duration::from_millis(100)).workers(workers))
        .start()
        .await;
    // More than it can do in that time.
    let events = workers * 10 * seconds + 1_000;
    for first in (0..events).step_by(250) {
        let batch = (first..first + 250).map(|n| order_placed(&format!("o-{n}")));
        let taken = world.try_publish("default", batch.collect()).await;
        taken.expect("the batch is taken");
    }
    let mut limits = Vec::new();
    for _ in 0..seconds {
        world.advance(Duration::from_secs(1)).await;
        limits.push(world.report().await.destinations[0].cap);
    }
    let in_air = world.sinks.in_flight_most("erp") as usize;
    assert!(in_air <= workers * 5 / 4 + 1, "{in_air} in the air");
    world.settle().await;
    limits
}

#[tokio::test(start_paused = true)]
async fn a_limit_settles_at_the_number_of_workers() {
    const SECONDS: usize = 30;
    let mut table = "workers  limits after 10 s, 15 s and so on\n".to_owned();
    for workers in [8, 20] {
        let limits = limits(workers, SECONDS).await;
        let settled = &limits[9..];
        let shown: Vec<String> = settled.iter().step_by(5).map(u32::to_string).collect();
        table += &format!("{workers:7}  {}\n", shown.join(" "));
        let allowed = workers as u32 * 3 / 4..=(workers as u32 * 5).div_ceil(4);
        assert!(
            settled.iter().all(|limit| allowed.contains(limit)),
            "{workers}: {limits:?}"
        );
    }
    expect![[r#"
        workers  limits after 10 s, 15 s and so on
              8  9 9 8 9 9
             20  18 20 22 18 20
    "#]]
    .assert_eq(&table);
}
