//! Pausing holds without losing: nothing is sent, everything goes on being owed, no clock runs
//! (GUARANTEES 18).

use std::time::Duration;

use broker::pausing::{PauseError, Paused, ResumeFrom, Resumed, Target};
use broker::records::envelope::Envelope;
use broker::report::Report;
use expect_test::expect;
use journal::model_disk::CrashRule;
use tests::{World, after, always, event, everything, hangs, order_placed, terms, times, ty};
use triggers::TriggerName;

const HOUR: Duration = Duration::from_secs(3600);

fn billing() -> Target {
    Target::Trigger(TriggerName::new("default", "billing"))
}

fn there(text: &str) -> Target {
    Target::Destination(text.into())
}

async fn pause(world: &World, target: &Target) -> Paused {
    let paused = world.run(world.engine().pause(target)).await;
    paused.expect("the engine takes it")
}

async fn resume(world: &World, target: &Target, from: ResumeFrom) -> Resumed {
    let resumed = world.run(world.engine().resume(target, from, false)).await;
    resumed.expect("the engine takes it")
}

fn owed(report: &Report) -> u64 {
    report.books.owed
}

/// Row 18: all delivered after resume, none sent before.
#[tokio::test(start_paused = true)]
async fn a_paused_trigger_owes_and_sends_nothing_until_it_is_resumed() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .trigger("audit", everything(), terms())
        .sink("billing", always(200))
        .sink("audit", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    let paused = pause(&world, &billing()).await;
    assert!(!paused.already);
    assert!(pause(&world, &billing()).await.already);
    for id in ["o-2", "o-3"] {
        world.publish(order_placed(id)).await;
    }
    world.advance(HOUR).await;
    world.settle().await;
    world.check(expect![[r#"
        audit    o-1  200  delivered
        audit    o-2  200  delivered
        audit    o-3  200  delivered
        billing  o-1  200  delivered
        billing  o-2  owed
        billing  o-3  owed
    "#]]);
    let report = world.report().await;
    let of = |name: &str| report.triggers.iter().find(|t| t.name.name() == name);
    let standing = of("billing").unwrap().paused.clone().unwrap();
    assert_eq!(standing.since, paused.since);
    assert!(standing.command && !standing.annotation);
    assert_eq!(of("audit").unwrap().paused, None);

    let resumed = resume(&world, &billing(), ResumeFrom::Backlog).await;
    assert_eq!((resumed.dropped, resumed.paused_for), (0, HOUR));
    world.until_settled().await;
    world.check(expect![[r#"
        audit    o-1  200  delivered
        audit    o-2  200  delivered
        audit    o-3  200  delivered
        billing  o-1  200  delivered
        billing  o-2  200  delivered
        billing  o-3  200  delivered
    "#]]);
}

/// A pause of 25 hours with a maxEventAge of 24 kills nothing: age stands still meanwhile.
#[tokio::test(start_paused = true)]
async fn a_pause_that_outlasts_the_age_limit_expires_nothing() {
    for crashes in [false, true] {
        let mut world = World::new()
            .trigger("billing", everything(), terms().no_jitter())
            .sink("billing", times(3, 503).then(200))
            .start()
            .await;
        world.publish(order_placed("o-1")).await;
        world.advance(Duration::from_millis(300)).await;
        pause(&world, &billing()).await;
        world.publish(order_placed("o-2")).await;
        world.advance(25 * HOUR).await;
        if crashes {
            world.crash(CrashRule::Subset, 3).await;
        }
        assert_eq!(owed(&world.report().await), 2);
        resume(&world, &billing(), ResumeFrom::Backlog).await;
        world.advance(HOUR).await;
        world.until_settled().await;
        world.check(expect![[r#"
            billing  o-1  503 503 503 200  delivered
            billing  o-2  503 503 503 200  delivered
        "#]]);
    }
}

const SHORT: &str = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: short}
spec: {maxEventAge: PT40S}
";

/// So many attempted ones wait that not all may go at once when they are resumed; and what was
/// in the air when the pause began has its time too.
#[tokio::test(start_paused = true)]
async fn a_pause_stops_the_age_of_what_was_attempted() {
    let world = World::new()
        .file("short.yaml", SHORT)
        .trigger(
            "billing",
            everything(),
            terms().no_jitter().policy("short").timeout("PT20S"),
        )
        .sink("billing", always(503))
        .sink_for("billing", "slow", hangs().times(1).then(200))
        .start()
        .await;
    world.publish(order_placed("slow")).await;
    world
        .publish_all((1..100).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    world.advance(Duration::from_secs(10)).await;
    pause(&world, &billing()).await;
    world.advance(Duration::from_secs(43)).await;
    world.sink("billing", after(Duration::from_millis(100)));
    resume(&world, &billing(), ResumeFrom::Backlog).await;
    world.until_settled().await;
    let books = world.report().await.books;
    assert_eq!(books.delivered, 100, "{books:?}");
}

/// Who is paused, and since when, survives restarts, crashes, and the segments it was noted in.
#[tokio::test(start_paused = true)]
async fn a_pause_survives_restarts_crashes_and_the_end_of_its_segment() {
    let mut world = World::new()
        .retention(Duration::ZERO)
        .trigger("billing", ty("order.placed"), terms().to("shared"))
        .trigger("audit", ty("order.placed"), terms())
        .sink("shared", always(200))
        .sink("audit", always(200))
        .start()
        .await;
    let since = pause(&world, &billing()).await.since;
    pause(&world, &there("http://audit/")).await;
    let start = world.engine().journal().start();
    for round in 0..3 {
        world.crash(CrashRule::Nothing, round).await;
        world.restart().await;
        let report = world.report().await;
        let paused = |name: &str| {
            let trigger = report.triggers.iter().find(|t| t.name.name() == name);
            trigger.unwrap().paused.clone().unwrap()
        };
        assert_eq!(paused("billing").since, since);
        assert_eq!(
            paused("audit").destination.as_deref(),
            Some("http://audit/")
        );
        // Nobody wants it, so that all before can go.
        world.publish(event(&format!("x-{round}"), "other")).await;
        world.advance(HOUR).await;
    }
    assert!(
        world.engine().journal().start() > start,
        "the records of the pause are gone with their segment"
    );
    world.publish(order_placed("o-1")).await;
    world.advance(HOUR).await;
    assert!(world.calls().is_empty());
    resume(&world, &billing(), ResumeFrom::Backlog).await;
    resume(&world, &there("http://audit/"), ResumeFrom::Backlog).await;
    world.until_settled().await;
    assert_eq!(world.calls().len(), 2);
    world.restart().await;
    world.publish(order_placed("o-2")).await;
    world.until_settled().await;
    assert_eq!(world.calls().len(), 4, "and so does the resumption");
    world.check_times(
        &[3600, 14400],
        expect![[r#"
        14400- s        audit    200 ×2
        14400- s        billing  200 ×2
    "#]],
    );
}

/// All lanes to a destination rest, whoever's they are, dead letters too, and one that is made
/// while it is paused.
#[tokio::test(start_paused = true)]
async fn a_paused_destination_gets_nothing_from_anybody() {
    let mut world = World::new()
        .workers(3)
        .trigger("billing", everything(), terms().to("shared"))
        .trigger(
            "audit",
            everything(),
            terms().retry(0).dead_letter("shared"),
        )
        .sink("shared", always(200))
        .sink("audit", always(400))
        .start()
        .await;
    pause(&world, &there("http://SHARED:80/?any")).await;
    world.publish(order_placed("o-1")).await;
    world.write_trigger("late", everything(), terms().to("shared"));
    world.reload().await;
    world.publish(order_placed("o-2")).await;
    world.advance(HOUR).await;
    world.check(expect![[r#"
        audit       o-1  400  dead{refused}
        audit       o-2  400  dead{refused}
        audit#dead  o-1  owed
        audit#dead  o-2  owed
        billing     o-1  owed
        billing     o-2  owed
        late        o-2  owed
    "#]]);
    resume(&world, &there("http://shared/"), ResumeFrom::Backlog).await;
    world.until_settled().await;
    world.check(expect![[r#"
        audit       o-1  400  dead{refused}
        audit       o-2  400  dead{refused}
        audit#dead  o-1  200  forwarded
        audit#dead  o-2  200  forwarded
        billing     o-1  200  delivered
        billing     o-2  200  delivered
        late        o-2  200  delivered
    "#]]);
}

/// `--from latest` and `--from TIME`: what is older ends `cancelled{dropped}`, counted before and
/// after, and the rest is delivered. Parked and waiting alike, over a crash.
#[tokio::test(start_paused = true)]
async fn resuming_from_later_than_the_backlog_drops_what_is_older() {
    let mut world = World::new()
        .trigger("billing", everything(), terms().no_jitter())
        .sink("billing", always(503))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(60)).await;
    pause(&world, &billing()).await;
    world.publish(order_placed("o-2")).await;
    world.advance(HOUR).await;
    let now = world.report().await.log.end;
    world.publish(order_placed("o-3")).await;
    let stored = world.engine().journal().reader().get(now).unwrap().unwrap();
    let noon = Envelope::read(&stored).unwrap().arrival;
    let from = ResumeFrom::At(noon);
    let billing = billing();
    let counted = world.run(world.engine().resume(&billing, from, true));
    assert_eq!(counted.await.unwrap().dropped, 2);
    assert_eq!(owed(&world.report().await), 3, "counting changes nothing");
    world.sink("billing", always(200));
    assert_eq!(resume(&world, &billing, from).await.dropped, 2);
    world.until_settled().await;

    pause(&world, &billing).await;
    world
        .publish_all((4..9).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    assert_eq!(
        resume(&world, &billing, ResumeFrom::Latest).await.dropped,
        5
    );
    world.crash(CrashRule::Nothing, 1).await;
    world.publish(order_placed("o-9")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  503 ×9  cancelled{dropped}
        billing  o-2  cancelled{dropped}
        billing  o-3  200  delivered
        billing  o-4  cancelled{dropped}
        billing  o-5  cancelled{dropped}
        billing  o-6  cancelled{dropped}
        billing  o-7  cancelled{dropped}
        billing  o-8  cancelled{dropped}
        billing  o-9  200  delivered
    "#]]);
}

/// What can't be paused or resumed is said in words that help.
#[tokio::test(start_paused = true)]
async fn mistakes_are_named() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(200))
        .start()
        .await;
    let engine = world.engine();
    let nobody = Target::Trigger(TriggerName::new("shop", "nobody"));
    let wrong: Vec<PauseError> = vec![
        world.run(engine.pause(&nobody)).await.unwrap_err(),
        world
            .run(engine.pause(&there("http://nowhere/")))
            .await
            .unwrap_err(),
        world
            .run(engine.resume(&billing(), ResumeFrom::Latest, false))
            .await
            .unwrap_err(),
    ];
    let said: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    expect![[r#"
        there is no trigger shop/nobody; `weft get triggers` lists those there are
        no trigger sends to "http://nowhere/"; `weft get destinations` lists where they send, and a Sink is named NAMESPACE/NAME
        trigger default/billing isn't paused"#]]
    .assert_eq(&said.join("\n"));
    world.settle().await;
}

/// The annotation pauses too, from the start and over restarts; a command can't resume it, and
/// says what can. What both pause goes on when neither does.
#[tokio::test(start_paused = true)]
async fn an_annotation_pauses_until_it_is_gone() {
    let mut world = World::new()
        .trigger("billing", everything(), terms().paused())
        .sink("billing", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(25 * HOUR).await;
    let target = billing();
    let refused = world.engine().resume(&target, ResumeFrom::Backlog, false);
    expect!["trigger default/billing is paused by its YAML, not by a command: remove the annotation weft.dev/paused, or make it \"false\""]
        .assert_eq(&world.run(refused).await.unwrap_err().to_string());
    for round in 0..4 {
        match round % 2 {
            0 => world.restart().await,
            _ => world.crash(CrashRule::Nothing, round).await,
        }
        world.advance(HOUR).await;
    }
    assert!(world.calls().is_empty());
    assert!(pause(&world, &billing()).await.already);
    world.write_trigger("billing", everything(), terms());
    world.reload().await;
    world.advance(HOUR).await;
    assert!(world.calls().is_empty(), "the command still holds");
    let resumed = resume(&world, &billing(), ResumeFrom::Backlog).await;
    assert!(resumed.paused_for > 29 * HOUR, "since the annotation");
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  200  delivered
    "#]]);

    world.write_trigger("billing", everything(), terms().paused());
    world.reload().await;
    world.publish(order_placed("o-2")).await;
    world.restart().await;
    world.advance(25 * HOUR).await;
    world.write_trigger("billing", everything(), terms());
    world.reload().await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  200  delivered
        billing  o-2  200  delivered
    "#]]);
}
