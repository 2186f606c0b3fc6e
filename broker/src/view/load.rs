//! Reading the view at a start.

use std::collections::{BTreeMap, HashMap};

use journal::{Journal, Offset, mutant};
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableError};
use roaring::RoaringBitmap;

use super::{State, View, ViewError, tables};
use crate::fold::{Owed, ParkedChanges, ParkedThen};
use crate::records::{Number, TRIGGER_SET, VERSION, trigger_set};
use crate::registry::Registry;

/// What a view holds that the fold goes on with.
pub(crate) struct Loaded {
    pub(crate) state: State,
    pub(crate) owed: Owed,
    pub(crate) parked: ParkedChanges,
    /// As of [`State::resources_from`].
    pub(crate) registry: Registry,
}

/// How far a view's owner had come when it was last written.
#[derive(Debug, Clone)]
pub(crate) struct AsOf {
    pub(crate) log_id: u64,
    /// The log held all records before this.
    pub(crate) log_to: Offset,
    pub(crate) kept_id: u64,
    /// And kept all before this.
    pub(crate) kept_to: Offset,
    /// The first offsets of the segments of kept, each with the bytes of it that were needed.
    pub(crate) kept_live: BTreeMap<Offset, u64>,
}

impl View {
    /// What is there once; none where nothing is, or of another format.
    fn state(&self, reading: &ReadTransaction) -> Result<Option<State>, ViewError> {
        let table = match reading.open_table(tables::STATE) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            opened => opened?,
        };
        let Some(bytes) = table.get("state")? else {
            return Ok(None);
        };
        let bytes = self.value(tables::STATE, &"state", bytes.value())?;
        Ok(State::decode(bytes)?)
    }

    /// How far log and kept went when it was last written, whether it can be used or not: also where
    /// something else in it is damaged.
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, ViewError> {
        let state = self.state(&self.database.begin_read()?)?;
        Ok(state.map(|state| AsOf {
            log_id: state.log_id,
            log_to: state.folded_to,
            kept_id: state.kept_id,
            kept_to: state.kept_to,
            kept_live: state.kept_live,
        }))
    }

    /// What is in the view, if it is of this log and this kept, and neither lacks what it is as
    /// of: then it must be folded anew.
    pub(crate) fn load(&self, log: &Journal, kept: &Journal) -> Result<Option<Loaded>, ViewError> {
        let reading = self.database.begin_read()?;
        let Some(state) = self.state(&reading)? else {
            return Ok(None);
        };
        if state.partial {
            return Ok(None);
        }
        let spans = |journal: &Journal, id: u64, position: Offset| {
            let end = *journal.durable().borrow();
            // A journal without a segment draws another id each time it is opened.
            let is_same = journal.facts().log_id == id || (end == Offset(0) && position == end);
            let is_ahead = end < position && !mutant::is("believe-view-ahead-of-log");
            is_same && journal.start() <= position && !is_ahead
        };
        if !spans(log, state.log_id, state.folded_to) || !spans(kept, state.kept_id, state.kept_to)
        {
            return Ok(None);
        }
        let mut owed = Owed::default();
        for entry in reading.open_table(tables::OWED)?.iter()? {
            let (key, bytes) = entry?;
            let (number, block) = key.value();
            let bytes = self.value(tables::OWED, &(number, block), bytes.value())?;
            let bitmap = RoaringBitmap::deserialize_from(bytes);
            let bitmap = bitmap.map_err(|_| ViewError::Damaged("owed"))?;
            owed.load(number, block, bitmap);
        }
        let mut parked = ParkedChanges::default();
        for entry in reading.open_table(tables::PARKED)?.iter()? {
            let (key, bytes) = entry?;
            let (number, offset) = key.value();
            self.value(tables::PARKED, &(number, offset), bytes.value())?;
            parked.load(number, Offset(offset));
        }
        let mut registry = Registry::new(log.facts().log_id);
        for entry in reading.open_table(tables::RESOURCES)?.iter()? {
            let (part, body) = entry?;
            let body = self.value(tables::RESOURCES, &part.value(), body.value())?;
            let stored = journal::Stored {
                offset: Offset(0),
                kind: TRIGGER_SET,
                version: VERSION,
                tag: 0,
                body: body.to_vec().into(),
            };
            let part = trigger_set::read(&stored);
            let part = part.map_err(|_| ViewError::Damaged("resources"))?;
            let taken = registry.take(part);
            taken.map_err(|_| ViewError::Damaged("resources"))?;
        }
        *self.counting() = state.letters.clone();
        Ok(Some(Loaded {
            state,
            owed,
            parked,
            registry,
        }))
    }

    /// What is parked of a number, as of the last commit.
    pub(crate) fn parked_of(
        &self,
        number: Number,
    ) -> Result<HashMap<Offset, ParkedThen>, ViewError> {
        let reading = self.database.begin_read()?;
        let table = reading.open_table(tables::PARKED)?;
        let mut parked = HashMap::new();
        for entry in table.range((number, 0)..=(number, u64::MAX))? {
            let (key, bytes) = entry?;
            let bytes = self.value(tables::PARKED, &key.value(), bytes.value())?;
            parked.insert(Offset(key.value().1), ParkedThen::decode(bytes)?);
        }
        Ok(parked)
    }

    /// What is parked of a delivery, as of the last commit.
    pub(crate) fn parked(
        &self,
        number: Number,
        offset: Offset,
    ) -> Result<Option<ParkedThen>, ViewError> {
        let reading = self.database.begin_read()?;
        let table = reading.open_table(tables::PARKED)?;
        let key = (number, offset.0);
        let Some(bytes) = table.get(key)? else {
            return Ok(None);
        };
        let bytes = self.value(tables::PARKED, &key, bytes.value())?;
        Ok(Some(ParkedThen::decode(bytes)?))
    }
}
