//! Frame buffers, used again: what the tail lets go of is what the next frame is laid into.
//!
//! At 100 MB/s a fresh buffer for each frame is 100 MB/s of pages that the kernel clears. Buffers
//! come back by themselves, when the last slice of their frame is dropped.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::disk::AlignedBytes;
use crate::layout::BLOCK_BYTES;
use crate::lock::lock;

/// Smaller buffers are the allocator's: it gives those back without a system call.
const POOLED_BYTES_MIN: usize = 64 << 10;
/// Buffers that wait to be used again; what comes back beyond it is freed.
const WAITING_MAX: usize = 16;

/// The buffers that wait.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    waiting: Mutex<Vec<AlignedBytes>>,
}

impl Buffers {
    /// An empty buffer with room for `bytes`: one that waits, if that isn't far too large.
    pub(crate) fn take(&self, bytes: usize) -> AlignedBytes {
        if bytes < POOLED_BYTES_MIN {
            return AlignedBytes::with_capacity(bytes);
        }
        let mut waiting = lock(&self.waiting);
        let fits = |buffer: &AlignedBytes| (bytes..=bytes * 2).contains(&buffer.capacity());
        match waiting.iter().position(fits) {
            Some(index) => waiting.swap_remove(index),
            None => AlignedBytes::with_capacity(bytes.next_multiple_of(POOLED_BYTES_MIN)),
        }
    }

    /// Shares the buffer's bytes; it comes back here when the last who holds some lets go.
    pub(crate) fn share(self: &Arc<Self>, buffer: AlignedBytes) -> Bytes {
        if buffer.capacity() < POOLED_BYTES_MIN + BLOCK_BYTES {
            return buffer.into();
        }
        Bytes::from_owner(Lent {
            buffer,
            home: Arc::clone(self),
        })
    }
}

struct Lent {
    buffer: AlignedBytes,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::replace(&mut self.buffer, AlignedBytes::none());
        buffer.truncate(0);
        let mut waiting = lock(&self.home.waiting);
        if waiting.len() < WAITING_MAX {
            waiting.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_nobody_holds_its_bytes() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take(POOLED_BYTES_MIN);
        buffer.extend(b"first");
        let address = buffer.as_ref().as_ptr();
        let bytes = buffers.share(buffer);
        let slice = bytes.slice(1..3);
        drop(bytes);
        assert_ne!(buffers.take(POOLED_BYTES_MIN).as_ref().as_ptr(), address);
        assert_eq!(&slice[..], b"ir");
        drop(slice);
        let again = buffers.take(POOLED_BYTES_MIN);
        assert_eq!(again.as_ref().as_ptr(), address);
        assert!(again.is_empty());
    }
}
