//! Repacking: a quiet node's segments are mostly padding, and give it back.
//!
//! Each frame takes whole blocks of 4 KiB, so a lone event of 300 bytes costs ten times its size.
//! That is the price of one sync an append, but no reason to keep the padding for a week. Once a
//! segment is sealed its records are copied, checked as they are read, into a new file without
//! padding, which is no longer than it must be. The file is synced and read back; then one rename
//! puts it in the segment's place. So at any moment, and after any crash, the segment's name means a
//! file that holds all its records, and nothing about the segments around it changes: a segment is
//! never joined with another, so retention by time stays as sharp as it was.
//!
//! A segment with a hole in it, damaged or torn, is left as it is: what could be read of it by other
//! means some day must not be thrown away.

use std::io;
use std::sync::Arc;

use crate::disk::{AlignedBytes, File};
use crate::journal::Core;
use crate::layout::{
    BLOCK_BYTES, DATA_START, FLAG_FRAME, RECORD_HEADER_BYTES, RecordHeader, RepackedEnd,
    SegmentHeader, blocks, padded,
};
use crate::lock::lock;
use crate::mutant;
use crate::scan::{Found, Placed, Scan};
use crate::segment::{Mark, Segment, segment_name};

/// A segment is repacked when at least one in so many of its bytes would come free.
const GAIN_MIN: u64 = 4;
/// A repacked frame is closed once it has this many bytes.
const FRAME_BYTES: usize = 1 << 20;
/// Or this many records.
const FRAME_RECORDS: usize = 1024;

/// A segment that was laid out anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repacked {
    /// Its number.
    pub sequence: u64,
    /// Bytes of the file it had.
    pub bytes_before: u64,
    /// Bytes of the file it has now.
    pub bytes: u64,
}

/// Why a segment could not be laid out anew. It is as it was.
#[derive(Debug, thiserror::Error)]
#[error("repacking {name}")]
pub struct RepackError {
    /// The segment's file.
    pub name: String,
    /// What failed.
    #[source]
    pub source: io::Error,
}

/// What came of trying one segment.
enum Tried {
    Done(Repacked),
    /// It can't be, or not now: the next may.
    Left,
}

/// Repacks one segment, the newest that is worth it.
pub(crate) fn repack_one(core: &Core) -> Result<Option<Repacked>, RepackError> {
    for segment in core.segments.list().into_iter().rev() {
        if !is_worth_it(&segment) || !core.segments.begin_repacking(&segment) {
            continue;
        }
        let tried = repack(core, &segment);
        if !matches!(tried, Ok(Tried::Done(_))) {
            core.segments.keep(&segment);
        }
        let name = segment_name(segment.sequence);
        match tried.map_err(|source| RepackError { name, source })? {
            Tried::Done(repacked) => return Ok(Some(repacked)),
            Tried::Left => {}
        }
    }
    Ok(None)
}

/// The same for the helper thread: whether it did something. A failure is counted, and tried again
/// when the next segment is sealed.
pub(crate) fn tend(core: &Core) -> bool {
    match repack_one(core) {
        Ok(done) => done.is_some(),
        Err(_) => {
            lock(&core.stats).repack_failures += 1;
            false
        }
    }
}

/// Whether a segment is known to gain, or it isn't known how much it holds.
fn is_worth_it(segment: &Segment) -> bool {
    let sealed = segment.is_sealed() && !segment.repacked && !segment.is_unfit();
    sealed
        && segment
            .record_bytes()
            .is_none_or(|bytes| gains(segment, packed_bytes(bytes)))
}

fn gains(segment: &Segment, packed: u64) -> bool {
    packed + segment.bytes / GAIN_MIN <= segment.bytes
}

/// About how long a file is that holds so many bytes of records.
fn packed_bytes(record_bytes: u64) -> u64 {
    let frames = record_bytes / FRAME_BYTES as u64 + 1;
    DATA_START + record_bytes + frames * BLOCK_BYTES as u64
}

fn repack(core: &Core, old: &Arc<Segment>) -> io::Result<Tried> {
    let source = core.segments.file(old)?;
    let Some(record_bytes) = measure(source.as_ref(), old)? else {
        old.set_unfit();
        return Ok(Tried::Left);
    };
    old.know_record_bytes(record_bytes);
    let packed = packed_bytes(record_bytes);
    if !gains(old, packed) || !core.stock.takes_beside(packed) {
        return Ok(Tried::Left);
    }
    let name = core.stock.new_name();
    let tried = copy(core, old, source.as_ref(), &name, record_bytes)
        .and_then(|new| put_in_place(core, old, new, &name));
    if !matches!(tried, Ok(Tried::Done(_))) {
        // If this fails too, the next open removes it: it isn't a segment's length.
        match core.disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return tried.and(Err(error)),
            _ => {}
        }
    }
    tried
}

/// Bytes of all records of a segment, or none if one can't be read. A segment's records are counted
/// before they are copied, since only a whole one is.
fn measure(file: &dyn File, segment: &Segment) -> io::Result<Option<u64>> {
    let mut scan = Scan::new(file, segment.extent_from(segment.first));
    let mut bytes = 0;
    while let Some(found) = scan.next()? {
        match found {
            Found::Record(placed) => bytes += placed.record_bytes(),
            Found::Hole(_) => return Ok(None),
        }
    }
    Ok((scan.offset() == segment.end()).then_some(bytes))
}

/// Writes the records of `old` to a new file, and reads them back from it.
fn copy(
    core: &Core,
    old: &Segment,
    source: &dyn File,
    name: &str,
    record_bytes: u64,
) -> io::Result<Arc<Segment>> {
    let file = core.disk.create(name)?;
    let mut writer = Writer::new(file.as_ref(), old);
    let mut scan = Scan::new(source, old.extent_from(old.first));
    while let Some(found) = scan.next()? {
        match found {
            Found::Record(placed) => writer.add(&placed)?,
            Found::Hole(hole) => return Err(io::Error::other(hole.to_string())),
        }
    }
    let (end_position, marks) = writer.finish()?;
    let first_block = source.read_at(0, BLOCK_BYTES)?;
    let header = SegmentHeader::decode(&first_block)
        .ok()
        .filter(|header| header.generation == old.generation)
        .ok_or_else(|| io::Error::other("the segment's header is damaged"))?;
    let end = RepackedEnd {
        end_position,
        record_bytes,
    };
    let header = SegmentHeader {
        repacked: Some(end),
        ..header
    };
    let mut block = AlignedBytes::with_capacity(BLOCK_BYTES);
    block.extend(&header.encode());
    file.write_at(0, block.as_ref())?;
    if !mutant::is("swap-in-unsynced-copy") {
        file.sync()?;
        file.forget_cached()?;
    }
    let new = old.repacked_as(end);
    if measure(file.as_ref(), &new)? != Some(record_bytes) {
        return Err(io::Error::other("the copy doesn't read back as written"));
    }
    marks.into_iter().for_each(|mark| new.learn_mark(mark));
    Ok(Arc::new(new))
}

/// Gives the copy the segment's name. Readers keep to the old file until the new one has it.
fn put_in_place(
    core: &Core,
    old: &Arc<Segment>,
    new: Arc<Segment>,
    name: &str,
) -> io::Result<Tried> {
    let repacked = Repacked {
        sequence: old.sequence,
        bytes_before: old.bytes,
        bytes: new.bytes,
    };
    let freed = old.bytes - new.bytes;
    let swapped = core.stock.swap(freed, || {
        core.segments.pin(old)?;
        core.disk.rename(name, &segment_name(old.sequence))?;
        // Whether or not this reaches the disk, the name means a file that holds the records.
        let synced = core.disk.sync();
        core.segments.replace(old, new);
        Ok(synced)
    })?;
    let Some(synced) = swapped else {
        return Ok(Tried::Left);
    };
    let mut stats = lock(&core.stats);
    stats.repacks += 1;
    stats.repacked_bytes += freed;
    stats.repack_failures += u64::from(synced.is_err());
    Ok(Tried::Done(repacked))
}

/// Lays records one behind the other, a frame of about a megabyte at a time.
struct Writer<'a> {
    file: &'a dyn File,
    segment: &'a Segment,
    position: u64,
    frame: Vec<u8>,
    records: usize,
    marks: Vec<Mark>,
}

impl<'a> Writer<'a> {
    fn new(file: &'a dyn File, segment: &'a Segment) -> Self {
        Self {
            file,
            segment,
            position: DATA_START,
            frame: Vec::new(),
            records: 0,
            marks: Vec::new(),
        }
    }

    fn add(&mut self, placed: &Placed) -> io::Result<()> {
        let full = FRAME_BYTES <= self.frame.len() || FRAME_RECORDS <= self.records;
        let stored = &placed.stored;
        let mut flags = placed.flags & !FLAG_FRAME;
        // A group never spans frames.
        if full && flags & crate::layout::FLAG_FIRST != 0 {
            self.write()?;
        }
        if self.records == 0 {
            flags |= FLAG_FRAME;
            self.marks.push(Mark {
                offset: stored.offset.0,
                position: self.position,
            });
        }
        let seed = self.segment.seed();
        let header = RecordHeader {
            kind: stored.kind,
            flags,
            version: stored.version,
            body_bytes: u32::try_from(stored.body.len()).map_err(io::Error::other)?,
            offset: stored.offset.0,
            body_crc: seed.body_crc(stored.offset.0, &stored.body),
            tag: stored.tag,
        };
        let start = self.frame.len();
        self.frame.extend_from_slice(&header.encode(seed));
        self.frame.extend_from_slice(&stored.body);
        self.frame
            .resize(padded(start + RECORD_HEADER_BYTES + stored.body.len()), 0);
        self.records += 1;
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let bytes = blocks(self.frame.len());
        let mut frame = AlignedBytes::with_capacity(bytes);
        frame.extend(&self.frame);
        frame.pad_to(bytes);
        self.file.write_at(self.position, frame.as_ref())?;
        self.position += bytes as u64;
        self.frame.clear();
        self.records = 0;
        Ok(())
    }

    /// Where the last frame ends, and where each begins.
    fn finish(mut self) -> io::Result<(u64, Vec<Mark>)> {
        if self.records != 0 {
            self.write()?;
        }
        Ok((self.position, self.marks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::OsClock;
    use crate::disk::{Disk, DiskFacts, Entry};
    use crate::model_disk::ModelDisk;
    use crate::options::Options;
    use crate::record::{Group, Offset, Record};
    use crate::segment::Segments;
    use crate::{Driver, Journal, recovery};
    use std::sync::{Mutex, OnceLock};

    fn options() -> Options {
        Options {
            segment_bytes: 160 << 10,
            reserve_bytes: 320 << 10,
            min_free: 0,
            group_bytes_max: 4096,
            tail_bytes: 0,
            ..Options::default()
        }
    }

    /// Lone records that fill a segment, enough for positions in it to be remembered.
    const RECORDS: usize = 39;

    fn fill(disk: &ModelDisk, segments: usize) {
        let clock = Arc::new(OsClock::new());
        let (journal, driver, _) = Journal::open(disk.clone(), clock, options()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut driver = std::pin::pin!(Driver::run(driver));
            for _ in 0..RECORDS * segments {
                let group = Group::one(Record {
                    kind: 1,
                    version: 1,
                    tag: 0,
                    body: bytes::Bytes::from_static(&[7; 100]),
                });
                tokio::select! {
                    appended = journal.append(group) => drop(appended.unwrap()),
                    end = &mut driver => panic!("{end:?}"),
                }
            }
        });
    }

    #[test]
    fn who_has_the_old_layout_in_hand_is_told_to_look_again() {
        let disk = ModelDisk::new();
        fill(&disk, 3);
        let clock = Arc::new(OsClock::new());
        let core = recovery::open(Arc::new(disk), clock, options())
            .unwrap()
            .core;
        let old = core.segments.list();
        assert_eq!(repack_one(&core).unwrap().unwrap().sequence, 2);
        assert!(old[1].is_reclaimed());
        assert!(!old[0].is_reclaimed());
        assert!(!core.segments.list()[1].is_reclaimed());
        assert!(!Segments::begin_repacking(&core.segments, &old[1]));
    }

    /// A disk on which something happens right after each rename.
    struct Hooked {
        disk: ModelDisk,
        hook: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
    }

    impl Disk for Hooked {
        fn lock(&self) -> io::Result<Result<(), u32>> {
            self.disk.lock()
        }
        fn unlock(&self) {
            self.disk.unlock();
        }
        fn list(&self) -> io::Result<Vec<Entry>> {
            self.disk.list()
        }
        fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
            self.disk.create(name)
        }
        fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
            self.disk.open(name)
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.disk.rename(from, to)?;
            if let Some(hook) = self.hook.get() {
                hook();
            }
            Ok(())
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.disk.remove(name)
        }
        fn sync(&self) -> io::Result<()> {
            self.disk.sync()
        }
        fn free_bytes(&self) -> io::Result<u64> {
            self.disk.free_bytes()
        }
        fn facts(&self) -> DiskFacts {
            self.disk.facts()
        }
    }

    #[test]
    fn who_reads_between_the_rename_and_the_new_layout_reads_the_old_file() {
        // More segments than files are kept open, so that each is opened by name again.
        const SEGMENTS: usize = 70;
        let disk = ModelDisk::new();
        fill(&disk, SEGMENTS);
        let hook = Arc::new(OnceLock::new());
        let hooked = Hooked {
            disk,
            hook: Arc::clone(&hook),
        };
        let (journal, _driver, _) =
            Journal::open(hooked, Arc::new(OsClock::new()), options()).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (reader, told) = (journal.clone(), Arc::clone(&seen));
        let read_all = move || {
            for offset in 0..(RECORDS * SEGMENTS) as u64 {
                let reading = reader.read(Offset(offset), 1).unwrap();
                assert_eq!(reading.records[0].offset, Offset(offset));
                assert!(reading.damaged.is_empty());
            }
            lock(&told).push(reader.segments().iter().filter(|s| s.repacked).count());
        };
        assert!(hook.set(Box::new(read_all)).is_ok());
        for _ in 0..2 {
            journal.repack().unwrap().unwrap();
        }
        assert_eq!(*lock(&seen), [0, 1]);
        // A hook that holds the journal holds its folder.
        drop(journal);
    }
}
