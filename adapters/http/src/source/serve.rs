//! Accepting connections, and stopping in order: first no new ones, then no new requests, then
//! the deadline.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Door, Source, connection};

/// `Some` asks for a drain that is over at that time; so does dropping the sender, at once.
pub type Stop = watch::Receiver<Option<Instant>>;

/// How long accepting rests when the system has no more to give (descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Resolves when the node stops, with the time by which everything must have ended.
pub(super) async fn stopped(stop: &mut Stop) -> Instant {
    match stop.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        Err(_closed) => Instant::now(),
    }
}

/// Serves `source` on `listener` until `stop` says so, then drains: the listener is closed,
/// requests in the air are answered with `Connection: close`, idle connections are closed, and
/// at the deadline whatever is left is dropped. Returns how many connections were.
///
/// Runs on a current-thread runtime, inside a `LocalSet`.
///
/// # Cancel safety
///
/// Dropping the future drops the listener and all connections; an event whose answer was still
/// to come may have been stored.
pub async fn serve<D: Door>(listener: TcpListener, source: Source<D>, mut stop: Stop) -> usize {
    let source = Rc::new(source);
    let mut connections = JoinSet::new();
    let mut failing = false;
    let deadline = loop {
        tokio::select! {
            biased;
            deadline = stopped(&mut stop) => break deadline,
            Some(ended) = connections.join_next(), if !connections.is_empty() => look_at(ended),
            accepted = listener.accept(), if connections.len() < source.settings.connections_max => {
                match accepted {
                    Ok((stream, _peer)) => {
                        failing = false;
                        // Answers are small and whole: nothing is gained by waiting for more.
                        if stream.set_nodelay(true).is_ok() {
                            let serving =
                                connection::attend(stream, Rc::clone(&source), stop.clone());
                            connections.spawn_local(serving);
                        }
                    }
                    Err(error) if of_the_peer(&error) => {}
                    Err(error) => {
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(%error, "cannot accept connections, trying on");
                        }
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    };
    drop(listener);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            look_at(ended);
        }
    };
    // Overdue ones are counted below and aborted as the set is dropped.
    drop(timeout_at(deadline, drained).await);
    connections.len()
}

/// A connection that was gone before it was accepted: no reason to rest.
fn of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

fn look_at(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked; its peer was cut off");
    }
}
