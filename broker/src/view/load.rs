//! Reading the view at a start.

use std::collections::{BTreeMap, HashMap};

use journal::{Journal, Offset, mutant};
use redb::{ReadableDatabase, ReadableTable};
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
    /// How far log and kept went when it was last written, whether it can be used or not.
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, ViewError> {
        let reading = self.database.begin_read()?;
        let bytes = reading.open_table(tables::STATE)?.get("state")?;
        let Some(state) = bytes
            .map(|bytes| State::decode(bytes.value()))
            .transpose()?
        else {
            return Ok(None);
        };
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
        let Some(bytes) = reading.open_table(tables::STATE)?.get("state")? else {
            return Ok(None);
        };
        let Some(state) = State::decode(bytes.value())? else {
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
            let bitmap = RoaringBitmap::deserialize_from(bytes.value());
            let bitmap = bitmap.map_err(|_| ViewError::Damaged("owed"))?;
            owed.load(number, block, bitmap);
        }
        let mut parked = ParkedChanges::default();
        for entry in reading.open_table(tables::PARKED)?.iter()? {
            let (number, offset) = entry?.0.value();
            parked.load(number, Offset(offset));
        }
        let mut registry = Registry::new(log.facts().log_id);
        for entry in reading.open_table(tables::RESOURCES)?.iter()? {
            let (_, body) = entry?;
            let stored = journal::Stored {
                offset: Offset(0),
                kind: TRIGGER_SET,
                version: VERSION,
                tag: 0,
                body: body.value().to_vec().into(),
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
            let then = ParkedThen::decode(bytes.value())?;
            parked.insert(Offset(key.value().1), then);
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
        let found = table.get((number, offset.0))?;
        found
            .map(|bytes| Ok(ParkedThen::decode(bytes.value())?))
            .transpose()
    }
}
