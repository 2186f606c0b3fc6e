//! A function that is down for an hour: what its trigger's terms make of it (contract §2).

use std::time::Duration;

use broker::redrive::{Asked, What, Which};
use expect_test::expect;
use tests::{World, after, everything, order_placed, refuses_connection, terms};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const EVENTS: usize = 5_000;

/// Twenty places, a tenth of a second each, are 200 deliveries a second.
const SINK: &str = "apiVersion: weft.dev/v1alpha1
kind: Sink
metadata: {name: erp}
spec: {uri: http://erp/?billing, maxInFlight: 20}
";

fn trigger(delivery: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: billing}}\nspec:\n  broker: default\n  \
         subscriber: {{ref: {{apiVersion: weft.dev/v1alpha1, kind: Sink, name: erp}}}}\n  delivery: {delivery}\n"
    )
}

/// `billing` is down when its events come, `audit` is not.
async fn outage(delivery: &str) -> World {
    let world = World::new()
        .file("erp.yaml", SINK)
        .file("billing.yaml", trigger(delivery))
        .trigger("audit", everything(), terms())
        .sink("erp", refuses_connection())
        .sink("audit", after(SECOND / 100))
        .start()
        .await;
    for first in (0..EVENTS).step_by(250) {
        let batch = (first..first + 250).map(|n| order_placed(&format!("o-{n}")));
        let taken = world.try_publish("default", batch.collect()).await;
        taken.expect("the batch is taken");
    }
    world
}

#[tokio::test(start_paused = true)]
async fn an_hour_loses_nothing_where_no_retry_is_written() {
    let world = outage("{}").await;
    let audited = world.time();
    world
        .until("audited", |report| {
            report.books.delivered as usize == EVENTS
        })
        .await;
    assert!(
        world.time() - audited < 2 * SECOND,
        "the other notices nothing"
    );
    world.advance(HOUR).await;
    let down = world.calls().len() - EVENTS;
    assert!(down <= 7 + 20 + 70, "{down} calls in an hour");

    world.sink("erp", after(SECOND / 10));
    world.until_settled().await;
    world.check_grouped(expect![[r#"
        audit    200  delivered  ×5000
        billing  200  delivered  ×4980
        billing  refused refused refused 200  delivered  ×8
        billing  refused refused refused refused 200  delivered  ×12
    "#]]);

    let calls = world.calls();
    let back = calls[EVENTS + down].began;
    // After the ramp of 30 s it drains at no less than 0.8 of its full speed.
    let warm = back + 30 * SECOND;
    let drained = calls.iter().filter(|call| call.began >= warm).count();
    let last = calls.iter().map(|call| call.began).max();
    let took = last.expect("there are calls") - warm;
    let speed = drained as f64 / took.as_secs_f64();
    assert!(drained > 1_000, "{drained}");
    assert!(speed >= 160.0, "{speed} a second");
}

/// As Knative's defaults write it on Kubernetes.
#[tokio::test(start_paused = true)]
async fn knatives_defaults_give_up_after_204_seconds_and_one_redrive_delivers_all() {
    let world = outage("{retry: 10, backoffPolicy: exponential, backoffDelay: PT0.2S}").await;
    world.advance(HOUR).await;
    world.check_grouped(expect![[r#"
        audit    200  delivered  ×5000
        billing  dead{exhausted}  ×4980
        billing  refused  dead{exhausted}  ×13
        billing  refused refused  dead{exhausted}  ×7
    "#]]);
    let log = world.log();
    assert_eq!(log.letters.len(), EVENTS);
    let arrived = tests::clock::BEGINNING;
    let ages: Vec<Duration> = log
        .letters
        .values()
        .map(|dead| dead.at.since(arrived))
        .collect();
    let (first, last) = (ages.iter().min(), ages.iter().max());
    let patience = Duration::from_millis(204_600);
    assert!(first.is_some_and(|age| *age >= patience), "{first:?}");
    assert!(
        last.is_some_and(|age| *age <= patience + 2 * SECOND),
        "{last:?}"
    );

    world.sink("erp", after(SECOND / 10));
    let what = What::Redrive {
        to: None,
        rate: None,
    };
    let asked = Asked {
        which: Which::All(Box::default()),
        what,
        dry_run: false,
    };
    let told = world.redrive(asked).await;
    assert_eq!((told.done as usize, told.refused), (EVENTS, 0));
    world.until_settled().await;
    world.check_grouped(expect![[r#"
        audit    200  delivered  ×5000
        billing  200  delivered  ×4980
        billing  refused 200  delivered  ×13
        billing  refused refused 200  delivered  ×7
    "#]]);
    let books = world.report().await.books;
    assert_eq!(
        books.delivered as usize,
        2 * EVENTS,
        "audit's, and billing's"
    );
}
