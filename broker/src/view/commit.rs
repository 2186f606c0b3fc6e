//! Writing the view: all that the fold changed since the last commit, in one transaction.

use std::sync::Arc;

use journal::Offset;
use redb::{ReadableTable, Table};

use super::{Changes, State, View, ViewError, tables};
use crate::dead_letters::Row;
use crate::fold::{Fold, ParkedChange, ParkedThen, TakenOut};
use crate::records::Number;
use crate::records::trigger_set;

impl View {
    /// Writes what `fold` changed, as of `state`. After `Ok` a start finds it; after `Err` the
    /// file is as it was.
    pub(crate) fn commit(&self, fold: &mut Fold, mut state: State) -> Result<(), ViewError> {
        let TakenOut {
            owed,
            parked,
            wiped,
            resources,
        } = fold.take_out();
        let changes = Arc::clone(&self.changing());
        state.letters = self.letter_counts();
        let mut writing = self.database.begin_write()?;
        writing.set_quick_repair(true);
        {
            let mut table = writing.open_table(tables::OWED)?;
            for (key, bitmap) in owed {
                match bitmap {
                    Some(bitmap) => drop(table.insert(key, bitmap.as_slice())?),
                    None => drop(table.remove(key)?),
                }
            }
        }
        {
            let mut table = writing.open_table(tables::PARKED)?;
            for number in wiped {
                table.retain_in((number, 0)..=(number, u64::MAX), |_, _| false)?;
            }
            write_parked(&mut table, parked)?;
        }
        write_letters(&writing, &changes)?;
        {
            let mut table = writing.open_table(tables::KEPT)?;
            for ((what, offset), at) in &changes.kept {
                let key = (*what as u8, offset.0);
                match at {
                    Some(at) => drop(table.insert(key, (at.offset.0, at.bytes))?),
                    None => drop(table.remove(key)?),
                }
            }
        }
        if let Some(registry) = resources {
            let mut table = writing.open_table(tables::RESOURCES)?;
            table.retain(|_, _| false)?;
            let next = registry.next_number();
            let parts = trigger_set::records(registry.revision, true, next, &registry.snapshot());
            for (index, part) in (0..).zip(parts) {
                table.insert(index, &*part.body)?;
            }
        }
        {
            let mut table = writing.open_table(tables::STATE)?;
            table.insert("state", state.encode().as_slice())?;
        }
        writing.commit()?;
        *self.changing() = Arc::default();
        self.look_at_size();
        Ok(())
    }
}

fn write_parked(
    table: &mut Table<'_, (u32, u64), &'static [u8]>,
    parked: Vec<((Number, Offset), ParkedChange)>,
) -> Result<(), ViewError> {
    for ((number, offset), change) in parked {
        let key = (number, offset.0);
        let (anew, then) = match change {
            ParkedChange::Gone => {
                table.remove(key)?;
                continue;
            }
            ParkedChange::Parked { anew, then } => (anew, then),
        };
        let mut all = ParkedThen::default();
        if !anew && let Some(before) = table.get(key)? {
            all = ParkedThen::decode(before.value())?;
        }
        all.merge(then);
        table.insert(key, all.encode().as_slice())?;
    }
    Ok(())
}

fn write_letters(writing: &redb::WriteTransaction, changes: &Changes) -> Result<(), ViewError> {
    let mut letters = writing.open_table(tables::LETTERS)?;
    let mut of_triggers = writing.open_table(tables::LETTERS_OF)?;
    let mut on_events = writing.open_table(tables::LETTERS_ON)?;
    for (id, row) in &changes.letters {
        let before = match row {
            Some(row) => letters.insert(id.0, row.encode().as_slice())?,
            None => letters.remove(id.0)?,
        };
        let before = before.map(|before| Row::decode(*id, before.value()));
        if let Some(before) = before.transpose()? {
            of_triggers.remove((before.trigger.to_string().as_str(), id.0))?;
            on_events.remove((before.event.0, id.0))?;
        }
        if let Some(row) = row {
            of_triggers.insert((row.trigger.to_string().as_str(), id.0), ())?;
            if row.needs_event() {
                on_events.insert((row.event.0, id.0), ())?;
            }
        }
    }
    Ok(())
}
