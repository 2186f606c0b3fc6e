//! Deleting a resource whose file is gone, at once instead of after its ten minutes.

use tokio::sync::oneshot;
use triggers::ResourceKey;

use crate::engine::{Ended, Engine};
use crate::log::Stopped;
use crate::records::FORWARD;
use crate::registry::Undeletable;
use crate::router::ToRouter;

/// Deleted, or what would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// Deliveries that were owed and are cancelled.
    pub cancelled: u64,
    /// Dead letters that were owed to its sink and aren't any more; they stay kept.
    pub forwards_cancelled: u64,
}

/// Why nothing was deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// There is none, or it may not be.
    #[error(transparent)]
    Undeletable(#[from] Undeletable),
    /// The log stopped, or the engine has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl From<Stopped> for DeleteError {
    fn from(stopped: Stopped) -> Self {
        Self::Ended(stopped.into())
    }
}

impl Engine {
    /// Deletes a resource whose file is gone. What a trigger is owed ends as
    /// `cancelled{deleted}`; its dead letters stay. With `count_only` nothing changes.
    ///
    /// # Errors
    ///
    /// [`DeleteError`]; nothing has changed.
    pub async fn delete(
        &self,
        key: &ResourceKey,
        count_only: bool,
    ) -> Result<Deleted, DeleteError> {
        let number = self.registrar.deletable(key)?;
        let (to, report) = oneshot::channel();
        let asked = self.router.send(ToRouter::Report(to)).await;
        asked.map_err(|_| Ended)?;
        let books = report.await.map_err(|_| Ended)?.books;
        let deleted = Deleted {
            cancelled: books.of(number).owed,
            forwards_cancelled: books.of(number | FORWARD).owed,
        };
        if !count_only {
            self.registrar.delete(key).await??;
        }
        Ok(deleted)
    }
}
