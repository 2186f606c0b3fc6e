//! Ending what paused lanes owe, when they are resumed from a later point than their backlog.

use std::sync::Arc;

use journal::Offset;

use super::AtWork;
use crate::pauses::What;
use crate::records::settled::Settlement;
use crate::records::{Number, Outcome, Why};

/// Deliveries that are ended before other messages and answers are taken in.
const DROPPED_AT_ONCE_MAX: usize = 4096;

/// Which lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A trigger's own.
    Lane(Number),
    /// All that send to the destination of that key.
    Destination(Arc<str>),
}

impl From<&What> for Whose {
    fn from(what: &What) -> Self {
        match what {
            What::Trigger(number) => Self::Lane(*number),
            What::Destination(key) => Self::Destination(Arc::clone(key)),
        }
    }
}

impl AtWork {
    /// Ends what these lanes owe before `before` and isn't in the air as `cancelled{dropped}`, at
    /// most [`DROPPED_AT_ONCE_MAX`] of it; or counts all of it. Returns how many.
    pub(super) fn drop_owed(&mut self, whose: &Whose, before: Offset, count_only: bool) -> u64 {
        let slots: Vec<usize> = (0..self.lanes.len())
            .filter(|slot| {
                self.lanes[*slot].as_ref().is_some_and(|lane| match whose {
                    Whose::Lane(number) => lane.facts.number == *number,
                    Whose::Destination(key) => *lane.facts.destination.key().as_str() == **key,
                })
            })
            .collect();
        let mut ended = 0;
        for slot in slots {
            let places = DROPPED_AT_ONCE_MAX.saturating_sub(ended as usize);
            ended += if count_only {
                self.owed_before(slot, before)
            } else {
                self.drop_of(slot, before, places)
            };
        }
        ended
    }

    fn owed_before(&self, slot: usize, before: Offset) -> u64 {
        let Some(lane) = &self.lanes[slot] else {
            return 0;
        };
        let number = lane.facts.number;
        let parked = self.timers.iter().filter(|(whose, _)| *whose == number);
        let owed = lane.owed.iter().take_while(|offset| *offset < before);
        let others = (lane.due.iter())
            .chain(parked.map(|(_, delivery)| delivery))
            .filter(|delivery| delivery.offset < before);
        let held = (lane.keys.as_deref()).map_or_else(Vec::new, |keys| keys.held_offsets());
        let held = held.iter().filter(|offset| **offset < before);
        let again = lane
            .again
            .as_deref()
            .into_iter()
            .flat_map(|again| again.iter());
        let again = again.filter(|(offset, _)| *offset < before);
        (owed.count() + others.count() + held.count() + again.count()) as u64
    }

    fn drop_of(&mut self, slot: usize, before: Offset, places: usize) -> u64 {
        // First, so that nothing is held any more behind what ends below.
        let held = self.with_keys(slot as u32, |keys| keys.drop_held(before, places));
        let Some(lane) = &mut self.lanes[slot] else {
            return 0;
        };
        let number = lane.facts.number;
        let held = held.unwrap_or_default().into_iter();
        let mut ended: Vec<(Offset, u32)> = held.map(|offset| (offset, 0)).collect();
        if let Some(again) = &mut lane.again {
            again.forget(ended.iter().map(|(offset, _)| *offset));
            let room = places.saturating_sub(ended.len());
            let dropped = again.drop_waiting(before, room).into_iter();
            ended.extend(dropped.map(|offset| (offset, 0)));
            if again.is_empty() {
                lane.again = None;
            }
        }
        while ended.len() < places && lane.owed.peek().is_some_and(|offset| offset < before) {
            ended.extend(lane.owed.pop().map(|offset| (offset, 0)));
        }
        let parked = match lane.parked {
            0 => Vec::new(),
            _ => self.timers.take_lane(number),
        };
        for (due, delivery) in parked {
            if ended.len() < places && delivery.offset < before {
                lane.parked -= 1;
                ended.push((delivery.offset, delivery.attempt() - 1));
            } else {
                self.timers.park(number, delivery, due);
            }
        }
        lane.due.retain(|delivery| {
            let drop = ended.len() < places && delivery.offset < before;
            if drop {
                ended.push((delivery.offset, delivery.attempt() - 1));
            }
            !drop
        });
        let at = self.log.clock().wall();
        for (offset, attempt) in &ended {
            // The redrive of what blocked a key, perhaps: nothing is on its way to let it go.
            self.key_let_go(slot as u32, *offset);
            self.key_ended(slot as u32, *offset);
            self.settled.push(Settlement {
                number,
                offset: *offset,
                outcome: Outcome::Cancelled(Why::Dropped),
                attempt: *attempt,
                status: 0,
                latency_ms: 0,
                at,
            });
        }
        if let Some(settled) = self.settled.take() {
            self.note(settled);
        }
        ended.len() as u64
    }
}
