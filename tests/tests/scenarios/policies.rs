//! DeliveryPolicies and Sinks edited while deliveries are owed: destination and terms are those in
//! force at each attempt (DESIGN §3), and one that something names outlives its file.

use std::time::Duration;

use expect_test::expect;
use tests::{World, always, event, everything, terms, times};

const HOUR: Duration = Duration::from_secs(3600);

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: DeliveryPolicy\nmetadata: {{name: careful}}\nspec: {{{spec}}}\n"
    )
}

/// A Sink at a function of the world, told apart by its trigger's name.
fn sink(function: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: Sink\nmetadata: {{name: erp}}\nspec:\n  uri: \
         http://{function}/?billing\n  breaker: off\n  retryBudget: off\n"
    )
}

fn by_reference() -> String {
    "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: billing}\nspec:\n  broker: default\n  \
     subscriber:\n    ref: {apiVersion: weft.dev/v1alpha1, kind: Sink, name: erp}\n"
        .to_owned()
}

/// An answer that strict replies take for a failure is a success as soon as the policy says so.
#[tokio::test(start_paused = true)]
async fn a_policy_that_is_edited_holds_for_the_next_attempt() {
    let ok = || times(u32::MAX, 200).body("OK");
    let mut world = World::new()
        .file("careful.yaml", policy("replies: strict, jitter: off"))
        .trigger("billing", everything(), terms().policy("careful"))
        .trigger("shipping", everything(), terms())
        .sink("billing", ok())
        .sink("shipping", ok())
        .start()
        .await;
    world.publish(event("o-1", "order")).await;
    world.advance(Duration::from_secs(1)).await;
    world.write("careful.yaml", policy("replies: lenient, jitter: off"));
    world.reload().await;
    world.until_settled().await;
    world.settle().await;
    world.check(expect![[r#"
        billing   o-1  200 200 200 200  delivered
        shipping  o-1  200  delivered
    "#]]);
}

/// A Sink that moves takes what waits for it along, and its name stays the same destination.
#[tokio::test(start_paused = true)]
async fn a_sink_that_is_edited_takes_what_waits_along() {
    let mut world = World::new()
        .file("erp.yaml", sink("old"))
        .file("billing.yaml", by_reference())
        .sink("old", always(503))
        .sink("new", always(200))
        .start()
        .await;
    world.publish(event("o-1", "order")).await;
    world.advance(Duration::from_millis(500)).await;
    let before = world.calls_of("billing", "o-1").len();
    world.write("erp.yaml", sink("new"));
    world.reload().await;
    world.until_settled().await;
    world.settle().await;
    world.check(expect![[r#"
        billing  o-1  503 503 200  delivered
    "#]]);
    let called: Vec<String> = world.calls().into_iter().map(|call| call.sink).collect();
    assert_eq!(called[before..], ["new"]);
    let report = world.report().await;
    assert_eq!(&*report.destinations[0].key, "sink:default/erp");
}

/// The Sink's file goes first: its trigger still delivers to it hours later. With the trigger the
/// Sink goes too.
#[tokio::test(start_paused = true)]
async fn a_sink_without_a_file_stays_while_a_trigger_names_it() {
    let mut world = World::new()
        .file("erp.yaml", sink("old"))
        .file("billing.yaml", by_reference())
        .sink("old", always(200))
        .start()
        .await;
    world.remove("erp.yaml");
    world.reload().await;
    world.advance(HOUR).await;
    world.publish(event("o-1", "order")).await;
    world.until_settled().await;
    world.restart().await;
    world.publish(event("o-2", "order")).await;
    world.until_settled().await;
    world.settle().await;
    world.check(expect![[r#"
        billing  o-1  200  delivered
        billing  o-2  200  delivered
    "#]]);

    let kinds = |world: &World| {
        let in_force = world.engine().in_force();
        in_force
            .iter()
            .map(|resource| resource.kind().name())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(kinds(&world).contains("Sink"), "{}", kinds(&world));
    world.remove("billing.yaml");
    world.reload().await;
    world.advance(HOUR).await;
    assert!(!kinds(&world).contains("Sink"), "{}", kinds(&world));
    assert!(!kinds(&world).contains("Trigger"), "{}", kinds(&world));
    world.settle().await;
}

/// Two triggers at two addresses below one Sink: each gets its own, and their health is one.
#[tokio::test(start_paused = true)]
async fn addresses_below_a_sink_are_one_destination() {
    let below = |trigger: &str| {
        by_reference()
            .replace("name: billing", &format!("name: {trigger}"))
            .replace("name: erp}", &format!("name: erp}}\n    uri: ?{trigger}"))
    };
    let world = World::new()
        .file("erp.yaml", sink("erp"))
        .file("billing.yaml", below("billing"))
        .file("shipping.yaml", below("shipping"))
        .sink("erp", always(200))
        .start()
        .await;
    world.publish(event("o-1", "order")).await;
    world.until_settled().await;
    world.settle().await;
    world.check(expect![[r#"
        billing   o-1  200  delivered
        shipping  o-1  200  delivered
    "#]]);
    let report = world.report().await;
    let destinations: Vec<&str> = report.destinations.iter().map(|d| &*d.key).collect();
    assert_eq!(destinations, ["sink:default/erp"]);
}
