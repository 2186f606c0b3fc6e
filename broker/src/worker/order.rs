//! Order by key: what the worker does with an ordered lane's [`Keys`] as its deliveries begin,
//! fail and end. A lane without `ordering` has none and comes past here for nothing.

use event::EventRef;
use journal::{Offset, Record, mutant};
use triggers::{BlockedKey, Ordering};

use super::AtWork;
use crate::dead_letters::{Unread, read_event};
use crate::keys::{Claim, Key, Keys, key_of};
use crate::lane::{Delivery, Lane};
use crate::records::Number;
use crate::records::held::Held;

/// How many parked deliveries' keys are read at a time, before an ordered lane sends anything.
const KEYS_READ_MAX: usize = 32;

impl AtWork {
    /// A delivery of the lane in `slot` has been taken and read: may it be sent, or does it wait
    /// behind its key? Where it is held, it no longer counts as in flight.
    pub(super) fn claim(&mut self, slot: u32, offset: Offset, event: &EventRef<'_>) -> Claim {
        let claimed = self.with_keys(slot, |keys| {
            key_of(event, keys.by()).map(|key| keys.claim(key, offset))
        });
        let claim = claimed.flatten().unwrap_or(Claim::Go);
        if claim == Claim::Held
            && let Some(lane) = &mut self.lanes[slot as usize]
        {
            lane.in_flight -= 1;
            // Reading it costs a turn as sending it does.
            let bytes = i32::try_from(event.wire_len()).unwrap_or(i32::MAX);
            lane.deficit = lane.deficit.saturating_sub(bytes);
        }
        claim
    }

    /// A delivery waits to be tried again: its key stays busy.
    pub(super) fn key_failed(&mut self, slot: u32, offset: Offset, event: &EventRef<'_>) {
        self.with_keys(slot, |keys| {
            let by = keys.by().to_owned();
            keys.adopt(offset, || key_of(event, &by));
        });
    }

    /// A delivery has ended, however it did: the next of its key is due.
    pub(super) fn key_ended(&mut self, slot: u32, offset: Offset) {
        let next = self.with_keys(slot, |keys| keys.ended(offset)).flatten();
        if let Some(next) = next
            && let Some(lane) = &mut self.lanes[slot as usize]
        {
            let next = Delivery::first(next);
            match lane.awaits_budget {
                // What waits for the budget doesn't hold up what needs none.
                true => lane.due.push_front(next),
                false => lane.due.push_back(next),
            }
        }
    }

    /// A delivery is about to be noted as dead: where the terms say so, its key is blocked. The
    /// record that says so must be in one group with the dead letter's: a crash may leave either of
    /// two groups of a frame, and nothing of the key may pass the letter.
    #[must_use]
    pub(super) fn key_died(&mut self, slot: u32, offset: Offset) -> Option<Record> {
        let keys = self.lanes[slot as usize].as_ref();
        let keys = keys.and_then(|lane| lane.keys.as_deref());
        let keys = keys.filter(|keys| keys.block_on_death())?;
        // One that dies without having been taken to be sent: nobody has read its key.
        let read = (!keys.knows(offset))
            .then(|| read_event(&mut self.reader, offset).ok())
            .flatten()
            .and_then(|envelope| key_of(&envelope.event.as_ref(), keys.by()));
        let key = self.with_keys(slot, |keys| keys.block(offset, read));
        let held = Held {
            number: self.number_of(slot)?,
            key: key.flatten()?,
            by: Some(offset),
        };
        Some(held.record())
    }

    /// The event that blocks a key was delivered after all, or its letter is no more.
    pub(super) fn key_let_go(&mut self, slot: u32, offset: Offset) {
        let key = self.with_keys(slot, |keys| keys.let_go(offset));
        if let (Some(key), Some(number)) = (key.flatten(), self.number_of(slot)) {
            let by = None;
            self.note(Held { number, key, by }.record());
        }
    }

    /// Reads the keys of what was parked before they were known. `true` while that goes on.
    pub(super) fn read_keys(&mut self, slot: u32) -> bool {
        for read in 0..KEYS_READ_MAX {
            let lane = self.lanes[slot as usize].as_mut();
            let Some(keys) = lane.and_then(|lane| lane.keys.as_ref()) else {
                return false;
            };
            let Some(offset) = keys.unread() else {
                return read > 0;
            };
            // One that can't be read has no key; it ends as poison when it is due.
            let envelope = match read_event(&mut self.reader, offset) {
                Err(Unread::Later(why)) => {
                    self.look_again_at(slot, &why);
                    return true;
                }
                read => read.ok(),
            };
            let lane = self.lanes[slot as usize].as_mut();
            let Some(keys) = lane.and_then(|lane| lane.keys.as_mut()) else {
                return false;
            };
            let by = keys.by().to_owned();
            keys.adopt(offset, || key_of(&envelope?.event.as_ref(), &by));
        }
        true
    }

    /// Makes the lane's keys what its terms say now. `blocked` are those of a lane that starts.
    pub(super) fn reorder(&mut self, slot: u32, blocked: Vec<(Key, Offset)>) {
        let Some(lane) = &mut self.lanes[slot as usize] else {
            return;
        };
        let number = lane.facts.number;
        let wanted = lane.facts.ordering().cloned();
        let let_go = match (&mut lane.keys, wanted) {
            (None, None) if blocked.is_empty() => return,
            (Some(keys), Some(wanted)) if keys.by() == &*wanted.by => {
                keys.set_blocked_key(wanted.blocked_key);
                match wanted.blocked_key {
                    BlockedKey::Retry => keys.let_all_go(),
                    BlockedKey::DeadLetter => Vec::new(),
                }
            }
            (before, wanted) => {
                let before = std::mem::take(before);
                let parked = self.timers.iter().filter(|(whose, _)| *whose == number);
                let mut unread: Vec<Offset> = parked.map(|(_, parked)| parked.offset).collect();
                let mut let_go = Vec::new();
                if let Some(mut before) = before {
                    self.lanes_holding -= u32::from(before.held() > 0);
                    let_go = before.let_all_go();
                    lane.take_back(before.held_offsets());
                }
                let tried = lane.due.iter().filter(|due| due.history.is_some());
                unread.extend(tried.map(|due| due.offset));
                if mutant::is("forget-keys-of-parked-on-restart") {
                    unread.clear();
                }
                let blocks = |wanted: &Ordering| wanted.blocked_key == BlockedKey::DeadLetter;
                let blocked = if wanted.as_ref().is_some_and(blocks) {
                    blocked
                } else {
                    let_go.extend(blocked.into_iter().map(|(key, _)| key));
                    Vec::new()
                };
                lane.keys = wanted.map(|wanted| Box::new(Keys::new(wanted, blocked, unread)));
                let_go
            }
        };
        for key in let_go {
            let by = None;
            self.note(Held { number, key, by }.record());
        }
        self.with_keys(slot, |_| ());
    }

    /// Looks at a lane's keys, keeps count of the lanes that hold any, and sees to their shares
    /// of [`crate::limits::Limits::held_max`].
    pub(super) fn with_keys<T>(
        &mut self,
        slot: u32,
        look: impl FnOnce(&mut Keys) -> T,
    ) -> Option<T> {
        let keys = self.lanes[slot as usize].as_mut()?.keys.as_mut()?;
        let held = keys.held() > 0;
        let seen = look(keys);
        self.lanes_holding += u32::from(keys.held() > 0);
        self.lanes_holding -= u32::from(held);
        let lanes = u64::from(self.lanes_holding.max(1));
        keys.set_bounds(
            (u64::from(self.limits.held_max) / lanes).max(1),
            u64::from(self.limits.blocked_keys_max).max(1),
        );
        Some(seen)
    }

    fn number_of(&self, slot: u32) -> Option<Number> {
        let lane = self.lanes[slot as usize].as_ref()?;
        Some(lane.facts.number)
    }
}

impl Lane {
    /// Takes back what was held, by the keys of other terms: it is due, in the order in which it
    /// came, before what is tried again.
    fn take_back(&mut self, held: Vec<Offset>) {
        let (tried, first): (Vec<_>, Vec<_>) =
            self.due.drain(..).partition(|due| due.history.is_some());
        let first = first.into_iter().map(|delivery| delivery.offset);
        let mut first: Vec<Offset> = first.chain(held).collect();
        first.sort_unstable();
        self.due.extend(first.into_iter().map(Delivery::first));
        self.due.extend(tried);
    }
}
