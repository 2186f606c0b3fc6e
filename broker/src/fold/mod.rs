//! The fold: what the log adds up to.
//!
//! A state machine: `Fold::take` takes in one record after the other, and what it holds then is
//! what a start would find there: the resources in force, what is owed and parked, the dead
//! letters and the books. The router goes on where routing stopped, with the resources that were
//! in force there, so a restart matches only the events behind the last Routed record, by the
//! filters of their time.

mod owed;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use journal::{Journal, Offset, ReadError, Stored, WallTime};

use self::owed::Owed;
use crate::books::Books;
use crate::dead_letters::Letters;
use crate::keys::Key;
use crate::pauses::PauseBook;
use crate::poison::Suspicion;
use crate::records::attempt::Attempt;
use crate::records::dead::Dead;
use crate::records::held::Held;
use crate::records::intent::Intent;
use crate::records::parked::Parked;
use crate::records::redriven::{Action, Redriven};
use crate::records::replayed::Replayed;
use crate::records::started::Started;
use crate::records::trigger_set::Part;
use crate::records::{
    self, DEAD, EVENT, FORWARD, HELD, INTENT, MARK, Malformed, Number, Outcome, PARKED, PAUSED,
    REDRIVEN, REJECTED, REPLAYED, ROUTED, SETTLED, STARTED, TRIGGER_SET, paused, settled,
    trigger_set,
};
use crate::registry::{Registry, Unreadable};
use crate::replay::ReplayBook;

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
pub(crate) struct Fold {
    /// The resources as of the log's end.
    pub(crate) registry: Registry,
    /// The resources as of [`Fold::routed_to`].
    pub(crate) registry_then: Registry,
    pub(crate) books: Books,
    pub(crate) letters: Letters,
    pub(crate) owed: Owed,
    pub(crate) parked: HashMap<(Number, Offset), ParkedThen>,
    pub(crate) pauses: PauseBook,
    /// Replays that have not ended.
    pub(crate) replays: ReplayBook,
    /// Keys of ordered triggers that a dead letter blocks, each with the letter's event.
    pub(crate) blocked: HashMap<(Number, Key), Offset>,
    /// What is owed again, and since when.
    pub(crate) again: HashMap<(Number, Offset), WallTime>,
    /// Where matching goes on.
    pub(crate) routed_to: Offset,
    /// What is known of deliveries behind [`Fold::routed_to`]: not to be matched again. Only
    /// after a Routed record was lost to damage.
    pub(crate) seen: HashSet<(Number, Offset)>,
    /// The offset behind the last record that was taken in.
    pub(crate) end: Offset,
    /// Ranges of offsets that are lost to damage.
    pub(crate) lost: Vec<Range<Offset>>,
    /// How the process ended before, and what may have ended it.
    pub(crate) suspicion: Suspicion,
    parts_ahead: VecDeque<(Offset, Part)>,
    gap: bool,
}

/// A parked delivery as the log has it.
#[derive(Debug, Default)]
pub(crate) struct ParkedThen {
    pub(crate) due: WallTime,
    pub(crate) history: Vec<Attempt>,
}

/// Reads all of the log.
pub(crate) fn fold(journal: &Journal) -> Result<Fold, OpenError> {
    let mut fold = Fold::new(journal.facts().log_id, journal.start());
    let end = *journal.durable().borrow();
    while fold.end < end {
        let reading = journal.read(fold.end, READ_BYTES)?;
        for stored in &reading.records {
            fold.take(stored)?;
        }
        fold.pass(reading.next);
    }
    // What a crash cut off stays so: the change was never whole.
    fold.registry.drop_unfinished();
    Ok(fold)
}

impl Fold {
    /// Nothing yet, of the log with that id, which begins at `start`.
    pub(crate) fn new(log_id: u64, start: Offset) -> Self {
        let registry = Registry::new(log_id);
        Self {
            registry_then: registry.clone(),
            registry,
            books: Books::default(),
            letters: Letters::default(),
            owed: Owed::default(),
            parked: HashMap::new(),
            pauses: PauseBook::default(),
            replays: ReplayBook::default(),
            blocked: HashMap::new(),
            again: HashMap::new(),
            routed_to: start,
            seen: HashSet::new(),
            end: start,
            lost: Vec::new(),
            suspicion: Suspicion::default(),
            parts_ahead: VecDeque::new(),
            gap: false,
        }
    }

    /// There is nothing readable before `next` any more: what lies between was lost to damage.
    pub(crate) fn pass(&mut self, next: Offset) {
        if self.end < next {
            self.lost.push(self.end..next);
            self.end = next;
        }
    }

    /// Takes in the next record. Those that are missing before it were lost to damage.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when this version can't read it.
    pub(crate) fn take(&mut self, stored: &Stored) -> Result<(), OpenError> {
        self.pass(stored.offset);
        self.take_record(stored)?;
        self.end = Offset(stored.offset.0 + 1);
        Ok(())
    }

    fn take_record(&mut self, stored: &Stored) -> Result<(), OpenError> {
        if stored.version != records::VERSION {
            return Err(unknown(stored));
        }
        self.suspicion.live();
        match stored.kind {
            EVENT => {}
            MARK => self.suspicion.stop(),
            INTENT => {
                let intent = Intent::read(stored)?;
                self.suspicion.intend((intent.number, intent.offset));
            }
            STARTED => self.suspicion.start(Started::read(stored)?),
            ROUTED => self.take_routed(stored)?,
            SETTLED => settled::read(stored, |settlement| {
                self.end(settlement.number, settlement.offset, settlement.outcome);
            })?,
            PARKED => self.take_parked(Parked::read(stored)?),
            HELD => self.take_held(Held::read(stored)?),
            DEAD => self.take_dead(stored.offset, &Dead::read(stored)?),
            TRIGGER_SET => self.take_part(stored.offset, trigger_set::read(stored)?)?,
            PAUSED => {
                let (what, standing) = paused::read(stored)?;
                self.pauses.put(what, standing);
            }
            REPLAYED => self.take_replayed(&Replayed::read(stored)?),
            REDRIVEN => self.take_redriven(&Redriven::read(stored)?),
            REJECTED => return Err(unknown(stored)),
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
            if owed.begin(number, offset) {
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
        self.again.remove(&(number, offset));
        self.suspicion.land((number, offset));
        if self.owed.end(number, offset) {
            self.books.ended(number, outcome);
            return true;
        }
        if number & FORWARD == 0 && offset >= self.routed_to {
            self.seen.insert((number, offset));
        }
        false
    }

    fn take_parked(&mut self, parked: Parked) {
        self.suspicion.land((parked.number, parked.offset));
        let then = self
            .parked
            .entry((parked.number, parked.offset))
            .or_default();
        then.due = parked.due;
        then.history.push(parked.failed);
    }

    fn take_held(&mut self, held: Held) {
        let Held { number, key, by } = held;
        match by {
            Some(by) => self.blocked.insert((number, key), by),
            None => self.blocked.remove(&(number, key)),
        };
    }

    fn take_dead(&mut self, at: Offset, dead: &Dead) {
        self.end(dead.number, dead.offset, Outcome::Dead(dead.cause));
        self.letters.insert(at, dead);
        if dead.forwarded && self.registry.get(dead.number).is_some() {
            let number = dead.number | FORWARD;
            if self.owed.begin(number, at) {
                self.books.matched(number);
            }
        }
    }

    /// Something was done with a dead letter; where it was redriven, a delivery began.
    fn take_redriven(&mut self, redriven: &Redriven) {
        self.letters.mark(redriven);
        self.let_key_go(redriven);
        let Action::Again { number, offset } = redriven.action else {
            return;
        };
        if self.registry.get(number).is_none() {
            // It was deleted in the moment in which this was written: it began and was cancelled.
            self.books.matched(number);
            self.books.close(number);
        } else if self.owed.begin(number, offset) {
            self.books.matched(number);
            self.again.insert((number, offset), redriven.at);
        }
    }

    /// A letter blocks its key until it is discarded or its event goes elsewhere. Its lane says so
    /// too, in a record that a crash may have cost.
    fn let_key_go(&mut self, redriven: &Redriven) {
        if self.blocked.is_empty() {
            return;
        }
        let Some(row) = self.letters.row(redriven.letter) else {
            return;
        };
        let (whose, event) = (row.number, row.event);
        let goes = match redriven.action {
            Action::Again { number, .. } => number != whose,
            Action::Discarded => true,
            Action::PayloadDiscarded => false,
        };
        if goes {
            self.blocked
                .retain(|(number, _), by| *number != whose || *by != event);
        }
    }

    /// Events of the past were owed again, and a replay went on, began or ended.
    fn take_replayed(&mut self, replayed: &Replayed) {
        self.replays.take(replayed);
        let number = replayed.number;
        let in_force = self.registry.get(number).is_some();
        for offset in &replayed.offsets {
            if !in_force {
                // Deleted in the moment in which this was written: begun, and cancelled.
                self.books.matched(number);
                self.books.close(number);
            } else if self.owed.begin(number, *offset) {
                self.books.matched(number);
                self.again.insert((number, *offset), replayed.at);
            }
        }
        if !in_force {
            self.replays.forget(number);
        }
    }

    fn take_part(&mut self, at: Offset, part: Part) -> Result<(), OpenError> {
        self.parts_ahead.push_back((at, part.clone()));
        for number in self.registry.take(part)?.unwrap_or_default() {
            self.books.close(number);
            self.pauses.forget(number);
            self.replays.forget(number);
            self.blocked.retain(|(whose, _), _| *whose != number);
            for number in [number, number | FORWARD] {
                self.owed.remove(number);
                self.suspicion.forget(number);
                self.parked.retain(|(whose, _), _| *whose != number);
                self.again.retain(|(whose, _), _| *whose != number);
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
