//! What the journal needs of a disk: the few operations, as traits.
//!
//! The operating system's is `OsDisk`; [`crate::model_disk::ModelDisk`] loses power on demand. The
//! rules both keep, and the journal relies on:
//! - bytes written survive a loss of power only once `File::sync` said yes after them;
//! - a name created, renamed or removed survives only once `Disk::sync` said yes after it;
//! - positions and lengths are multiples of 4096.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::layout::BLOCK_BYTES;

/// A file of the journal's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// What is known about a disk; stated in the node's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFacts {
    /// `direct+fdatasync`, `buffered+fdatasync` or `memory`.
    pub class: &'static str,
}

/// A folder on a disk.
pub trait Disk: Send + Sync + 'static {
    /// Takes the folder for this process alone. The inner error holds the other process's id.
    fn lock(&self) -> io::Result<Result<(), u32>>;
    /// Gives the folder free again. Called once, when the journal's last handle is gone.
    fn unlock(&self);
    /// All files of the folder, in any order.
    fn list(&self) -> io::Result<Vec<Entry>>;
    /// Makes an empty file for reading and writing. Fails if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Opens a file; for writing too, unless the disk was opened for reading only.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all names durable.
    fn sync(&self) -> io::Result<()>;
    /// Bytes that may still be allocated.
    fn free_bytes(&self) -> io::Result<u64>;
    /// What is known about it.
    fn facts(&self) -> DiskFacts;
    /// How long what was done since this was last asked would have taken, of a disk that takes no
    /// time: a driver that is a task waits so long. Other disks took their time already.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// A file that is read and written in whole blocks of 4096 bytes.
pub trait File: Send + Sync + 'static {
    /// Allocates the file and fills it with zeros, so that later writes change no metadata.
    fn zero_fill(&self, bytes: u64) -> io::Result<()>;
    /// Writes all of `blocks` at `position`.
    fn write_at(&self, position: u64, blocks: &[u8]) -> io::Result<()>;
    /// Makes everything written so far durable.
    fn sync(&self) -> io::Result<()>;
    /// Reads `bytes` from `position`; fewer only at the end of the file.
    fn read_at(&self, position: u64, bytes: usize) -> io::Result<Bytes>;
    /// The length.
    fn len(&self) -> io::Result<u64>;
    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Forgets what memory holds of the file, so that the next read sees what the disk holds. After
    /// a failed sync the two differ: Linux marks the lost pages as clean.
    fn forget_cached(&self) -> io::Result<()>;
}

/// Memory that begins at a multiple of 4096, as O_DIRECT asks.
///
/// Without `unsafe` there is no aligned allocation, so it allocates a block too many and begins at
/// the first aligned byte. Its capacity is fixed: growing could move it.
#[derive(Debug)]
pub struct AlignedBytes {
    memory: Vec<u8>,
    start: usize,
}

impl AlignedBytes {
    /// Empty, with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut memory: Vec<u8> = Vec::with_capacity(bytes + BLOCK_BYTES);
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start < BLOCK_BYTES, "byte pointers can always be aligned");
        memory.resize(start, 0);
        Self { memory, start }
    }

    /// Nothing, without memory: what is left where a buffer was taken away.
    pub(crate) fn none() -> Self {
        Self {
            memory: Vec::new(),
            start: 0,
        }
    }

    /// Bytes it has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.capacity().saturating_sub(self.start)
    }

    /// `bytes` zeros.
    pub fn zeroed(bytes: usize) -> Self {
        let memory = vec![0u8; bytes + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start < BLOCK_BYTES, "byte pointers can always be aligned");
        let mut aligned = Self { memory, start };
        aligned.memory.truncate(start + bytes);
        aligned
    }

    /// Adds `bytes` at the end.
    ///
    /// # Panics
    ///
    /// If they don't fit in the capacity, which would lose the alignment.
    pub fn extend(&mut self, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.memory.capacity() - self.memory.len(),
            "an aligned buffer doesn't grow"
        );
        self.memory.extend_from_slice(bytes);
    }

    /// Adds zeros up to a length of `bytes`.
    pub fn pad_to(&mut self, bytes: usize) {
        let end = self.start + bytes;
        assert!(
            self.memory.len() <= end && end <= self.memory.capacity(),
            "an aligned buffer neither shrinks nor grows"
        );
        self.memory.resize(end, 0);
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.memory.len() - self.start
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shortens to `bytes`.
    pub fn truncate(&mut self, bytes: usize) {
        self.memory.truncate(self.start + bytes);
    }

    /// The bytes held, to be written over.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..]
    }
}

impl From<AlignedBytes> for Bytes {
    /// Shares the memory; nothing is copied.
    fn from(aligned: AlignedBytes) -> Self {
        Bytes::from_owner(aligned)
    }
}
