//! The bytes of records and segment headers: encoding, decoding, checksums. Pure.
//!
//! `docs/format.md` says the same in prose. Everything is little endian. Checksums are CRC32C,
//! seeded so that bytes of an earlier life of a recycled segment never pass: two generations of one
//! log differ in their low 32 bits only, and a CRC tells any two inputs apart that differ within 32
//! bits, so their seeds differ, and with them the sums of any equal bytes.

/// Frames and segment headers begin and end at multiples of this.
pub const BLOCK_BYTES: usize = 4096;

/// Version of the file format that this code writes, and the only one it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Bytes of a record before its body.
pub const RECORD_HEADER_BYTES: usize = MARKER_BYTES + 4 + 4 + 8 + 4 + 4 + HEADER_CRC_BYTES;

const MARKER_BYTES: usize = 4;
const HEADER_CRC_BYTES: usize = 4;
const CHECKED_BYTES: usize = RECORD_HEADER_BYTES - HEADER_CRC_BYTES;
const _: () = assert!(RECORD_HEADER_BYTES == 32);

/// Records begin at multiples of this.
pub(crate) const ALIGN_BYTES: usize = 8;
// The search for the next record after damage steps by the alignment.
const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(ALIGN_BYTES));
const _: () = assert!(BLOCK_BYTES.is_multiple_of(ALIGN_BYTES));

/// First bytes of every record: what a search after damage looks for.
pub(crate) const MARKER: [u8; MARKER_BYTES] = [0xf5, b'r', b'e', 0xc1];

/// Where the first frame of a segment begins.
pub(crate) const DATA_START: u64 = BLOCK_BYTES as u64;

/// Offsets and sequences go no further, so that the next one can always be counted. A number beyond it
/// was never written here, whatever its checksum says.
const NUMBER_MAX: u64 = 1 << 62;

/// The record is the first of its group.
pub(crate) const FLAG_FIRST: u8 = 1;
/// The record is the last of its group.
pub(crate) const FLAG_LAST: u8 = 2;
/// The log was closed in order after this record.
pub(crate) const FLAG_CLOSE: u8 = 4;
/// The record is the first of its frame, so it begins a block.
pub(crate) const FLAG_FRAME: u8 = 8;

/// `bytes` rounded up to the alignment of records.
pub(crate) const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN_BYTES)
}

/// `bytes` rounded up to whole blocks.
pub(crate) const fn blocks(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}

/// What the checksums of one generation of a segment start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn of(generation: u64) -> Self {
        Self(crc32c::crc32c(&generation.to_le_bytes()))
    }

    fn header_crc(self, checked: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, checked)
    }

    /// The checksum of the body of the record at `offset`.
    pub(crate) fn body_crc(self, offset: u64, body: &[u8]) -> u32 {
        let seed = crc32c::crc32c_append(self.0, &offset.to_le_bytes());
        crc32c::crc32c_append(seed, body)
    }
}

/// A record's header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) version: u8,
    pub(crate) body_bytes: u32,
    pub(crate) offset: u64,
    pub(crate) body_crc: u32,
    pub(crate) tag: u32,
}

impl RecordHeader {
    pub(crate) fn encode(&self, seed: Seed) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0; RECORD_HEADER_BYTES];
        out[0..4].copy_from_slice(&MARKER);
        out[4] = self.kind;
        out[5] = self.flags;
        out[6] = self.version;
        out[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[12..20].copy_from_slice(&self.offset.to_le_bytes());
        out[20..24].copy_from_slice(&self.body_crc.to_le_bytes());
        out[24..28].copy_from_slice(&self.tag.to_le_bytes());
        let crc = seed.header_crc(&out[..CHECKED_BYTES]);
        out[CHECKED_BYTES..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the start of `bytes`, if they are one of this generation and undamaged.
    pub(crate) fn decode(bytes: &[u8], seed: Seed) -> Option<Self> {
        let bytes: &[u8; RECORD_HEADER_BYTES] = bytes.first_chunk()?;
        if bytes[..MARKER_BYTES] != MARKER {
            return None;
        }
        if seed.header_crc(&bytes[..CHECKED_BYTES]) != u32_at(bytes, CHECKED_BYTES) {
            return None;
        }
        Some(Self::decode_trusted(bytes)).filter(|header| header.offset <= NUMBER_MAX)
    }

    /// The header in bytes that this process wrote itself and has kept in memory.
    pub(crate) fn decode_trusted(bytes: &[u8; RECORD_HEADER_BYTES]) -> Self {
        Self {
            kind: bytes[4],
            flags: bytes[5],
            version: bytes[6],
            body_bytes: u32_at(bytes, 8),
            offset: u64_at(bytes, 12),
            body_crc: u32_at(bytes, 20),
            tag: u32_at(bytes, 24),
        }
    }

    /// Bytes from the start of this record to where the next one may begin.
    pub(crate) fn record_bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES + padded(self.body_bytes as usize)) as u64
    }
}

/// The first block of a segment, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: u64,
    pub(crate) sequence: u64,
    pub(crate) generation: u64,
    pub(crate) first: u64,
    pub(crate) created_ms: u64,
    pub(crate) segment_bytes: u64,
    /// Where the frames of the segment before this one end; 0 if there was none.
    pub(crate) before_end: u64,
    /// Where the first of its records lies that was found missing, or of a group that isn't whole,
    /// after it was left without being closed: such groups don't count from there on. 0 if all of
    /// it was found whole.
    pub(crate) before_torn: u64,
    /// Bytes of its records, without the padding of its frames; 0 if that isn't known.
    pub(crate) before_record_bytes: u64,
    /// Of a segment that was repacked: where it ends itself.
    pub(crate) repacked: Option<RepackedEnd>,
}

/// What the header of a repacked segment says of itself. The next segment's header still speaks of
/// the layout that it had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RepackedEnd {
    /// The position behind its last frame, which is its file's length.
    pub(crate) end_position: u64,
    /// Bytes of its records, without the padding of its frames.
    pub(crate) record_bytes: u64,
}

/// Why the first block of a segment could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadSegmentHeader {
    /// Neither copy passes its checksum.
    Damaged,
    /// Written by a version of the format that this code doesn't know.
    Version(u32),
}

const SEGMENT_MAGIC: [u8; 8] = *b"journal\x1a";
pub(crate) const SEGMENT_HEADER_BYTES: usize = 96;
const SEGMENT_CHECKED_BYTES: usize = SEGMENT_HEADER_BYTES - 4;
/// The second copy lies in another sector, so that one flipped bit doesn't cost a segment.
const SEGMENT_COPY_AT: usize = BLOCK_BYTES / 2;
const _: () = assert!(SEGMENT_HEADER_BYTES <= SEGMENT_COPY_AT);

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(SEGMENT_COPY_AT);
        copy.extend_from_slice(&SEGMENT_MAGIC);
        copy.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        copy.extend_from_slice(&[0; 4]);
        for field in [
            self.log_id,
            self.sequence,
            self.generation,
            self.first,
            self.created_ms,
            self.segment_bytes,
            self.before_end,
            self.before_torn,
        ] {
            copy.extend_from_slice(&field.to_le_bytes());
        }
        let (end_position, record_bytes) = self
            .repacked
            .map_or((0, 0), |end| (end.end_position, end.record_bytes));
        for field in [self.before_record_bytes, end_position, record_bytes] {
            let field = u32::try_from(field).expect("bounded by the segment");
            copy.extend_from_slice(&field.to_le_bytes());
        }
        debug_assert_eq!(copy.len(), SEGMENT_CHECKED_BYTES);
        let crc = crc32c::crc32c(&copy);
        copy.extend_from_slice(&crc.to_le_bytes());
        copy.resize(SEGMENT_COPY_AT, 0);
        copy.repeat(2)
    }

    pub(crate) fn decode(block: &[u8]) -> Result<Self, BadSegmentHeader> {
        let mut version = None;
        for at in [0, SEGMENT_COPY_AT] {
            let Some(copy) = block.get(at..at + SEGMENT_HEADER_BYTES) else {
                return Err(BadSegmentHeader::Damaged);
            };
            if copy[..8] != SEGMENT_MAGIC {
                continue;
            }
            if crc32c::crc32c(&copy[..SEGMENT_CHECKED_BYTES]) == u32_at(copy, SEGMENT_CHECKED_BYTES)
                && u32_at(copy, 8) == FORMAT_VERSION
            {
                let header = Self::decode_fields(copy);
                return match header.can_be() {
                    true => Ok(header),
                    false => Err(BadSegmentHeader::Damaged),
                };
            }
            version = version.or(Some(u32_at(copy, 8)));
        }
        match version {
            // Another version may keep its checksum elsewhere, so it isn't compared here.
            Some(version) if version != FORMAT_VERSION => Err(BadSegmentHeader::Version(version)),
            _ => Err(BadSegmentHeader::Damaged),
        }
    }

    /// Whether its numbers are such as are written: what is computed from them stays in range.
    fn can_be(&self) -> bool {
        let own_end = self.repacked.map_or(0, |end| end.end_position);
        self.sequence <= NUMBER_MAX
            && self.first <= NUMBER_MAX
            && self.before_torn <= self.before_end
            && [self.before_end, own_end]
                .iter()
                .all(|end| end.is_multiple_of(BLOCK_BYTES as u64))
    }

    /// Where the copy begins that can't be read, if only one of them can.
    pub(crate) fn damaged_copy(block: &[u8]) -> Option<usize> {
        let passes = |at: &usize| {
            let copy = block.get(*at..*at + SEGMENT_HEADER_BYTES);
            copy.is_some_and(|copy| {
                copy[..8] == SEGMENT_MAGIC
                    && crc32c::crc32c(&copy[..SEGMENT_CHECKED_BYTES])
                        == u32_at(copy, SEGMENT_CHECKED_BYTES)
            })
        };
        match [0, SEGMENT_COPY_AT].map(|at| passes(&at)) {
            [true, false] => Some(SEGMENT_COPY_AT),
            [false, true] => Some(0),
            _ => None,
        }
    }

    fn decode_fields(copy: &[u8]) -> Self {
        Self {
            log_id: u64_at(copy, 16),
            sequence: u64_at(copy, 24),
            generation: u64_at(copy, 32),
            first: u64_at(copy, 40),
            created_ms: u64_at(copy, 48),
            segment_bytes: u64_at(copy, 56),
            before_end: u64_at(copy, 64),
            before_torn: u64_at(copy, 72),
            before_record_bytes: u32_at(copy, 80).into(),
            repacked: (u32_at(copy, 84) != 0).then(|| RepackedEnd {
                end_position: u32_at(copy, 84).into(),
                record_bytes: u32_at(copy, 88).into(),
            }),
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: RecordHeader = RecordHeader {
        kind: 7,
        flags: FLAG_FIRST | FLAG_LAST,
        version: 1,
        body_bytes: 11,
        offset: 0x0102_0304_0506_0708,
        body_crc: 0xdead_beef,
        tag: 42,
    };

    #[test]
    fn a_record_header_reads_back_as_written() {
        let seed = Seed::of(9);
        assert_eq!(
            RecordHeader::decode(&HEADER.encode(seed), seed),
            Some(HEADER)
        );
    }

    #[test]
    fn a_record_header_of_another_generation_never_passes() {
        for other in (0..100_000).filter(|&other| other != 9) {
            assert_eq!(
                RecordHeader::decode(&HEADER.encode(Seed::of(9)), Seed::of(other)),
                None
            );
        }
    }

    #[test]
    fn every_flipped_bit_of_a_record_header_is_noticed() {
        let seed = Seed::of(1);
        for bit in 0..RECORD_HEADER_BYTES * 8 {
            let mut bytes = HEADER.encode(seed);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bytes, seed), None, "bit {bit}");
        }
    }

    #[test]
    fn a_segment_header_survives_any_flipped_bit() {
        let mut header = SegmentHeader {
            log_id: 1,
            sequence: 2,
            generation: 3,
            first: 4,
            created_ms: 5,
            segment_bytes: 6,
            before_end: 8192,
            before_torn: 8,
            before_record_bytes: 9,
            repacked: None,
        };
        for repacked in [
            None,
            Some(RepackedEnd {
                end_position: 12288,
                record_bytes: 11,
            }),
        ] {
            header.repacked = repacked;
            let block = header.encode();
            assert_eq!(block.len(), BLOCK_BYTES);
            for bit in 0..BLOCK_BYTES * 8 {
                let mut block = block.clone();
                block[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(SegmentHeader::decode(&block), Ok(header), "bit {bit}");
            }
        }
    }

    #[test]
    fn numbers_that_nobody_wrote_are_damage_under_any_checksum() {
        let seed = Seed::of(1);
        let far = RecordHeader {
            offset: u64::MAX,
            ..HEADER
        };
        assert_eq!(RecordHeader::decode(&far.encode(seed), seed), None);
        let good = SegmentHeader {
            log_id: 1,
            sequence: 2,
            generation: 3,
            first: 4,
            created_ms: 5,
            segment_bytes: 6,
            before_end: 8192,
            before_torn: 4096,
            before_record_bytes: 9,
            repacked: None,
        };
        assert_eq!(SegmentHeader::decode(&good.encode()), Ok(good));
        let wrong: [fn(&mut SegmentHeader); 5] = [
            |header| header.sequence = u64::MAX,
            |header| header.first = u64::MAX,
            |header| header.before_end = 8200,
            |header| header.before_torn = 12288,
            |header| {
                header.repacked = Some(RepackedEnd {
                    end_position: 100,
                    record_bytes: 10,
                });
            },
        ];
        for distort in wrong {
            let mut header = good;
            distort(&mut header);
            let read = SegmentHeader::decode(&header.encode());
            assert_eq!(read, Err(BadSegmentHeader::Damaged), "{header:?}");
        }
    }

    #[test]
    fn a_segment_of_a_later_version_is_named_as_such() {
        let mut block = vec![0; BLOCK_BYTES];
        block[..8].copy_from_slice(&SEGMENT_MAGIC);
        block[8] = 9;
        assert_eq!(
            SegmentHeader::decode(&block),
            Err(BadSegmentHeader::Version(9))
        );
        assert_eq!(
            SegmentHeader::decode(&[0; BLOCK_BYTES]),
            Err(BadSegmentHeader::Damaged)
        );
    }
}
