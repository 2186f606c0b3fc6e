//! Who gives way when what is owed or dead fills the storage (GUARANTEES 15, 21; DESIGN §4).

use std::time::Duration;

use broker::Refusal;
use broker::letter_query::{From, Query};
use broker::redrive;
use journal::Offset;
use journal::model_disk::CrashRule;
use tests::want::trigger_yaml;
use tests::world::Builder;
use tests::{World, always, order_placed, terms, ty};

const MS: Duration = Duration::from_millis(1);

/// A storage of 12 MiB in segments of 256 KiB.
fn small() -> Builder {
    let journal = |options: &mut journal::Options| {
        options.segment_bytes = 256 << 10;
        options.group_bytes_max = 64 << 10;
        options.queue_bytes_max = 256 << 10;
        options.note_bytes_max = 256 << 10;
        options.reserve_bytes = 512 << 10;
        options.bytes_max = 12 << 20;
    };
    World::new().journal(journal).storage(12 << 20)
}

fn large(id: String, ty: &str) -> event::Event {
    let event = event::Event::build(&id, "/shop", ty).data(vec![b'x'; 16 << 10]);
    event.finish().expect("a test's event is valid")
}

/// Publishes so many events for `orders`, and after each a small one that another trigger gets. None may
/// be refused.
async fn flood(world: &World, round: usize, events: usize) {
    let publisher = world.publisher();
    let publish = async {
        for n in 0..events {
            let orders = large(format!("o-{round}-{n}"), "order.placed");
            for event in [
                orders,
                event::Event::build(&format!("p-{round}-{n}"), "/shop", "payment")
                    .finish()
                    .expect("valid"),
            ] {
                let taken = publisher.publish("default", vec![event]).await;
                taken.unwrap_or_else(|refusal| panic!("{n}: {refusal}"));
            }
            tokio::time::sleep(120 * MS).await;
        }
    };
    world.run(publish).await;
}

/// GUARANTEES 15: one dead function can't fill the disk of the others. Its letters stay, the oldest without
/// payload.
#[tokio::test(start_paused = true)]
async fn the_payloads_of_a_dead_functions_oldest_letters_give_way() {
    let mut world = small()
        .trigger("orders", ty("order.placed"), terms())
        .trigger("payments", ty("payment"), terms())
        .sink("orders", always(400).body("no"))
        .sink("payments", always(200))
        .start()
        .await;
    // Three times what there is.
    flood(&world, 0, 2000).await;
    world.until_settled().await;
    let check = |world: &World| {
        let letters = world.engine().dead_letters();
        let rows = letters.rows(&Query::default(), From::Oldest(Offset(0)), 5000);
        assert_eq!(rows.len(), 2000, "every letter is there");
        let discarded = rows.iter().take_while(|row| row.payload_discarded).count();
        assert!((1000..1950).contains(&discarded), "{discarded}");
        assert!(
            rows[discarded..].iter().all(|row| !row.payload_discarded),
            "the oldest first"
        );
        let oldest = letters.show(rows[0].id).expect("it is listed");
        assert_eq!(oldest.attempts().len(), 1, "its attempts stay");
        assert!(oldest.event.is_err());
        let newest = letters.show(rows[1999].id).expect("it is listed");
        assert_eq!(
            newest.event.expect("it is kept").event.as_ref().id(),
            "o-0-1999"
        );
        discarded
    };
    let discarded = check(&world);
    let report = world.report().await;
    assert_eq!(report.space.quota_payloads, discarded as u64);
    let book = report.triggers.iter().find(|t| t.name.name() == "payments");
    assert_eq!(book.map(|t| t.book.delivered), Some(2000));
    world.crash(CrashRule::Reordered, 1).await;
    check(&world);
    world.until_settled().await;
}

/// What is owed to a function that is down for good gives way too, the oldest first, and ends in the dead
/// letters.
#[tokio::test(start_paused = true)]
async fn the_oldest_deliveries_of_a_function_that_is_down_give_way() {
    let mut world = small()
        .trigger(
            "orders",
            ty("order.placed"),
            terms().backoff("linear", "PT60S").backoff_max("PT60S"),
        )
        .trigger("payments", ty("payment"), terms())
        .sink("orders", always(503))
        .sink("payments", always(200))
        .start()
        .await;
    flood(&world, 0, 2000).await;
    let ended = |report: &broker::report::Report| {
        let orders = report.triggers.iter().find(|t| t.name.name() == "orders");
        let book = orders.expect("it is in force").book;
        (book, book.dead[broker::records::Cause::Quota as usize])
    };
    let report = world.report().await;
    assert_eq!(
        report.space.quota_deliveries,
        ended(&report).1,
        "no more are counted"
    );
    world.restart().await;
    let (book, gave_way) = ended(&world.report().await);
    assert!((1000..1950).contains(&gave_way), "{gave_way}");
    assert_eq!(book.owed + gave_way, 2000);
    world.sink("orders", always(200));
    world.until_settled().await;
    let delivered = |n: usize| {
        let calls = world.calls_of("orders", &format!("o-0-{n}"));
        calls.iter().any(|call| call.took())
    };
    assert!(!delivered(0) && delivered(1999), "the oldest gave way");
    // It recovers by itself: there is room for as much again.
    flood(&world, 1, 500).await;
    world.until_settled().await;
}

/// What waits behind one that fails of its key can't be kept for ever either.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_its_key_gives_way() {
    let patient = terms().backoff("linear", "PT60S").backoff_max("PT60S");
    let world = small()
        .file(
            "orders.yaml",
            trigger_yaml("orders", "default", "[]", &patient.policy("ordered")),
        )
        .file(
            "ordered.yaml",
            "apiVersion: weft.dev/v1alpha1\nkind: DeliveryPolicy\nmetadata: {name: ordered}\nspec: {ordering: {by: source}}\n",
        )
        .trigger("payments", ty("payment"), terms())
        .sink("orders", always(409))
        .sink("payments", always(200))
        .start()
        .await;
    flood(&world, 0, 2000).await;
    let report = world.report().await;
    let orders = report.triggers.iter().find(|t| t.name.name() == "orders");
    let book = orders.expect("it is in force").book;
    let gave_way = book.dead[broker::records::Cause::Quota as usize];
    assert!(gave_way > 1000, "{gave_way}");
    world.sink("orders", always(200));
    world.until_settled().await;
}

/// With `onQuota: refuse` nothing is given up: the broker refuses, and only it, until there is room.
#[tokio::test(start_paused = true)]
async fn a_broker_whose_trigger_says_so_refuses_instead() {
    let patient = terms().backoff("linear", "PT10S").backoff_max("PT10S");
    let orders = trigger_yaml("orders", "orders", "[]", &patient.policy("careful"));
    let world = small()
        .broker("orders", terms())
        .file("orders.yaml", orders)
        .file(
            "careful.yaml",
            "apiVersion: weft.dev/v1alpha1\nkind: DeliveryPolicy\nmetadata: {name: careful}\nspec: {onQuota: refuse}\n",
        )
        .trigger("payments", ty("payment"), terms())
        .sink("orders", always(503))
        .sink("payments", always(200))
        .start()
        .await;
    let mut taken = 0;
    let refusal = loop {
        let event = large(format!("o-{taken}"), "order.placed");
        match world.try_publish("orders", vec![event]).await {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
        world.advance(120 * MS).await;
        assert!(taken < 2000, "nobody refuses");
    };
    let said = refusal.to_string();
    assert!(matches!(refusal, Refusal::Quota { .. }), "{said}");
    assert_eq!(
        said,
        "broker default/orders takes no events while trigger default/orders is over its share of the storage; try again later"
    );
    assert!(taken > 200, "{taken}");
    for n in 0..50 {
        let small = event::Event::build(&format!("p-{n}"), "/shop", "payment").finish();
        let taken = world
            .try_publish("default", vec![small.expect("valid")])
            .await;
        taken.expect("others go on");
        world.advance(120 * MS).await;
    }
    let report = world.report().await;
    assert_eq!(report.space.refused.len(), 1);
    assert_eq!(report.books.dead(), 0, "nothing is given up");
    world.sink("orders", always(200));
    world
        .until("delivered", |report| report.books.owed == 0)
        .await;
    world.advance(Duration::from_secs(5)).await;
    let again = world
        .try_publish("orders", vec![order_placed("after")])
        .await;
    again.expect("there is room again");
    world.until_settled().await;
}

/// Publishes rounds of so many events for `orders` and one that another trigger gets. None may be refused.
async fn flood_in_rounds(world: &World, rounds: usize, orders: usize, data_bytes: usize) {
    let publisher = world.publisher();
    let publish = async {
        for n in 0..rounds {
            let order = |m| {
                let event = event::Event::build(&format!("o-{n}-{m}"), "/shop", "order.placed");
                let event = event.data(vec![b'x'; data_bytes]).finish();
                event.expect("a test's event is valid")
            };
            let payment = event::Event::build(&format!("p-{n}"), "/shop", "payment").finish();
            let mut events: Vec<event::Event> = (0..orders).map(order).collect();
            events.push(payment.expect("valid"));
            let taken = publisher.publish("default", events).await;
            taken.unwrap_or_else(|refusal| panic!("{n}: {refusal}"));
            tokio::time::sleep(240 * MS).await;
        }
    };
    world.run(publish).await;
}

/// GUARANTEES 15: what a dead function answers counts too. Small events with large error pages: when their
/// payloads have given way, the oldest letters go.
#[tokio::test(start_paused = true)]
async fn letters_that_are_larger_than_their_events_give_way_too() {
    let mut world = small()
        .trigger("orders", ty("order.placed"), terms())
        .trigger("payments", ty("payment"), terms())
        .sink("orders", always(400).body(vec![b'e'; 4 << 10]))
        .sink("payments", always(200))
        .start()
        .await;
    // More than twice what there is.
    flood_in_rounds(&world, 800, 8, 100).await;
    let report = world.report().await;
    assert_eq!(report.books.dead(), 6400, "each ended");
    let space = &report.space;
    let most = space.held.values().max().copied();
    assert!(
        most <= Some(space.share + (1 << 20)),
        "{most:?} {}",
        space.share
    );
    let letters = world.engine().dead_letters();
    let rows = letters.rows(&Query::default(), From::Oldest(Offset(0)), 6400);
    assert_eq!(rows.len() as u64 + space.quota_letters, 6400);
    assert!((300..4000).contains(&rows.len()), "{}", rows.len());
    let newest = letters.show(rows[rows.len() - 1].id).expect("it is listed");
    assert_eq!(newest.attempts().len(), 1);
    let quota = broker::records::Cause::Quota as usize;
    let orders = report.triggers.iter().find(|t| t.name.name() == "orders");
    assert_eq!(orders.map(|t| t.book.dead[quota]), Some(0));
    // No start brings them back.
    world.crash(CrashRule::Reordered, 1).await;
    let rows_then =
        world
            .engine()
            .dead_letters()
            .rows(&Query::default(), From::Oldest(Offset(0)), 6400);
    assert!(rows_then.len() < 4000, "{}", rows_then.len());
    world.until_settled().await;
}

/// Letters that were seen to are the first whose records go, also by a node that saw to them itself.
#[tokio::test(start_paused = true)]
async fn the_records_of_letters_that_were_discarded_give_way() {
    let world = small()
        .trigger("orders", ty("order.placed"), terms())
        .trigger("payments", ty("payment"), terms())
        .sink("orders", always(400).body(vec![b'e'; 4 << 10]))
        .sink("payments", always(200))
        .start()
        .await;
    flood_in_rounds(&world, 50, 8, 100).await;
    let discard = redrive::Asked {
        which: redrive::Which::All(Box::default()),
        what: redrive::What::Discard,
        dry_run: false,
    };
    assert_eq!(world.redrive(discard).await.done, 400);
    flood_in_rounds(&world, 400, 8, 100).await;
    let report = world.report().await;
    assert!(400 < report.space.quota_letters, "{:?}", report.space);
    let [_, _, discarded] = world.engine().dead_letters().count_by_state();
    assert_eq!(discarded, 0, "they went first");
    world.until_settled().await;
}

/// A letter whose sink is down as well gives way with what its sink is owed, or its event would stay.
#[tokio::test(start_paused = true)]
async fn letters_that_a_sink_is_owed_give_way() {
    let patient = terms().backoff("linear", "PT60S").backoff_max("PT60S");
    let world = small()
        .trigger("orders", ty("order.placed"), terms().dead_letter("desk"))
        .trigger("payments", ty("payment"), patient)
        .sink("orders", always(400).body("no"))
        .sink("desk", always(503))
        .sink("payments", always(200))
        .start()
        .await;
    flood_in_rounds(&world, 700, 3, 16 << 10).await;
    let report = world.report().await;
    let space = &report.space;
    let most = space.held.values().max().copied();
    assert!(
        most <= Some(space.share + (2 << 20)),
        "{most:?} {}",
        space.share
    );
    let payments = report.triggers.iter().find(|t| t.name.name() == "payments");
    assert_eq!(payments.map(|t| t.book.delivered), Some(700));
    let letters = world.engine().dead_letters();
    assert_eq!(letters.count(), 2100, "every letter is there");
    world.settle().await;
}
