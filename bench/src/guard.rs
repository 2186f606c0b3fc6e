//! Starts a server so that it stays on its core and can't outlive the driver.
//!
//! `bench guarded CORE PROGRAM ARGS…` holds itself to the core, asks the kernel to be killed when its
//! parent ends, and becomes the program. Both outlast the `exec`, so the program needs to know
//! nothing of it, and no other process has to look after it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::process;

/// What `guarded` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The core, or "any".
    core: String,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// `command`, to be started by this program's `guarded`.
///
/// The signal is bound to the *thread* that starts it: it must be one that lives as long as the
/// driver does.
pub(crate) fn guarded(command: &Command, core: Option<usize>) -> io::Result<Command> {
    let mut guarded = Command::new(std::env::current_exe()?);
    guarded
        .arg("guarded")
        .arg(core.map_or_else(|| "any".into(), |core| core.to_string()));
    guarded.arg(command.get_program()).args(command.get_args());
    Ok(guarded)
}

/// Becomes the program; returns only why it could not.
pub(crate) fn run(options: &Options) -> io::Error {
    become_it(options)
        .err()
        .unwrap_or_else(|| io::Error::other("exec returned without an error"))
}

fn become_it(options: &Options) -> io::Result<()> {
    if options.core != "any" {
        process::pin(options.core.parse().map_err(io::Error::other)?)?;
    }
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (program, arguments) = options
        .command
        .split_first()
        .ok_or_else(|| io::Error::other("there is no program"))?;
    Err(Command::new(program).args(arguments).exec())
}
