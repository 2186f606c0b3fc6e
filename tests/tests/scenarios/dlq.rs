//! The delivery cases of Knative's conformance suite (contract §6, dlq-test 0-4), with fifty events
//! at once: `failN` is a subscriber that fails each event N times. A breaker must decide none of
//! them.

use expect_test::{Expect, expect};
use tests::{
    Script, Terms, World, always, everything, order_placed, refuses_connection, terms, times,
};

const EVENTS: usize = 50;

/// How a subscriber fails.
#[derive(Debug, Clone, Copy)]
enum Fails {
    With(u16),
    Refusing,
}

const ALL: [Fails; 4] = [
    Fails::With(500),
    Fails::With(503),
    Fails::With(409),
    Fails::Refusing,
];

impl Fails {
    /// How a table shows it.
    fn word(self) -> &'static str {
        match self {
            Fails::With(500) => "500",
            Fails::With(503) => "503",
            Fails::With(_) => "409",
            Fails::Refusing => "refused",
        }
    }

    fn times(self, count: u32) -> Script {
        match self {
            Fails::With(status) => times(count, status).then(200),
            Fails::Refusing => refuses_connection().times(count).then(200),
        }
    }
}

/// Runs a case with each way of failing, compares what came of each trigger's fifty, and looks at
/// whose dead letters went to which sink.
async fn check(
    broker: Terms,
    triggers: &[(&str, Terms, u32)],
    went_to: &[(&str, &str)],
    expected: Expect,
) {
    for fails in ALL {
        let mut builder = World::new().broker("default", broker.clone());
        for (name, terms, failures) in triggers {
            builder = builder
                .trigger(name, everything(), terms.clone())
                .sink(name, fails.times(*failures));
        }
        let world = builder
            .sink("broker-dls", always(200))
            .sink("trigger-dls", always(200))
            .start()
            .await;
        world
            .publish_all((0..EVENTS).map(|n| order_placed(&format!("o-{n}"))))
            .await;
        world.until_settled().await;

        let table = world.grouped();
        // The table is alike for all ways of failing but for the word of the failure.
        let table = table.replace(fails.word(), "failed");
        expected.assert_eq(&table);
        for (name, sink) in went_to {
            let forwarded = format!("{name}#dead");
            let calls = world.calls();
            let at = calls.iter().filter(|call| call.whose == forwarded);
            assert!(at.clone().all(|call| call.sink == *sink), "{forwarded}");
            assert_eq!(at.count(), EVENTS, "{forwarded}");
        }
        let to_sinks = world
            .calls()
            .iter()
            .filter(|call| call.sink.ends_with("-dls"))
            .count();
        assert_eq!(to_sinks, EVENTS * went_to.len());
    }
}

#[tokio::test(start_paused = true)]
async fn dlq_test_0_nothing_is_configured() {
    check(
        terms(),
        &[("t1", terms(), 2)],
        &[],
        expect![[r#"
            t1  failed failed 200  delivered  ×50
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn dlq_test_1_the_brokers_retry_and_sink() {
    check(
        terms().retry(3).dead_letter("broker-dls"),
        &[("t1", terms(), 3), ("t2", terms(), 4)],
        &[("t2", "broker-dls")],
        expect![[r#"
            t1       failed failed failed 200  delivered  ×50
            t2       failed failed failed failed  dead{exhausted}  ×50
            t2#dead  200  forwarded  ×50
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn dlq_test_2_triggers_retries_and_one_sink() {
    check(
        terms().retry(0),
        &[
            ("t1", terms().retry(3).dead_letter("trigger-dls"), 3),
            ("t2", terms().retry(1), 2),
        ],
        &[],
        expect![[r#"
            t1  failed failed failed 200  delivered  ×50
            t2  failed failed  dead{exhausted}  ×50
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn dlq_test_3_what_the_trigger_does_not_write_is_the_brokers() {
    check(
        terms().retry(1).dead_letter("broker-dls"),
        &[
            ("t1", terms().retry(3).dead_letter("trigger-dls"), 3),
            ("t2", terms(), 2),
        ],
        &[("t2", "broker-dls")],
        expect![[r#"
            t1       failed failed failed 200  delivered  ×50
            t2       failed failed  dead{exhausted}  ×50
            t2#dead  200  forwarded  ×50
        "#]],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn dlq_test_4_each_goes_to_its_own_sink() {
    check(
        terms().retry(1).dead_letter("broker-dls"),
        &[
            ("t1", terms().retry(3).dead_letter("trigger-dls"), 4),
            ("t2", terms(), 2),
        ],
        &[("t1", "trigger-dls"), ("t2", "broker-dls")],
        expect![[r#"
            t1       failed failed failed failed  dead{exhausted}  ×50
            t1#dead  200  forwarded  ×50
            t2       failed failed  dead{exhausted}  ×50
            t2#dead  200  forwarded  ×50
        "#]],
    )
    .await;
}
