//! What a lane is owed again: redriven dead letters, replayed events.
//!
//! Their offsets come in any order, and each counts its age from when it was owed again. They
//! share the lane with live traffic and give way to it: while new events wait, at most every
//! [`TURN_SHARE`]th delivery is one of these. The list's length is bounded by who fills it: a job
//! looks ahead by [`OUTSTANDING_MAX`] a lane.

use std::collections::{HashMap, VecDeque};

use journal::{Offset, WallTime};

use crate::lane::Delivery;

/// While new events wait, one delivery in this many is owed again.
pub const TURN_SHARE: u8 = 8;

/// Deliveries that a job may have begun in one lane and that haven't ended. At the bound the job
/// waits.
pub const OUTSTANDING_MAX: usize = 1000;

/// A lane's list; boxed in the lane, since most have none.
#[derive(Debug, Default)]
pub(crate) struct AgainList {
    waiting: VecDeque<(Offset, WallTime)>,
    /// Deliveries that the lane took since the last one from here.
    since_last: u8,
    /// Those that were taken and wait behind their key, which keeps only their offsets.
    held: HashMap<Offset, WallTime>,
}

impl AgainList {
    /// Appends an offset, with when it was owed again.
    pub(crate) fn push(&mut self, offset: Offset, since: WallTime) {
        self.waiting.push_back((offset, since));
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing of it is remembered any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.held.is_empty()
    }

    /// One that was taken waits behind its key.
    pub(crate) fn hold(&mut self, offset: Offset, since: WallTime) {
        self.held.insert(offset, since);
    }

    /// One that waited behind its key is taken: since when it is owed again.
    pub(crate) fn let_go(&mut self, offset: Offset) -> Option<WallTime> {
        self.held.remove(&offset)
    }

    /// Takes the next one if it is its turn: always where nothing new waits.
    pub(crate) fn take(&mut self, new_waits: bool) -> Option<Delivery> {
        if new_waits && self.since_last + 1 < TURN_SHARE {
            self.since_last += 1;
            return None;
        }
        let (offset, since) = self.waiting.pop_front()?;
        self.since_last = 0;
        Some(Delivery::again(offset, since))
    }

    /// The next one, with when it was owed again, without taking it.
    pub(crate) fn peek(&self) -> Option<(Offset, WallTime)> {
        self.waiting.front().copied()
    }

    /// Takes the next one whoever's turn it is.
    pub(crate) fn pop(&mut self) -> Option<Delivery> {
        let (offset, since) = self.waiting.pop_front()?;
        Some(Delivery::again(offset, since))
    }

    /// All that is remembered, waiting or behind its key.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = Offset> + '_ {
        let waiting = self.waiting.iter().map(|(offset, _)| *offset);
        waiting.chain(self.held.keys().copied())
    }

    /// Those that waited behind their keys have ended.
    pub(crate) fn forget(&mut self, ended: impl Iterator<Item = Offset>) {
        for offset in ended {
            self.held.remove(&offset);
        }
    }

    /// Forgets what waits from before `before`, at most `places` of it, and gives it.
    pub(crate) fn drop_waiting(&mut self, before: Offset, places: usize) -> Vec<Offset> {
        let mut dropped = Vec::new();
        self.waiting.retain(|(offset, _)| {
            let drop = dropped.len() < places && *offset < before;
            if drop {
                dropped.push(*offset);
            }
            !drop
        });
        dropped
    }

    /// All that waits, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Offset, WallTime)> + '_ {
        self.waiting.iter().copied()
    }
}

impl FromIterator<(Offset, WallTime)> for AgainList {
    fn from_iter<I: IntoIterator<Item = (Offset, WallTime)>>(waiting: I) -> Self {
        Self {
            waiting: waiting.into_iter().collect(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_every_eighth_turn_while_new_ones_wait_and_every_one_otherwise() {
        let mut list: AgainList = [(9, 1), (3, 1), (5, 2)]
            .map(|(offset, since)| (Offset(offset), WallTime(since)))
            .into_iter()
            .collect();
        let taken = |list: &mut AgainList, new_waits| {
            list.take(new_waits)
                .map(|delivery| (delivery.offset.0, delivery.since))
        };
        for _ in 0..2 {
            if list.len() == 1 {
                break;
            }
            for _ in 0..7 {
                assert_eq!(taken(&mut list, true), None);
            }
            assert!(taken(&mut list, true).is_some());
        }
        assert_eq!(taken(&mut list, false), Some((5, Some(WallTime(2)))));
        assert!(list.is_empty());
        assert_eq!(taken(&mut list, false), None);
    }
}
