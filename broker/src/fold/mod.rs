//! The fold: what the log adds up to.
//!
//! A state machine: `Fold::take` takes in one record after the other, and what it holds then is
//! what a start would find there: the resources in force, what is owed and parked, the dead
//! letters and the books. The router goes on where routing stopped, with the resources that were
//! in force there, so a restart matches only the events behind the last Routed record, by the
//! filters of their time.

mod owed;
mod parked;
mod parts;
mod sizes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use journal::{Journal, Offset, RECORD_HEADER_BYTES, ReadError, Record, Stored, WallTime, mutant};
use roaring::RoaringTreemap;

pub(crate) use self::owed::{Block, Owed};
pub(crate) use self::parked::{ParkedChange, ParkedChanges, ParkedThen};
pub(crate) use self::sizes::Sizes;

use crate::books::Books;
use crate::dead_letters::{Row, State as LetterState};
use crate::kept::records::OwedThen;
use crate::keys::Key;
use crate::pauses::PauseBook;
use crate::poison::Suspicion;
use crate::records::dead::Dead;
use crate::records::held::Held;
use crate::records::intent::Intent;
use crate::records::parked::Parked;
use crate::records::redriven::{Action, Redriven};
use crate::records::rejected::Rejected;
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
use crate::view::{Loaded, State, View, ViewError};

/// Bytes read at a time.
pub(crate) const READ_BYTES: usize = 4 << 20;

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
    /// What was folded can't be written or looked up.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The log was not empty, and is.
    #[error("the log is empty, and held records that kept or the view go by")]
    LogGone,
    /// Kept was not empty, and is.
    #[error("kept is empty, and held records that the view goes by")]
    KeptGone,
    /// The disk with the kept records can't be written.
    #[error("what is kept can't be written")]
    KeptStopped,
}

/// What the log adds up to, as of [`Fold::end`].
pub(crate) struct Fold {
    /// The resources in force.
    pub(crate) registry: Registry,
    /// The resources as of [`Fold::routed_to`].
    pub(crate) registry_then: Registry,
    pub(crate) books: Books,
    pub(crate) owed: Owed,
    pub(crate) parked: ParkedChanges,
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
    /// Records before this were reclaimed: what they said is in kept.
    pub(crate) base: Offset,
    /// Offsets before [`Fold::base`] of which what is owed isn't what kept says.
    pub(crate) touched: RoaringTreemap,
    /// Dead letters before [`Fold::base`] that aren't what kept says.
    pub(crate) touched_letters: RoaringTreemap,
    /// Offsets that may be needed by nobody any more, since the view was last written.
    ended: RoaringTreemap,
    /// How large events are.
    pub(crate) sizes: Sizes,
    /// Events that aren't routed yet, with their bytes.
    unrouted: VecDeque<(Offset, usize)>,
    /// Where the dead letters are.
    view: Arc<View>,
    /// Changes of the resources behind [`Fold::routed_to`].
    parts_ahead: VecDeque<(Offset, Part)>,
    /// Where a change began that [`Fold::registry_then`] hasn't got the last part of.
    change_began: Option<Offset>,
    /// Whether [`Fold::registry_then`] differs from the view's.
    resources_changed: bool,
    /// Whether a Routed record was lost.
    gap: bool,
}

/// What changed since the view was last written.
pub(crate) struct TakenOut {
    pub(crate) owed: Vec<Block>,
    pub(crate) parked: Vec<((Number, Offset), ParkedChange)>,
    pub(crate) wiped: Vec<Number>,
    pub(crate) resources: Option<Registry>,
}

impl Fold {
    /// Nothing yet, of the log with that id, which begins at `start`.
    pub(crate) fn new(log_id: u64, start: Offset, view: Arc<View>) -> Self {
        let registry = Registry::new(log_id);
        Self {
            registry_then: registry.clone(),
            registry,
            books: Books::default(),
            owed: Owed::default(),
            parked: ParkedChanges::default(),
            pauses: PauseBook::default(),
            replays: ReplayBook::default(),
            blocked: HashMap::new(),
            again: HashMap::new(),
            routed_to: start,
            seen: HashSet::new(),
            end: start,
            lost: Vec::new(),
            suspicion: Suspicion::default(),
            base: start,
            touched: RoaringTreemap::new(),
            touched_letters: RoaringTreemap::new(),
            ended: RoaringTreemap::new(),
            sizes: Sizes::default(),
            unrouted: VecDeque::new(),
            view,
            parts_ahead: VecDeque::new(),
            change_began: None,
            resources_changed: true,
            gap: false,
        }
    }

    /// Goes on where the view was written. Changes of the resources that it doesn't hold yet are
    /// read again from the log.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the log can't be read.
    pub(crate) fn resume(
        loaded: Loaded,
        view: Arc<View>,
        journal: &Journal,
    ) -> Result<Self, OpenError> {
        let Loaded {
            state,
            owed,
            parked,
            registry,
        } = loaded;
        let mut fold = Self {
            registry_then: registry.clone(),
            registry,
            books: state.books,
            owed,
            parked,
            pauses: PauseBook::default(),
            replays: ReplayBook::default(),
            blocked: HashMap::new(),
            again: state.again,
            routed_to: state.routed_to,
            seen: state.seen,
            end: state.folded_to,
            lost: Vec::new(),
            suspicion: Suspicion::default(),
            base: journal.start(),
            touched: state.touched,
            touched_letters: state.touched_letters,
            ended: RoaringTreemap::new(),
            sizes: state.sizes,
            unrouted: VecDeque::new(),
            view,
            parts_ahead: VecDeque::new(),
            change_began: None,
            resources_changed: false,
            gap: state.gap,
        };
        let mut next = state.resources_from.max(journal.start());
        let end = fold.end.min(*journal.durable().borrow());
        while next < end {
            let reading = journal.read(next, READ_BYTES)?;
            let before_end = |stored: &&Stored| stored.offset < fold.end;
            let parts = reading
                .records
                .iter()
                .filter(|stored| stored.kind == TRIGGER_SET)
                .take_while(before_end)
                .map(|stored| Ok((stored.offset, trigger_set::read(stored)?)))
                .collect::<Result<Vec<_>, Malformed>>()?;
            for (at, part) in parts {
                fold.registry.take(part.clone())?;
                fold.parts_ahead.push_back((at, part));
            }
            next = reading.next;
        }
        fold.take_parts_routed()?;
        fold.take_standing(state.standing)?;
        fold.suspicion = state.suspicion;
        Ok(fold)
    }

    /// What the view holds once; positions in kept are the keeper's to add.
    pub(crate) fn state(&self) -> State {
        State {
            folded_to: self.end,
            routed_to: self.routed_to,
            resources_from: self.change_began.unwrap_or(self.routed_to),
            gap: self.gap,
            seen: self.seen.clone(),
            books: self.books.clone(),
            touched: self.touched.clone(),
            touched_letters: self.touched_letters.clone(),
            standing: self.standing(),
            again: self.again.clone(),
            suspicion: self.suspicion.clone(),
            sizes: self.sizes.clone(),
            ..State::default()
        }
    }

    /// What changed since this was last asked, for the view.
    pub(crate) fn take_out(&mut self) -> TakenOut {
        let (wiped, parked) = self.parked.take();
        // By key, so that the same changes lay the view's file out the same.
        let mut wiped: Vec<_> = wiped.into_iter().collect();
        wiped.sort_unstable();
        let mut parked: Vec<_> = parked.into_iter().collect();
        parked.sort_unstable_by_key(|(key, _)| *key);
        let mut owed = self.owed.take_changed();
        owed.sort_unstable_by_key(|(key, _)| *key);
        TakenOut {
            owed,
            parked,
            wiped,
            resources: std::mem::take(&mut self.resources_changed)
                .then(|| self.registry_then.clone()),
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
            EVENT => {
                let bytes = RECORD_HEADER_BYTES + stored.body.len();
                self.sizes.count(stored.tag, bytes);
                self.unrouted.push_back((stored.offset, bytes));
            }
            MARK => self.suspicion.stop(),
            INTENT => {
                let intent = Intent::read(stored)?;
                let which = (intent.number, intent.offset);
                match intent.attempt {
                    0 => self.suspicion.take_back(which),
                    _ => self.suspicion.intend(which),
                }
            }
            STARTED => self.suspicion.start(Started::read(stored)?),
            ROUTED => self.take_routed(stored)?,
            SETTLED => self.take_settled(stored)?,
            PARKED => self.take_parked(Parked::read(stored)?),
            HELD => self.take_held(Held::read(stored)?),
            DEAD => self.take_dead(stored, &Dead::read(stored)?)?,
            REJECTED => self.take_rejected(stored)?,
            TRIGGER_SET => self.take_part(stored.offset, trigger_set::read(stored)?)?,
            PAUSED => {
                let (what, standing) = paused::read(stored)?;
                self.pauses.put(what, standing);
            }
            REPLAYED => self.take_replayed(&Replayed::read(stored)?),
            REDRIVEN => self.take_redriven(&Redriven::read(stored)?)?,
            _ if mutant::is("skip-unknown-kind") => {}
            // As a later version may write.
            _ => return Err(unknown(stored)),
        }
        Ok(())
    }

    fn take_routed(&mut self, stored: &Stored) -> Result<(), OpenError> {
        let mut pairs = Vec::new();
        let range = records::routed::read(stored, |offset, numbers| {
            pairs.extend(numbers.iter().map(|number| (*number, offset)));
        })?;
        // A gap is closed by routing again from where it begins.
        self.gap = range.start > self.routed_to;
        for (number, offset) in pairs {
            while self.unrouted.front().is_some_and(|(at, _)| *at < offset) {
                self.unrouted.pop_front();
            }
            if let Some((at, bytes)) = self.unrouted.front()
                && *at == offset
            {
                self.sizes.count(number, *bytes);
            }
            if self.gap {
                self.seen.insert((number, offset));
            }
            self.owe(number, offset);
        }
        while self.unrouted.front().is_some_and(|(at, _)| *at < range.end) {
            self.unrouted.pop_front();
        }
        if !self.gap {
            self.routed_to = self.routed_to.max(range.end);
            if !self.seen.is_empty() {
                self.seen.retain(|(_, offset)| *offset >= self.routed_to);
            }
            self.take_parts_routed()?;
        }
        Ok(())
    }

    fn take_parked(&mut self, parked: Parked) {
        self.suspicion.land((parked.number, parked.offset));
        // What was in the air when its trigger was deleted is owed to nobody.
        let is_owed = self.owed.contains(parked.number, parked.offset);
        if is_owed || parked.offset >= self.routed_to {
            self.touch(parked.offset);
            self.parked.park(parked);
        }
    }

    /// What is owed of this changed.
    fn touch(&mut self, offset: Offset) {
        if offset < self.base {
            self.touched.insert(offset.0);
        }
    }

    /// The dead letter is so from now on, or there is none any more.
    pub(crate) fn set_letter(&mut self, id: Offset, row: Option<Row>) -> Result<(), ViewError> {
        let before = self.view.letter(id)?;
        if before == row {
            return Ok(());
        }
        if id < self.base {
            self.touched_letters.insert(id.0);
        }
        if !row.as_ref().is_some_and(Row::needs_event)
            && let Some(row) = row.as_ref().or(before.as_ref())
        {
            self.ended.insert(row.event.0);
        }
        if row.is_none() {
            self.ended.insert(id.0);
        }
        self.view.set_letter(id, row)
    }

    /// Small state as records: taken in by an empty fold, they give it back. They go into the
    /// view and, before a segment goes, into kept; taken in before records that say the same
    /// again, as kept's are, they change nothing.
    pub(crate) fn standing(&self) -> Vec<Record> {
        self.standing_parts().into_values().flatten().collect()
    }

    /// The same in parts of which each fits a record of kept. A record is always in the same part,
    /// so that of one thing no part says what another no longer does.
    pub(crate) fn standing_parts(&self) -> BTreeMap<Offset, Vec<Record>> {
        let mut all: BTreeMap<Offset, Vec<Record>> = BTreeMap::new();
        let mut put = |part, record| all.entry(part).or_default().push(record);
        // In order: what ended goes before what goes on.
        for record in self.replays.standing() {
            put(parts::REPLAYS, record);
        }
        for (what, standing) in self.pauses.iter() {
            put(parts::of_paused(what), paused::record(what, standing));
        }
        for ((number, key), by) in &self.blocked {
            let held = Held {
                number: *number,
                key: Key::clone(key),
                by: Some(*by),
            };
            put(parts::of_held(*number, *by), held.record());
        }
        // A map has no order, and what kept says already must be seen to be the same.
        for (part, records) in &mut all {
            if *part != parts::REPLAYS {
                records.sort_by(|a, b| a.body.cmp(&b.body));
            }
        }
        all
    }

    /// Takes in what [`Fold::standing`] gave.
    pub(crate) fn take_standing(&mut self, records: Vec<Record>) -> Result<(), OpenError> {
        for record in records {
            self.take_record(&Stored {
                offset: self.end,
                kind: record.kind,
                version: record.version,
                tag: record.tag,
                body: record.body,
            })?;
        }
        Ok(())
    }

    /// Offsets that may be needed by nobody any more, and are owed to nobody, since this was last
    /// asked.
    pub(crate) fn take_ended(&mut self) -> RoaringTreemap {
        let mut ended = std::mem::take(&mut self.ended);
        if !ended.is_empty() {
            for (_, owed) in self.owed.iter() {
                ended -= owed;
            }
        }
        ended
    }

    /// What is owed of an offset, as kept says it while the view is folded anew.
    pub(crate) fn take_kept(&mut self, owed: OwedThen) {
        for to in owed.to {
            if self.owed.begin(to.number, owed.offset) {
                self.books.matched(to.number);
            }
            if let Some(since) = to.again {
                self.again.insert((to.number, owed.offset), since);
            }
            if let Some(then) = to.parked {
                self.parked.set(to.number, owed.offset, then);
            }
        }
    }

    /// A dead letter's record in kept, while the view is folded anew.
    pub(crate) fn take_kept_letter(&mut self, stored: &Stored) -> Result<(), OpenError> {
        let row = match stored.kind {
            REJECTED => Row::of_rejected(stored.offset, &Rejected::read(stored)?),
            _ => Row::of(stored, &Dead::read(stored)?),
        };
        self.set_letter(stored.offset, Some(row))?;
        Ok(())
    }

    /// Ends what is owed to numbers that are no more: kept doesn't say which those are.
    pub(crate) fn drop_unknown(&mut self) -> Result<(), ViewError> {
        let known = |number: Number| self.registry.get(number & !FORWARD).is_some();
        let unknown: Vec<Number> = self
            .owed
            .iter()
            .map(|(number, _)| number)
            .filter(|number| !known(*number))
            .collect();
        for number in unknown {
            self.remove(number & !FORWARD)?;
        }
        Ok(())
    }

    /// A trigger is no more: what it was owed is cancelled, and what its sink was.
    fn remove(&mut self, number: Number) -> Result<(), ViewError> {
        self.books.close(number);
        self.sizes.forget(number);
        self.pauses.forget(number);
        self.replays.forget(number);
        self.blocked.retain(|(whose, _), _| *whose != number);
        for number in [number, number | FORWARD] {
            self.suspicion.forget(number);
            if let Some(owed) = self.owed.remove(number) {
                if number & FORWARD != 0 {
                    for letter in &owed {
                        self.end_forwarding(Offset(letter))?;
                    }
                }
                self.ended |= owed;
            }
            self.parked.remove(number);
            self.again.retain(|(whose, _), _| *whose != number);
        }
        Ok(())
    }

    /// Puts changes in force that stand where routing has been.
    fn take_parts_routed(&mut self) -> Result<(), OpenError> {
        while self
            .parts_ahead
            .front()
            .is_some_and(|(at, _)| *at < self.routed_to)
        {
            let Some((at, part)) = self.parts_ahead.pop_front() else {
                break;
            };
            let (first, last) = (part.first, part.last);
            self.registry_then.take(part)?;
            if last {
                self.change_began = None;
                self.resources_changed = true;
            } else if first {
                self.change_began = Some(at);
            }
        }
        Ok(())
    }

    /// A delivery begins. `false` when it was owed already.
    pub(crate) fn owe(&mut self, number: Number, offset: Offset) -> bool {
        let begun = self.owed.begin(number, offset);
        if begun {
            self.books.matched(number);
            self.touch(offset);
        }
        begun
    }

    fn take_settled(&mut self, stored: &Stored) -> Result<(), OpenError> {
        let mut forwarded = Vec::new();
        settled::read(stored, |settlement| {
            self.end(settlement.number, settlement.offset, settlement.outcome);
            if settlement.number & FORWARD != 0 {
                forwarded.push(settlement.offset);
            }
        })?;
        for letter in forwarded {
            self.end_forwarding(letter)?;
        }
        Ok(())
    }

    /// A letter's sink isn't owed it any more.
    fn end_forwarding(&mut self, letter: Offset) -> Result<(), ViewError> {
        match self.view.letter(letter)? {
            Some(row) if row.let_go => self.set_letter(letter, None),
            Some(mut row) => {
                row.forwarding = false;
                self.set_letter(letter, Some(row))
            }
            None => Ok(()),
        }
    }

    /// A delivery ended. `false` when nothing is known to be owed of it.
    fn end(&mut self, number: Number, offset: Offset, outcome: Outcome) -> bool {
        self.parked.end(number, offset);
        self.again.remove(&(number, offset));
        self.suspicion.land((number, offset));
        if self.owed.end(number, offset) {
            self.books.ended(number, outcome);
            self.touch(offset);
            self.ended.insert(offset.0);
            return true;
        }
        if number & FORWARD == 0 && offset >= self.routed_to {
            self.seen.insert((number, offset));
        }
        false
    }

    fn take_held(&mut self, held: Held) {
        let Held { number, key, by } = held;
        match by {
            Some(by) => self.blocked.insert((number, key), by),
            None => self.blocked.remove(&(number, key)),
        };
    }

    fn take_dead(&mut self, stored: &Stored, dead: &Dead) -> Result<(), OpenError> {
        let at = stored.offset;
        self.end(dead.number, dead.offset, Outcome::Dead(dead.cause));
        let mut row = Row::of(stored, dead);
        row.forwarding = dead.forwarded && self.registry.get(dead.number).is_some();
        if row.forwarding {
            self.owe(dead.number | FORWARD, at);
        }
        self.set_letter(at, Some(row))?;
        Ok(())
    }

    /// A letter without a delivery: nobody is owed it, and no books have it.
    fn take_rejected(&mut self, stored: &Stored) -> Result<(), OpenError> {
        let row = Row::of_rejected(stored.offset, &Rejected::read(stored)?);
        let bytes = RECORD_HEADER_BYTES + stored.body.len();
        self.sizes.count(row.number, bytes);
        self.set_letter(stored.offset, Some(row))?;
        Ok(())
    }

    /// Something was done with a dead letter; where it was redriven, a delivery began.
    fn take_redriven(&mut self, redriven: &Redriven) -> Result<(), OpenError> {
        if let Some(row) = self.view.letter(redriven.letter)? {
            self.let_key_go(redriven, &row);
            self.mark(redriven, row)?;
        }
        let Action::Again { number, offset } = redriven.action else {
            return Ok(());
        };
        if self.registry.get(number).is_none() {
            // It was deleted in the moment in which this was written: it began and was cancelled.
            self.books.matched(number);
            self.books.close(number);
        } else if self.owe(number, offset) {
            self.again.insert((number, offset), redriven.at);
        }
        Ok(())
    }

    fn mark(&mut self, redriven: &Redriven, mut row: Row) -> Result<(), ViewError> {
        match redriven.action {
            Action::Again { .. } => row.state = LetterState::Redriven(redriven.at),
            Action::Discarded => row.state = LetterState::Discarded(redriven.at),
            Action::PayloadDiscarded => row.payload_discarded = true,
            // Its dead letter sink may still be owed it.
            Action::LetGo if row.forwarding => row.let_go = true,
            Action::LetGo => return self.set_letter(redriven.letter, None),
        }
        self.set_letter(redriven.letter, Some(row))
    }

    /// A letter blocks its key until it is discarded or its event goes elsewhere. Its lane says so
    /// too, in a record that a crash may have cost.
    fn let_key_go(&mut self, redriven: &Redriven, row: &Row) {
        let (whose, event) = (row.number, row.event);
        let goes = match redriven.action {
            Action::Again { number, .. } => number != whose,
            Action::Discarded => true,
            Action::PayloadDiscarded | Action::LetGo => false,
        };
        if goes {
            self.unblock(&HashSet::from([(whose, event)]));
        }
    }

    /// What these events, each of a trigger's deliveries, blocked of its keys is blocked no longer.
    pub(crate) fn unblock(&mut self, events: &HashSet<(Number, Offset)>) {
        self.blocked
            .retain(|(number, _), by| !events.contains(&(*number, *by)));
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
            } else if self.owe(number, *offset) {
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
            self.remove(number)?;
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
