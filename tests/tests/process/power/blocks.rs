//! What a disk holds, block by block, so that a copy of the whole costs next to nothing.
//!
//! Copies share every block that neither has written since: a proof that looks at a disk as of a thousand
//! moments keeps one copy a moment.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What a disk writes whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

const BLOCK_BYTES: usize = 4096;

/// The content of a disk. Blocks that nobody wrote are zeros and take no memory.
#[derive(Clone)]
pub(crate) struct Blocks {
    blocks: Vec<Option<Arc<[u8; BLOCK_BYTES]>>>,
}

impl Blocks {
    /// A disk full of zeros; its size is a multiple of the block's.
    pub(crate) fn zeros(bytes: u64) -> Blocks {
        let count = usize::try_from(bytes).expect("it fits in memory") / BLOCK_BYTES;
        Blocks {
            blocks: vec![None; count],
        }
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        (self.blocks.len() * BLOCK_BYTES) as u64
    }

    /// Up to so many bytes from `at` on, less at the end.
    pub(crate) fn read(&self, at: u64, bytes: usize) -> Vec<u8> {
        let mut read = Vec::with_capacity(bytes);
        for (block, from, length) in parts(at, bytes) {
            match self.blocks.get(block) {
                Some(Some(block)) => read.extend_from_slice(&block[from..from + length]),
                Some(None) => read.resize(read.len() + length, 0),
                None => break,
            }
        }
        read
    }

    /// Writes it to a file, with holes for what is zeros.
    ///
    /// # Errors
    ///
    /// The file can't be written.
    pub(crate) fn save(&self, path: &Path) -> std::io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.bytes())?;
        for (n, block) in self.blocks.iter().enumerate() {
            if let Some(block) = block {
                file.write_all_at(&block[..], (n * BLOCK_BYTES) as u64)?;
            }
        }
        Ok(())
    }

    /// Writes what fits; a file system never writes beyond its disk.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut rest = bytes;
        for (block, from, length) in parts(at, bytes.len()) {
            let Some(block) = self.blocks.get_mut(block) else {
                return;
            };
            let block = block.get_or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
            Arc::make_mut(block)[from..from + length].copy_from_slice(&rest[..length]);
            rest = &rest[length..];
        }
    }
}

/// The blocks that a range touches: which, from where in it, and how many bytes.
fn parts(at: u64, bytes: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let mut at = usize::try_from(at).expect("it fits in memory");
    let end = at + bytes;
    std::iter::from_fn(move || {
        let from = at % BLOCK_BYTES;
        let length = (BLOCK_BYTES - from).min(end - at);
        let part = (at / BLOCK_BYTES, from, length);
        at += length;
        (length != 0).then_some(part)
    })
}
