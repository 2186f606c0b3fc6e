//! Ten thousand lanes of which one is alive: the others wait behind their destination's open
//! breaker and cost it nothing (DESIGN §3, GUARANTEES 10).

use std::time::Duration;

use broker::destination::Deferral;
use tests::{World, after, event, everything, refuses_connection, terms, ty};

const DEAD: usize = 9_999;
const OWED_EACH: usize = 20;
const LIVE: usize = 2_000;

/// Counted, not timed: in the time in which the live lane makes 2,000 deliveries nobody looks at
/// a dead lane but for the probes that are due then.
#[tokio::test(start_paused = true)]
async fn a_live_lane_among_ten_thousand_dead_ones_works_alone() {
    let mut builder = World::new()
        .journal(|options| {
            options.segment_bytes = 32 << 20;
            options.group_bytes_max = 8 << 20;
            options.queue_bytes_max = 8 << 20;
            options.note_bytes_max = 8 << 20;
        })
        .sink("dead", refuses_connection())
        .sink("live", after(Duration::from_millis(1)))
        .trigger("live", everything(), terms());
    for n in 0..DEAD {
        builder = builder.trigger(&format!("d-{n}"), ty("order.placed"), terms().to("dead"));
    }
    let world = builder.start().await;
    let orders = (0..OWED_EACH).map(|n| event(&format!("o-{n}"), "order.placed"));
    world.publish_all(orders).await;
    // The penalty is at its longest by now.
    world.advance(Duration::from_secs(600)).await;

    let deferred = async || {
        let report = world.report().await;
        let dead = report
            .destinations
            .iter()
            .find(|it| it.key.contains("dead"));
        let dead = dead.expect("it has lanes");
        assert_eq!(dead.waiting, DEAD, "each waits with all it has");
        dead.deferred[Deferral::Breaker as usize]
    };
    let (before, calls) = (deferred().await, world.calls().len());
    let began = world.time();
    let others = (0..LIVE).map(|n| event(&format!("l-{n}"), "ping"));
    world.publish_all(others).await;
    world
        .until("delivered", |report| {
            report.books.delivered as usize == OWED_EACH + LIVE
        })
        .await;
    let live = world.calls();
    let last = live[calls..].iter().filter_map(|call| call.ended).max();
    let took = last.expect("they were answered") - began;
    // Twenty rounds of 100 in the air, a millisecond each.
    assert!(took <= Duration::from_millis(60), "{took:?}");
    let asked = deferred().await - before;
    assert!(asked <= 2, "dead lanes were looked at {asked} times");
    assert!(
        live.len() - calls <= LIVE + 1,
        "{} calls",
        live.len() - calls
    );
    world.settle().await;
}
