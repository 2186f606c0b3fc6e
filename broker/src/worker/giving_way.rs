//! Ending the oldest of what a lane owes, for its trigger's quota.

use std::sync::Arc;

use journal::Offset;
use tokio::time::Instant;

use super::AtWork;
use crate::lane::Delivery;
use crate::records::{Cause, Number};

impl AtWork {
    /// Ends the oldest deliveries of a lane, so many, as `dead{quota}`; what is in the air may finish.
    /// What waits behind another of its key, and what is owed again, goes when nothing else is left.
    pub(super) fn give_way(&mut self, number: Number, count: u64) {
        let Some(&slot) = self.slots.get(&number) else {
            return;
        };
        let Some(lane) = &mut self.lanes[slot as usize] else {
            return;
        };
        let facts = Arc::clone(&lane.facts);
        let due = std::mem::take(&mut lane.due).into_iter();
        let mut tried: Vec<(Option<Instant>, Delivery)> = due.map(|due| (None, due)).collect();
        if lane.parked > 0 {
            let parked = self.timers.take_lane(number).into_iter();
            tried.extend(parked.map(|(due, delivery)| (Some(due), delivery)));
        }
        tried.sort_by_key(|(_, delivery)| delivery.offset);
        let mut tried = tried.into_iter().peekable();
        let mut ended = Vec::new();
        while (ended.len() as u64) < count {
            let Some(lane) = &mut self.lanes[slot as usize] else {
                break;
            };
            let next = lane.owed.peek();
            let older = tried.next_if(|(_, tried)| next.is_none_or(|next| tried.offset < next));
            match older {
                Some((parked, delivery)) => {
                    lane.parked -= u32::from(parked.is_some());
                    ended.push(delivery);
                }
                None => match lane.owed.pop() {
                    Some(offset) => ended.push(Delivery::first(offset)),
                    None => break,
                },
            }
        }
        for (parked, delivery) in tried {
            match (parked, &mut self.lanes[slot as usize]) {
                (Some(due), _) => self.timers.park(number, delivery, due),
                (None, Some(lane)) => lane.due.push_back(delivery),
                (None, None) => {}
            }
        }
        let asked = usize::try_from(count).unwrap_or(usize::MAX);
        let left = asked.saturating_sub(ended.len());
        if left > 0 {
            ended.extend(self.last_to_go(slot, left));
        }
        for delivery in ended {
            self.end(slot, &facts, Some(delivery), Cause::Quota);
        }
    }

    fn last_to_go(&mut self, slot: u32, places: usize) -> Vec<Delivery> {
        let end = Offset(u64::MAX);
        let held = self.with_keys(slot, |keys| keys.drop_held(end, places));
        let mut ended = held.unwrap_or_default();
        let lane = self.lanes[slot as usize].as_mut();
        if let Some(lane) = lane
            && let Some(again) = &mut lane.again
        {
            again.forget(ended.iter().copied());
            ended.extend(again.drop_waiting(end, places - ended.len()));
            if again.is_empty() {
                lane.again = None;
            }
        }
        ended.into_iter().map(Delivery::first).collect()
    }
}
