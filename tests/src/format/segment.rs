//! "Segment", "Frame" and "Record". What a crash tore, which the next segment's header or the end of the
//! last one says, is read by [`super::walk`]; everything before it must be as the document says.

use std::ops::Range;

use super::walk::walk;

/// What everything is aligned to.
pub const BLOCK: usize = 4096;

/// Bytes of a record before its body.
pub const RECORD_HEADER: usize = 32;

/// Where the second copy of a segment's header begins.
pub const SECOND_COPY: usize = 2048;

/// Bytes of one copy.
pub const HEADER: usize = 96;

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Equal in all segments of a log.
    pub log_id: u64,
    /// As in the file's name.
    pub sequence: u64,
    /// What checksums are seeded with.
    pub generation: u64,
    /// The offset of its first record.
    pub first: u64,
    /// When it was opened.
    pub created: u64,
    /// How long its file is, unless it was repacked.
    pub segment_bytes: u64,
    /// Where the one before it ends.
    pub before_end: u64,
    /// From where on only whole groups of that one count.
    pub before_torn: u64,
    /// Bytes of that one's records.
    pub before_record_bytes: u32,
    /// Where it ends itself, if it was repacked.
    pub end: u32,
    /// Bytes of its records, if it was repacked.
    pub record_bytes: u32,
}

/// A record where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where in the file.
    pub position: usize,
    /// Its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its body's version.
    pub version: u8,
    /// Its offset in the log.
    pub offset: u64,
    /// Its tag.
    pub tag: u32,
    /// Where its body lies.
    pub body: Range<usize>,
}

impl Record {
    /// Behind its padding.
    pub fn end(&self) -> usize {
        self.body.end.next_multiple_of(8)
    }
}

/// A segment, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its header.
    pub header: Header,
    /// Its records, in order, without those that a crash tore.
    pub records: Vec<Record>,
    /// From where on only whole groups count; 0 if all of it counts.
    pub torn: usize,
    /// Behind its last frame.
    pub end: usize,
}

/// What the checksums of a segment of this generation are seeded with.
pub(crate) fn seed(generation: u64) -> u32 {
    crc32c::crc32c(&generation.to_le_bytes())
}

/// A body's checksum.
pub(crate) fn body_crc(seed: u32, offset: u64, body: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(seed, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, body)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Reads the header block.
///
/// # Errors
///
/// What isn't as the document says.
pub fn header(file: &[u8]) -> Result<Header, String> {
    let block = file.get(..BLOCK).ok_or("no header block")?;
    let (copy, second) = (&block[..HEADER], &block[SECOND_COPY..SECOND_COPY + HEADER]);
    if copy != second {
        return Err("the two copies of the header differ".into());
    }
    let rest = block[HEADER..SECOND_COPY]
        .iter()
        .chain(&block[SECOND_COPY + HEADER..]);
    if rest.into_iter().any(|&byte| byte != 0) {
        return Err("the rest of the header block isn't zeros".into());
    }
    if &copy[..8] != b"journal\x1a" {
        return Err("the magic".into());
    }
    if u32_at(copy, 8) != 1 {
        return Err("the format version".into());
    }
    if copy[12..16] != [0; 4] {
        return Err("bytes 12 to 15 aren't zeros".into());
    }
    if crc32c::crc32c(&copy[..92]) != u32_at(copy, 92) {
        return Err("the header's checksum".into());
    }
    Ok(Header {
        log_id: u64_at(copy, 16),
        sequence: u64_at(copy, 24),
        generation: u64_at(copy, 32),
        first: u64_at(copy, 40),
        created: u64_at(copy, 48),
        segment_bytes: u64_at(copy, 56),
        before_end: u64_at(copy, 64),
        before_torn: u64_at(copy, 72),
        before_record_bytes: u32_at(copy, 80),
        end: u32_at(copy, 84),
        record_bytes: u32_at(copy, 88),
    })
}

/// The record at `position`, if one is there whose header passes.
pub(super) fn record_at(file: &[u8], position: usize, seed: u32) -> Option<Record> {
    let head = file.get(position..position + RECORD_HEADER)?;
    if head[..4] != [0xf5, b'r', b'e', 0xc1] {
        return None;
    }
    if crc32c::crc32c_append(seed, &head[..28]) != u32_at(head, 28) {
        return None;
    }
    let start = position + RECORD_HEADER;
    Some(Record {
        position,
        kind: head[4],
        flags: head[5],
        version: head[6],
        offset: u64_at(head, 12),
        tag: u32_at(head, 24),
        body: start..start + u32_at(head, 8) as usize,
    })
}

fn zeros(bytes: &[u8], what: &str) -> Result<(), String> {
    match bytes.iter().all(|&byte| byte == 0) {
        true => Ok(()),
        false => Err(format!("{what} isn't zeros")),
    }
}

/// Reads a whole segment. `next` is the header of the segment behind it, if there is one.
///
/// # Errors
///
/// What isn't as the document says.
pub fn segment(file: &[u8], next: Option<&Header>) -> Result<Segment, String> {
    let header = header(file)?;
    let low = u64::from(u32::MAX);
    if header.generation & low != header.sequence & low {
        return Err("the generation's lower half isn't the sequence's".into());
    }
    let end = match (header.end, next) {
        (0, Some(next)) => usize::try_from(next.before_end).ok(),
        (0, None) => None,
        (end, _) => Some(end as usize),
    };
    let length = match header.end {
        0 => header.segment_bytes,
        end => u64::from(end),
    };
    if file.len() as u64 != length {
        return Err(format!("it is {} bytes long, not {length}", file.len()));
    }
    let seed = seed(header.generation);
    let torn = torn(file, &header, next)?;
    let strict_to = if torn == 0 { end } else { Some(torn) };
    let mut records = Vec::new();
    let (mut at, mut offset, mut in_group) = (BLOCK, header.first, false);
    while strict_to.is_none_or(|to| at < to) {
        let Some(record) = record_at(file, at, seed) else {
            if strict_to.is_none() && at.is_multiple_of(BLOCK) {
                break;
            }
            let boundary = at.next_multiple_of(BLOCK);
            if boundary == at {
                return Err(format!("no record at {at}"));
            }
            zeros(&file[at..boundary], &format!("the frame's end at {at}"))?;
            if in_group {
                return Err(format!(
                    "a group isn't whole in the frame that ends at {at}"
                ));
            }
            at = boundary;
            continue;
        };
        let fault = |what: &str| Err(format!("the record at {at}: {what}"));
        let head = &file[at..at + RECORD_HEADER];
        if head[7] != 0 {
            return fault("byte 7 isn't zero");
        }
        if record.flags & !15 != 0 {
            return fault("an unknown flag");
        }
        // Where a frame filled its blocks exactly, the next one follows without padding.
        if record.flags & 8 != 0 && !at.is_multiple_of(BLOCK) {
            return fault("a frame begins within a block");
        }
        if (record.flags & 1 != 0) == in_group {
            return fault("its group");
        }
        in_group = record.flags & 2 == 0;
        if record.offset != offset {
            return fault("its offset");
        }
        let body = file
            .get(record.body.clone())
            .ok_or("a body beyond the file")?;
        if body_crc(seed, record.offset, body) != u32_at(head, 20) {
            return fault("its body's checksum");
        }
        zeros(&file[record.body.end..record.end()], "a record's padding")?;
        (at, offset) = (record.end(), offset + 1);
        records.push(record);
    }
    if in_group {
        return Err("the last group isn't whole".into());
    }
    if torn != 0 {
        let walked = walk(file, header.generation, header.first);
        let behind = walked.served.into_iter();
        records.extend(behind.filter(|record| torn <= record.position));
        return Ok(Segment {
            header,
            records,
            torn,
            end: end.unwrap_or(walked.data_end),
        });
    }
    let bytes: usize = records
        .iter()
        .map(|record| record.end() - record.position)
        .sum();
    if header.end != 0 && bytes != header.record_bytes as usize {
        return Err("the bytes of its records".into());
    }
    if let Some(next) = next.filter(|next| next.before_record_bytes != 0)
        && bytes != next.before_record_bytes as usize
    {
        return Err("the bytes of its records, as the next one has them".into());
    }
    Ok(Segment {
        header,
        records,
        torn,
        end: at,
    })
}

/// From where on only whole groups count: as the next one's header has it, or as the last one shows.
fn torn(file: &[u8], header: &Header, next: Option<&Header>) -> Result<usize, String> {
    if header.end != 0 || next.is_some_and(|next| next.before_torn == 0) {
        return Ok(0);
    }
    let found = walk(file, header.generation, header.first).torn;
    let found = found.unwrap_or_default();
    match next {
        Some(next) if next.before_torn != found as u64 => Err(format!(
            "it is torn at {found}, not at {}",
            next.before_torn
        )),
        _ => Ok(found),
    }
}
