//! All prefixes of a text that are known, longest or not, in one descent.
//!
//! The known prefixes stand sorted in an array, each with its parent: the longest other one
//! that it begins with. If any known prefix begins a text, then the last one that sorts at or
//! before the text begins with it too, so one binary search and a climb along the parents
//! finds them all.

/// Values by prefix. Filled, then sealed, then asked.
#[derive(Debug)]
pub(super) struct Affixes<V> {
    entries: Vec<Entry<V>>,
    /// What every prefix begins with.
    common: Box<[u8]>,
    /// The bytes of each prefix behind that, as a number: a search stays within few cache
    /// lines until one prefix is left to look at.
    heads: Vec<u64>,
    sealed: bool,
    /// Positions of prefixes while they are being filled.
    filling: std::collections::HashMap<Box<[u8]>, usize>,
}

#[derive(Debug)]
struct Entry<V> {
    prefix: Box<[u8]>,
    parent: Option<u32>,
    value: V,
}

impl<V> Default for Affixes<V> {
    fn default() -> Affixes<V> {
        Affixes {
            entries: Vec::new(),
            common: Box::default(),
            heads: Vec::new(),
            sealed: false,
            filling: std::collections::HashMap::new(),
        }
    }
}

impl<V: Default> Affixes<V> {
    /// The value of a prefix, for filling.
    pub(super) fn entry(&mut self, prefix: Box<[u8]>) -> &mut V {
        debug_assert!(!self.sealed);
        let position = match self.filling.get(&prefix) {
            Some(position) => *position,
            None => {
                self.filling.insert(prefix.clone(), self.entries.len());
                self.entries.push(Entry {
                    prefix,
                    parent: None,
                    value: V::default(),
                });
                self.entries.len() - 1
            }
        };
        &mut self.entries[position].value
    }

    /// Sorts what was filled in. Needed before asking.
    pub(super) fn seal(&mut self) {
        self.filling = std::collections::HashMap::new();
        self.sealed = true;
        self.entries
            .sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix));
        if let [first, .., last] = self.entries.as_slice() {
            // Sorted: what the outermost share, all share.
            self.common = common(&first.prefix, &last.prefix).into();
        }
        let behind = self.common.len();
        self.heads = self
            .entries
            .iter()
            .map(|entry| head(&entry.prefix[behind..]))
            .collect();
        // The chain of prefixes that are still open at this point of the order.
        let mut open: Vec<usize> = Vec::new();
        for position in 0..self.entries.len() {
            while let Some(last) = open.last() {
                if self.entries[position]
                    .prefix
                    .starts_with(&self.entries[*last].prefix)
                {
                    break;
                }
                open.pop();
            }
            self.entries[position].parent = open
                .last()
                .map(|last| u32::try_from(*last).expect("fewer prefixes than 2^32"));
            open.push(position);
        }
    }

    /// Calls `found` with the value of every prefix of `text`, longest first.
    pub(super) fn each<'a>(&'a self, text: &[u8], mut found: impl FnMut(&'a V)) {
        debug_assert!(self.sealed);
        // Most searches compare behind what all prefixes begin with.
        let Some(tail) = text.strip_prefix(&*self.common) else {
            return;
        };
        let behind = self.common.len();
        let head = head(tail);
        let from = self.heads.partition_point(|other| *other < head);
        let alike = self.heads[from..].partition_point(|other| *other == head);
        let after = from
            + self.entries[from..from + alike]
                .partition_point(|entry| &entry.prefix[behind..] <= tail);
        let mut next = after.checked_sub(1);
        let mut begins = false;
        while let Some(position) = next {
            let entry = &self.entries[position];
            // What begins a prefix of the text begins the text.
            begins = begins || tail.starts_with(&entry.prefix[behind..]);
            if begins {
                found(&entry.value);
            }
            next = entry.parent.map(|parent| parent as usize);
        }
    }

    /// Whether there is nothing to find.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The first eight bytes as a number that sorts as they do; missing ones count as 0.
fn head(bytes: &[u8]) -> u64 {
    let first = bytes.iter().chain(std::iter::repeat(&0)).take(8);
    first.fold(0, |head, byte| head << 8 | u64::from(*byte))
}

/// What both begin with.
fn common<'a>(a: &'a [u8], b: &[u8]) -> &'a [u8] {
    let length = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    &a[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_prefix_of_a_text_is_found() {
        let mut affixes: Affixes<&str> = Affixes::default();
        let known = [
            "a",
            "ab",
            "abc",
            "abd",
            "abcde",
            "b",
            "com.",
            "com.example.",
            "com.example.order",
        ];
        for prefix in known {
            *affixes.entry(prefix.as_bytes().into()) = prefix;
        }
        affixes.seal();
        for text in [
            "",
            "a",
            "abce",
            "abcdef",
            "abz",
            "com.example.orders",
            "com.exampl",
            "c",
            "z",
            "b",
        ] {
            let mut found = Vec::new();
            affixes.each(text.as_bytes(), |prefix| found.push(*prefix));
            let mut expected: Vec<&str> = known
                .into_iter()
                .filter(|prefix| text.starts_with(prefix))
                .collect();
            expected.reverse();
            assert_eq!(found, expected, "{text}");
        }
    }
}
