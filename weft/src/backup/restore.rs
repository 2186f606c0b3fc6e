//! Making a data folder of a backup.
//!
//! All is copied to a folder inside the data folder first, each file compared with its checksum,
//! and moved to its place when everything is there. A node refuses a data folder in which that
//! was cut short.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::{Copied, FORMAT, MANIFEST, Manifest, sync_folder};
use crate::exit::{Exit, Failure};

/// Where files lie inside the data folder until all are there.
pub(crate) const RESTORING: &str = "restoring";

/// Bytes copied at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Reads what a backup says it holds.
///
/// # Errors
///
/// If it isn't a whole backup, or one of another version.
pub(crate) fn manifest(backup: &Path) -> Result<Manifest, Failure> {
    let path = backup.join(MANIFEST);
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(
            Exit::Unwritable,
            format!("{} is no whole backup: it has no {MANIFEST}", backup.display()),
        )
        .cure("name the folder that `weft backup` wrote; one without a manifest was cut short, so take another"),
        _ => unreadable(&path, &error),
    })?;
    let bad = |why: String| {
        Failure::new(
            Exit::Log,
            format!("{} can't be restored: {why}", path.display()),
        )
        .cure("take another backup, or restore an older one")
    };
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if manifest.format != FORMAT {
        return Err(bad(format!(
            "it is of format {}, this version of weft knows format {FORMAT}",
            manifest.format
        )));
    }
    match manifest
        .files
        .iter()
        .find(|file| file.folder_and_name().is_none())
    {
        Some(file) => Err(bad(format!(
            "\"{}\" isn't the path of a file in it",
            file.path
        ))),
        None => Ok(manifest),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Unwritable,
        format!("{} can't be read: {error}", path.display()),
    )
}

/// Copies what `manifest` lists to `data`, which must be empty or not be there. `progress` is told of
/// bytes as they are copied. After a failure `data` is as it was.
///
/// # Errors
///
/// If there is something in `data`, a file isn't what the manifest says, or the disk fails.
pub(crate) fn restore(
    backup: &Path,
    manifest: &Manifest,
    data: &Path,
    progress: impl Fn(u64),
) -> Result<(), Failure> {
    let existed = check_empty(data)?;
    let restored = copy_all(backup, manifest, data, &progress);
    if restored.is_err() {
        // All in it is what was copied just now.
        let cleared = match existed {
            true => clear(data),
            false => std::fs::remove_dir_all(data),
        };
        if let Err(error) = cleared
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "what was copied to {} can't be removed", data.display());
        }
    }
    restored
}

/// Removes all that is in `folder`. What tells a node that a restore was cut short goes last.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() != RESTORING {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    std::fs::remove_dir_all(folder.join(RESTORING))
}

/// Whether `data` is there, and empty.
fn check_empty(data: &Path) -> Result<bool, Failure> {
    match std::fs::read_dir(data).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(true),
        Ok(true) => Err(Failure::new(
            Exit::Unwritable,
            format!("{} isn't empty", data.display()),
        )
        .cure("a backup is restored to a folder of its own; name another with --data, or move what is there away")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unreadable(data, &error)),
    }
}

fn copy_all(
    backup: &Path,
    manifest: &Manifest,
    data: &Path,
    progress: &impl Fn(u64),
) -> Result<(), Failure> {
    let failed = |what: &Path| {
        let what = what.display().to_string();
        move |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull => Failure::new(
                Exit::Unwritable,
                format!("writing {what}: the disk is full"),
            )
            .cure("nothing was restored; make room, or restore to another disk"),
            _ => Failure::new(Exit::Unwritable, format!("writing {what}: {error}"))
                .cure("nothing was restored"),
        }
    };
    let staged = data.join(RESTORING);
    journal::make_folder(&staged).map_err(failed(&staged))?;
    let mut folders: Vec<&str> = Vec::new();
    for file in &manifest.files {
        // Checked when the manifest was read.
        let Some((folder, name)) = file.folder_and_name() else {
            continue;
        };
        let inside = staged.join(folder);
        if !folders.contains(&folder) {
            std::fs::create_dir_all(&inside).map_err(failed(&inside))?;
            folders.push(folder);
        }
        let path = inside.join(name);
        let got = copy(&backup.join(&file.path), &path, progress).map_err(failed(&path))?;
        compare(file, got)?;
    }
    for folder in &folders {
        let inside = staged.join(folder);
        sync_folder(&inside).map_err(failed(&inside))?;
    }
    sync_folder(&staged).map_err(failed(&staged))?;
    let moved = || {
        for folder in &folders {
            std::fs::rename(staged.join(folder), data.join(folder))?;
        }
        sync_folder(data)?;
        std::fs::remove_dir(&staged)?;
        sync_folder(data)
    };
    moved().map_err(failed(data))
}

/// Copies a file, durably, and gives its length and CRC32C.
fn copy(from: &Path, to: &Path, progress: &impl Fn(u64)) -> io::Result<(u64, u32)> {
    let mut source = match File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        opened => opened?,
    };
    let mut target = File::create_new(to)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let got = source.read(&mut chunk)?;
        if got == 0 {
            break;
        }
        crc = crc32c::crc32c_append(crc, &chunk[..got]);
        target.write_all(&chunk[..got])?;
        bytes += got as u64;
        progress(got as u64);
    }
    target.sync_all()?;
    Ok((bytes, crc))
}

fn compare(file: &Copied, (bytes, crc): (u64, u32)) -> Result<(), Failure> {
    let crc = format!("{crc:08x}");
    if (bytes, crc.as_str()) == (file.bytes, file.crc32c.as_str()) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Log,
        format!(
            "{} isn't what the backup's manifest says: {bytes} bytes with CRC32C {crc}, it should be {} bytes with {}",
            file.path, file.bytes, file.crc32c
        ),
    )
    .cure("the backup was damaged since it was taken; nothing was restored. Restore another one"))
}
