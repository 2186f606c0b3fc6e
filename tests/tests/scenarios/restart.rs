//! What a restart and a loss of power find again: attempts go on where they were, never early.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::WallTime;
use broker::letter_query::{From, Query};
use broker::view::Place;
use broker::{keeper, kept, records};
use expect_test::expect;
use journal::model_disk::CrashRule;
use journal::{Group, Journal, Offset, OsClock, Record};
use tests::beside::Beside;
use tests::world::small_options;
use tests::{Seed, World, always, hangs, order_placed, refuses_connection, terms, times};

const MS: Duration = Duration::from_millis(1);

/// The attempts of every event: its number, when it began and when it ended.
fn attempts(world: &World) -> BTreeMap<String, Vec<(u32, Duration, Duration)>> {
    let mut attempts: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for call in world.calls() {
        let ended = call.ended.unwrap_or(Duration::MAX);
        attempts
            .entry(call.key.1)
            .or_default()
            .push((call.attempt, call.began, ended));
    }
    attempts
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_the_next_attempt() {
    let mut world = World::new()
        .trigger(
            "billing",
            tests::everything(),
            terms().retry(5).backoff("linear", "PT10S").no_jitter(),
        )
        .sink("billing", times(3, 503).then(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(31)).await;
    world.restart().await;
    assert_eq!((world.found.owed, world.found.parked), (1, 1));
    world.until_settled().await;

    world.check(expect![[r#"
        billing  o-1  503 503 503 200  delivered
    "#]]);
    let numbers: Vec<u32> = world.calls().iter().map(|call| call.attempt).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let waits = world.waits_of("billing", "o-1");
    let exact = [10, 20, 30].map(Duration::from_secs);
    for (wait, exact) in waits.iter().zip(exact) {
        assert!((exact..exact + 10 * MS).contains(wait), "{waits:?}");
    }
}

/// What became due while the node was down is due at once, not anew.
#[tokio::test(start_paused = true)]
async fn what_became_due_while_down_is_tried_at_once() {
    let mut world = World::new()
        .trigger(
            "billing",
            tests::everything(),
            terms().retry(5).backoff("linear", "PT60S").no_jitter(),
        )
        .sink("billing", times(1, 503).then(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(1)).await;
    world.lose_power(CrashRule::Nothing, 1);
    tokio::time::advance(Duration::from_secs(300)).await;
    let began = world.time();
    world.start_again().await;
    world.until_settled().await;
    let second = world.calls_of("billing", "o-1")[1].began;
    assert!(
        second - began < 10 * MS,
        "{:?} after the start",
        second - began
    );
    assert_eq!(world.calls_of("billing", "o-1")[1].attempt, 2);
    world.check(expect![[r#"
        billing  o-1  503 200  delivered
    "#]]);
}

/// Sixty deliveries (as many as the retry budget's reserve covers), some before their third attempt, some after, some in the air: numbers
/// don't repeat but for what was in the air or answered in the last 50 ms, and none comes early.
#[tokio::test(start_paused = true)]
async fn a_loss_of_power_between_attempts_3_and_4_repeats_only_what_was_in_the_air() {
    const DELIVERIES: usize = 60;
    /// What is noted is on disk within 50 ms; timers are late by up to a millisecond.
    const NOTED_WITHIN: Duration = Duration::from_millis(52);
    for mut seed in Seed::all(0..6) {
        let mut world = World::new()
            .seed(seed.number)
            .trigger(
                "billing",
                tests::everything(),
                // Less patience than the breaker, which so holds none of them back.
                terms().retry(5).backoff("exponential", "PT1S"),
            )
            .sink(
                "billing",
                times(3, 503)
                    .after(20 * MS)
                    .then(always(200).after(20 * MS)),
            )
            .start()
            .await;
        let publisher = world.publisher();
        world
            .run(async {
                for n in 0..DELIVERIES {
                    publisher
                        .publish("default", vec![order_placed(&format!("o-{n}"))])
                        .await
                        .unwrap();
                    tokio::time::sleep(16 * MS).await;
                }
            })
            .await;
        // Attempt 3 comes 3 to 4.5 s after the first, attempt 4 comes 7 to 10.5 s after it.
        world
            .advance(Duration::from_millis(seed.within(2500..8000)))
            .await;
        let killed = world.time();
        let before: usize = world.calls().len();
        let rule = seed.of_these(&CrashRule::ALL);
        world.crash(rule, seed.number).await;
        world.until_settled().await;

        let mut repeated = 0;
        for (id, attempts) in attempts(&world) {
            for pair in attempts.windows(2) {
                let [(number, began, ended), (next, at, _)] = [pair[0], pair[1]];
                if next == number + 1 {
                    let nominal = Duration::from_secs(1 << (number - 1));
                    let failed = if ended == killed { began } else { ended };
                    assert!(
                        at >= failed + nominal,
                        "{id}: attempt {next} came early, seed {}",
                        seed.number
                    );
                    continue;
                }
                repeated += 1;
                assert!(
                    next <= number,
                    "{id}: {number} then {next}, seed {}",
                    seed.number
                );
                let recent = killed <= ended + NOTED_WITHIN;
                assert!(
                    next == number && recent,
                    "{id}: {number} again as {next}, answered {:?} before the kill, seed {}",
                    killed - ended,
                    seed.number
                );
            }
            // What the function answered and the log lost is answered once more.
            assert!((3..=4).contains(&attempts.last().unwrap().0), "{id}");
        }
        assert!(
            before > 2 * DELIVERIES,
            "the kill came in the middle: {before} calls"
        );
        assert!(repeated < DELIVERIES / 5, "{repeated} repeated");
        if seed.number == 0 {
            world.check_grouped(expect![[r#"
                billing  503 503 503 200  delivered  ×59
                billing  503 503 cut 503 200  delivered  ×1
            "#]]);
        }
    }
}

/// A clean stop loses nothing and repeats nothing, wherever each delivery stands.
#[tokio::test(start_paused = true)]
async fn a_clean_stop_repeats_nothing() {
    for mut seed in Seed::all(0..8) {
        let mut world = World::new()
            .seed(seed.number)
            .workers(2)
            .trigger(
                "billing",
                tests::everything(),
                // Less patience than the breaker, which so holds none of them back.
                terms().retry(6).backoff("exponential", "PT0.3S"),
            )
            .trigger("audit", tests::everything(), terms())
            .sink(
                "billing",
                times(2, 503)
                    .after(70 * MS)
                    .then(always(200).after(70 * MS)),
            )
            .sink("audit", always(200).after(30 * MS))
            .start()
            .await;
        world
            .publish_all((0..300).map(|n| order_placed(&format!("o-{n}"))))
            .await;
        for _ in 0..4 {
            world
                .advance(Duration::from_millis(seed.within(1..400)))
                .await;
            world.restart().await;
            assert!(world.recovered.as_ref().unwrap().clean);
        }
        world.until_settled().await;
        for n in 0..300 {
            let id = format!("o-{n}");
            let numbers = |trigger: &str| -> Vec<u32> {
                world
                    .calls_of(trigger, &id)
                    .iter()
                    .map(|call| call.attempt)
                    .collect()
            };
            assert_eq!(numbers("billing"), [1, 2, 3], "{id}, seed {}", seed.number);
            assert_eq!(numbers("audit"), [1], "{id}, seed {}", seed.number);
        }
        if seed.number == 0 {
            world.check_grouped(expect![[r#"
                audit    200  delivered  ×300
                billing  503 503 200  delivered  ×300
            "#]]);
        }
    }
}

/// A drain doesn't wait for ever: what hangs stays owed, and its attempt counts for nothing.
#[tokio::test(start_paused = true)]
async fn a_drain_leaves_what_hangs_owed() {
    let mut world = World::new()
        .trigger("billing", tests::everything(), terms().timeout("PT10M"))
        .sink("billing", hangs().times(1).then(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(MS).await;
    let began = world.time();
    world.restart().await;
    let took = world.time() - began;
    assert!(
        (25..26).contains(&took.as_secs()),
        "the grace is 25 s: {took:?}"
    );
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  cut timeout 200  delivered
    "#]]);
}

/// Dead letters keep payload and attempts, after a restart and after their trigger is gone.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_outlives_a_restart_and_its_trigger() {
    let mut world = World::new()
        .trigger(
            "billing",
            tests::everything(),
            terms().retry(2).backoff("linear", "PT1S").no_jitter(),
        )
        .sink(
            "billing",
            always(500)
                .body("out of paper")
                .times(1)
                .then(refuses_connection()),
        )
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    let before = shown(&world);
    expect![[r#"
        default/billing exhausted o-1 "data of o-1"
          0ms answered Some(500) "" b"out of paper"
          1000ms unreachable None "connection refused" b""
          3000ms unreachable None "connection refused" b""
    "#]]
    .assert_eq(&before);

    world.restart().await;
    assert_eq!(world.found.dead_letters, 1);
    assert_eq!(shown(&world), before);
    world.crash(CrashRule::Nothing, 1).await;
    assert_eq!(shown(&world), before);

    world.remove("billing.yaml");
    world.reload().await;
    world.advance(Duration::from_secs(601)).await;
    assert!(world.report().await.triggers.is_empty());
    assert_eq!(shown(&world), before);
    world.restart().await;
    assert_eq!(shown(&world), before);
    world.settle().await;
}

/// All dead letters, as `weft dead-letters show` would have them.
fn shown(world: &World) -> String {
    let letters = world.engine().dead_letters();
    let newest = From::NewestBefore(Offset(u64::MAX));
    let mut text = String::new();
    for row in letters.rows(&Query::default(), newest, 100) {
        let letter = letters.show(row.id).expect("a listed letter can be shown");
        let event = letter.event.as_ref().expect("its event is kept");
        let event = event.event.as_ref();
        let payload = String::from_utf8_lossy(&event.data_bytes()).into_owned();
        text += &format!(
            "{} {} {} {payload:?}\n",
            row.trigger,
            row.reason.word(),
            event.id()
        );
        for attempt in letter.attempts() {
            text += &format!(
                "  {}ms {} {:?} {:?} {:?}\n",
                attempt.started.0 - tests::clock::BEGINNING.0,
                attempt.verdict.word(),
                attempt.status,
                attempt.text,
                attempt.body,
            );
        }
    }
    text
}

/// Of thousands of attempts the first and the last are kept, and the others counted, also over a
/// restart: no number is given twice or left out.
#[tokio::test(start_paused = true)]
async fn a_long_history_keeps_its_count() {
    use broker::records::attempt::{ATTEMPTS_KEPT_MAX, numbered};

    let often = terms().retry(2_400).backoff("linear", "PT0.01S");
    let mut world = World::new()
        .trigger("billing", tests::everything(), often.backoff_max("PT0.01S"))
        .sink("billing", always(409))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    // The retry budget allows ten a second.
    world.advance(Duration::from_secs(130)).await;
    let before = world.calls().len();
    assert!(before > ATTEMPTS_KEPT_MAX + 100, "{before}");
    world.restart().await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  409 ×2401  dead{exhausted}
    "#]]);
    let attempts: Vec<u32> = world.calls().iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, (1..=2_401).collect::<Vec<u32>>());
    let log = world.log();
    let letter = log.letters.values().next().expect("it is dead");
    let kept: Vec<u32> = numbered(&letter.attempts)
        .map(|(number, _)| number)
        .collect();
    let expected: Vec<u32> = (1..=500).chain(1_902..=2_401).collect();
    assert_eq!(kept, expected);
}

/// A record of a kind that only a later version knows may say that something is owed: nothing starts
/// without knowing what it says, and nothing goes on.
#[tokio::test(start_paused = true)]
async fn a_record_of_an_unknown_kind_refuses_to_open() {
    const UNKNOWN: u8 = 200;
    let mut world = World::new()
        .trigger("billing", tests::everything(), terms())
        .sink("billing", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    let later = Group::one(Record {
        kind: UNKNOWN,
        version: records::VERSION,
        tag: 0,
        body: "what is owed".into(),
    });
    let appended = world.engine().journal().append(later);
    world.run(appended).await.expect("the log takes it");
    world.advance(Duration::from_secs(1)).await;
    let ends = world.ends();
    let says = |end: &Result<(), String>| {
        let said = end.as_ref().err();
        said.is_some_and(|why| why.contains(&format!("of kind {UNKNOWN}")))
    };
    let stopped = |(name, end): &(&str, Result<(), String>)| *name == "keeper" && says(end);
    assert!(ends.iter().any(stopped), "the keeper goes on: {ends:?}");

    world.lose_power(CrashRule::Everything, 1);
    let (disk, clock) = (world.disk(), || Arc::new(OsClock::new()));
    let log = Journal::open(disk.clone(), clock(), small_options());
    let beside = kept::options(&small_options());
    let kept = Journal::open(Beside::new(disk, "kept-"), clock(), beside);
    let (log, kept) = (log.expect("whole").0, kept.expect("whole").0);
    let opened = keeper::differences(&log, &kept, &Place::Memory, WallTime(0));
    let refused = opened.map(drop).map_err(|error| error.to_string());
    assert!(says(&refused), "{refused:?}");
}
