//! Finding a segment's records again whose header can't be read.
//!
//! A header has two copies, in one block; when that block is lost so are both. What the header said
//! follows from the rest of the log: the log's id is in every header, the generation is the others'
//! with the segment's own number in its lower half, and where the segment begins is where the one
//! before it ends. Nothing is written: it is found out at each opening, until the segment goes.

use std::io;
use std::sync::Arc;

use crate::disk::Disk;
use crate::layout::{DATA_START, RepackedEnd, SegmentHeader};
use crate::segment::segment_name;
use crate::survey::Headed;
use crate::walk::Walked;

/// The header that segment `sequence` must have had, by what `others`, which are in order, say and
/// by its own records. None if there is no other, or no record is found by it.
pub(crate) fn rebuild(
    disk: &Arc<dyn Disk>,
    others: &[Headed],
    sequence: u64,
    length: u64,
) -> io::Result<Option<Headed>> {
    let behind = others.partition_point(|one| one.header.sequence < sequence);
    let before = behind.checked_sub(1).map(|at| &others[at]);
    let next = others.get(behind);
    let Some(peer) = before.or(next) else {
        return Ok(None);
    };
    let low = u64::from(u32::MAX);
    let mut header = SegmentHeader {
        log_id: peer.header.log_id,
        sequence,
        generation: (peer.header.generation & !low) | (sequence & low),
        first: before.map_or(0, |before| before.header.first),
        created_ms: peer.header.created_ms,
        segment_bytes: peer.header.segment_bytes,
        before_end: 0,
        before_torn: 0,
        before_record_bytes: 0,
        repacked: None,
    };
    let adjacent = before.filter(|before| before.header.sequence + 1 == sequence);
    if let Some(before) = adjacent {
        let mut walked = walk(disk, before)?;
        header.first = walked.end;
        header.before_end = walked.end_position;
        header.before_torn = walked.torn().map_or(0, |torn| torn.from);
        header.before_record_bytes = walked.record_bytes;
    }
    let mut headed = Headed {
        header,
        length,
        rebuilt: true,
        found_from: DATA_START,
    };
    let mut extent = headed.extent();
    extent.end_offset = next.map(|next| next.header.first);
    let file = disk.open(&segment_name(sequence))?;
    let walked = Walked::through(file.as_ref(), extent)?;
    let Some(first) = walked.first else {
        return Ok(None);
    };
    if adjacent.is_none() {
        headed.header.first = first.offset;
        headed.found_from = first.position;
    }
    // Only a repacked one is as long as its frames need.
    headed.header.repacked = (length < header.segment_bytes).then_some(RepackedEnd {
        end_position: headed.bytes(),
        record_bytes: walked.record_bytes,
    });
    Ok(Some(headed))
}

/// Walks through the segment before, of which only the lost header knew where it ends.
fn walk(disk: &Arc<dyn Disk>, before: &Headed) -> io::Result<Walked> {
    let file = disk.open(&before.name())?;
    Walked::through(file.as_ref(), before.extent())
}
