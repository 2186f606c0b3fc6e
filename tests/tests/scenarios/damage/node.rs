//! What a node does that is started on a data folder: what its functions get, which dead letters there
//! are, what a replay brings, and what it says is lost.

use std::collections::{BTreeMap, BTreeSet};

use broker::dead_letters::Reason;
use broker::letter_query::{From, Query};
use broker::records::Cause;
use broker::replay::{self, Point};
use journal::Offset;
use journal::model_disk::ModelDisk;
use tests::data::{Files, files_of};
use triggers::TriggerName;

use super::folder::{functions, order, shop, step};

/// What came of a data folder in the hands of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Came {
    /// Who took what: the trigger, and the event's id.
    pub(crate) taken: BTreeSet<(String, String)>,
    /// Dead letters that came from before: the trigger's name, and the event's id, or why there is
    /// none.
    pub(crate) letters: BTreeMap<u64, (String, Result<String, String>)>,
    /// What a replay of all that the log holds brought, by the events' ids.
    pub(crate) replayed: BTreeSet<String>,
}

/// How a node found the folder.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) came: Came,
    /// Offsets of the log, and of kept, that it says are lost; and events that it couldn't read when
    /// they were to be sent.
    pub(crate) lost: BTreeSet<u64>,
    pub(crate) kept_lost: BTreeSet<u64>,
    pub(crate) view_anew: bool,
    /// It said that something is torn or damaged, in order or not.
    pub(crate) said: bool,
    pub(crate) clean: bool,
    /// The segments of the log whose side files can be read.
    pub(crate) sides: BTreeSet<u64>,
    /// What lies on the disk now.
    pub(crate) files: Files,
}

/// Starts a node on the folder, whose functions are well, gives it some more events, and replays what
/// lies in its log. `spared`: no record is damaged, so all that the view says must be what the records
/// say.
///
/// # Errors
///
/// Why it wasn't opened.
pub(crate) async fn goes_on(disk: ModelDisk, spared: bool) -> Result<Opened, String> {
    let shop = shop(false).disk(disk).sinks(functions(200));
    let shop = match spared {
        true => shop.compares_views(true),
        false => shop.damaged(),
    };
    let world = shop.try_start().await?;
    let sides = {
        let (journal, sidecars) = (world.engine().journal(), world.engine().sidecars());
        let segments = journal.segments().into_iter();
        let read = segments.filter(|segment| sidecars.summary(segment).is_some());
        read.map(|segment| segment.sequence).collect()
    };
    for n in 90..92 {
        world.publish(order(n)).await;
        world.publish(step("b", n)).await;
    }
    world
        .until("all done", |report| {
            let routed = report.log.routed_to == report.log.end;
            routed && report.books.owed == 0 && report.forwards.owed == 0
        })
        .await;
    let taken = world.calls().into_iter().filter(|call| call.took());
    let taken: BTreeSet<_> = taken.map(|call| (call.whose, call.key.1)).collect();
    let before = world.calls().len();
    // Which passes over what the side files rule out.
    let again = replay::Asked {
        to: replay::To::Trigger(TriggerName::new("default", "audit")),
        from: Point::Earliest,
        until: None,
        filters: Vec::new(),
        rate: None,
        dry_run: false,
    };
    world.replay(again).await;
    world
        .until("replayed", |report| report.books.owed == 0)
        .await;
    world.settle_books().await;
    let replayed = world.calls().split_off(before).into_iter();
    let replayed = replayed.filter(|call| call.took() && call.whose == "audit");
    let all = world.engine().dead_letters();
    let end = world
        .recovered
        .as_ref()
        .map_or(Offset(0), |found| found.end);
    let letters = all
        .rows(&Query::default(), From::Oldest(Offset(0)), 10_000)
        .into_iter()
        .filter(|row| row.id < end)
        .map(|row| {
            let event = all
                .show(row.id)
                .ok_or_else(|| "it can't be read".to_owned())
                .and_then(|letter| match letter.rejected() {
                    Some(rejected) => Ok(rejected.origin.clone()),
                    None => letter
                        .event
                        .map(|event| event.event.as_ref().id().to_owned()),
                });
            (row.id.0, (row.trigger.to_string(), event))
        })
        .collect();
    let offsets = |ranges: &[std::ops::Range<Offset>]| -> BTreeSet<u64> {
        let ranges = ranges.iter();
        ranges
            .flat_map(|range| range.start.0..range.end.0)
            .collect()
    };
    let mut lost = offsets(&world.found.lost);
    let poisoned = Query {
        reason: Some(Reason::Dead(Cause::Poison)),
        ..Query::default()
    };
    for row in all.rows(&poisoned, From::Oldest(end), 10_000) {
        lost.insert(row.event.0);
    }
    let recovered = [&world.recovered, &world.kept_recovered];
    let recovered: Vec<_> = recovered.into_iter().flatten().collect();
    Ok(Opened {
        came: Came {
            taken,
            letters,
            replayed: replayed.map(|call| call.key.1).collect(),
        },
        lost,
        kept_lost: offsets(&world.found.kept_lost),
        view_anew: world.view_anew || world.found.view_anew,
        said: recovered
            .iter()
            .any(|recovered| recovered.torn.is_some() || !recovered.damage.is_empty()),
        clean: recovered.iter().all(|recovered| recovered.clean),
        sides,
        files: files_of(world.disk()),
    })
}
