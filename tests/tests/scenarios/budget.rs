//! Failing retries are at most a share of first attempts (GUARANTEES 6).

use std::time::Duration;

use expect_test::expect;
use tests::{World, after, always, order_placed};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const NO_BREAKER: &str = "apiVersion: weft.dev/v1alpha1
kind: Sink
metadata: {name: erp}
spec: {uri: http://erp/?billing, breaker: off}
";

const BY_REFERENCE: &str = "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: billing}
spec:
  broker: default
  subscriber: {ref: {apiVersion: weft.dev/v1alpha1, kind: Sink, name: erp}}
";

/// The breaker is off and the sink answers 503 to all, at a thousand events a second: retries are
/// at most 200 and 10 a second. Healed, all that is parked drains at full speed.
#[tokio::test(start_paused = true)]
async fn retries_are_a_fifth_of_first_attempts_and_ten_a_second() {
    const RATE: usize = 1_000;
    const SECONDS: usize = 20;
    let world = World::new()
        .file("erp.yaml", NO_BREAKER)
        .file("billing.yaml", BY_REFERENCE)
        .sink("erp", always(503))
        .start()
        .await;
    let publisher = world.publisher();
    world
        .run(async {
            for tick in 0..SECONDS * 100 {
                let batch = (0..RATE / 100).map(|n| order_placed(&format!("o-{tick}-{n}")));
                publisher.publish("default", batch.collect()).await.unwrap();
                tokio::time::sleep(10 * MS).await;
            }
        })
        .await;
    let calls = world.calls();
    let of = |seconds: std::ops::Range<u64>, retry: bool| {
        let within = |call: &&tests::sinks::Call| seconds.contains(&call.began.as_secs());
        let calls = calls.iter().filter(within);
        calls.filter(|call| (call.attempt > 1) == retry).count()
    };
    let mut table = "seconds  first attempts  retries\n".to_owned();
    for from in (0..SECONDS as u64).step_by(5) {
        let (first, retries) = (of(from..from + 5, false), of(from..from + 5, true));
        table += &format!(
            "{:7}  {first:14}  {retries:7}\n",
            format!("{from}-{}", from + 5)
        );
    }
    expect![[r#"
        seconds  first attempts  retries
        0-5                5000     1147
        5-10               5000     1050
        10-15              5000     1050
        15-20              5000     1050
    "#]]
    .assert_eq(&table);
    let retries = of(0..SECONDS as u64, true);
    // The reserve of a budget's first seconds: what comes by itself in ten.
    let allowed = SECONDS * (RATE / 5 + 10) + 100;
    assert!(retries <= allowed * 105 / 100, "{retries} of {allowed}");
    assert!(retries >= allowed * 90 / 100, "{retries} of {allowed}");
    let deferred = world.report().await.destinations[0].deferred;
    assert!(deferred[broker::destination::Deferral::RetryBudget as usize] > 0);

    let owed = world.report().await.books.owed;
    assert_eq!(owed as usize, RATE * SECONDS, "nothing is lost");
    world.sink("erp", after(100 * MS));
    let healed = world.time();
    world.until_settled().await;
    let calls = world.calls();
    let after_heal: Vec<Duration> = calls
        .iter()
        .map(|call| call.began)
        .filter(|at| *at >= healed)
        .collect();
    let last = *after_heal.iter().max().unwrap();
    // 100 in the air of a tenth of a second each: 1,000 a second is full speed.
    let full = Duration::from_secs_f64(owed as f64 / 1_000.0);
    let took = last - healed;
    assert!(
        took <= full * 10 / 8 + 2 * SECOND,
        "{took:?} and not {full:?}"
    );
}
