//! Measures Weft against bare hyper prototypes on this machine, in one run.
//!
//! `all` prints the whole table and the gates, `quick` a short version of it; the other commands
//! are their parts; `bad-days` measures outages, backlogs and restarts. Everything is on loopback, bounded in count and time, and ends by itself; only
//! processes started here are ended. See README.md for what each row means.

mod all;
mod bad_days;
mod by_hand;
mod calls;
mod folder;
mod gates;
mod guard;
mod micro;
mod out;
mod process;
mod prototypes;
mod recipe;
mod rig;
mod sink;
mod subject;
mod table;
mod trial;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

// The yardstick is to be a good one: with glibc's allocator hyper spends a quarter of an event's
// time in it (10.5 against 7.7 µs in `durable`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Debug, clap::Parser)]
#[command(name = "bench", about = "Measures Weft against bare hyper prototypes")]
enum Bench {
    /// The whole table: 5 interleaved rounds of every row, medians and gates.
    All(all::Options),
    /// One short round of every row: numbers to look at, not to quote.
    Quick(all::Options),
    /// What single steps cost: decoding, encoding, matching, appending to the journal.
    Micro(micro::Options),
    /// What outages, backlogs, dead letters and a crash cost.
    BadDays(bad_days::Options),
    /// Sends events to a server that is already there.
    Load(by_hand::LoadOptions),
    /// Receives events, promptly, slowly or not at all.
    Sink(by_hand::SinkOptions),
    /// Becomes another program, on one core and not outliving its parent.
    #[command(hide = true)]
    Guarded(guard::Options),
    /// Runs a prototype until it is ended.
    #[command(subcommand)]
    Prototype(prototypes::Prototype),
}

fn main() -> ExitCode {
    let done = match Bench::parse() {
        Bench::All(options) => all::run(&options, false),
        Bench::Quick(options) => all::run(&options, true),
        Bench::Micro(options) => micro::run(&options).map(|()| true),
        Bench::BadDays(options) => bad_days::run(&options),
        Bench::Load(options) => by_hand::load(&options).map(|()| true),
        Bench::Sink(options) => by_hand::sink(&options).map(|()| true),
        Bench::Guarded(options) => Err(guard::run(&options)),
        Bench::Prototype(prototype) => prototypes::run(prototype).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            out::problem(&format!("bench: {error}"));
            ExitCode::from(2)
        }
    }
}
