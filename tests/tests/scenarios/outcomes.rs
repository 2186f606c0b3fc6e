//! Every way in which a delivery can end, and that the books balance at each.

use std::time::Duration;

use broker::records::Cause;
use expect_test::expect;
use tests::{World, always, everything, order_placed, replies, terms, times, ty};

#[tokio::test(start_paused = true)]
async fn an_event_that_its_function_takes_is_delivered() {
    let world = World::new()
        .trigger("billing", ty("order.placed"), terms())
        .trigger("returns", ty("order.returned"), terms())
        .sink("billing", times(2, 503).then(200))
        .sink("returns", 200)
        .start()
        .await;

    world.publish(order_placed("o-1")).await;
    world.until_settled().await;

    world.check(expect![[r#"
        billing  o-1  503 503 200  delivered
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn an_event_nobody_answers_for_ends_at_the_dead_letter_sink() {
    let world = World::new()
        .trigger(
            "billing",
            ty("order.placed"),
            terms().attempts(3).dead_letter("graveyard"),
        )
        .sink("billing", always(503))
        .sink("graveyard", always(202))
        .start()
        .await;

    world.publish(order_placed("o-1")).await;
    world.until_settled().await;

    world.check(expect![[r#"
        billing       o-1  503 503 503  dead{exhausted}
        billing#dead  o-1  202  forwarded
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_its_function_refuses_is_not_offered_again() {
    let world = World::new()
        .trigger("billing", ty("order.placed"), terms())
        .sink("billing", times(1, 400).then(200))
        .start()
        .await;

    world.publish(order_placed("o-1")).await;
    world.until_settled().await;

    world.check(expect![[r#"
        billing  o-1  400  dead{refused}
    "#]]);
}

/// Nobody wrote `retry`: it is tried until PT24H, and not beyond.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_for_a_day_expires() {
    let world = World::new()
        .trigger("billing", ty("order.placed"), terms())
        .sink("billing", always(503))
        .start()
        .await;
    let day = Duration::from_secs(24 * 60 * 60);

    world.publish(order_placed("o-1")).await;
    let stored = world.time();
    world.advance(day - Duration::from_secs(1)).await;
    assert_eq!(
        world.report().await.books.owed,
        1,
        "it is owed until the day is over"
    );
    world.until_settled().await;

    let dead = world.report().await.books.dead;
    assert_eq!(dead[Cause::Expired as usize], 1);
    let calls = world.calls_of("billing", "o-1");
    assert!(
        calls.iter().all(|call| call.began - stored <= day),
        "none comes after the day"
    );
    // Exponential from PT0.2S to PT5M takes 12 attempts; then one each 5 to 7.5 minutes.
    let attempts = calls.len();
    assert!(
        (12 + 191..=12 + 288).contains(&attempts),
        "{attempts} attempts"
    );
    assert!(
        world
            .waits_of("billing", "o-1")
            .iter()
            .all(|wait| *wait <= Duration::from_secs(451))
    );
    let numbers: Vec<u32> = calls.iter().map(|call| call.attempt).collect();
    assert_eq!(numbers, (1..=attempts as u32).collect::<Vec<_>>());
    world.check(expect![[r#"
        billing  o-1  503 ×243  dead{expired}
    "#]]);
}

/// A trigger that answers itself is stopped at 32 hops (contract §7), and the last reply kept.
#[tokio::test(start_paused = true)]
async fn a_trigger_that_answers_itself_is_stopped_at_the_hop_limit() {
    let world = World::new()
        .trigger("echo", everything(), terms())
        .sink("echo", replies("echoed"))
        .start()
        .await;

    world.publish(order_placed("o")).await;
    world.until_settled().await;

    let books = world.report().await.books;
    assert_eq!(
        (books.matched, books.delivered),
        (33, 32),
        "the event and 32 replies"
    );
    assert_eq!(books.dead[Cause::Loop as usize], 1);
    let log = world.log();
    let hops: Vec<u8> = log.events.values().map(|event| event.hops).collect();
    assert_eq!(hops, (0..=32).collect::<Vec<u8>>());
    let letter = log.letters.values().next().unwrap();
    let reply = event::Event::from_stored(letter.reply.clone().unwrap()).unwrap();
    assert_eq!(reply.as_ref().id(), format!("o{}", "'".repeat(33)));
    world.check_grouped(expect![[r#"
        echo  200+reply  dead{loop}  ×1
        echo  200+reply  delivered  ×32
    "#]]);
}

/// Its broker would refuse the reply for good, so the function isn't called again for it.
#[tokio::test(start_paused = true)]
async fn a_reply_that_is_too_large_ends_the_delivery_and_is_kept() {
    let world = World::new()
        .journal(|options| {
            options.segment_bytes = 16 << 20;
            options.group_bytes_max = 4 << 20;
            options.queue_bytes_max = 4 << 20;
            options.note_bytes_max = 4 << 20;
        })
        .trigger("billing", ty("order.placed"), terms())
        .sink(
            "billing",
            replies("order.billed").body(vec![b'x'; (1 << 20) + 1]),
        )
        .start()
        .await;

    world.publish(order_placed("o-1")).await;
    world.until_settled().await;

    world.check(expect![[r#"
        billing  o-1  200+reply  dead{reply}
    "#]]);
    let log = world.log();
    let letter = log.letters.values().next().unwrap();
    let reply = event::Event::from_stored(letter.reply.clone().unwrap()).unwrap();
    assert_eq!(reply.as_ref().data_bytes().len(), (1 << 20) + 1);
}

/// So is one that is too large to be read whole: what is kept says so.
#[tokio::test(start_paused = true)]
async fn a_reply_that_is_too_large_to_read_is_not_asked_for_again() {
    let world = World::new()
        .trigger("billing", ty("order.placed"), terms())
        .sink(
            "billing",
            replies("order.billed").body(vec![b'x'; (4 << 20) + 1]),
        )
        .start()
        .await;

    world.publish(order_placed("o-1")).await;
    world.until_settled().await;

    world.check(expect![[r#"
        billing  o-1  200+reply  dead{reply}
    "#]]);
    let log = world.log();
    let letter = log.letters.values().next().unwrap();
    assert_eq!(
        &*letter.attempts[0].text,
        "the reply is larger than 4194304 bytes"
    );
}

/// Contract §7: another Knative broker's `knativebrokerttl` counts, and isn't sent on.
#[tokio::test(start_paused = true)]
async fn hops_that_another_broker_counted_count_here() {
    let world = World::new()
        .trigger("echo", everything(), terms())
        .sink("echo", replies("echoed"))
        .start()
        .await;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "o"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-knativebrokerttl", "2"),
    ];
    let headers = headers.map(|(name, value)| {
        (
            http::HeaderName::from_static(name),
            http::HeaderValue::from_static(value),
        )
    });
    let headers = headers.into_iter().collect();
    let batch = event::http::decode(&headers, "".into(), &event::http::Limits::default());
    world
        .try_publish("default", batch.unwrap().events)
        .await
        .unwrap();
    world.until_settled().await;

    world.check(expect![[r#"
        echo  o  200+reply  delivered
        echo  o'  200+reply  delivered
        echo  o''  200+reply  dead{loop}
    "#]]);
    let log = world.log();
    let hops: Vec<u8> = log.events.values().map(|event| event.hops).collect();
    assert_eq!(hops, [30, 31, 32]);
    for call in world.calls() {
        assert_eq!(call.event.as_ref().attribute("knativebrokerttl"), None);
    }
}

/// Its file is gone: for PT10M the trigger is detached and its backlog waits, then it is deleted.
#[tokio::test(start_paused = true)]
async fn what_is_owed_to_a_deleted_trigger_is_cancelled() {
    let mut world = World::new()
        .trigger("billing", ty("order.placed"), terms())
        .trigger("audit", everything(), terms())
        .sink("billing", always(503))
        .sink("audit", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(60)).await;

    world.remove("billing.yaml");
    world.reload().await;
    world.publish(order_placed("o-2")).await;
    world.advance(Duration::from_secs(9 * 60 + 55)).await;
    let report = world.report().await;
    assert_eq!(
        report.books.owed, 2,
        "a detached trigger matches, and its backlog waits"
    );
    assert!(
        report
            .triggers
            .iter()
            .any(|trigger| trigger.detached.is_some())
    );
    world.advance(Duration::from_secs(6)).await;
    world.settle().await;

    let books = world.report().await.books;
    assert_eq!((books.owed, books.cancelled, books.delivered), (0, 2, 2));
    let calls = world.calls_of("billing", "o-1").len();
    world.advance(Duration::from_secs(60 * 60)).await;
    assert_eq!(
        world.calls_of("billing", "o-1").len(),
        calls,
        "and it isn't called any more"
    );
    world.check(expect![[r#"
        audit    o-1  200  delivered
        audit    o-2  200  delivered
        billing  o-1  503 ×11  cancelled{deleted}
        billing  o-2  503 ×7  cancelled{deleted}
    "#]]);
    world.settle().await;
}

/// 24 hours of answers that all differ make a long history; it is kept, within bounds.
#[tokio::test(start_paused = true)]
async fn a_history_of_thousands_of_different_answers_still_becomes_a_dead_letter() {
    let world = World::new()
        .trigger(
            "billing",
            ty("order.placed"),
            terms()
                .retry(3000)
                .backoff("linear", "PT0.01S")
                .backoff_max("PT0.01S"),
        )
        .sink("billing", always(500).body("x".repeat(600)).numbered())
        .start()
        .await;

    world.publish(order_placed("o-1")).await;
    world.until_settled().await;

    world.check(expect![[r#"
        billing  o-1  500 ×3001  dead{exhausted}
    "#]]);
}
