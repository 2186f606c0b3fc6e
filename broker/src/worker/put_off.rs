//! Putting off what can't be read now: the disk failed, or no more files could be opened. Nothing is
//! wrong with the delivery, so no attempt is counted and nothing ends.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::AtWork;
use super::alarms::Whom;
use crate::lane::Delivery;
use crate::records::Number;
use crate::records::intent::Intent;

/// How long a delivery that can't be read waits until it is tried again.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often it is said that something can't be read, at the most.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What can't be read at the moment.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    /// Ordered lanes that rest for it, each until when.
    resting: HashMap<Number, Instant>,
    /// How often something was put off since that was last said.
    unsaid: u64,
    said: Option<Instant>,
}

impl PutOff {
    /// The lane is no more, or goes elsewhere.
    pub(super) fn forget(&mut self, number: Number) {
        self.resting.remove(&number);
    }
}

impl AtWork {
    /// A delivery that was taken can't be read now: it is tried again later, and others of its lane
    /// go on meanwhile. Not those of an ordered lane: its key isn't known, and nothing may pass it.
    pub(super) fn put_off(&mut self, slot: u32, delivery: Delivery, why: &str) {
        let Some(lane) = &mut self.lanes[slot as usize] else {
            return;
        };
        let (number, offset) = (lane.facts.number, delivery.offset);
        if lane.keys.is_none() {
            self.say_unread(slot, why);
            self.park(slot, delivery, READ_AGAIN_AFTER);
        } else {
            lane.in_flight -= 1;
            lane.due.push_front(delivery);
            self.look_again_at(slot, why);
        }
        if self.careful.is_on() && self.careful.stayed((number, offset)) {
            self.note(Intent::none(number, offset).record());
        }
    }

    /// An ordered lane can't read what is to go first: it rests.
    pub(super) fn look_again_at(&mut self, slot: u32, why: &str) {
        self.say_unread(slot, why);
        let Some(lane) = &mut self.lanes[slot as usize] else {
            return;
        };
        lane.queued = true;
        let at = Instant::now() + READ_AGAIN_AFTER;
        self.unread.resting.insert(lane.facts.number, at);
        self.alarms.set(at, Whom::Unread(lane.facts.number));
        self.take_back_intent(slot);
    }

    /// A lane has rested until `at`.
    pub(super) fn read_again(&mut self, number: Number, at: Instant) {
        if self.unread.resting.get(&number) != Some(&at) {
            return;
        }
        self.unread.resting.remove(&number);
        let Some(&slot) = self.slots.get(&number) else {
            return;
        };
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.queued = false;
        }
        self.wake(slot);
    }

    fn say_unread(&mut self, slot: u32, why: &str) {
        self.unread.unsaid += 1;
        let now = Instant::now();
        let lane = self.lanes[slot as usize].as_ref();
        let due = self.unread.said.is_none_or(|said| SAY_EVERY <= now - said);
        if let (Some(lane), true) = (lane, due) {
            let (trigger, times) = (&lane.facts.trigger, self.unread.unsaid);
            tracing::error!(%trigger, times, why, "what is owed can't be read now; it is tried again");
            (self.unread.said, self.unread.unsaid) = (Some(now), 0);
        }
    }
}
