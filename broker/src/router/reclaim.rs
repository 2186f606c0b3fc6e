//! What the router looks after beside routing: the end of detached triggers, and the log's
//! space.
//!
//! A segment may go when nothing in it is owed or kept as a dead letter and all of it has been
//! routed. It does go when it is older than the retention of history, or when its room is
//! needed. Segments go oldest first and never out of order, so that what a later record says of
//! an earlier event is kept as long as the event.

use journal::{Offset, SegmentFacts};

use super::Router;
use crate::Fault;

/// Segments' worth of room that is kept free ahead of publishers, so that making room never has
/// to be waited for while there is history to give up.
const SEGMENTS_AHEAD: u64 = 4;

impl Router {
    pub(super) async fn look_after(&mut self) -> Result<(), Fault> {
        self.registrar
            .expire()
            .await
            .map_err(|_| Fault::LogStopped)?;
        self.end_ad_hoc().await?;
        self.reclaim();
        Ok(())
    }

    /// Ends ad hoc lanes that nothing is owed to; the registrar keeps those that a job uses.
    async fn end_ad_hoc(&self) -> Result<(), Fault> {
        let ad_hoc = self.registry.ad_hoc_numbers();
        let idle = ad_hoc.filter(|number| self.books.of(*number).owed == 0);
        self.registrar
            .end_ad_hoc(idle.collect())
            .await
            .map_err(|_| Fault::LogStopped)
    }

    fn reclaim(&self) {
        let held_from = self.holds.lowest().unwrap_or(self.next).min(self.next);
        let now = self.log.clock().wall();
        let sure = self.log.may_delete();
        let usage = self.log.journal().usage();
        let segment_bytes = self.log.journal().facts().segment_bytes;
        // The last segment is kept for what ends deliveries, or nothing could be reclaimed again.
        let last = usage.bytes_used + segment_bytes > usage.bytes_max;
        let disk_full = usage.disk_free.is_some_and(|free| free < segment_bytes);
        self.log.set_short(last || disk_full);
        let segments = self.log.journal().segments();
        let room_wanted = segment_bytes * SEGMENTS_AHEAD;
        let mut used = usage.bytes_used;
        let mut before = None;
        for segment in segments.iter().filter(|segment| segment.sealed) {
            let old = sure && now.since(segment.created) >= self.retention;
            let needed = used + room_wanted > usage.bytes_max;
            if !may_go(segment, held_from) || !(old || needed) {
                break;
            }
            used = used.saturating_sub(segment.bytes);
            before = Some(segment.end);
        }
        if let Some(before) = before {
            self.log.journal().reclaim(before);
        }
    }
}

fn may_go(segment: &SegmentFacts, held_from: Offset) -> bool {
    segment.end <= held_from
}
