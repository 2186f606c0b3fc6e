//! Taking a backup of the node that this process is.
//!
//! Nothing stops meanwhile. First every journal's files are held, the log's first, so that none is
//! recycled. Then it is looked how far each is durable, the log last: all that kept says is then of
//! records that the copied log has, and what moved to kept since is still in the log's held files.
//! That is what a crash leaves behind whose keeper hadn't come further, so a start takes it up.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use broker::time::rfc3339;
use journal::{HeldFile, Hold, Journal, WallTime};
use serde::{Deserialize, Serialize};

use super::{Copied, FORMAT, MANIFEST, Manifest, sync_folder};

/// How a backup goes. The admin API's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
    /// Where it is written, on the node's machine.
    pub(crate) folder: String,
    /// Whether it goes on, has been taken, or was given up.
    pub(crate) state: Phase,
    /// Bytes copied.
    pub(crate) bytes: u64,
    /// Bytes to copy; 0 until that is known.
    pub(crate) bytes_total: u64,
    /// Files copied.
    pub(crate) files: usize,
    /// The log's first offset in it, once taken.
    pub(crate) start: Option<u64>,
    /// The offset behind its last record, once taken.
    pub(crate) end: Option<u64>,
    /// Why it was given up.
    pub(crate) error: Option<String>,
}

/// Where a backup stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Phase {
    /// Files are being copied.
    Copying,
    /// It is whole, and durable.
    Done,
    /// It was given up, and what there was of it removed.
    Failed,
}

/// The node's backups: one at a time. Remembers the last one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backups {
    last: Arc<Mutex<Option<Progress>>>,
}

impl Backups {
    /// The one that goes on, else the last one; none since the start.
    pub(crate) fn last(&self) -> Option<Progress> {
        self.lock().clone()
    }

    /// Begins one.
    ///
    /// # Errors
    ///
    /// The one that goes on already.
    pub(crate) fn begin(&self, folder: &Path) -> Result<Progress, Progress> {
        let mut last = self.lock();
        if let Some(running) = last.as_ref().filter(|last| last.state == Phase::Copying) {
            return Err(running.clone());
        }
        let progress = Progress {
            folder: folder.display().to_string(),
            state: Phase::Copying,
            bytes: 0,
            bytes_total: 0,
            files: 0,
            start: None,
            end: None,
            error: None,
        };
        *last = Some(progress.clone());
        Ok(progress)
    }

    /// The one that was begun can't be taken.
    pub(crate) fn give_up(&self, why: &str) {
        self.update(|progress| {
            progress.state = Phase::Failed;
            progress.error = Some(why.to_owned());
        });
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        if let Some(last) = self.lock().as_mut() {
            change(last);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Progress>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A journal, and the folder of a data folder that it lies in.
pub(crate) struct Part {
    /// `log` or `kept`.
    pub(crate) folder: &'static str,
    /// The journal in it.
    pub(crate) journal: Journal,
}

/// Makes the folder of a backup.
///
/// # Errors
///
/// If something is there already, or it can't be made.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    std::fs::create_dir(folder)
}

/// Copies all parts to `folder`, which [`make_folder`] made, and says in `backups` how it goes. The
/// log is the first part; each part may move things to those behind it. Blocking. What there is of a backup that fails is removed.
pub(crate) fn take(backups: &Backups, folder: PathBuf, parts: &[Part], now: WallTime) {
    let taken = copy_all(backups, &folder, parts, now);
    let removed = match taken {
        Ok(_) => Ok(()),
        Err(_) => std::fs::remove_dir_all(&folder),
    };
    backups.update(|progress| match taken {
        Ok(manifest) => {
            progress.state = Phase::Done;
            progress.start = Some(manifest.start);
            progress.end = Some(manifest.end);
        }
        Err(error) => {
            let kept = match removed {
                Ok(()) => "what there was of it was removed".into(),
                Err(error) => format!("what there is of it can't be removed: {error}"),
            };
            progress.state = Phase::Failed;
            progress.error = Some(format!("{error}; {kept}"));
        }
    });
}

/// What failed, in words.
fn doing(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> String {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull => format!("{what}: the disk is full"),
        _ => format!("{what}: {error}"),
    }
}

fn copy_all(
    backups: &Backups,
    folder: &Path,
    parts: &[Part],
    now: WallTime,
) -> Result<Manifest, String> {
    let holds: Vec<Hold> = parts.iter().map(|part| part.journal.hold()).collect();
    let log = parts.first().ok_or("there is no log")?;
    let (mut start, mut end, mut files) = (0, 0, Vec::new());
    let mut all_held: Vec<Vec<HeldFile>> = holds.iter().rev().map(Hold::files).collect();
    all_held.reverse();
    let bytes: u64 = all_held.iter().flatten().map(|file| file.bytes).sum();
    backups.update(|progress| progress.bytes_total = bytes);
    if let Some(of_log) = all_held.first() {
        start = of_log.first().map_or(start, |file| file.first.0);
        end = of_log.last().map_or(start, |file| file.end.0);
    }
    for ((part, hold), held) in parts.iter().zip(&holds).zip(&all_held) {
        let inside = folder.join(part.folder);
        std::fs::create_dir(&inside).map_err(doing(format_args!("making {}", inside.display())))?;
        for file in held {
            files.push(copy(backups, part, hold, file, &inside)?);
        }
        sync_folder(&inside).map_err(doing(format_args!("syncing {}", inside.display())))?;
    }
    let manifest = Manifest {
        format: FORMAT,
        weft: env!("CARGO_PKG_VERSION").into(),
        taken: rfc3339(now),
        log_id: format!("{:016x}", log.journal.facts().log_id),
        start,
        end,
        files,
    };
    write_manifest(folder, &manifest).map_err(doing("writing the manifest"))?;
    Ok(manifest)
}

fn copy(
    backups: &Backups,
    part: &Part,
    hold: &Hold,
    file: &HeldFile,
    into: &Path,
) -> Result<Copied, String> {
    let path = into.join(&file.name);
    let crc = hold
        .copy(file, &path, |bytes| {
            backups.update(|progress| progress.bytes += bytes);
        })
        .map_err(doing(format_args!("copying to {}", path.display())))?;
    backups.update(|progress| progress.files += 1);
    Ok(Copied {
        path: format!("{}/{}", part.folder, file.name),
        bytes: file.bytes,
        crc32c: format!("{crc:08x}"),
    })
}

/// Last, and under another name until it is whole: its name says that the backup is.
fn write_manifest(folder: &Path, manifest: &Manifest) -> io::Result<()> {
    let unfinished = folder.join("manifest.json.unfinished");
    let mut file = std::fs::File::create_new(&unfinished)?;
    file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
    file.sync_all()?;
    sync_folder(folder)?;
    std::fs::rename(&unfinished, folder.join(MANIFEST))?;
    sync_folder(folder)?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use journal::model_disk::{Lasting, ModelDisk, Operation};
    use journal::{Group, OsClock, Record};

    use super::*;
    use crate::backup::restore::{RESTORING, manifest, restore};

    /// A journal with so many records, on a disk that can be made to fail.
    fn part(records: usize) -> (ModelDisk, Part) {
        let disk = ModelDisk::new();
        let options = journal::Options {
            segment_bytes: 1 << 20,
            reserve_bytes: 1 << 20,
            min_free: 0,
            group_bytes_max: 1 << 16,
            ..journal::Options::default()
        };
        let (journal, driver, _) =
            Journal::open(disk.clone(), Arc::new(OsClock::new()), options).unwrap();
        drop(driver.spawn_thread());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for _ in 0..records {
            let record = Record {
                kind: 1,
                version: 1,
                tag: 0,
                body: Bytes::from(vec![7; 60_000]),
            };
            runtime
                .block_on(journal.append(Group::one(record)))
                .unwrap();
        }
        let folder = "log";
        (disk, Part { folder, journal })
    }

    fn small() -> Group {
        Group::one(Record {
            kind: 1,
            version: 1,
            tag: 0,
            body: Bytes::from_static(b"small"),
        })
    }

    fn taken(part: &Part, folder: &Path) -> Progress {
        let backups = Backups::default();
        backups.begin(folder).unwrap();
        make_folder(folder).unwrap();
        let parts = std::slice::from_ref(part);
        take(&backups, folder.to_owned(), parts, WallTime(0));
        backups.last().unwrap()
    }

    #[test]
    fn a_backup_is_restored_as_it_was_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let (folder, data) = (root.path().join("backup"), root.path().join("data"));
        let (_, part) = part(40);
        let progress = taken(&part, &folder);
        assert_eq!(progress.state, Phase::Done);
        assert_eq!((progress.start, progress.end), (Some(0), Some(40)));
        assert_eq!(progress.bytes, progress.bytes_total);
        assert_eq!(progress.files, 3);
        let listed = manifest(&folder).unwrap();
        restore(&folder, &listed, &data, |_| ()).unwrap();
        assert!(journal::verify(&data.join("log")).unwrap().is_whole());
        let refusal = restore(&folder, &listed, &data, |_| ()).unwrap_err();
        assert!(refusal.message.ends_with("isn't empty"), "{refusal}");

        let other = root.path().join("other");
        let last = folder.join(&listed.files[2].path);
        let whole = std::fs::read(&last).unwrap();
        let mut flipped = whole.clone();
        flipped[5000] ^= 4;
        for damaged in [&flipped[..], &whole[..4096]] {
            std::fs::write(&last, damaged).unwrap();
            let refusal = restore(&folder, &listed, &other, |_| ()).unwrap_err();
            assert!(
                refusal.message.contains("000000000003.seg isn't what"),
                "{refusal}"
            );
            assert!(!other.exists(), "nothing is left of it");
        }
        // One that fails when the first folder is in its place already, since the second can't be.
        std::fs::write(&last, &whole).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::fs::create_dir(folder.join(RESTORING)).unwrap();
        std::fs::copy(&last, folder.join(RESTORING).join("1.seg")).unwrap();
        let mut second = listed.clone();
        second.files.push(Copied {
            path: format!("{RESTORING}/1.seg"),
            ..listed.files[2].clone()
        });
        assert!(restore(&folder, &second, &other, |_| ()).is_err());
        assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0);

        std::fs::remove_file(&last).unwrap();
        assert!(restore(&folder, &listed, &other, |_| ()).is_err());
        assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0);
        std::fs::remove_file(folder.join(MANIFEST)).unwrap();
        let refusal = manifest(&folder).unwrap_err();
        assert!(refusal.message.contains("no whole backup"), "{refusal}");
    }

    #[test]
    fn a_backup_that_fails_half_way_leaves_nothing_that_looks_like_one() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("backup");
        let (disk, part) = part(40);
        disk.fail(Operation::Read, 2, Lasting::Once, io::ErrorKind::Other);
        let progress = taken(&part, &folder);
        assert_eq!(progress.state, Phase::Failed);
        let error = progress.error.unwrap();
        assert!(
            error.contains("000000000003.seg") && error.contains("was removed"),
            "{error}"
        );
        assert!(!folder.exists());
        assert_eq!(
            taken(&part, &folder).state,
            Phase::Done,
            "and another may be taken"
        );
    }

    /// What a part says is always of records that the parts before it have, as after a crash.
    #[test]
    fn no_part_is_ahead_of_the_one_that_it_follows() {
        let root = tempfile::tempdir().unwrap();
        let (folder, data) = (root.path().join("backup"), root.path().join("data"));
        let (_, log) = part(40);
        let (_, mut kept) = part(0);
        kept.folder = "kept";
        let parts = [log, kept];
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    for part in &parts {
                        runtime.block_on(part.journal.append(small())).unwrap();
                    }
                }
            });
            let backups = Backups::default();
            backups.begin(&folder).unwrap();
            make_folder(&folder).unwrap();
            while *parts[1].journal.durable().borrow() < journal::Offset(100) {
                std::thread::yield_now();
            }
            take(&backups, folder.clone(), &parts, WallTime(0));
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(backups.last().unwrap().state, Phase::Done);
        });
        let listed = manifest(&folder).unwrap();
        restore(&folder, &listed, &data, |_| ()).unwrap();
        let records = |folder: &str| {
            let verified = journal::verify(&data.join(folder)).unwrap();
            assert!(verified.is_whole());
            verified.segments.iter().map(|one| one.records).sum::<u64>()
        };
        let (log, kept) = (records("log") - 40, records("kept"));
        assert!(100 <= kept && kept <= log, "{kept} of {log}");
    }

    #[test]
    fn there_is_one_backup_at_a_time() {
        let backups = Backups::default();
        assert_eq!(backups.last(), None);
        let first = backups.begin(Path::new("/a")).unwrap();
        assert_eq!(backups.begin(Path::new("/b")), Err(first));
        backups.give_up("no");
        assert_eq!(backups.begin(Path::new("/b")).unwrap().folder, "/b");
    }
}
