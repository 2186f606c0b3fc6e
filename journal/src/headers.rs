//! The headers of all segments, checked against each other.
//!
//! One that can't be read, or that is another segment's, is found out from the others: then only its
//! block was damaged, or changed places with another. Where that finds no record it is the whole file
//! that lies where it doesn't belong, and the log isn't opened.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::Disk;
use crate::layout::{BLOCK_BYTES, BadSegmentHeader, DATA_START, FORMAT_VERSION, SegmentHeader};
use crate::mutant;
use crate::rebuild::rebuild;
use crate::record::Offset;
use crate::recovery::OpenError;
use crate::scan::{Cause, Damage};
use crate::segment::segment_name;
use crate::survey::{Access, Headed};

/// The headers of a folder.
pub(crate) struct Headers {
    /// Of all segments whose header could be read or found out, checked against each other.
    pub(crate) headed: Vec<Headed>,
    /// Files that belong elsewhere, or of which nothing can be read, as a visitor is told of them.
    pub(crate) strays: Vec<Damage>,
}

/// Reads the header of each of these segments: their sequences, and how long their files are.
pub(crate) fn read_headers(
    disk: &Arc<dyn Disk>,
    names: &[(u64, u64)],
    access: Access,
) -> Result<Headers, OpenError> {
    let mut blocks = Vec::with_capacity(names.len());
    for &(sequence, length) in names {
        blocks.push((sequence, length, read_header(disk, sequence)?));
    }
    let log_id = most_common_log(&blocks);
    let mut all: Vec<Headed> = Vec::with_capacity(names.len());
    let mut headless = Vec::new();
    let mut strays = Vec::new();
    for (sequence, length, header) in blocks {
        let Some(header) = header else {
            headless.push((sequence, length, None));
            continue;
        };
        match check_place(sequence, &header, log_id, all.last()) {
            Ok(()) => all.push(Headed {
                header,
                length,
                rebuilt: false,
                found_from: DATA_START,
            }),
            Err(error) => headless.push((sequence, length, Some(error))),
        }
    }
    for (sequence, length, misplaced) in headless {
        let is_last = names.last().is_some_and(|last| last.0 == sequence);
        let name = segment_name(sequence);
        let found = rebuild(disk, &all, sequence, length).map_err(|source| OpenError::Io {
            doing: format!("reading {name}"),
            source,
        })?;
        match (found, misplaced) {
            // Where only the header is another's, the records are found all the same.
            (Some(headed), _) => {
                let at = all.partition_point(|one| one.header.sequence < sequence);
                all.insert(at, headed);
            }
            (None, Some(error)) if access == Access::Owner => return Err(error),
            (None, Some(_)) => strays.push(stray(sequence, length, Cause::Foreign)),
            (None, None)
                if is_last
                    && access == Access::Owner
                    && !mutant::is("open-without-last-segment") =>
            {
                return Err(OpenError::LastHeader { name });
            }
            (None, None) if is_last => strays.push(stray(sequence, length, Cause::Segment)),
            // The one before it ends in a hole.
            (None, None) => {}
        }
    }
    Ok(Headers {
        headed: all,
        strays,
    })
}

/// What a segment's header block says; none if neither copy can be read.
fn read_header(disk: &Arc<dyn Disk>, sequence: u64) -> Result<Option<SegmentHeader>, OpenError> {
    let name = segment_name(sequence);
    let block = disk
        .open(&name)
        .and_then(|file| file.read_at(0, BLOCK_BYTES))
        .map_err(|source| OpenError::Io {
            doing: format!("reading {name}"),
            source,
        })?;
    match SegmentHeader::decode(&block) {
        Ok(header) => Ok(Some(header)),
        Err(BadSegmentHeader::Damaged) => Ok(None),
        Err(BadSegmentHeader::Version(found)) => {
            let known = FORMAT_VERSION;
            Err(OpenError::Version { name, found, known })
        }
    }
}

/// The log that most of these headers are of, so that one that is another's doesn't speak for all; the
/// oldest one's among equals. Only those count that lie in their own file, by its name.
fn most_common_log(blocks: &[(u64, u64, Option<SegmentHeader>)]) -> Option<u64> {
    let mut counts: BTreeMap<u64, (usize, Reverse<u64>)> = BTreeMap::new();
    for (sequence, _, header) in blocks {
        if let Some(header) = header
            && header.sequence == *sequence
        {
            let first = (0, Reverse(*sequence));
            counts.entry(header.log_id).or_insert(first).0 += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(id, _)| id)
}

/// Whether a file is a segment of this log, and lies where it belongs.
fn check_place(
    sequence: u64,
    header: &SegmentHeader,
    log_id: Option<u64>,
    before: Option<&Headed>,
) -> Result<(), OpenError> {
    if let Some(expected) = log_id
        && expected != header.log_id
    {
        return Err(OpenError::Foreign {
            name: segment_name(sequence),
            found: header.log_id,
            expected,
        });
    }
    let before = before.map(|before| &before.header);
    if header.sequence != sequence || before.is_some_and(|before| header.first < before.first) {
        return Err(OpenError::Misplaced {
            name: segment_name(sequence),
            sequence: header.sequence,
            first: header.first,
        });
    }
    Ok(())
}

/// A whole file, of whose records nothing is known.
fn stray(sequence: u64, bytes: u64, cause: Cause) -> Damage {
    Damage {
        segment: sequence,
        position: 0,
        bytes,
        offsets: Offset(0)..Offset(0),
        cause,
    }
}
