//! What a backup is: the files of a node's journals as of one moment, and a manifest that names
//! each with its length and checksum. The manifest is written last, so a folder without one is no
//! backup, whatever else lies in it. [`take`] makes one of a running node, [`restore`] makes a data
//! folder of it. What can be derived (the view, sidecars) is left out.

pub(crate) mod restore;
pub(crate) mod take;

use std::io;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

/// The manifest's name in a backup's folder.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The version of the layout that this program writes, and the only one it restores.
pub(crate) const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// [`FORMAT`].
    pub(crate) format: u32,
    /// The version of the program that took it.
    pub(crate) weft: String,
    /// When it was begun, RFC 3339.
    pub(crate) taken: String,
    /// The log's id, sixteen hexadecimal digits.
    pub(crate) log_id: String,
    /// The log's first offset.
    pub(crate) start: u64,
    /// The offset behind the last record; all that was stored before the backup was asked for lies
    /// before it.
    pub(crate) end: u64,
    /// Every file, in the order in which they were copied.
    pub(crate) files: Vec<Copied>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copied {
    /// Folder and name, such as `log/000000000001.seg`.
    pub(crate) path: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// CRC32C of its bytes, eight hexadecimal digits.
    pub(crate) crc32c: String,
}

impl Manifest {
    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

impl Copied {
    /// Folder and name, if the path is nothing but that: a manifest must not point elsewhere.
    pub(crate) fn folder_and_name(&self) -> Option<(&str, &str)> {
        let (folder, name) = self.path.split_once('/')?;
        let plain = |part: &str| {
            let mut parts = Path::new(part).components();
            matches!(parts.next(), Some(Component::Normal(only)) if only == part)
                && parts.next().is_none()
        };
        (plain(folder) && plain(name)).then_some((folder, name))
    }
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_none() {
        let named = |path: &str| {
            let copied = Copied {
                path: path.into(),
                bytes: 0,
                crc32c: String::new(),
            };
            copied
                .folder_and_name()
                .map(|(folder, name)| format!("{folder} {name}"))
        };
        assert_eq!(named("log/1.seg").as_deref(), Some("log 1.seg"));
        for path in [
            "1.seg", "/etc/x", "../x", "log/../x", "log/", "./x", "log/..", "a/b/c", "",
        ] {
            assert_eq!(named(path), None, "{path}");
        }
    }
}
