//! Where replays end and reclaiming begins: the keeper gives up segments that nobody is owed
//! anything of, while a replay may owe events of the same segments again. What a replay owes the
//! keeper learns from the log, a little later; in between it learns it here.

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
}
