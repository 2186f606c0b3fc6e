//! The latest frames, kept in memory: what was just written is what is read next.
//!
//! A frame's buffer is the one that was written to disk; nothing is copied. Bounded by
//! `tail_bytes`; the oldest frames go first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::layout::{RECORD_HEADER_BYTES, RecordHeader};
use crate::lock::lock;
use crate::record::{Offset, Stored};

/// A frame as it was written, with where its records begin.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) first: u64,
    pub(crate) bytes: Bytes,
    /// Positions of the records in `bytes`.
    pub(crate) starts: Vec<u32>,
}

impl Frame {
    pub(crate) fn end(&self) -> u64 {
        self.first + self.starts.len() as u64
    }

    /// The record at `offset`, which lies within the frame.
    pub(crate) fn get(&self, offset: u64) -> Option<Stored> {
        let index = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        let start = *self.starts.get(index)? as usize;
        let header = RecordHeader::decode_trusted(self.bytes[start..].first_chunk()?);
        let body = start + RECORD_HEADER_BYTES;
        Some(Stored {
            offset: Offset(offset),
            kind: header.kind,
            version: header.version,
            tag: header.tag,
            body: self.bytes.slice(body..body + header.body_bytes as usize),
        })
    }
}

#[derive(Debug)]
pub(crate) struct Tail {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
}

impl Tail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn push(&self, frame: Frame) {
        // Memory is given back outside of the lock.
        let mut dropped = Vec::new();
        let mut kept = lock(&self.kept);
        kept.bytes += frame.bytes.len();
        kept.frames.push_back(Arc::new(frame));
        while self.bytes_max < kept.bytes
            && let Some(oldest) = kept.frames.pop_front()
        {
            kept.bytes -= oldest.bytes.len();
            dropped.push(oldest);
        }
        drop(kept);
    }

    /// The frame that holds `offset`.
    pub(crate) fn holding(&self, offset: u64) -> Option<Arc<Frame>> {
        let kept = lock(&self.kept);
        let after = kept.frames.partition_point(|frame| frame.first <= offset);
        let frame = kept.frames.get(after.checked_sub(1)?)?;
        (offset < frame.end()).then(|| Arc::clone(frame))
    }
}
