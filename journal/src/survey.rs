//! What a folder holds: all headers read, and the last segment walked through.
//!
//! Only the last segment is, since the others end where the next one's header says. In the last
//! frame of a log that wasn't closed only whole groups count; which those are is found out here, in
//! the same way at every open.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::clock::WallTime;
use crate::disk::{Disk, File};
use crate::layout::{
    BLOCK_BYTES, BadSegmentHeader, DATA_START, FLAG_CLOSE, FLAG_FIRST, FLAG_FRAME, FLAG_LAST,
    FORMAT_VERSION, Seed, SegmentHeader,
};
use crate::mutant;
use crate::record::Offset;
use crate::recovery::{OpenError, Recovered, Torn};
use crate::scan::{Cause, Damage, Extent, Found, Scan};
use crate::segment::{Mark, Segment, SegmentFixed, segment_name, segment_sequence, spare_number};

/// Whether the log is this process's to go on with, or is only looked at, perhaps while a running
/// node writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Owner,
    Visitor,
}

/// What a folder holds.
pub(crate) struct Survey {
    pub(crate) table: VecDeque<Arc<Segment>>,
    pub(crate) recovered: Recovered,
    pub(crate) log_id: Option<u64>,
    pub(crate) last_file: Option<Arc<dyn File>>,
    /// Number, name and bytes of each spare.
    pub(crate) spares: Vec<(u64, String, u64)>,
}

/// A segment file whose header was read.
struct Headed {
    header: SegmentHeader,
    bytes: u64,
}

impl Headed {
    /// `position`, or the end of the block where the file ends: behind it nothing can be read.
    fn within(&self, position: u64) -> u64 {
        position.min(self.bytes + BLOCK_BYTES as u64)
    }

    /// All of it, with nothing known about where it ends but what a repacked one says of itself.
    fn extent(&self) -> Extent {
        Extent {
            segment: self.header.sequence,
            seed: Seed::of(self.header.generation),
            position: DATA_START,
            offset: self.header.first,
            end_position: match self.header.repacked {
                Some(end) => self.within(end.end_position),
                None => self.bytes,
            },
            end_offset: None,
            torn_from: u64::MAX,
            voids: Vec::new(),
        }
    }

    fn fixed(&self, torn_from: u64, voids: Vec<Range<u64>>) -> SegmentFixed {
        SegmentFixed {
            sequence: self.header.sequence,
            generation: self.header.generation,
            first: self.header.first,
            created: WallTime(self.header.created_ms),
            bytes: self.bytes,
            torn_from,
            voids,
            repacked: self.header.repacked.is_some(),
        }
    }

    fn name(&self) -> String {
        segment_name(self.header.sequence)
    }
}

/// Reads all headers, and walks through the last segment.
pub(crate) fn survey(disk: &Arc<dyn Disk>, access: Access) -> Result<Survey, OpenError> {
    let entries = disk.list().map_err(|source| OpenError::Io {
        doing: "listing the folder".into(),
        source,
    })?;
    let mut names: Vec<(u64, u64)> = Vec::new();
    let mut spares = Vec::new();
    for entry in entries {
        if let Some(sequence) = segment_sequence(&entry.name) {
            let whole = entry.bytes / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
            names.push((sequence, whole));
        } else if let Some(number) = spare_number(&entry.name) {
            spares.push((number, entry.name, entry.bytes));
        }
    }
    names.sort_unstable();
    let headed = read_headers(disk, &names)?;
    let mut survey = Survey {
        table: VecDeque::new(),
        recovered: Recovered {
            start: Offset(headed.first().map_or(0, |first| first.header.first)),
            end: Offset(0),
            clean: true,
            torn: None,
            damage: Vec::new(),
            segments: headed.len(),
            bytes_scanned: (names.len() * BLOCK_BYTES) as u64,
        },
        log_id: headed.first().map(|first| first.header.log_id),
        last_file: None,
        spares,
    };
    if let (Some(&(sequence, _)), Some(first)) = (names.first(), headed.first())
        && sequence != first.header.sequence
    {
        // What it held is before anything else that can be read, so no offset names it.
        let at = first.header.first;
        survey.lose_segments(sequence, at..at);
    }
    for pair in headed.windows(2) {
        survey
            .add_sealed(disk, &pair[0], &pair[1].header)
            .map_err(reading(&pair[0]))?;
    }
    if let Some(last) = headed.last() {
        survey.add_last(disk, last, access).map_err(reading(last))?;
    }
    Ok(survey)
}

fn reading(headed: &Headed) -> impl FnOnce(io::Error) -> OpenError {
    let doing = format!("reading {}", headed.name());
    move |source| OpenError::Io { doing, source }
}

/// The headers of all segments whose header can be read, checked against each other.
fn read_headers(disk: &Arc<dyn Disk>, names: &[(u64, u64)]) -> Result<Vec<Headed>, OpenError> {
    let mut all: Vec<Headed> = Vec::with_capacity(names.len());
    for (index, &(sequence, bytes)) in names.iter().enumerate() {
        let name = segment_name(sequence);
        let block = disk
            .open(&name)
            .and_then(|file| file.read_at(0, BLOCK_BYTES))
            .map_err(|source| OpenError::Io {
                doing: format!("reading {name}"),
                source,
            })?;
        let header = match SegmentHeader::decode(&block) {
            Ok(header) => header,
            Err(BadSegmentHeader::Version(found)) => {
                let known = FORMAT_VERSION;
                return Err(OpenError::Version { name, found, known });
            }
            Err(BadSegmentHeader::Damaged)
                if index == names.len() - 1 && !mutant::is("open-without-last-segment") =>
            {
                return Err(OpenError::LastHeader { name });
            }
            Err(BadSegmentHeader::Damaged) => continue,
        };
        let before = all.last().map(|before| &before.header);
        if let Some(expected) = before.map(|before| before.log_id)
            && expected != header.log_id
        {
            let found = header.log_id;
            return Err(OpenError::Foreign {
                name,
                found,
                expected,
            });
        }
        if header.sequence != sequence || before.is_some_and(|before| header.first < before.first) {
            return Err(OpenError::Misplaced {
                name,
                sequence: header.sequence,
                first: header.first,
            });
        }
        all.push(Headed { header, bytes });
    }
    Ok(all)
}

impl Survey {
    /// Notes that segment `sequence`, and perhaps some behind it, can't be read at all.
    fn lose_segments(&mut self, sequence: u64, offsets: Range<u64>) {
        self.recovered.damage.push(Damage {
            segment: sequence,
            position: 0,
            bytes: 0,
            offsets: Offset(offsets.start)..Offset(offsets.end),
            cause: Cause::Segment,
        });
    }

    /// Adds a segment that has another behind it, which says where it ends.
    fn add_sealed(
        &mut self,
        disk: &Arc<dyn Disk>,
        headed: &Headed,
        next: &SegmentHeader,
    ) -> io::Result<()> {
        let mut extent = headed.extent();
        let mut record_bytes = None;
        if next.sequence != headed.header.sequence + 1 {
            // The one that knew where this one ends is missing, so it is walked through.
            let file = disk.open(&headed.name())?;
            let mut scan = Scan::new(file.as_ref(), extent.clone());
            while scan.next()?.is_some() {}
            self.recovered.bytes_scanned += scan.bytes_read();
            let end = scan.offset().min(next.first);
            self.lose_segments(headed.header.sequence + 1, end..next.first);
        } else if let Some(end) = headed.header.repacked {
            // The next one's header speaks of the layout it had before. All in it is whole.
            extent.end_position = headed.within(end.end_position);
            record_bytes = Some(end.record_bytes);
        } else {
            extent.end_position = headed.within(next.before_end);
            record_bytes = Some(next.before_record_bytes).filter(|&bytes| bytes != 0);
            if next.before_torn != 0 {
                extent.torn_from = next.before_torn;
                extent.position = next.before_torn.min(extent.end_position);
                extent.end_offset = Some(next.first);
                extent.voids = self.torn_groups(disk, headed, extent.clone())?;
            }
        }
        let fixed = headed.fixed(extent.torn_from, extent.voids);
        let segment = Segment::new(fixed, next.first, extent.end_position, true);
        if let Some(bytes) = record_bytes {
            segment.know_record_bytes(bytes);
        }
        self.table.push_back(Arc::new(segment));
        Ok(())
    }

    /// The records of groups that aren't whole, in the last frame of a segment that was left
    /// without being closed.
    fn torn_groups(
        &mut self,
        disk: &Arc<dyn Disk>,
        headed: &Headed,
        zone: Extent,
    ) -> io::Result<Vec<Range<u64>>> {
        let file = disk.open(&headed.name())?;
        let mut scan = Scan::new(file.as_ref(), zone);
        let mut groups = Groups::default();
        while let Some(found) = scan.next()? {
            if let Found::Record(placed) = found {
                groups.take(placed.stored.offset.0, placed.flags);
            }
        }
        self.recovered.bytes_scanned += scan.bytes_read();
        Ok(groups.finish())
    }

    /// Walks through the last segment to find where the log ends, and how.
    fn add_last(
        &mut self,
        disk: &Arc<dyn Disk>,
        headed: &Headed,
        access: Access,
    ) -> io::Result<()> {
        let file = disk.open(&headed.name())?;
        if access == Access::Owner {
            // What is read must be what the disk holds. A killed process leaves bytes that are only
            // in memory: they are written out. A failed sync leaves bytes that memory shows and the
            // disk hasn't got: they are forgotten.
            if !mutant::is("open-without-sync") {
                file.sync()?;
            }
            if !mutant::is("believe-memory") {
                file.forget_cached()?;
            }
        }
        let mut walked = Walked::through(file.as_ref(), headed)?;
        if headed.header.repacked.is_some() {
            walked.seal();
        }
        self.recovered.bytes_scanned += walked.bytes_read;
        self.recovered.end = Offset(walked.end);
        self.recovered.clean = walked.closed;
        self.recovered.damage.extend(walked.damage);
        let (mut torn_from, mut voids) = (u64::MAX, Vec::new());
        if !walked.closed && headed.header.repacked.is_none() {
            torn_from = walked.last_frame;
            voids = walked.last_frame_groups.finish();
            let void: u64 = voids.iter().map(|void| void.end - void.start).sum();
            let unreadable: u64 = walked.last_frame_damage.iter().map(Damage::records).sum();
            if void + unreadable != 0 {
                self.recovered.torn = Some(Torn {
                    segment: headed.header.sequence,
                    position: torn_from,
                    records: void + unreadable,
                });
            }
        }
        let fixed = headed.fixed(torn_from, voids);
        let segment = Segment::new(fixed, walked.end, walked.end_position, !walked.closed);
        segment.know_record_bytes(walked.record_bytes);
        walked
            .marks
            .into_iter()
            .for_each(|mark| segment.learn(mark));
        self.table.push_back(Arc::new(segment));
        self.last_file = Some(file);
        Ok(())
    }
}

/// What a walk through the last segment found.
struct Walked {
    end: u64,
    end_position: u64,
    /// The last thing found is the mark of a close.
    closed: bool,
    /// Before the last frame: not a crash's doing.
    damage: Vec<Damage>,
    /// Where the last frame begins whose beginning is readable. Only one frame is ever written
    /// without being synced, and it is this one or the one behind it.
    last_frame: u64,
    last_frame_damage: Vec<Damage>,
    last_frame_groups: Groups,
    marks: Vec<Mark>,
    /// Of readable records.
    record_bytes: u64,
    bytes_read: u64,
}

impl Walked {
    fn through(file: &dyn File, headed: &Headed) -> io::Result<Self> {
        let mut scan = Scan::new(file, headed.extent());
        let mut walked = Self {
            end: 0,
            end_position: 0,
            closed: false,
            damage: Vec::new(),
            last_frame: DATA_START,
            last_frame_damage: Vec::new(),
            last_frame_groups: Groups::default(),
            marks: Vec::new(),
            record_bytes: 0,
            bytes_read: 0,
        };
        while let Some(found) = scan.next()? {
            match found {
                Found::Hole(_) if mutant::is("truncate-at-first-bad-frame") => break,
                Found::Hole(hole) => {
                    walked.closed = false;
                    walked.last_frame_damage.push(hole);
                }
                Found::Record(placed) => {
                    let offset = placed.stored.offset.0;
                    walked.record_bytes += placed.record_bytes();
                    if placed.flags & FLAG_FRAME != 0 {
                        let position = placed.position;
                        walked.last_frame = position;
                        walked.damage.append(&mut walked.last_frame_damage);
                        walked.last_frame_groups = Groups::default();
                        walked.marks.push(Mark { offset, position });
                    }
                    walked.last_frame_groups.take(offset, placed.flags);
                    walked.closed = placed.flags & FLAG_CLOSE != 0;
                }
            }
        }
        // A mark whose frame isn't whole was never acknowledged, so nothing was closed.
        walked.closed &=
            walked.last_frame_damage.is_empty() && walked.last_frame_groups.all_whole();
        // Nor one behind which the padding isn't zero: the walk would have come to a boundary.
        walked.closed &= scan.position().is_multiple_of(BLOCK_BYTES as u64);
        walked.end = scan.offset();
        walked.end_position = scan.position().next_multiple_of(BLOCK_BYTES as u64);
        walked.bytes_read = scan.bytes_read();
        Ok(walked)
    }

    /// It was repacked, and is the last only where those behind it are missing. All in it was whole, and
    /// it says for ever where it ends: nothing is torn, and nothing may follow in it.
    fn seal(&mut self) {
        self.closed = false;
        self.damage.append(&mut self.last_frame_damage);
    }
}

/// Finds the groups that aren't whole among the records of a frame.
#[derive(Debug, Default)]
struct Groups {
    open: Option<Range<u64>>,
    voids: Vec<Range<u64>>,
}

impl Groups {
    fn take(&mut self, offset: u64, flags: u8) {
        let continues = self.open.as_ref().is_some_and(|open| open.end == offset);
        if flags & FLAG_FIRST != 0 || !continues {
            self.voids.extend(self.open.take());
        }
        if flags & FLAG_FIRST != 0 {
            self.open = Some(offset..offset + 1);
        } else if let Some(open) = &mut self.open {
            open.end = offset + 1;
        } else {
            // Its group's first record is missing.
            self.voids.push(offset..offset + 1);
        }
        if flags & FLAG_LAST != 0 {
            self.open = None;
        }
    }

    fn all_whole(&self) -> bool {
        self.open.is_none() && self.voids.is_empty()
    }

    fn finish(mut self) -> Vec<Range<u64>> {
        if mutant::is("drop-group-tail") {
            return Vec::new();
        }
        self.voids.extend(self.open);
        self.voids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Void ranges as pairs of first and end.
    #[track_caller]
    fn check(records: &[(u64, u8)], voids: &[(u64, u64)]) {
        let mut groups = Groups::default();
        for &(offset, flags) in records {
            groups.take(offset, flags);
        }
        let found: Vec<_> = groups.finish().iter().map(|r| (r.start, r.end)).collect();
        assert_eq!(found, voids);
    }

    const ONE: u8 = FLAG_FIRST | FLAG_LAST;

    #[test]
    fn whole_groups_count() {
        check(&[(0, ONE), (1, FLAG_FIRST), (2, 0), (3, FLAG_LAST)], &[]);
    }

    #[test]
    fn a_group_without_its_end_beginning_or_middle_is_void() {
        check(&[(0, FLAG_FIRST), (1, 0)], &[(0, 2)]);
        check(&[(1, 0), (2, FLAG_LAST), (3, ONE)], &[(1, 2), (2, 3)]);
        check(&[(0, FLAG_FIRST), (2, FLAG_LAST)], &[(0, 1), (2, 3)]);
        check(&[(0, FLAG_FIRST), (2, ONE)], &[(0, 1)]);
    }
}
