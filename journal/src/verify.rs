//! Looking at a log without opening it: for `log verify` and `log cat`.
//!
//! Nothing is locked or changed, so it works on a crashed node's folder and on a running one's. Of
//! a running one the last frame may be seen half written; that shows as torn.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::clock::WallTime;
use crate::disk::{Disk, File};
use crate::layout::{BLOCK_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::os_disk::OsDisk;
use crate::reader::ReadError;
use crate::record::{Offset, Stored};
use crate::recovery::{OpenError, Recovered};
use crate::scan::{Cause, Damage, Found, Scan};
use crate::segment::{Segment, segment_name};
use crate::survey::{Access, survey};

/// What was found in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSegment {
    /// Its file.
    pub name: String,
    /// Its number.
    pub sequence: u64,
    /// The offset of its first record.
    pub first: Offset,
    /// The offset behind its last.
    pub end: Offset,
    /// How many of its records can be read.
    pub records: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// When it was opened.
    pub created: WallTime,
}

/// What was found in a log, all of it read and compared with its checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Each segment, oldest first.
    pub segments: Vec<VerifiedSegment>,
    /// Everything that can't be read, what crashes tore included.
    pub damage: Vec<Damage>,
    /// What opening the log would say.
    pub recovered: Recovered,
    /// Whether opening the log would be refused.
    pub refused: bool,
}

impl Verified {
    /// Whether nothing is damaged, but for what crashes tore: every record that was ever
    /// acknowledged, and not reclaimed, can be read; as far as the log can tell.
    pub fn is_whole(&self) -> bool {
        self.damage.iter().all(|damage| damage.cause == Cause::Torn)
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            writeln!(
                f,
                "{}: offsets {} up to {}, {} records, {} bytes",
                segment.name, segment.first, segment.end, segment.records, segment.body_bytes
            )?;
        }
        for damage in &self.damage {
            writeln!(f, "{damage}")?;
        }
        let records: u64 = self.segments.iter().map(|segment| segment.records).sum();
        let lost: u64 = self.damage.iter().map(Damage::records).sum();
        write!(f, "{records} records read, {lost} unreadable")
    }
}

/// Reads all of the log in `folder` and says what can't be read.
///
/// # Errors
///
/// If it isn't a log that this version can read at all.
pub fn verify(folder: &Path) -> Result<Verified, OpenError> {
    verify_disk(visit(folder)?)
}

/// As [`verify`], for any disk.
///
/// # Errors
///
/// If it isn't a log that this version can read at all.
pub fn verify_disk(disk: impl Disk) -> Result<Verified, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let survey = survey(&disk, Access::Visitor)?;
    // What the walks below come across themselves isn't taken from the survey a second time.
    let mut damage: Vec<Damage> = survey.recovered.damage.clone();
    damage.retain(|damage| {
        is_of_files(damage.cause) || (damage.cause == Cause::Header && damage.records() == 0)
    });
    let mut segments = Vec::new();
    for segment in &survey.table {
        let verified = verify_segment(&disk, segment, &mut damage);
        segments.push(verified.map_err(|source| OpenError::Io {
            doing: format!("reading {}", segment_name(segment.sequence)),
            source,
        })?);
    }
    // A segment that is missing shows as a hole behind the one before it.
    let missing: Vec<Damage> = damage
        .iter()
        .filter(|damage| damage.cause == Cause::Segment && damage.records() != 0)
        .cloned()
        .collect();
    damage.retain(|damage| {
        damage.cause == Cause::Segment || missing.iter().all(|one| one.offsets != damage.offsets)
    });
    damage.sort_by_key(|damage| (damage.segment, damage.position));
    Ok(Verified {
        segments,
        damage,
        recovered: survey.recovered,
        refused: survey.refused,
    })
}

/// Whether this is wrong with a file as such, and not found by a walk through its records.
fn is_of_files(cause: Cause) -> bool {
    match cause {
        Cause::Segment | Cause::SegmentHeader | Cause::Short | Cause::Foreign => true,
        Cause::Torn
        | Cause::Body
        | Cause::Header
        | Cause::Padding
        | Cause::Order
        | Cause::HeaderCopy => false,
    }
}

/// Opens a segment's file. A running node may have repacked it since its header was read: then what
/// is known of it is made anew, for the file that has its name now.
fn open_segment(
    disk: &Arc<dyn Disk>,
    known: &Arc<Segment>,
) -> io::Result<(Arc<Segment>, Arc<dyn File>)> {
    let file = disk.open(&segment_name(known.sequence))?;
    let block = file.read_at(0, BLOCK_BYTES)?;
    let now = SegmentHeader::decode(&block)
        .ok()
        .filter(|header| header.generation == known.generation && !known.repacked)
        .and_then(|header| header.repacked);
    let segment = now.map_or_else(|| Arc::clone(known), |end| Arc::new(known.repacked_as(end)));
    Ok((segment, file))
}

fn verify_segment(
    disk: &Arc<dyn Disk>,
    segment: &Arc<Segment>,
    damage: &mut Vec<Damage>,
) -> io::Result<VerifiedSegment> {
    let name = segment_name(segment.sequence);
    let (segment, file) = open_segment(disk, segment)?;
    let block = file.read_at(0, BLOCK_BYTES)?;
    if let Some(copy) = SegmentHeader::damaged_copy(&block) {
        let at = Offset(segment.first);
        damage.push(Damage {
            segment: segment.sequence,
            position: copy as u64,
            bytes: SEGMENT_HEADER_BYTES as u64,
            offsets: at..at,
            cause: Cause::HeaderCopy,
        });
    }
    let mut scan = Scan::new(file.as_ref(), segment.extent_from(segment.first));
    let (mut records, mut body_bytes) = (0, 0);
    while let Some(found) = scan.next()? {
        match found {
            Found::Record(placed) => {
                records += 1;
                body_bytes += placed.stored.body.len() as u64;
            }
            Found::Hole(hole) => damage.push(hole),
        }
    }
    Ok(VerifiedSegment {
        name,
        sequence: segment.sequence,
        first: Offset(segment.first),
        end: Offset(segment.end()),
        records,
        body_bytes,
        created: segment.created,
    })
}

/// The readable records of the log in `folder` from `from` on, in order. What can't be read is
/// passed over; `verify` names it.
///
/// # Errors
///
/// If it isn't a log that this version can read at all.
pub fn cat(folder: &Path, from: Offset) -> Result<Cat, OpenError> {
    cat_disk(visit(folder)?, from)
}

/// As [`cat`], for any disk.
///
/// # Errors
///
/// If it isn't a log that this version can read at all.
pub fn cat_disk(disk: impl Disk, from: Offset) -> Result<Cat, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let mut segments = survey(&disk, Access::Visitor)?.table;
    segments.retain(|segment| from.0 < segment.end());
    Ok(Cat {
        disk,
        segments,
        from: from.0,
        walk: None,
    })
}

fn visit(folder: &Path) -> Result<OsDisk, OpenError> {
    OsDisk::read_only(folder).map_err(|source| OpenError::Io {
        doing: format!("opening folder {}", folder.display()),
        source,
    })
}

/// Goes through a log's records. Holds a batch of them at a time.
pub struct Cat {
    disk: Arc<dyn Disk>,
    segments: VecDeque<Arc<Segment>>,
    from: u64,
    walk: Option<Walk>,
}

/// The segment being walked through, and what was fetched of it.
struct Walk {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    batch: VecDeque<Stored>,
}

/// Records fetched at once.
const BATCH_RECORDS: usize = 1024;

impl Cat {
    fn step(&mut self) -> Result<Option<Stored>, (u64, io::Error)> {
        loop {
            if self.walk.is_none() {
                let Some(segment) = self.segments.pop_front() else {
                    return Ok(None);
                };
                let (segment, file) = open_segment(&self.disk, &segment)
                    .map_err(|error| (segment.sequence, error))?;
                self.walk = Some(Walk {
                    segment,
                    file,
                    batch: VecDeque::new(),
                });
            }
            let Some(Walk {
                segment,
                file,
                batch,
            }) = &mut self.walk
            else {
                continue;
            };
            if let Some(stored) = batch.pop_front() {
                self.from = stored.offset.0 + 1;
                return Ok(Some(stored));
            }
            fetch(segment, file.as_ref(), self.from, batch)
                .map_err(|error| (segment.sequence, error))?;
            if batch.is_empty() {
                self.walk = None;
            }
        }
    }
}

fn fetch(
    segment: &Segment,
    file: &dyn File,
    from: u64,
    batch: &mut VecDeque<Stored>,
) -> io::Result<()> {
    let mut scan = Scan::new(file, segment.extent_from(from));
    while batch.len() < BATCH_RECORDS
        && let Some(found) = scan.next()?
    {
        if let Found::Record(placed) = found {
            segment.learn(&placed);
            if from <= placed.stored.offset.0 {
                batch.push_back(placed.stored);
            }
        }
    }
    Ok(())
}

impl Iterator for Cat {
    type Item = Result<Stored, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step()
            .map_err(|(segment, source)| {
                // Asking again would fail again: the walk ends here.
                self.segments.clear();
                self.walk = None;
                ReadError::Io { segment, source }
            })
            .transpose()
    }
}
