//! A quick hash for maps whose keys come from configuration.
//!
//! Nothing an event carries is ever inserted, so nobody can fill a map with collisions by
//! sending events; the standard hasher's protection would cost more than the lookup.

use std::hash::{BuildHasherDefault, Hasher};

pub(super) type BuildFold = BuildHasherDefault<Fold>;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// Eight bytes at a time, each folded in by a full multiplication (as wyhash does).
pub(super) struct Fold(u64);

impl Default for Fold {
    fn default() -> Fold {
        Fold(SEED)
    }
}

impl Fold {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(FACTOR);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        // The length tells "a" from "a\0".
        self.fold(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, byte: u8) {
        // The end mark of a text. Its length has been folded in already.
        self.0 = self.0.wrapping_add(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
