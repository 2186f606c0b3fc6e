//! Walking through the records of a segment, past whatever is damaged.
//!
//! A record's header has a checksum of its own, so a damaged body costs that record alone and the
//! walk goes on behind it. A damaged header hides how long its record is; the walk then looks at
//! every eighth byte for the marker of the next header that passes. Offsets only grow within a
//! segment, so what was lost is named by the offsets between. Where they don't, records lie in the wrong
//! place, and each is looked up by its offset wherever it lies. Reads a chunk at a time: memory is
//! bounded by the chunk and the largest record.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::disk::File;
use crate::layout::{
    ALIGN_BYTES, BLOCK_BYTES, DATA_START, MARKER, RECORD_HEADER_BYTES, RecordHeader, Seed, blocks,
    padded,
};
use crate::mutant;
use crate::record::{Offset, Stored};

/// Bytes read at once.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// Why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The last frame before a crash didn't reach the disk whole, or was damaged there later. If it
    /// was the crash, none of these records had been acknowledged.
    Torn,
    /// The record's body doesn't match its checksum.
    Body,
    /// Headers are unreadable, or the records aren't there at all.
    Header,
    /// A whole segment can't be read: its file is missing, or its first block is damaged.
    Segment,
    /// Bytes that should be zero aren't. No record is lost.
    Padding,
    /// Records lie in another place than they were written to, and are found there.
    Order,
    /// One of the two copies of a segment's header can't be read; the other one counts.
    HeaderCopy,
    /// A segment's first block can't be read; its records were found without it.
    SegmentHeader,
    /// The file isn't as long as it was. What lay at its end is not there.
    Short,
    /// The file is of another log, or of another place in this one. Such a log isn't opened.
    Foreign,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torn => "torn or lost in a crash",
            Self::Body => "body damaged",
            Self::Header => "header damaged or missing",
            Self::Segment => "segment missing or unreadable",
            Self::Padding => "bytes between records damaged",
            Self::Order => "records out of place",
            Self::HeaderCopy => "one of two copies of the segment's header damaged",
            Self::SegmentHeader => "segment's header unreadable, its records found without it",
            Self::Short => "file cut short",
            Self::Foreign => "file of another log or place",
        })
    }
}

/// A place where the log doesn't hold what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Sequence number of the segment.
    pub segment: u64,
    /// Where in its file the damage begins.
    pub position: u64,
    /// How many bytes of it are concerned.
    pub bytes: u64,
    /// The records that can't be read. Empty if none is lost.
    pub offsets: Range<Offset>,
    /// What is wrong.
    pub cause: Cause,
}

impl Damage {
    /// How many records can't be read.
    pub fn records(&self) -> u64 {
        self.offsets.end.0 - self.offsets.start.0
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            segment,
            position,
            bytes,
            offsets,
            cause,
        } = self;
        write!(f, "segment {segment} at byte {position}: {cause}, ")?;
        if *bytes != 0 {
            write!(f, "{bytes} bytes, ")?;
        }
        match (self.records(), cause) {
            // Of these it isn't known how many records they held.
            (0, Cause::Header | Cause::Segment | Cause::Short | Cause::Foreign) => {
                write!(f, "records unknown")
            }
            (0, _) => write!(f, "no record lost"),
            (1, _) => write!(f, "1 record (offset {})", offsets.start),
            (records, _) => {
                let last = offsets.end.0 - 1;
                write!(f, "{records} records (offsets {} to {last})", offsets.start)
            }
        }
    }
}

/// What a walk comes across.
#[derive(Debug)]
pub(crate) enum Found {
    Record(Placed),
    Hole(Damage),
}

/// A record, and where and how it lies in its segment.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) stored: Stored,
    pub(crate) position: u64,
    pub(crate) flags: u8,
    /// Whether all before it lie before it, so that a walk may begin here.
    pub(crate) in_order: bool,
}

impl Placed {
    /// Bytes from its start to where the next record may begin.
    pub(crate) fn record_bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES + padded(self.stored.body.len())) as u64
    }
}

/// The part of a segment to walk through, and what is known about it.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) segment: u64,
    pub(crate) seed: Seed,
    /// Where to begin: a record's position, or the start of the data.
    pub(crate) position: u64,
    /// The offset expected there.
    pub(crate) offset: u64,
    /// Nothing lies behind this position. Whole blocks.
    pub(crate) end_position: u64,
    /// The offset behind the last record, if known. Without it the walk ends where nothing more is
    /// found.
    pub(crate) end_offset: Option<u64>,
    /// Holes from this position on are a crash's doing.
    pub(crate) torn_from: u64,
    /// Readable records of groups that aren't whole: they don't count.
    pub(crate) voids: Vec<Range<u64>>,
    /// The offset of the segment's first record.
    pub(crate) first: u64,
    /// Known once it is asked for: most segments never are.
    pub(crate) order: Arc<OnceLock<Order>>,
}

/// How the offsets of a segment's headers follow each other, from its first to its last.
#[derive(Debug)]
pub(crate) enum Order {
    /// As they should.
    Grows,
    /// Some lie in the wrong place, as after two blocks were swapped: all of them by their offset,
    /// each with its position.
    Out(Vec<(u64, u64)>),
}

/// A walk through one segment.
pub(crate) struct Scan<'a> {
    file: &'a dyn File,
    extent: Extent,
    chunk_at: u64,
    chunk: Bytes,
    chunk_bytes: usize,
    bytes_read: u64,
    /// Records are looked up by their offset from here on, wherever they lie.
    looks_up: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a dyn File, extent: Extent) -> Self {
        Self {
            file,
            chunk_at: extent.position,
            extent,
            chunk: Bytes::new(),
            chunk_bytes: CHUNK_BYTES,
            bytes_read: 0,
            looks_up: false,
        }
    }

    pub(crate) fn chunks_of(mut self, bytes: usize) -> Self {
        self.chunk_bytes = blocks(bytes.max(4 * BLOCK_BYTES));
        self
    }

    /// The offset behind everything found so far.
    pub(crate) fn offset(&self) -> u64 {
        self.extent.offset
    }

    /// The position behind everything found so far.
    pub(crate) fn position(&self) -> u64 {
        self.extent.position
    }

    /// Whether records were found to lie in the wrong place.
    pub(crate) fn looks_up(&self) -> bool {
        self.looks_up
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next record or hole, or `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        loop {
            let expected = self.extent.offset;
            if self.extent.end_offset.is_some_and(|end| end <= expected) {
                return Ok(None);
            }
            if self.looks_up {
                return self.look_up();
            }
            let at = self.extent.position;
            let found = match self.header_at(at)? {
                Some(header) if header.offset == expected => {
                    return self.record(at, &header).map(Some);
                }
                Some(header) => Some((at, header.offset)),
                None => {
                    let boundary = at.next_multiple_of(BLOCK);
                    if at != boundary && self.is_zero(at, boundary)? {
                        self.extent.position = boundary;
                        continue;
                    }
                    self.next_header(at, expected)?
                }
            };
            let Some((position, offset)) = found else {
                let Some(end) = self.extent.end_offset else {
                    return Ok(None);
                };
                return Ok(Some(self.hole(at, self.extent.end_position.max(at), end)));
            };
            if offset != expected && self.is_out_of_order()? {
                // Believing this one would cost all between that lie in another place.
                self.looks_up = true;
                return Ok(Some(self.damage(at, 0, expected..expected, Cause::Order)));
            }
            return Ok(Some(self.hole(at, position, offset)));
        }
    }

    /// The record of the offset expected, wherever it lies, or a hole.
    fn look_up(&mut self) -> io::Result<Option<Found>> {
        let (order, expected) = (Arc::clone(&self.extent.order), self.extent.offset);
        let Some(Order::Out(headers)) = order.get() else {
            return Ok(None);
        };
        let behind = self.extent.position;
        let from = headers.partition_point(|&(offset, _)| offset < expected);
        let Some(&(next, _)) = headers.get(from) else {
            let end = self.extent.end_offset;
            return Ok(end.map(|end| self.hole(behind, behind, end)));
        };
        if expected < next {
            return Ok(Some(self.hole(behind, behind, next)));
        }
        // A block that took another's place may have a record twice, once with another's body.
        let mut found = None;
        for &(_, position) in headers[from..].iter().take_while(|one| one.0 == expected) {
            self.extent.offset = expected;
            if let Some(header) = self.header_at(position)? {
                let record = self.record(position, &header)?;
                let is_whole = matches!(record, Found::Record(_));
                found = Some(record);
                if is_whole {
                    break;
                }
            }
        }
        self.extent.offset = expected + 1;
        self.extent.position = self.extent.position.max(behind);
        Ok(found)
    }

    /// Whether records of this segment lie in the wrong place.
    fn is_out_of_order(&mut self) -> io::Result<bool> {
        if self.extent.order.get().is_none() {
            let (first, mut headers) = (self.extent.first, Vec::new());
            let mut at = DATA_START;
            while let Some((position, offset)) = self.next_header(at - ALIGN_BYTES as u64, first)? {
                headers.push((offset, position));
                // What looks like a header in the body of a whole record is none.
                let end = self.whole_until(position, first)?;
                at = end.unwrap_or(position + ALIGN_BYTES as u64);
            }
            let grows = headers.is_sorted_by(|before, after| before.0 < after.0);
            headers.sort_unstable();
            let order = match grows {
                true => Order::Grows,
                false => Order::Out(headers),
            };
            // Whoever was sooner has found the same.
            drop(self.extent.order.set(order));
        }
        Ok(matches!(self.extent.order.get(), Some(Order::Out(_))))
    }

    /// Reports the offsets up to `next` as lost, and goes on at `to`.
    fn hole(&mut self, from: u64, to: u64, next: u64) -> Found {
        let offsets = self.extent.offset..next;
        let torn = self.extent.torn_from <= from;
        let cause = match () {
            () if torn => Cause::Torn,
            () if offsets.is_empty() => Cause::Padding,
            () => Cause::Header,
        };
        self.extent.offset = next;
        self.extent.position = to;
        self.damage(from, to - from, offsets, cause)
    }

    fn damage(&self, position: u64, bytes: u64, offsets: Range<u64>, cause: Cause) -> Found {
        Found::Hole(Damage {
            segment: self.extent.segment,
            position,
            bytes,
            offsets: Offset(offsets.start)..Offset(offsets.end),
            cause,
        })
    }

    fn record(&mut self, at: u64, header: &RecordHeader) -> io::Result<Found> {
        let offset = header.offset;
        let body_bytes = header.body_bytes as usize;
        let body = self.view(at + RECORD_HEADER_BYTES as u64, body_bytes)?;
        self.extent.position = at + header.record_bytes();
        self.extent.offset = offset + 1;
        let whole = self.extent.seed.body_crc(offset, &body) == header.body_crc
            || mutant::is("serve-damaged-record");
        if !whole {
            self.extent.position = self.behind_damaged(at, header)?;
        }
        let lost = |cause| self.damage(at, header.record_bytes(), offset..offset + 1, cause);
        if !whole && at < self.extent.torn_from {
            return Ok(lost(Cause::Body));
        }
        if !whole || self.extent.voids.iter().any(|void| void.contains(&offset)) {
            return Ok(lost(Cause::Torn));
        }
        Ok(Found::Record(Placed {
            stored: Stored {
                offset: Offset(offset),
                kind: header.kind,
                version: header.version,
                tag: header.tag,
                body,
            },
            position: at,
            flags: header.flags,
            in_order: !self.looks_up,
        }))
    }

    /// The header at `at`, if one is there that can follow what was found so far.
    fn header_at(&mut self, at: u64) -> io::Result<Option<RecordHeader>> {
        self.header_from(at, self.extent.offset)
    }

    /// The header at `at`, if one is there of an offset from `lowest` on.
    fn header_from(&mut self, at: u64, lowest: u64) -> io::Result<Option<RecordHeader>> {
        if self.extent.end_position < at + RECORD_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let bytes = self.view(at, RECORD_HEADER_BYTES)?;
        let header = RecordHeader::decode(&bytes, self.extent.seed);
        Ok(header.filter(|header| {
            lowest <= header.offset
                && self.extent.end_offset.is_none_or(|end| header.offset < end)
                && at + header.record_bytes() <= self.extent.end_position
        }))
    }

    /// Where the record at `position` ends, if its body passes too.
    fn whole_until(&mut self, position: u64, lowest: u64) -> io::Result<Option<u64>> {
        let Some(header) = self.header_from(position, lowest)? else {
            return Ok(None);
        };
        let start = position + RECORD_HEADER_BYTES as u64;
        let body = self.view(start, header.body_bytes as usize)?;
        let whole = self.extent.seed.body_crc(header.offset, &body) == header.body_crc;
        Ok(whole.then_some(position + header.record_bytes()))
    }

    /// Where to go on behind a record whose body doesn't pass: where it ends; or, if its header lies in
    /// a block that changed places, at a whole record that its length would pass over.
    fn behind_damaged(&mut self, at: u64, header: &RecordHeader) -> io::Result<u64> {
        let (end, lowest) = (at + header.record_bytes(), header.offset + 1);
        let mut from = at;
        while let Some((position, _)) = self.next_header(from, lowest)?
            && position < end
        {
            if self.whole_until(position, lowest)?.is_some() {
                return Ok(position);
            }
            from = position;
        }
        Ok(end)
    }

    /// The position and offset of the next header behind `from`, of an offset from `lowest` on.
    fn next_header(&mut self, from: u64, lowest: u64) -> io::Result<Option<(u64, u64)>> {
        let mut at = from + ALIGN_BYTES as u64;
        while at + RECORD_HEADER_BYTES as u64 <= self.extent.end_position {
            let rest = usize::try_from(self.extent.end_position - at).unwrap_or(usize::MAX);
            let window = self.view(at, rest.min(self.chunk_bytes - BLOCK_BYTES))?;
            let steps = (window.len() - MARKER.len()) / ALIGN_BYTES + 1;
            let candidate =
                (0..steps).find(|step| window[step * ALIGN_BYTES..].starts_with(&MARKER));
            let Some(step) = candidate else {
                at += (steps * ALIGN_BYTES) as u64;
                continue;
            };
            at += (step * ALIGN_BYTES) as u64;
            if let Some(header) = self.header_from(at, lowest)? {
                return Ok(Some((at, header.offset)));
            }
            at += ALIGN_BYTES as u64;
        }
        Ok(None)
    }

    fn is_zero(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let bytes = usize::try_from(to - from).expect("less than a block");
        Ok(self.view(from, bytes)?.iter().all(|&byte| byte == 0))
    }

    /// `bytes` at `at`, which lie before the end.
    fn view(&mut self, at: u64, bytes: usize) -> io::Result<Bytes> {
        let end = at + bytes as u64;
        if at < self.chunk_at || self.chunk_at + (self.chunk.len() as u64) < end {
            let from = at / BLOCK * BLOCK;
            let needed = blocks(usize::try_from(end - from).map_err(io::Error::other)?);
            let left = usize::try_from(self.extent.end_position - from).unwrap_or(usize::MAX);
            let wanted = needed.max(self.chunk_bytes).min(left);
            self.chunk = self.file.read_at(from, wanted)?;
            self.chunk_at = from;
            self.bytes_read += self.chunk.len() as u64;
            if self.chunk_at + (self.chunk.len() as u64) < end {
                // A file shorter than a segment: what is missing reads as zeros, and so as a hole.
                let mut longer = self.chunk.to_vec();
                longer.resize(wanted, 0);
                self.chunk = longer.into();
            }
        }
        let start = usize::try_from(at - self.chunk_at).map_err(io::Error::other)?;
        Ok(self.chunk.slice(start..start + bytes))
    }
}
