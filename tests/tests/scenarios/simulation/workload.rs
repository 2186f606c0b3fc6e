//! What happens before the power fails at every moment of it: a life of the engine whose disk remembers each
//! change. The seed draws what beside orders and history goes on.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::pausing::{ResumeFrom, Target};
use broker::{redrive, replay};
use event::Event;
use journal::model_disk::ModelDisk;
use tests::sinks::Key;
use tests::want::trigger_yaml;
use tests::world::Builder;
use tests::{Seed, World, after, always, everything, order_placed, replies, terms, times, ty};
use tokio::time::Instant;
use triggers::TriggerName;

const MS: Duration = Duration::from_millis(1);

/// Keys whose order matters.
const KEYS: u64 = 3;

/// Filters that `shifty` has in turn.
const FILTERS: [&str; 3] = [
    "[]",
    "[{exact: {type: order.placed}}]",
    "[{prefix: {type: st}}]",
];

/// A log of 1 MiB, so that its history goes and what is owed of it moves to kept.
fn small(options: &mut journal::Options) {
    options.segment_bytes = 64 << 10;
    options.group_bytes_max = 16 << 10;
    options.queue_bytes_max = 64 << 10;
    options.note_bytes_max = 64 << 10;
    options.reserve_bytes = 128 << 10;
    options.bytes_max = 1 << 20;
}

fn shifty(filter: &str) -> String {
    trigger_yaml("shifty", "default", filter, &terms())
}

/// The world of a workload, before its functions are as they are to be.
pub(super) fn of_everything(seed: u64) -> Builder {
    let ordered = "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: ordered}
spec: {ordering: {by: partitionkey}}
";
    let once = trigger_yaml("once", "second", "[]", &terms());
    World::new()
        .journal(small)
        .seed(seed)
        .limits(|limits| limits.detached_for = Duration::from_secs(30))
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
        .trigger("billing", ty("order.placed"), terms())
        .trigger("shipping", ty("order.billed"), terms())
        .trigger("audit", everything(), terms())
        .file("ordered-policy.yaml", ordered)
        .trigger("ordered", ty("step"), terms().policy("ordered"))
        .broker("second", terms().dedup_window("PT10M"))
        .file("once.yaml", once)
        .file("shifty.yaml", shifty("[]"))
}

fn with_functions(builder: Builder) -> Builder {
    builder
        .sink("down", always(503))
        .sink("refuses", always(422).body("no"))
        .sink("graveyard", times(1, 503).then(after(20 * MS)))
        .sink("billing", replies("order.billed").after(3 * MS))
        .sink("shipping", after(2 * MS))
        .sink("audit", after(MS))
        .sink("ordered", times(1, 503).then(after(2 * MS)))
        .sink("once", after(MS))
        .sink("shifty", after(MS))
        .sink("fleeting", after(MS))
}

/// An event that takes room.
fn history(n: u64) -> Event {
    let event = Event::build(&format!("h-{n}"), "/shop", "history");
    let event = event.data(vec![b'x'; 8 << 10]).finish();
    event.expect("a test's event is valid")
}

/// One of a few keys.
fn step(n: u64) -> Event {
    let event = Event::build(&format!("step-{n}"), "/shop", "step");
    let event = event.attribute("partitionkey", &format!("k{}", n % KEYS));
    event
        .data("step")
        .finish()
        .expect("a test's event is valid")
}

/// Remembers each change of a disk, and when it was made.
#[derive(Default)]
pub(super) struct Recorder {
    changed_at: Arc<Mutex<Vec<Duration>>>,
}

impl Recorder {
    /// From now on.
    pub(super) fn of(disk: &ModelDisk, now: Duration) -> Recorder {
        disk.keep_history();
        let changed_at: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let (noted, began) = (Arc::clone(&changed_at), Instant::now());
        disk.watch(move |seen| {
            if seen.operation.changes() {
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.push(now + began.elapsed());
            }
        });
        Recorder { changed_at }
    }

    /// When this change was made; none that wasn't yet.
    pub(super) fn at(&self, change: u64) -> Option<Duration> {
        let changed_at = self
            .changed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        changed_at.get(change as usize).copied()
    }
}

/// A run whose every moment can be gone back to.
pub(super) struct Workload {
    pub(super) seed: u64,
    pub(super) world: World,
    pub(super) recorder: Recorder,
    /// All that anybody tried to publish.
    pub(super) sent: BTreeMap<Key, Event>,
    /// Whether dead letters were delivered again.
    pub(super) redriven: bool,
    paused: bool,
}

impl Workload {
    /// Old debts and letters first, then enough history that they move to kept; and from then on every
    /// change of the disk is remembered, while orders come, the log rolls, and the seed thinks of more.
    pub(super) async fn play(mut seed: Seed) -> Workload {
        let world = with_functions(of_everything(seed.number)).start().await;
        let mut workload = Workload {
            seed: seed.number,
            world,
            recorder: Recorder::default(),
            sent: BTreeMap::new(),
            redriven: false,
            paused: false,
        };
        for n in 0..4 {
            let old = order_placed(&format!("old-{n}"));
            workload.publish("default", old).await;
        }
        for n in 0..100 {
            workload.publish("default", history(n)).await;
            workload.world.advance(16 * MS).await;
        }
        workload.recorder = Recorder::of(workload.world.disk(), workload.world.time());
        for n in 100..140 {
            workload.publish("default", history(n)).await;
            if seed.within(0..3) == 0 {
                let order = order_placed(&format!("o-{n}"));
                workload.publish("default", order).await;
            }
            workload.more(n, &mut seed).await;
            let pause = Duration::from_micros(seed.within(1000..300_000));
            workload.world.advance(pause).await;
        }
        workload.world.advance(Duration::from_secs(6)).await;
        workload.world.settle().await;
        workload
    }

    async fn publish(&mut self, broker: &str, event: Event) {
        let key = event.as_ref();
        let key = (key.source().to_owned(), key.id().to_owned());
        self.sent.insert(key, event.clone());
        let taken = self.world.try_publish(broker, vec![event]).await;
        taken.expect("the event is taken");
    }

    /// Something beside orders and history, or nothing.
    async fn more(&mut self, n: u64, seed: &mut Seed) {
        let audit = TriggerName::new("default", "audit");
        let engine = self.world.engine().clone();
        match seed.within(0..14) {
            0..3 => {
                for one in 0..3 {
                    self.publish("default", step(3 * n + one)).await;
                }
            }
            3..5 => {
                let note = tests::event(&format!("note-{}", n / 4), "note");
                self.publish("second", note.clone()).await;
                self.publish("second", note).await;
            }
            5 => {
                let target = Target::Trigger(audit);
                let done = match self.paused {
                    false => self.world.run(engine.pause(&target)).await.is_ok(),
                    true => {
                        let resumed = engine.resume(&target, ResumeFrom::Backlog, false);
                        self.world.run(resumed).await.is_ok()
                    }
                };
                assert!(done, "the trigger is there");
                self.paused = !self.paused;
            }
            6 => {
                let filters: &[&str] = seed.of_these(&[&[][..], &["{suffix: {type: placed}}"]]);
                let asked = replay::Asked {
                    to: replay::To::Trigger(audit),
                    from: replay::Point::Earliest,
                    until: None,
                    filters: filters.iter().map(|&filter| filter.to_owned()).collect(),
                    rate: NonZeroU32::new(seed.of_these(&[0, 200])),
                    dry_run: false,
                };
                // It may be refused: there are jobs enough.
                drop(self.world.run(engine.replay(asked)).await);
            }
            7 => {
                let asked = redrive::Asked {
                    which: redrive::Which::All(Box::default()),
                    what: redrive::What::Redrive {
                        to: None,
                        rate: None,
                    },
                    dry_run: false,
                };
                if let Ok((_, work)) = engine.redrive(asked) {
                    self.world.spawn(work);
                    self.redriven = true;
                }
            }
            8 => {
                let yaml = shifty(seed.of_these(&FILTERS));
                self.world.write("shifty.yaml", yaml);
                self.world.reload().await;
            }
            9 => {
                let yaml = trigger_yaml("fleeting", "default", "[]", &terms());
                self.world.write("fleeting.yaml", yaml);
                self.world.reload().await;
            }
            10 => {
                self.world.remove("fleeting.yaml");
                self.world.reload().await;
            }
            _ => {}
        }
    }
}
