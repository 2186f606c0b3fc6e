//! What is owed to whom: a set of offsets for each number.
//!
//! A set and not a list, since deliveries end in any order, and begin again when a dead letter is
//! redriven. Roaring bitmaps: a backlog in a row costs bits, a lane that owes nothing costs
//! nothing. The view has them in blocks of offsets; which blocks changed is remembered until it
//! is next written.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use journal::Offset;
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::records::Number;

/// Offsets of one block: what a container of a roaring bitmap holds.
const BLOCK_OFFSETS_BITS: u32 = 16;

/// A block of the view: its key, and its bitmap's bytes if anything is left in it.
pub(crate) type Block = ((Number, u64), Option<Vec<u8>>);

/// Owed offsets, by number.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    sets: HashMap<Number, RoaringTreemap>,
    changed: HashSet<(Number, u64)>,
}

impl Owed {
    /// This is owed from now on. `false` when it was already: an offset is owed once.
    pub(crate) fn begin(&mut self, number: Number, offset: Offset) -> bool {
        let begun = self.sets.entry(number).or_default().insert(offset.0);
        if begun {
            self.changed
                .insert((number, offset.0 >> BLOCK_OFFSETS_BITS));
        }
        begun
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
        if ended {
            self.changed
                .insert((number, offset.0 >> BLOCK_OFFSETS_BITS));
        }
        ended
    }

    /// Nothing is owed to this number any more. Returns what was.
    pub(crate) fn remove(&mut self, number: Number) -> Option<RoaringTreemap> {
        let set = self.sets.remove(&number)?;
        let mut offset = set.min();
        while let Some(first) = offset {
            let block = first >> BLOCK_OFFSETS_BITS;
            self.changed.insert((number, block));
            let mut rest = set.iter();
            rest.advance_to((block + 1) << BLOCK_OFFSETS_BITS);
            offset = rest.next();
        }
        Some(set)
    }

    /// Whether this is owed.
    pub(crate) fn contains(&self, number: Number, offset: Offset) -> bool {
        let set = self.sets.get(&number);
        set.is_some_and(|set| set.contains(offset.0))
    }

    /// What each number is owed, in no order; its offsets ascend.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Number, &RoaringTreemap)> {
        self.sets.iter().map(|(number, set)| (*number, set))
    }

    /// How many deliveries are owed.
    pub(crate) fn len(&self) -> u64 {
        self.sets.values().map(RoaringTreemap::len).sum()
    }

    /// The offsets in `range` that anybody is owed.
    pub(crate) fn in_range(&self, range: Range<Offset>) -> RoaringTreemap {
        let mut all = RoaringTreemap::new();
        for set in self.sets.values() {
            let mut offsets = set.iter();
            offsets.advance_to(range.start.0);
            all.extend(offsets.take_while(|offset| *offset < range.end.0));
        }
        all
    }

    /// The blocks that changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> Vec<Block> {
        let changed = std::mem::take(&mut self.changed);
        let blocks = changed.into_iter();
        blocks.map(|key| (key, self.block(key))).collect()
    }

    fn block(&self, (number, block): (Number, u64)) -> Option<Vec<u8>> {
        let mut offsets = self.sets.get(&number)?.iter();
        offsets.advance_to(block << BLOCK_OFFSETS_BITS);
        let end = (block + 1) << BLOCK_OFFSETS_BITS;
        let low = offsets
            .take_while(|offset| *offset < end)
            .map(|offset| offset as u32);
        let bitmap: RoaringBitmap = low.collect();
        if bitmap.is_empty() {
            return None;
        }
        let mut bytes = Vec::with_capacity(bitmap.serialized_size());
        // Writing to memory doesn't fail.
        bitmap.serialize_into(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Takes in a block as the view has it.
    pub(crate) fn load(&mut self, number: Number, block: u64, bitmap: RoaringBitmap) {
        let high = (block >> (u32::BITS - BLOCK_OFFSETS_BITS)) as u32;
        *self.sets.entry(number).or_default() |= RoaringTreemap::from_bitmaps([(high, bitmap)]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        /// What is written from time to time and loaded again is what was held.
        #[test]
        fn blocks_written_as_they_change_are_all_there_is(
            steps in prop::collection::vec((1u32..4, 0u64..8, 0u64..3, 0u32..12), 1..200),
        ) {
            let (mut owed, mut view) = (Owed::default(), HashMap::new());
            for (number, high, low, what) in steps {
                let offset = Offset((high << 31) + (low << 15));
                match what {
                    0..6 => { owed.begin(number, offset); }
                    6..10 => { owed.end(number, offset); }
                    10 => { owed.remove(number); }
                    _ => view.extend(owed.take_changed()),
                }
            }
            view.extend(owed.take_changed());
            let mut loaded = Owed::default();
            for ((number, block), bytes) in view {
                if let Some(bytes) = bytes {
                    let bitmap = RoaringBitmap::deserialize_from(bytes.as_slice()).unwrap();
                    loaded.load(number, block, bitmap);
                }
            }
            let all = |owed: &Owed| {
                let mut all: Vec<_> = owed.iter().map(|(n, set)| (n, set.clone())).collect();
                all.sort_by_key(|(number, _)| *number);
                all
            };
            prop_assert_eq!(all(&loaded), all(&owed));
        }
    }
}
