//! The ledger: what was promised, written down by who was promised it, and settled at the end.
//!
//! Every `Ok` from `publish` is owed to each trigger that the naive evaluator says matches. At the
//! end each such delivery is in exactly one outcome or still owed, nothing was delivered that
//! wasn't published, and the engine's books say the same as the log's records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::books::Book;
use broker::records::{FORWARD, Outcome};
use broker::report::Report;
use event::Event;
use journal::Offset;
use tokio::time::Instant;
use triggers::{BrokerName, Filter, Kind, Resource, TriggerName, lower};

use crate::logbook::Logbook;
use crate::sinks::{Key, Sinks};

/// A trigger as the ledger knows it.
#[derive(Debug, Clone)]
struct Wanting {
    broker: BrokerName,
    filter: Filter,
    /// When it may be deleted, where its file is gone.
    until: Option<Instant>,
}

/// An event that was answered with yes.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// `source` and `id`.
    pub key: Key,
    /// Where the receipt says it stands.
    pub offset: Offset,
    /// Who is surely owed it.
    pub owed_to: BTreeSet<String>,
    /// How many changes the disk had seen when the yes came.
    pub disk_changes: u64,
}

/// What was promised.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    acknowledged: Vec<Acknowledged>,
    /// Everything that anybody tried to publish.
    tried: BTreeSet<Key>,
    in_force: BTreeMap<TriggerName, Wanting>,
    /// What is being put in force right now: who is owed an event depends on which side of the
    /// change it falls, so only who wants it on both sides is surely owed it.
    coming: Option<BTreeMap<TriggerName, Wanting>>,
}

impl Ledger {
    /// These resources are about to be in force, some of them only until their time is over.
    pub fn changing(&mut self, resources: &[(&Resource, Option<Instant>)]) {
        self.coming = Some(wanting(resources));
    }

    /// They are.
    pub fn changed(&mut self) {
        if let Some(coming) = self.coming.take() {
            self.in_force = coming;
        }
    }

    /// Triggers whose files are gone may be deleted so much sooner.
    pub fn sooner(&mut self, by: Duration) {
        let coming = self.coming.iter_mut().flatten();
        for (_, wanting) in self.in_force.iter_mut().chain(coming) {
            let sooner = |until: Instant| until.checked_sub(by).unwrap_or_else(Instant::now);
            wanting.until = wanting.until.map(sooner);
        }
    }

    /// Somebody begins to publish.
    pub fn trying(&mut self, event: &Event) {
        self.tried.insert(key_of(event));
    }

    /// Who would surely be owed an event that is published from now on.
    pub fn owed_to(&self, broker: &BrokerName, event: &Event) -> BTreeSet<String> {
        let wants = |wanting: &BTreeMap<TriggerName, Wanting>| -> BTreeSet<String> {
            let wanting = wanting.iter().filter(|(_, wanting)| {
                wanting.broker == *broker
                    && wanting.until.is_none_or(|until| Instant::now() < until)
                    && wanting.filter.matches(&event.as_ref())
            });
            wanting.map(|(name, _)| name.name().to_owned()).collect()
        };
        let now = wants(&self.in_force);
        match &self.coming {
            None => now,
            Some(coming) => now.intersection(&wants(coming)).cloned().collect(),
        }
    }

    /// The answer was yes.
    pub fn acknowledge(&mut self, acknowledged: Acknowledged) {
        self.acknowledged.push(acknowledged);
    }

    /// All that was answered with yes.
    pub fn acknowledged(&self) -> &[Acknowledged] {
        &self.acknowledged
    }

    /// Forgets what was answered with yes only once the disk had seen more than `changes`
    /// changes: the power failed before.
    pub fn as_of_change(&mut self, changes: u64) {
        self.acknowledged
            .retain(|acknowledged| acknowledged.disk_changes <= changes);
    }

    /// Compares the promises with the log, the engine's report and the functions' memory.
    ///
    /// Where `all_ended`, nothing may be owed any more.
    ///
    /// # Errors
    ///
    /// Everything that doesn't agree, a line each.
    pub fn settle(
        &self,
        log: &Logbook,
        report: &Report,
        sinks: &Sinks,
        start: Offset,
    ) -> Vec<String> {
        let mut wrong = log.wrong.clone();
        self.settle_promises(log, start, &mut wrong);
        settle_routing(log, report, &mut wrong);
        wrong.extend(unbalanced(report));
        // Books say more than a log whose beginning has gone.
        if start == Offset(0) {
            settle_books(log, report, &mut wrong);
        }
        self.settle_calls(log, sinks, start, &mut wrong);
        wrong
    }

    fn settle_promises(&self, log: &Logbook, start: Offset, wrong: &mut Vec<String>) {
        let mut at = BTreeSet::new();
        for Acknowledged {
            key,
            offset,
            owed_to,
            ..
        } in &self.acknowledged
        {
            if *offset < start {
                continue;
            }
            if !at.insert(offset) {
                wrong.push(format!("two events were given offset {}", offset.0));
            }
            let Some(stored) = log.events.get(offset) else {
                wrong.push(format!(
                    "LOST: {key:?} was acknowledged at {} and isn't there",
                    offset.0
                ));
                continue;
            };
            if stored.key != *key {
                wrong.push(format!(
                    "{key:?} was acknowledged at {}, there is {:?}",
                    offset.0, stored.key
                ));
            }
            let wanted: BTreeSet<String> = stored
                .wanted_by
                .iter()
                .map(|number| log.name(*number))
                .collect();
            for name in owed_to.difference(&wanted).filter(|_| !stored.duplicate) {
                wrong.push(format!(
                    "{key:?} is owed to {name}, which wasn't in force at its offset"
                ));
            }
        }
    }

    fn settle_calls(&self, log: &Logbook, sinks: &Sinks, start: Offset, wrong: &mut Vec<String>) {
        let replied = sinks.replied();
        let mut took: BTreeSet<(String, Key)> = BTreeSet::new();
        sinks.each(|call| {
            if !self.tried.contains(&call.key) && !replied.contains(&call.key) {
                wrong.push(format!(
                    "{} got {:?}, which nobody published",
                    call.sink, call.key
                ));
            }
            if call.took() {
                took.insert((call.whose.clone(), call.key.clone()));
            }
        });
        for ((number, offset), end) in &log.deliveries {
            if *end != Some(Outcome::Delivered) || *offset < start {
                continue;
            }
            let Some(event) = log.event_of(*number, *offset) else {
                continue;
            };
            let delivery = (log.name(*number), event.key.clone());
            if !took.contains(&delivery) {
                wrong.push(format!(
                    "{delivery:?} counts as delivered, and no function took it"
                ));
            }
        }
    }
}

/// What is routed is what the naive evaluator wants, as far as routing has come.
fn settle_routing(log: &Logbook, report: &Report, wrong: &mut Vec<String>) {
    let routed_to = report.log.routed_to.min(log.routed_to);
    let sure = log.events.range(..routed_to);
    for (offset, event) in sure.filter(|(_, event)| !event.unsure) {
        let routed = |number: &u32| {
            log.deliveries.contains_key(&(*number, *offset)) || log.ended_early(*number, *offset)
        };
        for number in event.wanted_by.iter().filter(|number| !routed(number)) {
            let name = log.name(*number);
            wrong.push(format!(
                "{:?} at {} is owed to {name} and wasn't routed",
                event.key, offset.0
            ));
        }
    }
    for (number, offset) in log
        .deliveries
        .keys()
        .filter(|(number, _)| number & FORWARD == 0)
    {
        let wanted = log.was_owed_again(*number, *offset)
            || log
                .events
                .get(offset)
                .is_none_or(|event| event.wanted_by.contains(number));
        if !wanted {
            let key = log.events.get(offset).map(|event| &event.key);
            let same = log
                .events
                .iter()
                .filter(|(_, event)| Some(&event.key) == key);
            let same: Vec<u64> = same.map(|(offset, _)| offset.0).collect();
            wrong.push(format!(
                "{} never wanted offset {}: {key:?}, also at {same:?}, the log begins at {}",
                log.name(*number),
                offset.0,
                log.start.0
            ));
        }
    }
}

/// Which books don't balance: matched is delivered, dead, cancelled and owed together (GUARANTEES
/// 49), for each trigger, for all together, and whatever the log still holds.
pub fn unbalanced(report: &Report) -> Vec<String> {
    let of = |what: &str, book: &Book| {
        (!book.balances()).then(|| format!("the books of {what} don't balance: {book:?}"))
    };
    let mut wrong = Vec::new();
    wrong.extend(of("all triggers", &report.books));
    wrong.extend(of("all dead letter lanes", &report.forwards));
    for trigger in &report.triggers {
        let name = trigger.name.to_string();
        wrong.extend(of(&name, &trigger.book));
        let forward = trigger.forward.as_ref();
        wrong.extend(forward.and_then(|book| of(&format!("{name}#dead"), book)));
    }
    wrong
}

fn settle_books(log: &Logbook, report: &Report, wrong: &mut Vec<String>) {
    let mut compare = |what: &str, says: &Book, is: &Book| {
        if says != is {
            wrong.push(format!(
                "the books of {what} say {says:?}, the log says {is:?}"
            ));
        }
    };
    compare("all triggers", &report.books, &log.total(false));
    compare("all dead letter lanes", &report.forwards, &log.total(true));
    for trigger in &report.triggers {
        let name = trigger.name.name();
        compare(name, &trigger.book, &log.book(trigger.number));
        if let Some(forward) = &trigger.forward {
            let number = trigger.forward_number();
            compare(&log.name(number), forward, &log.book(number));
        }
    }
}

fn wanting(resources: &[(&Resource, Option<Instant>)]) -> BTreeMap<TriggerName, Wanting> {
    let all: Vec<&Resource> = resources.iter().map(|(resource, _)| *resource).collect();
    let (lowered, _) = lower(&all);
    let until = |name: &TriggerName| {
        let same = |resource: &Resource| {
            let metadata = &resource.metadata;
            resource.kind() == Kind::Trigger
                && metadata.name == name.name()
                && metadata.namespace == name.namespace()
        };
        resources
            .iter()
            .find(|(resource, _)| same(resource))
            .and_then(|(_, until)| *until)
    };
    let ready = lowered
        .triggers
        .into_values()
        .filter(|trigger| trigger.not_ready.is_none());
    ready
        .map(|trigger| {
            let until = until(&trigger.name);
            let wanting = Wanting {
                broker: trigger.broker,
                filter: trigger.filter,
                until,
            };
            (trigger.name, wanting)
        })
        .collect()
}

fn key_of(event: &Event) -> Key {
    let event = event.as_ref();
    (event.source().to_owned(), event.id().to_owned())
}
