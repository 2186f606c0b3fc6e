//! A data folder as bytes: what lies on a model disk, in the places that a node's folder has for it,
//! and back. So that its files can be damaged one by one, and kept as a fixture.

use std::collections::BTreeMap;

use broker::view::VIEW_FILE;
use journal::model_disk::{CrashRule, ModelDisk};
use journal::{AlignedBytes, BLOCK_BYTES, Disk};

use crate::beside::KEPT_PREFIX;

/// The files of a data folder by their path in it: `log/000000000001.seg`, `view.redb`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Where a file of a model disk lies in a data folder.
fn path_of(name: &str) -> String {
    match name.strip_prefix(KEPT_PREFIX) {
        Some(name) => format!("kept/{name}"),
        None if name == VIEW_FILE => name.to_owned(),
        None => format!("log/{name}"),
    }
}

/// And back.
fn name_of(path: &str) -> String {
    if let Some(name) = path.strip_prefix("kept/") {
        return format!("{KEPT_PREFIX}{name}");
    }
    path.strip_prefix("log/").unwrap_or(path).to_owned()
}

/// What would be on the disk after a loss of power in this moment that spares everything.
///
/// # Panics
///
/// If the disk fails, which nobody asked it to.
pub fn files_of(disk: &ModelDisk) -> Files {
    let disk = disk.crash(CrashRule::Everything, 0);
    let names = disk.names().into_iter();
    names
        .map(|name| {
            let file = disk.open(&name).expect("a listed file is there");
            let bytes = file.len().expect("a file has a length");
            let bytes = usize::try_from(bytes).expect("a test's file is small");
            let bytes = file.read_at(0, bytes).expect("a model disk reads");
            (path_of(&name), bytes.to_vec())
        })
        .collect()
}

/// A disk with these files, all of them durable.
///
/// # Panics
///
/// If the disk fails, which nobody asked it to.
pub fn disk_of(files: &Files) -> ModelDisk {
    let disk = ModelDisk::new();
    for (path, bytes) in files {
        let file = disk.create(&name_of(path)).expect("a model disk creates");
        // Only whole blocks are written; the length says what of the last one there is.
        let mut blocks = AlignedBytes::zeroed(bytes.len().next_multiple_of(BLOCK_BYTES));
        blocks.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        if !bytes.is_empty() {
            let written = file.write_at(0, blocks.as_ref());
            written.expect("a model disk writes");
            file.sync().expect("a model disk syncs");
        }
        file.zero_fill(bytes.len() as u64)
            .expect("a model disk fills");
        file.sync().expect("a model disk syncs");
    }
    disk.sync().expect("a model disk syncs");
    disk
}
