//! What a lane has not ended yet, of some offsets: a replay owes no event that is still owed.

use std::collections::HashSet;

use journal::Offset;

use super::AtWork;
use crate::records::Number;

impl AtWork {
    /// Which of `offsets` the lane still owes, as far as this worker has to do with it: what it
    /// sent before the lane moved is in the air here.
    pub(super) fn still_owed(&self, number: Number, offsets: Vec<Offset>) -> Vec<Offset> {
        let asked: HashSet<Offset> = offsets.iter().copied().collect();
        let mine = |(whose, offset): (Number, Offset)| (whose == number).then_some(offset);
        let mut owed: HashSet<Offset> = HashSet::new();
        let mut take = |found: &mut dyn Iterator<Item = Offset>| {
            owed.extend(found.filter(|offset| asked.contains(offset)));
        };
        take(&mut self.airborne.iter().filter_map(mine));
        take(&mut self.storing.iter().copied().filter_map(mine));
        let lane = self.slots.get(&number).copied();
        let lane = lane.and_then(|slot| self.lanes[slot as usize].as_ref());
        let (first, last) = (offsets.iter().min(), offsets.iter().max());
        if let (Some(lane), Some(first), Some(last)) = (lane, first, last) {
            // A backlog may be long, and this runs between the deliveries of others.
            let waiting = lane.owed.iter_from(*first);
            take(&mut waiting.take_while(|at| at <= last));
            take(&mut lane.again.iter().flat_map(|again| again.offsets()));
            take(&mut lane.due.iter().map(|due| due.offset));
            take(&mut lane.keys.iter().flat_map(|keys| keys.held_offsets()));
            let parked = self.timers.iter();
            take(&mut parked.filter_map(|(whose, parked)| mine((whose, parked.offset))));
        }
        offsets.into_iter().filter(|at| owed.contains(at)).collect()
    }
}
