//! Deduplication: an event whose `source` and `id` its broker has seen within the window is stored
//! and owed to nobody (GUARANTEES 2). Off unless a broker asks for it.
//!
//! The router judges, and not the door: it sees events in order and after they are durable, so a
//! failed append can't leave an id remembered, and a restart judges the same again. Time is that of
//! arrival, which stands in the record: the window begins with the event that was delivered, and
//! one that was dropped doesn't lengthen it. A wall clock that is set forwards forgets early, one
//! that is set back forgets late.
//!
//! What is remembered is a hash of 128 bits with a key of its own, 36 bytes an event. Among a
//! million remembered events one in 3 × 10^32 would be taken for another by chance, and without the
//! key nobody can make one. Replays and redriven letters are deliveries and no events: they aren't
//! judged.

mod recall;
mod seen;
mod siphash;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use event::EventRef;
use journal::WallTime;

use self::seen::Seen;
pub(crate) use self::siphash::Key;
use self::siphash::SipHash;
use crate::records::Number;

/// What brokers have seen.
#[derive(Debug)]
pub(crate) struct Dedup {
    key: Key,
    /// How many are remembered of all brokers together. At the bound the oldest of the broker with
    /// the most are forgotten, and counted.
    entries_max: u32,
    brokers: HashMap<Number, Remembers>,
    entries: u32,
    forgotten: u64,
}

/// One broker's.
#[derive(Debug)]
struct Remembers {
    terms: triggers::Dedup,
    seen: Seen,
}

/// What deduplication costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DedupReport {
    /// Events remembered.
    pub entries: u64,
    /// Bytes of memory they take.
    pub bytes: u64,
    /// Events forgotten before their window was over, since there were too many.
    pub forgotten: u64,
}

impl Dedup {
    pub(crate) fn new(key: Key, entries_max: u32) -> Self {
        Self {
            key,
            entries_max,
            brokers: HashMap::new(),
            entries: 0,
            forgotten: 0,
        }
    }

    /// A key that nobody knows.
    pub(crate) fn draw_key() -> Key {
        [(); 2].map(|()| RandomState::new().hash_one(0))
    }

    /// Whether any broker asks for it.
    pub(crate) fn is_on(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// These brokers ask for it, on these terms. What others remembered is forgotten.
    pub(crate) fn ask(&mut self, brokers: impl IntoIterator<Item = (Number, triggers::Dedup)>) {
        let mut before = std::mem::take(&mut self.brokers);
        for (number, terms) in brokers {
            let seen = before.remove(&number).map(|remembers| remembers.seen);
            let seen = seen.unwrap_or_default();
            self.brokers.insert(number, Remembers { terms, seen });
        }
        self.entries = self.brokers.values().map(|of| of.seen.len()).sum();
    }

    /// Whether this event of this broker was seen within the window. If not it is from now on.
    pub(crate) fn judge(
        &mut self,
        broker: Number,
        event: &EventRef<'_>,
        arrival: WallTime,
    ) -> bool {
        if !self.brokers.contains_key(&broker) {
            return false;
        }
        let hash = self.hash(broker, event.source(), event.id());
        self.judge_hash(broker, hash, arrival)
    }

    fn judge_hash(&mut self, broker: Number, hash: u128, arrival: WallTime) -> bool {
        let Some(Remembers { terms, seen }) = self.brokers.get_mut(&broker) else {
            return false;
        };
        while let Some(oldest) = seen.oldest()
            && arrival.since(oldest) >= terms.window
        {
            seen.forget_oldest();
            self.entries -= 1;
        }
        // The oldest need not be the first in the queue where a clock was set back.
        let before = seen.arrival(hash);
        if before.is_some_and(|before| arrival.since(before) < terms.window) {
            return true;
        }
        if seen.len() >= terms.entries_max {
            seen.forget_oldest();
            self.entries -= 1;
            self.forgotten += 1;
        }
        seen.push(hash, arrival);
        self.entries += 1;
        if self.entries > self.entries_max {
            self.forget_one();
        }
        false
    }

    fn forget_one(&mut self) {
        let most = self.brokers.values_mut().max_by_key(|of| of.seen.len());
        if let Some(most) = most {
            most.seen.forget_oldest();
            self.entries -= 1;
            self.forgotten += 1;
        }
    }

    fn hash(&self, broker: Number, source: &str, id: &str) -> u128 {
        let mut hash = SipHash::new(self.key);
        hash.write(&broker.to_le_bytes());
        // The length tells ("a", "bc") from ("ab", "c").
        hash.write(&(source.len() as u64).to_le_bytes());
        hash.write(source.as_bytes());
        hash.write(id.as_bytes());
        hash.finish()
    }

    pub(crate) fn report(&self) -> DedupReport {
        let bytes = self.brokers.values().map(|of| of.seen.bytes() as u64).sum();
        DedupReport {
            entries: u64::from(self.entries),
            bytes,
            forgotten: self.forgotten,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use event::Event;

    use super::*;

    fn dedup(entries_max: u32, terms: &[(Number, u64, u32)]) -> Dedup {
        let mut dedup = Dedup::new([1, 2], entries_max);
        dedup.ask(terms.iter().map(|(number, seconds, entries_max)| {
            let terms = triggers::Dedup {
                window: Duration::from_secs(*seconds),
                entries_max: *entries_max,
            };
            (*number, terms)
        }));
        dedup
    }

    fn judge(dedup: &mut Dedup, broker: Number, source: &str, id: &str, seconds: u64) -> bool {
        let event = Event::build(id, source, "t").finish().unwrap();
        dedup.judge(broker, &event.as_ref(), WallTime(seconds * 1000))
    }

    #[test]
    fn the_same_source_and_id_of_one_broker_is_seen_within_the_window() {
        let mut dedup = dedup(100, &[(1, 60, 100), (2, 60, 100)]);
        let mut seen = |broker, source, id, at| judge(&mut dedup, broker, source, id, at);
        assert!(!seen(1, "/s", "a", 0));
        assert!(!seen(1, "/s", "ab", 0));
        assert!(seen(1, "/s", "a", 59));
        assert!(!seen(1, "/t", "a", 59), "another source");
        assert!(!seen(1, "/sa", "b", 59), "the same bytes, cut elsewhere");
        assert!(!seen(2, "/s", "a", 59), "another broker");
        assert!(!seen(3, "/s", "a", 59));
        assert!(!seen(3, "/s", "a", 59), "a broker that doesn't ask");
        assert!(
            !seen(1, "/s", "a", 60),
            "dropping one doesn't lengthen the window"
        );
        assert!(seen(1, "/s", "a", 119));
        assert!(
            seen(1, "/s", "a", 30),
            "a clock that was set back forgets late"
        );
    }

    #[test]
    fn at_the_bound_the_oldest_are_forgotten_and_counted() {
        let mut dedup = dedup(5, &[(1, 60, 3), (2, 60, 100)]);
        for id in ["a", "b", "c", "d"] {
            assert!(!judge(&mut dedup, 1, "/s", id, 0));
        }
        assert_eq!(dedup.report().forgotten, 1, "by the broker's bound");
        assert!(!judge(&mut dedup, 1, "/s", "a", 0), "which was the oldest");
        for id in ["a", "b", "c"] {
            assert!(!judge(&mut dedup, 2, "/s", id, 0));
        }
        let report = dedup.report();
        assert_eq!((report.entries, report.forgotten), (5, 3), "by the node's");
        assert!(judge(&mut dedup, 2, "/s", "c", 0));
    }

    #[test]
    fn what_is_switched_off_is_forgotten() {
        let mut dedup = dedup(100, &[(1, 60, 100)]);
        assert!(!judge(&mut dedup, 1, "/s", "a", 0));
        dedup.ask([]);
        assert!(!dedup.is_on());
        assert_eq!(dedup.report(), DedupReport::default());
        assert!(!judge(&mut dedup, 1, "/s", "a", 0));
    }
}
