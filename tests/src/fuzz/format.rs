//! The bytes of a segment as `docs/format.md` gives them: written, and read in the plainest way that
//! follows the page, without the journal's code.

pub(super) const BLOCK: usize = 4096;
const HEADER: usize = 32;
const MARKER: [u8; 4] = [0xf5, b'r', b'e', 0xc1];

/// Offsets and sequences end here.
pub(super) const NUMBER_MAX: u64 = 1 << 62;

pub(super) const FIRST: u8 = 1;
pub(super) const LAST: u8 = 2;
pub(super) const CLOSE: u8 = 4;
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

fn seed(generation: u64) -> u32 {
    crc32c::crc32c(&generation.to_le_bytes())
}

/// A record in a file.
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
        out.extend(self.body_crc(seed).to_le_bytes());
        out.extend(self.tag.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &out);
        out.extend(crc.to_le_bytes());
        out.extend(&self.body);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }

    fn body_crc(&self, seed: u32) -> u32 {
        let seed = crc32c::crc32c_append(seed, &self.offset.to_le_bytes());
        crc32c::crc32c_append(seed, &self.body)
    }
}

/// What stands at a position.
struct Standing {
    record: Record,
    /// Whether the body matches its checksum.
    whole: bool,
    /// Where the next record may begin.
    end: usize,
}

/// A last segment, as the page says that it is read: "Reading past damage", then "Opening".
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// What counts, in order.
    pub(super) served: Vec<Record>,
    /// The offset behind everything found.
    pub(super) end: u64,
    /// Whether it was closed in order.
    pub(super) closed: bool,
}

/// Reads `file`, which is whole blocks: the last segment of a log.
pub(super) fn walk(file: &[u8], head: &Head) -> Walk {
    let (mut at, mut expected) = (BLOCK, head.first);
    let mut readable: Vec<Record> = Vec::new();
    // Before which of the readable ones something is lost.
    let mut lost_before: Vec<usize> = Vec::new();
    let mut last_is_close = false;
    let mut looked_up = false;
    loop {
        let here = standing(file, at, head.generation, expected);
        let jumps_to = match here {
            Some(standing) if standing.record.offset == expected => {
                expected += 1;
                last_is_close = standing.whole && standing.record.flags & CLOSE != 0;
                match standing.whole {
                    true => readable.push(standing.record),
                    false => lost_before.push(readable.len()),
                }
                at = standing.end;
                continue;
            }
            Some(_) => at,
            None => {
                let boundary = at.next_multiple_of(BLOCK);
                if at != boundary && file[at..boundary].iter().all(|byte| *byte == 0) {
                    at = boundary;
                    continue;
                }
                let next = (at + 8..file.len())
                    .step_by(8)
                    .find(|&next| standing_is_there(file, next, head.generation, expected));
                let Some(next) = next else { break };
                next
            }
        };
        let found = standing(file, jumps_to, head.generation, expected);
        let offset = found.expect("it was found there").record.offset;
        if offset != expected
            && let Some(all) = out_of_order(file, head)
        {
            looked_up = true;
            expected = look_up(all, expected, &mut readable, &mut lost_before);
            break;
        }
        lost_before.push(readable.len());
        last_is_close = false;
        (at, expected) = (jumps_to, offset);
    }
    let frame = readable.iter().rposition(|r| r.flags & FRAME != 0);
    let behind = readable.split_off(frame.unwrap_or_default());
    let whole = whole_groups(&behind);
    let closed = last_is_close
        && !looked_up
        && lost_before
            .iter()
            .all(|at| frame.is_some_and(|frame| *at <= frame))
        && whole.len() == behind.len()
        && at.is_multiple_of(BLOCK);
    readable.extend(whole);
    Walk {
        served: readable,
        end: expected,
        closed,
    }
}

/// All records whose header passes, by their offset, where they don't grow from first to last. What looks
/// like one within the body of a whole one is none.
fn out_of_order(file: &[u8], head: &Head) -> Option<Vec<Standing>> {
    let mut all: Vec<Standing> = Vec::new();
    let mut at = BLOCK;
    while at < file.len() {
        match standing(file, at, head.generation, head.first) {
            Some(standing) => {
                at = if standing.whole { standing.end } else { at + 8 };
                all.push(standing);
            }
            None => at += 8,
        }
    }
    let grows = all.is_sorted_by(|before, after| before.record.offset < after.record.offset);
    all.sort_by_key(|standing| standing.record.offset);
    (!grows).then_some(all)
}

/// Takes each record by its offset, wherever it lies; of several with one offset the first whole one.
/// Returns the offset behind them.
fn look_up(
    all: Vec<Standing>,
    mut expected: u64,
    readable: &mut Vec<Record>,
    lost_before: &mut Vec<usize>,
) -> u64 {
    lost_before.push(readable.len());
    let from = all.partition_point(|standing| standing.record.offset < expected);
    for same in all[from..].chunk_by(|a, b| a.record.offset == b.record.offset) {
        let offset = same[0].record.offset;
        let whole = same.iter().find(|standing| standing.whole);
        if offset != expected || whole.is_none() {
            lost_before.push(readable.len());
        }
        readable.extend(whole.map(|standing| standing.record.clone()));
        expected = offset + 1;
    }
    expected
}

fn standing_is_there(file: &[u8], at: usize, generation: u64, expected: u64) -> bool {
    standing(file, at, generation, expected).is_some()
}

/// A record whose header passes, whose offset is at least the expected one, and which ends within the
/// file.
fn standing(file: &[u8], at: usize, generation: u64, expected: u64) -> Option<Standing> {
    let header = file.get(at..at + HEADER)?;
    let seed = seed(generation);
    if header[..4] != MARKER || crc32c::crc32c_append(seed, &header[..28]) != u32_at(header, 28) {
        return None;
    }
    let offset = u64::from_le_bytes(header[12..20].try_into().ok()?);
    let body = at + HEADER..at + HEADER + u32_at(header, 8) as usize;
    let end = body.end.next_multiple_of(8);
    if offset < expected || NUMBER_MAX < offset || file.len() < end {
        return None;
    }
    let record = Record {
        kind: header[4],
        flags: header[5],
        version: header[6],
        tag: u32_at(header, 24),
        offset,
        body: file[body].to_vec(),
    };
    let whole = record.body_crc(seed) == u32_at(header, 20);
    Some(Standing { record, whole, end })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Those of `records` whose group has its first, its last and all between.
fn whole_groups(records: &[Record]) -> Vec<Record> {
    let mut whole = Vec::new();
    let mut group: Vec<Record> = Vec::new();
    for record in records {
        let follows = group
            .last()
            .is_some_and(|before| before.offset + 1 == record.offset);
        if record.flags & FIRST != 0 {
            group = vec![record.clone()];
        } else if follows {
            group.push(record.clone());
        } else {
            group.clear();
            continue;
        }
        if record.flags & LAST != 0 {
            whole.append(&mut group);
        }
    }
    whole
}
