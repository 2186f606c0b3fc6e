//! A disk in memory that loses power, tears writes, fails and fills up on demand.
//!
//! It keeps apart what was written and what would survive: each sector is durable only
//! once its file was synced, each name only once the folder was. [`ModelDisk::crash`] makes the disk
//! as it would be found after a loss of power right now. [`ModelDisk::memory`] makes one for
//! throw-away use that keeps no such books. A handle is shared by cloning.

mod file;
mod image;
mod power;
mod script;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::disk::{Disk, DiskFacts, Entry, File};
use crate::lock::lock;

use self::file::ModelFile;
use self::image::{Contents, Image, Renaming};
use self::power::Power;
use self::script::Script;
pub use self::script::{Counters, Lasting, Operation};

/// What a disk writes all or nothing of, unless [`ModelDisk::set_sector_bytes`] says otherwise.
pub const SECTOR_BYTES: usize = 512;

/// What newer disks write all or nothing of.
pub const LARGE_SECTOR_BYTES: usize = 4096;

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

/// One operation, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What.
    pub operation: Operation,
    /// On which file, by the order in which files were made; none of the folder.
    pub file: Option<usize>,
    /// Where in it.
    pub position: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Whether it failed by script.
    pub failed: bool,
}

/// Who is told of each operation.
#[derive(Clone)]
struct Watcher(Arc<dyn Fn(Seen) + Send + Sync>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a watcher")
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
    script: Script,
    power: Power,
    /// What is written all or nothing of, where it isn't [`SECTOR_BYTES`].
    sector_bytes: Option<usize>,
    watcher: Option<Watcher>,
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
        model.script.fail(operation, nth, lasting, kind);
    }

    /// Has each `operation` take so long: whoever drives the journal as a task waits for it before
    /// it says that anything is durable.
    pub fn set_delay(&self, operation: Operation, delay: Duration) {
        lock(&self.shared).script.delay(operation, delay);
    }

    /// From now on nothing fails, nothing takes time, and there is room.
    pub fn heal(&self) {
        let mut model = lock(&self.shared);
        model.script.heal();
        model.capacity = None;
    }

    /// What is written all or nothing of at a loss of power: [`SECTOR_BYTES`] or
    /// [`LARGE_SECTOR_BYTES`].
    ///
    /// # Panics
    ///
    /// If it is neither.
    pub fn set_sector_bytes(&self, bytes: usize) {
        assert!([SECTOR_BYTES, LARGE_SECTOR_BYTES].contains(&bytes));
        lock(&self.shared).sector_bytes = Some(bytes);
    }

    /// Tells `watcher` of each operation. It must not use the disk.
    pub fn watch(&self, watcher: impl Fn(Seen) + Send + Sync + 'static) {
        lock(&self.shared).watcher = Some(Watcher(Arc::new(watcher)));
    }

    /// How often each thing was done.
    pub fn counters(&self) -> Counters {
        lock(&self.shared).script.counters
    }

    /// How many bytes its files take.
    pub fn allocated(&self) -> u64 {
        lock(&self.shared).allocated()
    }

    /// The disk as it would be found had the power failed now. This one goes on as it is. Equal
    /// seeds make equal disks. Who watched this one watches that one.
    pub fn crash(&self, rule: CrashRule, seed: u64) -> Self {
        let model = lock(&self.shared);
        model.crashed(&model.image, rule, seed)
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
        model.crashed(history.get(index).unwrap_or(&model.image), rule, seed)
    }

    /// Whether just before change number `change` everything was durable, so that a loss of power
    /// leaves the same by every rule.
    pub fn was_durable_before(&self, change: u64) -> bool {
        let model = lock(&self.shared);
        let history = model.history.as_deref().unwrap_or_default();
        let index = usize::try_from(change).unwrap_or(usize::MAX);
        history.get(index).unwrap_or(&model.image).is_durable()
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
    fn begin(
        &mut self,
        operation: Operation,
        file: Option<usize>,
        (position, bytes): (u64, u64),
    ) -> Result<(), (Lasting, io::Error)> {
        let powered = self.power.check();
        powered.map_err(|error| (Lasting::ForEver, error))?;
        let begun = self.script.begin(operation);
        if let Some(Watcher(watcher)) = &self.watcher {
            watcher(Seen {
                operation,
                file,
                position,
                bytes,
                failed: begun.is_err(),
            });
        }
        begun
    }

    /// The same for what changes a file, which is where the power may fail.
    fn change(
        &mut self,
        operation: Operation,
        file: usize,
        range: (u64, u64),
    ) -> Result<(), (Lasting, io::Error)> {
        self.remember(operation);
        self.begin(operation, Some(file), range)
    }

    /// And for what is asked of the folder.
    fn ask(&mut self, operation: Operation) -> io::Result<()> {
        self.begin(operation, None, (0, 0)).map_err(error)
    }

    fn change_folder(&mut self, operation: Operation) -> Result<(), (Lasting, io::Error)> {
        self.remember(operation);
        self.begin(operation, None, (0, 0))
    }

    fn remember(&mut self, operation: Operation) {
        self.power.change(operation);
        if self.power.is_off() {
            return;
        }
        if let Some(history) = &mut self.history {
            history.push(self.image.clone());
            self.changes += 1;
        }
    }

    /// A disk that holds what a loss of power left of `image`.
    fn crashed(&self, image: &Image, rule: CrashRule, seed: u64) -> ModelDisk {
        let sector_bytes = self.sector_bytes.unwrap_or(SECTOR_BYTES);
        let model = Model {
            image: image.crash(rule, seed, sector_bytes),
            sector_bytes: self.sector_bytes,
            watcher: self.watcher.clone(),
            ..Model::default()
        };
        ModelDisk {
            shared: Arc::new(Mutex::new(model)),
        }
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

    /// Whether a file may become as long as that.
    fn has_room(&self, file: usize, bytes: u64) -> io::Result<()> {
        let more = bytes.saturating_sub(self.image.files[file].bytes as u64);
        let capacity = self.capacity.unwrap_or(u64::MAX);
        // What is written over has its room, however full the disk is.
        match more == 0 || self.allocated() + more <= capacity {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
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
        let mut model = lock(&self.shared);
        model.ask(Operation::List)?;
        let entries = model.image.names.iter().map(|(name, &file)| Entry {
            name: name.clone(),
            bytes: model.image.files[file].bytes as u64,
        });
        Ok(entries.collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut model = lock(&self.shared);
        model.change_folder(Operation::Create).map_err(error)?;
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
        let mut model = lock(&self.shared);
        model.ask(Operation::Open)?;
        let file = model.file(name)?;
        drop(model);
        Ok(self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut model = lock(&self.shared);
        model.change_folder(Operation::Rename).map_err(error)?;
        let file = model.file(from)?;
        model.rename(Renaming {
            removed: Some(from.to_owned()),
            added: Some((to.to_owned(), file)),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut model = lock(&self.shared);
        model.change_folder(Operation::Remove).map_err(error)?;
        model.file(name)?;
        model.rename(Renaming {
            removed: Some(name.to_owned()),
            added: None,
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut model = lock(&self.shared);
        let begun = model.change_folder(Operation::SyncFolder);
        let pending = std::mem::take(&mut model.image.pending_names);
        match begun {
            Ok(()) => {
                for renaming in &pending {
                    renaming.apply(&mut model.image.durable_names);
                }
                Ok(())
            }
            // The names can be read for as long as there is power, and no sync makes them durable.
            Err((Lasting::OnceWithDataGone, error)) => Err(error),
            Err((_, error)) => {
                model.image.pending_names = pending;
                Err(error)
            }
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut model = lock(&self.shared);
        model.ask(Operation::Free)?;
        let capacity = model.capacity.unwrap_or(u64::MAX / 2);
        Ok(capacity.saturating_sub(model.allocated()))
    }

    fn facts(&self) -> DiskFacts {
        DiskFacts { class: "memory" }
    }

    fn delay(&self) -> Duration {
        std::mem::take(&mut lock(&self.shared).script.delayed)
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
