//! Who waits at a destination, and for what: a place, a probe, or the retry budget. A lane that
//! waits costs nothing until it is roused.

use std::collections::VecDeque;

/// Lanes by slot, each in the order in which they came.
#[derive(Debug, Default)]
pub struct Waiting {
    /// For a place, the end of a pause or of a pushback.
    pub place: VecDeque<u32>,
    /// For the breaker: one at a time goes, as a probe, until it closes.
    pub probe: VecDeque<u32>,
    /// For a token of the retry budget; what they have that is new goes meanwhile.
    pub budget: VecDeque<u32>,
}

impl Waiting {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.place.is_empty() && self.probe.is_empty() && self.budget.is_empty()
    }

    /// How many lanes wait with all they have.
    pub fn lanes(&self) -> usize {
        self.place.len() + self.probe.len()
    }

    /// The breaker has closed: who waited for it waits for a place, first come first served.
    pub fn breaker_closed(&mut self) {
        let mut probe = std::mem::take(&mut self.probe);
        probe.append(&mut self.place);
        self.place = probe;
    }

    /// Takes a lane out, wherever it waits. `true`: it waited with all it had.
    pub fn remove(&mut self, slot: u32) -> bool {
        self.budget.retain(|waiting| *waiting != slot);
        let before = self.lanes();
        self.place.retain(|waiting| *waiting != slot);
        self.probe.retain(|waiting| *waiting != slot);
        self.lanes() < before
    }
}
