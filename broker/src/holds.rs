//! Which parts of the log are still needed: how many deliveries in each block of offsets are
//! owed or kept as dead letters. A block nobody holds may go.

use std::collections::BTreeMap;

use journal::Offset;

/// Offsets a block: coarse enough that a million owed in a row cost some ten thousand entries, and
/// no more than the 64 records of 1 MiB that a segment may hold.
const BLOCK_OFFSETS: u64 = 64;

/// Counts of what is held, by block.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    blocks: BTreeMap<u64, u64>,
}

impl Holds {
    /// One more delivery needs this offset.
    pub(crate) fn hold(&mut self, offset: Offset) {
        *self.blocks.entry(offset.0 / BLOCK_OFFSETS).or_default() += 1;
    }

    /// One fewer does.
    pub(crate) fn release(&mut self, offset: Offset) {
        let block = offset.0 / BLOCK_OFFSETS;
        match self.blocks.get_mut(&block) {
            Some(1) => {
                self.blocks.remove(&block);
            }
            Some(held) => *held -= 1,
            // Released without being held would let a segment go too early elsewhere.
            None => debug_assert!(false, "offset {} was released and not held", offset.0),
        }
    }

    /// Nothing below this offset is held, as far as blocks tell.
    pub(crate) fn lowest(&self) -> Option<Offset> {
        self.blocks
            .keys()
            .next()
            .map(|block| Offset(block * BLOCK_OFFSETS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_block_that_is_held_is_the_bound() {
        let mut holds = Holds::default();
        assert_eq!(holds.lowest(), None);
        [65, 66, 150]
            .into_iter()
            .for_each(|offset| holds.hold(Offset(offset)));
        assert_eq!(holds.lowest(), Some(Offset(64)));
        holds.release(Offset(65));
        assert_eq!(holds.lowest(), Some(Offset(64)));
        holds.release(Offset(66));
        assert_eq!(holds.lowest(), Some(Offset(128)));
    }
}
