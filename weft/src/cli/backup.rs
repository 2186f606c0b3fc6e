//! The commands that keep a node's data elsewhere: backup, restore.

use std::path::PathBuf;

use clap::Args;

use super::{AdminArgs, Output};

#[derive(Debug, Args)]
#[command(
    about = "Back up a running node",
    long_about = "Has a running node write a copy of its data to a folder of its own, on the node's machine. \
                  Nothing stops meanwhile. All that was stored before is in it: events, what is owed, \
                  dead letters, resources. Its manifest.json, with a checksum of each file, is written \
                  last: a folder without one is no backup.",
    after_help = "Examples:
  weft backup /var/backups/weft/2026-11-21
  weft backup backup-1 && weft restore backup-1 --data copy      look at it elsewhere
  weft backup /backups/b1 --admin-url http://10.0.0.7:8090 --token-file token"
)]
pub(crate) struct BackupArgs {
    /// The folder to write; it must not be there yet, and the one above it must
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(
    about = "Make a data folder of a backup",
    long_about = "Copies a backup to a data folder, which must be empty or not be there, compares every file \
                  with its checksum, and verifies the log as `weft log verify` does. What fails is undone: \
                  there is a whole data folder, or none. `weft run` goes on from there: what was \
                  owed when the backup was taken is delivered, again if it was delivered since.",
    after_help = "Examples:
  weft restore /var/backups/weft/2026-11-21 --data /var/lib/weft
  weft restore backup-1 --data copy && weft run conf/ --data copy"
)]
pub(crate) struct RestoreArgs {
    /// The folder that `weft backup` wrote
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The data folder to make
    #[arg(long, value_name = "DIR", env = "WEFT_DATA")]
    pub(crate) data: PathBuf,
    /// How the result is printed
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: Output,
}
