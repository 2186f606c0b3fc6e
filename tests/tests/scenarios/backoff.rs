//! When a failed attempt is made again (contract §2).

use std::time::Duration;

use expect_test::{Expect, expect};
use tests::{Script, Terms, World, after, always, everything, order_placed, terms};

/// The waits before each retry, on these terms.
async fn waits(terms: Terms, script: Script, seed: u64) -> Vec<Duration> {
    let world = World::new()
        .seed(seed)
        .trigger("billing", everything(), terms)
        .sink("billing", script);
    let world = world.start().await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.waits_of("billing", "o-1")
}

async fn check(terms: Terms, script: Script, expect: Expect) {
    let waits = waits(terms.no_jitter(), script, 1).await;
    let shown: Vec<String> = waits.iter().map(|wait| format!("{wait:?}")).collect();
    expect.assert_eq(&shown.join(" "));
}

#[tokio::test(start_paused = true)]
async fn linear_waits_grow_by_one_delay_each() {
    let terms = terms()
        .retry(6)
        .backoff("linear", "PT2S")
        .backoff_max("PT9S");
    check(terms, always(503), expect!["2s 4s 6s 8s 9s 9s"]).await;
}

#[tokio::test(start_paused = true)]
async fn exponential_waits_double_up_to_the_cap() {
    let terms = terms()
        .retry(8)
        .backoff("exponential", "PT0.5S")
        .backoff_max("PT20S");
    check(terms, always(503), expect!["500ms 1s 2s 4s 8s 16s 20s 20s"]).await;
}

#[tokio::test(start_paused = true)]
async fn knatives_defaults_cover_their_204_seconds() {
    let waits = waits(terms().retry(10).no_jitter(), always(503), 1).await;
    assert_eq!(
        waits.iter().sum::<Duration>(),
        Duration::from_millis(204_600)
    );
}

/// Jitter only lengthens, so a schedule covers at least the outage that Knative's would.
#[tokio::test(start_paused = true)]
async fn jitter_lengthens_a_wait_by_up_to_half() {
    let mut shares = Vec::new();
    for seed in 0..60 {
        let terms = terms().retry(6).backoff("exponential", "PT1S");
        for (wait, nominal) in waits(terms, always(503), seed)
            .await
            .iter()
            .zip([1, 2, 4, 8, 16, 32])
        {
            shares.push(wait.as_secs_f64() / f64::from(nominal));
        }
    }
    assert_eq!(shares.len(), 360);
    // A timer fires up to a millisecond late.
    assert!(
        shares.iter().all(|share| (1.0..1.502).contains(share)),
        "{shares:?}"
    );
    let (low, high) = (
        shares.iter().filter(|s| **s < 1.1),
        shares.iter().filter(|s| **s > 1.4),
    );
    assert!(
        low.count() > 30 && high.count() > 30,
        "it uses all of its range"
    );
}

#[tokio::test(start_paused = true)]
async fn a_429_or_503_that_asks_for_time_gets_it() {
    for status in [429, 503] {
        let script = always(status).retry_after(Duration::from_secs(7));
        check(
            terms().retry(3).backoff("linear", "PT3S"),
            script,
            expect!["7s 7s 9s"],
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_statuses_can_not_ask_for_time() {
    let script = always(500).retry_after(Duration::from_secs(7));
    check(
        terms().retry(2).backoff("linear", "PT3S"),
        script,
        expect!["3s 6s"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_too_much_gets_the_cap() {
    let script = || always(429).retry_after(Duration::from_secs(3600));
    let linear = || terms().retry(1).backoff("linear", "PT3S");
    check(linear(), script(), expect!["300s"]).await;
    check(linear().retry_after_max("PT20S"), script(), expect!["20s"]).await;
    check(linear().retry_after_max("PT0S"), script(), expect!["3s"]).await;
}

/// The wait counts from the answer, not from the request.
#[tokio::test(start_paused = true)]
async fn a_slow_failure_is_waited_for_from_its_end() {
    let script = always(503).after(Duration::from_secs(4));
    check(
        terms().retry(2).backoff("linear", "PT1S"),
        script,
        expect!["1s 2s"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_given_up_after_its_timeout() {
    for (terms, seconds) in [(terms(), 30), (terms().timeout("PT2S"), 2)] {
        let world = World::new()
            .trigger("billing", everything(), terms)
            .sink("billing", after(Duration::from_secs(40)).times(1).then(200))
            .start()
            .await;
        world.publish(order_placed("o-1")).await;
        world.until_settled().await;
        let call = world.calls_of("billing", "o-1").remove(0);
        assert_eq!(call.answer, "timeout");
        assert_eq!((call.ended.unwrap() - call.began).as_secs(), seconds);
    }
}

/// A policy with nothing but `retry` takes the defaults, and never hot-loops.
#[tokio::test(start_paused = true)]
async fn retry_alone_takes_the_default_schedule() {
    check(
        terms().retry(4),
        always(503),
        expect!["200ms 400ms 800ms 1.6s"],
    )
    .await;
}
