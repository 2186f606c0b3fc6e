//! Where replays and redrives end and reclaiming begins: the keeper gives up segments and dead letters'
//! events that nobody is owed, while a replay or a redrive may owe the same events again. What they owe
//! the keeper learns from the log, a little later; in between it learns it here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use journal::Offset;
use roaring::RoaringTreemap;

/// Shared by the router and the keeper.
#[derive(Debug, Default)]
pub(crate) struct Fence(Mutex<Ground>);

#[derive(Debug, Default)]
struct Ground {
    /// Nothing before this is replayed any more.
    before: Offset,
    /// What replays of this process owe, with how many lanes it is owed. Bounded by what jobs look
    /// ahead.
    owed: BTreeMap<Offset, u32>,
    /// Letters that were redriven or discarded since the start, so that two jobs never take the same:
    /// what the index of letters says may lag behind. Two bytes a letter, mostly fewer.
    handled: RoaringTreemap,
    /// Letters that gave way to a quota since the start, with their event or as a whole. As many bytes.
    gave_way: RoaringTreemap,
}

/// What became of a letter that somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is theirs.
    Taken,
    /// Another job has taken it.
    Handled,
    /// Its event gave way.
    GaveWay,
}

impl Fence {
    /// What lies before this offset is about to be reclaimed: no replay begins to owe it from now
    /// on. Returns what of it replays owe.
    pub(crate) fn close(&self, before: Offset) -> RoaringTreemap {
        let mut ground = self.ground();
        ground.before = ground.before.max(before);
        let owed = ground.owed.range(..before);
        owed.map(|(offset, _)| offset.0).collect()
    }

    /// What lies from this offset on wasn't reclaimed after all: it is replayed as before.
    pub(crate) fn reopen(&self, from: Offset) {
        let mut ground = self.ground();
        ground.before = ground.before.min(from);
    }

    /// A replay owes this. `false` when it is, or is about to be, reclaimed.
    pub(super) fn begin(&self, offset: Offset) -> bool {
        let mut ground = self.ground();
        let is_there = ground.before <= offset;
        if is_there {
            *ground.owed.entry(offset).or_default() += 1;
        }
        is_there
    }

    /// One that a replay owed has ended.
    pub(super) fn end(&self, offset: Offset) {
        let mut ground = self.ground();
        if let Some(lanes) = ground.owed.get_mut(&offset) {
            *lanes -= 1;
            if *lanes == 0 {
                ground.owed.remove(&offset);
            }
        }
    }

    /// Whether this letter may be redriven: nobody else does from now on, and its event doesn't give way.
    pub(super) fn redrive(&self, letter: Offset) -> Claim {
        let mut ground = self.ground();
        if ground.gave_way.contains(letter.0) {
            return Claim::GaveWay;
        }
        match ground.handled.insert(letter.0) {
            true => Claim::Taken,
            false => Claim::Handled,
        }
    }

    /// Whether this letter may be discarded: nobody else does anything with it from now on.
    pub(super) fn discard(&self, letter: Offset) -> bool {
        self.ground().handled.insert(letter.0)
    }

    /// This letter's event is about to give way: it isn't redriven any more. `false` when a job has
    /// taken it.
    pub(crate) fn give_way(&self, letter: Offset) -> bool {
        let mut ground = self.ground();
        let is_free = !ground.handled.contains(letter.0);
        if is_free {
            ground.gave_way.insert(letter.0);
        }
        is_free
    }

    fn ground(&self) -> MutexGuard<'_, Ground> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_replay_owes_is_known_until_it_ends_and_what_goes_is_not_owed_again() {
        let fence = Fence::default();
        assert!(fence.begin(Offset(3)));
        assert!(fence.begin(Offset(3)), "by another lane too");
        assert!(fence.begin(Offset(9)));
        fence.end(Offset(3));
        let owed = |before| fence.close(Offset(before)).iter().collect::<Vec<_>>();
        assert_eq!(owed(5), [3]);
        assert!(!fence.begin(Offset(4)), "it goes");
        assert!(fence.begin(Offset(5)));
        fence.end(Offset(3));
        fence.end(Offset(3));
        assert_eq!(owed(10), [5, 9]);
        assert_eq!(owed(4), [0u64; 0]);
        assert!(!fence.begin(Offset(9)), "and never comes back");
    }

    #[test]
    fn what_could_not_be_reclaimed_is_replayed_again() {
        let fence = Fence::default();
        assert!(fence.close(Offset(5)).is_empty());
        assert!(!fence.begin(Offset(4)));
        fence.reopen(Offset(3));
        assert!(!fence.begin(Offset(2)), "this went before");
        assert!(fence.begin(Offset(4)));
        assert_eq!(fence.close(Offset(5)).iter().collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn a_letter_is_redriven_or_gives_way_but_not_both() {
        let fence = Fence::default();
        assert_eq!(fence.redrive(Offset(1)), Claim::Taken);
        assert_eq!(fence.redrive(Offset(1)), Claim::Handled);
        assert!(!fence.give_way(Offset(1)), "its event is owed again");
        assert!(fence.give_way(Offset(2)));
        assert_eq!(fence.redrive(Offset(2)), Claim::GaveWay);
        assert!(fence.discard(Offset(2)), "its record is still there");
        assert!(!fence.discard(Offset(2)));
    }
}
