//! Reading back: from memory when fresh, else from the segments.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::journal::Core;
use crate::layout::RECORD_HEADER_BYTES;
use crate::record::{Offset, Stored};
use crate::scan::{Damage, Found, Scan};
use crate::segment::Segment;

/// Bytes of records a reader takes in at once.
const CHUNK_BYTES: usize = 128 << 10;
/// Chunks a reader keeps; the one unused for longest goes first.
const CHUNKS_MAX: usize = 16;
/// How far behind what was read last a record may be for the reader to be going through the log.
const NEAR_RECORDS: u64 = 128;
/// Bytes asked of the disk at once when single records are looked for.
const GET_BYTES: usize = 64 << 10;

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The record was reclaimed.
    #[error("offset {asked} was reclaimed, the log begins at {first}")]
    Gone { asked: Offset, first: Offset },
    /// The disk failed. The records may be readable later.
    #[error("reading segment {segment}")]
    Io {
        segment: u64,
        #[source]
        source: io::Error,
    },
}

/// A stretch of the log.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Durable records in order; contiguous but for `damaged`.
    pub records: Vec<Stored>,
    /// Where to read on. Equal to what was asked for only at the end of the log.
    pub next: Offset,
    /// What was passed over on the way: these records can't be read.
    pub damaged: Vec<Damage>,
}

/// Where readers read.
#[derive(Clone)]
pub(crate) struct Source {
    core: Arc<Core>,
}

impl Source {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    pub(crate) fn read(&self, from: u64, bytes_max: usize) -> Result<Reading, ReadError> {
        self.check_start(from)?;
        let durable = self.core.durable.borrow().0;
        if durable <= from {
            return Ok(Reading {
                next: Offset(from),
                ..Reading::default()
            });
        }
        let fresh = self.read_tail(from, durable, bytes_max);
        if !fresh.records.is_empty() {
            return Ok(fresh);
        }
        let mut reading = self.read_disk(from, bytes_max, crate::scan::CHUNK_BYTES)?;
        // A frame is in its segment a moment before all are told that it is durable.
        let shown = |stored: &Stored| stored.offset.0 < durable;
        let shown = reading.records.partition_point(shown);
        reading.records.truncate(shown);
        reading.next.0 = reading.next.0.min(durable);
        Ok(reading)
    }

    fn check_start(&self, asked: u64) -> Result<(), ReadError> {
        let first = self.core.segments.start();
        if asked < first {
            let (asked, first) = (Offset(asked), Offset(first));
            return Err(ReadError::Gone { asked, first });
        }
        Ok(())
    }

    fn read_tail(&self, from: u64, durable: u64, bytes_max: usize) -> Reading {
        let mut reading = Reading {
            next: Offset(from),
            ..Reading::default()
        };
        let mut bytes = 0;
        while reading.next.0 < durable
            && bytes < bytes_max.max(1)
            && let Some(frame) = self.core.tail.holding(reading.next.0)
        {
            while bytes < bytes_max.max(1)
                && let Some(record) = frame.get(reading.next.0)
            {
                bytes += RECORD_HEADER_BYTES + record.body.len();
                reading.next.0 += 1;
                reading.records.push(record);
            }
        }
        reading
    }

    fn read_disk(&self, from: u64, bytes_max: usize, chunk: usize) -> Result<Reading, ReadError> {
        loop {
            let Some(segment) = self.core.segments.holding(from) else {
                self.check_start(from)?;
                return Ok(Reading {
                    next: Offset(from),
                    ..Reading::default()
                });
            };
            let read = self.read_segment(&segment, from, bytes_max, chunk);
            // Looked at last: a file that is used anew looks damaged, or isn't there.
            if segment.is_reclaimed() {
                self.check_start(from)?;
                continue;
            }
            return read.map_err(|source| ReadError::Io {
                segment: segment.sequence,
                source,
            });
        }
    }

    fn read_segment(
        &self,
        segment: &Segment,
        from: u64,
        bytes_max: usize,
        chunk: usize,
    ) -> io::Result<Reading> {
        let file = self.core.segments.file(segment)?;
        let mut scan = Scan::new(file.as_ref(), segment.extent_from(from)).chunks_of(chunk);
        let mut reading = Reading {
            next: Offset(from),
            ..Reading::default()
        };
        let mut bytes = 0;
        while bytes < bytes_max.max(1)
            && let Some(found) = scan.next()?
        {
            match found {
                Found::Record(placed) => {
                    segment.learn(&placed);
                    if from <= placed.stored.offset.0 {
                        bytes += RECORD_HEADER_BYTES + placed.stored.body.len();
                        reading.records.push(placed.stored);
                    }
                }
                Found::Hole(mut hole) if from < hole.offsets.end.0 => {
                    hole.offsets.start = hole.offsets.start.max(Offset(from));
                    reading.damaged.push(hole);
                }
                Found::Hole(_) => {}
            }
            reading.next = reading.next.max(Offset(scan.offset()));
        }
        Ok(reading)
    }
}

/// Reads single records, mostly in order. Owned by one thread; several lanes that go through the
/// log at about the same place share its chunks.
///
/// What lies near to what was read before is read in chunks. A record from somewhere else is read
/// alone: whoever tries the oldest event of each of thousands of destinations has no use for what
/// lies around them.
pub struct Reader {
    source: Source,
    /// Most recently used first.
    chunks: VecDeque<Chunk>,
    /// Records read alone, the latest first.
    alone: VecDeque<Chunk>,
}

struct Chunk {
    first: u64,
    reading: Reading,
}

impl Reader {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            chunks: VecDeque::new(),
            alone: VecDeque::new(),
        }
    }

    /// The record at `offset`; none if it isn't durable yet, or is damaged, or was torn in a crash.
    /// The body keeps its chunk or frame in memory for as long as it lives.
    ///
    /// # Errors
    ///
    /// If `offset` was reclaimed, or the disk fails.
    pub fn get(&mut self, offset: Offset) -> Result<Option<Stored>, ReadError> {
        if self.source.core.durable.borrow().0 <= offset.0 {
            return Ok(None);
        }
        if let Some(frame) = self.source.core.tail.holding(offset.0) {
            return Ok(frame.get(offset.0));
        }
        self.source.check_start(offset.0)?;
        if let Some(chunk) = self.alone.iter().find(|chunk| chunk.holds(offset)) {
            return Ok(chunk.find(offset));
        }
        let known = self.chunks.iter().position(|chunk| chunk.holds(offset));
        if let Some(chunk) = known.and_then(|at| self.chunks.remove(at)) {
            let found = chunk.find(offset);
            self.chunks.push_front(chunk);
            return Ok(found);
        }
        let near = self.chunks.iter().chain(&self.alone);
        let goes_on = near.into_iter().any(|chunk| chunk.is_near(offset));
        let (read, bytes_max) = match goes_on {
            true => (&mut self.chunks, CHUNK_BYTES),
            false => (&mut self.alone, 1),
        };
        let chunk = Chunk {
            first: offset.0,
            reading: self.source.read_disk(offset.0, bytes_max, GET_BYTES)?,
        };
        let found = chunk.find(offset);
        read.push_front(chunk);
        read.truncate(CHUNKS_MAX);
        Ok(found)
    }

    /// Forgets all chunks, and gives their memory back.
    pub fn forget(&mut self) {
        self.chunks.clear();
        self.alone.clear();
    }
}

impl Chunk {
    fn holds(&self, offset: Offset) -> bool {
        (self.first..self.reading.next.0).contains(&offset.0)
    }

    /// Whether a record lies a little behind what this holds.
    fn is_near(&self, offset: Offset) -> bool {
        let next = self.reading.next.0;
        (next..=next.saturating_add(NEAR_RECORDS)).contains(&offset.0)
    }

    fn find(&self, offset: Offset) -> Option<Stored> {
        let records = &self.reading.records;
        records
            .binary_search_by_key(&offset, |record| record.offset)
            .ok()
            .map(|at| records[at].clone())
    }
}
