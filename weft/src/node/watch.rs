//! Watches the folders of YAML and puts changes in force.
//!
//! The folders are looked at every 250 ms: names, sizes, times and inodes of the files, not
//! their contents. That finds what editors, checkouts and ConfigMap mounts do on every file
//! system, where inotify misses links that are swapped and network mounts. A look costs about
//! 2 µs a file; where there are many, looks come rarer, so that they take at most 2 % of a core.
//! A change is read once it has been still for 100 ms, so that half-written files and renames in
//! two steps are seen as one change; one that never rests is read after a second anyway.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use broker::Engine;
use triggers::files::{self, DEPTH_MAX, FILES_MAX, File, FolderError};
use triggers::{Catalog, Change, Kind, Report};

use crate::exit::Failure;
use crate::node::files::{folder, lowered};
use crate::node::settings::differing;
use crate::out;
use crate::table::count;

/// How often the folders are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long files must have been still before they are read.
const STILL_FOR: Duration = Duration::from_millis(100);
/// A change that doesn't rest is read after so long.
const RESTLESS_MAX: Duration = Duration::from_secs(1);
/// Looking may take this share of the time.
const LOOK_SHARE_MAX: u32 = 50;

/// What is wrong in the YAML now, and where each resource stands, for the admin API.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    lines: Mutex<Vec<String>>,
    places: Mutex<HashMap<String, String>>,
}

impl Problems {
    /// The problems, a line each.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Where a resource stands, `conf/billing.yaml:3:1`; `resource` as `Trigger shop/billing`.
    pub(crate) fn place(&self, resource: &str) -> Option<String> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(resource).cloned()
    }

    /// Remembers where all resources stand.
    pub(crate) fn set_places(&self, catalog: &Catalog) {
        let places = catalog.in_force().filter_map(|resource| {
            let place = resource.place.as_ref()?;
            Some((resource.key().to_string(), place.to_string()))
        });
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places.collect();
    }

    /// Replaces them.
    pub(crate) fn set(&self, report: &Report) {
        let lines = report.problems.iter().map(ToString::to_string).collect();
        *self.lines.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }
}

/// Watches folders for one engine.
pub(crate) struct Watch {
    pub(crate) dirs: Vec<PathBuf>,
    pub(crate) engine: Engine,
    pub(crate) catalog: Catalog,
    /// The Node that is running.
    pub(crate) node: triggers::Node,
    pub(crate) problems: Arc<Problems>,
    /// What the folders looked like when they were read.
    pub(crate) seen: Look,
    /// What was printed last, so that it is printed once.
    pub(crate) said: String,
    /// What was printed last of the Node.
    pub(crate) said_of_node: String,
}

/// What the folders look like: a line for each file, without contents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Look(Vec<(PathBuf, Stamp)>);

/// Size, inode, modification and change of a file; `None` when it can't be looked at.
type Stamp = Option<(u64, u64, i128, i128)>;

impl Look {
    /// Looks at the folders.
    pub(crate) fn at(dirs: &[PathBuf]) -> Self {
        let mut look = Self::default();
        for dir in dirs {
            look.visit(dir, 0);
        }
        look.0.sort();
        look
    }

    fn visit(&mut self, path: &Path, depth: usize) {
        if depth > DEPTH_MAX || self.0.len() > 2 * FILES_MAX {
            return;
        }
        let metadata = fs::metadata(path).ok();
        if metadata.as_ref().is_some_and(fs::Metadata::is_dir) {
            let Ok(entries) = fs::read_dir(path) else {
                return self.0.push((path.into(), None));
            };
            for entry in entries.flatten() {
                if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                    self.visit(&entry.path(), depth + 1);
                }
            }
            return;
        }
        let yaml = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml");
        if yaml || depth == 0 {
            self.0
                .push((path.into(), metadata.map(|metadata| stamp(&metadata))));
        }
    }
}

fn stamp(metadata: &fs::Metadata) -> (u64, u64, i128, i128) {
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let modified = nanos(metadata.mtime(), metadata.mtime_nsec());
    (
        metadata.len(),
        metadata.ino(),
        modified,
        nanos(metadata.ctime(), metadata.ctime_nsec()),
    )
}

impl Watch {
    /// Watches until the engine has stopped.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        let mut pause = LOOK_EVERY;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            let look = self.look().await?;
            pause = LOOK_EVERY.max(began.elapsed() * LOOK_SHARE_MAX);
            if look != self.seen {
                self.seen = self.rest(look).await?;
                self.reload().await?;
            }
        }
    }

    async fn look(&self) -> Result<Look, String> {
        let dirs = self.dirs.clone();
        let look = tokio::task::spawn_blocking(move || Look::at(&dirs));
        look.await.map_err(|error| error.to_string())
    }

    /// Waits until the files are still, and says what they look like then.
    async fn rest(&self, mut before: Look) -> Result<Look, String> {
        let until = Instant::now() + RESTLESS_MAX;
        loop {
            tokio::time::sleep(STILL_FOR).await;
            let now = self.look().await?;
            if now == before || Instant::now() >= until {
                return Ok(now);
            }
            before = now;
        }
    }

    /// Reads the folders and puts what changed in force.
    async fn reload(&mut self) -> Result<(), String> {
        let dirs = self.dirs.clone();
        let mut catalog = std::mem::take(&mut self.catalog);
        let read = tokio::task::spawn_blocking(move || {
            let result = read(dirs).map(|files| {
                let change = catalog.reload(files);
                let (lowered, further) = lowered(&catalog);
                let report = change.report(further);
                (change, lowered, report)
            });
            (catalog, result)
        });
        let (catalog, result) = read.await.map_err(|error| error.to_string())?;
        self.catalog = catalog;
        let (change, lowered, report) = match result {
            Ok(read) => read,
            Err(error) => {
                // A checkout takes folders away and puts them back, a mount may be late: a
                // folder that isn't there says nothing about what was in it.
                let failure: Failure = folder(error);
                self.say(format!(
                    "{}; what was loaded stays in force",
                    failure.message
                ));
                return Ok(());
            }
        };
        let (put, gone) = (change.put.len(), change.gone.len());
        let applied = apply(&self.engine, change).await?;
        self.problems.set(&report);
        self.problems.set_places(&self.catalog);
        if put + gone > 0 {
            let mut parts = vec![format!("reloaded: {}", report.counts)];
            if applied.put > 0 {
                parts.push(format!("{} new or changed", count(applied.put as u64)));
            }
            if applied.attached > 0 {
                parts.push(format!("{} back", count(applied.attached as u64)));
            }
            if applied.detached > 0 {
                parts.push(format!(
                    "{} without a file: what is owed to them waits 10 minutes for it to come back",
                    count(applied.detached as u64)
                ));
            }
            out::announce(parts.join(", "));
        }
        let differing = differing(&self.node, &lowered.node).join(", ");
        if report.counts.nodes > 0 && self.said_of_node != differing {
            if !differing.is_empty() {
                out::announce(format_args!(
                    "the Node changed: {differing} of it takes effect at the next start"
                ));
            }
            self.said_of_node = differing;
        }
        if report.is_clean() {
            if !self.said.is_empty() {
                out::announce(format_args!("no problems any more: {}", report.counts));
            }
            self.said.clear();
        } else {
            self.say(crate::node::banner::problems(&report));
        }
        Ok(())
    }

    /// Prints a text unless it is what was printed last.
    fn say(&mut self, text: String) {
        if self.said != text {
            out::announce(&text);
            self.said = text;
        }
    }
}

/// Reads the folders. One that is there and holds no YAML any more is empty, which is no error
/// while a node runs: what was in it has vanished.
fn read(mut dirs: Vec<PathBuf>) -> Result<Vec<File>, FolderError> {
    loop {
        match files::read(&dirs) {
            Err(FolderError::Empty { path }) => {
                dirs.retain(|dir| *dir != path);
                if dirs.is_empty() {
                    return Ok(Vec::new());
                }
            }
            result => return result,
        }
    }
}

/// Puts a change in force. The Node is not the engine's.
pub(crate) async fn apply(
    engine: &Engine,
    mut change: Change,
) -> Result<broker::registry::Applied, String> {
    change.put.retain(|resource| resource.kind() != Kind::Node);
    change.gone.retain(|key| key.kind != Kind::Node);
    engine
        .apply(&change)
        .await
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder, and whether it looks different after each step.
    #[track_caller]
    fn sees(step: &str, dir: &Path, change: impl FnOnce(&Path)) {
        let dirs = [dir.to_owned()];
        let before = Look::at(&dirs);
        assert_eq!(before, Look::at(&dirs), "{step}: nothing changed yet");
        change(dir);
        assert_ne!(before, Look::at(&dirs), "{step}");
    }

    #[test]
    fn every_way_in_which_files_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        sees("a new file", dir, |dir| {
            fs::write(dir.join("a.yaml"), "one").unwrap()
        });
        sees("a longer text", dir, |dir| {
            fs::write(dir.join("a.yaml"), "three").unwrap()
        });
        sees("an editor's rename", dir, |dir| {
            fs::write(dir.join(".a.swp"), "seven").unwrap();
            fs::rename(dir.join(".a.swp"), dir.join("a.yaml")).unwrap();
        });
        sees("a subfolder's file", dir, |dir| {
            fs::create_dir(dir.join("more")).unwrap();
            fs::write(dir.join("more/b.yml"), "b").unwrap();
        });
        sees("a file that is gone", dir, |dir| {
            fs::remove_file(dir.join("a.yaml")).unwrap()
        });
        sees("the folder that is gone", dir, |dir| {
            fs::remove_dir_all(dir).unwrap()
        });
    }

    #[test]
    fn a_config_maps_link_swap_is_seen_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        for version in ["..1", "..2"] {
            fs::create_dir(dir.join(version)).unwrap();
            fs::write(dir.join(version).join("t.yaml"), "same").unwrap();
        }
        symlink("..1", dir.join("..data")).unwrap();
        symlink("..data/t.yaml", dir.join("t.yaml")).unwrap();
        sees("the swap", dir, |dir| {
            symlink("..2", dir.join("..data_tmp")).unwrap();
            fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
        });
        let dirs = [dir.to_owned()];
        let before = Look::at(&dirs);
        fs::write(dir.join("notes.txt"), "not YAML").unwrap();
        assert_eq!(before, Look::at(&dirs));
    }

    #[test]
    fn an_emptied_folder_has_no_files_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (full, empty) = (folder.path().join("full"), folder.path().join("empty"));
        fs::create_dir(&full).unwrap();
        fs::create_dir(&empty).unwrap();
        fs::write(full.join("a.yaml"), "x: 1").unwrap();
        assert_eq!(read(vec![full.clone(), empty.clone()]).unwrap().len(), 1);
        assert_eq!(read(vec![empty]).unwrap().len(), 0);
        let missing = folder.path().join("missing");
        assert!(matches!(
            read(vec![full, missing]),
            Err(FolderError::Missing { .. })
        ));
    }
}
