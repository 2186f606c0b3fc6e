//! The segments of a log: what each covers, and where in it to begin reading.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::clock::WallTime;
use crate::disk::{Disk, File};
use crate::layout::{DATA_START, RepackedEnd, Seed};
use crate::lock::{lock, read, write};
use crate::scan::{Extent, Order, Placed};

/// Names of segments in use are this, after their sequence number.
const SEGMENT_SUFFIX: &str = ".seg";
const SEQUENCE_DIGITS: usize = 12;
/// Names of files that wait to become segments begin with this.
const SPARE_PREFIX: &str = "spare-";
/// A segment's index has at most one entry for so many bytes.
const INDEX_STEP_BYTES: u64 = 64 << 10;
/// Files of segments that are kept open for reading; the one opened first is closed first.
const OPEN_FILES_MAX: usize = 64;

pub(crate) fn segment_name(sequence: u64) -> String {
    format!("{sequence:0SEQUENCE_DIGITS$}{SEGMENT_SUFFIX}")
}

pub(crate) fn segment_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT_SUFFIX)?;
    let sequence = digits.parse().ok()?;
    (segment_name(sequence) == name).then_some(sequence)
}

pub(crate) fn spare_name(number: u64) -> String {
    format!("{SPARE_PREFIX}{number}")
}

pub(crate) fn spare_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(SPARE_PREFIX)?.parse().ok()?;
    // Another spelling is somebody else's file, and behind the last number none follows.
    (spare_name(number) == name && number != u64::MAX).then_some(number)
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) offset: u64,
    pub(crate) position: u64,
}

/// A segment. What changes about it is behind its lock; the rest is fixed when it comes into use.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    pub(crate) generation: u64,
    pub(crate) first: u64,
    pub(crate) created: WallTime,
    pub(crate) bytes: u64,
    /// From here on only whole groups count. `u64::MAX` if the segment was left in order.
    pub(crate) torn_from: u64,
    /// Records from there on whose groups aren't whole.
    pub(crate) voids: Vec<Range<u64>>,
    /// Whether its records were laid out anew, without padding.
    pub(crate) repacked: bool,
    reach: Mutex<Reach>,
    /// Set before the file is put to another use, or when another has taken its place. Who read
    /// from it looks here afterwards.
    reclaimed: AtomicBool,
    /// Set while another file is about to take its place: it isn't reclaimed then.
    repacking: AtomicBool,
    /// Something in it can't be read, so that it keeps its layout.
    unfit: AtomicBool,
    /// Of what was sealed when it was asked for.
    order: Arc<OnceLock<Order>>,
}

/// How far a segment goes, and an index of what is known of it.
#[derive(Debug)]
struct Reach {
    end: u64,
    end_position: u64,
    /// Bytes of the records, without padding; none if that isn't known.
    record_bytes: Option<u64>,
    sealed: bool,
    index: Vec<Mark>,
}

impl Segment {
    pub(crate) fn new(facts: SegmentFixed, end: u64, end_position: u64, sealed: bool) -> Self {
        let SegmentFixed {
            sequence,
            generation,
            first,
            created,
            bytes,
            torn_from,
            voids,
            repacked,
        } = facts;
        Self {
            sequence,
            generation,
            first,
            created,
            bytes,
            torn_from,
            voids,
            repacked,
            reach: Mutex::new(Reach {
                end,
                end_position,
                record_bytes: None,
                sealed,
                index: Vec::new(),
            }),
            reclaimed: AtomicBool::new(false),
            repacking: AtomicBool::new(false),
            unfit: AtomicBool::new(false),
            order: Arc::default(),
        }
    }

    fn key(&self) -> FileKey {
        (self.sequence, self.repacked)
    }

    pub(crate) fn seed(&self) -> Seed {
        Seed::of(self.generation)
    }

    pub(crate) fn end(&self) -> u64 {
        lock(&self.reach).end
    }

    pub(crate) fn end_position(&self) -> u64 {
        lock(&self.reach).end_position
    }

    /// The offset and the position behind what is durable of it, of one moment.
    pub(crate) fn durable(&self) -> (u64, u64) {
        let reach = lock(&self.reach);
        (reach.end, reach.end_position)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        lock(&self.reach).sealed
    }

    pub(crate) fn seal(&self) {
        lock(&self.reach).sealed = true;
    }

    /// Bytes of its records, without the padding of its frames.
    pub(crate) fn record_bytes(&self) -> Option<u64> {
        lock(&self.reach).record_bytes
    }

    pub(crate) fn know_record_bytes(&self, bytes: u64) {
        lock(&self.reach).record_bytes = Some(bytes);
    }

    pub(crate) fn extend(&self, end: u64, end_position: u64, mark: Mark, record_bytes: u64) {
        let mut reach = lock(&self.reach);
        if let Some(bytes) = &mut reach.record_bytes {
            *bytes += record_bytes;
        }
        reach.end = end;
        reach.end_position = end_position;
        reach.learn(mark);
    }

    /// Remembers where a record lies.
    pub(crate) fn learn(&self, placed: &Placed) {
        if placed.in_order {
            self.learn_mark(Mark {
                offset: placed.stored.offset.0,
                position: placed.position,
            });
        }
    }

    pub(crate) fn learn_mark(&self, mark: Mark) {
        lock(&self.reach).learn(mark);
    }

    pub(crate) fn reclaim(&self) {
        self.reclaimed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_reclaimed(&self) -> bool {
        self.reclaimed.load(Ordering::SeqCst)
    }

    /// The same segment with its records laid out anew.
    pub(crate) fn repacked_as(&self, end: RepackedEnd) -> Self {
        let fixed = SegmentFixed {
            sequence: self.sequence,
            generation: self.generation,
            first: self.first,
            created: self.created,
            bytes: end.end_position,
            torn_from: u64::MAX,
            voids: Vec::new(),
            repacked: true,
        };
        let new = Self::new(fixed, self.end(), end.end_position, true);
        new.know_record_bytes(end.record_bytes);
        new
    }

    /// It has a hole, so it is never repacked.
    pub(crate) fn set_unfit(&self) {
        self.unfit.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_unfit(&self) -> bool {
        self.unfit.load(Ordering::Relaxed)
    }

    /// What to walk through to come to `offset` and all behind it.
    pub(crate) fn extent_from(&self, offset: u64) -> Extent {
        let reach = lock(&self.reach);
        let known = reach.index.partition_point(|mark| mark.offset <= offset);
        let start = match known {
            0 => Mark {
                offset: self.first,
                position: DATA_START,
            },
            known => reach.index[known - 1],
        };
        Extent {
            segment: self.sequence,
            seed: self.seed(),
            position: start.position,
            offset: start.offset,
            end_position: reach.end_position,
            end_offset: Some(reach.end),
            torn_from: self.torn_from,
            voids: self.voids.clone(),
            first: self.first,
            order: match reach.sealed {
                true => Arc::clone(&self.order),
                false => Arc::default(),
            },
        }
    }
}

impl Reach {
    fn learn(&mut self, mark: Mark) {
        let next = self
            .index
            .last()
            .map_or(0, |last| last.position + INDEX_STEP_BYTES);
        if next <= mark.position {
            self.index.push(mark);
        }
    }
}

/// What is fixed about a segment.
#[derive(Debug)]
pub(crate) struct SegmentFixed {
    pub(crate) sequence: u64,
    pub(crate) generation: u64,
    pub(crate) first: u64,
    pub(crate) created: WallTime,
    pub(crate) bytes: u64,
    pub(crate) torn_from: u64,
    pub(crate) voids: Vec<Range<u64>>,
    pub(crate) repacked: bool,
}

/// All segments, oldest first, and their open files.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    table: RwLock<VecDeque<Arc<Segment>>>,
    files: Mutex<Files>,
}

/// Which layout of which segment a file holds.
type FileKey = (u64, bool);

#[derive(Default)]
struct Files {
    open: VecDeque<(FileKey, Arc<dyn File>)>,
    /// The file of a segment whose name is about to become another's.
    pinned: Option<(FileKey, Arc<dyn File>)>,
}

impl Files {
    fn get(&self, key: FileKey) -> Option<Arc<dyn File>> {
        let mut all = self.pinned.iter().chain(&self.open);
        all.find(|(open, _)| *open == key)
            .map(|(_, file)| Arc::clone(file))
    }

    fn remember(&mut self, key: FileKey, file: Arc<dyn File>) {
        if OPEN_FILES_MAX <= self.open.len() {
            self.open.pop_front();
        }
        self.open.push_back((key, file));
    }
}

impl Segments {
    pub(crate) fn new(disk: Arc<dyn Disk>, table: VecDeque<Arc<Segment>>) -> Self {
        Self {
            disk,
            table: RwLock::new(table),
            files: Mutex::default(),
        }
    }

    /// The offset of the oldest record that is still kept; where the next goes if there is none.
    pub(crate) fn start(&self) -> u64 {
        read(&self.table).front().map_or(0, |segment| segment.first)
    }

    pub(crate) fn list(&self) -> Vec<Arc<Segment>> {
        read(&self.table).iter().cloned().collect()
    }

    /// The segment that covers `offset`, unless that lies before the first or behind the last.
    pub(crate) fn holding(&self, offset: u64) -> Option<Arc<Segment>> {
        let table = read(&self.table);
        let after = table.partition_point(|segment| segment.first <= offset);
        table.get(after.checked_sub(1)?).cloned()
    }

    /// Adds a segment behind the others and seals the one before it.
    pub(crate) fn push(&self, segment: Arc<Segment>, file: Arc<dyn File>) {
        lock(&self.files).remember(segment.key(), file);
        let mut table = write(&self.table);
        if let Some(last) = table.back() {
            last.seal();
        }
        table.push_back(segment);
    }

    /// Takes the oldest segments out that lie wholly before `before`. The last one stays: its
    /// header is what remembers which offset comes next.
    pub(crate) fn take_before(&self, before: u64) -> Vec<Arc<Segment>> {
        let mut table = write(&self.table);
        let mut taken = Vec::new();
        while let [oldest, next, ..] = table.make_contiguous()
            && next.first <= before
            && oldest.is_sealed()
            && !oldest.repacking.load(Ordering::SeqCst)
        {
            oldest.reclaim();
            taken.extend(table.pop_front());
        }
        drop(table);
        let kept = |key: FileKey| taken.iter().all(|segment| segment.key() != key);
        lock(&self.files).open.retain(|(key, _)| kept(*key));
        taken
    }

    /// The file of a segment. Opened under the lock, so that its name can't become another's
    /// meanwhile.
    pub(crate) fn file(&self, segment: &Segment) -> io::Result<Arc<dyn File>> {
        let mut files = lock(&self.files);
        if let Some(file) = files.get(segment.key()) {
            return Ok(file);
        }
        let file = self.disk.open(&segment_name(segment.sequence))?;
        files.remember(segment.key(), Arc::clone(&file));
        Ok(file)
    }

    /// Sets a sealed segment aside to be repacked: until `keep` or `replace` it isn't reclaimed.
    /// `false` if it already was, or is the last one, whose end the next one's header will tell.
    pub(crate) fn begin_repacking(&self, segment: &Arc<Segment>) -> bool {
        let table = read(&self.table);
        let last = table.back().is_none_or(|last| Arc::ptr_eq(last, segment));
        // `take_before` holds the lock to write while it looks and takes.
        let free = !last && !segment.is_reclaimed() && segment.is_sealed();
        free && !segment.repacking.swap(true, Ordering::SeqCst)
    }

    /// It stays as it is.
    pub(crate) fn keep(&self, segment: &Segment) {
        segment.repacking.store(false, Ordering::SeqCst);
        lock(&self.files).pinned = None;
    }

    /// From now on readers of `segment` read from the file it has now, whatever its name means.
    pub(crate) fn pin(&self, segment: &Segment) -> io::Result<()> {
        let file = self.file(segment)?;
        lock(&self.files).pinned = Some((segment.key(), file));
        Ok(())
    }

    /// Another file has taken the name of `old`, which was pinned: it holds the same records.
    pub(crate) fn replace(&self, old: &Arc<Segment>, new: Arc<Segment>) {
        let mut table = write(&self.table);
        let place = table.iter_mut().find(|segment| Arc::ptr_eq(segment, old));
        *place.expect("what is being repacked isn't reclaimed") = new;
        // Who still reads by the old layout looks again.
        old.reclaim();
        drop(table);
        let mut files = lock(&self.files);
        files.pinned = None;
        files.open.retain(|(key, _)| *key != old.key());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_numbers() {
        assert_eq!(segment_sequence(&segment_name(17)), Some(17));
        assert_eq!(spare_number(&spare_name(17)), Some(17));
        for other in ["lock", "17.seg", "view.redb", "x.seg"] {
            assert_eq!(segment_sequence(other), None, "{other}");
        }
        for other in [
            "spare-",
            "spare-07",
            "spare-+7",
            "spare-18446744073709551615",
        ] {
            assert_eq!(spare_number(other), None, "{other}");
        }
    }
}
