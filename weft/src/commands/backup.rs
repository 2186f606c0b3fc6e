//! `weft backup`: has a running node write a copy of its data, and shows how it goes.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::admin::backup::Asked;
use crate::backup::take::{Phase, Progress};
use crate::cli::BackupArgs;
use crate::commands::api::{ask, tell};
use crate::exit::{Exit, Failure};
use crate::out;
use crate::table::{many, size};

const PATH: &str = "/api/v1/backup";

/// How often the node is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Begins a backup and waits for its end.
pub(crate) fn run(args: &BackupArgs) -> Result<(), Failure> {
    let folder = std::path::absolute(&args.dir).map_err(Failure::fault)?;
    let folder = folder.display().to_string();
    let mut said = tell::<Progress>(&args.admin, PATH, &Asked { folder })?;
    let bar = bar();
    while said.value.state == Phase::Copying {
        bar.set_length(said.value.bytes_total);
        bar.set_position(said.value.bytes);
        std::thread::sleep(ASK_EVERY);
        said = ask(&args.admin, PATH)?;
    }
    bar.finish_and_clear();
    if let Some(error) = &said.value.error {
        return Err(Failure::new(
            Exit::Refused,
            format!("the backup to {} was given up: {error}", said.value.folder),
        ));
    }
    said.print(args.admin.output, |progress| {
        format!(
            "backed up to {}: {}, {}, offsets {} up to {}\n",
            progress.folder,
            many(progress.files as u64, "file", "files"),
            size(progress.bytes),
            progress.start.unwrap_or_default(),
            progress.end.unwrap_or_default(),
        )
    })
}

/// A bar of bytes, if somebody sees it.
pub(crate) fn bar() -> ProgressBar {
    if !out::stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "  {bar:40} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left",
    );
    let bar = ProgressBar::new(0);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
