//! Writing the view: all that the fold changed since the last commit, in one transaction.

use std::sync::Arc;

use journal::Offset;
use redb::{Key, ReadableTable, StorageError, Table, WriteTransaction};

use super::{Changes, State, View, ViewError, checked, tables};
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
                    Some(bitmap) => put(tables::OWED, &mut table, key, &bitmap)?,
                    None => drop(table.remove(key)?),
                }
            }
        }
        {
            let mut table = writing.open_table(tables::PARKED)?;
            for number in wiped {
                table.retain_in((number, 0)..=(number, u64::MAX), |_, _| false)?;
            }
            self.write_parked(&mut table, parked)?;
        }
        self.write_letters(&writing, &changes)?;
        {
            let mut table = writing.open_table(tables::KEPT)?;
            for ((what, offset), at) in &changes.kept {
                let key = (*what as u8, offset.0);
                match at {
                    Some(at) => put(tables::KEPT, &mut table, key, &at.encode())?,
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
                put(tables::RESOURCES, &mut table, index, &part.body)?;
            }
        }
        {
            let mut table = writing.open_table(tables::STATE)?;
            put(tables::STATE, &mut table, "state", &state.encode())?;
        }
        writing.commit()?;
        *self.changing() = Arc::default();
        self.look_at_size();
        Ok(())
    }

    fn write_parked(
        &self,
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
                all = ParkedThen::decode(self.value(tables::PARKED, &key, before.value())?)?;
            }
            all.merge(then);
            put(tables::PARKED, table, key, &all.encode())?;
        }
        Ok(())
    }

    fn write_letters(
        &self,
        writing: &WriteTransaction,
        changes: &Changes,
    ) -> Result<(), ViewError> {
        let mut letters = writing.open_table(tables::LETTERS)?;
        let mut of_triggers = writing.open_table(tables::LETTERS_OF)?;
        let mut on_events = writing.open_table(tables::LETTERS_ON)?;
        for (id, row) in &changes.letters {
            let before = match row {
                Some(row) => {
                    let sealed = checked::seal(tables::LETTERS, &id.0, &row.encode());
                    letters.insert(id.0, sealed.as_slice())?
                }
                None => letters.remove(id.0)?,
            };
            if let Some(before) = before {
                let bytes = self.value(tables::LETTERS, &id.0, before.value())?;
                let before = Row::decode(*id, bytes)?;
                of_triggers.remove((before.trigger.to_string().as_str(), id.0))?;
                on_events.remove((before.event.0, id.0))?;
            }
            let Some(row) = row else {
                continue;
            };
            let trigger = row.trigger.to_string();
            let of_trigger = (trigger.as_str(), id.0);
            put(tables::LETTERS_OF, &mut of_triggers, of_trigger, &[])?;
            if row.needs_event() {
                let on_event = (row.event.0, id.0);
                put(tables::LETTERS_ON, &mut on_events, on_event, &[])?;
            }
        }
        Ok(())
    }
}

/// Writes a value with its checksum.
pub(super) fn put<K: Key>(
    definition: checked::Table<K>,
    table: &mut Table<'_, K, &'static [u8]>,
    key: K::SelfType<'_>,
    value: &[u8],
) -> Result<(), StorageError> {
    let sealed = checked::seal(definition, &key, value);
    table.insert(key, sealed.as_slice())?;
    Ok(())
}
