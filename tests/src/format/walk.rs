//! "Reading past damage", and what "Opening" makes of a last segment, in the plainest way that follows
//! the page: whatever the bytes are, what counts of them.

use super::segment::{BLOCK, Record, body_crc, record_at, seed, u32_at};

/// Offsets and sequences end here.
pub const NUMBER_MAX: u64 = 1 << 62;

const FIRST: u8 = 1;
const LAST: u8 = 2;
const CLOSE: u8 = 4;
const FRAME: u8 = 8;

/// A last segment, read to its end.
#[derive(Debug, Default)]
pub struct Walk {
    /// What counts, in order.
    pub served: Vec<Record>,
    /// The offset behind everything found.
    pub end: u64,
    /// Whether it was closed in order.
    pub closed: bool,
    /// The position from which on only whole groups count, if that isn't all.
    pub torn: Option<usize>,
    /// Behind the last thing found.
    pub data_end: usize,
}

/// What stands at a position.
struct Standing {
    record: Record,
    /// Whether the body matches its checksum.
    whole: bool,
}

/// What was lost: before which of the readable ones, and where.
type Lost = (usize, usize);

/// Reads `file`, which is whole blocks: the last segment of a log, of this generation, whose first
/// record has the offset `first`.
pub fn walk(file: &[u8], generation: u64, first: u64) -> Walk {
    let seed = seed(generation);
    let (mut at, mut expected) = (BLOCK, first);
    let mut readable: Vec<Record> = Vec::new();
    let mut lost: Vec<Lost> = Vec::new();
    let mut last_is_close = false;
    let mut looked_up = false;
    loop {
        let here = standing(file, at, seed, expected);
        let jumps_to = match here {
            Some(standing) if standing.record.offset == expected => {
                expected += 1;
                last_is_close = standing.whole && standing.record.flags & CLOSE != 0;
                let end = standing.record.end();
                match standing.whole {
                    true => readable.push(standing.record),
                    false => lost.push((readable.len(), at)),
                }
                at = end;
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
                    .find(|&next| standing(file, next, seed, expected).is_some());
                let Some(next) = next else { break };
                next
            }
        };
        let found = standing(file, jumps_to, seed, expected);
        let offset = found.expect("it was found there").record.offset;
        if offset != expected
            && let Some(all) = out_of_order(file, seed, first)
        {
            looked_up = true;
            expected = look_up(all, expected, &mut readable, &mut lost);
            break;
        }
        lost.push((readable.len(), at));
        last_is_close = false;
        (at, expected) = (jumps_to, offset);
    }
    let frame = readable.iter().rposition(|r| r.flags & FRAME != 0);
    let behind = readable.split_off(frame.unwrap_or_default());
    let whole = whole_groups(&behind);
    let closed = last_is_close
        && !looked_up
        && lost
            .iter()
            .all(|(before, _)| frame.is_some_and(|frame| *before <= frame))
        && whole.len() == behind.len()
        && at.is_multiple_of(BLOCK);
    let begins = behind.first().map_or(BLOCK, |first| first.position);
    let void = behind.iter().find(|record| !whole.contains(record));
    let unread = lost.iter().map(|(_, at)| *at).find(|at| begins <= *at);
    let torn = void.map(|record| record.position).into_iter().chain(unread);
    let torn = torn.min();
    readable.extend(whole);
    Walk {
        served: readable,
        end: expected,
        closed,
        torn,
        data_end: at,
    }
}

/// All records whose header passes, by their offset, where they don't grow from first to last. What looks
/// like one within the body of a whole one is none.
fn out_of_order(file: &[u8], seed: u32, first: u64) -> Option<Vec<Standing>> {
    let mut all: Vec<Standing> = Vec::new();
    let mut at = BLOCK;
    while at < file.len() {
        match standing(file, at, seed, first) {
            Some(standing) => {
                at = match standing.whole {
                    true => standing.record.end(),
                    false => at + 8,
                };
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
    lost: &mut Vec<Lost>,
) -> u64 {
    let at = |same: &Standing| same.record.position;
    lost.push((readable.len(), all.first().map_or(BLOCK, at)));
    let from = all.partition_point(|standing| standing.record.offset < expected);
    for same in all[from..].chunk_by(|a, b| a.record.offset == b.record.offset) {
        let offset = same[0].record.offset;
        let whole = same.iter().find(|standing| standing.whole);
        if offset != expected || whole.is_none() {
            lost.push((readable.len(), at(&same[0])));
        }
        readable.extend(whole.map(|standing| standing.record.clone()));
        expected = offset + 1;
    }
    expected
}

/// A record whose header passes, whose offset is at least the expected one, and which ends within the
/// file.
fn standing(file: &[u8], at: usize, seed: u32, expected: u64) -> Option<Standing> {
    let record = record_at(file, at, seed)?;
    if record.offset < expected || NUMBER_MAX < record.offset || file.len() < record.end() {
        return None;
    }
    let crc = body_crc(seed, record.offset, &file[record.body.clone()]);
    let whole = crc == u32_at(file, at + 20);
    Some(Standing { record, whole })
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
