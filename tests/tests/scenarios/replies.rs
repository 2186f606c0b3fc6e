//! Functions that answer with an event: it goes through ingress of the same broker, together with
//! the settlement of what it answers (contract §2, §7).

use std::time::Duration;

use expect_test::expect;
use journal::model_disk::CrashRule;
use tests::{
    World, always, event, everything, order_placed, refuses_connection, replies, replies_with,
    terms, ty,
};

#[tokio::test(start_paused = true)]
async fn the_reply_of_one_trigger_meets_every_trigger() {
    let world = World::new()
        .trigger("billing", ty("order.placed"), terms())
        .trigger("shipping", ty("order.billed"), terms())
        .trigger("audit", everything(), terms())
        .sink("billing", replies("order.billed").body("{}"))
        .sink("shipping", replies("order.shipped"))
        .sink("audit", always(204))
        .start()
        .await;

    world.publish(order_placed("o-1")).await;
    world.until_settled().await;

    world.check(expect![[r#"
        audit     o-1  204  delivered
        audit     o-1'  204  delivered
        audit     o-1''  204  delivered
        billing   o-1  200+reply  delivered
        shipping  o-1'  200+reply  delivered
    "#]]);
    let log = world.log();
    let hops: Vec<u8> = log.events.values().map(|event| event.hops).collect();
    assert_eq!(hops, [0, 1, 2]);
    let tally = world
        .report()
        .await
        .triggers
        .iter()
        .find(|t| t.name.name() == "billing")
        .unwrap()
        .lane
        .tally;
    assert_eq!(tally.replies, 1);
}

/// A reply belongs to the trace of what it answers.
#[tokio::test(start_paused = true)]
async fn a_reply_stays_in_its_trace() {
    let world = World::new()
        .trigger("billing", ty("order.placed"), terms())
        .trigger("shipping", ty("order.billed"), terms())
        .sink("billing", replies("order.billed"))
        .sink("shipping", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    let calls = world.calls();
    assert_eq!(calls[0].trace.trace_id, calls[1].trace.trace_id);
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_202_is_never_a_reply() {
    let world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", replies_with(202, "order.billed"))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  202+reply  delivered
    "#]]);
}

/// The log takes both or neither: wherever the power fails, the reply is stored as often as its
/// settlement, once, and the event that it answers is answered again only if neither was.
#[tokio::test(start_paused = true)]
async fn a_reply_and_its_settlement_are_stored_together_or_not_at_all() {
    let world = World::new()
        .journal(small)
        .trigger("billing", ty("order.placed"), terms())
        .trigger("shipping", ty("order.billed"), terms())
        .sink("billing", replies("order.billed").body("invoice"))
        .sink("shipping", always(200))
        .start()
        .await;
    world.disk().keep_history();
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
    let changes = world.disk().changes();
    assert!(changes >= 6, "{changes} changes to the disk");

    for change in 0..=changes {
        for (rule, seed) in rules() {
            let disk = world.disk().crash_before(change, rule, seed);
            let mut ledger = world.ledger.borrow().clone();
            ledger.as_of_change(change);
            let acknowledged = ledger.acknowledged().len();
            let again = World::new()
                .journal(small)
                .disk(disk)
                .ledger(ledger)
                .sinks(world.sinks.clone())
                .trigger("billing", ty("order.placed"), terms())
                .trigger("shipping", ty("order.billed"), terms())
                .start()
                .await;
            again.until_settled().await;
            let log = again.log();
            let count = |id: &str| {
                log.events
                    .values()
                    .filter(|event| event.key.1 == id)
                    .count()
            };
            let (orders, bills) = (count("o-1"), count("o-1'"));
            assert!(orders >= acknowledged, "change {change}, {rule:?}, {seed}");
            assert_eq!(
                orders, bills,
                "a reply each: change {change}, {rule:?}, {seed}"
            );
            assert_eq!(again.report().await.books.delivered as usize, 2 * orders);
        }
    }
}

fn rules() -> impl Iterator<Item = (CrashRule, u64)> {
    CrashRule::ALL
        .into_iter()
        .flat_map(|rule| (0..3).map(move |seed| (rule, seed)))
}

fn small(options: &mut journal::Options) {
    options.segment_bytes = 256 << 10;
    options.group_bytes_max = 64 << 10;
    options.queue_bytes_max = 256 << 10;
    options.note_bytes_max = 256 << 10;
    options.reserve_bytes = 512 << 10;
}

/// A reply goes to the broker of the trigger that it answers, not to another one.
#[tokio::test(start_paused = true)]
async fn a_reply_stays_with_its_broker() {
    let other = tests::want::trigger_yaml("other", "second", "[]", &terms());
    let world = World::new()
        .broker("second", terms())
        .file("other.yaml", other)
        .trigger("billing", ty("order.placed"), terms())
        .sink("billing", replies("order.billed"))
        .sink("other", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world
        .try_publish("second", vec![event("s-1", "order.placed")])
        .await
        .unwrap();
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  200+reply  delivered
        other    s-1  200  delivered
    "#]]);
}

/// While storage can't take the reply it is kept, and the function isn't called again for it. The
/// reserve is less than two segments here, so replies get none of it.
#[tokio::test(start_paused = true)]
async fn a_reply_that_storage_can_not_take_waits_for_room() {
    let world = full_world(256 << 10).await;
    world.advance(Duration::from_secs(60)).await;
    assert_eq!(world.calls_of("billing", "o-1").len(), 1);
    assert_eq!(
        world.report().await.triggers[0].book.owed,
        1,
        "its reply can't be stored"
    );
    world
        .until("of the filler", |report| report.triggers[1].book.owed == 0)
        .await;

    world.until_settled().await;
    assert_eq!(
        world.calls_of("billing", "o-1").len(),
        1,
        "the function isn't asked twice"
    );
    let replied = world
        .log()
        .events
        .values()
        .any(|event| event.key.1 == "o-1'");
    assert!(replied || world.engine().journal().start().0 > 0);
    world.check_times(
        &[60, 120, 180],
        expect![[r#"
        0-60 s          billing  200+reply ×1
        0-60 s          hoard    200 ×100
        120-180 s       hoard    200 ×67
    "#]],
    );
}

/// Replies have room of their own: one is stored while publishers are refused.
#[tokio::test(start_paused = true)]
async fn a_reply_is_stored_where_publishers_are_refused() {
    let world = full_world(512 << 10).await;
    world.advance(Duration::from_secs(60)).await;
    let report = world.report().await;
    assert_eq!(report.triggers[0].book.owed, 0, "its reply was stored");
    assert_ne!(report.triggers[1].book.owed, 0, "while nothing came free");
    let refused = world
        .try_publish("default", vec![order_placed("o-2")])
        .await;
    assert!(refused.is_err(), "{refused:?}");
    let events = world.log().events;
    assert!(events.values().any(|event| event.key.1 == "o-1'"));
    world.check_times(
        &[60, 120],
        expect![[r#"
        0-60 s          billing  200+reply ×1
        0-60 s          hoard    … ×100
    "#]],
    );
    world.settle().await;
}

/// A log that is full of events owed for another two minutes, and one in the air whose answer is a
/// reply.
async fn full_world(reserve_bytes: u64) -> World {
    let world = World::new()
        .journal(move |options| {
            small(options);
            options.bytes_max = 2 << 20;
            options.reserve_bytes = reserve_bytes;
        })
        .retention(Duration::from_secs(7 * 24 * 3600))
        .trigger("billing", ty("order.placed"), terms())
        .trigger("hoard", ty("filler"), terms().timeout("PT1H"))
        .sink(
            "billing",
            replies("order.billed").after(Duration::from_secs(5)),
        )
        .sink("hoard", always(200).after(Duration::from_secs(120)))
        .start()
        .await;
    world.publish_all((0..70).map(|n| filler(n, 8 << 10))).await;
    // Not among the oldest: what is owed keeps its segment and all behind it.
    world.publish(order_placed("o-1")).await;
    fill_up(&world, 70).await;
    world
}

fn filler(n: usize, bytes: usize) -> event::Event {
    let event = event::Event::build(&format!("f-{n}"), "/shop", "filler");
    event
        .data(vec![b'x'; bytes])
        .finish()
        .expect("the event is whole")
}

/// Publishes until nothing more is taken, and says how many there are then.
async fn fill_up(world: &World, mut stored: usize) -> usize {
    // First the segments, then what is left of the last one.
    for bytes in [8 << 10, 10] {
        while world
            .try_publish("default", vec![filler(stored, bytes)])
            .await
            .is_ok()
        {
            stored += 1;
        }
    }
    stored
}

/// Lanes that wait for ingress and ingress that waits for lanes can't stop each other: the log is full of
/// what one trigger is owed, publishers are refused, and replies that wait to be stored take all the
/// bytes that may be in the air. Room comes only from deliveries, so some still leave: all is
/// delivered, the replies are stored, and publishers are taken again.
#[tokio::test(start_paused = true)]
async fn replies_that_wait_for_room_let_the_deliveries_go_that_make_it() {
    let policy = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: patient}
spec: {onQuota: refuse}
";
    let world = World::new()
        .file("patient.yaml", policy)
        .journal(|options| {
            small(options);
            options.bytes_max = 2 << 20;
        })
        .storage(2 << 20)
        .limits(|limits| limits.in_flight_bytes_max = 256 << 10)
        .retention(Duration::from_secs(1))
        .trigger("billing", ty("order.placed"), terms().policy("patient"))
        .trigger("hoard", ty("filler"), terms().policy("patient"))
        .trigger("archive", ty("order.billed"), terms().policy("patient"))
        .sink("billing", refuses_connection())
        .sink("hoard", refuses_connection())
        .sink("archive", refuses_connection())
        .start()
        .await;
    world.publish_all((0..60).map(|n| filler(n, 8 << 10))).await;
    const ORDERS: usize = 120;
    let orders = (0..ORDERS).map(|n| order_placed(&format!("o-{n}")));
    world.publish_all(orders).await;
    let mut fillers = 60;
    // What comes free by moving and by history is taken too.
    for _ in 0..40 {
        fillers = fill_up(&world, fillers).await;
        world.advance(Duration::from_secs(1)).await;
    }

    // It answers each order with an invoice of 16 KiB: far more than the room that replies have.
    world.sink(
        "billing",
        replies("order.billed").body(vec![b'i'; 16 << 10]),
    );
    world.advance(Duration::from_secs(200)).await;
    let table = |report: &broker::report::Report| {
        let mut table = "trigger  matched  delivered  in the air  answers\n".to_owned();
        for trigger in &report.triggers {
            let mut answers = std::collections::BTreeMap::<String, usize>::new();
            world.sinks.each(|call| {
                if call.whose == trigger.name.name() && call.answer != "refused" {
                    *answers.entry(call.answer.clone()).or_default() += 1;
                }
            });
            table += &format!(
                "{:7}  {:7}  {:9}  {:10}  {answers:?}\n",
                trigger.name.name(),
                trigger.book.matched,
                trigger.book.delivered,
                trigger.lane.in_flight,
            );
        }
        table
    };
    // What waits to be stored takes the bytes that may be in the air, and more.
    expect![[r#"
        trigger  matched  delivered  in the air  answers
        archive       58          0           0  {}
        billing      120         58          21  {"200+reply": 79}
        hoard        141          0           0  {}
    "#]]
    .assert_eq(&table(&world.report().await));
    let refused = world.try_publish("default", vec![filler(0, 8 << 10)]).await;
    assert!(refused.is_err(), "{refused:?}");

    world.sink("hoard", always(200));
    world.sink("archive", always(200));
    let healed = world.time();
    world.until_settled().await;
    let took = world.time() - healed;
    assert!(took < Duration::from_secs(300), "{took:?}");
    world.publish(order_placed("after")).await;
    world.until_settled().await;
    // No order was sent twice, and each invoice was stored.
    expect![[r#"
        trigger  matched  delivered  in the air  answers
        archive      121        121           0  {"200": 121}
        billing      121        121           0  {"200+reply": 121}
        hoard        141        141           0  {"200": 141}
    "#]]
    .assert_eq(&table(&world.report().await));
}
