//! How much room there is, and whether it is short.

use std::collections::BTreeMap;

use journal::{Offset, WallTime};
use triggers::{BrokerName, TriggerName};

use super::Keeper;
use super::quota::holders;
use crate::dead_letters::Row;
use crate::records::Number;
use crate::view;

/// What was done since the process started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) segments_reclaimed: u64,
    pub(crate) records_kept: u64,
    pub(crate) bytes_kept: u64,
    pub(crate) letters_expired: u64,
    pub(crate) quota_payloads: u64,
    pub(crate) quota_deliveries: u64,
    pub(crate) quota_letters: u64,
}

/// What storage holds, and for how long.
#[derive(Debug, Clone, Default)]
pub struct SpaceReport {
    /// Bytes that log, kept and view may take together.
    pub bytes_max: u64,
    /// Bytes of the log's segments.
    pub log_bytes: u64,
    /// Bytes of what is kept of reclaimed segments.
    pub kept_bytes: u64,
    /// Of those, bytes that are still needed.
    pub kept_live_bytes: u64,
    /// Bytes of the view.
    pub view_bytes: u64,
    /// The first offset that a replay can reach.
    pub replay_from: Offset,
    /// Since when a replay can reach everything; none of an empty log.
    pub replay_since: Option<WallTime>,
    /// Records before this are folded.
    pub folded_to: Offset,
    /// The oldest record in the log that anybody is owed or that a letter needs, as of the last
    /// time the view was written.
    pub held_from: Option<Offset>,
    /// How many dead letters there are.
    pub letters: view::Counts,
    /// When the oldest of them came.
    pub letters_oldest: Option<WallTime>,
    /// Segments of the log that were reclaimed since start.
    pub segments_reclaimed: u64,
    /// Records that were copied to kept since start.
    pub records_kept: u64,
    /// Their bytes.
    pub bytes_kept: u64,
    /// Dead letters that expired since start.
    pub letters_expired: u64,
    /// About how many bytes each trigger holds, by number.
    pub held: BTreeMap<Number, u64>,
    /// What each may hold before its `onQuota` may be applied.
    pub share: u64,
    /// The share of the bytes that what is owed or dead takes, 0 to 1.
    pub held_ratio: f64,
    /// Brokers that refuse events, each for a trigger that is over its share.
    pub refused: BTreeMap<BrokerName, TriggerName>,
    /// Dead letters whose payload gave way since start.
    pub quota_payloads: u64,
    /// Deliveries that gave way since start: those that ended as `dead{quota}`.
    pub quota_deliveries: u64,
    /// Dead letters that gave way as a whole since start.
    pub quota_letters: u64,
}

impl SpaceReport {
    /// The share of the bytes that are used, 0 to 1 and a little over.
    pub fn used_ratio(&self) -> f64 {
        let used = self.log_bytes + self.kept_bytes + self.view_bytes;
        used as f64 / self.bytes_max.max(1) as f64
    }
}

impl Keeper {
    /// What the log may take follows what kept and the view take.
    pub(super) fn look_at_space(&mut self) {
        let journal = self.parts.log.journal();
        let allowed = self.log_bytes_allowed();
        let mut usage = journal.usage();
        if usage.bytes_max != allowed {
            usage.bytes_max = journal.set_bytes_max(allowed);
        }
        let segment_bytes = journal.facts().segment_bytes;
        // The last segment is kept for what ends deliveries, or nothing could be reclaimed again.
        let last = usage.bytes_used + segment_bytes > usage.bytes_max;
        let disk_full = usage.disk_free.is_some_and(|free| free < segment_bytes);
        self.parts.log.set_short(last || disk_full);
    }

    /// What is left of the storage's bytes for the log: room to copy one segment's worth to kept
    /// stays free, so that reclaiming never waits for itself.
    pub(super) fn log_bytes_allowed(&self) -> u64 {
        let kept = self.kept.journal();
        let usage = kept.usage();
        let copies = kept.facts().segment_bytes;
        let others = usage.bytes_used + usage.bytes_spare + self.view.bytes() + copies;
        let left = self.parts.bytes_max.saturating_sub(others);
        left.min(self.log_bytes_max)
    }

    /// Bytes of log, kept and view.
    pub(super) fn used_bytes(&self) -> u64 {
        let usages = [
            self.parts.log.journal().usage(),
            self.kept.journal().usage(),
        ];
        let journals = usages
            .iter()
            .map(|usage| usage.bytes_used + usage.bytes_spare);
        journals.sum::<u64>() + self.view.bytes()
    }

    pub(super) fn report(&self) -> SpaceReport {
        let (log, kept) = (self.parts.log.journal(), self.kept.journal());
        let (log_usage, kept_usage) = (log.usage(), kept.usage());
        let oldest = self.view.oldest_letter().unwrap_or_else(|error| {
            tracing::error!(%error, "the oldest dead letter can't be looked up");
            None
        });
        let (segments, held) = (log.segments(), self.held());
        SpaceReport {
            bytes_max: self.parts.bytes_max,
            log_bytes: log_usage.bytes_used + log_usage.bytes_spare,
            kept_bytes: kept_usage.bytes_used + kept_usage.bytes_spare,
            kept_live_bytes: self.kept.live.values().sum(),
            view_bytes: self.view.bytes(),
            replay_from: log.start(),
            replay_since: segments.first().map(|segment| segment.created),
            folded_to: self.fold.end,
            held_from: self.held_from(),
            letters: self.view.letter_counts(),
            letters_oldest: oldest.map(|row: Row| row.at),
            segments_reclaimed: self.counts.segments_reclaimed,
            records_kept: self.counts.records_kept,
            bytes_kept: self.counts.bytes_kept,
            letters_expired: self.counts.letters_expired,
            share: self.share(holders(held.keys().copied())),
            held,
            held_ratio: self.held_ratio(),
            refused: self.quotas.refused.clone(),
            quota_payloads: self.counts.quota_payloads,
            quota_deliveries: self.counts.quota_deliveries,
            quota_letters: self.counts.quota_letters,
        }
    }

    /// The oldest offset in the log that anybody is owed or that a letter needs.
    pub(super) fn held_from(&self) -> Option<Offset> {
        let start = self.fold.base;
        let owed = self.fold.owed.iter().filter_map(|(_, offsets)| {
            let mut offsets = offsets.iter();
            offsets.advance_to(start.0);
            offsets.next().map(Offset)
        });
        let lettered = self.view.first_lettered_event_from(start).unwrap_or(None);
        owed.chain(lettered).min()
    }
}
