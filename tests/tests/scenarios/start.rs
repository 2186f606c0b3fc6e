//! `weft.dev/start`: a new trigger gets what the log still holds, from a point on, each event once
//! (DESIGN §3).

use std::time::Duration;

use broker::jobs;
use broker::redrive::{self, What, Which};
use broker::time::rfc3339;
use expect_test::expect;
use journal::model_disk::CrashRule;
use tests::{Seed, World, after, always, event, everything, order_placed, terms, ty};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn orders(from: usize, count: usize) -> impl Iterator<Item = event::Event> {
    (from..from + count).map(|n| order_placed(&format!("o-{n}")))
}

/// Earliest, a time, latest: what each gets of the past. The same trigger written differently later,
/// or found again by a restart, begins nothing anew.
#[tokio::test(start_paused = true)]
async fn a_new_trigger_begins_where_it_says() {
    let mut world = World::new()
        .trigger("first", everything(), terms())
        .sink("first", always(200))
        .sink("early", always(200))
        .sink("noon", always(200))
        .sink("late", always(200))
        .start()
        .await;
    world.publish(event("e-1", "red")).await;
    world.publish(event("e-2", "blue")).await;
    world.advance(HOUR).await;
    let at = world.publish(event("e-3", "red")).await;
    let stored = world.engine().journal().reader().get(at).unwrap().unwrap();
    let noon = broker::records::envelope::Envelope::read(&stored)
        .unwrap()
        .arrival;
    world.advance(30 * HOUR).await;
    world.write_trigger("early", ty("red"), terms().start("earliest"));
    world.write_trigger("noon", everything(), terms().start(&rfc3339(noon)));
    world.write_trigger("late", everything(), terms().start("latest"));
    world.reload().await;
    world.publish(event("e-4", "red")).await;
    world.until_settled().await;
    for round in 0..3 {
        match round {
            0 => world.restart().await,
            1 => world.crash(CrashRule::Nothing, 7).await,
            _ => {
                world.write_trigger("late", everything(), terms().start("earliest"));
                world.write_trigger("early", everything(), terms().start("earliest"));
                world.reload().await;
            }
        }
        world.advance(HOUR).await;
        world.until_settled().await;
    }
    world.check(expect![[r#"
        early  e-1  200  delivered
        early  e-3  200  delivered
        early  e-4  200  delivered
        first  e-1  200  delivered
        first  e-2  200  delivered
        first  e-3  200  delivered
        first  e-4  200  delivered
        late   e-4  200  delivered
        noon   e-3  200  delivered
        noon   e-4  200  delivered
    "#]]);
}

/// Under traffic, with a crash at some moment: everything before and behind its making arrives, and
/// nothing is owed twice.
#[tokio::test(start_paused = true)]
async fn a_start_under_traffic_and_crashes_owes_each_event_once() {
    for mut seed in Seed::all(0..12) {
        let mut world = World::new()
            .seed(seed.number)
            .workers(2)
            .trigger("first", everything(), terms())
            .sink("first", always(200))
            .sink("late", after(2 * MS))
            .start()
            .await;
        // More than a start owes ahead, so that a crash finds it in the middle.
        for batch in 0..5 {
            world.publish_all(orders(batch * 500, 500)).await;
        }
        let publisher = world.publisher();
        world.spawn(async move {
            for event in orders(2500, 300) {
                if publisher.publish("default", vec![event]).await.is_err() {
                    return;
                }
                tokio::time::sleep(MS).await;
            }
        });
        world
            .advance(Duration::from_millis(seed.within(1..60)))
            .await;
        world.write_trigger(
            "late",
            everything(),
            terms().start("earliest").max_in_flight(5),
        );
        world.begin_reload();
        world
            .advance(Duration::from_millis(seed.within(1..900)))
            .await;
        world
            .crash(seed.of_these(&CrashRule::ALL), seed.number)
            .await;
        world.publish_all(orders(5000, 50)).await;
        world.until_settled().await;
        world
            .until("started", |report| {
                let of = |name: &str| report.triggers.iter().find(|t| t.name.name() == name);
                let matched = |name: &str| of(name).map_or(0, |t| t.book.matched);
                matched("late") >= matched("first")
            })
            .await;
        world.until_settled().await;
        let report = world.report().await;
        let of = |name: &str| report.triggers.iter().find(|t| t.name.name() == name);
        assert_eq!(
            of("late").unwrap().book.delivered,
            of("first").unwrap().book.delivered,
            "seed {}",
            seed.number
        );
    }
}

/// More new triggers at once than jobs may be at work: the others begin when there is room.
#[tokio::test(start_paused = true)]
async fn each_of_many_new_triggers_gets_its_start() {
    let mut world = World::new()
        .trigger("first", everything(), terms())
        .sink("first", always(200))
        .start()
        .await;
    world.publish_all(orders(0, 20)).await;
    world.until_settled().await;
    // All places are taken at first, by what wakes nobody when it ends.
    let asked = || redrive::Asked {
        which: Which::All(Box::default()),
        what: What::Discard,
        dry_run: true,
    };
    let idle: Vec<_> = (0..jobs::RUNNING_MAX)
        .map(|_| world.engine().redrive(asked()).expect("there is a place").1)
        .collect();
    for n in 0..20 {
        let name = format!("late-{n}");
        world.sink(&name, always(200));
        world.write_trigger(&name, everything(), terms().start("earliest"));
    }
    world.reload().await;
    world.advance(HOUR).await;
    assert_eq!(world.report().await.books.matched, 20);
    for work in idle {
        world.run(work).await;
    }
    world
        .until("started", |report| report.books.matched == 21 * 20)
        .await;
    world.until_settled().await;
    let report = world.report().await;
    let delivered: Vec<u64> = report
        .triggers
        .iter()
        .map(|trigger| trigger.book.delivered)
        .collect();
    assert_eq!(delivered, [20; 21]);
    world.check_times(
        &[1, 10],
        expect![[r#"
        0-1 s           first   200 ×20
        10- s           late-*  200 ×400
    "#]],
    );
}
