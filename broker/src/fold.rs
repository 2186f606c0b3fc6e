//! The fold: what the log adds up to when it is opened.
//!
//! One pass over the records gives the resources in force, what is owed and parked, the dead
//! letters and the books. The router goes on where routing stopped, with the resources that were
//! in force there, so a restart matches only the events behind the last Routed record, by the
//! filters of their time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use journal::{Journal, Offset, ReadError, Stored, WallTime};

use crate::books::Books;
use crate::dead_letters::Letters;
use crate::records::attempt::Attempt;
use crate::records::dead::Dead;
use crate::records::parked::Parked;
use crate::records::trigger_set::Part;
use crate::records::{
    self, DEAD, EVENT, FORWARD, HELD, INTENT, MARK, Malformed, Number, Outcome, PARKED, REDRIVEN,
    REJECTED, ROUTED, SETTLED, TRIGGER_SET, settled, trigger_set,
};
use crate::registry::{Registry, Unreadable};

/// Bytes read at a time.
const READ_BYTES: usize = 4 << 20;

/// Why a log can't be opened by this version. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A record of a kind that this version doesn't know.
    #[error(
        "record {offset} is of kind {kind}, version {version}, which this version of weft doesn't know; open the log with the version that wrote it"
    )]
    UnknownKind {
        /// Where it stands.
        offset: u64,
        /// Its kind.
        kind: u8,
        /// Its layout's version.
        version: u8,
    },
    /// A record whose checksum is right and whose body isn't.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A resource in the log that this version can't read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The disk couldn't be read.
    #[error("the log can't be read: {0}")]
    Read(#[from] ReadError),
}

/// What the log adds up to.
pub(crate) struct Folded {
    /// The resources as of the log's end.
    pub(crate) registry: Registry,
    /// The resources as of [`Folded::routed_to`].
    pub(crate) registry_then: Registry,
    pub(crate) books: Books,
    pub(crate) letters: Letters,
    pub(crate) owed: HashMap<Number, OwedSet>,
    pub(crate) parked: HashMap<(Number, Offset), ParkedThen>,
    /// Where matching goes on.
    pub(crate) routed_to: Offset,
    /// What is known of deliveries behind [`Folded::routed_to`]: not to be matched again. Only
    /// after a Routed record was lost to damage.
    pub(crate) seen: HashSet<(Number, Offset)>,
    pub(crate) end: Offset,
    /// Ranges of offsets that are lost to damage.
    pub(crate) lost: Vec<Range<Offset>>,
    parts_ahead: VecDeque<(Offset, Part)>,
    gap: bool,
}

/// A parked delivery as the log has it.
#[derive(Debug, Default)]
pub(crate) struct ParkedThen {
    pub(crate) due: WallTime,
    pub(crate) history: Vec<Attempt>,
}

/// A lane's owed offsets while they are folded: ascending, with those that ended marked, so that
/// an end is found by binary search and costs no extra memory.
#[derive(Debug, Default)]
pub(crate) struct OwedSet {
    offsets: VecDeque<u64>,
    live: u64,
}

const ENDED: u64 = 1 << 63;

impl OwedSet {
    fn push(&mut self, offset: Offset) -> bool {
        if self
            .offsets
            .back()
            .is_none_or(|last| last & !ENDED < offset.0)
        {
            self.offsets.push_back(offset.0);
            self.live += 1;
            return true;
        }
        // Only what was matched again, after a Routed record was lost, comes out of order.
        match self
            .offsets
            .binary_search_by_key(&offset.0, |entry| entry & !ENDED)
        {
            Ok(_) => false,
            Err(index) => {
                self.offsets.insert(index, offset.0);
                self.live += 1;
                true
            }
        }
    }

    fn end(&mut self, offset: Offset) -> bool {
        let found = self
            .offsets
            .binary_search_by_key(&offset.0, |entry| entry & !ENDED);
        let Ok(index) = found else { return false };
        if self.offsets[index] & ENDED != 0 {
            return false;
        }
        self.offsets[index] |= ENDED;
        self.live -= 1;
        while self.offsets.front().is_some_and(|front| front & ENDED != 0) {
            self.offsets.pop_front();
        }
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Offset> + '_ {
        self.offsets
            .iter()
            .filter(|entry| *entry & ENDED == 0)
            .map(|entry| Offset(*entry))
    }

    pub(crate) fn len(&self) -> u64 {
        self.live
    }
}

/// Reads all of the log.
pub(crate) fn fold(journal: &Journal) -> Result<Folded, OpenError> {
    let log_id = journal.facts().log_id;
    let start = journal.start();
    let registry = Registry::new(log_id);
    let mut folded = Folded {
        registry_then: registry.clone(),
        registry,
        books: Books::default(),
        letters: Letters::default(),
        owed: HashMap::new(),
        parked: HashMap::new(),
        routed_to: start,
        seen: HashSet::new(),
        end: start,
        lost: Vec::new(),
        parts_ahead: VecDeque::new(),
        gap: false,
    };
    let end = *journal.durable().borrow();
    let mut next = start;
    while next < end {
        let reading = journal.read(next, READ_BYTES)?;
        for stored in &reading.records {
            if next < stored.offset {
                folded.lost.push(next..stored.offset);
            }
            folded.take(stored)?;
            next = Offset(stored.offset.0 + 1);
        }
        if next < reading.next {
            folded.lost.push(next..reading.next);
            next = reading.next;
        }
    }
    folded.end = end;
    folded.registry.drop_unfinished();
    Ok(folded)
}

impl Folded {
    fn take(&mut self, stored: &Stored) -> Result<(), OpenError> {
        if stored.version != records::VERSION {
            return Err(unknown(stored));
        }
        match stored.kind {
            EVENT | MARK => {}
            ROUTED => self.take_routed(stored)?,
            SETTLED => settled::read(stored, |settlement| {
                self.end(settlement.number, settlement.offset, settlement.outcome);
            })?,
            PARKED => self.take_parked(Parked::read(stored)?),
            DEAD => self.take_dead(stored.offset, &Dead::read(stored)?),
            TRIGGER_SET => self.take_part(stored.offset, trigger_set::read(stored)?)?,
            HELD | REDRIVEN | REJECTED | INTENT => return Err(unknown(stored)),
            _ => return Err(unknown(stored)),
        }
        Ok(())
    }

    fn take_routed(&mut self, stored: &Stored) -> Result<(), OpenError> {
        let (owed, books, seen) = (&mut self.owed, &mut self.books, &mut self.seen);
        let mut pairs = Vec::new();
        let range = records::routed::read(stored, |offset, numbers| {
            pairs.extend(numbers.iter().map(|number| (*number, offset)));
        })?;
        self.gap |= range.start > self.routed_to;
        for (number, offset) in pairs {
            if self.gap {
                seen.insert((number, offset));
            }
            if owed.entry(number).or_default().push(offset) {
                books.matched(number);
            }
        }
        if !self.gap {
            self.routed_to = self.routed_to.max(range.end);
            while self
                .parts_ahead
                .front()
                .is_some_and(|(at, _)| *at < self.routed_to)
            {
                if let Some((_, part)) = self.parts_ahead.pop_front() {
                    self.registry_then.take(part)?;
                }
            }
        }
        Ok(())
    }

    /// A delivery ended. `false` when nothing is known to be owed of it.
    fn end(&mut self, number: Number, offset: Offset, outcome: Outcome) -> bool {
        self.parked.remove(&(number, offset));
        if self
            .owed
            .get_mut(&number)
            .is_some_and(|owed| owed.end(offset))
        {
            self.books.ended(number, outcome);
            return true;
        }
        if number & FORWARD == 0 && offset >= self.routed_to {
            self.seen.insert((number, offset));
        }
        false
    }

    fn take_parked(&mut self, parked: Parked) {
        let then = self
            .parked
            .entry((parked.number, parked.offset))
            .or_default();
        then.due = parked.due;
        then.history.push(parked.failed);
    }

    fn take_dead(&mut self, at: Offset, dead: &Dead) {
        self.end(dead.number, dead.offset, Outcome::Dead(dead.cause));
        self.letters.insert(at, dead);
        if dead.forwarded && self.registry.get(dead.number).is_some() {
            let number = dead.number | FORWARD;
            if self.owed.entry(number).or_default().push(at) {
                self.books.matched(number);
            }
        }
    }

    fn take_part(&mut self, at: Offset, part: Part) -> Result<(), OpenError> {
        self.parts_ahead.push_back((at, part.clone()));
        for number in self.registry.take(part)?.unwrap_or_default() {
            self.books.close(number);
            for number in [number, number | FORWARD] {
                self.owed.remove(&number);
                self.parked.retain(|(whose, _), _| *whose != number);
            }
        }
        Ok(())
    }
}

fn unknown(stored: &Stored) -> OpenError {
    OpenError::UnknownKind {
        offset: stored.offset.0,
        kind: stored.kind,
        version: stored.version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_out_of_order_is_no_longer_owed() {
        let mut owed = OwedSet::default();
        for offset in [3, 5, 9] {
            assert!(owed.push(Offset(offset)));
        }
        assert!(!owed.push(Offset(9)), "an offset is owed once");
        assert!(owed.end(Offset(5)));
        assert!(!owed.end(Offset(5)), "and ends once");
        assert!(!owed.end(Offset(4)));
        assert_eq!(owed.iter().collect::<Vec<_>>(), [Offset(3), Offset(9)]);
        assert!(owed.end(Offset(3)));
        assert_eq!(owed.len(), 1);
        assert_eq!(owed.offsets.len(), 1);
    }
}
