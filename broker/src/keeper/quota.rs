//! Quotas: where what is owed or dead fills the storage, who holds most of it gives way (DESIGN §4).
//!
//! Nobody gives way while there is history to give up. A trigger's share is the storage's bytes divided
//! by the triggers that hold something; where several triggers are in force at least two are counted, so
//! that one alone never takes the room of those who hold nothing at the moment. Among those above it the
//! largest applies its `onQuota`: `discardOldest` gives up the payloads of its oldest dead letters, whose
//! records and attempts stay, then its oldest deliveries, which end `dead{quota}`; `refuse` has its broker
//! refuse events until it is under its share again. Only then are all publishers refused. Where nothing but
//! letters' records is left, or they take more than half of the share, the oldest letters go as a whole.
//!
//! What sources rejected is nobody's share and makes nobody's smaller: above a share of its own the payloads
//! of the oldest give way.
//!
//! How much a trigger holds is what its letters' records take, with their attempts, and events of the mean size
//! of those it gets: an event that two triggers hold counts for both.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use journal::{Group, Offset, Record};
use tokio::time::Instant;
use triggers::{BrokerName, OnQuota, TriggerName};

use super::{Keeper, fault};
use crate::Fault;
use crate::dead_letters::{REJECTED_NUMBER, Row};
use crate::fold::OpenError;
use crate::records::redriven::{Action, Redriven};
use crate::records::trigger_set::Kind;
use crate::records::{FORWARD, Number};
use crate::router::ToRouter;
use crate::view::{View, ViewError};

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

/// Letters' records may take this part of their trigger's share; where they take more they go before
/// deliveries do, or old letters would leave no room for what is owed.
const LETTERS_PART: f64 = 0.5;

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
    payloads_from: HashMap<Number, Offset>,
    /// Letters before this were let go, or may not go.
    letters_from: HashMap<Number, Offset>,
    /// Brokers that refuse, each for whom.
    pub(super) refused: BTreeMap<BrokerName, TriggerName>,
}

/// What a trigger holds.
#[derive(Debug, Clone, Copy, Default)]
struct Holding {
    number: Number,
    bytes: u64,
    /// Bytes of one of its events on the mean.
    mean: u64,
    /// Deliveries that it is owed.
    owed: u64,
    /// Letters that its dead letter sink is owed.
    forwards: u64,
    /// Letters whose event is needed.
    payloads: u64,
    /// Bytes of its letters' records.
    letters: u64,
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
        let mut holdings: BTreeMap<Number, Holding> = BTreeMap::new();
        let mut of = |number: Number, say: &dyn Fn(&mut Holding)| {
            say(holdings.entry(number & !FORWARD).or_default());
        };
        let counts = self.view.letter_counts();
        for (number, payloads) in counts.payloads {
            of(number, &|held| held.payloads = payloads);
        }
        for (number, bytes) in counts.bytes {
            of(number, &|held| held.letters = bytes);
        }
        for (number, owed) in self.fold.owed.iter() {
            of(number, &|held| match number & FORWARD {
                0 => held.owed = owed.len(),
                _ => held.forwards = owed.len(),
            });
        }
        let holding = |(number, held): (Number, Holding)| {
            let mean = self.fold.sizes.mean_of(number);
            let bytes = (held.owed + held.payloads) * mean + held.letters;
            Holding {
                number,
                bytes,
                mean,
                ..held
            }
        };
        holdings.into_iter().map(holding).collect()
    }

    /// Whether what is kept leaves the log little room.
    pub(super) fn leaves_little(&self) -> bool {
        let facts = self.parts.log.journal().facts();
        let least = facts.reserve_bytes + 2 * super::reclaim::SEGMENTS_AHEAD * facts.segment_bytes;
        self.log_bytes_allowed() < least.min(self.log_bytes_max / 2)
    }

    /// Whether what is owed or dead takes the room that publishers need.
    fn is_pressed(&self) -> bool {
        let log = self.parts.log.journal();
        self.leaves_little()
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
        let pressed = self.is_pressed() && !self.is_held();
        if !pressed && self.quotas.refused.is_empty() {
            return Ok(());
        }
        let mut holdings = self.holdings();
        let share = self.share(holders(holdings.iter().map(|held| held.number)));
        holdings.sort_by_key(|held| std::cmp::Reverse(held.bytes));
        let (lowered, _) = self.fold.registry.lowered();
        let mut refused = BTreeMap::new();
        let mut anew = false;
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
                    anew |= !was;
                }
                continue;
            }
            // What sources rejected has no trigger, and gives way as those do that say nothing. Nobody does
            // in the look in which a larger one's broker begins to refuse: that may be enough.
            if pressed && !anew && held.bytes > share {
                // Else the next largest gives way.
                if self.give_up_oldest(held, share)? {
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

    /// Payloads of dead letters first, also those that their sink waits for; then letters, where their
    /// records take too much; then deliveries. Whether anything gives way, or may yet be found.
    fn give_up_oldest(&mut self, held: Holding, share: u64) -> Result<bool, Fault> {
        let goal = (share as f64 * TAKES_AGAIN) as u64;
        let room = self.parts.log.journal().facts().segment_bytes * ROOM_SEGMENTS;
        let room = held.bytes.saturating_sub(goal).min(room);
        let mean = held.mean.max(1);
        let count = (room / mean).clamp(1, AT_ONCE_MAX);
        let payloads = match held.payloads {
            0 => 0,
            _ => self.give_up_payloads(held.number, count)?,
        };
        if payloads == count {
            return Ok(true);
        }
        let (room, count) = (room.saturating_sub(payloads * mean), count - payloads);
        let forwards = held.forwards.min(count);
        let asked = self.ask_to_give_way(held.number | FORWARD, forwards);
        let gave = payloads > 0 || asked;
        if asked && forwards == count {
            return Ok(true);
        }
        let letters_max = (share as f64 * LETTERS_PART) as u64;
        if held.letters > letters_max && self.let_letters_go(held.number, room)? {
            return Ok(true);
        }
        let owed = held.owed.min(count - forwards);
        Ok(self.ask_to_give_way(held.number, owed) || gave)
    }

    /// Has a lane end its oldest deliveries, unless the router is too busy to listen: it is asked again.
    fn ask_to_give_way(&mut self, number: Number, count: u64) -> bool {
        let asked = ToRouter::GiveWay { number, count };
        count > 0 && self.parts.router.try_send(asked).is_ok()
    }

    /// Discards the payloads of the oldest letters that have one. A letter's sink isn't owed it any more,
    /// or its event would stay. How many it was; all that were asked for where more may yet be found.
    fn give_up_payloads(&mut self, number: Number, count: u64) -> Result<u64, Fault> {
        let from = self.quotas.payloads_from.get(&number);
        let mut found = Vec::new();
        let looked = self.look(number, from.copied().unwrap_or_default(), |row| {
            if row.is_kept() && !row.payload_discarded {
                found.push(row);
            }
            enough(found.len() as u64 >= count)
        })?;
        let forwarding = found.iter().filter(|row| row.forwarding).count();
        let action = Action::PayloadDiscarded;
        let (next, noted) = self.note_all(&found, action, looked.next);
        self.quotas.payloads_from.insert(number, next);
        self.counts.quota_payloads += noted;
        self.ask_to_give_way(number | FORWARD, forwarding as u64);
        // What was given up before frees room once it is in the view.
        self.commit()?;
        Ok(match looked.ended {
            true => noted,
            false => count,
        })
    }

    /// Lets the oldest letters go whose records take so many bytes; those that block a key stay, for
    /// somebody to let it go. `false`: there is none that may go.
    fn let_letters_go(&mut self, number: Number, bytes: u64) -> Result<bool, Fault> {
        let blocked = self.fold.blocked.iter();
        let blocking: HashSet<Offset> = blocked
            .filter(|((whose, _), _)| *whose == number)
            .map(|(_, event)| *event)
            .collect();
        let from = self.quotas.letters_from.get(&number);
        let (mut found, mut sum) = (Vec::new(), 0);
        let looked = self.look(number, from.copied().unwrap_or_default(), |row| {
            if !row.is_kept() || !blocking.contains(&row.event) {
                sum += row.bytes;
                found.push(row);
            }
            enough(sum >= bytes || found.len() as u64 >= AT_ONCE_MAX)
        })?;
        let none = found.is_empty() && looked.ended;
        let (next, noted) = self.note_all(&found, Action::LetGo, looked.next);
        self.quotas.letters_from.insert(number, next);
        self.counts.quota_letters += noted;
        if let Some(row) = found.first().filter(|_| noted > 0) {
            tracing::warn!(trigger = %row.trigger, letters = noted, "the oldest dead letters are let go: the trigger is over its share of the storage");
        }
        self.commit()?;
        Ok(!none)
    }

    /// Notes what becomes of these letters, as long as the log has room for it; not of those that are
    /// being redriven. Where to look on, and how many it was.
    fn note_all(&self, letters: &[Row], action: Action, next: Offset) -> (Offset, u64) {
        let at = self.parts.log.clock().wall();
        let mut noted = 0;
        for row in letters {
            let letter = row.id;
            // Of one that was redriven or discarded before, its record alone is left to go.
            if row.is_kept() && !self.parts.fence.give_way(letter) {
                continue;
            }
            if !self.note(Redriven { letter, at, action }.record()) {
                return (letter, noted);
            }
            noted += 1;
        }
        (next, noted)
    }

    fn look(
        &self,
        number: Number,
        from: Offset,
        take: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<Looked, Fault> {
        let entry = self.fold.registry.get(number);
        // The letters of one that is no more are found among all.
        let name = entry.filter(|entry| entry.kind == Kind::Trigger);
        let whose = (number, name.map(|entry| entry.trigger_name()));
        let looked = look(&self.view, &whose, from, LOOKED_AT_MAX, take);
        looked.map_err(|error| fault(OpenError::View(error)))
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

/// How far a look at letters came.
#[derive(Debug, PartialEq, Eq)]
struct Looked {
    /// Where to look on.
    next: Offset,
    /// Whether there are no more.
    ended: bool,
}

fn enough(is_enough: bool) -> ControlFlow<()> {
    match is_enough {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

/// Goes through the letters of a number from this id on, the oldest first, until that is enough or so
/// many were looked at.
fn look(
    view: &View,
    (number, name): &(Number, Option<TriggerName>),
    from: Offset,
    most: usize,
    mut take: impl FnMut(Row) -> ControlFlow<()>,
) -> Result<Looked, ViewError> {
    let mut looked_at = 0;
    let mut looked = Looked {
        next: from,
        ended: true,
    };
    view.letters_upwards(name.as_ref(), from, |row| {
        looked_at += 1;
        looked.next = Offset(row.id.0 + 1);
        let more = row.number != *number || take(row).is_continue();
        looked.ended = more && looked_at < most;
        enough(!looked.ended)
    })?;
    Ok(looked)
}

#[cfg(test)]
mod tests {
    use journal::WallTime;

    use super::*;
    use crate::dead_letters::{Reason, State};
    use crate::records::Cause;
    use crate::view::Place;

    fn letter(id: u64, number: Number, name: &str) -> Row {
        Row {
            id: Offset(id),
            event: Offset(id),
            number,
            trigger: TriggerName::new("shop", name),
            reason: Reason::Dead(Cause::Refused),
            at: WallTime(id),
            bytes: 100,
            status: None,
            forwarded: false,
            state: State::Kept,
            payload_discarded: false,
            forwarding: false,
            let_go: false,
        }
    }

    /// However many letters of others lie before those of a trigger, they are found: at once where the
    /// trigger is in force, and else in a few looks.
    #[test]
    fn letters_are_found_behind_those_of_others() {
        let view = View::anew(&Place::Memory).unwrap();
        for id in 0..20 {
            let others = letter(id, 2, "others");
            view.set_letter(others.id, Some(others)).unwrap();
        }
        for id in 20..23 {
            let own = letter(id, 3, "own");
            view.set_letter(own.id, Some(own)).unwrap();
        }
        let look_from = |name: Option<TriggerName>, from| {
            let mut found = Vec::new();
            let looked = look(&view, &(3, name), from, 8, |row| {
                found.push(row.id.0);
                enough(found.len() == 2)
            });
            (found, looked.unwrap())
        };
        let is = |next, ended| Looked {
            next: Offset(next),
            ended,
        };
        let own = || Some(TriggerName::new("shop", "own"));
        assert_eq!(look_from(own(), Offset(0)), (vec![20, 21], is(22, false)));
        assert_eq!(look_from(own(), Offset(22)), (vec![22], is(23, true)));
        assert_eq!(look_from(own(), Offset(23)), (vec![], is(23, true)));
        assert_eq!(look_from(None, Offset(0)), (vec![], is(8, false)));
        assert_eq!(look_from(None, Offset(8)), (vec![], is(16, false)));
        assert_eq!(look_from(None, Offset(16)), (vec![20, 21], is(22, false)));
    }
}
