//! HTTP in, on disk, 202: what Weft's door costs when nobody wants the event.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::group_commit::Log;
use super::serve;

/// The largest body taken, as Weft's default.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Serves until the process ends or the disk fails.
pub(super) async fn run(listen: SocketAddr, log: &Path, delay: Duration) -> io::Result<()> {
    let log = Arc::new(Log::create(log, delay)?);
    let class = log.class();
    serve::serve(listen, class, move |request| {
        let log = log.clone();
        async move {
            match store(&log, request).await {
                Ok(()) => serve::empty(StatusCode::ACCEPTED),
                Err(status) => serve::empty(status),
            }
        }
    })
    .await
}

/// Returns once the event is on disk.
async fn store(log: &Log, request: Request<Incoming>) -> Result<(), StatusCode> {
    let stored = {
        let (head, body) = read(request).await?;
        log.append(&head, &body)
    };
    stored.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

/// Reads an event whole.
pub(super) async fn read(request: Request<Incoming>) -> Result<(HeaderMap, Bytes), StatusCode> {
    let (parts, body) = request.into_parts();
    if !parts.headers.contains_key("ce-id") {
        return Err(StatusCode::BAD_REQUEST);
    }
    let body = Limited::new(body, EVENT_BYTES_MAX).collect().await;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes();
    Ok((parts.headers, body))
}
