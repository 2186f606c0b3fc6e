//! Loss of power at any moment: nothing that was acknowledged is lost, nothing is made up.

use std::time::Duration;

use journal::model_disk::CrashRule;
use tests::world::Builder;
use tests::{Seed, World, after, always, everything, order_placed, replies, terms, times, ty};

const MS: Duration = Duration::from_millis(1);

/// Small segments, so that power also fails while one is opened.
fn small(options: &mut journal::Options) {
    options.segment_bytes = 64 << 10;
    options.group_bytes_max = 16 << 10;
    options.queue_bytes_max = 64 << 10;
    options.note_bytes_max = 64 << 10;
    options.reserve_bytes = 128 << 10;
    options.bytes_max = 64 << 20;
}

/// One of everything: a function that replies, one that fails first, one that refuses, and a dead
/// letter sink.
fn of_everything(seed: u64) -> Builder {
    World::new()
        .journal(small)
        .seed(seed)
        .workers(2)
        .trigger("billing", ty("order.placed"), terms())
        .trigger(
            "shipping",
            ty("order.billed"),
            terms().retry(4).backoff("linear", "PT0.05S"),
        )
        .trigger(
            "fraud",
            ty("order.placed"),
            terms().dead_letter("graveyard"),
        )
        .trigger("audit", everything(), terms())
}

fn with_functions(builder: Builder) -> Builder {
    builder
        .sink("billing", replies("order.billed").after(3 * MS))
        .sink("shipping", times(2, 503).then(after(5 * MS)))
        .sink("fraud", always(422).body("no"))
        .sink("graveyard", times(1, 503).then(202))
        .sink("audit", after(MS))
}

/// Every moment of a run's life, by each rule of what the disk keeps: the run is made again from
/// what the disk would hold had the power failed just before that change to it.
#[tokio::test(start_paused = true)]
async fn no_moment_loses_what_was_acknowledged() {
    let mut points = 0;
    for mut seed in Seed::all(0..3) {
        let world = with_functions(of_everything(seed.number)).start().await;
        world.disk().keep_history();
        let publisher = world.publisher();
        world
            .run(async {
                for n in 0..40 {
                    publisher
                        .publish("default", vec![order_placed(&format!("o-{n}"))])
                        .await
                        .unwrap();
                    tokio::time::sleep(MS).await;
                }
            })
            .await;
        world.until_settled().await;
        let changes = world.disk().changes();
        for _ in 0..120 {
            let change = seed.within(0..changes + 1);
            let rule = seed.of_these(&CrashRule::ALL);
            let chance = seed.bits();
            let mut ledger = world.ledger.borrow().clone();
            ledger.as_of_change(change);
            let again = of_everything(seed.number)
                .disk(world.disk().crash_before(change, rule, chance))
                .ledger(ledger)
                .sinks(world.sinks.clone())
                .start()
                .await;
            again.until_settled().await;
            points += 1;
        }
    }
    assert!(points >= 120);
}

/// Power fails again and again while events flow; the functions remember all of it.
#[tokio::test(start_paused = true)]
async fn power_that_fails_again_and_again_loses_nothing() {
    for mut seed in Seed::all(0..25) {
        let mut world = with_functions(of_everything(seed.number)).start().await;
        for round in 0..6 {
            let publisher = world.publisher();
            world.spawn(async move {
                for n in 0..200 {
                    let event = order_placed(&format!("o-{round}-{n}"));
                    if publisher.publish("default", vec![event]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(MS).await;
                }
            });
            world
                .advance(Duration::from_micros(seed.within(0..150_000)))
                .await;
            if seed.within(0..4) == 0 {
                world.restart().await;
            } else {
                let rule = seed.of_these(&CrashRule::ALL);
                world.crash(rule, seed.bits()).await;
            }
        }
        world.until_settled().await;
    }
}

/// The same seed does the same again, so that a failure can be replayed.
#[tokio::test(start_paused = true)]
async fn a_seed_replays() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let mut world = with_functions(of_everything(7)).start().await;
        world
            .publish_all((0..60).map(|n| order_placed(&format!("o-{n}"))))
            .await;
        world.advance(40 * MS).await;
        world.crash(CrashRule::Subset, 7).await;
        world.until_settled().await;
        let calls = world.calls().into_iter();
        let calls: Vec<String> = calls
            .map(|call| {
                format!(
                    "{:?} {} {:?} {} {}",
                    call.began, call.whose, call.key, call.attempt, call.answer
                )
            })
            .collect();
        runs.push(calls.join("\n"));
    }
    assert!(runs[0] == runs[1], "two runs of one seed differ");
}
