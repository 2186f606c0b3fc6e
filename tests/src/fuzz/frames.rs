//! The frames of one segment, laid out, cut and damaged in any way: the journal serves exactly what a
//! plain reading by `docs/format.md` finds.

use journal::model_disk::ModelDisk;

use super::Input;
use super::format::{BLOCK, FIRST, FRAME, Head, LAST, Record};
use super::served;
use crate::format::walk::{NUMBER_MAX, walk};

/// Blocks of frames at most; a few are enough for every boundary.
const BLOCKS_MAX: usize = 7;

pub(super) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let head = Head {
        version: 1,
        log_id: 7,
        sequence: 1,
        generation: input.number(),
        first: input.number(),
        segment_bytes: served::SEGMENT_BYTES as u64,
        ..Head::default()
    };
    let mut file = head.block();
    lay_out(&mut input, &head, &mut file);
    let expected = walk(&file, head.generation, head.first);
    let disk = ModelDisk::new();
    served::put(&disk, "000000000001.seg", &file);
    let Some((recovered, found)) = served::assert_served(&disk) else {
        return assert!(NUMBER_MAX < head.first, "a sound header opens");
    };
    assert!(head.first <= NUMBER_MAX);
    assert_eq!(recovered.end.0, expected.end);
    assert_eq!(recovered.clean, expected.closed, "{recovered}");
    let found: Vec<Record> = found
        .into_iter()
        .map(|stored| Record {
            kind: stored.kind,
            // They stay in the journal.
            flags: 0,
            version: stored.version,
            tag: stored.tag,
            offset: stored.offset.0,
            body: stored.body.to_vec(),
        })
        .collect();
    let served = expected.served.into_iter().map(|record| Record {
        kind: record.kind,
        flags: 0,
        version: record.version,
        tag: record.tag,
        offset: record.offset,
        body: file[record.body].to_vec(),
    });
    assert_eq!(found, served.collect::<Vec<_>>());
}

/// Adds frames to a segment's file, as the input says, up to whole blocks.
pub(super) fn lay_out(input: &mut Input<'_>, head: &Head, file: &mut Vec<u8>) -> u64 {
    let mut next = head.first;
    let room = file.len() + BLOCKS_MAX * BLOCK;
    while !input.is_empty() && file.len() < room {
        match input.below(16) {
            // Whole frames of one record, as a quiet log has them.
            0..=4 => {
                let whole = FIRST | LAST | FRAME;
                pad(file, BLOCK);
                file.extend(record(input, next, whole).bytes(head.generation));
                next = next.saturating_add(1);
            }
            5..=8 => {
                let flags = input.byte() & 15;
                file.extend(record(input, next, flags).bytes(head.generation));
                next = next.saturating_add(1);
            }
            9 => {
                // Offsets that skip, repeat, or go back.
                let offset = next.wrapping_add(input.number()).wrapping_sub(2);
                let flags = input.byte();
                file.extend(record(input, offset, flags).bytes(head.generation));
                next = next.max(offset.saturating_add(1));
            }
            10 => pad(file, BLOCK),
            11 => {
                file.extend(input.piece());
                pad(file, 8);
            }
            12 => {
                let flags = input.byte();
                let stale = record(input, next, flags);
                file.extend(stale.bytes(head.generation.wrapping_add(1)));
            }
            13 => {
                // A record within a record's body is none.
                let inner = record(input, next, FIRST | LAST | FRAME).bytes(head.generation);
                let outer = Record {
                    body: inner,
                    ..record(input, next, FIRST | LAST)
                };
                file.extend(outer.bytes(head.generation));
                next = next.saturating_add(1);
            }
            _ => {
                let at = usize::from(input.word());
                let bit = input.below(8);
                let behind = file.len() - BLOCK;
                if behind != 0 {
                    file[BLOCK + at % behind] ^= 1 << bit;
                }
            }
        }
    }
    pad(file, BLOCK);
    file.truncate(room);
    next
}

fn pad(file: &mut Vec<u8>, to: usize) {
    file.resize(file.len().next_multiple_of(to), 0);
}

fn record(input: &mut Input<'_>, offset: u64, flags: u8) -> Record {
    // Bodies that fill a block, and some more, come of few bytes.
    let body = match input.once_in(4) {
        true => vec![input.byte(); usize::from(input.word()) % (BLOCK + 64)],
        false => input.piece().to_vec(),
    };
    Record {
        kind: input.byte(),
        flags,
        version: 1,
        tag: u32::from(input.byte()),
        offset,
        body,
    }
}
