//! Deleting: a vanished file detaches its trigger, and what it is owed is cancelled ten minutes
//! later, or at once when an operator says so (GUARANTEES 51, DESIGN §3).

use std::time::Duration;

use broker::delete::{DeleteError, Deleted};
use broker::letter_query::{From, Query};
use expect_test::expect;
use journal::Offset;
use journal::model_disk::CrashRule;
use tests::{World, always, everything, order_placed, refuses_connection, terms};
use triggers::{Kind, ResourceKey};

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey {
        kind,
        namespace: "default".into(),
        name: name.into(),
    }
}

async fn delete(world: &World, kind: Kind, name: &str, dry: bool) -> Result<Deleted, DeleteError> {
    let key = key(kind, name);
    world.run(world.engine().delete(&key, dry)).await
}

/// `weft delete` cancels at once what is owed, waiting, parked or forwarded; dead letters stay,
/// and the same name begins anew.
#[tokio::test(start_paused = true)]
async fn what_has_no_file_is_deleted_at_once_when_an_operator_says_so() {
    let mut world = World::new()
        .trigger("billing", everything(), terms().dead_letter("graveyard"))
        .trigger("audit", everything(), terms())
        .sink("billing", always(400))
        .sink("graveyard", refuses_connection())
        .sink("audit", always(200))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(1)).await;
    world.sink("billing", always(503));
    world.publish(order_placed("o-2")).await;
    world.advance(Duration::from_secs(1)).await;
    world.remove("billing.yaml");
    world.reload().await;
    world.publish(order_placed("o-3")).await;
    world.advance(Duration::from_secs(1)).await;

    let counted = delete(&world, Kind::Trigger, "billing", true)
        .await
        .unwrap();
    assert_eq!((counted.cancelled, counted.forwards_cancelled), (2, 1));
    assert_eq!(
        world.report().await.books.owed,
        2,
        "counting changes nothing"
    );
    let deleted = delete(&world, Kind::Trigger, "billing", false)
        .await
        .unwrap();
    assert_eq!(deleted, counted);
    world.crash(CrashRule::Nothing, 1).await;
    world.until_settled().await;
    let report = world.report().await;
    assert_eq!((report.books.cancelled, report.triggers.len()), (2, 1));
    assert_eq!(world.engine().dead_letters().count(), 1);
    assert_eq!(forwarding(&world), [false], "its sink is owed it no longer");
    world.sink("billing", always(200));
    world.write_trigger("billing", everything(), terms());
    world.reload().await;
    world.publish(order_placed("o-4")).await;
    world.until_settled().await;
    let again = world.calls_of("billing", "o-2");
    assert!(
        again.iter().all(|call| !call.took()),
        "it gets nothing from before"
    );
    assert_eq!(world.calls_of("billing", "o-4").len(), 1);
    assert_eq!(world.report().await.books.cancelled, 2);
    world.check(expect![[r#"
        audit         o-1  200  delivered
        audit         o-2  200  delivered
        audit         o-3  200  delivered
        audit         o-4  200  delivered
        billing       o-1  400  dead{refused}
        billing       o-2  503 503 503  cancelled{deleted}
        billing       o-3  503 503  cancelled{deleted}
        billing       o-4  200  delivered
        billing#dead  o-1  refused refused refused refused  cancelled{deleted}
    "#]]);
}

/// Whether each dead letter is still owed to a sink.
fn forwarding(world: &World) -> Vec<bool> {
    let letters = world.engine().dead_letters();
    let rows = letters.rows(&Query::default(), From::Oldest(Offset(0)), 10);
    rows.iter().map(|row| row.forwarding).collect()
}

/// What a dead letter sink is owed is cancelled when its trigger no longer has it, for good.
#[tokio::test(start_paused = true)]
async fn what_a_sink_was_owed_is_cancelled_when_the_trigger_has_it_no_more() {
    let mut world = World::new()
        .trigger("billing", everything(), terms().dead_letter("graveyard"))
        .sink("billing", always(400))
        .sink("graveyard", refuses_connection())
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.advance(Duration::from_secs(1)).await;
    assert_eq!(world.report().await.forwards.owed, 1);
    assert_eq!(forwarding(&world), [true]);
    world.write_trigger("billing", everything(), terms());
    world.reload().await;
    world
        .until("it is cancelled", |report| report.forwards.owed == 0)
        .await;
    world.restart().await;
    let forwards = world.report().await.forwards;
    assert_eq!((forwards.owed, forwards.cancelled), (0, 1));
    assert_eq!(forwarding(&world), [false]);
    world.settle().await;
}

/// Left alone it takes its ten minutes, and nothing of what came meanwhile is lost if the file
/// comes back.
#[tokio::test(start_paused = true)]
async fn without_a_command_it_takes_ten_minutes() {
    let mut world = World::new()
        .trigger("billing", everything(), terms())
        .sink("billing", always(503))
        .start()
        .await;
    world.publish(order_placed("o-1")).await;
    world.remove("billing.yaml");
    world.reload().await;
    world.advance(Duration::from_secs(599)).await;
    assert_eq!(world.report().await.books.owed, 1);
    world.advance(Duration::from_secs(2)).await;
    world.until_settled().await;
    world.check(expect![[r#"
        billing  o-1  503 ×12  cancelled{deleted}
    "#]]);
}

/// What a file declares would be back at once; what triggers imply is theirs.
#[tokio::test(start_paused = true)]
async fn what_stands_in_a_file_is_not_deleted() {
    let mut world = World::new()
        .broker("second", terms())
        .trigger("billing", everything(), terms())
        .sink("billing", always(200))
        .start()
        .await;
    let mut said = Vec::new();
    for (kind, name) in [
        (Kind::Trigger, "billing"),
        (Kind::Trigger, "nobody"),
        (Kind::Broker, "default"),
        (Kind::Broker, "second"),
    ] {
        let refused = delete(&world, kind, name, false).await.unwrap_err();
        said.push(refused.to_string());
    }
    expect![[r#"
        Trigger default/billing is declared by a file and would be back at once: remove it there
        there is no Trigger default/nobody
        Broker default/default is there because triggers name it: remove those
        Broker default/second is declared by a file and would be back at once: remove it there"#]]
    .assert_eq(&said.join("\n"));
    world.remove("broker-second.yaml");
    world.reload().await;
    delete(&world, Kind::Broker, "second", false).await.unwrap();
    assert_eq!(world.report().await.brokers.len(), 1);
    world.publish(order_placed("o-1")).await;
    world.until_settled().await;
}
