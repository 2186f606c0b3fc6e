//! Kept: what is still owed or dead when its segment of the log is reclaimed moves here.
//!
//! A journal of its own, beside the log. A record keeps the offset it had in the log; the view says
//! where in kept it lies. Kept is reclaimed as the log is, oldest first: what is still needed of a
//! segment is copied to the end before.

pub mod records;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use journal::{
    AppendError, Damage, Group, Journal, Offset, RECORD_HEADER_BYTES, Record, Stored, mutant,
};

use self::records::{COPY, LETTER, OWED, OwedThen, STANDING};
use crate::fold::{OpenError, READ_BYTES};
use crate::records::{MARK, VERSION};
use crate::view::{KeptAt, View, ViewError, What};

/// Bytes of records that are written as one group, so that a large copy is few syncs.
const GROUP_BYTES_TARGET: usize = 256 * 1024;

/// What a copy takes more than the record it is of, at the most.
const COPY_BYTES_MORE: usize = 4096;

/// Of a log's segment, a segment of kept takes this part, unless the largest record asks for more.
const SEGMENT_PART: u64 = 4;

/// The options of a kept journal beside a log with these. It has no reserve, and may use what the
/// log must leave free: what is written to it lets more go.
pub fn options(log: &journal::Options) -> journal::Options {
    let group_bytes_max = log.group_bytes_max + COPY_BYTES_MORE;
    let block = journal::BLOCK_BYTES;
    let least = 2 * (group_bytes_max + 2 * block).next_multiple_of(block);
    journal::Options {
        segment_bytes: (log.segment_bytes / SEGMENT_PART)
            .next_multiple_of(block as u64)
            .max(least as u64),
        reserve_bytes: 0,
        min_free: 0,
        group_bytes_max,
        queue_bytes_max: log.queue_bytes_max.max(2 * group_bytes_max),
        note_bytes_max: log.note_bytes_max.max(group_bytes_max),
        // Its latest records are no likelier to be read than others.
        tail_bytes: group_bytes_max,
        spare_segments_max: 1,
        ..log.clone()
    }
}

/// Something to be kept: under what it is looked up, and its record.
pub(crate) struct ToKeep {
    pub(crate) what: What,
    /// Its offset in the log.
    pub(crate) offset: Offset,
    /// Whether it is looked up from now on; else there is nothing any more.
    pub(crate) is_there: bool,
    pub(crate) record: Record,
}

/// Records of kept that are looked up: what each is about, and the offset in the log.
pub(crate) struct Needed {
    pub(crate) records: Vec<(What, Offset, Stored)>,
    /// What can't be read between them.
    pub(crate) damaged: Vec<Damage>,
    /// Where to read on.
    pub(crate) next: Offset,
}

/// Why something couldn't be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// There is no room now.
    #[error("there is no room to keep what is still needed")]
    NoSpace,
    /// What is to be kept can't be read.
    #[error("what is still needed can't be read")]
    Unreadable,
    /// It is larger than any record may be.
    #[error("what is still needed is too large to be kept: {bytes} bytes about offset {offset}")]
    TooLarge {
        /// The record's size.
        bytes: usize,
        /// What it is about.
        offset: u64,
    },
    /// The journal has stopped.
    #[error("what is kept can't be written: {0}")]
    Append(AppendError),
    /// Where it lies can't be written down.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// The journal of what is kept, and what in it is still needed.
pub(crate) struct Kept {
    journal: Journal,
    view: Arc<View>,
    /// Records before this are in the view, or in its changes.
    pub(crate) to: Offset,
    /// Bytes of each segment, by its first offset, that are still needed.
    pub(crate) live: BTreeMap<Offset, u64>,
    /// The first offsets of the segments.
    firsts: Vec<Offset>,
    /// Ranges of its own offsets that were lost to damage, of those that were read since the start.
    pub(crate) lost: Vec<Range<Offset>>,
}

impl Kept {
    pub(crate) fn new(
        journal: Journal,
        view: Arc<View>,
        to: Offset,
        live: BTreeMap<Offset, u64>,
    ) -> Self {
        let mut kept = Self {
            journal,
            view,
            to,
            live,
            firsts: Vec::new(),
            lost: Vec::new(),
        };
        kept.look_at_segments();
        kept
    }

    /// Looks which segments there are: whenever some came or went.
    pub(crate) fn look_at_segments(&mut self) {
        let segments = self.journal.segments();
        self.firsts = segments.iter().map(|segment| segment.first).collect();
        let start = self.firsts.first().copied().unwrap_or_default();
        self.live.retain(|first, _| *first >= start);
    }

    /// Whether there is more than the segment that is being written.
    pub(crate) fn has_sealed(&self) -> bool {
        self.firsts.len() > 1
    }

    /// The journal.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Learns where things lie from the records behind [`Kept::to`]. `after` is called now and
    /// then, to commit.
    pub(crate) fn catch_up(
        &mut self,
        mut after: impl FnMut(&mut Self) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let end = *self.journal.durable().borrow();
        while self.to < end {
            let reading = self.journal.read(self.to, READ_BYTES)?;
            for stored in &reading.records {
                self.learn(stored)?;
            }
            let torn = journal::Cause::Torn;
            let damaged = reading.damaged.iter();
            for damage in damaged.filter(|one| one.records() != 0 && one.cause != torn) {
                tracing::error!(%damage, "what was kept of reclaimed segments is damaged");
                self.lost.push(damage.offsets.clone());
            }
            self.to = reading.next;
            after(self)?;
        }
        Ok(())
    }

    /// Some records from `from` on, in order, with what they are about where that is still looked
    /// up there; and where to read on. None at the end.
    pub(crate) fn needed_from(&self, from: Offset) -> Result<Option<Needed>, OpenError> {
        if self.to <= from {
            return Ok(None);
        }
        let reading = self.journal.read(from, READ_BYTES)?;
        let mut records = Vec::new();
        for stored in reading.records {
            let Some((what, offset)) = about(&stored)? else {
                continue;
            };
            let at = self.view.kept_at(what, offset)?;
            if at.is_some_and(|at| at.offset == stored.offset) {
                records.push((what, offset, stored));
            }
        }
        Ok(Some(Needed {
            records,
            damaged: reading.damaged,
            next: reading.next,
        }))
    }

    fn learn(&mut self, stored: &Stored) -> Result<(), OpenError> {
        if stored.version != VERSION {
            return Err(OpenError::UnknownKind {
                offset: stored.offset.0,
                kind: stored.kind,
                version: stored.version,
            });
        }
        let Some((what, offset)) = about(stored)? else {
            return Ok(());
        };
        let is_there = match what {
            What::Copy => true,
            What::Standing => !records::read_standing(stored)?.is_empty(),
            What::Owed => !OwedThen::read(stored)?.to.is_empty(),
            What::Letter => records::read_letter(stored)?.1.is_some(),
        };
        if what == What::Letter && !is_there {
            // The letter is gone, and with it its record.
            self.forget(What::Copy, offset)?;
        }
        let bytes = (RECORD_HEADER_BYTES + stored.body.len()) as u32;
        let at = KeptAt {
            offset: stored.offset,
            bytes,
        };
        self.set(what, offset, is_there.then_some(at))?;
        Ok(())
    }

    /// The largest body that a record may have.
    pub(crate) fn record_bytes_max(&self) -> usize {
        self.journal.facts().group_bytes_max - RECORD_HEADER_BYTES
    }

    /// Writes all of it, and returns once it would survive a power cut and can be looked up.
    ///
    /// # Errors
    ///
    /// [`KeepError`]. One that is too large is found before anything is written.
    pub(crate) async fn put(&mut self, things: Vec<ToKeep>) -> Result<(), KeepError> {
        let bytes_max = self.record_bytes_max();
        for thing in &things {
            let (bytes, Offset(offset)) = (thing.record.body.len(), thing.offset);
            if bytes > bytes_max {
                return Err(KeepError::TooLarge { bytes, offset });
            }
        }
        let mut things = things.into_iter().peekable();
        let mut written = Vec::new();
        let group_max = GROUP_BYTES_TARGET.min(self.journal.facts().group_bytes_max / 2);
        while things.peek().is_some() {
            let (mut group, mut bytes) = (Vec::new(), 0);
            while bytes < group_max
                && let Some(thing) = things.next_if(|thing| {
                    let next = RECORD_HEADER_BYTES + thing.record.body.len();
                    bytes == 0 || bytes + next <= group_max
                })
            {
                bytes += RECORD_HEADER_BYTES + thing.record.body.len();
                group.push(thing);
            }
            let records = group.iter().map(|thing| thing.record.clone());
            let appended = self.journal.append(Group::new(records.collect()));
            written.push((group, appended));
        }
        for (group, appended) in written {
            let offsets = match mutant::is("advance-view-before-durable") {
                true => self.to..Offset(self.to.0 + group.len() as u64),
                false => appended.await.map_err(|error| match error {
                    AppendError::NoSpace { .. } => KeepError::NoSpace,
                    error => KeepError::Append(error),
                })?,
            };
            self.look_at_segments();
            for (thing, at) in group.into_iter().zip(offsets.start.0..) {
                let bytes = (RECORD_HEADER_BYTES + thing.record.body.len()) as u32;
                let at = KeptAt {
                    offset: Offset(at),
                    bytes,
                };
                self.set(thing.what, thing.offset, thing.is_there.then_some(at))?;
                self.to = Offset(at.offset.0 + 1);
            }
        }
        Ok(())
    }

    /// Nobody needs this any more.
    pub(crate) fn forget(&mut self, what: What, offset: Offset) -> Result<(), ViewError> {
        self.set(what, offset, None)
    }

    fn set(&mut self, what: What, offset: Offset, at: Option<KeptAt>) -> Result<(), ViewError> {
        let before = self.view.set_kept_at(what, offset, at)?;
        if let Some(before) = before
            && let Some(first) = self.segment_of(before.offset)
            && let Some(live) = self.live.get_mut(&first)
        {
            *live = live.saturating_sub(u64::from(before.bytes));
        }
        if let Some(at) = at
            && let Some(first) = self.segment_of(at.offset)
        {
            *self.live.entry(first).or_default() += u64::from(at.bytes);
        }
        Ok(())
    }

    /// The first offset of the segment that holds this one.
    fn segment_of(&self, offset: Offset) -> Option<Offset> {
        let behind = self.firsts.partition_point(|first| *first <= offset);
        behind.checked_sub(1).map(|at| self.firsts[at])
    }

    /// Closes the journal in order.
    pub(crate) async fn close(&self, now: journal::WallTime) -> Result<(), AppendError> {
        let mark = Record {
            kind: MARK,
            version: VERSION,
            tag: 0,
            body: now.0.to_le_bytes().to_vec().into(),
        };
        let closed = self.journal.clone().close(Group::one(mark)).await;
        closed.map(drop)
    }
}

/// What a record of kept is about; none for a Mark.
fn about(stored: &Stored) -> Result<Option<(What, Offset)>, OpenError> {
    let what = match stored.kind {
        COPY => What::Copy,
        OWED => What::Owed,
        LETTER => What::Letter,
        STANDING => What::Standing,
        MARK => return Ok(None),
        kind => {
            return Err(OpenError::UnknownKind {
                offset: stored.offset.0,
                kind,
                version: stored.version,
            });
        }
    };
    let mut take = crate::records::wire::Take::new(&stored.body);
    let offset = take.varint("offset");
    let offset = offset.map_err(crate::records::Malformed::at(stored.offset, stored.kind))?;
    Ok(Some((what, Offset(offset))))
}
