//! A request's body, bounded while it is read: in bytes, in bytes of the whole node, in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout, timeout_at};

use super::Settings;
use super::budget::Permit;
use super::refused::Refused;

/// How much of a refused body is still read, and for how long, so that a sender that writes
/// before it reads learns why it was refused instead of seeing its connection reset. Over it,
/// the connection is closed.
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

/// Reads `body`, at most `limit` bytes of it.
///
/// # Errors
///
/// [`Refused::TooLarge`] as soon as it is certain, [`Refused::Slow`], [`Refused::Busy`] when the
/// node's budget is used up, [`Refused::BrokenBody`] when it ended early or its chunks are
/// malformed. Nothing of the body is kept then.
pub(super) async fn read(
    body: &mut Incoming,
    limit: usize,
    settings: &Settings,
    permit: &mut Permit,
) -> Result<Bytes, Refused> {
    let length = body.size_hint().exact();
    if let Some(got) = length.filter(|length| *length > limit as u64) {
        return Err(Refused::TooLarge {
            got: Some(got),
            limit,
        });
    }
    // Nearly every body came with its head in one read, and is one piece that needs no copy.
    let mut whole = Bytes::new();
    let mut pieces: Option<BytesMut> = None;
    let mut received = 0;
    let mut pace = None;
    while !body.is_end_stream() {
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                let pace = pace.get_or_insert_with(|| Pace {
                    started: Instant::now(),
                });
                let deadline = pace.deadline(received, settings);
                timeout_at(deadline, body.frame())
                    .await
                    .map_err(|_late| Refused::Slow)?
            }
        };
        let Some(frame) = frame else { break };
        // Trailers carry nothing of an event.
        let Ok(data) = frame.map_err(|_broken| Refused::BrokenBody)?.into_data() else {
            continue;
        };
        received += data.len();
        if received > limit {
            return Err(Refused::TooLarge { got: None, limit });
        }
        if !permit.grow(data.len()) {
            return Err(Refused::Busy);
        }
        match &mut pieces {
            Some(pieces) => pieces.extend_from_slice(&data),
            None if whole.is_empty() => whole = data,
            None => {
                let room = length.map_or(2 * received, |length| length as usize);
                let mut started = BytesMut::with_capacity(room.min(limit));
                started.extend_from_slice(&whole);
                started.extend_from_slice(&data);
                pieces = Some(started);
            }
        }
    }
    Ok(pieces.map_or(whole, BytesMut::freeze))
}

/// How fast a body must come, from when it was first waited for.
struct Pace {
    started: Instant,
}

impl Pace {
    fn deadline(&self, received: usize, settings: &Settings) -> Instant {
        let silence = settings.body_silence_max;
        let earned = Duration::from_secs(received as u64 / settings.body_rate_min.max(1));
        (Instant::now() + silence).min(self.started + silence + earned)
    }
}

/// Reads on, and throws away, what a refused sender is still sending.
pub(super) fn linger(mut body: Incoming) {
    let draining = async move {
        let mut left = LINGER_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(len) else {
                return;
            };
            left = rest;
        }
    };
    // It serves one connection, which ends with it.
    drop(tokio::task::spawn_local(timeout(LINGER_TIME_MAX, draining)));
}
