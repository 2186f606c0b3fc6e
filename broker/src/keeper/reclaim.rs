//! Reclaiming the log: what is still needed of its oldest segment moves to kept, then it goes.
//!
//! Segments go oldest first and never out of order, so that what a later record says of an earlier
//! event stays as long as the event. One goes when it is older than the retention of history, or
//! when its room is needed. What is owed or dead in it is copied first: the events, the letters,
//! and what is owed of each; that is synced, then the view is written, then the segment goes. A
//! crash in between finds the segment, and copies again what has no copy.
//!
//! For a view that is made anew, kept must say all that the log no longer does: what was owed of
//! an offset in a segment that went is written again whenever it changed since, before the segment
//! with the records that changed it goes too.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use journal::{Offset, Record, SegmentFacts, Stored, mutant};
use roaring::RoaringTreemap;

use super::{Keeper, fault};
use crate::Fault;
use crate::dead_letters::Row;
use crate::fold::{OpenError, READ_BYTES};
use crate::kept::records::{self, OwedThen, OwedTo};
use crate::kept::{KeepError, ToKeep};
use crate::records::{DEAD, EVENT, Number, REJECTED};
use crate::router::ToRouter;
use crate::view::What;

/// Segments' worth of room that is kept free ahead of publishers, so that making room never has
/// to be waited for while there is history to give up.
pub(super) const SEGMENTS_AHEAD: u64 = 4;

/// Bytes of copies that are collected before they are written.
const COPIES_BYTES_TARGET: usize = 8 << 20;

/// Of segments that are needed to a larger share than this, copying gains too little.
const LIVE_SHARE_MAX: f64 = 0.75;

/// How many segments are looked at for whether copying the oldest gains room.
const LOOK_AHEAD_SEGMENTS: usize = 8;

/// Segments that are reclaimed in one look, at the most.
const RECLAIM_AT_ONCE_MAX: usize = 8;

impl Keeper {
    /// Reclaims what may go and should.
    pub(super) async fn reclaim(&mut self) -> Result<(), Fault> {
        for _ in 0..RECLAIM_AT_ONCE_MAX {
            let Some(segment) = self.next_to_go() else {
                // Room may have come back by itself.
                self.quotas.nowhere_to_keep = false;
                return Ok(());
            };
            if self.fold.routed_to < segment.end || self.fold.end < segment.end {
                // Nobody wanted its last events, so nothing was written about them yet. A router
                // that is too busy to listen writes soon anyway.
                drop(self.parts.router.try_send(ToRouter::NoteRouted));
                return Ok(());
            }
            let replayed = self.parts.fence.close(segment.end);
            // What replays owed until then has ended in records that are durable by now, or the
            // router wouldn't know: folded, they say what of it is a letter.
            self.follow_to_end()?;
            let reclaimed = self.reclaim_segment(&segment, &replayed).await;
            if reclaimed.is_err() {
                // It is still there, and may be replayed.
                self.parts.fence.reopen(segment.first);
            }
            match reclaimed {
                Ok(()) => self.quotas.nowhere_to_keep = false,
                Err(KeepError::NoSpace) => {
                    self.quotas.nowhere_to_keep = true;
                    tracing::warn!("there is no room to keep what is still needed of the log");
                    return Ok(());
                }
                // It is tried again; giving up what is owed or dead wouldn't help.
                Err(KeepError::Unreadable) => return Ok(()),
                Err(error @ KeepError::TooLarge { .. }) => {
                    // The segment stays until less is owed of it.
                    tracing::error!(%error, "a segment can't be reclaimed");
                    return Ok(());
                }
                Err(KeepError::Append(error)) => {
                    tracing::error!(%error, "what is kept can't be written");
                    return Err(Fault::LogStopped);
                }
                Err(KeepError::View(error)) => return Err(fault(OpenError::View(error))),
            }
        }
        Ok(())
    }

    /// The oldest segment, if it should go now.
    fn next_to_go(&self) -> Option<SegmentFacts> {
        let journal = self.parts.log.journal();
        let segments = journal.segments();
        let oldest = *segments.first().filter(|segment| segment.sealed)?;
        let log = &self.parts.log;
        let age = log.clock().wall().since(oldest.created);
        if age >= self.parts.retention && log.may_delete() {
            return Some(oldest);
        }
        let gains = self.wants_room() && !self.is_held() && self.gains_room(&segments);
        gains.then_some(oldest)
    }

    /// Whether a backup holds the files: what is given up meanwhile gives no room until it is done,
    /// so nothing is given up for room, and publishers may be refused.
    pub(super) fn is_held(&self) -> bool {
        let journals = [self.parts.log.journal(), self.kept.journal()];
        journals.iter().any(|journal| journal.usage().held)
    }

    /// Whether publishers come close to what there is for them.
    pub(super) fn wants_room(&self) -> bool {
        let journal = self.parts.log.journal();
        let (usage, facts) = (journal.usage(), journal.facts());
        let ahead = facts.segment_bytes * SEGMENTS_AHEAD;
        let is_short = usage.disk_room.is_some_and(|room| room < ahead);
        is_short || usage.bytes_used + facts.reserve_bytes + ahead > usage.bytes_max
    }

    /// Whether giving up the oldest segments, as many as one has to, gains room.
    pub(super) fn gains_room(&self, segments: &[SegmentFacts]) -> bool {
        let (mut live, mut all) = (0, 0);
        let sealed = segments.iter().take_while(|segment| segment.sealed);
        for segment in sealed.take(LOOK_AHEAD_SEGMENTS) {
            live += self.live_bytes(segment);
            all += segment.bytes;
            if (live as f64) < all as f64 * LIVE_SHARE_MAX {
                return true;
            }
        }
        false
    }

    /// About how many bytes of a segment are still needed.
    fn live_bytes(&self, segment: &SegmentFacts) -> u64 {
        let range = segment.first..segment.end;
        let live = self.live_in(range).unwrap_or_default().len();
        let letters = self.view.letter_bytes_in(segment.first..segment.end);
        (live * self.fold.sizes.mean() + letters.unwrap_or_default()).min(segment.bytes)
    }

    /// The offsets in `range` that anybody is owed or that a letter needs, as of the last time
    /// the view was written.
    fn live_in(&self, range: Range<Offset>) -> Result<RoaringTreemap, crate::view::ViewError> {
        let mut live = self.fold.owed.in_range(range.clone());
        live.extend(
            self.view
                .lettered_events(range)?
                .iter()
                .map(|event| event.0),
        );
        Ok(live)
    }

    /// `replayed`: what of it replays owe, as the fence said when it was closed.
    async fn reclaim_segment(
        &mut self,
        segment: &SegmentFacts,
        replayed: &RoaringTreemap,
    ) -> Result<(), KeepError> {
        // So that the view's file has all letters and places.
        self.commit_to_keep()?;
        let range = segment.first..segment.end;
        let mut live = self.live_in(range.clone())?;
        if !mutant::is("reclaim-what-replays-owe") {
            live.extend(replayed.iter().filter(|offset| range.start.0 <= *offset));
        }
        if mutant::is("reclaim-what-is-owed") {
            live.clear();
        }
        self.copy_records(range.clone(), &live).await?;
        let states = self.states(range.clone(), &live)?;
        let standing = states.iter().filter(|state| state.what == What::Standing);
        let hashes: Vec<_> = standing
            .map(|state| (state.offset, state.is_there.then(|| hash_of(&state.record))))
            .collect();
        self.keep(states).await?;
        for (part, hash) in hashes {
            match hash {
                Some(hash) => drop(self.standing_kept.insert(part, hash)),
                None => drop(self.standing_kept.remove(&part)),
            }
        }
        self.fold.touched.clear();
        self.fold.touched_letters.clear();
        self.fold.base = segment.end;
        self.commit_to_keep()?;
        let reclaimed = self.parts.log.journal().reclaim(segment.end);
        self.counts.segments_reclaimed += reclaimed.segments as u64;
        Ok(())
    }

    pub(super) fn commit_to_keep(&mut self) -> Result<(), KeepError> {
        self.commit().map_err(|fault| {
            tracing::error!(%fault, "the view can't be written");
            KeepError::View(crate::view::ViewError::Damaged("it can't be written"))
        })
    }

    async fn keep(&mut self, things: Vec<ToKeep>) -> Result<(), KeepError> {
        self.counts.records_kept += things.len() as u64;
        let bytes = things.iter().map(|thing| thing.record.body.len() as u64);
        self.counts.bytes_kept += bytes.sum::<u64>();
        self.kept.put(things).await
    }

    /// Copies the records of `range` that are still needed and have no copy. What can't be read goes: a
    /// segment that stayed for it would keep all behind it from going, and the disk would fill up.
    async fn copy_records(
        &mut self,
        range: Range<Offset>,
        live: &RoaringTreemap,
    ) -> Result<(), KeepError> {
        for copied in self.view.kept_in(What::Copy, range.clone())? {
            // Copied before a crash, and not needed any more since.
            let row = self.view.letter(copied)?;
            if !live.contains(copied.0) && !row.is_some_and(|row| row.needs_record()) {
                self.kept.forget(What::Copy, copied)?;
            }
        }
        let mut next = range.start;
        let (mut copies, mut bytes) = (Vec::new(), 0);
        while next < range.end {
            let reading = self.parts.log.journal().read(next, READ_BYTES);
            let reading = reading.map_err(|error| {
                tracing::error!(%error, "a segment can't be read that is to be reclaimed");
                KeepError::Unreadable
            })?;
            for stored in &reading.records {
                if stored.offset >= range.end || !self.is_needed(stored, live)? {
                    continue;
                }
                if self.view.kept_at(What::Copy, stored.offset)?.is_some() {
                    continue;
                }
                bytes += stored.body.len();
                copies.push(ToKeep {
                    what: What::Copy,
                    offset: stored.offset,
                    is_there: true,
                    record: records::copy(stored),
                });
                if bytes >= COPIES_BYTES_TARGET {
                    bytes = 0;
                    self.keep(std::mem::take(&mut copies)).await?;
                }
            }
            let damaged = reading.damaged.iter();
            for damage in damaged.filter(|damage| damage.offsets.start < range.end) {
                tracing::warn!(%damage, "goes with its segment, whose file is used again");
            }
            next = reading.next;
        }
        self.keep(copies).await
    }

    fn is_needed(
        &self,
        stored: &Stored,
        live: &RoaringTreemap,
    ) -> Result<bool, crate::view::ViewError> {
        Ok(match stored.kind {
            EVENT | REJECTED => live.contains(stored.offset.0),
            DEAD => self.view.letter(stored.offset)?.is_some(),
            // What all others say is in what is owed, in the letters, and in what stands.
            _ => false,
        })
    }

    /// What is owed of the offsets that are live in `range`, and of those before it of which that
    /// changed; and what letters are that changed.
    fn states(
        &self,
        range: Range<Offset>,
        live: &RoaringTreemap,
    ) -> Result<Vec<ToKeep>, KeepError> {
        let mut told = self.fold.touched.clone();
        told |= live;
        let kept_before = self.view.kept_in(What::Owed, range.clone())?;
        told.extend(kept_before.iter().map(|offset| offset.0));
        let mut states = self.owed_states(&told)?;
        let mut letters: BTreeMap<Offset, Option<Row>> = BTreeMap::new();
        for row in self.view.letters_in(range)? {
            let is_told = !row.is_as_it_came();
            if is_told || self.view.kept_at(What::Letter, row.id)?.is_some() {
                letters.insert(row.id, Some(row));
            }
        }
        for id in &self.fold.touched_letters {
            letters.insert(Offset(id), self.view.letter(Offset(id))?);
        }
        self.standing_states(&mut states)?;
        states.extend(letters.into_iter().map(|(id, row)| ToKeep {
            what: What::Letter,
            offset: id,
            is_there: row.is_some(),
            record: records::letter(id, row.as_ref()),
        }));
        Ok(states)
    }

    /// The parts of the small state of which kept says something else, or nothing.
    fn standing_states(&self, states: &mut Vec<ToKeep>) -> Result<(), KeepError> {
        let mut parts = self.fold.standing_parts();
        let all = Offset(0)..Offset(u64::MAX);
        for part in self.view.kept_in(What::Standing, all)? {
            parts.entry(part).or_default();
        }
        for (part, records) in parts {
            let record = records::standing(part, &records);
            if self.standing_kept.get(&part) != Some(&hash_of(&record)) {
                states.push(ToKeep {
                    what: What::Standing,
                    offset: part,
                    is_there: !records.is_empty(),
                    record,
                });
            }
        }
        Ok(())
    }

    /// What is owed of each of these offsets: nothing is told only where kept says otherwise.
    pub(super) fn owed_states(&self, of: &RoaringTreemap) -> Result<Vec<ToKeep>, KeepError> {
        let mut to: BTreeMap<u64, Vec<Number>> = BTreeMap::new();
        for (number, owed) in self.fold.owed.iter() {
            for offset in of & owed {
                to.entry(offset).or_default().push(number);
            }
        }
        let mut states = Vec::new();
        for offset in of {
            let numbers = to.remove(&offset).unwrap_or_default();
            let offset = Offset(offset);
            let is_there = !numbers.is_empty();
            if !is_there && self.view.kept_at(What::Owed, offset)?.is_none() {
                continue;
            }
            let mut owed = OwedThen {
                offset,
                to: Vec::new(),
            };
            for number in numbers {
                let parked = match self.fold.parked.contains(number, offset) {
                    true => self.view.parked(number, offset)?,
                    false => None,
                };
                owed.to.push(OwedTo {
                    number,
                    again: self.fold.again.get(&(number, offset)).copied(),
                    parked,
                });
            }
            states.push(ToKeep {
                what: What::Owed,
                offset,
                is_there,
                record: owed.record_within(self.kept.record_bytes_max()),
            });
        }
        Ok(states)
    }
}

/// Tells the bodies of records of this process apart.
fn hash_of(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.body.hash(&mut hasher);
    hasher.finish()
}
