//! Where the view lies: a file, memory, or a file of a journal's disk, so that the disk that loses
//! power and fails on demand carries the view as well.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use journal::{AlignedBytes, BLOCK_BYTES, Disk, File};
use redb::StorageBackend;
use redb::backends::{FileBackend, InMemoryBackend};

use super::ahead::{Ahead, FileWithRoom};

/// The name of the view's file.
pub const VIEW_FILE: &str = "view.redb";

/// Where a view lies.
#[derive(Clone)]
pub enum Place {
    /// This file of the operating system.
    File(PathBuf),
    /// Nowhere: it is made anew at each start.
    Memory,
    /// The file [`VIEW_FILE`] on this disk.
    Disk(Arc<dyn Disk>),
}

impl Place {
    /// Opens it, or makes an empty one; with the room ahead of it, where it lies in a file of the
    /// operating system.
    pub(super) fn open(&self) -> io::Result<(Backend, Option<Arc<Ahead>>)> {
        let backend = match self {
            Self::File(path) => {
                let mut options = std::fs::File::options();
                let file = options.read(true).write(true).create(true).truncate(false);
                let file = file.open(path)?;
                let ahead = Ahead::new(file.try_clone()?)?;
                let file = FileWithRoom {
                    file: FileBackend::new(file).map_err(io::Error::other)?,
                    ahead: Arc::clone(&ahead),
                };
                return Ok((Backend(Box::new(file)), Some(ahead)));
            }
            Self::Memory => Backend(Box::new(InMemoryBackend::new())),
            Self::Disk(disk) => {
                let has = disk.list()?.iter().any(|entry| entry.name == VIEW_FILE);
                let file = if has {
                    disk.open(VIEW_FILE)?
                } else {
                    let file = disk.create(VIEW_FILE)?;
                    disk.sync()?;
                    file
                };
                Backend(Box::new(OnDisk(file)))
            }
        };
        Ok((backend, None))
    }

    /// Throws away what is there.
    pub(super) fn clear(&self) -> io::Result<()> {
        let removed = match self {
            Self::File(path) => std::fs::remove_file(path),
            Self::Memory => Ok(()),
            Self::Disk(disk) => disk.remove(VIEW_FILE).and_then(|()| disk.sync()),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// How many bytes it takes on the disk, with what is allocated ahead; none where nobody counts.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::File(path) => std::fs::metadata(path).map_or(0, |facts| taken(&facts)),
            Self::Memory => 0,
            Self::Disk(disk) => {
                let entries = disk.list().unwrap_or_default();
                let view = entries.iter().find(|entry| entry.name == VIEW_FILE);
                view.map_or(0, |entry| entry.bytes)
            }
        }
    }
}

#[cfg(unix)]
fn taken(facts: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // In units of 512 bytes, whatever the file system's blocks are: stat(2).
    facts.blocks() * 512
}

#[cfg(not(unix))]
fn taken(facts: &std::fs::Metadata) -> u64 {
    facts.len()
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Memory => f.write_str("memory"),
            Self::Disk(_) => f.write_str("a journal's disk"),
        }
    }
}

/// Any of the places, opened.
#[derive(Debug)]
pub(super) struct Backend(Box<dyn StorageBackend>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

/// A file of a journal's disk, which is read and written in whole blocks.
struct OnDisk(Arc<dyn File>);

impl std::fmt::Debug for OnDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a file of a journal's disk")
    }
}

impl OnDisk {
    /// The whole blocks that hold these bytes: where they begin, and their length.
    fn blocks(offset: u64, length: usize) -> (u64, usize) {
        let block = BLOCK_BYTES as u64;
        let start = offset / block * block;
        let end = (offset + length as u64).next_multiple_of(block);
        (start, (end - start) as usize)
    }
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (start, length) = Self::blocks(offset, out.len());
        let bytes = self.0.read_at(start, length)?;
        let from = (offset - start) as usize;
        let asked = bytes.get(from..from + out.len());
        out.copy_from_slice(asked.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.0.len()?;
        if len < before {
            // What comes into use again later must read as zeros.
            self.write(len, &vec![0; (before - len) as usize])?;
            self.0.sync()?;
        }
        self.0.zero_fill(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (start, length) = Self::blocks(offset, data.len());
        if start == offset && length == data.len() {
            return self.0.write_at(start, data);
        }
        let held = self.0.read_at(start, length)?;
        let mut blocks = AlignedBytes::zeroed(length);
        blocks.bytes_mut()[..held.len()].copy_from_slice(&held);
        let from = (offset - start) as usize;
        blocks.bytes_mut()[from..from + data.len()].copy_from_slice(data);
        self.0.write_at(start, blocks.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use journal::model_disk::{CrashRule, ModelDisk};
    use redb::{Builder, ReadableDatabase, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("table");

    fn put(place: &Place, value: u64) {
        let database = Builder::new()
            .create_with_backend(place.open().unwrap().0)
            .unwrap();
        let mut writing = database.begin_write().unwrap();
        writing.set_quick_repair(true);
        writing.open_table(TABLE).unwrap().insert(1, value).unwrap();
        writing.commit().unwrap();
    }

    fn get(place: &Place) -> u64 {
        let database = Builder::new()
            .create_with_backend(place.open().unwrap().0)
            .unwrap();
        let reading = database.begin_read().unwrap();
        let table = reading.open_table(TABLE).unwrap();
        table.get(1).unwrap().unwrap().value()
    }

    #[test]
    fn what_was_committed_survives_on_a_journals_disk() {
        let disk = ModelDisk::new();
        put(&Place::Disk(Arc::new(disk.clone())), 1);
        put(&Place::Disk(Arc::new(disk.clone())), 2);
        for rule in CrashRule::ALL {
            for seed in 0..20 {
                let place = Place::Disk(Arc::new(disk.crash(rule, seed)));
                assert_eq!(get(&place), 2, "{rule:?} {seed}");
            }
        }
        let place = Place::Disk(Arc::new(disk));
        assert!(place.bytes() > 0);
        place.clear().unwrap();
        place.clear().unwrap();
        assert_eq!(place.bytes(), 0);
    }
}
