//! Records as callers see them: to be written, in groups, and read back.

use std::fmt;

use bytes::Bytes;

use crate::layout::{RECORD_HEADER_BYTES, padded};

/// The place of a record in the log, counted in records from 0. It never changes and never repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record to be written. Only `body` has a meaning to the journal: how long it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is; the caller's numbering.
    pub kind: u8,
    /// Version of the body's layout; the caller's numbering.
    pub version: u8,
    /// Four bytes more for the caller, readable without decoding the body.
    pub tag: u32,
    /// The content, at most `group_bytes_max` together with its group.
    pub body: Bytes,
}

/// A record read back. `body` is a slice of a larger buffer (a frame or a chunk of a segment) and
/// keeps all of it in memory for as long as it lives: copy a small body that is to be kept long.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it is in the log.
    pub offset: Offset,
    /// As it was written.
    pub kind: u8,
    /// As it was written.
    pub version: u8,
    /// As it was written.
    pub tag: u32,
    /// As it was written; its checksum has been compared, unless it never left memory.
    pub body: Bytes,
}

/// Records that are stored all or none, at contiguous offsets. The unit of `append` and `note`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(Records);

/// The usual group has one record and needs no list of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Records {
    One(Record),
    Many(Vec<Record>),
}

impl Group {
    /// A group of one record.
    pub fn one(record: Record) -> Self {
        Self(Records::One(record))
    }

    /// A group of `records`, in this order.
    ///
    /// # Panics
    ///
    /// If `records` is empty: a group without a record has no offsets to return.
    pub fn new(mut records: Vec<Record>) -> Self {
        assert!(!records.is_empty(), "a group holds at least one record");
        match records.len() {
            1 => Self(Records::One(records.swap_remove(0))),
            _ => Self(Records::Many(records)),
        }
    }

    /// The records, in the order in which they are stored.
    pub fn records(&self) -> &[Record] {
        match &self.0 {
            Records::One(record) => std::slice::from_ref(record),
            Records::Many(records) => records,
        }
    }

    /// Bytes the group takes in the log: headers, bodies and their padding, without the padding of
    /// the frame. This is what `group_bytes_max` and the queue's bounds count.
    pub fn bytes(&self) -> usize {
        self.records()
            .iter()
            .map(|record| RECORD_HEADER_BYTES + padded(record.body.len()))
            .sum()
    }
}

impl From<Record> for Group {
    fn from(record: Record) -> Self {
        Self::one(record)
    }
}

// Bodies are other people's data: they stay out of logs and panics.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            version,
            tag,
            body,
        } = self;
        let bytes = body.len();
        write!(
            f,
            "Record {{ kind {kind}, version {version}, tag {tag}, {bytes} bytes }}"
        )
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offset,
            kind,
            version,
            tag,
            body,
        } = self;
        let bytes = body.len();
        write!(
            f,
            "Stored {{ offset {offset}, kind {kind}, version {version}, tag {tag}, {bytes} bytes }}"
        )
    }
}
