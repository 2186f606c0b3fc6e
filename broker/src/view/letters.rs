//! Dead letters as the view has them: rows by id, by trigger, and by the event they need.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use journal::Offset;
use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};
use roaring::RoaringTreemap;
use triggers::TriggerName;

use super::{View, ViewError, tables};
use crate::dead_letters::{Row, State};
use crate::records::Number;

/// How many letters there are. Those that were let go don't count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that wait for somebody, by trigger's number.
    pub kept: BTreeMap<Number, u64>,
    /// Those whose event is still needed, by them or by their dead letter sink, by trigger's number.
    pub payloads: BTreeMap<Number, u64>,
    /// Bytes of the records of all there are, in whatever state, by trigger's number.
    pub bytes: BTreeMap<Number, u64>,
    /// Those that were redriven.
    pub redriven: u64,
    /// Those that were discarded.
    pub discarded: u64,
}

impl Counts {
    /// All that wait for somebody.
    pub fn kept_total(&self) -> u64 {
        self.kept.values().sum()
    }

    fn count(&mut self, row: &Row, add: bool) {
        step_of(&mut self.bytes, row.number, row.bytes, add);
        if row.needs_event() {
            step_of(&mut self.payloads, row.number, 1, add);
        }
        match row.state {
            _ if row.let_go => {}
            State::Kept => step_of(&mut self.kept, row.number, 1, add),
            State::Redriven(_) => step(&mut self.redriven, 1, add),
            State::Discarded(_) => step(&mut self.discarded, 1, add),
        }
    }
}

fn step(count: &mut u64, by: u64, add: bool) {
    match add {
        true => *count += by,
        false => *count = count.saturating_sub(by),
    }
}

fn step_of(counts: &mut BTreeMap<Number, u64>, number: Number, by: u64, add: bool) {
    let count = counts.entry(number).or_default();
    step(count, by, add);
    if *count == 0 {
        counts.remove(&number);
    }
}

impl View {
    /// The letter of that id.
    pub(crate) fn letter(&self, id: Offset) -> Result<Option<Row>, ViewError> {
        let changes = self.changing();
        if let Some(changed) = changes.letters.get(&id) {
            return Ok(changed.clone());
        }
        let reading = self.database.begin_read()?;
        drop(changes);
        let table = reading.open_table(tables::LETTERS)?;
        let Some(found) = table.get(id.0)? else {
            return Ok(None);
        };
        let bytes = self.value(tables::LETTERS, &id.0, found.value())?;
        Ok(Some(Row::decode(id, bytes)?))
    }

    /// The letter is so from now on, or there is none any more.
    pub(crate) fn set_letter(&self, id: Offset, row: Option<Row>) -> Result<(), ViewError> {
        let before = self.letter(id)?;
        if before == row {
            return Ok(());
        }
        let mut counts = self.counting();
        before.iter().for_each(|row| counts.count(row, false));
        row.iter().for_each(|row| counts.count(row, true));
        if row.as_ref().is_some_and(Row::is_kept) {
            self.none_kept_before.fetch_min(id.0, Ordering::Relaxed);
        }
        drop(counts);
        let mut changes = self.changing();
        Arc::make_mut(&mut changes).letters.insert(id, row);
        Ok(())
    }

    /// How many there are.
    pub(crate) fn letter_counts(&self) -> Counts {
        self.counting().clone()
    }

    /// The letter that came first of all that wait for somebody. For the keeper alone: another
    /// thread's letter might come in between.
    pub(crate) fn oldest_letter(&self) -> Result<Option<Row>, ViewError> {
        let mut oldest = None;
        if self.counting().kept.is_empty() {
            return Ok(oldest);
        }
        let from = self.none_kept_before.load(Ordering::Relaxed);
        self.letters_upwards(None, Offset(from), |row| {
            if !row.is_kept() {
                return ControlFlow::Continue(());
            }
            oldest = Some(row);
            ControlFlow::Break(())
        })?;
        if let Some(oldest) = &oldest {
            self.none_kept_before.store(oldest.id.0, Ordering::Relaxed);
        }
        Ok(oldest)
    }

    /// Behind the newest letter.
    pub(crate) fn letters_end(&self) -> Result<Offset, ViewError> {
        let (changes, reading) = self.reading()?;
        let table = reading.open_table(tables::LETTERS)?;
        let written = table.last()?.map(|(id, _)| Offset(id.value()));
        let fresh = changes.letters.keys().next_back().copied();
        let last = written.max(fresh);
        Ok(last.map_or(Offset(0), |last| Offset(last.0 + 1)))
    }

    /// Goes through letters from this id on, the oldest first; only a trigger's, where one is named.
    pub(crate) fn letters_upwards(
        &self,
        trigger: Option<&TriggerName>,
        from: Offset,
        mut each: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        let (changes, reading) = self.reading()?;
        let written = Written::open(self, &reading, trigger)?;
        let fresh = changes.letters.range(from..);
        let ids = written.ids(from..Offset(u64::MAX))?;
        merge(&written, fresh, ids, |a, b| a < b, &mut each)
    }

    /// Goes through letters before this id, the newest first; only a trigger's, where one is named.
    pub(crate) fn letters_downwards(
        &self,
        trigger: Option<&TriggerName>,
        before: Offset,
        mut each: impl FnMut(Row) -> ControlFlow<()>,
    ) -> Result<(), ViewError> {
        let (changes, reading) = self.reading()?;
        let written = Written::open(self, &reading, trigger)?;
        let fresh = changes.letters.range(..before).rev();
        let ids = written.ids(Offset(0)..before)?.rev();
        merge(&written, fresh, ids, |a, b| a > b, &mut each)
    }

    /// The letters with ids in `range`, also those that were let go, as of the last commit.
    pub(crate) fn letters_in(&self, range: Range<Offset>) -> Result<Vec<Row>, ViewError> {
        let reading = self.database.begin_read()?;
        let table = reading.open_table(tables::LETTERS)?;
        let mut rows = Vec::new();
        for entry in table.range(range.start.0..range.end.0)? {
            let (id, bytes) = entry?;
            let bytes = self.value(tables::LETTERS, &id.value(), bytes.value())?;
            rows.push(Row::decode(Offset(id.value()), bytes)?);
        }
        Ok(rows)
    }

    /// Bytes of the letters' records in `range`, as of the last commit.
    pub(crate) fn letter_bytes_in(&self, range: Range<Offset>) -> Result<u64, ViewError> {
        let reading = self.database.begin_read()?;
        let table = reading.open_table(tables::LETTERS)?;
        let mut bytes = 0;
        for entry in table.range(range.start.0..range.end.0)? {
            let (id, row) = entry?;
            let row = self.value(tables::LETTERS, &id.value(), row.value())?;
            bytes += Row::record_bytes(row)?;
        }
        Ok(bytes)
    }

    /// Events in `range` that a letter needs, in order, as of the last commit; once a letter.
    pub(crate) fn lettered_events(&self, range: Range<Offset>) -> Result<Vec<Offset>, ViewError> {
        let reading = self.database.begin_read()?;
        let table = reading.open_table(tables::LETTERS_ON)?;
        let mut events = Vec::new();
        for entry in table.range((range.start.0, 0)..(range.end.0, 0))? {
            let (key, nothing) = entry?;
            self.value(tables::LETTERS_ON, &key.value(), nothing.value())?;
            events.push(Offset(key.value().0));
        }
        Ok(events)
    }

    /// Which of these events no letter needs, the changes counted in.
    pub(crate) fn without_letters(
        &self,
        mut events: RoaringTreemap,
    ) -> Result<RoaringTreemap, ViewError> {
        if events.is_empty() {
            return Ok(events);
        }
        let (changes, reading) = self.reading()?;
        let fresh = changes.letters.values().flatten();
        for row in fresh.filter(|row| row.needs_event()) {
            events.remove(row.event.0);
        }
        let table = reading.open_table(tables::LETTERS_ON)?;
        let mut needed = Vec::new();
        for event in &events {
            for entry in table.range((event, 0)..=(event, u64::MAX))? {
                let (key, nothing) = entry?;
                self.value(tables::LETTERS_ON, &key.value(), nothing.value())?;
                let id = Offset(key.value().1);
                if !changes.letters.contains_key(&id) {
                    needed.push(event);
                    break;
                }
            }
        }
        needed.into_iter().for_each(|event| {
            events.remove(event);
        });
        Ok(events)
    }

    /// The first event from `from` on that a letter needs, as of the last commit.
    pub(crate) fn first_lettered_event_from(
        &self,
        from: Offset,
    ) -> Result<Option<Offset>, ViewError> {
        let reading = self.database.begin_read()?;
        let table = reading.open_table(tables::LETTERS_ON)?;
        let mut entries = table.range((from.0, 0)..)?;
        let Some((key, nothing)) = entries.next().transpose()? else {
            return Ok(None);
        };
        self.value(tables::LETTERS_ON, &key.value(), nothing.value())?;
        Ok(Some(Offset(key.value().0)))
    }
}

/// The letters as of the last commit.
struct Written<'a> {
    view: &'a View,
    letters: ReadOnlyTable<u64, &'static [u8]>,
    of_triggers: ReadOnlyTable<(&'static str, u64), &'static [u8]>,
    /// Whose; none: everybody's.
    trigger: Option<(&'a TriggerName, String)>,
}

impl<'a> Written<'a> {
    fn open(
        view: &'a View,
        reading: &ReadTransaction,
        trigger: Option<&'a TriggerName>,
    ) -> Result<Self, ViewError> {
        Ok(Self {
            view,
            letters: reading.open_table(tables::LETTERS)?,
            of_triggers: reading.open_table(tables::LETTERS_OF)?,
            trigger: trigger.map(|name| (name, name.to_string())),
        })
    }

    /// The ids in `range`.
    fn ids(&self, range: Range<Offset>) -> Result<Box<dyn Ids + '_>, ViewError> {
        let (from, to) = (range.start.0, range.end.0.max(range.start.0));
        Ok(match &self.trigger {
            None => Box::new(
                self.letters
                    .range(from..to)?
                    .map(|entry| Ok(Offset(entry?.0.value()))),
            ),
            Some((_, name)) => {
                let (from, to) = ((name.as_str(), from), (name.as_str(), to));
                let entries = self.of_triggers.range(from..to)?;
                Box::new(entries.map(|entry| {
                    let (key, nothing) = entry?;
                    self.view
                        .value(tables::LETTERS_OF, &key.value(), nothing.value())?;
                    Ok(Offset(key.value().1))
                }))
            }
        })
    }

    fn row(&self, id: Offset) -> Result<Option<Row>, ViewError> {
        let Some(found) = self.letters.get(id.0)? else {
            return Ok(None);
        };
        let bytes = self.view.value(tables::LETTERS, &id.0, found.value())?;
        Ok(Some(Row::decode(id, bytes)?))
    }

    fn is_wanted(&self, row: &Row) -> bool {
        let is_whose = |(name, _): &(&TriggerName, String)| row.trigger == **name;
        !row.let_go && self.trigger.as_ref().is_none_or(is_whose)
    }
}

trait Ids: DoubleEndedIterator<Item = Result<Offset, ViewError>> {}

impl<I: DoubleEndedIterator<Item = Result<Offset, ViewError>>> Ids for I {}

/// Goes through what is written and what isn't yet, in the order that `precedes` says.
fn merge<'a>(
    written: &Written<'_>,
    fresh: impl Iterator<Item = (&'a Offset, &'a Option<Row>)>,
    ids: impl Iterator<Item = Result<Offset, ViewError>>,
    precedes: impl Fn(Offset, Offset) -> bool,
    each: &mut impl FnMut(Row) -> ControlFlow<()>,
) -> Result<(), ViewError> {
    let mut fresh = fresh.peekable();
    let mut each_wanted = |row: Option<Row>| match row.filter(|row| written.is_wanted(row)) {
        Some(row) => each(row),
        None => ControlFlow::Continue(()),
    };
    for id in ids {
        let id = id?;
        while let Some((_, row)) = fresh.next_if(|(fresh, _)| precedes(**fresh, id)) {
            if each_wanted(row.clone()).is_break() {
                return Ok(());
            }
        }
        let row = match fresh.next_if(|(fresh, _)| **fresh == id) {
            Some((_, row)) => row.clone(),
            None => written.row(id)?,
        };
        if each_wanted(row).is_break() {
            return Ok(());
        }
    }
    for (_, row) in fresh {
        if each_wanted(row.clone()).is_break() {
            break;
        }
    }
    Ok(())
}
