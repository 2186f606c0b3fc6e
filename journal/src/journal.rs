//! The handle: what the rest of the program holds of a journal.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::appended::{AppendError, Appended, Desk, Porter};
use crate::clock::{Clock, WallTime};
use crate::committer::Opening;
use crate::disk::Disk;
use crate::driver::Driver;
use crate::hold::Hold;
use crate::lock::lock;
use crate::options::Options;
use crate::queue::{Full, Shared, Work};
use crate::reader::{ReadError, Reader, Reading, Source};
use crate::record::{Group, Offset};
use crate::recovery::{self, OpenError, Recovered};
use crate::repack::{RepackError, Repacked};
use crate::segment::Segments;
use crate::stats::Stats;
use crate::stock::Stock;
use crate::tail::Tail;

/// What is fixed about an open journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// How it makes records durable: `direct+fdatasync`, `buffered+fdatasync` or `memory`.
    pub class: &'static str,
    /// Drawn when the log was created. One without a segment draws another when it is opened again.
    pub log_id: u64,
    /// The largest group it takes, as `Group::bytes` counts.
    pub group_bytes_max: usize,
    /// Bytes of a new segment.
    pub segment_bytes: u64,
    /// Of the bytes that segments may take, so many are for notes and reserved appends.
    pub reserve_bytes: u64,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the segments in use.
    pub bytes_used: u64,
    /// Bytes of spare files beside them.
    pub bytes_spare: u64,
    /// At most so many: from the options, or as set since.
    pub bytes_max: u64,
    /// What the file system has left; none if it didn't say.
    pub disk_free: Option<u64>,
    /// Of that, what segments may still be made of until only [`crate::Options::min_free`] is left,
    /// and the spare files.
    pub disk_room: Option<u64>,
    /// Whether somebody holds the files, as a backup does: what is reclaimed gives no room until then.
    pub held: bool,
}

/// A segment, as retention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its number; they grow by one.
    pub sequence: u64,
    /// The offset of its first record.
    pub first: Offset,
    /// The offset behind its last.
    pub end: Offset,
    /// Bytes of its file.
    pub bytes: u64,
    /// Bytes of its records, without what pads its frames; none if that isn't known, as of one that
    /// an earlier version of this code sealed.
    pub record_bytes: Option<u64>,
    /// Whether its records were laid out anew, without padding.
    pub repacked: bool,
    /// When it was opened.
    pub created: WallTime,
    /// Whether nothing more will be written to it.
    pub sealed: bool,
}

/// What `reclaim` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reclaimed {
    /// How many segments are given up.
    pub segments: usize,
    /// The oldest record that can still be read.
    pub start: Offset,
}

/// Everything that lives as long as any handle does.
pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) stock: Stock,
    pub(crate) stats: Arc<Mutex<Stats>>,
    pub(crate) opening: Arc<Mutex<Option<Opening>>>,
    pub(crate) durable: watch::Receiver<Offset>,
    pub(crate) facts: Facts,
}

impl Drop for Core {
    fn drop(&mut self) {
        self.disk.unlock();
    }
}

/// A journal. Cheap to clone; the folder stays locked until the last clone, reader and driver are
/// gone.
#[derive(Clone)]
pub struct Journal {
    core: Arc<Core>,
}

impl Journal {
    /// Opens the log on `disk`, which may be empty, and recovers it. Nothing is written until the
    /// driver runs and something is appended.
    ///
    /// # Errors
    ///
    /// If the log can't be read, isn't one that this version knows, or belongs to another process.
    /// Nothing has been changed then.
    pub fn open(
        disk: impl Disk,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<(Self, Driver, Recovered), OpenError> {
        let opened = recovery::open(Arc::new(disk), clock, options)?;
        let core = Arc::new(opened.core);
        let driver = Driver::new(Arc::clone(&core), opened.committer);
        Ok((Self { core }, driver, opened.recovered))
    }

    /// Stores `group` and resolves, with its offsets, once it would survive a power cut.
    ///
    /// It is queued at once if there is room, so calls in order are stored in order; else when the
    /// future is polled and room has come. After `Err` see [`AppendError`]: only `Stopped` leaves
    /// open whether it was stored.
    pub fn append(&self, group: Group) -> Appended {
        Appended::begin(&self.core.shared, Work::Append, Some(group), None)
    }

    /// As `append`, for what frees more than it takes: it may use half of `reserve_bytes` and half
    /// of `min_free`, so it is refused with `NoSpace` only when those are gone too.
    pub fn append_reserved(&self, group: Group) -> Appended {
        Appended::begin(&self.core.shared, Work::Reserved, Some(group), None)
    }

    /// Stores `group` with the next frame, or within `note_delay` (within a second while no further
    /// segment may be opened for appends), in order with everything else. After `Ok` it is stored unless the journal stops first; nobody is told when.
    ///
    /// # Errors
    ///
    /// The group is given back when the bound on waiting notes is met, or the journal has ended.
    pub fn note(&self, group: Group) -> Result<(), Full> {
        self.core.shared.note(group)
    }

    /// Returns when half of the room for notes is free, or none will be taken any more.
    pub async fn noted_room(&self) {
        self.core.shared.noted_room().await;
    }

    /// Resolves once everything handed in before is durable, with the empty range at the end.
    pub fn flush(&self) -> Appended {
        Appended::begin(&self.core.shared, Work::Flush, None, None)
    }

    /// The offset behind the last durable record. What it is now counts as not yet seen, so the
    /// first `changed` may return at once. Its sender goes away when the journal ends.
    pub fn durable(&self) -> watch::Receiver<Offset> {
        self.core.durable.clone()
    }

    /// Reads from `from` on: durable records only, at least one if there is one, up to about
    /// `bytes_max` bytes of bodies and headers. Blocks on the disk if the records aren't among the
    /// latest.
    ///
    /// # Errors
    ///
    /// If `from` was reclaimed, or the disk fails.
    pub fn read(&self, from: Offset, bytes_max: usize) -> Result<Reading, ReadError> {
        self.source().read(from.0, bytes_max)
    }

    /// A reader for single records, with a cache of its own.
    pub fn reader(&self) -> Reader {
        Reader::new(self.source())
    }

    fn source(&self) -> Source {
        Source::new(Arc::clone(&self.core))
    }

    /// A handle for the tasks of one current-thread runtime, and the porter to spawn there. See
    /// [`Porter`] for what it saves.
    pub fn local(&self) -> (LocalJournal, Porter) {
        let (desk, porter) = Porter::new(Arc::clone(&self.core.shared));
        let local = LocalJournal {
            journal: self.clone(),
            desk,
        };
        (local, porter)
    }

    /// The oldest record that can still be read.
    pub fn start(&self) -> Offset {
        Offset(self.core.segments.start())
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentFacts> {
        let all = self.core.segments.list();
        let facts = all.iter().map(|segment| SegmentFacts {
            sequence: segment.sequence,
            first: Offset(segment.first),
            end: Offset(segment.end()),
            bytes: segment.bytes,
            record_bytes: segment.record_bytes(),
            repacked: segment.repacked,
            created: segment.created,
            sealed: segment.is_sealed(),
        });
        facts.collect()
    }

    /// Gives up whole sealed segments in which every record lies before `before`, for reuse. The
    /// caller answers for it that nothing in them is owed. They can't be read from now on; their
    /// space comes free shortly after. After a crash right then they may be back.
    pub fn reclaim(&self, before: Offset) -> Reclaimed {
        let taken = self.core.segments.take_before(before.0);
        let segments = taken.len();
        if segments != 0 {
            self.core.stock.give_back(taken);
            self.core.shared.nudge();
        }
        let start = self.start();
        Reclaimed { segments, start }
    }

    /// Until the guard is dropped no segment file is recycled, removed or replaced, so that the
    /// files can be copied by name. `reclaim` goes on taking segments out of use; their room comes
    /// free when the last guard is gone. Waits for what is being recycled at the moment.
    pub fn hold(&self) -> Hold {
        Hold::new(Arc::clone(&self.core))
    }

    /// Changes `bytes_max`, and returns what it now is. Lowered, it never goes below the reserve and
    /// one segment, and leaves notes what is used and the reserve, if they had it; so it may take
    /// further calls, after something was reclaimed, to come down to `bytes`.
    pub fn set_bytes_max(&self, bytes: u64) -> u64 {
        let now = self.core.stock.set_bytes_max(bytes);
        self.core.shared.nudge();
        now
    }

    /// Lays the records of one sealed segment that is mostly padding out anew, without it, into a
    /// shorter file that takes its place: the same records, at the same offsets. A driver on a thread
    /// of its own does so by itself; this is for other drivers, and for tests. Blocks on the disk.
    /// None if there is no such segment, if files are held, or if there is no room for the copy.
    ///
    /// # Errors
    ///
    /// If the copy can't be made. Everything is as it was then; nothing is lost.
    pub fn repack(&self) -> Result<Option<Repacked>, RepackError> {
        crate::repack::repack_one(&self.core)
    }

    /// Writes the side file of the sealed segment `sequence`, in place of one that is there: bytes
    /// that the caller derived from its records and can derive again. It goes with its segment, and
    /// isn't counted in `usage`. `false` if there is no such segment. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// If the disk fails or is full; the segment may be without side file then.
    pub fn write_side(&self, sequence: u64, content: &[u8]) -> std::io::Result<bool> {
        crate::side::write(&self.core, sequence, content)
    }

    /// What `write_side` wrote; none if the file is missing, damaged or cut short.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn read_side(&self, sequence: u64) -> std::io::Result<Option<bytes::Bytes>> {
        crate::side::read(&self.core, sequence)
    }

    /// How much room there is.
    pub fn usage(&self) -> Usage {
        let bytes_used = self.core.stock.used();
        let bytes_spare = self.core.stock.bytes().saturating_sub(bytes_used);
        let disk_free = self.core.disk.free_bytes().ok();
        Usage {
            bytes_used,
            bytes_spare,
            bytes_max: self.core.stock.room().max,
            disk_free,
            disk_room: disk_free.map(|free| bytes_spare + self.core.stock.beyond_min_free(free)),
            held: self.core.stock.is_held(),
        }
    }

    /// What is fixed about it.
    pub fn facts(&self) -> &Facts {
        &self.core.facts
    }

    /// What was counted since it was opened.
    pub fn stats(&self) -> Stats {
        lock(&self.core.stats).clone()
    }

    /// From now on each new segment opens with the groups that `opening` makes. It is called by
    /// the committer and must neither block nor call the journal. Together they may take half a
    /// segment; more stops the journal.
    pub fn set_opening(&self, opening: Arc<dyn Fn() -> Vec<Group> + Send + Sync>) {
        *lock(&self.core.opening) = Some(opening);
    }

    /// Closes the journal in order: everything handed in so far is written, then `last`, marked as
    /// the end. Nothing is taken from now on. The next open finds the log clean, if this resolves
    /// with `Ok`.
    ///
    /// # Errors
    ///
    /// As of `append`. With `NoSpace` the notes that waited are lost with it.
    pub async fn close(self, last: Group) -> Result<Range<Offset>, AppendError> {
        Appended::begin(&self.core.shared, Work::Close, Some(last), None).await
    }
}

/// A handle of one runtime: its appends are woken together. Everything else is as with [`Journal`].
#[derive(Clone)]
pub struct LocalJournal {
    journal: Journal,
    desk: Arc<Desk>,
}

impl LocalJournal {
    /// As [`Journal::append`].
    pub fn append(&self, group: Group) -> Appended {
        let desk = Some(Arc::clone(&self.desk));
        Appended::begin(&self.journal.core.shared, Work::Append, Some(group), desk)
    }

    /// As [`Journal::append_reserved`].
    pub fn append_reserved(&self, group: Group) -> Appended {
        let desk = Some(Arc::clone(&self.desk));
        Appended::begin(&self.journal.core.shared, Work::Reserved, Some(group), desk)
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("facts", self.facts())
            .finish_non_exhaustive()
    }
}

/// Opens the folder `path` of the operating system's disk. For callers that need nothing special.
impl Journal {
    /// As [`Journal::open`], on an [`crate::OsDisk`].
    ///
    /// # Errors
    ///
    /// As `open`, and if the folder can't be made.
    pub fn open_folder(
        path: &Path,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<(Self, Driver, Recovered), OpenError> {
        let disk = crate::OsDisk::open(path).map_err(|source| OpenError::Io {
            doing: format!("opening folder {}", path.display()),
            source,
        })?;
        Self::open(disk, clock, options)
    }
}
