//! The one program: a broker, and the commands around it.
//!
//! `run` wires the crates together; everything else is a client of a running node or a reader of
//! its data folder. What each exit code means is in [`exit`].

mod admin;
mod backup;
mod cli;
mod client;
mod commands;
mod exit;
mod format;
mod json;
mod node;
mod out;
mod signals;
mod source;
mod span;
mod table;
mod tasks;
mod telemetry;

use std::process::ExitCode;

use clap::FromArgMatches;

use mimalloc::MiMalloc;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};

// An event is some ten short-lived allocations (headers, the record, the request): with glibc's
// allocator they are a tenth of its CPU time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(&cli) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                out::note(&failure);
            }
            failure.exit.into()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    telemetry::logs::start(&cli.log)?;
    match &cli.command {
        Command::Run(args) => commands::run::run(args),
        Command::Check(args) => commands::check::run(args),
        Command::Send(args) => commands::send::run(args),
        Command::Receive(args) => commands::receive::run(args),
        Command::Get(args) => commands::get::run(args),
        Command::Describe(args) => commands::describe::run(args),
        Command::DeadLetters(args) => commands::dead_letters::run(args),
        Command::Replay(args) => commands::replay::run(args),
        Command::Jobs(args) => commands::jobs::run(args),
        Command::Pause(args) => commands::pause::pause(args),
        Command::Resume(args) => commands::pause::resume(args),
        Command::Delete(args) => commands::delete::run(args),
        Command::Backup(args) => commands::backup::run(args),
        Command::Restore(args) => commands::restore::run(args),
        Command::Log(args) => commands::log::run(args),
        Command::Completion(args) => commands::completion::run(args),
    }
}
