//! Opening a log: finding out what it holds, and saying what it doesn't.
//!
//! Only the last segment is walked through; what the others cover follows from the headers. A
//! segment that wasn't closed in order is never written on: it is sealed where it is, and the next
//! append opens another, whose header remembers from where on only whole groups count. Nothing is
//! truncated, deleted or started empty. What couldn't be read is reported, and can still be read
//! up to and behind.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::clock::{Clock, WallTime};
use crate::committer::{Committer, Continue, Outlets};
use crate::disk::{Disk, File};
use crate::journal::{Core, Facts};
use crate::layout::{
    BLOCK_BYTES, BadSegmentHeader, DATA_START, FLAG_CLOSE, FLAG_FIRST, FLAG_FRAME, FLAG_LAST,
    FORMAT_VERSION, Seed, SegmentHeader,
};
use crate::options::{Options, OptionsError};
use crate::queue::Shared;
use crate::record::Offset;
use crate::scan::{Cause, Damage, Extent, Found, Scan};
use crate::segment::{
    Mark, Segment, SegmentFixed, Segments, segment_name, segment_sequence, spare_number,
};
use crate::stock::Stock;
use crate::tail::Tail;

/// Why a log was not opened. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The options contradict each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Another process has it open.
    #[error("the folder is in use by process {pid}")]
    Locked { pid: u32 },
    /// The disk failed, or may not be read or written.
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
    /// Written by another version of this program.
    #[error("{name} has format version {found}, this program knows version {known}")]
    Version {
        name: String,
        found: u32,
        known: u32,
    },
    /// A file of another log lies in the folder.
    #[error("{name} belongs to log {found:016x}, the others to {expected:016x}")]
    Foreign {
        name: String,
        found: u64,
        expected: u64,
    },
    /// The file doesn't belong where it lies.
    #[error("{name} is out of place: it says it is segment {sequence} from offset {first}")]
    Misplaced {
        name: String,
        sequence: u64,
        first: u64,
    },
    /// The last segment's first block is damaged, so it isn't known which offset comes next.
    #[error("{name} is the last segment and its header can't be read")]
    LastHeader { name: String },
}

/// The last frame before a crash, if part of it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// Its segment.
    pub segment: u64,
    /// From here on in the file only whole groups count.
    pub position: u64,
    /// How many records are known to be missing: unreadable, or of a group that isn't whole. Those
    /// of which no trace is left aren't counted. If it was the crash, none had been acknowledged.
    pub records: u64,
}

/// What was found when a log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The oldest record kept.
    pub start: Offset,
    /// The offset that the next record gets.
    pub end: Offset,
    /// Whether the log was closed in order, or is new.
    pub clean: bool,
    /// The last frame, if the crash left only a part of it.
    pub torn: Option<Torn>,
    /// Everything else that can't be read and was noticed. Sealed segments aren't walked through.
    pub damage: Vec<Damage>,
    /// How many segments there are.
    pub segments: usize,
    /// How much had to be read to find out.
    pub bytes_scanned: u64,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.clean { "clean" } else { "after a crash" };
        let (start, end) = (self.start, self.end);
        write!(
            f,
            "opened {how}: {} records, offsets {start} up to {end}, {} segments, {} bytes scanned",
            end.0 - start.0,
            self.segments,
            self.bytes_scanned
        )?;
        if let Some(torn) = &self.torn {
            write!(
                f,
                "\nlast frame torn or lost: {} records, segment {} from byte {}",
                torn.records, torn.segment, torn.position
            )?;
        }
        for damage in &self.damage {
            write!(f, "\n{damage}")?;
        }
        Ok(())
    }
}

pub(crate) struct Opened {
    pub(crate) core: Core,
    pub(crate) committer: Committer,
    pub(crate) recovered: Recovered,
}

/// Locks, surveys, and puts the parts together.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    options: Options,
) -> Result<Opened, OpenError> {
    options.check()?;
    let doing = |doing: &str| {
        let doing = doing.to_owned();
        move |source| OpenError::Io { doing, source }
    };
    disk.lock()
        .map_err(doing("locking the folder"))?
        .map_err(|pid| OpenError::Locked { pid })?;
    let surveyed = survey(&disk, Access::Owner).and_then(|survey| {
        let spares = sort_spares(&disk, &survey.spares, options.segment_bytes)
            .map_err(doing("removing an unfinished spare"))?;
        Ok((survey, spares))
    });
    let (survey, spares) = surveyed.inspect_err(|_| disk.unlock())?;
    Ok(assemble(disk, clock, options, survey, spares))
}

/// Spares that can be used, and the number for the next. One of another size was left by a crash
/// while it was made, or by other options; it holds nothing.
fn sort_spares(
    disk: &Arc<dyn Disk>,
    spares: &[(u64, String, u64)],
    segment_bytes: u64,
) -> io::Result<(Vec<String>, u64)> {
    let next = spares.iter().map(|(number, ..)| number + 1).max();
    let mut usable = Vec::new();
    for (_, name, bytes) in spares {
        if *bytes == segment_bytes {
            usable.push(name.clone());
        } else {
            disk.remove(name)?;
        }
    }
    Ok((usable, next.unwrap_or(0)))
}

fn assemble(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    options: Options,
    survey: Survey,
    (spares, next_spare): (Vec<String>, u64),
) -> Opened {
    let recovered = survey.recovered;
    let log_id = survey.log_id.unwrap_or_else(|| random(clock.wall()));
    let used = survey.table.iter().map(|segment| segment.bytes).sum();
    let last = survey.table.back().cloned();
    let segments = Arc::new(Segments::new(Arc::clone(&disk), survey.table));
    let shared = Arc::new(Shared::new(Arc::clone(&clock), &options));
    let (durable_sender, durable) = watch::channel(recovered.end);
    let (tail, stats) = (Arc::new(Tail::new(options.tail_bytes)), Arc::default());
    let opening: Arc<Mutex<_>> = Arc::default();
    let outlets = Outlets {
        shared: Arc::clone(&shared),
        segments: Arc::clone(&segments),
        tail: Arc::clone(&tail),
        stats: Arc::clone(&stats),
        opening: Arc::clone(&opening),
        durable: durable_sender,
    };
    let going_on = Continue {
        log_id,
        next: recovered.end.0,
        last: last.as_ref().map(|last| (last.sequence, last.generation)),
        active: survey
            .last_file
            .filter(|_| recovered.clean)
            .and_then(|file| Some((last?, file))),
        generation_base: random(clock.wall()),
    };
    let stock = Stock::new(Arc::clone(&disk), &options, used, spares, next_spare);
    let facts = Facts {
        class: disk.facts().class,
        log_id,
        group_bytes_max: options.group_bytes_max,
        segment_bytes: options.segment_bytes,
    };
    let core = Core {
        disk,
        shared,
        segments,
        tail,
        stock,
        stats,
        opening,
        durable,
        facts,
        bytes_max: options.bytes_max,
    };
    Opened {
        core,
        committer: Committer::new(outlets, options, going_on),
        recovered,
    }
}

/// A number that another log is unlikely to draw. The standard library seeds its hash maps from the
/// system's randomness, which is enough to tell logs apart.
fn random(salt: WallTime) -> u64 {
    RandomState::new().hash_one(salt.0)
}

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
    log_id: Option<u64>,
    last_file: Option<Arc<dyn File>>,
    /// Number, name and bytes of each spare.
    spares: Vec<(u64, String, u64)>,
}

/// A segment file whose header was read.
struct Headed {
    header: SegmentHeader,
    bytes: u64,
}

impl Headed {
    /// All of it, with nothing known about where it ends.
    fn extent(&self) -> Extent {
        Extent {
            segment: self.header.sequence,
            seed: Seed::of(self.header.generation),
            position: DATA_START,
            offset: self.header.first,
            end_position: self.bytes,
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
            Err(BadSegmentHeader::Damaged) if index == names.len() - 1 => {
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
        if next.sequence != headed.header.sequence + 1 {
            // The one that knew where this one ends is missing, so it is walked through.
            let file = disk.open(&headed.name())?;
            let mut scan = Scan::new(file.as_ref(), extent.clone());
            while scan.next()?.is_some() {}
            self.recovered.bytes_scanned += scan.bytes_read();
            let end = scan.offset().min(next.first);
            self.lose_segments(headed.header.sequence + 1, end..next.first);
        } else {
            extent.end_position = next.before_end;
            if next.before_torn != 0 {
                extent.torn_from = next.before_torn;
                extent.position = next.before_torn;
                extent.end_offset = Some(next.first);
                extent.voids = self.torn_groups(disk, headed, extent.clone())?;
            }
        }
        let fixed = headed.fixed(extent.torn_from, extent.voids);
        let segment = Segment::new(fixed, next.first, extent.end_position, true);
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
            file.sync()?;
            file.forget_cached()?;
        }
        let walked = Walked::through(file.as_ref(), headed)?;
        self.recovered.bytes_scanned += walked.bytes_read;
        self.recovered.end = Offset(walked.end);
        self.recovered.clean = walked.closed;
        self.recovered.damage.extend(walked.damage);
        let (mut torn_from, mut voids) = (u64::MAX, Vec::new());
        if !walked.closed {
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
            bytes_read: 0,
        };
        while let Some(found) = scan.next()? {
            match found {
                Found::Hole(hole) => {
                    walked.closed = false;
                    walked.last_frame_damage.push(hole);
                }
                Found::Record(placed) => {
                    let offset = placed.stored.offset.0;
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
