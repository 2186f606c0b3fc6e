//! Laying records into a frame's buffer: one copy of each body, and its checksums.

use std::sync::Arc;

use bytes::Bytes;

use crate::buffers::Buffers;
use crate::disk::AlignedBytes;
use crate::layout::{
    BLOCK_BYTES, FLAG_CLOSE, FLAG_FIRST, FLAG_FRAME, FLAG_LAST, RECORD_HEADER_BYTES, RecordHeader,
    Seed, blocks, padded,
};
use crate::record::Group;

/// Lays records into a frame's buffer.
pub(crate) struct Encoder {
    seed: Seed,
    /// The offset of the next record.
    pub(crate) offset: u64,
    buffer: AlignedBytes,
    buffers: Arc<Buffers>,
    starts: Vec<u32>,
}

impl Encoder {
    /// A frame that begins at `offset` and has room for so many records, of so many bytes with
    /// their headers.
    pub(crate) fn new(
        seed: Seed,
        offset: u64,
        records: usize,
        bytes: usize,
        buffers: &Arc<Buffers>,
    ) -> Self {
        Self {
            seed,
            offset,
            buffer: buffers.take(blocks(bytes)),
            buffers: Arc::clone(buffers),
            starts: Vec::with_capacity(records),
        }
    }

    pub(crate) fn add(&mut self, group: &Group, closes: bool) {
        let records = group.records();
        for (index, record) in records.iter().enumerate() {
            let mut flags = 0;
            if index == 0 {
                flags |= FLAG_FIRST;
            }
            if index == records.len() - 1 {
                flags |= FLAG_LAST | if closes { FLAG_CLOSE } else { 0 };
            }
            if self.starts.is_empty() {
                flags |= FLAG_FRAME;
            }
            let header = RecordHeader {
                kind: record.kind,
                flags,
                version: record.version,
                body_bytes: u32::try_from(record.body.len()).expect("bounded by the segment"),
                offset: self.offset,
                body_crc: self.seed.body_crc(self.offset, &record.body),
                tag: record.tag,
            };
            let start = self.buffer.len();
            self.starts
                .push(u32::try_from(start).expect("bounded by the segment"));
            self.buffer.extend(&header.encode(self.seed));
            self.buffer.extend(&record.body);
            self.buffer
                .pad_to(padded(start + RECORD_HEADER_BYTES + record.body.len()));
            self.offset += 1;
        }
    }

    /// The frame, padded to whole blocks, and where its records begin.
    pub(crate) fn finish(mut self) -> (Bytes, Vec<u32>) {
        self.buffer.pad_to(blocks(self.buffer.len()));
        debug_assert!(self.buffer.len().is_multiple_of(BLOCK_BYTES));
        (self.buffers.share(self.buffer), self.starts)
    }
}
