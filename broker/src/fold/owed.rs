//! What is owed to whom while it is folded: a set of offsets for each number.
//!
//! A set and not a list, since deliveries end in any order, and begin again when a dead letter is
//! redriven. Roaring bitmaps: a backlog in a row costs bits, a lane that owes nothing costs
//! nothing.

use std::collections::HashMap;

use journal::Offset;
use roaring::RoaringTreemap;

use crate::records::Number;

/// Owed offsets, by number.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    sets: HashMap<Number, RoaringTreemap>,
}

impl Owed {
    /// This is owed from now on. `false` when it was already: an offset is owed once.
    pub(crate) fn begin(&mut self, number: Number, offset: Offset) -> bool {
        self.sets.entry(number).or_default().insert(offset.0)
    }

    /// This is owed no longer. `false` when it wasn't.
    pub(crate) fn end(&mut self, number: Number, offset: Offset) -> bool {
        let Some(set) = self.sets.get_mut(&number) else {
            return false;
        };
        let ended = set.remove(offset.0);
        if set.is_empty() {
            self.sets.remove(&number);
        }
        ended
    }

    /// Nothing is owed to this number any more.
    pub(crate) fn remove(&mut self, number: Number) {
        self.sets.remove(&number);
    }

    /// What each number is owed, in no order; its offsets ascend.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Number, &RoaringTreemap)> {
        self.sets.iter().map(|(number, set)| (*number, set))
    }

    /// How many deliveries are owed.
    pub(crate) fn len(&self) -> u64 {
        self.sets.values().map(RoaringTreemap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_out_of_order_is_no_longer_owed() {
        let mut owed = Owed::default();
        for offset in [3, 9, 5] {
            assert!(owed.begin(1, Offset(offset)));
        }
        assert!(!owed.begin(1, Offset(9)), "an offset is owed once");
        assert!(owed.end(1, Offset(5)));
        assert!(!owed.end(1, Offset(5)), "and ends once");
        assert!(!owed.end(1, Offset(4)));
        assert!(!owed.end(2, Offset(3)), "to another it never was");
        let (number, offsets) = owed.iter().next().unwrap();
        assert_eq!(
            (number, offsets.iter().collect::<Vec<_>>()),
            (1, vec![3, 9])
        );
        assert!(owed.begin(1, Offset(5)), "and may begin again");
        assert_eq!(owed.len(), 3);
        owed.remove(1);
        assert_eq!(owed.iter().count(), 0);
    }
}
