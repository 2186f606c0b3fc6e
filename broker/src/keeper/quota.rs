//! Quotas: where what is owed or dead fills the storage, who holds most of it gives way (DESIGN §4).
//!
//! Nobody gives way while there is history to give up. A trigger's share is the storage's bytes divided
//! by the triggers that hold something; where several triggers are in force at least two are counted, so
//! that one alone never takes the room of those who hold nothing at the moment. Among those above it the
//! largest applies its `onQuota`: `discardOldest` gives up the payloads of its oldest dead letters, whose
//! records and attempts stay, then its oldest deliveries, which end `dead{quota}`; `refuse` has its broker
//! refuse events until it is under its share again. Only then are all publishers refused.
//!
//! What sources rejected is nobody's share and makes nobody's smaller: above a share of its own the payloads
//! of the oldest give way.
//!
//! How much a trigger holds is counted in events of the mean size of those it gets: an event that two triggers
//! hold counts for both.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use journal::{Group, Offset, Record};
use tokio::time::Instant;
use triggers::{BrokerName, OnQuota, TriggerName};

use super::{Keeper, fault};
use crate::Fault;
use crate::dead_letters::REJECTED_NUMBER;
use crate::fold::OpenError;
use crate::records::redriven::{Action, Redriven};
use crate::records::trigger_set::Kind;
use crate::records::{FORWARD, Number};
use crate::router::ToRouter;

/// How often somebody gives way: what one gave up shows in the room there is before the next does.
const ACT_EVERY: Duration = Duration::from_secs(1);

/// Deliveries that are ended, or letters whose payload is discarded, in one look, at the most.
const AT_ONCE_MAX: u64 = 4096;

/// Letters that are looked at in one look in search of payloads, at the most.
const LOOKED_AT_MAX: usize = 64 * 1024;

/// Segments' worth of room that is made in one look.
const ROOM_SEGMENTS: u64 = 8;

/// Who gives way goes down to this part of its share; and a broker that refused takes events again when
/// its trigger holds less.
const TAKES_AGAIN: f64 = 0.9;

/// The node warns when what is owed or dead takes more than this of the storage, and again after it
/// has taken less than [`WARN_AGAIN`].
const WARN_ABOVE: f64 = 0.8;
const WARN_AGAIN: f64 = 0.7;

/// Where the quotas stand.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    act_at: Option<Instant>,
    warned: bool,
    /// There was no room to keep what is needed of a segment that was to go.
    pub(super) nowhere_to_keep: bool,
    /// Letters before this have no payload to discard.
    discarded_to: HashMap<Number, Offset>,
    /// Brokers that refuse, each for whom.
    pub(super) refused: BTreeMap<BrokerName, TriggerName>,
}

/// What a trigger holds.
#[derive(Debug, Clone, Copy)]
struct Holding {
    number: Number,
    bytes: u64,
    /// Bytes of one of its events on the mean.
    mean: u64,
}

impl Keeper {
    /// What each trigger holds, in bytes, by number: also those that are no more and have dead letters.
    pub(super) fn held(&self) -> BTreeMap<Number, u64> {
        let holdings = self.holdings().into_iter();
        holdings.map(|held| (held.number, held.bytes)).collect()
    }

    /// What each may hold before it may have to give way.
    pub(super) fn share(&self, holding: usize) -> u64 {
        let triggers = self.fold.registry.entries();
        let triggers = triggers.filter(|entry| entry.kind == Kind::Trigger);
        let at_least = triggers.take(2).count().max(1);
        self.parts.bytes_max / holding.max(at_least) as u64
    }

    fn holdings(&self) -> Vec<Holding> {
        let mut events: BTreeMap<Number, u64> = self.view.letter_counts().payloads;
        for (number, owed) in self.fold.owed.iter() {
            if number & FORWARD == 0 {
                *events.entry(number).or_default() += owed.len();
            }
        }
        let holding = |(number, events): (Number, u64)| {
            let mean = self.fold.sizes.mean_of(number);
            let bytes = events * mean;
            Holding {
                number,
                bytes,
                mean,
            }
        };
        events.into_iter().map(holding).collect()
    }

    /// Whether what is owed or dead takes the room that publishers need.
    fn is_pressed(&self) -> bool {
        let log = self.parts.log.journal();
        let facts = log.facts();
        let least = facts.reserve_bytes + 2 * super::reclaim::SEGMENTS_AHEAD * facts.segment_bytes;
        let little = self.log_bytes_allowed() < least.min(self.log_bytes_max / 2);
        little
            || self.quotas.nowhere_to_keep
            || (self.wants_room() && !self.gains_room(&log.segments()))
    }

    /// Has somebody give way, if somebody must.
    pub(super) fn apply_quotas(&mut self) -> Result<(), Fault> {
        if self.quotas.act_at.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        self.quotas.act_at = Some(Instant::now() + ACT_EVERY);
        self.warn_when_full();
        let pressed = self.is_pressed();
        if !pressed && self.quotas.refused.is_empty() {
            return Ok(());
        }
        let mut holdings = self.holdings();
        let share = self.share(holders(holdings.iter().map(|held| held.number)));
        holdings.sort_by_key(|held| std::cmp::Reverse(held.bytes));
        let (lowered, _) = self.fold.registry.lowered();
        let mut refused = BTreeMap::new();
        for held in holdings {
            let entry = self.fold.registry.get(held.number);
            let name = entry.map(|entry| entry.trigger_name());
            let trigger = name.as_ref().and_then(|name| lowered.triggers.get(name));
            let refuses = trigger.filter(|trigger| trigger.terms.on_quota == OnQuota::Refuse);
            if let Some(trigger) = refuses {
                let was = self.quotas.refused.contains_key(&trigger.broker);
                let limit = if was { TAKES_AGAIN } else { 1.0 } * share as f64;
                if (pressed || was) && held.bytes as f64 > limit {
                    let name = || trigger.name.clone();
                    refused.entry(trigger.broker.clone()).or_insert_with(name);
                }
                continue;
            }
            // What sources rejected has no trigger, and gives way as those do that say nothing.
            if pressed && held.bytes > share {
                let goal = (share as f64 * TAKES_AGAIN) as u64;
                if self.give_up_oldest(held, held.bytes - goal)? {
                    break;
                }
            }
        }
        if refused != self.quotas.refused {
            for (broker, trigger) in &refused {
                tracing::warn!(%broker, %trigger, "events are refused: the trigger is over its share of the storage");
            }
            self.parts.admission.refuse(refused.clone());
            self.quotas.refused = refused;
        }
        Ok(())
    }

    /// Payloads of dead letters first, then deliveries. What was rejected has no deliveries: `false` where
    /// there is nothing to give up.
    fn give_up_oldest(&mut self, held: Holding, over: u64) -> Result<bool, Fault> {
        let room = self.parts.log.journal().facts().segment_bytes * ROOM_SEGMENTS;
        let count = (over.min(room) / held.mean.max(1)).clamp(1, AT_ONCE_MAX);
        let letters = self.oldest_payloads(held.number, count as usize)?;
        let at = self.parts.log.clock().wall();
        if letters.is_empty() && held.number == REJECTED_NUMBER {
            return Ok(false);
        }
        if letters.is_empty() {
            let number = held.number;
            // A router that is too busy to listen is asked again.
            let asked = ToRouter::GiveWay { number, count };
            if self.parts.router.try_send(asked).is_ok() {
                self.counts.quota_deliveries += count;
            }
            return Ok(true);
        }
        for letter in letters {
            let action = Action::PayloadDiscarded;
            let record = Redriven { letter, at, action }.record();
            if !self.note(record) {
                break;
            }
            self.counts.quota_payloads += 1;
            self.quotas
                .discarded_to
                .insert(held.number, Offset(letter.0 + 1));
        }
        // What was given up before frees room once it is in the view.
        self.commit()?;
        Ok(true)
    }

    fn oldest_payloads(&mut self, number: Number, count: usize) -> Result<Vec<Offset>, Fault> {
        let from = self.quotas.discarded_to.get(&number);
        let from = from.copied().unwrap_or_default();
        let (mut found, mut looked_at, mut looked_to) = (Vec::new(), 0, from);
        let listed = self.view.letters_upwards(None, from, |row| {
            looked_at += 1;
            looked_to = Offset(row.id.0 + 1);
            if row.number == number && row.is_kept() && !row.payload_discarded {
                found.push(row.id);
            }
            match found.len() < count && looked_at < LOOKED_AT_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        listed.map_err(|error| fault(OpenError::View(error)))?;
        if found.is_empty() {
            // The next look goes on from here.
            self.quotas.discarded_to.insert(number, looked_to);
        }
        Ok(found)
    }

    /// Notes a record, unless the log has no room for it now.
    fn note(&self, record: Record) -> bool {
        // A log that is closed or has stopped ends the router and the workers.
        self.parts.log.journal().note(Group::one(record)).is_ok()
    }

    fn warn_when_full(&mut self) {
        let ratio = self.held_ratio();
        if ratio > WARN_ABOVE && !self.quotas.warned {
            self.quotas.warned = true;
            tracing::warn!(
                percent = (ratio * 100.0).round(),
                "what is owed or in the dead letters takes most of storage.maxBytes; `weft get triggers` shows whose it is"
            );
        } else if ratio < WARN_AGAIN {
            self.quotas.warned = false;
        }
    }

    /// The share of the storage that what is owed or dead takes, 0 to 1.
    pub(super) fn held_ratio(&self) -> f64 {
        let live = self.held().values().sum::<u64>();
        // Events that several hold are there once.
        let there = self.used_bytes().min(live + self.view.bytes());
        there as f64 / self.parts.bytes_max.max(1) as f64
    }
}

/// How many of these share the storage.
pub(super) fn holders(numbers: impl Iterator<Item = Number>) -> usize {
    numbers.filter(|number| *number != REJECTED_NUMBER).count()
}
