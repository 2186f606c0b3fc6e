//! What a lane owes: a FIFO of log offsets, as varint differences in chunks of 512 bytes.
//!
//! An owed event costs one or two bytes and an idle lane none, so ten thousand lanes behind a
//! dead function fit in memory beside a backlog of millions. There is no bound of its own: what
//! bounds it is the log's space, since an owed event keeps its segment.

use std::collections::VecDeque;

use journal::Offset;

/// Bytes of one chunk.
pub const CHUNK_BYTES: usize = 512;

/// The longest varint.
const VARINT_BYTES_MAX: usize = 10;

/// A FIFO of ascending offsets.
#[derive(Debug, Default)]
pub struct OwedList {
    chunks: VecDeque<Box<[u8; CHUNK_BYTES]>>,
    /// For each chunk the first offset that begins in it: the one before it, and where it begins.
    /// Of the last chunk it may be missing.
    marks: VecDeque<(u64, u16)>,
    /// Where the next offset is read in the first chunk.
    head: u16,
    /// Where the next offset is written in the last chunk.
    tail: u16,
    /// The offset taken last, from which the first one in the list is counted.
    taken: u64,
    /// The offset pushed last.
    pushed: u64,
    len: u64,
}

impl OwedList {
    /// How many are owed.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the list holds on the heap.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK_BYTES + self.marks.len() * size_of::<(u64, u16)>()
    }

    /// Whether `offset` is behind all that was pushed.
    pub fn takes(&self, offset: Offset) -> bool {
        self.len == 0 || self.pushed <= offset.0
    }

    /// Appends an offset greater than all before it.
    pub fn push(&mut self, offset: Offset) {
        if self.len == 0 {
            // An empty list starts over, so that its first difference is zero.
            self.chunks.clear();
            self.marks.clear();
            (self.head, self.tail) = (0, 0);
            self.taken = offset.0;
            self.pushed = offset.0;
        }
        debug_assert!(self.takes(offset), "owed offsets ascend");
        let (chunk, at) = match self.chunks.len() {
            last @ 1.. if usize::from(self.tail) < CHUNK_BYTES => (last - 1, self.tail),
            full => (full, 0),
        };
        if self.marks.len() <= chunk {
            self.marks.push_back((self.pushed, at));
        }
        let mut difference = offset.0 - self.pushed;
        let mut bytes = [0; VARINT_BYTES_MAX];
        let mut length = 0;
        loop {
            let more = difference >= 0x80;
            bytes[length] = (difference & 0x7f) as u8 | if more { 0x80 } else { 0 };
            length += 1;
            difference >>= 7;
            if !more {
                break;
            }
        }
        for byte in &bytes[..length] {
            self.put(*byte);
        }
        self.pushed = offset.0;
        self.len += 1;
    }

    /// The oldest offset, without taking it.
    pub fn peek(&self) -> Option<Offset> {
        if self.len == 0 {
            return None;
        }
        let (mut chunk, mut at) = (0, usize::from(self.head));
        let mut difference = 0u64;
        for shift in (0..64).step_by(7) {
            if at == CHUNK_BYTES {
                (chunk, at) = (chunk + 1, 0);
            }
            let byte = self.chunks.get(chunk)?[at];
            at += 1;
            difference |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Some(Offset(self.taken + difference))
    }

    /// Takes the oldest offset.
    pub fn pop(&mut self) -> Option<Offset> {
        if self.len == 0 {
            return None;
        }
        let mut difference = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.get()?;
            difference |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        self.len -= 1;
        self.taken += difference;
        let offset = Offset(self.taken);
        if self.len == 0 {
            *self = Self::default();
        }
        Some(offset)
    }

    /// All offsets, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Offset> + '_ {
        self.walk(0, usize::from(self.head), self.taken)
    }

    /// Those at `offset` and behind it, without looking at all before.
    pub fn iter_from(&self, offset: Offset) -> impl Iterator<Item = Offset> + '_ {
        let chunk = self.marks.partition_point(|(before, _)| *before < offset.0);
        // In the first chunk some may be taken already.
        let walk = match chunk.saturating_sub(1) {
            0 => self.walk(0, usize::from(self.head), self.taken),
            chunk => {
                let (before, at) = self.marks[chunk];
                self.walk(chunk, usize::from(at), before)
            }
        };
        walk.skip_while(move |at| *at < offset)
    }

    fn walk(
        &self,
        mut chunk: usize,
        mut at: usize,
        mut before: u64,
    ) -> impl Iterator<Item = Offset> + '_ {
        let end = (self.chunks.len().saturating_sub(1), usize::from(self.tail));
        std::iter::from_fn(move || {
            if (chunk, at) == end {
                return None;
            }
            for shift in (0..64).step_by(7) {
                if at == CHUNK_BYTES {
                    (chunk, at) = (chunk + 1, 0);
                }
                let byte = self.chunks.get(chunk)?[at];
                at += 1;
                before += u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            Some(Offset(before))
        })
    }

    fn put(&mut self, byte: u8) {
        if self.chunks.is_empty() || usize::from(self.tail) == CHUNK_BYTES {
            self.chunks.push_back(Box::new([0; CHUNK_BYTES]));
            self.tail = 0;
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk[usize::from(self.tail)] = byte;
            self.tail += 1;
        }
    }

    fn get(&mut self) -> Option<u8> {
        if usize::from(self.head) == CHUNK_BYTES {
            self.chunks.pop_front();
            self.marks.pop_front();
            self.head = 0;
        }
        let byte = self.chunks.front()?[usize::from(self.head)];
        self.head += 1;
        Some(byte)
    }
}

impl FromIterator<Offset> for OwedList {
    fn from_iter<I: IntoIterator<Item = Offset>>(offsets: I) -> Self {
        let mut list = Self::default();
        offsets.into_iter().for_each(|offset| list.push(offset));
        list
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_as_a_queue(steps in prop::collection::vec((0u64..5_000_000, 0usize..40), 1..300)) {
            let (mut list, mut model) = (OwedList::default(), VecDeque::new());
            let mut offset = 0;
            for (step, pops) in steps {
                offset += step;
                list.push(Offset(offset));
                model.push_back(Offset(offset));
                for _ in 0..pops.saturating_sub(38) {
                    prop_assert_eq!(list.peek(), model.front().copied());
                    prop_assert_eq!(list.pop(), model.pop_front());
                }
                prop_assert_eq!(list.len(), model.len() as u64);
                prop_assert!(list.iter().eq(model.iter().copied()));
                let from = Offset(offset / 4 * 3);
                let behind = model.iter().copied().filter(|at| from <= *at);
                prop_assert!(list.iter_from(from).eq(behind));
            }
            while let Some(expected) = model.pop_front() {
                prop_assert_eq!(list.peek(), Some(expected));
                prop_assert_eq!(list.pop(), Some(expected));
            }
            prop_assert_eq!(list.pop(), None);
            prop_assert_eq!(list.bytes(), 0);
        }
    }

    #[test]
    fn what_lies_before_is_passed_over_by_chunks() {
        let mut list: OwedList = (0..100_000).map(|n| Offset(n * 300)).collect();
        for taken in [0, 1, 255, 256, 257, 40_000] {
            while list.len() > 100_000 - taken {
                list.pop();
            }
            for from in [0, 1, 300, 299_999, 15_000_000, 29_999_700, 29_999_701] {
                let behind = (taken..100_000).map(|n| Offset(n * 300));
                let behind = behind.filter(|at| from <= at.0);
                assert!(list.iter_from(Offset(from)).eq(behind), "{taken} {from}");
            }
        }
        assert_eq!(OwedList::default().iter_from(Offset(0)).count(), 0);
    }

    #[test]
    fn a_million_owed_to_ten_thousand_lanes_fits_in_six_megabytes() {
        let mut lanes: Vec<OwedList> = (0..10_000).map(|_| OwedList::default()).collect();
        for offset in 0..1_000_000u64 {
            lanes[(offset % 10_000) as usize].push(Offset(offset));
        }
        let bytes: usize = lanes.iter().map(OwedList::bytes).sum();
        assert!(bytes <= 6 << 20, "{bytes}");
    }
}
