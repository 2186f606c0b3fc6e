//! Changes of the YAML while events flow: the filter in force at an event's offset judges it, the
//! destination and terms in force at each attempt hold for it (DESIGN §3).

use std::time::Duration;

use expect_test::expect;
use journal::model_disk::CrashRule;
use tests::{
    Seed, World, after, always, event, everything, order_placed, refuses_connection, terms, times,
    ty,
};

const MS: Duration = Duration::from_millis(1);

fn orders(count: usize) -> impl Iterator<Item = event::Event> {
    (0..count).map(|n| order_placed(&format!("o-{n}")))
}

/// Publishes an event each 300 µs of world time, of changing types, until the engine ends.
fn traffic(world: &World, prefix: &'static str) {
    let publisher = world.publisher();
    world.spawn(async move {
        for n in 0u64.. {
            let ty = ["red", "green", "blue"][(n % 3) as usize];
            let event = event(&format!("{prefix}-{n}"), ty);
            if publisher.publish("default", vec![event]).await.is_err() {
                return;
            }
            tokio::time::sleep(MS).await;
        }
    });
}

/// Each settle compares who was routed what with the naive evaluator and the triggers in force at
/// the event's own offset, so a filter that is a moment early or late fails it.
#[tokio::test(start_paused = true)]
async fn the_filter_in_force_at_its_offset_judges_an_event() {
    let colours = ["red", "green", "blue"];
    for mut seed in Seed::all(0..4) {
        let mut world = World::new()
            .seed(seed.number)
            .trigger("a", ty("red"), terms())
            .trigger("b", everything(), terms())
            .sink("a", always(200))
            .sink("b", always(200))
            .start()
            .await;
        traffic(&world, "e");
        for _ in 0..30 {
            world
                .advance(Duration::from_millis(seed.within(1..30)))
                .await;
            let colour = seed.of_these(&colours);
            world.write_trigger("a", ty(colour), terms());
            if seed.within(0..2) == 0 {
                let not = format!("[{{not: {{exact: {{type: {colour}}}}}}}]");
                world.write_trigger("b", not, terms());
            }
            world.reload().await;
        }
        world.settle().await;
        let revision = world.report().await.log.revision;
        assert!(revision > 20, "{revision} changes");
        world.restart().await;
        world.until_settled().await;
        let acknowledged = world.ledger.borrow().acknowledged().len();
        assert!(acknowledged > 200, "{acknowledged} events");
        if seed.number == 0 {
            world.check_grouped(expect![[r#"
                a  200  delivered  ×141
                b  200  delivered  ×299
            "#]]);
        }
    }
}

/// The power fails when events and a change of the filter are on disk, and who is owed what isn't yet:
/// the next start judges each event by the filter of its own time, not by the last.
#[tokio::test(start_paused = true)]
async fn after_a_crash_an_event_is_judged_by_the_filter_of_its_time() {
    let colours = ["red", "green", "blue"];
    let starts = |seed: &Seed| {
        let world = World::new().seed(seed.number);
        world.trigger("a", ty("red"), terms())
    };
    for mut seed in Seed::all(0..4) {
        let mut world = starts(&seed).sink("a", always(200)).start().await;
        world.disk().keep_history();
        for n in 0..12 {
            let events = colours.map(|colour| event(&format!("{n}-{colour}"), colour));
            world.write_trigger("a", ty(colours[(n + 1) % 3]), terms());
            // At the same time, so that a frame, or two that follow each other, hold events before and
            // behind the change.
            for (at, event) in events.into_iter().enumerate() {
                if at == 2 {
                    world.begin_reload();
                }
                let publisher = world.publisher();
                world.spawn(async move {
                    let taken = publisher.publish("default", vec![event]).await;
                    taken.expect("the event is taken");
                });
            }
            let pause = Duration::from_millis(seed.within(0..60));
            world.advance(pause).await;
        }
        world.until_settled().await;
        let changes = world.disk().changes();
        for _ in 0..60 {
            let (change, rule) = (seed.within(0..changes + 1), seed.of_these(&CrashRule::ALL));
            let mut ledger = world.ledger.borrow().clone();
            ledger.as_of_change(change);
            let again = starts(&seed)
                .disk(world.disk().crash_before(change, rule, seed.bits()))
                .ledger(ledger)
                .sinks(world.sinks.clone())
                .start()
                .await;
            again.until_settled().await;
        }
    }
}

/// At 3 a.m. the operator fixes the address, and what is parked goes there.
#[tokio::test(start_paused = true)]
async fn what_is_parked_goes_to_the_address_in_force() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", refuses_connection())
        .sink("fixed", always(200))
        .start()
        .await;
    world.publish_all(orders(3)).await;
    world.advance(Duration::from_secs(3600)).await;
    let attempts = world.calls_of("billing", "o-0").len() as u32;
    world.write_trigger("billing", everything(), terms().to("fixed"));
    world.reload().await;
    world.until_settled().await;

    let fixed: Vec<_> = world
        .calls()
        .into_iter()
        .filter(|call| call.sink == "fixed")
        .collect();
    assert_eq!(fixed.len(), 3);
    let first = fixed.iter().find(|call| call.key.1 == "o-0").unwrap();
    assert_eq!(first.attempt, attempts + 1, "the count goes on");
    world.check_times(
        &[60, 3600],
        expect![[r#"
        0-60 s          billing  refused ×10
        60-3600 s       billing  refused ×38
        3600- s         billing  200 ×3
    "#]],
    );
}

/// Terms that are tightened while a delivery is parked hold for its next attempt.
#[tokio::test(start_paused = true)]
async fn the_terms_in_force_at_an_attempt_hold_for_it() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(503))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(60)).await;
    assert_eq!(world.report().await.books.owed, 1);
    world.write_trigger("billing", everything(), terms().retry(2));
    world.reload().await;
    world.until_settled().await;
    let dead = world.report().await.books.dead();
    assert_eq!(dead, 1, "it had more than two retries behind it");
    world.check(expect![[r#"
        billing  o-1  503 ×10  dead{exhausted}
    "#]]);
}

/// Editors save by rename, checkouts remove and add: the trigger is detached, and comes back.
#[tokio::test(start_paused = true)]
async fn a_file_that_comes_back_in_time_resumes_its_trigger() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(503))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    let number = world.report().await.triggers[0].number;
    world.remove("billing.yaml");
    world.reload().await;
    world.publish(order_placed("o-2")).await;
    world.advance(Duration::from_secs(5 * 60)).await;
    world.restart().await;
    assert!(
        world.report().await.triggers[0].detached.is_some(),
        "since when is on disk"
    );
    world.advance(Duration::from_secs(4 * 60)).await;
    world.write_trigger("billing", everything(), terms());
    world.reload().await;
    world.advance(Duration::from_secs(30 * 60)).await;
    let trigger = world.report().await.triggers.remove(0);
    assert_eq!(
        (trigger.number, trigger.detached),
        (number, None),
        "it is the same one"
    );
    assert_eq!(trigger.book.owed, 2);
    world.sink("billing", always(200));
    world.until_settled().await;
    assert_eq!(world.report().await.books.delivered, 2);
    world.check(expect![[r#"
        billing  o-1  503 ×15 200  delivered
        billing  o-2  503 ×16 200  delivered
    "#]]);
}

/// A checkout took the file away, and the node was started again when it was back: the trigger is in
/// force as before, and nothing of it is cancelled ten minutes later.
#[tokio::test(start_paused = true)]
async fn a_trigger_whose_file_is_back_at_a_start_stays() {
    for crashes in [false, true] {
        let mut world = World::new()
            .trigger("billing", everything(), terms())
            .sink("billing", always(503))
            .start()
            .await;
        world.publish(order_placed("o-1")).await;
        world.remove("billing.yaml");
        world.reload().await;
        let trigger = world.report().await.triggers.remove(0);
        assert!(trigger.detached.is_some());
        world.write_trigger("billing", everything(), terms());
        match crashes {
            true => world.crash(CrashRule::Nothing, 1).await,
            false => world.restart().await,
        }
        let back = world.report().await.triggers.remove(0);
        assert_eq!((back.number, back.detached), (trigger.number, None));
        world.advance(Duration::from_secs(700)).await;
        world.sink("billing", always(200));
        world.publish(order_placed("o-2")).await;
        world.until_settled().await;
        assert_eq!(world.report().await.books.delivered, 2);
    }
}

/// The ten minutes go on over a restart.
#[tokio::test(start_paused = true)]
async fn a_detached_trigger_is_deleted_after_ten_minutes_over_a_restart() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .trigger("audit", everything(), terms())
        .sink("billing", always(503))
        .sink("audit", always(200))
        .start()
        .await;
    world.publish_all(orders(3)).await;
    world.remove("billing.yaml");
    world.reload().await;
    world.advance(Duration::from_secs(6 * 60)).await;
    world.crash(CrashRule::Subset, 1).await;
    world.advance(Duration::from_secs(4 * 60 + 2)).await;
    world.settle().await;
    let books = world.report().await.books;
    assert_eq!((books.cancelled, books.delivered, books.owed), (3, 3, 0));
    world.restart().await;
    world.settle().await;
    assert_eq!(world.report().await.books, books);
}

/// The same name after deletion is another trigger: it gets nothing from before.
#[tokio::test(start_paused = true)]
async fn a_trigger_that_is_made_again_begins_anew() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(503))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    let before = world.report().await.triggers.remove(0);
    world.remove("billing.yaml");
    world.reload().await;
    world.advance(Duration::from_secs(601)).await;
    world.write_trigger("billing", everything(), terms());
    world.reload().await;
    let after = world.report().await.triggers.remove(0);
    assert!(after.number > before.number, "a number is never used again");
    assert_ne!(after.uid, before.uid);
    world.sink("billing", always(200));
    world.publish(order_placed("o-2")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  503 ×12  cancelled{deleted}
        billing  o-2  200  delivered
    "#]]);
    world.restart().await;
    world.until_settled().await;
}

/// Traffic goes on while a trigger with backlog, parked and flying deliveries is deleted, and the
/// power fails at some moment after.
#[tokio::test(start_paused = true)]
async fn a_trigger_that_is_deleted_under_load_leaves_nothing_owed() {
    for mut seed in Seed::all(0..12) {
        let mut world = World::new()
            .seed(seed.number)
            .limits(|limits| limits.detached_for = Duration::from_millis(300))
            .trigger("gone", everything(), terms().dead_letter("graveyard"))
            .trigger("stays", everything(), terms())
            .sink("gone", times(1, 503).then(always(400).after(3 * MS)))
            .sink("stays", after(2 * MS))
            .sink("graveyard", times(2, 503).then(200))
            .start()
            .await;
        traffic(&world, "e");
        world
            .advance(Duration::from_millis(seed.within(20..200)))
            .await;
        world.remove("gone.yaml");
        world.reload().await;
        world
            .advance(Duration::from_millis(seed.within(250..700)))
            .await;
        match seed.within(0..3) {
            0 => {
                world
                    .crash(seed.of_these(&CrashRule::ALL), seed.number)
                    .await
            }
            1 => world.restart().await,
            _ => {}
        }
        world.advance(Duration::from_secs(1)).await;
        world.restart().await;
        world.until_settled().await;
        assert_eq!(world.report().await.triggers.len(), 1);
        if seed.number == 0 {
            world.check_grouped(expect![[r#"
                gone       cancelled{deleted}  ×287
                gone       503  cancelled{deleted}  ×95
                gone       503 400  dead{refused}  ×5
                gone#dead  503  cancelled{deleted}  ×5
                stays      200  delivered  ×387
            "#]]);
        }
    }
}

/// `spec.broker` is for life: on another broker it is another trigger.
#[tokio::test(start_paused = true)]
async fn a_trigger_that_changes_its_broker_is_another_one() {
    let mut world = World::new()
        .broker("second", terms())
        .trigger("billing", everything(), terms())
        .sink("billing", always(503))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    let yaml = tests::want::trigger_yaml("billing", "second", "[]", &terms());
    world.write("billing.yaml", yaml);
    world.reload().await;
    world
        .try_publish("second", vec![order_placed("o-2")])
        .await
        .unwrap();
    world.sink("billing", always(200));
    world.until_settled().await;
    let books = world.report().await.books;
    assert_eq!((books.cancelled, books.delivered), (1, 1));
}

/// A start with broken YAML keeps what the log says, and says what is broken.
#[tokio::test(start_paused = true)]
async fn a_start_with_broken_yaml_keeps_the_logged_versions() {
    let mut world = World::new()
        .trigger("billing", ty("order.placed"), terms())
        .sink("billing", always(200))
        .start()
        .await;
    world.write("billing.yaml", "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: billing}\nspec:\n  filters: [{exact: {typo order.placed}}]\n");
    world.restart().await;
    let problems = world.reload().await;
    assert!(!problems.is_empty());
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(30 * 60)).await;
    world.publish(order_placed("o-2")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  200  delivered
        billing  o-2  200  delivered
    "#]]);
    assert_eq!(world.report().await.triggers[0].detached, None);

    world.write_trigger("billing", ty("order.returned"), terms());
    assert!(world.reload().await.is_empty());
    world.publish(order_placed("o-3")).await;
    world.until_settled().await;
    assert_eq!(world.calls().len(), 2, "mended, and in force");
}

/// With two workers a new address may belong to the other one: backlog, parked and flying
/// deliveries go with their lane, and the count goes on.
#[tokio::test(start_paused = true)]
async fn a_lane_moves_to_another_worker_with_all_that_it_owes() {
    for mut seed in Seed::all(0..10) {
        let sinks = ["north", "south", "east", "west", "up", "down"];
        let mut builder = World::new().seed(seed.number).workers(3).trigger(
            "billing",
            everything(),
            terms().to("north").max_in_flight(20),
        );
        for name in sinks {
            let script = match name {
                "north" | "up" => times(1, 503).after(4 * MS).then(after(9 * MS)),
                "south" => tests::replies("blue").after(7 * MS),
                _ => after(seed.within(1..15) as u32 * MS),
            };
            builder = builder.sink(name, script);
        }
        let mut world = builder
            .trigger("answers", ty("blue"), terms())
            .sink("answers", 200)
            .start()
            .await;
        world
            .publish_all((0..300).map(|n| event(&format!("e-{n}"), "red")))
            .await;
        for _ in 0..40 {
            world
                .advance(Duration::from_millis(seed.within(0..9)))
                .await;
            let to = terms().to(seed.of_these(&sinks)).max_in_flight(20);
            world.write_trigger("billing", ty("red"), to);
            world.reload().await;
        }
        world.until_settled().await;
        let report = world.report().await;
        let lane = &report
            .triggers
            .iter()
            .find(|t| t.name.name() == "billing")
            .unwrap()
            .lane;
        assert_eq!(
            (lane.in_flight, lane.parked, lane.waiting),
            (0, 0, 0),
            "seed {}",
            seed.number
        );
    }
}

/// What tells events apart is `source` and `id` together.
#[tokio::test(start_paused = true)]
async fn the_same_id_from_two_sources_is_two_events() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(200))
        .start()
        .await;
    let from = |source: &str| event::Event::build("1", source, "t").finish().unwrap();
    world.publish_all([from("/a"), from("/b")]).await;
    world.until_settled().await;
    let mut sources: Vec<String> = world.calls().into_iter().map(|call| call.key.0).collect();
    sources.sort();
    assert_eq!(sources, ["/a", "/b"]);
}

/// No deduplication unless it is asked for: the same event twice is delivered twice.
#[tokio::test(start_paused = true)]
async fn two_triggers_with_one_destination_are_two_deliveries() {
    let world = World::new()
        .trigger("first", everything(), terms().to("shared"))
        .trigger("second", everything(), terms().to("shared"))
        .sink("shared", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        first   o-1  200  delivered
        second  o-1  200  delivered
    "#]]);
}

/// The broker `default` that a trigger's naming made keeps its number: no event falls between.
#[tokio::test(start_paused = true)]
async fn an_implied_broker_stays_over_restarts_and_the_end_of_its_file() {
    let mut world = World::new()
        .limits(|limits| limits.detached_for = Duration::from_millis(500))
        .broker("default", terms().retry(1))
        .trigger("billing", everything(), terms())
        .sink("billing", always(200))
        .start()
        .await;
    let number = world.report().await.brokers[0].number;
    world.restart().await;
    traffic(&world, "e");
    world.advance(Duration::from_millis(700)).await;
    world.remove("broker-default.yaml");
    world.reload().await;
    world.advance(Duration::from_millis(1500)).await;
    let report = world.report().await;
    assert_eq!(report.brokers[0].number, number);
    assert_eq!(report.brokers[0].detached, None, "a trigger names it");
    world.restart().await;
    world.advance(Duration::from_secs(2)).await;
    assert_eq!(world.report().await.brokers[0].number, number);
    world.until_settled().await;
}

/// A broker nobody declared is unknown, unless it is `default` and a trigger names it.
#[tokio::test(start_paused = true)]
async fn a_trigger_waits_for_its_broker() {
    let mut world = World::new()
        .file(
            "t.yaml",
            tests::want::trigger_yaml("billing", "second", "[]", &terms()),
        )
        .sink("billing", always(200))
        .start()
        .await;
    let refused = world
        .try_publish("second", vec![order_placed("o-1")])
        .await
        .unwrap_err();
    expect!["there is no broker default/second; declare it, or name it `default` and let a trigger use it"]
        .assert_eq(&refused.to_string());
    assert!(world.report().await.triggers[0].not_ready.is_some());
    world.write("b.yaml", tests::want::broker_yaml("second", &terms()));
    world.reload().await;
    world
        .try_publish("second", vec![order_placed("o-2")])
        .await
        .unwrap();
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-2  200  delivered
    "#]]);
}
