//! Order by key: first in, first out for events that share a key, and a key that is blocked
//! blocks only itself (GUARANTEES 14).

use std::collections::BTreeMap;
use std::time::Duration;

use broker::letter_query::{From, Query};
use broker::pausing::{ResumeFrom, Target};
use broker::redrive::{Asked, What, Which};
use event::Event;
use expect_test::expect;
use journal::Offset;
use journal::model_disk::{CrashRule, SECTOR_BYTES};
use tests::world::Builder;
use tests::{Seed, Terms, World, after, always, everything, refuses_connection, terms, times};
use triggers::TriggerName;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// An event of this key; its id says which of the key's it is: `a-0`, `a-1`, …
fn of_key(key: &str, n: usize) -> Event {
    let event = Event::build(&format!("{key}-{n}"), "/shop", "order.placed");
    let event = event.attribute("partitionkey", key).data("data");
    event.finish().expect("a test's event is valid")
}

fn without_key(id: &str) -> Event {
    tests::order_placed(id)
}

/// So many of each key, taking turns.
fn in_turns(keys: &[&str], each: usize) -> Vec<Event> {
    let rounds = (0..each).flat_map(|n| keys.iter().map(move |key| of_key(key, n)));
    rounds.collect()
}

fn policy(name: &str, ordering: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {{name: {name}}}
spec: {{ordering: {ordering}}}
"
    )
}

/// Policies `ordered` and `blocking`, which differ in `blockedKey`.
fn with_policies(builder: Builder) -> Builder {
    builder
        .file(
            "policy-ordered.yaml",
            policy("ordered", "{by: partitionkey}"),
        )
        .file(
            "policy-blocking.yaml",
            policy("blocking", "{by: partitionkey, blockedKey: deadLetter}"),
        )
}

fn ordered() -> Terms {
    terms().no_jitter().policy("ordered")
}

fn blocking() -> Terms {
    terms().no_jitter().policy("blocking")
}

/// The calls of a trigger by key, each by its number within the key, in the order in which they
/// came.
fn sequences(world: &World, trigger: &str) -> BTreeMap<String, Vec<(usize, Duration)>> {
    let mut sequences: BTreeMap<String, Vec<(usize, Duration)>> = BTreeMap::new();
    for call in world.calls().iter().filter(|call| call.whose == trigger) {
        let Some((key, n)) = call.key.1.rsplit_once('-') else {
            continue;
        };
        let n = n.parse().expect("an id ends in a number");
        let sequence = sequences.entry(key.to_owned()).or_default();
        sequence.push((n, call.began));
    }
    sequences
}

/// Says what is wrong with a key's sequence of `len` events: nothing may be skipped, and only
/// after one of these crashes may it go back.
fn wrong(sequence: &[(usize, Duration)], len: usize, crashes: &[Duration]) -> Option<String> {
    let mut before: Option<(usize, Duration)> = None;
    for (n, began) in sequence {
        let crashed = |since: Duration| crashes.iter().any(|at| since <= *at && at <= began);
        let fits = match before {
            None => *n == 0,
            Some((last, _)) if *n == last + 1 => true,
            Some((last, _)) if *n == last => true,
            Some((last, since)) => *n < last && crashed(since),
        };
        if !fits {
            return Some(format!("{n} came at {began:?} after {before:?}"));
        }
        before = Some((*n, *began));
    }
    let reached = before.map_or(0, |(last, _)| last + 1);
    (reached != len).then(|| format!("it ends before {reached} of {len}"))
}

/// No two requests of a key at the same time.
fn one_at_a_time(world: &World, trigger: &str) {
    let mut until: BTreeMap<String, Duration> = BTreeMap::new();
    for call in world.calls().iter().filter(|call| call.whose == trigger) {
        let Some((key, _)) = call.key.1.rsplit_once('-') else {
            continue;
        };
        let before = until.insert(key.to_owned(), call.ended.unwrap_or(Duration::MAX));
        assert!(
            before.is_none_or(|before| before <= call.began),
            "{:?} came while another of its key was in the air",
            call.key
        );
    }
}

/// Functions that are slower with some events than with others would mix up their order.
#[tokio::test(start_paused = true)]
async fn first_deliveries_of_a_key_come_in_order_and_keys_side_by_side() {
    let mut seed = Seed::or(1);
    let mut builder = with_policies(World::new())
        .trigger("ordered", everything(), ordered())
        .sink("ordered", 200);
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let events = in_turns(&keys, 25);
    for event in &events {
        let wait = Duration::from_micros(seed.within(0..20_000));
        builder = builder.sink_for("ordered", event.as_ref().id(), after(wait));
    }
    let world = builder.start().await;
    world.publish_all(events).await;
    world.until_settled().await;
    for (key, sequence) in sequences(&world, "ordered") {
        assert_eq!(wrong(&sequence, 25, &[]), None, "{key}: {sequence:?}");
        assert_eq!(sequence.len(), 25, "none came twice");
    }
    one_at_a_time(&world, "ordered");
    assert!(world.sinks.in_flight_most("ordered") > 20, "side by side");
    world.check_grouped(expect![[r#"
        ordered  200  delivered  ×1000
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_waits_and_others_do_not() {
    let world = with_policies(World::new())
        .trigger("ordered", everything(), ordered().retry(5))
        .sink("ordered", 200)
        .sink_for("ordered", "a-1", times(3, 503).then(200))
        .start()
        .await;
    world.publish_all(in_turns(&["a", "b"], 4)).await;
    world.advance(100 * MS).await;
    let lane = world.report().await.triggers.remove(0).lane;
    assert_eq!((lane.keys_blocked, lane.held), (1, 2));
    world.until_settled().await;
    let lane = world.report().await.triggers.remove(0).lane;
    assert_eq!((lane.keys_blocked, lane.held), (0, 0));
    world.check(expect![[r#"
        ordered  a-0  200  delivered
        ordered  b-0  200  delivered
        ordered  a-1  503 503 503 200  delivered
        ordered  b-1  200  delivered
        ordered  a-2  200  delivered
        ordered  b-2  200  delivered
        ordered  a-3  200  delivered
        ordered  b-3  200  delivered
    "#]]);
    let mut order: Vec<String> = world.calls().into_iter().map(|call| call.key.1).collect();
    order.dedup();
    assert_eq!(
        order.join(" "),
        "a-0 b-0 a-1 b-1 b-2 b-3 a-1 a-2 a-3",
        "b is done before a-1 is tried again"
    );
}

/// `blockedKey: retry`: its later events go on once the failing one is dead.
#[tokio::test(start_paused = true)]
async fn a_key_goes_on_when_what_blocked_it_is_dead() {
    let world = with_policies(World::new())
        .trigger("ordered", everything(), ordered().retry(2))
        .sink("ordered", 200)
        .sink_for("ordered", "a-1", 503)
        .start()
        .await;
    world.publish_all(in_turns(&["a", "b"], 4)).await;
    world.until_settled().await;
    world.check(expect![[r#"
        ordered  a-0  200  delivered
        ordered  b-0  200  delivered
        ordered  a-1  503 503 503  dead{exhausted}
        ordered  b-1  200  delivered
        ordered  a-2  200  delivered
        ordered  b-2  200  delivered
        ordered  a-3  200  delivered
        ordered  b-3  200  delivered
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_the_key_is_not_ordered() {
    let world = with_policies(World::new())
        .trigger("ordered", everything(), ordered())
        .sink("ordered", 200)
        .sink_for("ordered", "o-0", times(3, 503).then(200))
        .start()
        .await;
    let events = (0..5).map(|n| without_key(&format!("o-{n}")));
    world.publish_all(events).await;
    world.advance(100 * MS).await;
    let lane = world.report().await.triggers.remove(0).lane;
    assert_eq!((lane.keys_blocked, lane.held), (0, 0));
    world.until_settled().await;
    world.check(expect![[r#"
        ordered  o-0  503 503 503 200  delivered
        ordered  o-1  200  delivered
        ordered  o-2  200  delivered
        ordered  o-3  200  delivered
        ordered  o-4  200  delivered
    "#]]);
    let last = world.calls().pop().expect("it was called");
    assert_eq!(last.key.1, "o-0");
}

/// Wherever the power fails while a delivery dies, and whatever sectors of what was being written it leaves:
/// nothing of its key is delivered past it.
#[tokio::test(start_paused = true)]
async fn no_moment_lets_a_key_pass_its_dead_letter() {
    let starts = || {
        let world = with_policies(World::new());
        world.trigger("ordered-dead", everything(), blocking().retry(0))
    };
    // For one of these lengths the record that blocks the key ends where a sector does, so that a disk
    // may lose it alone.
    for length in (SECTOR_BYTES - 56..SECTOR_BYTES - 24).step_by(8) {
        let ids = [0, 1].map(|n| format!("{}-{n}", "k".repeat(length)));
        let key = "k".repeat(length);
        let dies = always(400).body(vec![b'x'; 700]).after(200 * MS);
        let world = starts()
            .sink("ordered-dead", 200)
            .sink_for("ordered-dead", &ids[0], dies)
            .start()
            .await;
        world.disk().keep_history();
        world.publish(of_key(&key, 0)).await;
        world.until_settled().await;
        // The last frame is about to be synced.
        let change = world.disk().changes() - 1;
        for rule in [CrashRule::Torn, CrashRule::Reordered, CrashRule::Subset] {
            for seed in 0..30 {
                let mut ledger = world.ledger.borrow().clone();
                ledger.as_of_change(change);
                let again = starts()
                    .disk(world.disk().crash_before(change, rule, seed))
                    .ledger(ledger)
                    .sinks(world.sinks.clone())
                    .start()
                    .await;
                let before = again.calls_of("ordered-dead", &ids[1]).len();
                again.publish(of_key(&key, 1)).await;
                again.until_settled().await;
                let passed = again.calls_of("ordered-dead", &ids[1]).len() - before;
                assert_eq!(passed, 0, "key of {length} bytes, {rule:?}, {seed}");
            }
        }
    }
}

/// `blockedKey: deadLetter`: what comes of the key after its dead letter ends there too, over
/// crashes.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_blocks_its_key() {
    let mut world = with_policies(World::new())
        .trigger("ordered-dead", everything(), blocking().retry(2))
        .sink("ordered-dead", 200)
        .sink_for("ordered-dead", "a-1", 503)
        .start()
        .await;
    world.publish_all(in_turns(&["a", "b"], 4)).await;
    world.until_settled().await;
    for (n, seed) in [(4, 1), (5, 2)] {
        world.crash(CrashRule::Subset, seed).await;
        world.publish_all([of_key("a", n), of_key("b", n)]).await;
        world.until_settled().await;
    }
    world.restart().await;
    let lane = world.report().await.triggers.remove(0).lane;
    assert_eq!((lane.keys_blocked, lane.held), (1, 0));
    world.publish_all([of_key("a", 6), of_key("b", 6)]).await;
    world.until_settled().await;
    world.check(expect![[r#"
        ordered-dead  a-0  200  delivered
        ordered-dead  b-0  200  delivered
        ordered-dead  a-1  503 503 503  dead{exhausted}
        ordered-dead  b-1  200  delivered
        ordered-dead  a-2  dead{blocked}
        ordered-dead  b-2  200  delivered
        ordered-dead  a-3  dead{blocked}
        ordered-dead  b-3  200  delivered
        ordered-dead  a-4  dead{blocked}
        ordered-dead  b-4  200  delivered
        ordered-dead  a-5  dead{blocked}
        ordered-dead  b-5  200  delivered
        ordered-dead  a-6  dead{blocked}
        ordered-dead  b-6  200  delivered
    "#]]);
}

/// The trigger `ordered`, whose dead letter of `a-0` blocks that key, and with it `a-1`.
async fn blocked() -> World {
    let world = with_policies(World::new())
        .trigger("ordered", everything(), blocking().retry(0))
        .sink("ordered", 200)
        .sink("mended", 200)
        .sink_for("ordered", "a-0", 503)
        .start()
        .await;
    world.publish_all(in_turns(&["a", "b"], 2)).await;
    world.until_settled().await;
    world
}

fn asked(letters: Vec<Offset>, what: What) -> Asked {
    Asked {
        which: Which::Ids(letters),
        what,
        dry_run: false,
    }
}

fn redrive(to: Option<&str>) -> What {
    What::Redrive {
        to: to.map(str::to_owned),
        rate: None,
    }
}

/// All letters of a world, oldest first.
fn letters(world: &World) -> Vec<Offset> {
    let letters = world.engine().dead_letters();
    let rows = letters.rows(&Query::default(), From::Oldest(Offset(0)), usize::MAX);
    rows.iter().map(|row| row.id).collect()
}

async fn keys_blocked(world: &World) -> u64 {
    world.report().await.triggers.remove(0).lane.keys_blocked
}

/// Redriven in order, a key's letters are delivered in order; while the first fails, the others
/// end as they did, and so does what is new.
#[tokio::test(start_paused = true)]
async fn a_redrive_of_what_blocks_a_key_lets_it_go_once_it_is_delivered() {
    let world = blocked().await;
    world.redrive(asked(letters(&world), redrive(None))).await;
    world.until_settled().await;
    assert_eq!(keys_blocked(&world).await, 1, "it failed again");
    world.publish(of_key("a", 2)).await;
    world.until_settled().await;
    world.sink_for("ordered", "a-0", 200);
    let newest = letters(&world).split_off(2);
    world.redrive(asked(newest, redrive(None))).await;
    world.until_settled().await;
    assert_eq!(keys_blocked(&world).await, 0);
    world.publish(of_key("a", 3)).await;
    world.until_settled().await;
    world.check(expect![[r#"
        ordered  a-0  503 503 200  delivered
        ordered  b-0  200  delivered
        ordered  a-1  200  delivered
        ordered  b-1  200  delivered
        ordered  a-2  200  delivered
        ordered  a-3  200  delivered
    "#]]);
    let calls = world.calls().into_iter().map(|call| call.key.1);
    let of_a: Vec<String> = calls.filter(|id| id.starts_with('a')).collect();
    assert_eq!(of_a.join(" "), "a-0 a-0 a-0 a-1 a-2 a-3");
}

/// Whoever discards the letter that blocks a key, or sends its event elsewhere, has decided: the
/// key goes on, over a crash too.
#[tokio::test(start_paused = true)]
async fn a_key_goes_on_when_its_letter_is_discarded_or_sent_elsewhere() {
    for what in [What::Discard, redrive(Some("http://mended/?redrive-5"))] {
        let mut world = blocked().await;
        let second = letters(&world)[1];
        world.redrive(asked(vec![second], What::Discard)).await;
        world.publish(of_key("a", 2)).await;
        world.until_settled().await;
        assert_eq!(keys_blocked(&world).await, 1, "that wasn't the one");
        let first = letters(&world)[0];
        world.redrive(asked(vec![first], what)).await;
        world.publish(of_key("a", 3)).await;
        world.until_settled().await;
        world.crash(CrashRule::Nothing, 1).await;
        world.publish(of_key("a", 4)).await;
        world.until_settled().await;
        assert_eq!(keys_blocked(&world).await, 0);
        let ends = |n: usize| world.calls_of("ordered", &format!("a-{n}")).len();
        assert_eq!([1, 2, 3, 4].map(ends), [0, 0, 1, 1]);
    }
}

/// One that expires without ever being attempted blocks its key too, for a redrive that does as well.
#[tokio::test(start_paused = true)]
async fn a_delivery_that_dies_unattempted_blocks_its_key() {
    let mut world = with_policies(World::new())
        .trigger("ordered", everything(), blocking().backoff_max("PT1S"))
        .sink("ordered", refuses_connection())
        .start()
        .await;
    world.publish(of_key("z", 0)).await;
    // The breaker opens meanwhile, and z-0 is its probe.
    world.advance(20 * SECOND).await;
    let event = Event::build("a-0", "/shop", "order.placed").attribute("partitionkey", "a");
    let event = event.attribute("expirytime", "2026-01-01T00:00:25Z");
    world.publish(event.finish().expect("it is valid")).await;
    world.publish(of_key("a", 1)).await;
    world.advance(10 * SECOND).await;
    assert!(world.calls_of("ordered", "a-0").is_empty());
    world.crash(CrashRule::Subset, 1).await;
    world.sink("ordered", 200);
    world.until_settled().await;
    world.check(expect![[r#"
        ordered  z-0  refused ×9 200  delivered
        ordered  a-0  dead{expired}
        ordered  a-1  dead{blocked}
    "#]]);
}

/// The redrive of what blocks a key is dropped: nothing is on its way that could let it go later.
#[tokio::test(start_paused = true)]
async fn a_key_goes_on_when_the_redrive_of_its_letter_is_dropped() {
    let mut world = blocked().await;
    let target = Target::Trigger(TriggerName::new("default", "ordered"));
    world.run(world.engine().pause(&target)).await.unwrap();
    let first = letters(&world)[0];
    world.redrive(asked(vec![first], redrive(None))).await;
    let resumed = world.engine().resume(&target, ResumeFrom::Latest, false);
    assert_eq!(world.run(resumed).await.unwrap().dropped, 1);
    for n in [2, 3] {
        world.publish(of_key("a", n)).await;
        world.until_settled().await;
        assert_eq!(keys_blocked(&world).await, 0);
        assert_eq!(world.calls_of("ordered", &format!("a-{n}")).len(), 1);
        if n == 2 {
            world.crash(CrashRule::Nothing, 1).await;
        }
    }
}

/// A letter that has been kept for its time is no more, and neither is what it blocked.
#[tokio::test(start_paused = true)]
async fn a_key_goes_on_when_its_letter_has_expired() {
    let mut world = with_policies(World::new())
        .retention_dead_letters(Duration::from_secs(3600))
        .trigger("ordered", everything(), blocking().retry(0))
        .sink("ordered", 200)
        .sink_for("ordered", "a-0", 503)
        .start()
        .await;
    world.publish_all(in_turns(&["a", "b"], 2)).await;
    world.until_settled().await;
    world.advance(3000 * SECOND).await;
    assert_eq!(keys_blocked(&world).await, 1, "not before");
    world.advance(1200 * SECOND).await;
    assert_eq!(letters(&world), []);
    for n in [2, 3] {
        world.publish(of_key("a", n)).await;
        world.until_settled().await;
        assert_eq!(keys_blocked(&world).await, 0);
        assert_eq!(world.calls_of("ordered", &format!("a-{n}")).len(), 1);
        if n == 2 {
            world.crash(CrashRule::Nothing, 1).await;
        }
    }
}

/// At its bound of blocked keys a lane takes nothing new, and loses nothing: whoever redrives or
/// discards the letters lets it go on.
#[tokio::test(start_paused = true)]
async fn a_lane_with_as_many_blocked_keys_as_may_be_waits() {
    for what in [What::Discard, redrive(None)] {
        at_the_bound_of_blocked_keys(what).await;
    }
}

async fn at_the_bound_of_blocked_keys(what: What) {
    let world = with_policies(World::new())
        .limits(|limits| limits.blocked_keys_max = 2)
        .trigger(
            "ordered",
            everything(),
            blocking().retry(0).max_in_flight(1),
        )
        .sink("ordered", 503)
        .start()
        .await;
    world.publish_all(in_turns(&["a", "b", "c"], 1)).await;
    world.advance(10 * SECOND).await;
    let lane = world.report().await.triggers.remove(0).lane;
    assert_eq!((lane.keys_blocked, lane.waiting), (2, 1));
    world.sink("ordered", 200);
    world.redrive(asked(letters(&world), what)).await;
    world.until_settled().await;
    assert_eq!(keys_blocked(&world).await, 0);
    assert_eq!(world.calls_of("ordered", "c-0").len(), 1);
}

/// Terms that no longer block let the key go, for good.
#[tokio::test(start_paused = true)]
async fn a_blocked_key_goes_on_when_the_terms_no_longer_block() {
    let mut world = with_policies(World::new())
        .trigger("ordered", everything(), blocking().retry(0))
        .sink("ordered", 200)
        .sink_for("ordered", "a-0", 503)
        .start()
        .await;
    world.publish_all([of_key("a", 0), of_key("a", 1)]).await;
    world.until_settled().await;
    world.write_trigger("ordered", everything(), ordered().retry(0));
    world.reload().await;
    world.publish(of_key("a", 2)).await;
    world.until_settled().await;
    world.write_trigger("ordered", everything(), blocking().retry(0));
    world.reload().await;
    world.crash(CrashRule::Nothing, 1).await;
    world.publish(of_key("a", 3)).await;
    world.until_settled().await;
    world.check(expect![[r#"
        ordered  a-0  503  dead{exhausted}
        ordered  a-1  dead{blocked}
        ordered  a-2  200  delivered
        ordered  a-3  200  delivered
    "#]]);
}

/// What was parked before the terms said order blocks its key from then on.
#[tokio::test(start_paused = true)]
async fn order_begins_with_what_is_parked() {
    let mut world = with_policies(World::new())
        .trigger(
            "ordered",
            everything(),
            terms().no_jitter().backoff_max("PT1S"),
        )
        .sink("ordered", 200)
        .sink_for("ordered", "a-0", 503)
        .sink_for("ordered", "b-0", 503)
        .start()
        .await;
    world.publish_all(in_turns(&["a", "b", "c"], 1)).await;
    world
        .until("parked", |report| report.triggers[0].lane.parked == 2)
        .await;
    world.write_trigger("ordered", everything(), ordered().backoff_max("PT1S"));
    world.reload().await;
    let events = in_turns(&["a", "b", "c"], 4);
    world.publish_all(events.into_iter().skip(3)).await;
    world.advance(10 * SECOND).await;
    let lane = world.report().await.triggers.remove(0).lane;
    assert_eq!((lane.keys_blocked, lane.held), (2, 6));
    world.sink_for("ordered", "a-0", 200);
    world.sink_for("ordered", "b-0", 200);
    world.until_settled().await;
    for (key, sequence) in sequences(&world, "ordered") {
        assert_eq!(wrong(&sequence, 4, &[]), None, "{key}");
    }
}

/// 100 keys, one of them poisoned, and 20 losses of power.
#[tokio::test(start_paused = true)]
async fn twenty_losses_of_power_repeat_suffixes_and_skip_nothing() {
    let rounds = 12;
    for mut seed in Seed::all(0..4) {
        let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
        let mut builder = with_policies(World::new())
            .seed(seed.number)
            .workers(2)
            // Twenty ends within a second, sooner than functions answer, are what poison looks like.
            .limits(|limits| limits.quarantine_after = 0)
            .trigger("ordered", everything(), ordered().backoff_max("PT1S"))
            .sink("ordered", after(2 * MS))
            .sink_for("ordered", "k7-3", always(503).after(MS));
        for key in &keys {
            let slow = format!("{key}-{}", seed.within(0..rounds));
            let wait = Duration::from_micros(seed.within(0..40_000));
            if !slow.starts_with("k7-") {
                builder = builder.sink_for("ordered", &slow, after(wait));
            }
        }
        let mut world = builder.start().await;
        let mut crashes = Vec::new();
        let mut sent = 0;
        for crash in 0..20 {
            // What isn't acknowledged when power fails would be sent again by its publisher; here
            // each round is acknowledged whole, so that the order that is owed is known.
            if crash % 2 == 0 && sent < rounds {
                let round = keys.iter().map(|key| of_key(key, sent as usize));
                let batch: Vec<Event> = round.collect();
                world.try_publish("default", batch).await.unwrap();
                sent += 1;
            }
            let wait = Duration::from_micros(seed.within(0..60_000));
            world.advance(wait).await;
            crashes.push(world.time());
            let rule = seed.of_these(&CrashRule::ALL);
            world.crash(rule, seed.bits()).await;
        }
        for n in sent..rounds {
            let round = keys.iter().map(|key| of_key(key, n as usize));
            world.try_publish("default", round.collect()).await.unwrap();
        }
        let others = (keys.len() as u64 - 1) * rounds + 3;
        world
            .until("delivered but for the poisoned key", |report| {
                report.books.delivered == others
            })
            .await;
        let blocked = sequences(&world, "ordered").remove("k7").unwrap();
        assert_eq!(wrong(&blocked, 4, &crashes), None, "seed {}", seed.number);
        world.settle().await;
        world.sink_for("ordered", "k7-3", 200);
        world.until_settled().await;
        for (key, sequence) in sequences(&world, "ordered") {
            let wrong = wrong(&sequence, rounds as usize, &crashes);
            assert_eq!(wrong, None, "{key} of seed {}: {sequence:?}", seed.number);
        }
        one_at_a_time(&world, "ordered");
        if seed.number == 0 {
            world.check_times(
                &[1, 10],
                expect![[r#"
                0-1 s           ordered  200 ×2159 503 ×4 cut ×35
            "#]],
            );
        }
    }
}

/// After a restart what is parked still blocks its key, before anything new is taken.
#[tokio::test(start_paused = true)]
async fn what_is_parked_blocks_its_key_after_a_restart() {
    let mut world = with_policies(World::new())
        .trigger(
            "ordered",
            everything(),
            ordered().backoff("linear", "PT60S"),
        )
        .sink("ordered", 200)
        .start()
        .await;
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    for key in &keys {
        // 404 speaks of the event: 503s would open the breaker before all were tried.
        world.sink_for("ordered", &format!("{key}-0"), times(1, 404).then(200));
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    world.publish_all(in_turns(&keys, 1)).await;
    world
        .until("parked", |report| report.triggers[0].lane.parked == 200)
        .await;
    world.restart().await;
    world
        .publish_all(keys.iter().map(|key| of_key(key, 1)))
        .await;
    world.advance(10 * SECOND).await;
    let lane = world.report().await.triggers.remove(0).lane;
    assert_eq!((lane.keys_blocked, lane.held, lane.parked), (200, 200, 200));
    world.until_settled().await;
    for (key, sequence) in sequences(&world, "ordered") {
        assert_eq!(wrong(&sequence, 2, &[]), None, "{key}");
    }
}

/// At its bound a lane takes nothing new, and loses nothing.
#[tokio::test(start_paused = true)]
async fn a_lane_that_holds_all_it_may_waits() {
    let world = with_policies(World::new())
        .limits(|limits| limits.held_max = 10)
        .trigger("ordered", everything(), ordered().backoff_max("PT1S"))
        .trigger("audit", everything(), terms())
        .sink("ordered", 200)
        .sink("audit", 200)
        .sink_for("ordered", "a-0", 404)
        .start()
        .await;
    world.publish_all((0..30).map(|n| of_key("a", n))).await;
    world.publish(of_key("b", 0)).await;
    world.advance(10 * SECOND).await;
    let lane = &world.report().await.triggers[1].lane;
    assert_eq!((lane.held, lane.waiting), (10, 30), "29 of a, 1 of b");
    assert_eq!(world.calls_of("ordered", "b-0").len(), 0, "it waits too");
    assert_eq!(world.calls_of("audit", "b-0").len(), 1, "others don't");
    world.sink_for("ordered", "a-0", 200);
    world.until_settled().await;
    assert_eq!(wrong(&sequences(&world, "ordered")["a"], 30, &[]), None);
}

/// Order is switched on and off while events are parked and held, and its lane moves to another
/// worker: nothing is lost or forgotten.
#[tokio::test(start_paused = true)]
async fn terms_change_while_a_key_is_blocked() {
    for step in ["off", "elsewhere", "deleted"] {
        let mut world = with_policies(World::new())
            .workers(4)
            .trigger("ordered", everything(), ordered().backoff_max("PT1S"))
            .sink("ordered", 200)
            .sink("elsewhere", 200)
            .sink("elsewhere-too", 200)
            .sink_for("ordered", "a-1", 503)
            .start()
            .await;
        world.publish_all(in_turns(&["a", "b"], 5)).await;
        world
            .until("held", |report| report.triggers[0].lane.held == 3)
            .await;
        match step {
            "off" => world.write_trigger("ordered", everything(), terms().no_jitter()),
            "elsewhere" => {
                for sink in ["elsewhere", "elsewhere-too"] {
                    world.sink_for(sink, "a-1", 503);
                    world.write_trigger(
                        "ordered",
                        everything(),
                        ordered().backoff_max("PT1S").to(sink),
                    );
                    world.reload().await;
                    world.advance(10 * SECOND).await;
                    let lane = world.report().await.triggers.remove(0).lane;
                    assert_eq!((lane.held, lane.keys_blocked), (3, 1), "it came along");
                }
                world.sink_for("elsewhere-too", "a-1", 200);
            }
            _ => world.remove("ordered.yaml"),
        }
        world.reload().await;
        if step == "off" {
            world.advance(100 * MS).await;
            let lane = world.report().await.triggers.remove(0).lane;
            assert_eq!((lane.held, lane.keys_blocked), (0, 0));
            world.sink_for("ordered", "a-1", 200);
        }
        world.until_settled().await;
        let books = world.report().await.books;
        let cancelled = if step == "deleted" { 4 } else { 0 };
        let held_from = world.report().await.log.held_from;
        assert_eq!(held_from, None, "nobody needs an event any more");
        assert_eq!(
            (books.cancelled, books.delivered),
            (cancelled, 10 - cancelled)
        );
    }
}

/// What waits behind its key was not in the air, so it isn't suspected of ending the process, however
/// much of it there is; and what did, far behind it, is found.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_its_key_is_not_suspected_of_ending_the_process() {
    let mut world = with_policies(World::new())
        .trigger(
            "billing",
            everything(),
            ordered().backoff("exponential", "PT10M"),
        )
        .sink("billing", after(20 * MS))
        .start()
        .await;
    world.sink_for("billing", "a-0", times(1, 503).then(200));
    let behind = (0..300).map(|n| of_key("a", n));
    world.publish_all(behind).await;
    world.advance(SECOND).await;
    world.sinks.deadly("billing", "z-0", Duration::ZERO);
    world
        .publish_all([of_key("y", 0), of_key("z", 0), of_key("z", 1)])
        .await;
    let mut suspects = Vec::new();
    while world
        .until_struck(SECOND, CrashRule::Nothing, suspects.len() as u64)
        .await
    {
        suspects.push(world.found.suspects);
        assert!(suspects.len() < 20, "the process ends for ever");
    }
    assert_eq!(suspects, [0, 2, 1, 1], "y-0 and z-0, then z-0 alone");
    world.until_settled().await;
    let log = world.log();
    assert_eq!(log.letters.len(), 1, "z-0 is set aside, and nothing else");
    assert_eq!(world.calls_of("billing", "z-0").len(), 4);
    assert_eq!(world.calls_of("billing", "z-1").len(), 1);
}

/// Retries that wait for the budget hold up no key but their own.
#[tokio::test(start_paused = true)]
async fn the_next_of_a_key_does_not_wait_behind_retries_for_the_budget() {
    let world = with_policies(World::new())
        .file(
            "erp.yaml",
            "apiVersion: weft.dev/v1alpha1
kind: Sink
metadata: {name: erp}
spec: {uri: http://erp/?billing, breaker: off}
",
        )
        .file(
            "billing.yaml",
            "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: billing, annotations: {weft.dev/policy: ordered, weft.dev/jitter: \"off\"}}
spec:
  broker: default
  subscriber: {ref: {apiVersion: weft.dev/v1alpha1, kind: Sink, name: erp}}
  delivery: {backoffPolicy: linear, backoffDelay: PT1S, backoffMax: PT1S}
",
        )
        .sink("erp", 503)
        .sink_for("erp", "b-0", after(20 * SECOND))
        .sink_for("erp", "b-1", 200)
        .start()
        .await;
    world.publish_all([of_key("b", 0), of_key("b", 1)]).await;
    let failing = (0..400).map(|n| of_key(&format!("x{n}"), 0));
    world.publish_all(failing).await;
    world.advance(21 * SECOND).await;
    assert_eq!(world.calls_of("billing", "b-1").len(), 1);
    world.sink("erp", 200);
    world.until_settled().await;
}
