//! The bytes of a segment as `docs/format.md` gives them, written without the journal's code; what it
//! means is read by [`crate::format::walk`].

pub(super) use crate::format::segment::BLOCK;
use crate::format::segment::{body_crc, seed};

const MARKER: [u8; 4] = [0xf5, b'r', b'e', 0xc1];

pub(super) const FIRST: u8 = 1;
pub(super) const LAST: u8 = 2;
pub(super) const FRAME: u8 = 8;

/// What the first block says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    pub(super) version: u32,
    pub(super) log_id: u64,
    pub(super) sequence: u64,
    pub(super) generation: u64,
    pub(super) first: u64,
    pub(super) segment_bytes: u64,
    pub(super) before_end: u64,
    pub(super) before_torn: u64,
    pub(super) before_record_bytes: u32,
    pub(super) end: u32,
    pub(super) record_bytes: u32,
}

impl Head {
    pub(super) fn block(&self) -> Vec<u8> {
        let mut copy = b"journal\x1a".to_vec();
        copy.extend(self.version.to_le_bytes());
        copy.extend([0; 4]);
        let created = 1_700_000_000_000;
        for field in [
            self.log_id,
            self.sequence,
            self.generation,
            self.first,
            created,
            self.segment_bytes,
            self.before_end,
            self.before_torn,
        ] {
            copy.extend(field.to_le_bytes());
        }
        for field in [self.before_record_bytes, self.end, self.record_bytes] {
            copy.extend(field.to_le_bytes());
        }
        let crc = crc32c::crc32c(&copy);
        copy.extend(crc.to_le_bytes());
        copy.resize(BLOCK / 2, 0);
        copy.repeat(2)
    }
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) version: u8,
    pub(super) tag: u32,
    pub(super) offset: u64,
    pub(super) body: Vec<u8>,
}

impl Record {
    /// Its bytes, up to where the next one may begin.
    pub(super) fn bytes(&self, generation: u64) -> Vec<u8> {
        let seed = seed(generation);
        let mut out = MARKER.to_vec();
        out.extend([self.kind, self.flags, self.version, 0]);
        out.extend((self.body.len() as u32).to_le_bytes());
        out.extend(self.offset.to_le_bytes());
        out.extend(body_crc(seed, self.offset, &self.body).to_le_bytes());
        out.extend(self.tag.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &out);
        out.extend(crc.to_le_bytes());
        out.extend(&self.body);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }
}
