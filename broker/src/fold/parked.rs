//! What is parked, as the fold knows it: only what changed since the view was last written.

use std::collections::{HashMap, HashSet};

use journal::{Offset, WallTime};
use roaring::RoaringTreemap;

use crate::records::Number;
use crate::records::attempt::{self, Attempt};
use crate::records::parked::Parked;
use crate::records::wire::{self, Short, Take};

/// A parked delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ParkedThen {
    pub(crate) due: WallTime,
    pub(crate) history: Vec<Attempt>,
}

impl ParkedThen {
    /// Adds what is known later. An attempt that is told of twice, by kept and by the log, was one.
    pub(crate) fn merge(&mut self, later: Self) {
        self.due = later.due;
        for attempt in later.history {
            // Than all of them: the wall clock may have been set back in between.
            let is_later = || {
                let mut history = self.history.iter();
                history.all(|known| known.started < attempt.started)
            };
            // Those in the middle that are left out are counted already; and bodies may be.
            let is_full = self.history.len() >= attempt::ATTEMPTS_KEPT_MAX
                || self.history.iter().any(|known| known.left_out > 0);
            let is_known = || {
                let mut history = self.history.iter();
                history.any(|known| {
                    known.started == attempt.started
                        && known.latency_ms == attempt.latency_ms
                        && known.verdict == attempt.verdict
                        && known.status == attempt.status
                })
            };
            if is_later() || !(is_full || is_known()) {
                attempt::push(&mut self.history, attempt);
            }
        }
    }

    /// Its bytes in the view and in kept: due varint | count varint | attempts.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// Appends its bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        wire::put_varint(out, self.due.0);
        wire::put_varint(out, self.history.len() as u64);
        attempt::put_all(out, &self.history);
    }

    /// Reads it back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Short> {
        Self::take(&mut Take::new(bytes))
    }

    /// Reads it from a longer body.
    pub(crate) fn take(take: &mut Take<'_>) -> Result<Self, Short> {
        let due = WallTime(take.varint("due")?);
        let mut history = Vec::new();
        for _ in 0..take.varint("attempt count")? {
            let attempt = attempt::take(take, &history)?;
            history.push(attempt);
        }
        Ok(Self { due, history })
    }
}

/// What became of a parked delivery since the view was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParkedChange {
    /// It isn't parked any more.
    Gone,
    /// It is.
    Parked {
        /// Whether what the view has of it no longer counts.
        anew: bool,
        /// What is to be added to what the view has.
        then: ParkedThen,
    },
}

/// Changes of what is parked.
#[derive(Debug, Default)]
pub(crate) struct ParkedChanges {
    /// What is parked, by number.
    now: HashMap<Number, RoaringTreemap>,
    changes: HashMap<(Number, Offset), ParkedChange>,
    /// Numbers of which the view's parked deliveries no longer count.
    wiped: HashSet<Number>,
}

impl ParkedChanges {
    /// An attempt failed, and another is due.
    pub(crate) fn park(&mut self, parked: Parked) {
        let now = self.now.entry(parked.number).or_default();
        now.insert(parked.offset.0);
        let change = self
            .changes
            .entry((parked.number, parked.offset))
            .or_insert_with(|| ParkedChange::Parked {
                anew: false,
                then: ParkedThen::default(),
            });
        let later = ParkedThen {
            due: parked.due,
            history: vec![parked.failed],
        };
        match change {
            ParkedChange::Gone => {
                *change = ParkedChange::Parked {
                    anew: true,
                    then: later,
                }
            }
            ParkedChange::Parked { then, .. } => then.merge(later),
        }
    }

    /// All that is known of a parked delivery is this.
    pub(crate) fn set(&mut self, number: Number, offset: Offset, then: ParkedThen) {
        self.now.entry(number).or_default().insert(offset.0);
        let change = ParkedChange::Parked { anew: true, then };
        self.changes.insert((number, offset), change);
    }

    /// It isn't parked any more.
    pub(crate) fn end(&mut self, number: Number, offset: Offset) {
        let now = self.now.get_mut(&number);
        if now.is_some_and(|now| now.remove(offset.0)) {
            self.changes.insert((number, offset), ParkedChange::Gone);
        }
    }

    /// Nothing of this number is.
    pub(crate) fn remove(&mut self, number: Number) {
        if self.now.remove(&number).is_none() {
            return;
        }
        self.wiped.insert(number);
        self.changes.retain(|(whose, _), _| *whose != number);
    }

    /// The view has this one.
    pub(crate) fn load(&mut self, number: Number, offset: Offset) {
        self.now.entry(number).or_default().insert(offset.0);
    }

    /// How many are parked.
    pub(crate) fn len(&self) -> u64 {
        self.now.values().map(RoaringTreemap::len).sum()
    }

    /// Whether this one is.
    pub(crate) fn contains(&self, number: Number, offset: Offset) -> bool {
        let now = self.now.get(&number);
        now.is_some_and(|now| now.contains(offset.0))
    }

    /// The changes since this was last asked: of these numbers nothing in the view counts, and
    /// these have changed.
    pub(crate) fn take(&mut self) -> (HashSet<Number>, HashMap<(Number, Offset), ParkedChange>) {
        (
            std::mem::take(&mut self.wiped),
            std::mem::take(&mut self.changes),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::attempt::Verdict;

    fn then(started: &[u64]) -> ParkedThen {
        let attempt = |&started: &u64| Attempt {
            started: WallTime(started),
            latency_ms: 1,
            verdict: Verdict::Said,
            status: Some(503),
            text: "".into(),
            body: bytes::Bytes::new(),
            left_out: 0,
        };
        ParkedThen {
            due: WallTime(started.last().copied().unwrap_or_default()),
            history: started.iter().map(attempt).collect(),
        }
    }

    #[test]
    fn an_attempt_that_is_told_twice_is_one_whatever_the_wall_clock_did() {
        for known in [&[10, 20][..], &[100, 5], &[100, 5, 40]] {
            let mut merged = then(known);
            for told in 0..known.len() {
                merged.merge(then(&known[told..=told]));
            }
            assert_eq!(merged.history, then(known).history);
            merged.merge(then(&[60]));
            assert_eq!(merged.history.len(), known.len() + 1, "another is another");
        }
    }
}
