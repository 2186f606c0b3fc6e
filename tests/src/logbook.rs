//! What the log says, read by another way than the engine's own.
//!
//! The engine folds the log into owed sets and books; this reads the records one by one and keeps
//! every delivery by name, so that the two can be compared.

use std::collections::{BTreeMap, BTreeSet};

use broker::books::Book;
use broker::records::dead::Dead;
use broker::records::envelope::Envelope;
use broker::records::redriven::{Action, Redriven};
use broker::records::replayed::Replayed;
use broker::records::trigger_set::Kind;
use broker::records::{self, Cause, FORWARD, Number, Outcome, Why, routed, settled, trigger_set};
use broker::registry::{Entry, Registry};
use journal::{Journal, Offset, WallTime};
use triggers::written::Spec;
use triggers::{BrokerName, Lowered};

use crate::sinks::Key;

/// An event in the log.
#[derive(Debug, Clone)]
pub struct Stored {
    /// `source` and `id`.
    pub key: Key,
    /// The broker that took it, where it is still there.
    pub broker: Option<BrokerName>,
    /// Replies that lead here.
    pub hops: u8,
    /// Who wants it, by the naive evaluator and the triggers in force at its offset.
    pub wanted_by: BTreeSet<Number>,
    /// Whether its broker drops what it has seen, and had seen it.
    pub duplicate: bool,
    /// Whether its broker may have seen it in what the log no longer holds.
    pub unsure: bool,
}

/// All that the log holds.
#[derive(Debug, Default)]
pub struct Logbook {
    /// Events by offset.
    pub events: BTreeMap<Offset, Stored>,
    /// Deliveries, with how they ended. A forwarding lane's offset is its Dead record's.
    pub deliveries: BTreeMap<(Number, Offset), Option<Outcome>>,
    /// How earlier deliveries of the same event to the same number ended, before it was owed again.
    pub earlier: Vec<((Number, Offset), Outcome)>,
    /// What was done with dead letters, in order: redriven, discarded.
    pub redriven: Vec<Redriven>,
    /// Dead letters: the Dead record's offset, and the record.
    pub letters: BTreeMap<Offset, Dead>,
    /// How each number was named.
    pub names: BTreeMap<Number, String>,
    /// Where routing was durable.
    pub routed_to: Offset,
    /// What no log should hold.
    pub wrong: Vec<String>,
    /// The first record that is kept: what came before can't be judged.
    pub(crate) start: Offset,
    /// When the last event of each broker, `source` and `id` arrived that wasn't a duplicate.
    seen: BTreeMap<(Number, Key), WallTime>,
    deleted: BTreeSet<Number>,
    again: BTreeSet<(Number, Offset)>,
    /// Deliveries that ended, as the log says, before it says that they began.
    ended_early: BTreeSet<(Number, Offset)>,
    /// Behind a hole that a crash left in its last frame, up to where the next start wrote: what is said
    /// here may speak of what was said in the hole.
    torn: bool,
}

impl Logbook {
    /// Reads all of a log.
    ///
    /// # Panics
    ///
    /// If a record can't be read, which no test provokes here.
    pub fn read(journal: &Journal) -> Logbook {
        let mut book = Logbook {
            routed_to: journal.start(),
            start: journal.start(),
            ..Logbook::default()
        };
        let mut registry = Registry::new(journal.facts().log_id);
        let mut lowered = Lowered::default();
        let mut brokers = BTreeMap::new();
        let end = *journal.durable().borrow();
        let mut next = journal.start();
        while next < end {
            let reading = journal.read(next, 1 << 20).expect("the log can be read");
            let mut holes = reading.damaged.iter().peekable();
            for stored in &reading.records {
                while let Some(hole) = holes.next_if(|hole| hole.offsets.start < stored.offset) {
                    book.torn |= hole.cause == journal::Cause::Torn;
                }
                match stored.kind {
                    records::STARTED => book.torn = false,
                    records::EVENT => book.take_event(stored, &registry, &lowered, &brokers),
                    records::ROUTED => book.take_routed(stored),
                    records::SETTLED => settled::read(stored, |settlement| {
                        book.end(settlement.number, settlement.offset, settlement.outcome);
                    })
                    .expect("a Settled record reads"),
                    records::DEAD => book.take_dead(stored),
                    records::REPLAYED => book.take_replayed(stored),
                    records::REDRIVEN => book.take_redriven(stored),
                    records::TRIGGER_SET => {
                        let part = trigger_set::read(stored).expect("a TriggerSet record reads");
                        let deleted = registry.take(part).expect("resources read back");
                        let Some(deleted) = deleted else { continue };
                        lowered = registry.lowered().0;
                        brokers = registry
                            .entries()
                            .filter(|entry| entry.kind == Kind::Broker)
                            .map(|entry| (entry.number, entry.broker_name()))
                            .collect();
                        for entry in registry.entries() {
                            book.names.insert(entry.number, name_of(entry));
                        }
                        book.delete(&deleted, &registry, &lowered);
                    }
                    _ => {}
                }
            }
            book.torn |= holes.any(|hole| hole.cause == journal::Cause::Torn);
            next = reading.next;
        }
        book
    }

    fn take_event(
        &mut self,
        stored: &journal::Stored,
        registry: &Registry,
        lowered: &Lowered,
        brokers: &BTreeMap<Number, BrokerName>,
    ) {
        let envelope = Envelope::read(stored).expect("an Event record reads");
        let event = envelope.event.as_ref();
        let broker = brokers.get(&envelope.broker);
        let key = (event.source().to_owned(), event.id().to_owned());
        let dedup = broker.and_then(|name| lowered.brokers.get(name)?.dedup);
        let seen = (envelope.broker, key.clone());
        let before = self.seen.get(&seen).copied();
        let duplicate = dedup.is_some_and(|dedup| {
            before.is_some_and(|before| envelope.arrival.since(before) < dedup.window)
        });
        if dedup.is_some() && !duplicate {
            self.seen.insert(seen, envelope.arrival);
        }
        let wanted = registry
            .entries()
            .filter(|entry| entry.kind == Kind::Trigger && !duplicate)
            .filter(|entry| {
                lowered
                    .triggers
                    .get(&entry.trigger_name())
                    .is_some_and(|trigger| {
                        trigger.not_ready.is_none()
                            && Some(&trigger.broker) == broker
                            && trigger.filter.matches(&event)
                    })
            });
        let stored = Stored {
            hops: envelope.hops,
            wanted_by: wanted.map(|entry| entry.number).collect(),
            key,
            broker: broker.cloned(),
            duplicate,
            unsure: dedup.is_some() && before.is_none() && self.start > Offset(0),
        };
        self.events.insert(envelope.offset, stored);
    }

    fn take_routed(&mut self, stored: &journal::Stored) {
        let mut pairs = Vec::new();
        let range = routed::read(stored, |offset, numbers| {
            pairs.extend(numbers.iter().map(|number| (*number, offset)));
        })
        .expect("a Routed record reads");
        // The engine closes a gap by routing again from where it begins.
        let gap = self.torn && self.routed_to < range.start;
        if range.start != self.routed_to
            && (self.start == Offset(0) && !self.deliveries.is_empty())
            && !gap
        {
            let wrong = format!(
                "routed from {}, before to {}",
                range.start.0, self.routed_to.0
            );
            self.wrong.push(wrong);
        }
        if !gap {
            self.routed_to = range.end;
        }
        for (number, offset) in pairs {
            let cancelled = Outcome::Cancelled(Why::Deleted);
            let end = self.deleted.contains(&number).then_some(cancelled);
            if self.deliveries.insert((number, offset), end).is_some() {
                self.wrong
                    .push(format!("{number} is owed offset {} twice", offset.0));
            }
        }
    }

    fn take_dead(&mut self, stored: &journal::Stored) {
        let dead = Dead::read(stored).expect("a Dead record reads");
        self.end(dead.number, dead.offset, Outcome::Dead(dead.cause));
        if dead.forwarded && !self.deleted.contains(&dead.number) {
            self.deliveries
                .insert((dead.number | FORWARD, stored.offset), None);
        }
        self.letters.insert(stored.offset, dead);
    }

    fn take_redriven(&mut self, stored: &journal::Stored) {
        let redriven = Redriven::read(stored).expect("a Redriven record reads");
        let letter = redriven.letter.0;
        // Its payload may give way before, and what is left of it afterwards.
        let turn = |redriven: &Redriven| match redriven.action {
            Action::PayloadDiscarded => 0,
            Action::Again { .. } | Action::Discarded => 1,
            Action::LetGo => 2,
        };
        let mut of_letter = self.redriven.iter();
        if of_letter
            .any(|before| before.letter == redriven.letter && turn(before) >= turn(&redriven))
        {
            self.wrong
                .push(format!("letter {letter} was handled twice"));
        }
        self.redriven.push(redriven);
        let Action::Again { number, offset } = redriven.action else {
            return;
        };
        let cancelled = Outcome::Cancelled(Why::Deleted);
        let end = self.deleted.contains(&number).then_some(cancelled);
        match self.deliveries.insert((number, offset), end) {
            Some(None) => self.wrong.push(format!(
                "letter {letter} was redriven while {number} owed {}",
                offset.0
            )),
            Some(Some(before)) => self.earlier.push(((number, offset), before)),
            None => {}
        }
        self.again.insert((number, offset));
    }

    fn take_replayed(&mut self, stored: &journal::Stored) {
        let replayed = Replayed::read(stored).expect("a Replayed record reads");
        let number = replayed.number;
        let cancelled = Outcome::Cancelled(Why::Deleted);
        let end = self.deleted.contains(&number).then_some(cancelled);
        for offset in replayed.offsets {
            match self.deliveries.insert((number, offset), end) {
                Some(None) => self.wrong.push(format!(
                    "offset {} was replayed while {number} owed it",
                    offset.0
                )),
                Some(Some(before)) => self.earlier.push(((number, offset), before)),
                None => {}
            }
            self.again.insert((number, offset));
        }
    }

    /// Whether it was owed again, by a redrive: then nothing need have matched it.
    pub fn was_owed_again(&self, number: Number, offset: Offset) -> bool {
        self.again.contains(&(number, offset))
    }

    /// Whether it ended and need not begin any more: the record that says so is there, and that of its
    /// beginning was lost in the same frame.
    pub fn ended_early(&self, number: Number, offset: Offset) -> bool {
        self.ended_early.contains(&(number, offset))
    }

    fn end(&mut self, number: Number, offset: Offset, outcome: Outcome) {
        match self.deliveries.get_mut(&(number, offset)) {
            Some(end @ None) => *end = Some(outcome),
            // What was in the air when its trigger was deleted may still arrive.
            Some(Some(Outcome::Cancelled(_))) => {}
            // What it was owed again for is in the hole.
            Some(Some(_)) if self.torn => {}
            Some(Some(before)) => {
                let wrong = format!("{number} at {} ended {before} and {outcome}", offset.0);
                self.wrong.push(wrong);
            }
            None if self.deleted.contains(&(number & !FORWARD)) => {}
            None if self.torn => {
                self.ended_early.insert((number, offset));
            }
            None if self.start > Offset(0) => {}
            None => self
                .wrong
                .push(format!("{number} at {} ended and wasn't owed", offset.0)),
        }
    }

    fn delete(&mut self, deleted: &[Number], registry: &Registry, lowered: &Lowered) {
        self.deleted.extend(deleted);
        // A trigger that names no dead letter sink any more owes none of its letters to one.
        let has_sink: BTreeSet<Number> = registry
            .entries()
            .filter(|entry| entry.kind == Kind::Trigger)
            .filter(|entry| {
                let trigger = lowered.triggers.get(&entry.trigger_name());
                trigger.is_some_and(|trigger| trigger.dead_letter.is_some())
            })
            .map(|entry| entry.number)
            .collect();
        for ((number, _), end) in &mut self.deliveries {
            let ends = match number & FORWARD {
                0 => deleted.contains(number),
                _ => !has_sink.contains(&(number & !FORWARD)),
            };
            if ends && end.is_none() {
                *end = Some(Outcome::Cancelled(Why::Deleted));
            }
        }
    }

    /// A number's books; with [`FORWARD`] set, its dead letter lane's.
    pub fn book(&self, number: Number) -> Book {
        book_of(self.ends(|whose| whose == number))
    }

    /// All triggers' books, or all forwarding lanes'.
    pub fn total(&self, forwards: bool) -> Book {
        book_of(self.ends(|number| (number & FORWARD != 0) == forwards))
    }

    /// How each delivery of these ended, the earlier ones of what was owed again too.
    fn ends(&self, whose: impl Fn(Number) -> bool) -> impl Iterator<Item = Option<Outcome>> {
        let now = self
            .deliveries
            .iter()
            .map(|((number, _), end)| (*number, *end));
        let earlier = self.earlier.iter();
        let earlier = earlier.map(|((number, _), end)| (*number, Some(*end)));
        let all = now.chain(earlier).filter(move |(number, _)| whose(*number));
        all.map(|(_, end)| end)
    }

    /// The trigger's name; of a forwarding lane, with `#dead` behind it.
    pub fn name(&self, number: Number) -> String {
        let name = self
            .names
            .get(&(number & !FORWARD))
            .map_or("?", String::as_str);
        match number & FORWARD {
            0 => name.to_owned(),
            _ => format!("{name}#dead"),
        }
    }

    /// The event of a delivery.
    pub fn event_of(&self, number: Number, offset: Offset) -> Option<&Stored> {
        self.events.get(&self.event_offset(number, offset)?)
    }

    /// Where the event of a delivery stands.
    pub fn event_offset(&self, number: Number, offset: Offset) -> Option<Offset> {
        match number & FORWARD {
            0 => Some(offset),
            _ => self.letters.get(&offset).map(|letter| letter.offset),
        }
    }
}

/// A resource's name; an ad hoc lane's as [`crate::sinks::Call::whose`] has it, from its address.
fn name_of(entry: &Entry) -> String {
    let subscriber = match &entry.resource.spec {
        Spec::Trigger(spec) if entry.kind == Kind::AdHoc => spec.subscriber.as_ref(),
        _ => None,
    };
    let uri = subscriber.and_then(|subscriber| subscriber.uri.as_deref());
    match uri.map(triggers::Destination::parse) {
        Some(Ok(destination)) => crate::sinks::addressed(&destination),
        _ => entry.resource.metadata.name.clone(),
    }
}

fn book_of(ends: impl Iterator<Item = Option<Outcome>>) -> Book {
    let mut book = Book::default();
    for end in ends {
        book.matched += 1;
        match end {
            None => book.owed += 1,
            Some(Outcome::Delivered) => book.delivered += 1,
            Some(Outcome::Dead(cause)) => book.dead[index(cause)] += 1,
            Some(Outcome::Cancelled(_)) => book.cancelled += 1,
        }
    }
    book
}

fn index(cause: Cause) -> usize {
    cause as usize
}
