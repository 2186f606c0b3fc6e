//! How large a broker's events are on the mean, and those that a trigger gets: what tells about how much of the storage what a
//! trigger is owed takes, without reading it.

use std::collections::BTreeMap;

use crate::records::Number;
use crate::records::wire::{self, Short, Take};

/// Events after which all that was counted weighs half, so that the mean follows what comes.
const EVENTS_MAX: u64 = 64 * 1024;

/// What is taken for the mean while no event is known.
const UNKNOWN_BYTES: u64 = 1024;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    events: u64,
    bytes: u64,
}

/// Mean sizes of Event records, by broker's or trigger's number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sizes(BTreeMap<Number, Sum>);

impl Sizes {
    /// An event of this broker, or for this trigger, takes so many bytes.
    pub(crate) fn count(&mut self, number: Number, bytes: usize) {
        let sum = self.0.entry(number).or_default();
        sum.events += 1;
        sum.bytes += bytes as u64;
        if sum.events >= EVENTS_MAX {
            sum.events /= 2;
            sum.bytes /= 2;
        }
    }

    /// A broker or a trigger is no more.
    pub(crate) fn forget(&mut self, broker: Number) {
        self.0.remove(&broker);
    }

    /// The mean of a broker's or a trigger's events; of all where none of its own is known.
    pub(crate) fn mean_of(&self, number: Number) -> u64 {
        match self.0.get(&number) {
            Some(sum) => sum.bytes / sum.events.max(1),
            None => self.mean(),
        }
    }

    /// The mean of all events.
    pub(crate) fn mean(&self) -> u64 {
        let events: u64 = self.0.values().map(|sum| sum.events).sum();
        let bytes: u64 = self.0.values().map(|sum| sum.bytes).sum();
        bytes.checked_div(events).unwrap_or(UNKNOWN_BYTES)
    }

    /// Appends them: count varint, then number, events and bytes varints each.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        wire::put_varint(out, self.0.len() as u64);
        for (broker, sum) in &self.0 {
            wire::put_varint(out, u64::from(*broker));
            wire::put_varint(out, sum.events);
            wire::put_varint(out, sum.bytes);
        }
    }

    /// Reads them back.
    pub(crate) fn take(take: &mut Take<'_>) -> Result<Self, Short> {
        let mut sizes = BTreeMap::new();
        for _ in 0..take.varint("sizes")? {
            let broker = take.number("broker")?;
            let (events, bytes) = (take.varint("events")?, take.varint("bytes")?);
            sizes.insert(broker, Sum { events, bytes });
        }
        Ok(Self(sizes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_comes() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.mean(), UNKNOWN_BYTES);
        for _ in 0..EVENTS_MAX {
            sizes.count(1, 100);
        }
        assert_eq!(sizes.mean(), 100);
        for _ in 0..4 * EVENTS_MAX {
            sizes.count(1, 900);
        }
        assert!(sizes.mean() > 850, "{}", sizes.mean());
        sizes.count(2, 4000);
        assert_eq!((sizes.mean_of(2), sizes.mean_of(3)), (4000, sizes.mean()));
        let mut out = Vec::new();
        sizes.put(&mut out);
        assert_eq!(Sizes::take(&mut Take::new(&out)), Ok(sizes.clone()));
        sizes.forget(1);
        assert_eq!(sizes.mean(), 4000);
    }
}
