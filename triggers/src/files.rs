//! Reads the YAML files of folders. The only module here that touches a disk.
//!
//! Hidden names are skipped and links followed, so that a mounted ConfigMap (whose files are
//! links through `..data`) is read once: no file counts twice, however many links lead to it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most bytes of one file. A larger file is that file's own problem; its resources stay
/// as they were.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// The most files of all folders together. More is an error: it is the wrong folder.
pub const FILES_MAX: usize = 10_000;

/// How deep folders are followed. Deeper is an error.
pub const DEPTH_MAX: usize = 32;

/// One file and its text, or why it couldn't be read.
#[derive(Debug)]
pub struct File {
    /// The path as a reader would write it: below the folder as that was given.
    pub path: Arc<str>,
    pub text: Result<String, ReadError>,
}

/// Why a file that is there couldn't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("cannot be read: {0}")]
    Io(String),
    #[error("is {bytes} bytes, a file may have at most {FILE_BYTES_MAX}")]
    TooLarge { bytes: u64 },
    #[error("is not UTF-8 at byte {at}")]
    NotUtf8 { at: usize },
}

/// Why the folders as a whole couldn't be read. Nothing is taken over then.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("folder {} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("folder {} has no .yaml or .yml file in it", path.display())]
    Empty { path: PathBuf },
    #[error("{} is not a folder and not a .yaml or .yml file", path.display())]
    NotAFolder { path: PathBuf },
    #[error("folder {} cannot be read", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("more than {FILES_MAX} YAML files, the last in {}", path.display())]
    TooMany { path: PathBuf },
    #[error("folders nest deeper than {DEPTH_MAX} at {}", path.display())]
    TooDeep { path: PathBuf },
}

/// Reads every `*.yaml` and `*.yml` of `folders`, in the order given and then by name, each
/// folder's files before its subfolders'. A YAML file may be given in place of a folder.
///
/// # Errors
///
/// A folder is missing, holds no YAML, can't be listed, or is beyond a bound. A file that is
/// listed and can't be read is no error here: its [`File::text`] says why.
pub fn read<P: AsRef<Path>>(folders: &[P]) -> Result<Vec<File>, FolderError> {
    let mut walk = Walk {
        seen: HashSet::new(),
        files: Vec::new(),
    };
    for folder in folders {
        let folder = folder.as_ref();
        let metadata = fs::metadata(folder).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => FolderError::Missing {
                path: folder.into(),
            },
            _ => FolderError::Io {
                path: folder.into(),
                source,
            },
        })?;
        if metadata.is_dir() {
            if !walk.folder(folder, 0)? {
                return Err(FolderError::Empty {
                    path: folder.into(),
                });
            }
        } else if is_yaml(folder) {
            walk.file(folder)?;
        } else {
            return Err(FolderError::NotAFolder {
                path: folder.into(),
            });
        }
    }
    Ok(walk.files)
}

struct Walk {
    /// Real paths of files and folders that were visited.
    seen: HashSet<PathBuf>,
    files: Vec<File>,
}

impl Walk {
    /// Reads a folder and those below. Says whether it holds any YAML file, also one that was
    /// read before through another link.
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<bool, FolderError> {
        let io = |source| FolderError::Io {
            path: folder.into(),
            source,
        };
        if DEPTH_MAX < depth {
            return Err(FolderError::TooDeep {
                path: folder.into(),
            });
        }
        if !self.seen.insert(fs::canonicalize(folder).map_err(io)?) {
            return Ok(true);
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            names.push(entry.map_err(io)?.file_name());
        }
        names.sort_unstable();
        let mut folders = Vec::new();
        let mut any = false;
        for name in names {
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = folder.join(name);
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => folders.push(path),
                Ok(metadata) if !metadata.is_file() => {}
                // A name that vanished since it was listed is gone, as if it had been earlier;
                // a link to nothing too.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ if is_yaml(&path) => {
                    self.file(&path)?;
                    any = true;
                }
                _ => {}
            }
        }
        for folder in folders {
            match self.folder(&folder, depth + 1) {
                Ok(found) => any |= found,
                Err(FolderError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                }
                Err(error) => return Err(error),
            }
        }
        Ok(any)
    }

    fn file(&mut self, path: &Path) -> Result<(), FolderError> {
        // What can't be resolved is told as unreadable just below.
        if let Ok(real) = fs::canonicalize(path)
            && !self.seen.insert(real)
        {
            return Ok(());
        }
        if self.files.len() == FILES_MAX {
            return Err(FolderError::TooMany { path: path.into() });
        }
        let text = match text(path) {
            Err(Unread::Vanished) => return Ok(()),
            Err(Unread::Because(error)) => Err(error),
            Ok(text) => Ok(text),
        };
        let path = Arc::from(path.to_string_lossy());
        self.files.push(File { path, text });
        Ok(())
    }
}

enum Unread {
    Vanished,
    Because(ReadError),
}

fn text(path: &Path) -> Result<String, Unread> {
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Vanished,
        _ => Unread::Because(ReadError::Io(error.to_string())),
    };
    let file = fs::File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let mut content = Vec::new();
    // One byte more than allowed, so that a file that grows meanwhile is told as too large.
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(io)?;
    if FILE_BYTES_MAX < content.len() as u64 {
        let bytes = bytes.max(content.len() as u64);
        return Err(Unread::Because(ReadError::TooLarge { bytes }));
    }
    String::from_utf8(content).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Unread::Because(ReadError::NotUtf8 { at })
    })
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}
