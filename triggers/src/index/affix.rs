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
    pub(super) fn each<'a>(
        &'a self,
        text: impl Iterator<Item = u8> + Clone,
        mut found: impl FnMut(&'a V),
    ) {
        debug_assert!(self.sealed);
        let after = self
            .entries
            .partition_point(|entry| entry.prefix.iter().copied().le(text.clone()));
        let mut next = after.checked_sub(1);
        let mut begins = false;
        while let Some(position) = next {
            let entry = &self.entries[position];
            // What begins a prefix of the text begins the text.
            begins = begins || begins_with(text.clone(), &entry.prefix);
            if begins {
                found(&entry.value);
            }
            next = entry.parent.map(|parent| parent as usize);
        }
    }
}

fn begins_with(mut text: impl Iterator<Item = u8>, prefix: &[u8]) -> bool {
    prefix.iter().all(|byte| text.next() == Some(*byte))
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
            affixes.each(text.bytes(), |prefix| found.push(*prefix));
            let mut expected: Vec<&str> = known
                .into_iter()
                .filter(|prefix| text.starts_with(prefix))
                .collect();
            expected.reverse();
            assert_eq!(found, expected, "{text}");
        }
    }
}
