//! What one broker has seen: a queue of entries in the order of the log, and a table that finds
//! them by hash.
//!
//! 24 bytes an entry in the queue and 5 to 11.5 in the table, which is at least 7/16 full once it
//! has grown: at most 36 bytes an entry, in steps of 24 KiB.

use std::collections::VecDeque;

use hashbrown::HashTable;
use journal::WallTime;

/// Entries of one piece of the queue.
const CHUNK_ENTRIES: usize = 1024;

/// One event that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    hash: [u64; 2],
    arrival: WallTime,
}

/// Entries in the order of the log, found by hash. Sequence numbers wrap; there are never more
/// than 2^31 entries.
#[derive(Debug, Default)]
pub(super) struct Seen {
    chunks: VecDeque<Vec<Entry>>,
    /// Entries of the first chunk that are forgotten.
    head: usize,
    /// The sequence number of the oldest entry.
    oldest: u32,
    len: u32,
    /// Sequence numbers, by their entry's hash. An entry that is there twice is found by its last.
    table: HashTable<u32>,
}

impl Seen {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Bytes it holds on the heap.
    pub(super) fn bytes(&self) -> usize {
        let queue = self.chunks.len() * CHUNK_ENTRIES * size_of::<Entry>();
        queue + self.table.allocation_size()
    }

    /// When the last one with this hash arrived.
    pub(super) fn arrival(&self, hash: u128) -> Option<WallTime> {
        let hash = halves(hash);
        let same = |sequence: &u32| self.entry(*sequence).hash == hash;
        let found = self.table.find(hash[0], same)?;
        Some(self.entry(*found).arrival)
    }

    /// Remembers one, the newest.
    pub(super) fn push(&mut self, hash: u128, arrival: WallTime) {
        let hash = halves(hash);
        let sequence = self.oldest.wrapping_add(self.len);
        if self
            .chunks
            .back()
            .is_none_or(|last| last.len() == CHUNK_ENTRIES)
        {
            self.chunks.push_back(Vec::with_capacity(CHUNK_ENTRIES));
        }
        if let Some(last) = self.chunks.back_mut() {
            last.push(Entry { hash, arrival });
        }
        self.len += 1;
        let (chunks, head, oldest) = (&self.chunks, self.head, self.oldest);
        let entry = |sequence: &u32| entry(chunks, head, oldest, *sequence);
        let same = |sequence: &u32| entry(sequence).hash == hash;
        match self.table.find_mut(hash[0], same) {
            Some(before) => *before = sequence,
            None => {
                self.table
                    .insert_unique(hash[0], sequence, |sequence| entry(sequence).hash[0]);
            }
        }
    }

    /// When the oldest arrived.
    pub(super) fn oldest(&self) -> Option<WallTime> {
        (self.len > 0).then(|| self.entry(self.oldest).arrival)
    }

    /// Forgets the oldest.
    pub(super) fn forget_oldest(&mut self) {
        if self.len == 0 {
            return;
        }
        let sequence = self.oldest;
        let hash = self.entry(sequence).hash;
        // Not when the table finds a later one with the same hash.
        if let Ok(found) = self.table.find_entry(hash[0], |other| *other == sequence) {
            found.remove();
        }
        self.oldest = self.oldest.wrapping_add(1);
        self.len -= 1;
        self.head += 1;
        if self.head == CHUNK_ENTRIES {
            self.chunks.pop_front();
            self.head = 0;
        }
        if self.len == 0 {
            *self = Self {
                oldest: self.oldest,
                ..Self::default()
            };
        }
    }

    fn entry(&self, sequence: u32) -> Entry {
        entry(&self.chunks, self.head, self.oldest, sequence)
    }
}

fn entry(chunks: &VecDeque<Vec<Entry>>, head: usize, oldest: u32, sequence: u32) -> Entry {
    let index = head + sequence.wrapping_sub(oldest) as usize;
    chunks[index / CHUNK_ENTRIES][index % CHUNK_ENTRIES]
}

fn halves(hash: u128) -> [u64; 2] {
    [hash as u64, (hash >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list: few hashes, so that the same ones come again.
        #[test]
        fn it_remembers_as_a_list_would(
            steps in prop::collection::vec((0u128..40, 0u32..3), 1..400),
            begins in prop::sample::select(vec![0, u32::MAX - 20]),
        ) {
            let mut seen = Seen { oldest: begins, ..Seen::default() };
            let mut list: Vec<(u128, WallTime)> = Vec::new();
            for (at, (hash, forgets)) in steps.into_iter().enumerate() {
                // Equal lower halves, so that entries differ in the upper one only.
                let hash = ((hash / 2) << 64) | (hash % 2);
                seen.push(hash, WallTime(at as u64));
                list.push((hash, WallTime(at as u64)));
                for _ in 0..forgets {
                    seen.forget_oldest();
                    list.drain(..1.min(list.len()));
                }
                prop_assert_eq!(seen.len() as usize, list.len());
                prop_assert_eq!(seen.oldest(), list.first().map(|(_, at)| *at));
                for hash in 0..40 {
                    let hash = ((hash / 2) << 64) | (hash % 2);
                    let last = list.iter().rev().find(|(other, _)| *other == hash);
                    prop_assert_eq!(seen.arrival(hash), last.map(|(_, at)| *at));
                }
            }
        }
    }

    #[test]
    fn a_million_take_at_most_forty_bytes_each() {
        let mut seen = Seen::default();
        let mut hash = 1u128;
        for at in 0..1_000_000 {
            hash = hash
                .wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645)
                .wrapping_add(1);
            seen.push(hash, WallTime(at));
        }
        let each = seen.bytes() as f64 / 1e6;
        assert!((24.0..=40.0).contains(&each), "{each} bytes an entry");
        for _ in 0..1_000_000 {
            seen.forget_oldest();
        }
        assert_eq!(seen.bytes(), 0, "and nothing when there are none");
    }
}
