//! Remembering again after a restart: the events of the last window before routing goes on are
//! read from the log and judged as they were.

use journal::{Journal, Offset, WallTime};

use super::Dedup;
use crate::fold::OpenError;
use crate::records::{EVENT, envelope};

/// Bytes read at a time.
const READ_BYTES: usize = 4 << 20;

/// An event is stamped before it is stored, so it may stand in a segment that was opened a little
/// later than it came.
const STAMPED_BEFORE: std::time::Duration = std::time::Duration::from_secs(60);

impl Dedup {
    /// Judges the events from `from` up to `to` again, where routing goes on. The brokers must ask
    /// already, as of `to`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the log can't be read.
    pub(crate) fn recall(
        &mut self,
        journal: &Journal,
        from: Offset,
        to: Offset,
    ) -> Result<(), OpenError> {
        if !self.is_on() {
            return Ok(());
        }
        let mut next = from.max(journal.start());
        while next < to {
            let reading = journal.read(next, READ_BYTES)?;
            for stored in reading.records.iter().filter(|stored| stored.offset < to) {
                if stored.kind != EVENT {
                    continue;
                }
                let bytes = envelope::stored_event(stored)?;
                // One that doesn't read is owed to nobody, and said by the router.
                if let Ok(event) = event::EventRef::from_stored(bytes) {
                    self.judge(stored.tag, &event, envelope::arrival(stored)?);
                }
            }
            next = reading.next;
        }
        Ok(())
    }

    /// Where the longest window before `to` begins: at the last segment that was opened before it.
    /// A log's segments are all there is to go by, so it may begin a segment early.
    pub(crate) fn window_start(&self, journal: &Journal, to: Offset, now: WallTime) -> Offset {
        let window = self.brokers.values().map(|of| of.terms.window).max();
        let window = window.unwrap_or_default() + STAMPED_BEFORE;
        // What is routed next may have come long before the process ended.
        let arrival = next_arrival(journal, to);
        let until = arrival.unwrap_or(now);
        let opened_before = |created: WallTime| until.since(created) >= window;
        let segments = journal.segments();
        let first = segments
            .iter()
            .rev()
            .find(|segment| opened_before(segment.created));
        first.map_or(journal.start(), |segment| segment.first)
    }
}

/// When the first event from `from` on came, if there is one that can be read.
fn next_arrival(journal: &Journal, from: Offset) -> Option<WallTime> {
    let end = *journal.durable().borrow();
    let mut next = from;
    while next < end {
        let reading = journal.read(next, READ_BYTES).ok()?;
        let event = reading.records.iter().find(|stored| stored.kind == EVENT);
        if let Some(event) = event {
            return envelope::arrival(event).ok();
        }
        next = reading.next;
    }
    None
}
