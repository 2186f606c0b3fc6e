//! From a time to a place in the log.
//!
//! Segments know when they were begun, so that only one of them is read. A wall clock that was
//! stepped can have events out of order; the first one that is late enough counts.

use journal::{Offset, ReadError, WallTime};

use crate::engine::{Ended, Engine};
use crate::log::Log;
use crate::records::{EVENT, envelope};
use crate::router::ToRouter;

/// Bytes read at a time; then others of the thread get their turn.
const READ_BYTES: usize = 1 << 20;

/// The first offset whose event arrived at `time` or later; the log's end when there is none.
///
/// # Errors
///
/// When the disk fails.
pub(crate) async fn offset_at(log: &Log, time: WallTime) -> Result<Offset, ReadError> {
    let journal = log.journal();
    let end = log.end();
    let begun = journal.segments();
    let begun = begun.iter().rev().find(|segment| segment.created <= time);
    let mut next = begun.map_or(journal.start(), |segment| segment.first);
    next = next.max(journal.start());
    while next < end {
        let reading = match journal.read(next, READ_BYTES) {
            Ok(reading) => reading,
            // Since its beginning was looked at.
            Err(ReadError::Gone { first, .. }) => {
                next = first;
                continue;
            }
            Err(error) => return Err(error),
        };
        for stored in reading.records.iter().filter(|stored| stored.kind == EVENT) {
            if envelope::arrival(stored).is_ok_and(|arrival| arrival >= time) {
                return Ok(stored.offset);
            }
        }
        next = reading.next;
        tokio::task::yield_now().await;
    }
    Ok(end)
}

impl Engine {
    /// The first offset whose event arrived at `time` or later; the log's end when there is none.
    ///
    /// # Errors
    ///
    /// [`Ended`] when the log can't be read.
    pub async fn offset_at(&self, time: WallTime) -> Result<Offset, Ended> {
        offset_at(&self.log, time).await.map_err(|_| Ended)
    }

    /// Returns when all before `offset` is matched and handed to the lanes.
    pub(crate) async fn routed_to(&self, offset: Offset) -> Result<(), Ended> {
        let (done, reached) = tokio::sync::oneshot::channel();
        let asked = self.router.send(ToRouter::Reached(offset, done)).await;
        asked.map_err(|_| Ended)?;
        reached.await.map_err(|_| Ended)
    }
}
