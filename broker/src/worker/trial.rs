//! A careful node's worker: asks before it sends, writes intents down, and makes what landed durable
//! at once ([`crate::careful`]).

use journal::mutant;

use super::AtWork;
use super::flight::Landing;
use crate::Fault;
use crate::careful::Leave;
use crate::dead_letters::{Unread, read_event};
use crate::guarded::Caught;
use crate::keys::Claim;
use crate::lane::Delivery;
use crate::records::attempt::{self, Attempt, Verdict};
use crate::records::intent::Intent;
use crate::records::{Cause, Number};

/// After an end that wasn't in order, so many times what has landed is made durable at once instead
/// of within 50 ms: a node that ends again soon must find that it got anywhere.
pub(super) const HURRIED_NOTES: u32 = 8;

/// An intent that is durable, or never can be.
pub(crate) struct Intended {
    pub(super) number: Number,
    pub(super) delivery: Delivery,
    pub(super) airborne: u32,
    pub(super) durable: bool,
}

impl AtWork {
    /// The delivery that the lane in `slot` has taken, if it may leave now. If not, it is its lane's
    /// next and waits for its turn, or its intent is written down, or it ends as poison.
    pub(super) fn leave(&mut self, slot: u32, delivery: Delivery) -> Option<Delivery> {
        if !self.careful.is_on() {
            return Some(delivery);
        }
        let lane = self.lanes[slot as usize].as_mut()?;
        let number = lane.facts.number;
        if lane.keys.is_some() && self.waits_for_key(slot, &delivery) {
            return None;
        }
        let lane = self.lanes[slot as usize].as_mut()?;
        match self.careful.ask((number, delivery.offset)) {
            Leave::Go => return Some(delivery),
            Leave::Wait => {
                lane.in_flight -= 1;
                lane.due.push_front(delivery);
                lane.queued = true;
                self.suspended.push(slot);
            }
            Leave::Intend => {
                self.intend(number, delivery);
                // What is behind it needn't wait, where it isn't suspected.
                self.wake(slot);
            }
            Leave::Bury(why) => {
                self.bury_poison(slot, delivery, &why);
                self.wake(slot);
            }
        }
        None
    }

    /// Takes the key of an ordered lane's delivery before its turn is asked for: nothing of the key
    /// passes it while its intent is written, and what waits behind its key isn't in the air, so it
    /// must not be accused. Whether it waits.
    fn waits_for_key(&mut self, slot: u32, delivery: &Delivery) -> bool {
        let read = || read_event(&mut self.reader, delivery.offset);
        let envelope = match self.careful.panics.guarded(Caught::Load, read) {
            Ok(Ok(envelope)) => envelope,
            Ok(Err(Unread::Later(why))) => {
                self.put_off(slot, delivery.clone(), &why);
                return true;
            }
            // It ends when it is sent.
            Ok(Err(Unread::Never(_))) | Err(_) => return false,
        };
        let held = self.claim(slot, delivery.offset, &envelope.event.as_ref()) == Claim::Held;
        if held && let Some(lane) = &mut self.lanes[slot as usize] {
            lane.hold_again(delivery);
        }
        held
    }

    /// The lane in `slot` can't send now. If its next has an intent that is durable, that is taken
    /// back: whatever ends the process meanwhile, it isn't this one.
    pub(super) fn take_back_intent(&mut self, slot: u32) {
        if !self.careful.is_on() {
            return;
        }
        let lane = self.lanes[slot as usize].as_ref();
        let which = lane.and_then(|lane| self.careful.stays(lane.facts.number));
        if let Some((number, offset)) = which {
            self.note(Intent::none(number, offset).record());
        }
    }

    /// An attempt has come down of which nothing else is written: its intent is taken back.
    pub(super) fn came_down(&mut self, number: Number, delivery: &Delivery) {
        if !self.careful.is_on() {
            return;
        }
        let which = (number, delivery.offset);
        if self.careful.is_tried(which) {
            self.note(Intent::none(number, delivery.offset).record());
        }
        self.careful.landed(which);
    }

    /// Makes the intent durable.
    fn intend(&mut self, number: Number, delivery: Delivery) {
        let intent = Intent {
            number,
            offset: delivery.offset,
            attempt: delivery.attempt(),
        };
        let airborne = self.airborne.take_off(number, delivery.offset);
        let log = self.log.clone();
        self.flights.push(Box::pin(async move {
            // Noted and not appended: what ends deliveries has room in a full log too.
            let durable = async {
                log.note([intent.record()]).await?;
                if mutant::is("try-suspect-before-its-intent-is-durable") {
                    return Ok(());
                }
                log.flush().await
            };
            let durable = durable.await.is_ok();
            Landing::Intended(Box::new(Intended {
                number,
                delivery,
                airborne,
                durable,
            }))
        }));
    }

    /// The intent is durable: its delivery is the lane's next.
    pub(super) fn intended(&mut self, intended: Intended) -> Result<(), Fault> {
        let Intended {
            number,
            delivery,
            durable,
            ..
        } = intended;
        if !durable {
            return Err(Fault::LogStopped);
        }
        let Some(&slot) = self.slots.get(&number) else {
            return Ok(());
        };
        self.careful.intended((number, delivery.offset));
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.in_flight -= 1;
            lane.due.push_front(delivery);
            // What is behind it may have come to wait meanwhile, or was made to.
            lane.queued &= !self.suspended.contains(&slot);
        }
        self.ask_no_more(slot);
        self.wake(slot);
        if !self.ready.contains(&slot) {
            // Its lane was paused meanwhile, or waits for its destination.
            self.take_back_intent(slot);
        }
        Ok(())
    }

    fn bury_poison(&mut self, slot: u32, mut delivery: Delivery, why: &str) {
        let Some(lane) = &self.lanes[slot as usize] else {
            return;
        };
        let facts = std::sync::Arc::clone(&lane.facts);
        tracing::error!(trigger = %facts.trigger, offset = delivery.offset.0, why, "set aside as poison");
        let attempt = Attempt {
            started: self.log.clock().wall(),
            latency_ms: 0,
            verdict: Verdict::Unreachable,
            status: None,
            text: why.into(),
            body: bytes::Bytes::new(),
            left_out: 0,
        };
        attempt::push(delivery.history.get_or_insert_default(), attempt);
        self.bury(&facts, delivery, Cause::Poison, None);
    }

    /// Makes what was written down durable at once where a start after a crash should know it, and
    /// the next suspect waits for it.
    pub(super) async fn hurry(&mut self) -> Result<(), Fault> {
        if self.hurried_notes == 0 && !self.careful.is_on() {
            return Ok(());
        }
        self.hurried_notes = self.hurried_notes.saturating_sub(1);
        self.log.flush().await.map_err(|_| Fault::LogStopped)
    }

    /// Lets lanes ask again that waited for a turn to end.
    pub(super) fn ask_again(&mut self) {
        self.turns.mark_unchanged();
        for slot in std::mem::take(&mut self.suspended) {
            if let Some(lane) = &mut self.lanes[slot as usize] {
                lane.queued = false;
            }
            self.wake(slot);
        }
    }

    /// The lane in `slot` is no more, or goes elsewhere.
    pub(super) fn ask_no_more(&mut self, slot: u32) {
        self.suspended.retain(|suspended| *suspended != slot);
    }
}
