//! Loss of power at any moment: nothing that was acknowledged is lost, nothing is made up.

use std::time::Duration;

use event::Event;
use journal::model_disk::{CrashRule, Operation};
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

/// Power fails again and again while events flow, mostly in the middle of something; the functions
/// remember all of it.
#[tokio::test(start_paused = true)]
async fn power_that_fails_again_and_again_loses_nothing() {
    let (mut unsynced, mut torn) = (0, 0);
    let seeds = Seed::all(0..25);
    let all = seeds.len() > 1;
    for mut seed in seeds {
        let mut world = with_functions(of_everything(seed.number)).start().await;
        for round in 0..6 {
            let publisher = world.publisher();
            world.spawn(async move {
                for n in 0..200 {
                    // Some are of several blocks, so that their frames can be torn.
                    let event = Event::build(&format!("o-{round}-{n}"), "/shop", "order.placed");
                    let event = event.data(vec![b'x'; (n % 3 * 4000).max(20)]);
                    let event = event.finish().expect("a test's event is valid");
                    if publisher.publish("default", vec![event]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(MS).await;
                }
            });
            let wait = Duration::from_micros(seed.within(0..150_000));
            match seed.within(0..4) {
                0 => {
                    world.advance(wait).await;
                    world.restart().await;
                    continue;
                }
                1 => world.advance(wait).await,
                _ => {
                    world
                        .disk()
                        .power_off_at(Operation::Sync, seed.within(0..60));
                    world.advance_while_well(wait).await;
                }
            }
            unsynced += u64::from(!world.disk().is_durable());
            let rule = seed.of_these(&CrashRule::ALL);
            world.crash(rule, seed.bits()).await;
            torn += u64::from(world.recovered.as_ref().is_some_and(|it| it.torn.is_some()));
        }
        world.until_settled().await;
    }
    assert!(!all || (unsynced > 10 && torn > 0), "{unsynced}, {torn}");
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
