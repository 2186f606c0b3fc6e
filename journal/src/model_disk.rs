//! A disk in memory that loses power, tears writes, fails and fills up on demand.
//!
//! It keeps apart what was written and what would survive: each sector of 512 bytes is durable only
//! once its file was synced, each name only once the folder was. [`ModelDisk::crash`] makes the disk
//! as it would be found after a loss of power right now. [`ModelDisk::memory`] makes one for
//! throw-away use that keeps no such books. A handle is shared by cloning.

mod image;

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::disk::{Disk, DiskFacts, Entry, File};
use crate::lock::lock;

use self::image::{Contents, Image, Renaming};

/// What a disk writes all or nothing of.
pub const SECTOR_BYTES: usize = 512;

/// Which of the sectors and names that weren't synced survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashRule {
    /// None: the disk kept its promise and nothing more.
    Nothing,
    /// All: the power failed just after they had arrived.
    Everything,
    /// The first so many, in the order they were written: a torn write.
    Torn,
    /// The last so many, without those before: a disk that reorders.
    Reordered,
    /// Any of them.
    Subset,
}

impl CrashRule {
    /// Each of them.
    pub const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Everything,
        Self::Torn,
        Self::Reordered,
        Self::Subset,
    ];
}

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `File::write_at`
    Write,
    /// `File::sync`
    Sync,
    /// `File::zero_fill`
    Fill,
    /// `File::read_at`
    Read,
    /// `Disk::create`
    Create,
    /// `Disk::rename`
    Rename,
    /// `Disk::sync`
    SyncFolder,
}

const OPERATIONS: usize = 7;

/// How often it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// This one time.
    Once,
    /// From this time on.
    ForEver,
    /// This one time, and for a sync: what it was to make durable is lost, though it can still be
    /// read until it is forgotten, and the next sync says yes. So does Linux.
    OnceWithDataGone,
}

/// An error to come.
#[derive(Debug, Clone, Copy)]
struct Scripted {
    operation: Operation,
    /// Counted from 0 over the disk's life.
    nth: u64,
    lasting: Lasting,
    kind: io::ErrorKind,
}

/// How often each thing was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    counts: [u64; OPERATIONS],
}

impl Counters {
    /// How often `operation` was asked for, failures included.
    pub fn of(&self, operation: Operation) -> u64 {
        self.counts[operation as usize]
    }
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct ModelDisk {
    shared: Arc<Mutex<Model>>,
}

#[derive(Debug, Default, Clone)]
struct Model {
    image: Image,
    /// Keeps no account of what is durable.
    memory: bool,
    capacity: Option<u64>,
    locked: bool,
    scripts: Vec<Scripted>,
    counters: Counters,
    changes: u64,
    history: Option<Vec<Image>>,
}

impl ModelDisk {
    /// An empty disk without limits or faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty disk for throw-away use: everything is as durable at once as it will ever be.
    pub fn memory() -> Self {
        let disk = Self::default();
        lock(&disk.shared).memory = true;
        disk
    }

    /// Lets no more than `bytes` be allocated.
    pub fn set_capacity(&self, bytes: u64) {
        lock(&self.shared).capacity = Some(bytes);
    }

    /// Makes the `nth` of `operation` from now, counted from 0, fail with `kind`.
    pub fn fail(&self, operation: Operation, nth: u64, lasting: Lasting, kind: io::ErrorKind) {
        let mut model = lock(&self.shared);
        let nth = nth + model.counters.of(operation);
        model.scripts.push(Scripted {
            operation,
            nth,
            lasting,
            kind,
        });
    }

    /// How often each thing was done.
    pub fn counters(&self) -> Counters {
        lock(&self.shared).counters
    }

    /// The disk as it would be found had the power failed now. This one goes on as it is. Equal
    /// seeds make equal disks.
    pub fn crash(&self, rule: CrashRule, seed: u64) -> Self {
        Self::holding(lock(&self.shared).image.crash(rule, seed))
    }

    fn holding(image: Image) -> Self {
        let model = Model {
            image,
            ..Model::default()
        };
        Self {
            shared: Arc::new(Mutex::new(model)),
        }
    }

    /// From now on remembers the disk before each change, for `crash_before`.
    pub fn keep_history(&self) {
        let mut model = lock(&self.shared);
        model.changes = 0;
        model.history = Some(Vec::new());
    }

    /// How many changes (writes, syncs, names) were made since `keep_history`.
    pub fn changes(&self) -> u64 {
        lock(&self.shared).changes
    }

    /// As `crash`, had the power failed just before change number `change`.
    pub fn crash_before(&self, change: u64, rule: CrashRule, seed: u64) -> Self {
        let model = lock(&self.shared);
        let history = model.history.as_deref().unwrap_or_default();
        let index = usize::try_from(change).unwrap_or(usize::MAX);
        Self::holding(history.get(index).unwrap_or(&model.image).crash(rule, seed))
    }

    /// Flips one bit of a file, durably.
    ///
    /// # Panics
    ///
    /// If there is no such file or byte.
    pub fn flip_bit(&self, name: &str, byte: usize, bit: u8) {
        let mut model = lock(&self.shared);
        let file = model.image.names[name];
        let contents = &mut model.image.files[file];
        Arc::make_mut(&mut contents.durable)[byte] ^= 1 << bit;
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        lock(&self.shared).image.names.keys().cloned().collect()
    }
}

impl Model {
    /// Counts an operation, and fails it if the script says so.
    fn begin(&mut self, operation: Operation) -> Result<(), (Lasting, io::Error)> {
        let nth = self.counters.of(operation);
        self.counters.counts[operation as usize] += 1;
        let due = self.scripts.iter().find(|script| {
            let now = match script.lasting {
                Lasting::ForEver => script.nth <= nth,
                Lasting::Once | Lasting::OnceWithDataGone => script.nth == nth,
            };
            script.operation == operation && now
        });
        match due {
            None => Ok(()),
            Some(script) => Err((script.lasting, script.kind.into())),
        }
    }

    /// The same for what changes the disk, which is where the power may fail.
    fn change(&mut self, operation: Operation) -> Result<(), (Lasting, io::Error)> {
        if let Some(history) = &mut self.history {
            history.push(self.image.clone());
            self.changes += 1;
        }
        self.begin(operation)
    }

    fn rename(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.image.names);
        if self.memory {
            let live: Vec<usize> = self.image.names.values().copied().collect();
            for (file, contents) in self.image.files.iter_mut().enumerate() {
                if !live.contains(&file) {
                    *contents = Contents::default();
                }
            }
        } else {
            self.image.pending_names.push(renaming);
        }
    }

    fn allocated(&self) -> u64 {
        let files = self.image.names.values();
        files.map(|&file| self.image.files[file].bytes as u64).sum()
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        let file = self.image.names.get(name).copied();
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn error((_, error): (Lasting, io::Error)) -> io::Error {
    error
}

impl Disk for ModelDisk {
    fn lock(&self) -> io::Result<Result<(), u32>> {
        let mut model = lock(&self.shared);
        if std::mem::replace(&mut model.locked, true) {
            return Ok(Err(std::process::id()));
        }
        Ok(Ok(()))
    }

    fn unlock(&self) {
        lock(&self.shared).locked = false;
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let model = lock(&self.shared);
        let entries = model.image.names.iter().map(|(name, &file)| Entry {
            name: name.clone(),
            bytes: model.image.files[file].bytes as u64,
        });
        Ok(entries.collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut model = lock(&self.shared);
        model.change(Operation::Create).map_err(error)?;
        if model.image.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = model.image.files.len();
        model.image.files.push(Contents::default());
        model.rename(Renaming {
            removed: None,
            added: Some((name.to_owned(), file)),
        });
        drop(model);
        Ok(self.handle(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = lock(&self.shared).file(name)?;
        Ok(self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut model = lock(&self.shared);
        model.change(Operation::Rename).map_err(error)?;
        let file = model.file(from)?;
        model.rename(Renaming {
            removed: Some(from.to_owned()),
            added: Some((to.to_owned(), file)),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut model = lock(&self.shared);
        model.change(Operation::Rename).map_err(error)?;
        model.file(name)?;
        model.rename(Renaming {
            removed: Some(name.to_owned()),
            added: None,
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut model = lock(&self.shared);
        model.change(Operation::SyncFolder).map_err(error)?;
        model.image.pending_names.clear();
        model.image.durable_names = model.image.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let model = lock(&self.shared);
        let capacity = model.capacity.unwrap_or(u64::MAX / 2);
        Ok(capacity.saturating_sub(model.allocated()))
    }

    fn facts(&self) -> DiskFacts {
        DiskFacts { class: "memory" }
    }
}

impl ModelDisk {
    fn handle(&self, file: usize) -> Arc<dyn File> {
        Arc::new(ModelFile {
            disk: self.clone(),
            file,
        })
    }
}

#[derive(Debug)]
struct ModelFile {
    disk: ModelDisk,
    file: usize,
}

impl File for ModelFile {
    fn zero_fill(&self, bytes: u64) -> io::Result<()> {
        let mut model = lock(&self.disk.shared);
        model.change(Operation::Fill).map_err(error)?;
        let more = bytes.saturating_sub(model.image.files[self.file].bytes as u64);
        let capacity = model.capacity.unwrap_or(u64::MAX);
        if capacity < model.allocated() + more {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let memory = model.memory;
        let contents = &mut model.image.files[self.file];
        contents.bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        if memory {
            // Asked for as zeros, so that pages nobody writes to cost nothing.
            contents.durable = Arc::new(vec![0; contents.bytes]);
        }
        Ok(())
    }

    fn write_at(&self, position: u64, blocks: &[u8]) -> io::Result<()> {
        assert!(
            position.is_multiple_of(4096) && blocks.len().is_multiple_of(4096),
            "only whole blocks are written"
        );
        let mut model = lock(&self.disk.shared);
        model.change(Operation::Write).map_err(error)?;
        let memory = model.memory;
        let contents = &mut model.image.files[self.file];
        let at = usize::try_from(position).map_err(io::Error::other)?;
        if memory {
            contents.bytes = contents.bytes.max(at + blocks.len());
            let durable = Arc::make_mut(&mut contents.durable);
            durable.resize(contents.bytes, 0);
            durable[at..at + blocks.len()].copy_from_slice(blocks);
        } else {
            contents.write(at, blocks);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut model = lock(&self.disk.shared);
        let begun = model.change(Operation::Sync);
        let contents = &mut model.image.files[self.file];
        match begun {
            Ok(()) => contents.sync(),
            Err((lasting, error)) => {
                if lasting == Lasting::OnceWithDataGone {
                    contents.lose();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn read_at(&self, position: u64, bytes: usize) -> io::Result<Bytes> {
        let mut model = lock(&self.disk.shared);
        model.begin(Operation::Read).map_err(error)?;
        let from = usize::try_from(position).map_err(io::Error::other)?;
        Ok(model.image.files[self.file].read(from, from + bytes).into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.disk.shared).image.files[self.file].bytes as u64)
    }

    fn forget_cached(&self) -> io::Result<()> {
        lock(&self.disk.shared).image.files[self.file].forget();
        Ok(())
    }
}
