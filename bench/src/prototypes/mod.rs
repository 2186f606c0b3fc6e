//! The yardsticks: bare hyper servers that do what Weft does and nothing else.
//!
//! Each is what some two hundred lines of straightforward hyper code reach on one core, with one
//! current-thread runtime: `hello` answers, `durable` stores an event before it answers, `relay`
//! also sends it on. Weft's gates are ratios against these, taken in the same run on the same
//! machine, so they must be neither strawmen nor heroics: default hyper settings, no hand-written
//! parsing, but no waste either. They promise nothing else: no recovery, no filters, no retries.

mod durable;
mod group_commit;
mod hello;
mod relay;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What to run, as written on the command line.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Prototype {
    /// Answers every request with 200 and a short body.
    Hello {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Stores each event with group commit, then answers 202.
    Durable {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// The file to append to.
        #[arg(long)]
        log: PathBuf,
        /// Microseconds to add to each sync.
        #[arg(long, default_value_t = 0)]
        sync_delay_us: u64,
    },
    /// Stores each event, answers 202, and sends it on to another server.
    Relay {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// The file to append to.
        #[arg(long)]
        log: PathBuf,
        /// Microseconds to add to each sync.
        #[arg(long, default_value_t = 0)]
        sync_delay_us: u64,
        /// Where events are sent on to.
        #[arg(long)]
        to: SocketAddr,
    },
}

/// Runs one prototype until it is ended by a signal.
pub(crate) fn run(prototype: Prototype) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        match prototype {
            Prototype::Hello { listen } => hello::run(listen).await,
            Prototype::Durable {
                listen,
                log,
                sync_delay_us,
            } => durable::run(listen, &log, Duration::from_micros(sync_delay_us)).await,
            Prototype::Relay {
                listen,
                log,
                sync_delay_us,
                to,
            } => relay::run(listen, &log, Duration::from_micros(sync_delay_us), to).await,
        }
    })
}
