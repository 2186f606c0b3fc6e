//! The YAML of a node at its start: what is good, what is wrong, and whether the Node in it can
//! be trusted.

use std::path::PathBuf;

use triggers::files::{self, File, FolderError};
use triggers::{Catalog, Kind, Lowered, Problem, Report, lower};

use crate::exit::{Exit, Failure};

/// The folders as read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The files, for the catalog that begins with the logged versions.
    pub(crate) files: Vec<File>,
    /// What they say when they are read alone.
    pub(crate) lowered: Lowered,
    /// Counts and problems.
    pub(crate) report: Report,
}

/// Reads the folders and lowers what is in them.
///
/// # Errors
///
/// A folder that doesn't exist, holds no YAML or can't be read.
pub(crate) fn load(dirs: &[PathBuf]) -> Result<Loaded, Failure> {
    let files = files::read(dirs).map_err(folder)?;
    let mut catalog = Catalog::default();
    let change = catalog.reload(copy(&files));
    let (lowered, further) = lowered(&catalog);
    Ok(Loaded {
        files,
        lowered,
        report: change.report(further),
    })
}

/// Lowers everything in force.
pub(crate) fn lowered(catalog: &Catalog) -> (Lowered, Vec<Problem>) {
    lower(&catalog.in_force().collect::<Vec<_>>())
}

impl Loaded {
    /// Refuses to start when it isn't known what the Node says: with other settings than meant,
    /// events could end up in another folder. Any other problem doesn't stop a start.
    ///
    /// # Errors
    ///
    /// A failure with all problems.
    pub(crate) fn node_is_known(&self) -> Result<(), Failure> {
        if self.report.counts.nodes > 0 {
            return Ok(());
        }
        let broken = |file: &&File| {
            self.report
                .problems
                .iter()
                .any(|problem| problem.file == file.path)
        };
        let mut suspects = self
            .files
            .iter()
            .filter(broken)
            .filter(|file| match &file.text {
                Ok(text) => text.lines().any(is_node),
                Err(_) => false,
            });
        match suspects.next() {
            None => Ok(()),
            Some(file) => Err(Failure::new(
                Exit::Config,
                format!(
                    "the Node in {} can't be used, nothing was started",
                    file.path
                ),
            )
            .cure(&self.report)),
        }
    }
}

/// Whether a line of YAML says `kind: Node`.
fn is_node(line: &str) -> bool {
    let value = line.trim().strip_prefix("kind:").map(str::trim);
    value.is_some_and(|kind| kind.trim_matches(['"', '\'']) == Kind::Node.name())
}

/// The same files again; reading them twice could give two versions.
fn copy(files: &[File]) -> Vec<File> {
    let copy = |file: &File| File {
        path: file.path.clone(),
        text: file.text.clone(),
    };
    files.iter().map(copy).collect()
}

/// A folder's error with its cure.
pub(crate) fn folder(error: FolderError) -> Failure {
    let source = match &error {
        FolderError::Io { source, .. } => format!(": {source}"),
        _ => String::new(),
    };
    let cure = match &error {
        FolderError::Missing { .. } => "name a folder that holds YAML, such as examples/quickstart",
        FolderError::Empty { .. } => {
            "put a Trigger there, for a start a copy of examples/quickstart/trigger.yaml"
        }
        FolderError::NotAFolder { .. } => "name the folder that the YAML lies in",
        FolderError::Io { .. } => "the user that weft runs as must be able to read it",
        FolderError::TooMany { .. } | FolderError::TooDeep { .. } => {
            "name the folders that hold Weft's YAML one by one"
        }
    };
    Failure::new(Exit::Folder, format!("{error}{source}")).cure(cure)
}
