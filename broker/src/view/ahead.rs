//! Room ahead of the view's file, allocated while there is some, so that a commit still finds some when
//! others have filled the file system: a database that can't write what it began is lost, and reclaiming,
//! which makes room, commits.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;
use redb::backends::FileBackend;

/// Bytes that are allocated behind the last one written. 4 MiB.
pub const AHEAD_BYTES: u64 = 4 << 20;
/// Bytes that a commit may need more than the file has; with fewer ahead of it, and fewer free, commits
/// wait. 2 MiB.
pub const COMMIT_ROOM_BYTES: u64 = 2 << 20;

/// What is allocated, shared by those who write and those who ask.
#[derive(Debug)]
pub(super) struct Ahead {
    file: File,
    /// Behind the last byte that was ever written, as far as is known.
    written_to: AtomicU64,
    /// Bytes before this are allocated.
    allocated_to: AtomicU64,
}

impl Ahead {
    pub(super) fn new(file: File) -> io::Result<Arc<Self>> {
        let length = file.metadata()?.len();
        let ahead = Self {
            file,
            written_to: AtomicU64::new(length),
            allocated_to: AtomicU64::new(0),
        };
        ahead.allocate();
        Ok(Arc::new(ahead))
    }

    /// Allocates as much as there should be, if there is room. The file's length stays.
    pub(super) fn allocate(&self) {
        let written_to = self.written_to.load(Ordering::Relaxed);
        if self.has_room() {
            return;
        }
        let to = written_to + AHEAD_BYTES;
        match allocate(&self.file, to) {
            Ok(()) => self.allocated_to.store(to, Ordering::Relaxed),
            Err(error) => tracing::debug!(%error, "no room can be kept for the view"),
        }
    }

    /// Whether a commit finds room, whatever others do.
    pub(super) fn has_room(&self) -> bool {
        let written_to = self.written_to.load(Ordering::Relaxed);
        written_to + COMMIT_ROOM_BYTES <= self.allocated_to.load(Ordering::Relaxed)
    }

    fn wrote(&self, to: u64) {
        self.written_to.fetch_max(to, Ordering::Relaxed);
    }

    fn cut(&self, to: u64) {
        self.written_to.fetch_min(to, Ordering::Relaxed);
        self.allocated_to.fetch_min(to, Ordering::Relaxed);
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, to: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    Ok(fallocate(file, FallocateFlags::KEEP_SIZE, 0, to)?)
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The file as redb sees it.
#[derive(Debug)]
pub(super) struct FileWithRoom {
    pub(super) file: FileBackend,
    pub(super) ahead: Arc<Ahead>,
}

impl StorageBackend for FileWithRoom {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len < self.file.len()? {
            // What was allocated behind the new end is given back with the rest.
            self.ahead.cut(len);
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.ahead.wrote(offset + data.len() as u64);
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn room_is_kept_behind_what_was_written_and_the_length_stays() {
        let path = std::env::temp_dir().join(format!("weft-ahead-{}", std::process::id()));
        let file = File::create_new(&path).unwrap();
        let ahead = Ahead::new(file.try_clone().unwrap()).unwrap();
        if !ahead.has_room() {
            eprintln!("SKIPPED: this file system allocates nothing ahead");
            return;
        }
        assert_eq!(file.metadata().unwrap().len(), 0);
        ahead.wrote(COMMIT_ROOM_BYTES + 1);
        assert!(!ahead.has_room(), "some of it is used");
        ahead.allocate();
        assert!(ahead.has_room(), "there is more");
        ahead.cut(4096);
        assert!(
            !ahead.has_room(),
            "a file that is cut gives back what lies behind"
        );
        std::fs::remove_file(path).unwrap();
    }
}
