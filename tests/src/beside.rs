//! A second folder on one model disk: names with a prefix. So that both lose power at the same
//! moment.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use journal::model_disk::ModelDisk;
use journal::{Disk, DiskFacts, Entry, File};

/// What the files of kept begin with, on a disk that holds the log too.
pub const KEPT_PREFIX: &str = "kept-";

/// The files of a model disk whose names begin so.
#[derive(Clone)]
pub struct Beside {
    disk: ModelDisk,
    prefix: &'static str,
}

impl Beside {
    /// A folder of that name on the disk.
    pub fn new(disk: &ModelDisk, prefix: &'static str) -> Beside {
        Beside {
            disk: disk.clone(),
            prefix,
        }
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Disk for Beside {
    /// Whoever has the disk has this.
    fn lock(&self) -> io::Result<Result<(), u32>> {
        Ok(Ok(()))
    }

    fn unlock(&self) {}

    fn list(&self) -> io::Result<Vec<Entry>> {
        let all = self.disk.list()?.into_iter();
        let mine = all.filter_map(|entry| {
            let name = entry.name.strip_prefix(self.prefix)?.to_owned();
            Some(Entry { name, ..entry })
        });
        Ok(mine.collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(&self.name(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.open(&self.name(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.name(from), &self.name(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&self.name(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn facts(&self) -> DiskFacts {
        self.disk.facts()
    }

    fn delay(&self) -> Duration {
        self.disk.delay()
    }
}
