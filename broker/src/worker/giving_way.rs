//! Ending the oldest of what a lane owes, for its trigger's quota.

use std::sync::Arc;

use tokio::time::Instant;

use super::AtWork;
use crate::lane::Delivery;
use crate::records::{Cause, Number};

impl AtWork {
    /// Ends the oldest deliveries of a lane, so many, as `dead{quota}`; what is in the air may finish,
    /// and what waits behind another of its key stays.
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
        for delivery in ended {
            self.end(slot, &facts, Some(delivery), Cause::Quota);
        }
    }
}
