//! Opening the log, with each way in which it can be refused as one clear message and exit code.
//! What is refused leaves the folder as it was.

use std::io;
use std::path::Path;
use std::sync::Arc;

use broker::engine::{Opened, Setup};
use broker::keeper::OnProgress;
use broker::trace::Spans;
use broker::view::{Place, VIEW_FILE};
use broker::{Clock, Engine};
use indicatif::{ProgressBar, ProgressStyle};
use journal::model_disk::ModelDisk;
use journal::{Driver, Facts, Journal, OpenError, OsClock, Recovered};

use crate::backup::restore::RESTORING;
use crate::exit::{Exit, Failure};
use crate::node::settings::Settings;
use crate::out;

/// The folder of the log inside the data folder (DESIGN §4).
pub(crate) const LOG_FOLDER: &str = "log";
/// The folder of what is kept of the log's reclaimed segments.
pub(crate) const KEPT_FOLDER: &str = "kept";
/// Records that are folded at a start without anybody seeing a bar for it.
const SILENT_RECORDS_MAX: u64 = 200_000;

/// An opened node, nothing of it running yet.
pub(crate) struct Node {
    /// The engine and its parts.
    pub(crate) opened: Opened,
    /// What must run for anything to be stored.
    pub(crate) driver: Driver,
    /// What must run for anything to be kept.
    pub(crate) kept_driver: Driver,
    /// What the journal found.
    pub(crate) recovered: Recovered,
    /// What it found in kept.
    pub(crate) kept_recovered: Recovered,
    /// What is fixed about the journal.
    pub(crate) facts: Facts,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Opens the log and folds it. Blocking: reads all of the log.
///
/// # Errors
///
/// See [`Exit`]; nothing was changed on disk.
pub(crate) fn open(settings: &Settings, spans: Arc<dyn Spans>) -> Result<Node, Failure> {
    refuse_half_restored(&settings.data)?;
    let clock: Arc<dyn Clock> = Arc::new(OsClock::new());
    let options = settings.journal();
    let kept_options = broker::kept::options(&options);
    let storage = &settings.node.storage;
    let bytes_max = options.bytes_max;
    let data = &settings.data;
    let (in_memory, log_folder) = (settings.in_memory(), data.join(LOG_FOLDER));
    // The log first: its lock says whether the folder is another process's.
    let log = match in_memory {
        true => Journal::open(ModelDisk::memory(), clock.clone(), options),
        false => Journal::open_folder(&log_folder, clock.clone(), options),
    };
    let (journal, driver, recovered) = log.map_err(|error| refused(error, data))?;
    let kept = match in_memory {
        true => Journal::open(ModelDisk::memory(), clock.clone(), kept_options),
        false => Journal::open_folder(&data.join(KEPT_FOLDER), clock.clone(), kept_options),
    };
    let (kept, kept_driver, kept_recovered) = kept.map_err(|error| refused(error, data))?;
    let view = match in_memory {
        true => Place::Memory,
        false => Place::File(data.join(VIEW_FILE)),
    };
    let facts = journal.facts().clone();
    let setup = Setup {
        journal,
        clock: clock.clone(),
        spans,
        workers: settings.workers,
        limits: settings.limits(),
        kept,
        view,
        progress: bar(),
        bytes_max,
        retention: storage.retention,
        retention_dead_letters: storage.retention_dead_letters,
        seed: clock.wall().0 ^ u64::from(std::process::id()).rotate_left(32) ^ facts.log_id,
    };
    let opened = Engine::open(setup).map_err(|error| unusable(&error, data))?;
    Ok(Node {
        opened,
        driver,
        kept_driver,
        recovered,
        kept_recovered,
        facts,
        clock,
    })
}

/// What the engine says of what it was given.
fn unusable(error: &broker::fold::OpenError, data: &Path) -> Failure {
    use broker::fold::OpenError::{KeptGone, LogGone};
    let said = format!("the log in {} can't be used: {error}", data.display());
    Failure::new(Exit::Log, said).cure(match error {
        LogGone => {
            "nothing was changed. Put the folder log back, or restore a backup; to begin anew, remove kept and view.redb as well"
        }
        KeptGone => {
            "nothing was changed. Put the folder kept back, or restore a backup; to go on without what it held, remove view.redb"
        }
        _ => "nothing was changed; see `weft log verify` and `weft log cat`",
    })
}

/// What `weft restore` left half done isn't a node's data.
fn refuse_half_restored(data: &Path) -> Result<(), Failure> {
    if !data.join(RESTORING).exists() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Log,
        format!(
            "the restore to the data folder {} was cut short",
            data.display()
        ),
    )
    .cure("remove the folder, and restore the backup again"))
}

/// A bar on a terminal, where opening takes long enough to be seen.
fn bar() -> OnProgress {
    let bar = ProgressBar::hidden();
    let style = ProgressStyle::with_template(
        "  {msg} {bar:40} {human_pos}/{human_len} records  {eta} left",
    );
    if let (true, Ok(style)) = (out::stderr_is_terminal(), style) {
        bar.set_style(style);
    }
    Arc::new(move |progress| {
        if progress.all <= SILENT_RECORDS_MAX || !out::stderr_is_terminal() {
            return;
        }
        if bar.is_hidden() {
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
            bar.set_message(match progress.anew {
                true => "making the view anew",
                false => "reading the log",
            });
        }
        bar.set_length(progress.all);
        bar.set_position(progress.done);
        if progress.done >= progress.all {
            bar.finish_and_clear();
        }
    })
}

/// The journal's refusal in a person's words.
fn refused(error: OpenError, data: &Path) -> Failure {
    let data = data.display();
    match error {
        OpenError::Locked { pid } => Failure::new(
            Exit::Locked,
            format!("the data folder {data} is in use by process {pid}"),
        )
        .cure("stop that process, or give this one a folder of its own with --data DIR"),
        OpenError::Options(error) => Failure::new(
            Exit::Config,
            format!("the Node's storage can't work: {error}"),
        ),
        OpenError::Io { doing, source } => {
            let cure = match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "the user that weft runs as must be able to write there; or name another with --data DIR"
                }
                io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                    "there is a file in the way; name another folder with --data DIR"
                }
                io::ErrorKind::StorageFull => {
                    "the disk is full; make room, or use another with --data DIR"
                }
                _ => "name another folder with --data DIR, if this one can't be mended",
            };
            Failure::new(
                Exit::Unwritable,
                format!("the data folder {data} can't be used: {doing}: {source}"),
            )
            .cure(cure)
        }
        OpenError::Version { .. } => Failure::new(
            Exit::Log,
            format!("the log in {data} is of another version: {error}"),
        )
        .cure("open it with the version of weft that wrote it; nothing was changed"),
        OpenError::Foreign { .. } | OpenError::Misplaced { .. } | OpenError::LastHeader { .. } => {
            Failure::new(
                Exit::Log,
                format!("the log in {data} can't be opened: {error}"),
            )
            .cure("nothing was changed; `weft log verify` shows what is readable")
        }
    }
}
