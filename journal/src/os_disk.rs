//! A folder of the operating system's file system.
//!
//! Where the file system tells its alignment (`STATX_DIOALIGN`) files are opened with O_DIRECT, for
//! reading too: what is read is then what the disk holds, and a commit doesn't pass through, or
//! push anything out of, the page cache. Elsewhere writes are buffered. Both end in `fdatasync`.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
#[cfg(target_os = "linux")]
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::FlockOperation;

use crate::disk::{AlignedBytes, Disk, DiskFacts, Entry, File};
use crate::layout::BLOCK_BYTES;
use crate::lock::lock;

const LOCK_NAME: &str = "lock";
const DIRECT: &str = "direct+fdatasync";
const BUFFERED: &str = "buffered+fdatasync";
/// Zeros are written this much at a time.
const FILL_BYTES: usize = 1 << 20;

/// The operating system's disk, one folder of it.
#[derive(Debug)]
pub struct OsDisk {
    folder: PathBuf,
    direct: bool,
    writable: bool,
    sync_delay: Duration,
    held: Mutex<Option<std::fs::File>>,
}

impl OsDisk {
    /// Opens `folder`, making it, durably, if it isn't there.
    ///
    /// # Errors
    ///
    /// If it can't be made, read or written.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        make_folder(&folder)?;
        let direct = probe_direct(&folder, true);
        Ok(Self {
            folder,
            direct,
            writable: true,
            sync_delay: Duration::ZERO,
            held: Mutex::new(None),
        })
    }

    /// Opens `folder` for reading only: nothing is made, locked or changed.
    ///
    /// # Errors
    ///
    /// If it isn't a readable folder.
    pub fn read_only(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        std::fs::read_dir(&folder)?;
        Ok(Self {
            direct: probe_direct(&folder, false),
            folder,
            writable: false,
            sync_delay: Duration::ZERO,
            held: Mutex::new(None),
        })
    }

    /// Does without O_DIRECT, as on a file system that hasn't got it.
    pub fn buffered(mut self) -> Self {
        self.direct = false;
        self
    }

    /// Makes each sync of a file take this much longer, as a slower disk would. For measuring.
    pub fn delay_syncs(mut self, by: Duration) -> Self {
        self.sync_delay = by;
        self
    }

    fn file(&self, name: &str, options: &mut OpenOptions) -> io::Result<Arc<dyn File>> {
        #[cfg(target_os = "linux")]
        if self.direct {
            options.custom_flags(rustix::fs::OFlags::DIRECT.bits().cast_signed());
        }
        let file = options.open(self.folder.join(name))?;
        Ok(Arc::new(OsFile {
            file,
            sync_delay: self.sync_delay,
        }))
    }
}

impl Disk for OsDisk {
    fn lock(&self) -> io::Result<Result<(), u32>> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.folder.join(LOCK_NAME))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                file.set_len(0)?;
                file.write_all(std::process::id().to_string().as_bytes())?;
                *lock(&self.held) = Some(file);
                Ok(Ok(()))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder)?;
                Ok(Err(holder.trim().parse().unwrap_or(0)))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn unlock(&self) {
        // Closing the file gives up its lock. The file stays: removing it would race with one who
        // has opened it and is about to lock it.
        lock(&self.held).take();
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // A running node may have renamed it since.
            match entry.metadata() {
                Ok(facts) if facts.is_file() => entries.push(Entry {
                    name,
                    bytes: facts.len(),
                }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.file(
            name,
            OpenOptions::new().read(true).write(true).create_new(true),
        )
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.file(name, OpenOptions::new().read(true).write(self.writable))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_folder(&self.folder)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let facts = rustix::fs::statvfs(&self.folder)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn facts(&self) -> DiskFacts {
        DiskFacts {
            class: if self.direct { DIRECT } else { BUFFERED },
        }
    }
}

#[derive(Debug)]
struct OsFile {
    file: std::fs::File,
    sync_delay: Duration,
}

impl File for OsFile {
    fn zero_fill(&self, bytes: u64) -> io::Result<()> {
        // Reserving space that is only promised (`fallocate`) would leave a metadata change to the
        // sync of each later write, so the zeros are written.
        let zeros = AlignedBytes::zeroed(FILL_BYTES);
        let mut at = 0;
        while at < bytes {
            let part = usize::try_from(bytes - at)
                .unwrap_or(usize::MAX)
                .min(FILL_BYTES);
            self.file.write_all_at(&zeros.as_ref()[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }

    fn write_at(&self, position: u64, blocks: &[u8]) -> io::Result<()> {
        self.file.write_all_at(blocks, position)
    }

    fn sync(&self) -> io::Result<()> {
        if !self.sync_delay.is_zero() {
            std::thread::sleep(self.sync_delay);
        }
        self.file.sync_data()
    }

    fn read_at(&self, position: u64, bytes: usize) -> io::Result<Bytes> {
        let mut buffer = AlignedBytes::zeroed(bytes);
        let mut got = 0;
        while got < bytes {
            match self
                .file
                .read_at(&mut buffer.bytes_mut()[got..], position + got as u64)
            {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // Under O_DIRECT a read that stops inside a block has met the end of the file.
            if !got.is_multiple_of(BLOCK_BYTES) {
                break;
            }
        }
        buffer.truncate(got);
        Ok(buffer.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn forget_cached(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Makes `folder` and those above it that are missing, durably: after `Ok` their names survive a loss
/// of power, and so does the name of a folder that was there, if its parent is ours to sync.
///
/// # Errors
///
/// If one can't be made or its parent not be synced.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    make_durably(folder, &sync_folder)
}

/// Makes `folder` and those above it that are missing, and syncs each one's parent: a folder whose
/// name is lost takes everything in it along. The parent of one that is there is synced too: whoever
/// made it may have been killed before that.
fn make_durably(folder: &Path, sync: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if folder.is_dir() {
        return match sync(parent) {
            Err(error) if is_foreign(&error) => Ok(()),
            synced => synced,
        };
    }
    make_durably(parent, sync)?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync(parent),
    }
}

/// Whether a folder can't be synced because it is others' business: it can't be opened by us, or its
/// file system can't be written or knows no such thing. Then what is in it was not made by us.
fn is_foreign(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem};
    matches!(
        error.kind(),
        InvalidInput | PermissionDenied | ReadOnlyFilesystem
    )
}

/// Whether files here can be read and written past the page cache in blocks of ours.
#[cfg(target_os = "linux")]
fn probe_direct(folder: &Path, make: bool) -> bool {
    // The folder itself doesn't tell; any file does. A fresh folder has none yet.
    let name = folder.join(LOCK_NAME);
    let opened = OpenOptions::new()
        .read(true)
        .write(make)
        .create(make)
        .truncate(false)
        .open(&name);
    if opened.is_err() {
        return false;
    }
    let Ok(facts) = rustix::fs::statx(
        rustix::fs::CWD,
        &name,
        rustix::fs::AtFlags::empty(),
        rustix::fs::StatxFlags::DIOALIGN,
    ) else {
        return false;
    };
    let told = facts.stx_mask & rustix::fs::StatxFlags::DIOALIGN.bits() != 0;
    let suits = |align: u32| align != 0 && BLOCK_BYTES.is_multiple_of(align as usize);
    told && suits(facts.stx_dio_mem_align) && suits(facts.stx_dio_offset_align)
}

#[cfg(not(target_os = "linux"))]
fn probe_direct(_folder: &Path, _make: bool) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_folders_name_is_synced_even_if_another_process_made_it() {
        let root = tempfile::tempdir().unwrap();
        let (data, log) = (root.path().join("data"), root.path().join("data/log"));
        let synced = RefCell::new(Vec::new());
        let sync = |folder: &Path| {
            synced.borrow_mut().push(folder.to_owned());
            Ok(())
        };
        let made = |folder: &Path| {
            make_durably(folder, &sync).unwrap();
            assert!(folder.is_dir());
            synced.take()
        };
        let above = root.path().parent().unwrap().to_owned();
        let all = [above, root.path().to_owned(), data.clone()];
        assert_eq!(made(&log), all, "where nothing is there");
        assert_eq!(made(&log), [data], "where all is there");
    }

    #[test]
    fn a_parent_that_is_others_business_is_left_to_them() {
        let root = tempfile::tempdir().unwrap();
        let refused = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
        make_durably(root.path(), &refused).unwrap();
        let broken = |_: &Path| Err(io::Error::other("broken"));
        assert!(make_durably(root.path(), &broken).is_err());
        assert!(make_durably(&root.path().join("log"), &broken).is_err());
    }
}
