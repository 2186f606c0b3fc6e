//! Small changes to an input, as fuzzers make them.

use crate::Seed;

/// Lengths and values at which code changes its mind.
const EDGES: [u8; 12] = [0, 1, 7, 8, 9, 31, 32, 127, 128, 200, 254, 255];

/// Changes `bytes` a little, with pieces of `other` and of `words` put in now and then.
pub(super) fn mutate(
    bytes: &mut Vec<u8>,
    other: &[u8],
    words: &[&str],
    bytes_max: usize,
    seed: &mut Seed,
) {
    for _ in 0..1 + seed.within(0..6) {
        one(bytes, other, words, seed);
    }
    bytes.truncate(bytes_max);
}

fn one(bytes: &mut Vec<u8>, other: &[u8], words: &[&str], seed: &mut Seed) {
    let at = place(bytes.len() + 1, seed);
    let some = place(bytes.len() - at + 1, seed).min(64);
    match seed.within(0..9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << seed.within(0..8),
        1 if at < bytes.len() => bytes[at] = seed.of_these(&EDGES),
        2 if at < bytes.len() => bytes[at] = seed.bits() as u8,
        3 => drop(bytes.drain(at..at + some)),
        4 => {
            let again = bytes[at..at + some].to_vec();
            insert(bytes, at, &again);
        }
        5 => {
            let from = place(other.len() + 1, seed);
            let len = place(other.len() - from + 1, seed);
            insert(bytes, at, &other[from..from + len]);
        }
        6 if !words.is_empty() => insert(bytes, at, seed.of_these(words).as_bytes()),
        7 => {
            let from = place(bytes.len() - some + 1, seed);
            let moved = bytes[at..at + some].to_vec();
            bytes[from..from + some].copy_from_slice(&moved);
        }
        _ => {
            let new: Vec<u8> = (0..1 + seed.within(0..8))
                .map(|_| seed.bits() as u8)
                .collect();
            insert(bytes, at, &new);
        }
    }
}

fn place(below: usize, seed: &mut Seed) -> usize {
    seed.within(0..below as u64) as usize
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    drop(bytes.splice(at..at, new.iter().copied()));
}
