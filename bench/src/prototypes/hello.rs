//! Bare hyper: takes the same events, looks at none of them, answers 200. The ceiling of what
//! hyper can do here.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;

/// Serves until the process ends.
pub(super) async fn run(listen: SocketAddr) -> io::Result<()> {
    super::serve::serve(listen, "none", |_request| async {
        Response::new(Full::new(Bytes::from_static(b"hello")))
    })
    .await
}
