//! The signals that ask the program to stop: SIGTERM, as service managers send, and SIGINT, as
//! Ctrl-C sends.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for signals that ask to stop.
#[derive(Debug)]
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Begins to listen: from here on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one and names it.
    ///
    /// # Cancel safety
    ///
    /// No signal is lost by dropping the future.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Waits for the first one; a program that can't listen for signals is ended by them, as usual.
pub(crate) async fn stop() {
    match Stop::listen() {
        Ok(mut stop) => {
            stop.next().await;
        }
        Err(error) => {
            tracing::warn!(%error, "signals can't be listened for");
            std::future::pending::<()>().await;
        }
    }
}
