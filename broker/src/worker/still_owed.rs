//! What a lane has not ended yet, of some offsets: a replay owes no event that is still owed.

use std::collections::HashSet;

use journal::Offset;

use super::AtWork;
use crate::records::Number;

impl AtWork {
    /// Which of `offsets` the lane still owes, as far as this worker has to do with it: what it
    /// sent before the lane moved is in the air here.
    pub(super) fn still_owed(&self, number: Number, offsets: Vec<Offset>) -> Vec<Offset> {
        let mine = |(whose, offset): (Number, Offset)| (whose == number).then_some(offset);
        let mut owed: HashSet<Offset> = self.airborne.iter().filter_map(mine).collect();
        owed.extend(self.storing.iter().copied().filter_map(mine));
        let lane = self.slots.get(&number).copied();
        let lane = lane.and_then(|slot| self.lanes[slot as usize].as_ref());
        let last = offsets.iter().max().copied();
        if let (Some(lane), Some(last)) = (lane, last) {
            owed.extend(lane.owed.iter().take_while(|at| *at <= last));
            owed.extend(lane.again.iter().flat_map(|again| again.offsets()));
            owed.extend(lane.due.iter().map(|due| due.offset));
            owed.extend(lane.keys.iter().flat_map(|keys| keys.held_offsets()));
            let parked = self.timers.iter();
            owed.extend(parked.filter_map(|(whose, parked)| mine((whose, parked.offset))));
        }
        offsets.into_iter().filter(|at| owed.contains(at)).collect()
    }
}
