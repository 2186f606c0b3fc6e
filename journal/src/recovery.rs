//! Opening a log: finding out what it holds, and saying what it doesn't.
//!
//! Only the last segment is walked through; what the others cover follows from the headers. A
//! segment that wasn't closed in order is never written on: it is sealed where it is, and the next
//! append opens another, whose header remembers from where on only whole groups count. Nothing is
//! truncated, deleted or started empty. What couldn't be read is reported, and can still be read
//! up to and behind.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::clock::{Clock, WallTime};
use crate::committer::{Committer, Continue, Outlets};
use crate::disk::Disk;
use crate::journal::{Core, Facts};
use crate::layout::{BLOCK_BYTES, SegmentHeader};
use crate::mutant;
use crate::options::{Options, OptionsError};
use crate::queue::Shared;
use crate::record::Offset;
use crate::scan::Damage;
use crate::segment::Segments;
use crate::stock::Stock;
use crate::survey::{Access, Survey, survey};
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
    /// The last segment's first block is damaged, and its records weren't found without it, so it
    /// isn't known which offset comes next.
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
        let spares = sort_spares(&disk, &survey, options.segment_bytes)
            .map_err(doing("looking at the spare files"))?;
        Ok((survey, spares))
    });
    let (survey, spares) = surveyed.inspect_err(|_| disk.unlock())?;
    Ok(assemble(disk, clock, options, survey, spares))
}

/// Spares that can be used, and the number for the next. One of another size was left by a crash
/// while it was made, or by other options; it holds nothing. Neither does one of another life.
fn sort_spares(
    disk: &Arc<dyn Disk>,
    survey: &Survey,
    segment_bytes: u64,
) -> io::Result<(Vec<String>, u64)> {
    let spares = &survey.spares;
    let next = spares.iter().map(|(number, ..)| number + 1).max();
    let last = survey.table.back().map_or(0, |last| last.sequence);
    let mut usable = Vec::new();
    for (_, name, bytes) in spares {
        if *bytes == segment_bytes && is_of_the_past(disk, name, last)? {
            usable.push(name.clone());
        } else {
            disk.remove(name)?;
        }
    }
    Ok((usable, next.unwrap_or(0)))
}

/// Whether all that a spare holds of earlier uses was written before segment `last` was opened. Where
/// an older log was put back beside it, or power failed while it became a segment, it has been used
/// under a number that will be given again: then its old records would pass as new ones.
fn is_of_the_past(disk: &Arc<dyn Disk>, name: &str, last: u64) -> io::Result<bool> {
    let block = disk.open(name)?.read_at(0, BLOCK_BYTES)?;
    Ok(match SegmentHeader::decode(&block) {
        Ok(header) => header.sequence <= last,
        // As it was filled, or something nobody can tell the number of.
        Err(_) => block.iter().all(|&byte| byte == 0),
    })
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
            .filter(|_| recovered.clean || mutant::is("write-on-after-crash"))
            .and_then(|file| Some((last?, file))),
        generation_base: random(clock.wall()),
    };
    let stock = Stock::new(Arc::clone(&disk), &options, used, spares, next_spare);
    let facts = Facts {
        class: disk.facts().class,
        log_id,
        group_bytes_max: options.group_bytes_max,
        segment_bytes: options.segment_bytes,
        reserve_bytes: options.reserve_bytes,
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
