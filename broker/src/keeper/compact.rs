//! Reclaiming kept: what is still needed of its oldest segment is copied to its end, then it goes.

use journal::{Offset, Record, SegmentFacts};
use roaring::RoaringTreemap;

use super::Keeper;
use crate::Fault;
use crate::kept::records;
use crate::kept::{KeepError, ToKeep};
use crate::view::What;

/// Kept is compacted once more than this share of its sealed segments is needed by nobody.
const DEAD_SHARE_MAX: f64 = 0.5;

/// Where room is short, this share is enough.
const DEAD_SHARE_SHORT: f64 = 0.25;

impl Keeper {
    /// Reclaims kept's oldest segment where enough of kept is dead.
    pub(super) async fn compact(&mut self) -> Result<(), Fault> {
        if !self.kept.has_sealed() {
            return Ok(());
        }
        let segments = self.kept.journal().segments();
        let sealed: Vec<&SegmentFacts> = segments.iter().filter(|s| s.sealed).collect();
        let Some(oldest) = sealed.first() else {
            return Ok(());
        };
        let live_of = |segment: &SegmentFacts| {
            let live = self.kept.live.get(&segment.first);
            live.copied().unwrap_or(0)
        };
        let dead_share = |live: u64, all: u64| 1.0 - live as f64 / all.max(1) as f64;
        let live: u64 = sealed.iter().map(|segment| live_of(segment)).sum();
        let all: u64 = sealed.iter().map(|segment| segment.bytes).sum();
        let of_all = dead_share(live, all);
        let of_oldest = dead_share(live_of(oldest), oldest.bytes);
        let is_short = self.parts.log.is_short() || self.leaves_little();
        let is_short = is_short && of_all > DEAD_SHARE_SHORT;
        if of_all <= DEAD_SHARE_MAX && of_oldest <= DEAD_SHARE_MAX && !is_short {
            return Ok(());
        }
        let oldest = **oldest;
        match self.compact_segment(&oldest).await {
            Ok(()) => Ok(()),
            Err(KeepError::NoSpace) => {
                tracing::warn!("there is no room to compact what is kept");
                Ok(())
            }
            Err(error @ KeepError::TooLarge { .. }) => {
                tracing::error!(%error, "what is kept can't be compacted");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "what is kept can't be compacted");
                Err(Fault::NotKept(error.to_string()))
            }
        }
    }

    async fn compact_segment(&mut self, segment: &SegmentFacts) -> Result<(), KeepError> {
        self.commit_to_keep()?;
        self.keep_rows_without_records().await?;
        let mut next = segment.first;
        while next < segment.end
            && let Some(needed) = self.kept.needed_from(next).map_err(unreadable)?
        {
            let damaged = needed.damaged.iter();
            for damage in damaged.filter(|damage| damage.offsets.start < segment.end) {
                tracing::warn!(%damage, "goes with its segment of kept, whose file is used again");
            }
            let mut copies = Vec::new();
            let mut owed = RoaringTreemap::new();
            for (what, offset, stored) in needed.records {
                if stored.offset >= segment.end {
                    break;
                }
                match what {
                    What::Copy | What::Standing => copies.push(ToKeep {
                        what,
                        offset,
                        is_there: true,
                        record: Record {
                            kind: stored.kind,
                            version: stored.version,
                            tag: stored.tag,
                            body: stored.body,
                        },
                    }),
                    What::Owed => {
                        owed.insert(offset.0);
                    }
                    What::Letter => match self.view.letter(offset)? {
                        None => self.kept.forget(What::Letter, offset)?,
                        Some(row) => copies.push(ToKeep {
                            what,
                            offset,
                            is_there: true,
                            record: records::letter(offset, Some(&row)),
                        }),
                    },
                }
            }
            for state in self.owed_states(&owed)? {
                // All that kept said before of one that is owed to nobody goes with this segment.
                if state.is_there {
                    copies.push(state);
                } else {
                    self.kept.forget(What::Owed, state.offset)?;
                }
            }
            self.kept.put(copies).await?;
            next = needed.next;
        }
        self.commit_to_keep()?;
        self.kept.journal().reclaim(Offset(segment.end.0));
        self.kept.look_at_segments();
        Ok(())
    }
}

impl Keeper {
    /// A letter whose own record nobody needs any more is found by a view that is made anew only where
    /// kept says that it is there: before the record goes with its segment.
    async fn keep_rows_without_records(&mut self) -> Result<(), KeepError> {
        let mut rows = Vec::new();
        for id in &self.fold.touched_letters {
            if let Some(row) = self.view.letter(Offset(id))?
                && !row.needs_record()
            {
                rows.push(ToKeep {
                    what: What::Letter,
                    offset: row.id,
                    is_there: true,
                    record: records::letter(row.id, Some(&row)),
                });
            }
        }
        let written: Vec<u64> = rows.iter().map(|row| row.offset.0).collect();
        self.kept.put(rows).await?;
        for id in written {
            self.fold.touched_letters.remove(id);
        }
        Ok(())
    }
}

fn unreadable(error: crate::fold::OpenError) -> KeepError {
    tracing::error!(%error, "what is kept can't be read");
    KeepError::NoSpace
}
