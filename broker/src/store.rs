//! Reading what was stored, wherever it lies by now: in the log, or in kept once its segment was
//! reclaimed. A record keeps its offset for ever.

use std::sync::Arc;

use journal::{Journal, Offset, ReadError, Reader, Stored};

use crate::kept::records;
use crate::view::{View, ViewError, What};

/// The log and what was kept of it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    log: Journal,
    kept: Journal,
    view: Arc<View>,
}

/// Why a record couldn't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    /// A journal's disk failed.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// It couldn't be looked up.
    #[error(transparent)]
    View(#[from] ViewError),
    /// What lies in kept isn't a record of the log.
    #[error(transparent)]
    Malformed(#[from] crate::records::Malformed),
}

impl Store {
    pub(crate) fn new(log: Journal, kept: Journal, view: Arc<View>) -> Self {
        Self { log, kept, view }
    }

    /// The view.
    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The journal of what is kept.
    pub(crate) fn kept(&self) -> &Journal {
        &self.kept
    }

    /// A reader for one thread, with caches of its own.
    pub(crate) fn reader(&self) -> StoreReader {
        StoreReader {
            log: self.log.reader(),
            kept: self.kept.reader(),
            store: self.clone(),
        }
    }
}

/// Reads single records. Owned by one thread.
pub(crate) struct StoreReader {
    store: Store,
    log: Reader,
    kept: Reader,
}

impl StoreReader {
    /// The record that was stored at `offset`; none if there is none, if nobody needed it any
    /// more when its segment was reclaimed, or if it is damaged.
    pub(crate) fn get(&mut self, offset: Offset) -> Result<Option<Stored>, GetError> {
        if offset >= self.store.log.start() {
            match self.log.get(offset) {
                // Reclaimed since: by then it lay in kept.
                Err(ReadError::Gone { .. }) => {}
                got => return Ok(got?),
            }
        }
        self.get_kept(offset)
    }

    fn get_kept(&mut self, offset: Offset) -> Result<Option<Stored>, GetError> {
        // Twice: between the look and the read it may have been copied on within kept.
        for _ in 0..2 {
            let Some(at) = self.store.view.kept_at(What::Copy, offset)? else {
                return Ok(None);
            };
            match self.kept.get(at.offset) {
                Ok(Some(stored)) => return Ok(Some(records::read_copy(&stored)?)),
                Ok(None) => return Ok(None),
                Err(ReadError::Gone { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}
