//! Bad days of the disk: it is full, it fails, it lies (GUARANTEES 21, DESIGN §4).

use std::io::ErrorKind;
use std::time::Duration;

use broker::Refusal;
use broker::letter_query::{From, Query};
use expect_test::expect;
use journal::Offset;
use journal::model_disk::{CrashRule, Lasting, Operation};
use tests::{World, after, always, everything, order_placed, terms};

const KIB: usize = 1 << 10;

/// A log of 4 MiB in segments of 256 KiB.
fn small(options: &mut journal::Options) {
    options.segment_bytes = 256 << 10;
    options.group_bytes_max = 64 << 10;
    options.queue_bytes_max = 256 << 10;
    options.note_bytes_max = 256 << 10;
    options.reserve_bytes = 512 << 10;
    options.bytes_max = 4 << 20;
}

fn large(id: &str) -> event::Event {
    let event = event::Event::build(id, "/shop", "order.placed");
    event
        .data(vec![b'x'; 16 * KIB])
        .finish()
        .expect("a test's event is valid")
}

/// Publishes until it is refused for a second, and says how many were taken.
async fn fill(world: &World, prefix: &str) -> usize {
    let (mut taken, mut refused) = (0, 0);
    while refused < 4 {
        match world
            .try_publish("default", vec![large(&format!("{prefix}-{taken}"))])
            .await
        {
            Ok(_) => (taken, refused) = (taken + 1, 0),
            Err(Refusal::NoSpace) => {
                refused += 1;
                // The router looks for room each 250 ms.
                world.advance(Duration::from_millis(260)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn a_full_log_refuses_at_the_door_delivers_on_and_recovers_by_itself() {
    let mut world = World::new()
        .journal(small)
        .trigger("billing", everything(), terms().timeout("PT1H"))
        .sink("billing", after(Duration::from_secs(30)))
        .start()
        .await;
    let taken = fill(&world, "first").await;
    assert!(
        (100..250).contains(&taken),
        "{taken} events of 16 KiB in 3.5 MiB"
    );
    // Refused again and again changes nothing.
    for n in 0..20 {
        let refused = world
            .try_publish("default", vec![large(&format!("no-{n}"))])
            .await;
        assert!(matches!(refused, Err(Refusal::NoSpace)));
    }
    // A batch is refused whole.
    let batch = vec![order_placed("no-small"), large("no-large")];
    assert!(world.try_publish("default", batch).await.is_err());

    world
        .until("delivered", |report| {
            report.books.delivered as usize == taken
        })
        .await;
    world.advance(Duration::from_secs(1)).await;
    let again = fill(&world, "second").await;
    assert!(again > taken / 2, "there is room again: {again}");
    world.until_settled().await;
    assert!(
        world
            .calls()
            .iter()
            .all(|call| !call.key.1.starts_with("no-")),
        "nothing half stored"
    );
    world.restart().await;
    world.until_settled().await;
    world.check_times(
        &[1, 30, 60, 90],
        expect![[r#"
        0-1 s           billing  200 ×100
        30-60 s         billing  200 ×68
        60-90 s         billing  200 ×100
        90- s           billing  200 ×68
    "#]],
    );
}

/// The function is down and the log is full: for half an hour every retry is written down, and yet there
/// must be room for the settlements when it is back.
#[tokio::test(start_paused = true)]
async fn retries_on_a_full_log_leave_room_to_settle() {
    let world = World::new()
        .journal(|options| {
            small(options);
            // A settlement that nobody shares a frame with takes 4 KiB: all must fit a segment.
            options.segment_bytes = 1 << 20;
            options.reserve_bytes = 2 << 20;
        })
        .trigger(
            "billing",
            everything(),
            terms().backoff("linear", "PT20S").backoff_max("PT20S"),
        )
        .sink("billing", always(503))
        .start()
        .await;
    let taken = fill(&world, "e").await;
    world.advance(Duration::from_secs(1800)).await;
    world.sink("billing", always(200));
    world.advance(Duration::from_secs(600)).await;
    let delivered = world.report().await.books.delivered;
    assert_eq!(delivered as usize, taken, "all is settled");
    world.until_settled().await;
    world.publish(order_placed("after")).await;
    world.until_settled().await;
    world.check_times(
        &[60, 600, 1800],
        expect![[r#"
        0-60 s          billing  503 ×10
        60-600 s        billing  503 ×7
        600-1800 s      billing  503 ×17
        1800- s         billing  200 ×102
    "#]],
    );
}

/// Others leave the disk less room than the log may take: history that nobody is owed gives way, and
/// nobody has to come and make room.
#[tokio::test(start_paused = true)]
async fn history_gives_way_where_the_disk_is_short() {
    let world = World::new()
        .journal(|options| {
            small(options);
            options.min_free = 512 << 10;
        })
        .trigger("billing", everything(), terms().timeout("PT1H"))
        .sink("billing", after(Duration::from_secs(30)))
        .start()
        .await;
    world.disk().set_capacity(3 << 20);
    let taken = fill(&world, "first").await;
    assert!((50..170).contains(&taken), "{taken}");
    world
        .until("delivered", |report| {
            report.books.delivered as usize == taken
        })
        .await;
    world.advance(Duration::from_secs(1)).await;
    let again = fill(&world, "second").await;
    assert!(again > taken / 2, "there is room again: {again}");
    world.until_settled().await;
}

/// The file system fills up before the log's own bound does.
#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_up_refuses_and_recovers_too() {
    let world = World::new()
        .journal(small)
        .trigger("billing", everything(), terms().timeout("PT1H"))
        .sink("billing", after(Duration::from_secs(30)))
        .start()
        .await;
    world.disk().set_capacity(2 << 20);
    let taken = fill(&world, "e").await;
    assert!(taken < 130, "{taken}");
    assert!(
        world.ends().is_empty(),
        "a full disk is no fault: {:?}",
        world.ends()
    );
    world
        .until("delivered", |report| {
            report.books.delivered as usize == taken
        })
        .await;
    world.disk().set_capacity(8 << 20);
    world.advance(Duration::from_secs(1)).await;
    assert!(fill(&world, "f").await > 0);
    world.until_settled().await;
}

/// A write or sync that failed once poisons the log: publishers are refused, the engine ends, and
/// the next start finds all that was acknowledged.
#[tokio::test(start_paused = true)]
async fn a_failed_write_or_sync_stops_the_engine_and_loses_nothing() {
    for (operation, lasting) in [
        (Operation::Sync, Lasting::Once),
        (Operation::Sync, Lasting::OnceWithDataGone),
        (Operation::Sync, Lasting::ForEver),
        (Operation::Write, Lasting::Once),
        (Operation::Write, Lasting::ForEver),
    ] {
        for nth in [0, 1, 2, 5, 9] {
            let mut world = World::new()
                .journal(small)
                .trigger("billing", everything(), terms())
                .sink("billing", after(Duration::from_millis(30)))
                .start()
                .await;
            world
                .publish_all((0..10).map(|n| order_placed(&format!("a-{n}"))))
                .await;
            world.disk().fail(operation, nth, lasting, ErrorKind::Other);
            let mut refused = 0;
            for n in 0..40 {
                let published = world
                    .try_publish("default", vec![order_placed(&format!("b-{n}"))])
                    .await;
                refused += usize::from(matches!(published, Err(Refusal::Stopped)));
                world.advance(Duration::from_millis(5)).await;
            }
            assert!(
                refused >= 25,
                "{operation:?} {nth} {lasting:?}: {refused} refused"
            );
            let ends = world.ends();
            for task in ["journal", "router", "worker"] {
                let failed = ends.iter().any(|(name, end)| *name == task && end.is_err());
                assert!(failed, "the {task} goes on after {operation:?}: {ends:?}");
            }
            // The process ends, the power stays: what the disk said yes to is there.
            world.crash(CrashRule::Everything, nth).await;
            world.until_settled().await;
            world.crash(CrashRule::Nothing, nth).await;
            world.until_settled().await;
        }
    }
}

/// History that nobody is owed goes when its room is needed, and what is owed is never lost by it.
#[tokio::test(start_paused = true)]
async fn room_is_made_from_history_before_anybody_is_refused() {
    let mut world = World::new()
        .journal(small)
        .trigger("billing", everything(), terms())
        .sink("billing", after(Duration::from_millis(2)))
        .start()
        .await;
    // Ten times what the log can hold.
    for n in 0..2500 {
        world.publish(large(&format!("e-{n}"))).await;
        world.advance(Duration::from_millis(12)).await;
    }
    world.until_settled().await;
    assert_eq!(world.calls().len(), 2500);
    let start = world.engine().journal().start();
    assert!(start.0 > 1000, "{start:?}");
    world.crash(CrashRule::Reordered, 3).await;
    world.publish(order_placed("last")).await;
    world.until_settled().await;
    assert_eq!(world.calls_of("billing", "last").len(), 1);
}

/// While a backup holds the files nothing that is given up gives room: so history stays, nobody gives way for
/// a quota, and publishers wait until the backup is done.
#[tokio::test(start_paused = true)]
async fn a_backup_of_a_full_node_costs_no_history_and_no_delivery() {
    let world = World::new()
        .journal(|options| {
            small(options);
            options.bytes_max = 12 << 20;
        })
        .storage(12 << 20)
        .trigger("billing", tests::ty("bill"), terms().paused())
        .trigger("other", tests::ty("order.placed"), terms())
        .sink("billing", always(200))
        .sink("other", always(200))
        .start()
        .await;
    // More than a trigger's share of the storage.
    for n in 0..420 {
        let bill = event::Event::build(&format!("bill-{n}"), "/shop", "bill");
        let bill = bill.data(vec![b'x'; 16 * KIB]).finish().unwrap();
        world.publish(bill).await;
    }
    let journal = world.engine().journal().clone();
    let hold = journal.hold();
    assert!(fill(&world, "history").await > 0);
    world.advance(Duration::from_secs(60)).await;
    let report = world.report().await;
    assert_eq!(journal.start(), Offset(0), "history stays");
    assert_eq!(report.space.quota_deliveries, 0);
    let refused = world.try_publish("default", vec![large("no")]).await;
    assert!(matches!(refused, Err(Refusal::NoSpace)), "{refused:?}");
    drop(hold);
    world.advance(Duration::from_secs(5)).await;
    assert!(fill(&world, "more").await > 0, "history gives way again");
    assert!(journal.start() > Offset(0));
    drop(journal);
    world.settle().await;
}

/// A dead letter's event stays however much comes after: it moves out of the way.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_keeps_its_event_and_not_its_segment() {
    let mut world = World::new()
        .journal(small)
        .trigger("billing", tests::ty("order.placed"), terms())
        .trigger("other", tests::ty("other"), terms())
        .sink("billing", always(400))
        .sink("other", always(200))
        .start()
        .await;
    world.publish(order_placed("dead")).await;
    for n in 0..1000 {
        let event = event::Event::build(&format!("x-{n}"), "/shop", "other");
        let event = event.data(vec![b'x'; 16 * KIB]).finish().unwrap();
        world.publish(event).await;
        world.advance(Duration::from_millis(12)).await;
    }
    world.until_settled().await;
    assert!(world.engine().journal().start().0 > 1000);
    world.restart().await;
    let letters = world.engine().dead_letters();
    let page = letters.page(&Query::default(), From::Oldest(Offset(0)), 9);
    let letter = page.letters.first().expect("the letter is listed");
    assert_eq!(letter.event.as_ref().unwrap().event.as_ref().id(), "dead");
    assert_eq!(letter.attempts().len(), 1);
    world.settle().await;
}

/// The Node's `limits.eventBytes` holds at every broker's door, above the default and below it.
#[tokio::test(start_paused = true)]
async fn the_nodes_limit_of_an_event_holds() {
    for (limit, bytes, taken) in [(64 << 10, 100_000, false), (2 << 20, 1_500_000, true)] {
        let world = World::new()
            .limits(|limits| limits.event_bytes_max = limit)
            .journal(|options| {
                options.segment_bytes = 8 << 20;
                options.group_bytes_max = 3 << 20;
                options.queue_bytes_max = 8 << 20;
                options.note_bytes_max = 3 << 20;
                options.reserve_bytes = 16 << 20;
                options.bytes_max = 64 << 20;
            })
            .trigger("billing", everything(), terms())
            .sink("billing", always(200))
            .start()
            .await;
        let large = event::Event::build("o-1", "/shop", "order.placed").data(vec![b'x'; bytes]);
        let large = large.finish().expect("a test's event is valid");
        let answer = world.try_publish("default", vec![large]).await;
        match answer {
            Ok(_) => assert!(taken, "{bytes} bytes were taken over {limit}"),
            Err(Refusal::TooLarge { limit: told, .. }) => assert_eq!((taken, told), (false, limit)),
            Err(other) => panic!("{other}"),
        }
        world.settle().await;
    }
}

/// More end at the same moment than may wait to be written down: none is dropped, each has its letter.
#[tokio::test(start_paused = true)]
async fn more_endings_at_once_than_may_wait_are_all_written_down() {
    const EVENTS: u64 = 90;
    let mut world = World::new()
        .journal(|options| {
            small(options);
            options.note_bytes_max = options.group_bytes_max;
        })
        .trigger("billing", everything(), terms())
        .sink(
            "billing",
            always(400)
                .body(vec![b'x'; 4 * KIB])
                .after(Duration::from_secs(1)),
        )
        .start()
        .await;
    world
        .publish_all((0..EVENTS).map(|n| order_placed(&format!("o-{n}"))))
        .await;
    world.until_settled().await;
    assert_eq!(world.report().await.books.dead(), EVENTS);
    world.crash(CrashRule::Nothing, 1).await;
    assert_eq!(world.found.dead_letters, EVENTS);
    world.until_settled().await;
}
