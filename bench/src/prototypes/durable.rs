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

use super::group_commit::{Log, Record};
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
                Ok(_) => serve::empty(StatusCode::ACCEPTED),
                Err(status) => serve::empty(status),
            }
        }
    })
    .await
}

/// Reads the event and returns once it is on disk.
pub(super) async fn store(
    log: &Log,
    request: Request<Incoming>,
) -> Result<(HeaderMap, Bytes), StatusCode> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, EVENT_BYTES_MAX).collect().await;
    let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes();
    let mut head = HeaderMap::with_capacity(8);
    for (name, value) in &parts.headers {
        if name.as_str().starts_with("ce-") || name == http::header::CONTENT_TYPE {
            head.append(name, value.clone());
        }
    }
    if !head.contains_key("ce-id") {
        return Err(StatusCode::BAD_REQUEST);
    }
    let stored = log.append(Record {
        head: head.clone(),
        body: body.clone(),
    });
    // The committer drops what waits when a write fails.
    stored.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok((head, body))
}
