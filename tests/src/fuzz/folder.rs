//! A folder of any files: segments that follow each other or don't, spares, side files, strangers.

use journal::model_disk::ModelDisk;

use super::Input;
use super::format::{BLOCK, Head};
use super::frames::lay_out;
use super::served;

pub(super) const WORDS: &[&str] = &[
    "lock",
    "spare-",
    ".seg",
    ".side",
    "18446744073709551615",
    "000000000001",
    "spare-18446744073709551615",
];

const FILES_MAX: usize = 6;

pub(super) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let disk = ModelDisk::new();
    let mut before = Head {
        version: 1,
        log_id: 7,
        sequence: input.number(),
        generation: input.number(),
        first: input.number(),
        ..Head::default()
    };
    for _ in 0..=input.below(FILES_MAX) {
        match input.below(8) {
            0..=4 => before = segment(&mut input, &disk, before),
            5 => spare(&mut input, &disk),
            6 => {
                let name = format!("{:012}.side", before.sequence);
                served::put(&disk, &name, input.piece());
            }
            _ => {
                let name = input.text();
                served::put(&disk, &name, input.piece());
            }
        }
    }
    served::assert_served(&disk);
}

/// Puts the segment that follows `before`, or one that doesn't quite, and returns the head that should
/// follow it.
fn segment(input: &mut Input<'_>, disk: &ModelDisk, mut head: Head) -> Head {
    head.segment_bytes = served::SEGMENT_BYTES as u64;
    if input.once_in(4) {
        distort(input, &mut head);
    }
    let name = format!("{:012}.seg", head.sequence);
    let mut block = head.block();
    if input.once_in(8) {
        let at = usize::from(input.word()) % BLOCK;
        block[at] ^= 1 << input.below(8);
        if input.once_in(2) {
            block[(at + BLOCK / 2) % BLOCK] ^= 255;
        }
    }
    let len = usize::from(input.byte());
    let mut frames = Input::new(input.take(len));
    let mut file = block;
    let next = lay_out(&mut frames, &head, &mut file);
    let before_end = file.len() as u64;
    if input.once_in(8) {
        file.truncate(usize::from(input.word()) % (file.len() + 1));
    } else if input.once_in(2) {
        // As it lies on a disk: filled up with zeros.
        file.resize(file.len().max(served::SEGMENT_BYTES), 0);
    }
    // Of two with one number the first is there.
    served::put(disk, &name, &file);
    Head {
        version: 1,
        log_id: head.log_id,
        sequence: head.sequence.saturating_add(1),
        generation: head.generation.wrapping_add(1),
        first: next,
        before_end,
        ..Head::default()
    }
}

fn distort(input: &mut Input<'_>, head: &mut Head) {
    match input.below(12) {
        0 => head.version = u32::from(input.byte()),
        1 => head.log_id = input.number(),
        2 => head.sequence = input.number(),
        3 => head.generation = input.number(),
        4 => head.first = input.number(),
        5 => head.segment_bytes = input.number(),
        6 => head.before_end = input.number(),
        7 => head.before_torn = input.number(),
        8 => head.before_record_bytes = u32::from(input.word()),
        9 => head.end = u32::from(input.word()),
        // Such as a crash leaves: the last frame's beginning.
        10 => head.before_torn = head.before_end.saturating_sub(BLOCK as u64),
        _ => head.sequence = head.sequence.saturating_add(u64::from(input.byte())),
    }
}

fn spare(input: &mut Input<'_>, disk: &ModelDisk) {
    let name = format!("spare-{}", input.number());
    let bytes = match input.once_in(2) {
        true => vec![input.byte(); served::SEGMENT_BYTES],
        false => input.piece().to_vec(),
    };
    served::put(disk, &name, &bytes);
}
