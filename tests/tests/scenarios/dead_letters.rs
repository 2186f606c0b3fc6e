//! The dead letter sink: what it gets, whose it is, and what becomes of the letter when it fails
//! (contract §3, §6).

use std::fmt::Write as _;
use std::time::Duration;

use expect_test::expect;
use tests::{
    Script, World, always, everything, order_placed, refuses_connection, terms, times, ty,
};

/// What the dead letter sink is told about an event that a function answered like this.
async fn told(script: Script) -> String {
    let world = World::new()
        .journal(|options| {
            options.segment_bytes = 64 << 20;
            options.group_bytes_max = 16 << 20;
            options.queue_bytes_max = 16 << 20;
            options.note_bytes_max = 16 << 20;
            options.bytes_max = 1 << 30;
            options.reserve_bytes = 128 << 20;
        })
        .trigger(
            "billing",
            everything(),
            terms().retry(0).dead_letter("graveyard"),
        )
        .sink("billing", script)
        .sink("graveyard", always(202))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    let calls = world.calls_of("billing#dead", "o-1");
    let [call] = calls.as_slice() else {
        panic!("one letter, not {}", calls.len())
    };
    assert_eq!(
        call.event,
        world.calls_of("billing", "o-1")[0].event,
        "the event is unchanged"
    );
    let mut text = String::new();
    for (name, value) in &call.add {
        match name.as_str() {
            "knativearrivaltime" => {}
            "knativeerrordata" => {
                writeln!(text, "{name}: {} characters", value.len()).expect("text takes text")
            }
            _ => writeln!(text, "{name}: {value}").expect("text takes text"),
        }
    }
    text
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_says_where_and_how_it_failed() {
    let mut text = String::new();
    let bodies: [(&str, Script); 6] = [
        ("422 without a body", always(422)),
        ("422 with a body", always(422).body("no such customer")),
        ("500 with 768 bytes", always(500).body(vec![b'e'; 768])),
        ("500 with 769 bytes", always(500).body(vec![b'e'; 769])),
        ("500 with 10 MB", always(500).body(vec![b'e'; 10_000_000])),
        ("unreachable", refuses_connection()),
    ];
    for (name, script) in bodies {
        writeln!(text, "{name}\n{}", told(script).await).unwrap();
    }
    expect![[r#"
        422 without a body
        knativeerrordest: http://billing/?billing
        knativeerrorcode: 422

        422 with a body
        knativeerrordest: http://billing/?billing
        knativeerrorcode: 422
        knativeerrordata: 24 characters

        500 with 768 bytes
        knativeerrordest: http://billing/?billing
        knativeerrorcode: 500
        knativeerrordata: 1024 characters

        500 with 769 bytes
        knativeerrordest: http://billing/?billing
        knativeerrorcode: 500
        knativeerrordata: 1024 characters

        500 with 10 MB
        knativeerrordest: http://billing/?billing
        knativeerrorcode: 500
        knativeerrordata: 1024 characters

        unreachable
        knativeerrordest: http://billing/?billing
        knativeerrorcode: 500

    "#]]
    .assert_eq(&text);
}

#[tokio::test(start_paused = true)]
async fn the_error_data_is_the_start_of_the_body_in_base64() {
    let world = World::new()
        .trigger("billing", everything(), terms().dead_letter("graveyard"))
        .sink("billing", always(422).body("no such customer"))
        .sink("graveyard", always(202))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    let call = &world.calls_of("billing#dead", "o-1")[0];
    assert_eq!(
        call.added("knativeerrordata"),
        Some("bm8gc3VjaCBjdXN0b21lcg==")
    );
    assert_eq!(call.attempt, 1);
}

/// The broker's sink gets what triggers without one of their own fail to deliver, also when they
/// set other fields of their delivery.
#[tokio::test(start_paused = true)]
async fn the_brokers_dead_letter_sink_is_the_fallback() {
    let world = World::new()
        .broker("default", terms().dead_letter("brokers"))
        .trigger(
            "own",
            everything(),
            terms().retry(1).no_jitter().dead_letter("triggers"),
        )
        .trigger("none", everything(), terms().retry(1).no_jitter())
        .sink("own", always(503))
        .sink("none", always(503))
        .sink("triggers", always(200))
        .sink("brokers", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        none       o-1  503 503  dead{exhausted}
        none#dead  o-1  200  forwarded
        own        o-1  503 503  dead{exhausted}
        own#dead   o-1  200  forwarded
    "#]]);
    expect![[r#"
        brokers gets o-1 of http://none/?none
        triggers gets o-1 of http://own/?own"#]]
    .assert_eq(&forwarded(&world));
}

/// Who gets a dead letter of whom: sink, trigger and event, a line each.
fn forwarded(world: &World) -> String {
    let mut lines: Vec<String> = world
        .calls()
        .into_iter()
        .filter(|call| call.added("knativeerrordest").is_some())
        .map(|call| {
            format!(
                "{} gets {} of {}",
                call.sink,
                call.key.1,
                call.added("knativeerrordest").unwrap_or_default()
            )
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

fn orders() -> impl Iterator<Item = event::Event> {
    (1..=3).map(|n| order_placed(&format!("o-{n}")))
}

/// Upstream dlq-test 0: nothing is configured, no sink gets anything.
#[tokio::test(start_paused = true)]
async fn dlq_0_nothing_configured() {
    let world = World::new()
        .trigger("t1", everything(), terms())
        .sink("t1", times(1, 500).then(400))
        .start()
        .await;
    world.publish_all(orders()).await;
    world.until_settled().await;
    world.check(expect![[r#"
        t1  o-1  500 400  dead{refused}
        t1  o-2  500 400  dead{refused}
        t1  o-3  500 400  dead{refused}
    "#]]);
}

/// Upstream dlq-test 1: broker {DLS, retry 3}: fail 3 is delivered, fail 4 reaches its DLS.
#[tokio::test(start_paused = true)]
async fn dlq_1_the_brokers_sink_and_retries() {
    let world = World::new()
        .broker("default", terms().retry(3).dead_letter("dls"))
        .trigger("fail-3", everything(), terms())
        .trigger("fail-4", everything(), terms())
        .sink("fail-3", times(3, 500).then(200))
        .sink("fail-4", times(4, 500).then(200))
        .sink("dls", always(202))
        .start()
        .await;
    world.publish_all(orders()).await;
    world.until_settled().await;
    world.check(expect![[r#"
        fail-3       o-1  500 500 500 200  delivered
        fail-3       o-2  500 500 500 200  delivered
        fail-3       o-3  500 500 500 200  delivered
        fail-4       o-1  500 500 500 500  dead{exhausted}
        fail-4       o-2  500 500 500 500  dead{exhausted}
        fail-4       o-3  500 500 500 500  dead{exhausted}
        fail-4#dead  o-1  202  forwarded
        fail-4#dead  o-2  202  forwarded
        fail-4#dead  o-3  202  forwarded
    "#]]);
    expect![[r#"
        dls gets o-1 of http://fail-4/?fail-4
        dls gets o-2 of http://fail-4/?fail-4
        dls gets o-3 of http://fail-4/?fail-4"#]]
    .assert_eq(&forwarded(&world));
}

/// Upstream dlq-test 2: broker retry 0; t1 {DLS, retry 3} fails 3 times and is delivered; t2
/// {retry 1} fails twice and isn't, and no sink gets it.
#[tokio::test(start_paused = true)]
async fn dlq_2_a_trigger_without_a_sink() {
    let world = World::new()
        .broker("default", terms().retry(0))
        .trigger("t1", everything(), terms().retry(3).dead_letter("dls"))
        .trigger("t2", everything(), terms().retry(1))
        .sink("t1", times(3, 500).then(200))
        .sink("t2", times(2, 500).then(200))
        .sink("dls", always(202))
        .start()
        .await;
    world.publish_all(orders()).await;
    world.until_settled().await;
    world.check(expect![[r#"
        t1  o-1  500 500 500 200  delivered
        t1  o-2  500 500 500 200  delivered
        t1  o-3  500 500 500 200  delivered
        t2  o-1  500 500  dead{exhausted}
        t2  o-2  500 500  dead{exhausted}
        t2  o-3  500 500  dead{exhausted}
    "#]]);
    expect![[r#""#]].assert_eq(&forwarded(&world));
}

/// Upstream dlq-test 3: broker {DLS, retry 1}; t1 {DLS, retry 3} fails 3 times and is delivered;
/// t2 fails twice and reaches the broker's.
#[tokio::test(start_paused = true)]
async fn dlq_3_the_brokers_sink_for_who_has_none() {
    let world = World::new()
        .broker("default", terms().retry(1).dead_letter("brokers"))
        .trigger("t1", everything(), terms().retry(3).dead_letter("triggers"))
        .trigger("t2", everything(), terms())
        .sink("t1", times(3, 500).then(200))
        .sink("t2", times(2, 500).then(200))
        .sink("brokers", always(202))
        .sink("triggers", always(202))
        .start()
        .await;
    world.publish_all(orders()).await;
    world.until_settled().await;
    world.check(expect![[r#"
        t1       o-1  500 500 500 200  delivered
        t1       o-2  500 500 500 200  delivered
        t1       o-3  500 500 500 200  delivered
        t2       o-1  500 500  dead{exhausted}
        t2       o-2  500 500  dead{exhausted}
        t2       o-3  500 500  dead{exhausted}
        t2#dead  o-1  202  forwarded
        t2#dead  o-2  202  forwarded
        t2#dead  o-3  202  forwarded
    "#]]);
    expect![[r#"
        brokers gets o-1 of http://t2/?t2
        brokers gets o-2 of http://t2/?t2
        brokers gets o-3 of http://t2/?t2"#]]
    .assert_eq(&forwarded(&world));
}

/// Upstream dlq-test 4: as 3, but t1 fails 4 times and reaches its own.
#[tokio::test(start_paused = true)]
async fn dlq_4_each_reaches_its_own() {
    let world = World::new()
        .broker("default", terms().retry(1).dead_letter("brokers"))
        .trigger("t1", everything(), terms().retry(3).dead_letter("triggers"))
        .trigger("t2", everything(), terms())
        .sink("t1", times(4, 500).then(200))
        .sink("t2", times(2, 500).then(200))
        .sink("brokers", always(202))
        .sink("triggers", always(202))
        .start()
        .await;
    world.publish_all(orders()).await;
    world.until_settled().await;
    world.check(expect![[r#"
        t1       o-1  500 500 500 500  dead{exhausted}
        t1       o-2  500 500 500 500  dead{exhausted}
        t1       o-3  500 500 500 500  dead{exhausted}
        t1#dead  o-1  202  forwarded
        t1#dead  o-2  202  forwarded
        t1#dead  o-3  202  forwarded
        t2       o-1  500 500  dead{exhausted}
        t2       o-2  500 500  dead{exhausted}
        t2       o-3  500 500  dead{exhausted}
        t2#dead  o-1  202  forwarded
        t2#dead  o-2  202  forwarded
        t2#dead  o-3  202  forwarded
    "#]]);
    expect![[r#"
        brokers gets o-1 of http://t2/?t2
        brokers gets o-2 of http://t2/?t2
        brokers gets o-3 of http://t2/?t2
        triggers gets o-1 of http://t1/?t1
        triggers gets o-2 of http://t1/?t1
        triggers gets o-3 of http://t1/?t1"#]]
    .assert_eq(&forwarded(&world));
}

/// A sink that is down for an hour gets its letters when it is back.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_sink_that_was_down_for_an_hour_gets_its_letters() {
    let mut world = World::new()
        .trigger(
            "billing",
            ty("order.placed"),
            terms().dead_letter("graveyard"),
        )
        .sink("billing", always(400))
        .sink("graveyard", refuses_connection())
        .start()
        .await;
    world.publish_all(orders()).await;
    world.advance(Duration::from_secs(30 * 60)).await;
    world.restart().await;
    world.advance(Duration::from_secs(30 * 60)).await;
    let report = world.report().await;
    assert_eq!((report.books.owed, report.forwards.owed), (0, 3));
    world.sink("graveyard", always(202));
    world.until_settled().await;

    let report = world.report().await;
    assert_eq!((report.books.dead(), report.forwards.delivered), (3, 3));
    assert_eq!(
        world.engine().dead_letters().count(),
        3,
        "the kept copies stay"
    );
    expect![[r#"
        graveyard gets o-1 of http://billing/?billing
        graveyard gets o-2 of http://billing/?billing
        graveyard gets o-3 of http://billing/?billing"#]]
    .assert_eq(
        &forwarded(&world)
            .lines()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join("\n"),
    );
}

/// Whatever patience the trigger has: a sink that is down for more than a day gets each letter once.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_sink_that_was_down_for_a_day_gets_every_letter_once() {
    let mut world = World::new()
        .trigger(
            "patient",
            everything(),
            terms().no_jitter().dead_letter("graveyard"),
        )
        .trigger(
            "knative",
            everything(),
            terms()
                .retry(10)
                .backoff("exponential", "PT0.2S")
                .no_jitter()
                .dead_letter("graveyard"),
        )
        .sink("patient", always(400))
        .sink("knative", always(400))
        .sink("graveyard", always(503))
        .start()
        .await;
    world.publish_all(orders()).await;
    world.advance(Duration::from_secs(12 * 3600)).await;
    world.restart().await;
    world.advance(Duration::from_secs(13 * 3600)).await;
    let report = world.report().await;
    assert_eq!((report.books.owed, report.forwards.owed), (0, 6));
    world.sink("graveyard", always(202));
    world.until_settled().await;
    let report = world.report().await;
    assert_eq!((report.forwards.delivered, report.forwards.dead()), (6, 0));
    let calls = world.calls();
    for whose in ["patient#dead", "knative#dead"] {
        for id in ["o-1", "o-2", "o-3"] {
            let taken = calls
                .iter()
                .filter(|call| call.whose == whose && call.key.1 == id && call.answer == "202");
            assert_eq!(taken.count(), 1, "{whose} {id}");
        }
    }
}

/// A letter that has been kept for as long as it is to be is forwarded no more.
#[tokio::test(start_paused = true)]
async fn forwarding_ends_with_the_letter() {
    let world = World::new()
        .retention_dead_letters(Duration::from_secs(3600))
        .trigger(
            "billing",
            everything(),
            terms().no_jitter().dead_letter("graveyard"),
        )
        .sink("billing", always(400))
        .sink("graveyard", always(503))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(3500)).await;
    assert_eq!(world.report().await.forwards.owed, 1);
    world.advance(Duration::from_secs(200)).await;
    let report = world.report().await;
    assert_eq!((report.forwards.owed, report.forwards.dead()), (0, 1));
    world.until_settled().await;
    assert_eq!(world.engine().dead_letters().count(), 0);
}

/// A sink that fails for good adds no letter: the kept copy stays, and that is all.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_sink_that_fails_for_good_adds_no_letter() {
    let world = World::new()
        .trigger(
            "billing",
            everything(),
            terms().retry(1).no_jitter().dead_letter("graveyard"),
        )
        .sink("billing", always(503))
        .sink("graveyard", times(2, 503).then(400))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing       o-1  503 503  dead{exhausted}
        billing#dead  o-1  503 503 400  dead{refused}
    "#]]);
    let report = world.report().await;
    assert_eq!((report.books.dead(), report.forwards.dead()), (1, 1));
    assert_eq!(world.engine().dead_letters().count(), 1);
}

/// The sink answers the letter with an event: it isn't a reply to anything.
#[tokio::test(start_paused = true)]
async fn what_a_dead_letter_sink_answers_is_no_reply() {
    let world = World::new()
        .trigger("billing", everything(), terms().dead_letter("graveyard"))
        .sink("billing", always(400))
        .sink("graveyard", tests::replies("order.buried"))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing       o-1  400  dead{refused}
        billing#dead  o-1  200+reply  forwarded
    "#]]);
}

/// Its YAML names no sink any more: what was owed to the sink ends, the letters stay. A restart
/// says the same.
#[tokio::test(start_paused = true)]
async fn letters_are_not_owed_to_a_sink_that_is_named_no_more() {
    let mut world = World::new()
        .trigger("billing", everything(), terms().dead_letter("graveyard"))
        .sink("billing", always(400))
        .sink("graveyard", always(503))
        .start()
        .await;
    world.publish_all(orders()).await;
    world.advance(Duration::from_secs(60)).await;
    world.write_trigger("billing", everything(), terms());
    world.reload().await;
    world.until_settled().await;
    assert_eq!(world.report().await.forwards.cancelled, 3);
    world.restart().await;
    assert_eq!(world.report().await.forwards.owed, 0, "after a restart too");
    world.until_settled().await;
    assert_eq!(world.engine().dead_letters().count(), 3);
}
