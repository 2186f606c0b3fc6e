//! The view: what is looked up by key, as of a position in the log and one in kept.
//!
//! It is a cache on disk of what the [fold](crate::fold) makes of the records: it lets a start
//! take in only what came behind its last commit, and it is where dead letters and the places of
//! kept records are looked up, so that neither costs memory. A view that is missing, damaged, of
//! another log or another format, or that knows more than the log (which lost its end, or was
//! restored), is thrown away and folded anew from kept and the log; what it knew more is said.
//!
//! One thread writes: the keeper, which commits every [`crate::keeper::COMMIT_BYTES`] of log or
//! [`crate::keeper::COMMIT_EVERY`], and before anything is reclaimed. What it changed since lies in
//! `Changes`; readers look there first, then in the file as of the last commit.
//!
//! # How a new piece of state gets into the view
//!
//! What a start needs and what the fold holds must be here too, or a start from the view would not
//! equal one from the log. The scenarios open each world both ways and compare.
//!
//! 1. It is a field of `Fold`, changed only by `Fold::take`.
//! 2. If it is small (below some 100 KB), say it as records in `Fold::standing`: taken in by an
//!    empty fold, they give it back. That is all: it is then in the view and in kept.
//! 3. Otherwise give it a table in `tables`, keep what changed since the last commit in the fold,
//!    write that in `commit`, read all of it in `load` (both by way of `checked`), count
//!    `FORMAT` in `state` up, and think of how kept says it once its records' segments have gone.
//! 4. Whatever begins or ends a delivery goes through `Fold::owe` and `Fold::end`, and whatever
//!    changes a letter through `Fold::set_letter`: kept is told of it by those.

mod ahead;
mod changes;
mod checked;
mod commit;
#[cfg(test)]
mod damage;
mod letters;
mod load;
mod place;
mod state;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::Offset;
use redb::{Builder, Database, Key, ReadTransaction, ReadableDatabase};

use self::ahead::Ahead;
pub use self::ahead::{AHEAD_BYTES, COMMIT_ROOM_BYTES};
pub(crate) use self::changes::{Changes, KeptAt, What};
pub use self::letters::Counts;
pub(crate) use self::load::{AsOf, Loaded};
pub use self::place::{Place, VIEW_FILE};
pub(crate) use self::state::State;

/// Memory for the view's pages. What is read or written beyond is read from disk again.
const CACHE_BYTES: usize = 8 << 20;

/// The view can't be read or written. A start without it is slower, and loses nothing.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The database said so.
    #[error("the view can't be used: {0}")]
    Database(#[from] Box<redb::Error>),
    /// Its file can't be opened or removed.
    #[error("the view's file can't be used: {0}")]
    File(#[from] std::io::Error),
    /// What is in it doesn't read.
    #[error("the view is damaged: {0}")]
    Damaged(&'static str),
    /// A value of this table isn't what was written.
    #[error("the view is damaged: a value of {0} fails its checksum")]
    Checksum(String),
}

macro_rules! from_database {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for ViewError {
            fn from(error: redb::$error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}

from_database!(
    CommitError,
    DatabaseError,
    StorageError,
    TableError,
    TransactionError
);

impl From<crate::records::wire::Short> for ViewError {
    fn from(short: crate::records::wire::Short) -> Self {
        Self::Damaged(short.0)
    }
}

/// The view, open. Shared by the keeper, who alone changes it, and by all who read.
pub(crate) struct View {
    database: Database,
    place: Place,
    ahead: Option<Arc<Ahead>>,
    changes: Mutex<Arc<Changes>>,
    counts: Mutex<Counts>,
    bytes: AtomicU64,
    /// No letter before this one waits for anybody.
    none_kept_before: AtomicU64,
    /// A value that was read failed its checksum.
    damaged: AtomicBool,
}

impl View {
    /// Opens what is there, or makes an empty one. Its pages aren't compared with their checksums yet:
    /// until [`Self::check`] has, only [`Self::as_of`] may be asked for, whose checksum is its own.
    pub(crate) fn open(place: &Place) -> Result<Self, ViewError> {
        let (backend, ahead) = place.open()?;
        let database = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)?;
        Ok(Self {
            database,
            place: place.clone(),
            ahead,
            changes: Mutex::default(),
            counts: Mutex::default(),
            bytes: AtomicU64::new(0),
            none_kept_before: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
        })
    }

    /// Reads all of it through, however large it is, and makes the tables that are missing. Values have
    /// checksums of their own, but one that is missing has none: what a damaged page no longer leads to
    /// is found here only, since whoever points to a page knows its checksum.
    pub(crate) fn check(&mut self) -> Result<(), ViewError> {
        match self.database.check_integrity()? {
            true => self.make_tables(),
            false => Err(ViewError::Damaged("a page fails its checksum")),
        }
    }

    /// Throws away what is there, and makes an empty one.
    pub(crate) fn anew(place: &Place) -> Result<Self, ViewError> {
        place.clear()?;
        let view = Self::open(place)?;
        view.make_tables()?;
        Ok(view)
    }

    /// Throws its file away, for the next start to make it anew: what was read of it isn't right.
    pub(crate) fn give_up(&self) {
        if let Err(error) = self.place.clear() {
            tracing::error!(%error, "the view's file can't be removed; remove it by hand");
        }
    }

    /// Whether a value that was read wasn't the one written. What else it says isn't to be relied on,
    /// so it is to be given up and made anew.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// What was written under `key`, if `sealed` still is that.
    fn value<'v, K: Key>(
        &self,
        table: checked::Table<K>,
        key: &K::SelfType<'_>,
        sealed: &'v [u8],
    ) -> Result<&'v [u8], ViewError> {
        let value = checked::value(table, key, sealed);
        if value.is_err() {
            self.damaged.store(true, Ordering::Relaxed);
        }
        value
    }

    /// How many bytes it took when it was last written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn make_tables(&self) -> Result<(), ViewError> {
        let mut writing = self.database.begin_write()?;
        writing.set_quick_repair(true);
        writing.open_table(tables::STATE)?;
        writing.open_table(tables::OWED)?;
        writing.open_table(tables::PARKED)?;
        writing.open_table(tables::LETTERS)?;
        writing.open_table(tables::LETTERS_OF)?;
        writing.open_table(tables::LETTERS_ON)?;
        writing.open_table(tables::KEPT)?;
        writing.open_table(tables::RESOURCES)?;
        writing.commit()?;
        self.look_at_size();
        Ok(())
    }

    /// Whether a commit finds room even if others have filled the file system. Always where it doesn't
    /// lie in one.
    pub(crate) fn has_room(&self) -> bool {
        let Some(ahead) = &self.ahead else {
            return true;
        };
        ahead.allocate();
        ahead.has_room()
    }

    fn look_at_size(&self) {
        if let Some(ahead) = &self.ahead {
            ahead.allocate();
        }
        self.bytes.store(self.place.bytes(), Ordering::Relaxed);
    }

    /// What changed since the last commit, to be changed further.
    fn changing(&self) -> MutexGuard<'_, Arc<Changes>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counting(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What changed since the last commit, with the file as of that commit: together they are
    /// all there is.
    fn reading(&self) -> Result<(Arc<Changes>, ReadTransaction), ViewError> {
        let changes = self.changing();
        let reading = self.database.begin_read()?;
        Ok((Arc::clone(&changes), reading))
    }

    /// How many letters' rows and kept places are not committed yet.
    pub(crate) fn uncommitted(&self) -> usize {
        self.changing().len()
    }

    /// Where in kept this lies, if it was copied there.
    pub(crate) fn kept_at(&self, what: What, offset: Offset) -> Result<Option<KeptAt>, ViewError> {
        let changes = self.changing();
        if let Some(changed) = changes.kept.get(&(what, offset)) {
            return Ok(*changed);
        }
        let reading = self.database.begin_read()?;
        drop(changes);
        let table = reading.open_table(tables::KEPT)?;
        let key = (what as u8, offset.0);
        let Some(found) = table.get(key)? else {
            return Ok(None);
        };
        let bytes = self.value(tables::KEPT, &key, found.value())?;
        Ok(Some(KeptAt::decode(bytes)?))
    }

    /// What of the log's `range` lies in kept, as of the last commit.
    pub(crate) fn kept_in(
        &self,
        what: What,
        range: std::ops::Range<Offset>,
    ) -> Result<Vec<Offset>, ViewError> {
        let reading = self.database.begin_read()?;
        let table = reading.open_table(tables::KEPT)?;
        let mut found = Vec::new();
        for entry in table.range((what as u8, range.start.0)..(what as u8, range.end.0))? {
            let (key, at) = entry?;
            self.value(tables::KEPT, &key.value(), at.value())?;
            found.push(Offset(key.value().1));
        }
        Ok(found)
    }

    /// This lies in kept from now on, or nowhere any more. Returns where it lay.
    pub(crate) fn set_kept_at(
        &self,
        what: What,
        offset: Offset,
        at: Option<KeptAt>,
    ) -> Result<Option<KeptAt>, ViewError> {
        let before = self.kept_at(what, offset)?;
        if before != at {
            Arc::make_mut(&mut self.changing())
                .kept
                .insert((what, offset), at);
        }
        Ok(before)
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("View").field(&self.place).finish()
    }
}
