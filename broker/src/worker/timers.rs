//! What is parked, by when it is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

use crate::lane::Delivery;
use crate::records::Number;

/// A worker's parked deliveries. Bounded by [`crate::limits::Limits::parked_max`].
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Parked>>,
    sequence: u64,
}

#[derive(Debug)]
struct Parked {
    due: Instant,
    /// Keeps those due at the same time in the order they were parked.
    sequence: u64,
    number: Number,
    delivery: Delivery,
}

impl Timers {
    pub(super) fn park(&mut self, number: Number, delivery: Delivery, due: Instant) {
        self.sequence += 1;
        self.heap.push(Reverse(Parked {
            due,
            sequence: self.sequence,
            number,
            delivery,
        }));
    }

    /// When the first one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(parked)| parked.due)
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Number, Delivery)> {
        if self.next()? > now {
            return None;
        }
        self.heap
            .pop()
            .map(|Reverse(parked)| (parked.number, parked.delivery))
    }

    /// Takes all of one lane out, with when each is due.
    pub(super) fn take_lane(&mut self, number: Number) -> Vec<(Instant, Delivery)> {
        let all = std::mem::take(&mut self.heap).into_vec();
        let (mine, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|Reverse(parked)| parked.number == number);
        self.heap = others.into();
        mine.into_iter()
            .map(|Reverse(parked)| (parked.due, parked.delivery))
            .collect()
    }

    /// All that is parked: whose it is, and what.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Number, &Delivery)> {
        self.heap
            .iter()
            .map(|Reverse(parked)| (parked.number, &parked.delivery))
    }
}

impl PartialEq for Parked {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.sequence) == (other.due, other.sequence)
    }
}

impl Eq for Parked {}

impl PartialOrd for Parked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Parked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}
