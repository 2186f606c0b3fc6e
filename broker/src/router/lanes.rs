//! Lanes as the router places them: one for each trigger in force, one more for its dead letter
//! sink, each with the worker that owns its destination.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use journal::Offset;
use tokio::sync::oneshot;
use triggers::{BrokerName, Destination, Index, Terms, Trigger, TriggerName};

use super::Router;
use crate::Fault;
use crate::admission::BrokerFacts;
use crate::lane::LaneFacts;
use crate::pausing;
use crate::records::settled::{Settled, Settlement};
use crate::records::trigger_set::Kind;
use crate::records::{FORWARD, Number, Outcome, Why};
use crate::registry::Entry;
use crate::worker::ToWorker;

/// Cancelled forwardings that one record says.
const CANCELLED_A_RECORD: usize = 4096;

/// A lane and where it is.
pub(super) struct Placed {
    pub(super) worker: usize,
    facts: Arc<LaneFacts>,
}

impl Router {
    /// Puts what the registry says in force: brokers at the door, the index, and the lanes.
    pub(super) async fn take_over(&mut self, deleted: HashSet<Number>) -> Result<(), Fault> {
        let (lowered, problems) = self.registry.lowered();
        for problem in problems {
            tracing::warn!(%problem, "a resource in force has a problem");
        }
        let numbers: HashMap<BrokerName, Number> = self
            .registry
            .entries()
            .filter(|entry| entry.kind == Kind::Broker)
            .map(|entry| (entry.broker_name(), entry.number))
            .collect();
        self.admission
            .open_for(numbers.iter().filter_map(|(name, number)| {
                lowered.brokers.get(name)?;
                Some(BrokerFacts {
                    name: name.clone(),
                    number: *number,
                    event_bytes_max: self.event_bytes_max,
                })
            }));
        if self.folded_to <= self.next {
            // Before, the resources are not the last ones of the log, and what the fold found
            // paused stays so.
            let number = |name: &TriggerName| self.registry.trigger_number(name);
            let annotated = pausing::annotated(&lowered, number);
            let noted = self.pausing.annotated(&annotated).await;
            noted.map_err(|_| Fault::LogStopped)?;
        }
        self.pausing.forget(&deleted);
        self.dedup.ask(
            numbers
                .iter()
                .filter_map(|(name, number)| Some((*number, lowered.brokers.get(name)?.dedup?))),
        );
        let mut wanted = BTreeMap::new();
        let mut filters = Vec::new();
        for entry in self
            .registry
            .entries()
            .filter(|entry| entry.kind == Kind::Trigger)
        {
            let name = entry.trigger_name();
            let Some(trigger) = lowered.triggers.get(&name) else {
                continue;
            };
            let broker = numbers.get(&trigger.broker).copied();
            for facts in facts_of(entry, trigger, broker, self) {
                wanted.insert(facts.number, Arc::new(facts));
            }
            if trigger.not_ready.is_none() && broker.is_some() {
                filters.push((entry.number, trigger.broker.clone(), trigger.filter.clone()));
            }
        }
        for (entry, trigger) in self.registry.ad_hoc() {
            let broker = numbers.get(&trigger.broker).copied();
            for facts in facts_of(entry, &trigger, broker, self) {
                wanted.insert(facts.number, Arc::new(facts));
            }
        }
        self.index = Index::build(filters);
        self.brokers = numbers
            .iter()
            .map(|(name, number)| (*number, self.index.broker(name)))
            .collect();
        self.retire(&wanted, &deleted).await?;
        for (number, facts) in wanted {
            self.place(number, facts).await?;
        }
        self.in_force.send_replace(self.registry.revision);
        Ok(())
    }

    /// Ends lanes whose trigger was deleted, or that no longer forward anywhere.
    async fn retire(
        &mut self,
        wanted: &BTreeMap<Number, Arc<LaneFacts>>,
        deleted: &HashSet<Number>,
    ) -> Result<(), Fault> {
        let ended: Vec<Number> = self
            .lanes
            .keys()
            .filter(|number| !wanted.contains_key(number))
            .copied()
            .collect();
        for number in ended {
            let Some(placed) = self.lanes.remove(&number) else {
                continue;
            };
            self.careful.forget(number);
            let (to, outstanding) = oneshot::channel();
            self.tell(
                placed.worker,
                ToWorker::Retire {
                    number,
                    outstanding: to,
                },
            )
            .await?;
            // What it owed is cancelled: it says so once nothing of it is sent any more.
            let outstanding = outstanding.await.map_err(|_| Fault::WorkerGone)?;
            if number & FORWARD != 0 && wanted.contains_key(&(number & !FORWARD)) {
                self.cancel_forwards(number, &outstanding).await?;
            }
        }
        for number in deleted {
            self.books.close(*number);
            self.again.close(*number);
            for number in [*number, *number | FORWARD] {
                self.backlog.remove(&number);
            }
        }
        Ok(())
    }

    /// Writes down that a sink is owed these letters no longer, since its trigger has none any
    /// more. The books follow once that is read.
    pub(super) async fn cancel_forwards(
        &self,
        number: Number,
        letters: &[Offset],
    ) -> Result<(), Fault> {
        let at = self.log.clock().wall();
        let mut settled = Settled::default();
        for letters in letters.chunks(CANCELLED_A_RECORD) {
            for letter in letters {
                settled.push(Settlement {
                    number,
                    offset: *letter,
                    outcome: Outcome::Cancelled(Why::Deleted),
                    attempt: 0,
                    status: 0,
                    latency_ms: 0,
                    at,
                });
            }
            let noted = self.log.note(settled.take()).await;
            noted.map_err(|_| Fault::LogStopped)?;
        }
        Ok(())
    }

    /// Cancels what a restart found owed to sinks that their triggers have no more: the process
    /// ended before it could be written down.
    pub(super) async fn cancel_unforwarded(&mut self) -> Result<(), Fault> {
        let lanes = &self.lanes;
        let found = self.backlog.extract_if(|number, _| {
            let own = number & !FORWARD;
            number & FORWARD != 0 && lanes.contains_key(&own) && !lanes.contains_key(number)
        });
        let found: Vec<_> = found.collect();
        for (number, state) in found {
            let letters: Vec<Offset> = state.offsets().collect();
            self.cancel_forwards(number, &letters).await?;
        }
        Ok(())
    }

    /// Makes a lane, or tells its worker how its trigger is written now.
    async fn place(&mut self, number: Number, facts: Arc<LaneFacts>) -> Result<(), Fault> {
        let worker = worker_of(&facts.destination, self.workers.len());
        let state = match self.lanes.get(&number) {
            Some(placed) if placed.facts == facts => return Ok(()),
            Some(placed) if placed.worker != worker => {
                self.tell(worker, ToWorker::Expect(number)).await?;
                let (state, released) = oneshot::channel();
                let release = ToWorker::Release {
                    number,
                    to: worker,
                    state,
                };
                self.tell(placed.worker, release).await?;
                released.await.map_err(|_| Fault::WorkerGone)?
            }
            Some(_) => None,
            None => self.backlog.remove(&number).map(Box::new),
        };
        self.lanes.insert(
            number,
            Placed {
                worker,
                facts: Arc::clone(&facts),
            },
        );
        self.tell(worker, ToWorker::Put(facts, state)).await
    }

    /// Tells the lanes that order by key what blocks them no longer.
    pub(super) async fn let_keys_go(&self, events: Vec<(Number, Offset)>) -> Result<(), Fault> {
        for (number, offset) in events {
            if let Some(placed) = self.lanes.get(&number)
                && placed.facts.ordering().is_some()
            {
                let let_go = ToWorker::LetKeyGo(number, offset);
                self.tell(placed.worker, let_go).await?;
            }
        }
        Ok(())
    }

    /// Has a lane's worker end its oldest deliveries.
    pub(super) async fn give_way(&self, number: Number, count: u64) -> Result<(), Fault> {
        match self.lanes.get(&number) {
            Some(placed) => {
                self.tell(placed.worker, ToWorker::GiveWay { number, count })
                    .await
            }
            None => Ok(()),
        }
    }

    async fn tell(&self, worker: usize, message: ToWorker) -> Result<(), Fault> {
        self.workers[worker]
            .send(message)
            .await
            .map_err(|_| Fault::WorkerGone)
    }
}

/// The lanes that a trigger needs: its own, and one towards its dead letter sink. What that one
/// can't bring now, it brings later, with the trigger's waits, for as long as the letter is kept: a
/// sink that is down for a day gets everything (docs/adr/0008-forwarding-lasts.md).
fn facts_of(
    entry: &Entry,
    trigger: &Trigger,
    broker: Option<Number>,
    router: &Router,
) -> impl Iterator<Item = LaneFacts> {
    let Router {
        event_bytes_max,
        retention_dead_letters,
        pausing,
        ..
    } = router;
    let lane = |number: Number, destination: &Destination, forwards: bool| LaneFacts {
        number,
        uid: entry.uid,
        trigger: trigger.name.clone(),
        namespace: trigger.name.namespace().into(),
        broker: trigger.broker.clone(),
        broker_number: broker.unwrap_or(0),
        event_bytes_max: *event_bytes_max,
        destination: destination.clone(),
        forwards,
        terms: match number & FORWARD {
            0 => trigger.terms.clone(),
            _ => Terms {
                retry: None,
                event_age_max: Some(*retention_dead_letters),
                ..trigger.terms.clone()
            },
        },
        pauses: pausing.of(
            (number & FORWARD == 0).then_some(number),
            destination.key().as_str(),
        ),
    };
    let sink = trigger.dead_letter.as_ref();
    let own = lane(entry.number, &trigger.subscriber, sink.is_some());
    let forward = sink.map(|sink| lane(entry.number | FORWARD, sink, false));
    std::iter::once(own).chain(forward)
}

/// The worker that owns a destination.
fn worker_of(destination: &Destination, workers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    destination.key().as_str().hash(&mut hasher);
    (hasher.finish() % workers as u64) as usize
}
