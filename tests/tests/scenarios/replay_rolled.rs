//! Replays and the log's end: what a replay owes outlives the segments that it came from, and a
//! replay whose range goes says so (GUARANTEES 16, 21).

use std::num::NonZeroU32;
use std::time::Duration;

use broker::jobs::State;
use broker::pausing::{ResumeFrom, Target};
use broker::replay::{Asked, Point, To};
use expect_test::expect;
use journal::model_disk::CrashRule;
use tests::{World, always, event, terms, ty};
use triggers::TriggerName;

const HOUR: Duration = Duration::from_secs(3600);

/// A day's log in segments of 64 KiB that are kept for an hour.
async fn world() -> World {
    World::new()
        .journal(|options| {
            options.segment_bytes = 64 << 10;
            options.group_bytes_max = 16 << 10;
        })
        .retention(HOUR)
        .trigger("billing", ty("order.placed"), terms())
        .sink("billing", always(200))
        .start()
        .await
}

fn billing() -> TriggerName {
    TriggerName::new("default", "billing")
}

fn all() -> Asked {
    Asked {
        to: To::Trigger(billing()),
        from: Point::Earliest,
        until: None,
        filters: Vec::new(),
        rate: None,
        dry_run: false,
    }
}

/// Has the log roll past all that it holds, with events that nobody wants.
async fn roll(world: &World) {
    let end = world.report().await.log.end;
    for round in 0..4 {
        for n in 0..20 {
            let noise = event::Event::build(&format!("n-{round}-{n}"), "/noise", "noise");
            let noise = noise.data(vec![b'x'; 8 << 10]).finish();
            world.publish(noise.expect("the event is valid")).await;
        }
        world.advance(HOUR).await;
    }
    assert!(end <= world.engine().journal().start(), "it is gone");
}

/// Owed again while the trigger is paused, then the log rolls past, twice, and the power goes: each
/// is delivered once, marked, and no older than its replay.
#[tokio::test(start_paused = true)]
async fn what_a_replay_owes_outlives_the_segments_that_it_came_from() {
    let mut world = world().await;
    for n in 0..5 {
        world
            .publish(event(&format!("o-{n}"), "order.placed"))
            .await;
    }
    world.until_settled().await;
    let target = Target::Trigger(billing());
    world.run(world.engine().pause(&target)).await.unwrap();
    assert_eq!(world.replay(all()).await.done, 5);
    roll(&world).await;
    world.restart().await;
    roll(&world).await;
    world.crash(CrashRule::Nothing, 3).await;
    assert_eq!(world.report().await.books.owed, 5);
    let from = ResumeFrom::Backlog;
    let resumed = world.run(world.engine().resume(&target, from, false)).await;
    resumed.unwrap();
    world.until_settled().await;
    // The log has forgotten them, so the functions are asked.
    let lines: Vec<String> = world
        .calls()
        .iter()
        .map(|call| {
            let again = call.added("weftreplay").is_some();
            format!("{}  {}", call.key.1, if again { "again" } else { "first" })
        })
        .collect();
    expect![[r#"
        o-0  first
        o-1  first
        o-2  first
        o-3  first
        o-4  first
        o-0  again
        o-1  again
        o-2  again
        o-3  again
        o-4  again"#]]
    .assert_eq(&lines.join("\n"));
    world.restart().await;
    world.advance(HOUR).await;
    let books = world.report().await.books;
    assert_eq!((books.matched, books.delivered), (10, 10));
    world.settle().await;
}

/// The log rolls past the range of a slow replay: what is gone is told, and the replay ends.
#[tokio::test(start_paused = true)]
async fn a_replay_whose_range_goes_says_so_and_ends() {
    let mut world = world().await;
    for batch in 0..8 {
        let events = (0..1000).map(|n| event(&format!("o-{batch}-{n}"), "order.placed"));
        world.publish_all(events).await;
    }
    world.until_settled().await;
    let asked = Asked {
        rate: NonZeroU32::new(1),
        ..all()
    };
    let job = world.run(world.engine().replay(asked)).await.unwrap();
    roll(&world).await;
    world
        .until("ended", |_| job.progress().state == State::Done)
        .await;
    let progress = job.progress();
    assert!((3000..8000).contains(&progress.done), "{}", progress.done);
    let told: Vec<&str> = progress.refusals.iter().map(|it| it.why.as_str()).collect();
    let gone = told.iter().any(|why| why.contains("let go of"));
    assert!(gone, "{told:?}");
    world.until_settled().await;
    world.restart().await;
    world.advance(HOUR).await;
    assert_eq!(world.report().await.books.matched, 8000 + progress.done);
    world.settle().await;
}

/// A segment goes while a replay is under way: what was owed a moment ago, and isn't on disk yet, is owed
/// with a copy of its event.
#[tokio::test(start_paused = true)]
async fn a_segment_that_goes_while_it_is_replayed_takes_nothing_along() {
    const MS: Duration = Duration::from_millis(1);
    const ORDERS: u64 = 60;
    const RATE: u32 = 20;
    for step in 0..24 {
        let mut world = world().await;
        for n in 0..ORDERS {
            let order = event(&format!("o-{n}"), "order.placed");
            world.publish(order).await;
        }
        for n in 0..10 {
            let noise = event::Event::build(&format!("n-{n}"), "/noise", "noise");
            let noise = noise.data(vec![b'x'; 8 << 10]).finish();
            world.publish(noise.expect("the event is valid")).await;
        }
        world.until_settled().await;
        let target = Target::Trigger(billing());
        world.run(world.engine().pause(&target)).await.unwrap();
        // In about a second its first segment is as old as it may become.
        let soon = HOUR - world.time() - Duration::from_secs(1);
        world.advance(soon + step * 25 * MS).await;
        let asked = Asked {
            rate: NonZeroU32::new(RATE),
            ..all()
        };
        let job = world.run(world.engine().replay(asked)).await.unwrap();
        world
            .until("replayed", |_| job.progress().state == State::Done)
            .await;
        let done = job.progress().done;
        assert!((1..ORDERS).contains(&done), "{done} before it went");
        world.crash(CrashRule::Nothing, 3).await;
        let from = ResumeFrom::Backlog;
        let resumed = world.run(world.engine().resume(&target, from, false)).await;
        resumed.unwrap();
        world.until_settled().await;
        let books = world.report().await.books;
        let ended = (books.delivered, books.dead());
        assert_eq!(ended, (ORDERS + done, 0), "step {step}");
    }
}
