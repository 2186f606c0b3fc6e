//! What is still owed or dead when its segment of the log is reclaimed stays, whatever comes between
//! (GUARANTEES 15, 49; DESIGN §4). Each start of each scenario is made with the view and without it, and both
//! are compared: see `World`.

use std::time::Duration;

use broker::keeper;
use broker::letter_query::{From, Query};
use broker::view::VIEW_FILE;
use expect_test::expect;
use journal::model_disk::{CrashRule, ModelDisk};
use journal::{Disk, Offset};
use tests::world::Builder;
use tests::{Seed, World, after, always, order_placed, terms, times, ty};

const MS: Duration = Duration::from_millis(1);

/// A log of 1 MiB in segments of 64 KiB, and as much for what is kept of it.
fn small(options: &mut journal::Options) {
    options.segment_bytes = 64 << 10;
    options.group_bytes_max = 16 << 10;
    options.queue_bytes_max = 64 << 10;
    options.note_bytes_max = 64 << 10;
    options.reserve_bytes = 128 << 10;
    options.bytes_max = 1 << 20;
}

/// An event that takes room and that one trigger gets at once.
fn history(n: usize) -> event::Event {
    let event = event::Event::build(&format!("h-{n}"), "/shop", "history");
    let event = event.data(vec![b'x'; 8 << 10]).finish();
    event.expect("a test's event is valid")
}

/// Writes so much history that the log is turned over so often.
async fn roll(world: &World, times: usize) {
    let (publisher, events) = (world.publisher(), times * 128);
    let publish = async {
        for n in 0..events {
            let taken = publisher.publish("default", vec![history(n)]).await;
            taken.expect("history makes room for history");
            tokio::time::sleep(16 * MS).await;
        }
    };
    world.run(publish).await;
}

/// All dead letters, as `weft dead-letters show` would have them, the oldest first.
fn shown(world: &World) -> String {
    let letters = world.engine().dead_letters();
    let mut text = String::new();
    for row in letters.rows(&Query::default(), From::Oldest(Offset(0)), 1000) {
        let letter = letters.show(row.id).expect("a listed letter can be shown");
        let event = letter.event.as_ref().expect("its event is kept");
        let event = event.event.as_ref();
        let payload = String::from_utf8_lossy(&event.data_bytes()).into_owned();
        let (trigger, reason) = (&row.trigger, row.reason.word());
        text += &format!("{trigger} {reason} {} {payload:?}\n", event.id());
        for attempt in letter.attempts() {
            let after = attempt.started.since(letter.attempts()[0].started);
            let (status, body) = (attempt.status.unwrap_or(0), &attempt.body);
            text += &format!("  {}ms {status} {body:?}\n", after.as_millis());
        }
    }
    text
}

/// GUARANTEES 15: ten times the log's size later, its trigger deleted and the node started again, a letter
/// has its payload and every attempt.
#[tokio::test(start_paused = true)]
async fn old_letters_are_shown_whole_after_ten_logs_without_their_trigger() {
    let mut world = World::new()
        .journal(small)
        .trigger(
            "billing",
            ty("order.placed"),
            terms().retry(2).backoff("linear", "PT1S").no_jitter(),
        )
        .trigger("audit", ty("history"), terms())
        .sink("billing", always(500).body(": out of paper").numbered())
        .sink("audit", always(200))
        .start()
        .await;
    for n in 0..3 {
        world.publish(order_placed(&format!("o-{n}"))).await;
    }
    world.until_settled().await;
    let before = shown(&world);
    expect![[r#"
        default/billing exhausted o-0 "data of o-0"
          0ms 500 b"1: out of paper"
          1000ms 500 b"4: out of paper"
          3000ms 500 b"7: out of paper"
        default/billing exhausted o-1 "data of o-1"
          0ms 500 b"2: out of paper"
          1000ms 500 b"5: out of paper"
          3000ms 500 b"8: out of paper"
        default/billing exhausted o-2 "data of o-2"
          0ms 500 b"3: out of paper"
          1000ms 500 b"6: out of paper"
          3000ms 500 b"9: out of paper"
    "#]]
    .assert_eq(&before);
    world.remove("billing.yaml");
    world.reload().await;
    world.advance(Duration::from_secs(601)).await;
    roll(&world, 10).await;
    assert!(world.engine().journal().start() > Offset(1000));
    assert_eq!(shown(&world), before, "before a restart");
    world.restart().await;
    assert!(!world.view_anew);
    assert_eq!(shown(&world), before, "after it");
    world.crash(CrashRule::Reordered, 1).await;
    assert_eq!(shown(&world), before, "and after a crash");
    world.lose_power(CrashRule::Everything, 1);
    world.disk().remove(VIEW_FILE).expect("there is a view");
    world.start_again().await;
    assert!(world.view_anew);
    assert_eq!(shown(&world), before, "and without the view");
    world.until_settled().await;
}

/// What is owed and parked in segments that have gone is delivered, each with the attempts it had.
#[tokio::test(start_paused = true)]
async fn what_is_owed_outlives_its_segment() {
    let mut world = World::new()
        .journal(small)
        .trigger(
            "billing",
            ty("order.placed"),
            terms()
                .backoff("linear", "PT30S")
                .backoff_max("PT30S")
                .max_in_flight(5),
        )
        .trigger("audit", ty("history"), terms())
        .sink("billing", always(503))
        .sink("audit", always(200))
        .start()
        .await;
    for n in 0..20 {
        world.publish(order_placed(&format!("o-{n}"))).await;
    }
    roll(&world, 5).await;
    let start = world.engine().journal().start();
    assert!(start > Offset(500), "{start:?}");
    let report = world.report().await;
    assert!(report.space.kept_bytes > 0 && report.space.records_kept >= 20);
    world.crash(CrashRule::Nothing, 5).await;
    roll(&world, 2).await;
    world.sink("billing", always(200));
    world.until_settled().await;
    for n in 0..20 {
        let calls = world.calls_of("billing", &format!("o-{n}"));
        let took = calls.iter().filter(|call| call.took()).count();
        assert_eq!(took, 1, "o-{n} of {} calls", calls.len());
    }
    roll(&world, 1).await;
    world.restart().await;
    let report = world.report().await;
    assert_eq!(report.books.owed, 0);
    assert_eq!(report.space.kept_live_bytes, 0, "nobody needs it any more");
    world.settle().await;
}

fn with_old_debts(seed: u64) -> Builder {
    World::new()
        .journal(small)
        .seed(seed)
        .trigger(
            "down",
            ty("order.placed"),
            terms().backoff("linear", "PT2S").backoff_max("PT2S"),
        )
        .trigger(
            "refuses",
            ty("order.placed"),
            terms().dead_letter("graveyard"),
        )
        .trigger("audit", ty("history"), terms())
}

/// Power fails at any moment of a run in which segments are copied, reclaimed and compacted: what was
/// owed or dead before is delivered, or shown, after.
#[tokio::test(start_paused = true)]
async fn no_moment_of_reclaiming_loses_what_is_owed_or_dead() {
    for mut seed in Seed::all(0..2) {
        let mut world = with_old_debts(seed.number)
            .sink("down", always(503))
            .sink("refuses", always(422).body("no"))
            .sink("graveyard", times(1, 503).then(after(20 * MS)))
            .sink("audit", always(200))
            .start()
            .await;
        for n in 0..12 {
            world.publish(order_placed(&format!("o-{n}"))).await;
        }
        world.advance(Duration::from_secs(2)).await;
        // All of it is durable from here on.
        world.restart().await;
        let letters = shown(&world);
        assert_eq!(letters.lines().count(), 24);
        world.disk().keep_history();
        roll(&world, 2).await;
        world.advance(Duration::from_secs(6)).await;
        let changes = world.disk().changes();
        let (ledger, sinks) = (world.ledger.borrow().clone(), world.sinks.clone());
        for _ in 0..40 {
            let change = seed.within(0..changes + 1);
            let rule = seed.of_these(&CrashRule::ALL);
            let mut then = ledger.clone();
            then.as_of_change(change);
            let again = with_old_debts(seed.number)
                .disk(world.disk().crash_before(change, rule, seed.bits()))
                .ledger(then)
                .sinks(sinks.clone())
                .start()
                .await;
            assert_eq!(
                again.report().await.triggers[1].book.owed,
                12,
                "seed {}",
                seed.number
            );
            assert_eq!(
                shown(&again),
                letters,
                "seed {} change {change} {rule:?}",
                seed.number
            );
            let taken = || again.calls().iter().filter(|call| call.took()).count();
            let before = taken();
            again.sink("down", always(200));
            again
                .until("nothing owed", |report| report.books.owed == 0)
                .await;
            assert!(taken() >= before + 12);
            again.settle().await;
            again.sink("down", always(503));
        }
        world.settle().await;
    }
}

/// The view is written when log and kept hold, durable, all that it knows: whenever the power fails, a start
/// believes it. One that knew more would be made anew, from the whole log, while nothing is delivered.
#[tokio::test(start_paused = true)]
async fn no_moment_leaves_a_view_that_knows_more_than_log_and_kept() {
    let world = with_old_debts(1)
        .sink("down", always(503))
        .sink("refuses", always(422).body("no"))
        .sink("graveyard", always(200))
        .sink("audit", always(200))
        .start()
        .await;
    for n in 0..12 {
        world.publish(order_placed(&format!("o-{n}"))).await;
    }
    let mut published = 0;
    while world.report().await.space.segments_reclaimed == 0 {
        // From the last commit before the segment goes.
        world.disk().keep_history();
        world.publish(history(published)).await;
        published += 1;
        world.advance(16 * MS).await;
    }
    let changes = world.disk().changes();
    assert!(changes > 20, "it was copied and written down: {changes}");
    for change in 0..=changes {
        let disk = world.disk().crash_before(change, CrashRule::Nothing, 1);
        assert!(
            world.believes_view_of(disk),
            "before change {change} of {changes}"
        );
    }
    world.settle().await;
}

/// The power fails, again and again, while old debts lie in kept and history rolls over them.
#[tokio::test(start_paused = true)]
async fn power_that_fails_while_the_log_rolls_loses_no_old_debt() {
    for mut seed in Seed::all(0..6) {
        let mut world = with_old_debts(seed.number)
            .sink("down", always(503))
            .sink("refuses", always(422).body("no"))
            .sink("graveyard", always(200))
            .sink("audit", always(200))
            .start()
            .await;
        for n in 0..12 {
            world.publish(order_placed(&format!("o-{n}"))).await;
        }
        world.advance(Duration::from_secs(2)).await;
        let letters = shown(&world);
        for round in 0..6 {
            let publisher = world.publisher();
            world.spawn(async move {
                for n in 0..400 {
                    let event = history(round * 1000 + n);
                    if publisher.publish("default", vec![event]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(16 * MS).await;
                }
            });
            let micros = seed.within(100_000..2_000_000);
            world.advance(Duration::from_micros(micros)).await;
            let rule = seed.of_these(&CrashRule::ALL);
            world.lose_power(rule, seed.bits());
            match seed.within(0..4) {
                0 => world.disk().remove(VIEW_FILE).expect("there is a view"),
                1 => world
                    .disk()
                    .flip_bit(VIEW_FILE, seed.within(0..60_000) as usize, 3),
                _ => {}
            }
            world.start_again().await;
            assert_eq!(shown(&world), letters, "seed {} round {round}", seed.number);
        }
        world.sink("down", always(200));
        world.until_settled().await;
        for n in 0..12 {
            let calls = world.calls_of("down", &format!("o-{n}"));
            assert!(
                calls.iter().any(|call| call.took()),
                "o-{n} seed {}",
                seed.number
            );
        }
    }
}

/// A letter is kept for as long as the Node says, and its event as long as the letter, in kept as well.
#[tokio::test(start_paused = true)]
async fn letters_expire_when_their_retention_is_over() {
    let mut world = World::new()
        .journal(small)
        .retention_dead_letters(Duration::from_secs(3600))
        .trigger("billing", ty("order.placed"), terms())
        .trigger("audit", ty("history"), terms())
        .sink("billing", always(400))
        .sink("audit", always(200))
        .start()
        .await;
    world.publish(order_placed("old")).await;
    roll(&world, 2).await;
    world.advance(Duration::from_secs(1800)).await;
    world.publish(order_placed("young")).await;
    world.until_settled().await;
    assert_eq!(world.engine().dead_letters().count(), 2);
    // Not while the clock can't be believed.
    world.step_clock(3600);
    world.advance(Duration::from_secs(120)).await;
    assert_eq!(world.engine().dead_letters().count(), 2);
    world.step_clock(-3600);
    world.advance(Duration::from_secs(1900)).await;
    let report = world.report().await;
    assert_eq!(report.space.letters_expired, 1);
    assert!(shown(&world).contains("young") && !shown(&world).contains("old"));
    world.restart().await;
    assert_eq!(world.engine().dead_letters().count(), 1);
    assert!(!shown(&world).contains("old"));
    roll(&world, 1).await;
    world.advance(Duration::from_secs(10)).await;
    world.crash(CrashRule::Reordered, 4).await;
    assert!(!shown(&world).contains("old"));
    world.until_settled().await;
}

/// However many expire at once, none is kept for much longer than it is to be.
#[tokio::test(start_paused = true)]
async fn thousands_of_letters_expire_within_seconds() {
    let world = World::new()
        .retention_dead_letters(Duration::from_secs(3600))
        .trigger("billing", ty("order.placed"), terms())
        .sink("billing", always(400))
        .start()
        .await;
    for n in 0..180 {
        let events = (0..50).map(|m| order_placed(&format!("o-{n}-{m}")));
        let taken = world.try_publish("default", events.collect()).await;
        taken.expect("there is room");
    }
    world
        .until("dead", |report| report.books.dead() == 9000)
        .await;
    world.advance(Duration::from_secs(3600 + 90)).await;
    let report = world.report().await;
    assert_eq!(report.space.letters_expired, 9000);
    world.settle().await;
}

/// The log has lost its last frame to damage, and the view was written after it: such a view isn't
/// believed, or what is written at those offsets from now on would count as known.
#[tokio::test(start_paused = true)]
async fn a_view_that_knows_more_than_the_log_is_made_anew() {
    let mut world = World::new()
        .trigger("billing", ty("order.placed"), terms())
        .sink("billing", after(200 * MS))
        .start()
        .await;
    for n in 0..3 {
        world.publish(order_placed(&format!("o-{n}"))).await;
    }
    world.until_settled().await;
    let end = world.engine().journal().durable().borrow().0;
    world.advance(2 * keeper::COMMIT_EVERY).await;
    world.lose_power(CrashRule::Everything, 1);
    lose_last_block(world.disk());
    world.start_again().await;
    let recovered = world.recovered.as_ref().expect("it was opened");
    assert!(recovered.end.0 < end, "{recovered}");
    assert!(world.view_anew);
    for n in 3..6 {
        world.publish(order_placed(&format!("o-{n}"))).await;
    }
    world.until_settled().await;
    world.restart().await;
    world.until_settled().await;
    // What was lost is that the last of them were delivered: so they are again.
    let calls = world.calls_of("billing", "o-2");
    assert_eq!(calls.len(), 2);
}

/// Flips a bit in each record's header of the last block of the log that holds any.
fn lose_last_block(disk: &ModelDisk) {
    const MARKER: [u8; 4] = [0xf5, b'r', b'e', 0xc1];
    const BLOCK: usize = journal::BLOCK_BYTES;
    let names = disk.names();
    let segment = |name: &&String| name.ends_with(".seg") && !name.starts_with("kept-");
    let name = names.iter().rfind(segment).expect("there is a segment");
    let file = disk.open(name).expect("it can be opened");
    let bytes = usize::try_from(file.len().expect("it has a length")).expect("a small file");
    let bytes = file.read_at(0, bytes).expect("it can be read");
    let markers = (0..bytes.len() - 4).filter(|at| bytes[*at..].starts_with(&MARKER));
    let markers: Vec<usize> = markers.collect();
    let last = markers.last().expect("it holds records") / BLOCK;
    for at in markers.iter().filter(|at| *at / BLOCK == last) {
        disk.flip_bit(name, *at, 3);
    }
}
