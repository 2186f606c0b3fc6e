//! A delivery that ends the process while it is handled is set aside, and nothing else is
//! (GUARANTEES 19).

use std::time::Duration;

use broker::Nack;
use broker::guarded::Caught;
use broker::records::{Cause, FORWARD, ROUTED, routed};
use broker::view::VIEW_FILE;
use expect_test::expect;
use journal::Disk;
use journal::model_disk::CrashRule;
use tests::script::panics;
use tests::world::Builder;
use tests::{Seed, World, after, always, everything, order_placed, terms, times, ty};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Two triggers with functions that take 20 ms, and two workers.
fn two_triggers() -> Builder {
    World::new()
        .workers(2)
        .trigger("billing", everything(), terms())
        .trigger("audit", everything(), terms())
        .sink("billing", after(20 * MS))
        .sink("audit", after(20 * MS))
}

/// Loses power whenever the deadly delivery is sent, until it isn't any more; how often that was.
async fn strikes(world: &mut World) -> u64 {
    let mut strikes = 0;
    while world
        .until_struck(SECOND, CrashRule::Nothing, strikes)
        .await
    {
        strikes += 1;
        assert!(
            strikes < 30,
            "the process ends for ever:\n{}",
            world.table()
        );
    }
    strikes
}

#[tokio::test(start_paused = true)]
async fn the_culprit_is_set_aside_and_the_others_are_delivered() {
    let mut world = two_triggers().start().await;
    world.sinks.deadly("billing", "o-3", Duration::ZERO);
    world
        .publish_all((0..6).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    // Twice in the air with all the others, twice behind an intent.
    assert_eq!(strikes(&mut world).await, 4);
    world.until_settled().await;
    assert_eq!(world.report().await.suspects, 0, "careful no more");
    world.check(expect![[r#"
        audit    o-0  cut cut 200  delivered
        audit    o-1  cut cut 200  delivered
        audit    o-2  cut cut 200  delivered
        audit    o-3  cut cut 200  delivered
        audit    o-4  cut cut 200  delivered
        audit    o-5  cut cut 200  delivered
        billing  o-0  cut cut 200  delivered
        billing  o-1  cut cut 200  delivered
        billing  o-2  cut cut 200  delivered
        billing  o-3  cut cut cut cut  dead{poison}
        billing  o-4  cut cut 200  delivered
        billing  o-5  cut cut 200  delivered
    "#]]);
    let log = world.log();
    let [letter] = &log.letters.values().collect::<Vec<_>>()[..] else {
        panic!("one dead letter and no more");
    };
    assert_eq!(letter.cause, Cause::Poison);
    let kept = world
        .engine()
        .dead_letters()
        .show(*log.letters.keys().next().unwrap())
        .unwrap();
    let event = kept.event.as_ref().unwrap();
    assert_eq!(event.event.as_ref().id(), "o-3", "with its payload");
    let said: Vec<&str> = kept.attempts().iter().map(|one| &*one.text).collect();
    expect!["weft ended at least 3 times while this was in the air, the last time alone"]
        .assert_eq(&said.join("\n"));

    // A start after a stop in order suspects nobody, and so does the crash after it.
    world.restart().await;
    assert_eq!(world.found.suspects, 0);
    world.crash(CrashRule::Nothing, 9).await;
    assert_eq!(world.found.suspects, 0);
    world.settle().await;
}

/// The row's own words: what crashes the process twice, and alone is all that was in the air, is
/// tried once more behind an intent, and the start after that runs.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_alone_in_the_air_is_known_sooner() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(200))
        .start()
        .await;
    world.sinks.deadly("billing", "o-1", Duration::ZERO);
    world.publish(order_placed("o-1")).await;
    assert_eq!(strikes(&mut world).await, 3);
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  cut cut cut  dead{poison}
    "#]]);
}

/// It ends the process late, so that others land in each life, and ever more come in: it is found
/// all the same.
#[tokio::test(start_paused = true)]
async fn a_slow_poison_under_load_is_found() {
    let mut world = two_triggers().start().await;
    world.sinks.deadly("billing", "o-7", 100 * MS);
    let mut strikes = 0;
    loop {
        let publisher = world.publisher();
        world.spawn(async move {
            for n in 0..200 {
                let event = order_placed(&format!("o-{}", strikes * 200 + n));
                if publisher.publish("default", vec![event]).await.is_err() {
                    return;
                }
                tokio::time::sleep(MS).await;
            }
        });
        if !world.until_struck(SECOND, CrashRule::Subset, strikes).await {
            break;
        }
        strikes += 1;
        assert!(strikes < 30, "it is never found");
    }
    // How many land in a life depends on the order in which lanes take their turns.
    assert!((4..=6).contains(&strikes), "{strikes}");
    world.until_settled().await;
    let log = world.log();
    let letters: Vec<_> = log.letters.values().map(|dead| dead.cause).collect();
    assert_eq!(letters, [Cause::Poison]);
    assert_eq!(world.calls_of("billing", "o-7").len() as u64, strikes);
    let table = world.grouped();
    let ends: Vec<&str> = table
        .lines()
        .filter(|line| line.contains("poison"))
        .collect();
    let alone = ends.len() == 1 && ends[0].starts_with("billing  cut");
    assert!(alone && ends[0].ends_with("dead{poison}  ×1"), "{table}");
}

/// A dead letter that ends the process on its way to the sink: given up there, and kept.
#[tokio::test(start_paused = true)]
async fn a_poisoned_dead_letter_stays_kept() {
    let mut world = World::new()
        .trigger("billing", everything(), terms().dead_letter("graveyard"))
        .sink("billing", always(422))
        .sink("graveyard", after(5 * MS))
        .start()
        .await;
    world.sinks.deadly("billing#dead", "o-1", Duration::ZERO);
    world
        .publish_all((0..3).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    strikes(&mut world).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing       o-0  422  dead{refused}
        billing       o-1  422  dead{refused}
        billing       o-2  422  dead{refused}
        billing#dead  o-0  cut cut 200  forwarded
        billing#dead  o-1  cut cut cut cut  dead{poison}
        billing#dead  o-2  cut cut 200  forwarded
    "#]]);
    let log = world.log();
    assert_eq!(log.letters.len(), 3, "its failure adds no letter");
    assert!(log.letters.values().all(|dead| dead.number & FORWARD == 0));
}

/// Power that fails at random, functions that take their time: nobody is ever set aside.
#[tokio::test(start_paused = true)]
async fn kills_under_load_set_nobody_aside() {
    let mut careful = 0;
    for mut seed in Seed::all(0..20) {
        let mut world = two_triggers()
            .seed(seed.number)
            .sink("billing", after(3 * MS))
            .sink("audit", after(3 * MS))
            .start()
            .await;
        for round in 0..15 {
            let publisher = world.publisher();
            world.spawn(async move {
                for n in 0..300 {
                    let event = order_placed(&format!("o-{round}-{n}"));
                    if publisher.publish("default", vec![event]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(MS).await;
                }
            });
            let life = Duration::from_micros(seed.within(0..200_000));
            world.advance(life).await;
            world
                .crash(seed.of_these(&CrashRule::ALL), seed.bits())
                .await;
            careful += u32::from(world.found.suspects > 0);
        }
        world.until_settled().await;
        let letters = world.log().letters.len();
        assert_eq!(letters, 0, "seed {}:\n{}", seed.number, world.table());
        assert_eq!(world.report().await.suspects, 0);
        if seed.number == 0 {
            world.check_times(
                &[1, 2],
                expect![[r#"
                0-1 s           audit    200 ×1009 cut ×27
                0-1 s           billing  200 ×1009 cut ×27
                1-2 s           audit    200 ×749 cut ×18
                1-2 s           billing  200 ×749 cut ×18
            "#]],
            );
        }
    }
    assert!(
        careful > 0,
        "no life was so short that the next was careful"
    );
}

/// A function slower than the kills come is suspected, tried alone, and delivered once it is let.
#[tokio::test(start_paused = true)]
async fn a_slow_function_survives_three_kills() {
    let mut world = World::new()
        .trigger("slow", everything(), terms().to("function"))
        .sink("function", after(10 * SECOND))
        .start()
        .await;
    world
        .publish_all((0..4).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    for kill in 0..3 {
        world.advance(2 * SECOND).await;
        world.crash(CrashRule::Nothing, kill).await;
    }
    assert_eq!(world.found.suspects, 4);
    world.advance(SECOND).await;
    assert_eq!(world.sinks.in_flight("function"), 1, "one at a time");
    world.until_settled().await;
    world.check(expect![[r#"
        slow  o-0  cut cut cut 200  delivered
        slow  o-1  cut cut 200  delivered
        slow  o-2  cut cut 200  delivered
        slow  o-3  cut cut 200  delivered
    "#]]);
}

/// Others than the suspects don't wait for them.
#[tokio::test(start_paused = true)]
async fn a_careful_node_delivers_what_comes_in() {
    let mut world = World::new()
        .trigger("slow", ty("slow"), terms())
        .trigger("quick", ty("quick"), terms())
        .sink("slow", after(10 * SECOND))
        .sink("quick", after(MS))
        .start()
        .await;
    world
        .publish_all((0..4).map(|n| tests::event(&format!("s-{n}"), "slow")))
        .await;
    for kill in 0..2 {
        world.advance(SECOND).await;
        world.crash(CrashRule::Nothing, kill).await;
    }
    assert_eq!(world.found.suspects, 4);
    let began = world.time();
    world.publish(tests::event("q-1", "quick")).await;
    world
        .until("delivered", |report| report.books.delivered == 1)
        .await;
    assert!(world.time() - began < SECOND / 2);
    assert_eq!(world.report().await.suspects, 4);
    world.until_settled().await;
}

/// A suspect that is nacked came down, and the process lives: the next one's turn comes.
#[tokio::test(start_paused = true)]
async fn a_nacked_suspect_holds_up_no_other() {
    let mut world = World::new()
        .trigger("slow", everything(), terms())
        .sink("slow", after(10 * SECOND))
        .start()
        .await;
    world
        .publish_all((0..3).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    for kill in 0..2 {
        world.advance(SECOND).await;
        world.crash(CrashRule::Nothing, kill).await;
    }
    assert_eq!(world.found.suspects, 3);
    let hour = Nack::Retry {
        after: Some(3600 * SECOND),
    };
    world.sink_for("slow", "o-0", times(1, 503).nack(hour).then(200));
    world.sink_for("slow", "o-1", 200);
    world.sink_for("slow", "o-2", 200);
    world.advance(60 * SECOND).await;
    let report = world.report().await;
    assert_eq!((report.suspects, report.books.delivered), (0, 2));
    world.until_settled().await;
    world.check(expect![[r#"
        slow  o-0  cut cut 503+nack 200  delivered
        slow  o-1  cut cut 200  delivered
        slow  o-2  cut cut 200  delivered
    "#]]);
}

/// A suspect that was nacked stands accused of nothing, however long it waits.
#[tokio::test(start_paused = true)]
async fn a_nacked_suspect_is_not_accused_when_the_process_ends() {
    let mut world = World::new()
        .trigger("slow", everything(), terms())
        .sink("slow", after(10 * SECOND))
        .start()
        .await;
    world.publish(order_placed("o-0")).await;
    for kill in 0..2 {
        world.advance(SECOND).await;
        world.crash(CrashRule::Nothing, kill).await;
    }
    assert_eq!(world.found.suspects, 1);
    let hour = Nack::Retry {
        after: Some(3600 * SECOND),
    };
    world.sink_for("slow", "o-0", times(3, 503).nack(hour).then(200));
    for kill in 0..3 {
        world.advance(60 * SECOND).await;
        world.crash(CrashRule::Nothing, kill).await;
    }
    world.until_settled().await;
    world.check(expect![[r#"
        slow  o-0  cut cut 503+nack 503+nack 503+nack 200  delivered
    "#]]);
}

/// The view is gone, and routing stands where the log begins: what was in force is read only as
/// routing goes on, and nobody is let go before.
#[tokio::test(start_paused = true)]
async fn suspects_stay_so_where_the_view_is_made_anew() {
    for blocks in 0..3 {
        let mut world = World::new()
            .journal(|options| {
                options.segment_bytes = 64 << 10;
                options.group_bytes_max = 16 << 10;
            })
            .retention(60 * SECOND)
            .trigger("slow", ty("slow"), terms().timeout("PT3H"))
            .trigger("quick", ty("quick"), terms())
            .sink("slow", after(3600 * SECOND))
            .sink("quick", after(SECOND))
            .start()
            .await;
        world
            .publish_all((0..2).map(|n| tests::event(&format!("s-{n}"), "slow")))
            .await;
        let quick = |id: &str, blocks: usize| {
            let quick = event::Event::build(id, "/shop", "quick").data(vec![b'x'; blocks * 4096]);
            quick.finish().expect("it is valid")
        };
        world.advance(40 * SECOND).await;
        world.publish(quick("first", blocks)).await;
        for n in 0.. {
            world.publish(quick(&format!("q-{n}"), 0)).await;
            world.advance(500 * MS).await;
            if world.engine().journal().segments().len() > 1 {
                break;
            }
        }
        // A segment that a Routed record opens: it says that all before the segment is routed.
        let journal = world.engine().journal().clone();
        let first = journal.segments()[1].first;
        let opening = journal.read(first, 16 << 10).expect("it reads").records;
        let routed = opening.iter().find(|stored| stored.kind == ROUTED);
        let routed = routed.map(|stored| routed::read(stored, |_, _| {}).expect("it reads"));
        if routed.is_none_or(|range| range.end != first) {
            continue;
        }
        world.advance(30 * SECOND).await;
        assert_eq!(world.engine().journal().start(), first, "it is the first");
        for kill in 0..2 {
            world.lose_power(CrashRule::Nothing, kill);
            world.disk().remove(VIEW_FILE).expect("there is a view");
            world.disk().sync().expect("it is gone");
            world.start_again().await;
            world.advance(SECOND).await;
        }
        assert_eq!(world.report().await.suspects, 2);
        assert_eq!(world.sinks.in_flight("slow"), 1, "one at a time");
        world.until_settled().await;
        assert_eq!(world.report().await.suspects, 0);
        return;
    }
    panic!("no segment began as it should");
}

#[tokio::test(start_paused = true)]
async fn where_it_is_off_the_process_ends_for_ever() {
    let mut world = two_triggers()
        .limits(|limits| limits.quarantine_after = 0)
        .start()
        .await;
    world.sinks.deadly("billing", "o-1", Duration::ZERO);
    world.publish(order_placed("o-1")).await;
    for strike in 0..12 {
        assert!(world.until_struck(SECOND, CrashRule::Nothing, strike).await);
    }
    assert!(world.log().letters.is_empty());
    world.settle().await;
}

/// A bug of ours that panics on one event costs that event's attempts, not the node.
#[tokio::test(start_paused = true)]
async fn a_panic_while_sending_is_a_failed_attempt() {
    let world = World::new()
        .trigger("billing", everything(), terms().retry(2).no_jitter())
        .trigger("audit", everything(), terms())
        .sink("billing", panics())
        .sink("audit", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        audit    o-1  200  delivered
        billing  o-1  timeout timeout timeout  dead{exhausted}
    "#]]);
    let log = world.log();
    let attempts = &log.letters.values().next().unwrap().attempts;
    assert!(
        attempts[2]
            .text
            .contains("panicked while sending it: a bug"),
        "{attempts:?}"
    );
    let sending = Caught::Send as usize;
    assert_eq!(world.report().await.panics[sending], 3);
}
