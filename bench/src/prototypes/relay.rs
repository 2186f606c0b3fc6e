//! HTTP in, on disk, 202, HTTP out: what Weft's whole path costs with one trigger and no filter.
//!
//! Connections out are kept and reused, newest first; a semaphore bounds how many are in the air.
//! The 202 waits for a place among them, so a slow receiver slows the sender and nothing piles up.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::group_commit::Log;
use super::{durable, serve};

/// Requests in the air towards the receiver, as Weft's default for a trigger.
const IN_FLIGHT_MAX: usize = 100;

/// Serves until the process ends or the disk fails.
pub(super) async fn run(
    listen: SocketAddr,
    log: &Path,
    delay: Duration,
    to: SocketAddr,
) -> io::Result<()> {
    let log = Log::create(log, delay)?;
    let class = log.class();
    let host = HeaderValue::from_str(&to.to_string()).map_err(io::Error::other)?;
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let relay = Arc::new(Relay {
        log,
        in_flight,
        to,
        host,
        idle: Mutex::default(),
    });
    serve::serve(listen, class, move |request| {
        let relay = relay.clone();
        async move {
            match relay.take(request).await {
                Ok(()) => serve::empty(StatusCode::ACCEPTED),
                Err(status) => serve::empty(status),
            }
        }
    })
    .await
}

/// The log, and the connections to the receiver.
struct Relay {
    log: Log,
    in_flight: Arc<Semaphore>,
    to: SocketAddr,
    host: HeaderValue,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Relay {
    /// Returns once the event is on disk and on its way.
    async fn take(self: Arc<Self>, request: Request<Incoming>) -> Result<(), StatusCode> {
        let (head, body) = durable::read(request).await?;
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        self.log
            .append(&head, &body)
            .await
            .map_err(|_| unavailable)?;
        let permit = self
            .in_flight
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| unavailable)?;
        serve::spawn(async move {
            if let Err(failure) = self.send(head, body).await {
                crate::out::problem(&format!("an event was not sent on: {failure}"));
            }
            drop(permit);
        });
        Ok(())
    }

    /// Sends one event and reads the answer to its end.
    async fn send(&self, head: HeaderMap, body: Bytes) -> Result<(), Failure> {
        let mut connection = match self.kept() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/");
        *request.headers_mut() = head;
        request
            .headers_mut()
            .insert(http::header::HOST, self.host.clone());
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        if status.is_success() {
            Ok(())
        } else {
            Err(Failure::Refused(status))
        }
    }

    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
        serve::spawn(async move {
            // Its end shows at the next request that would use it.
            drop(driver.await);
        });
        Ok(connection)
    }
}

/// Why an event was not sent on. The yardstick has no retries: any of these spoils the run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no connection")]
    Connect(#[from] io::Error),
    #[error("the exchange failed")]
    Exchange(#[from] hyper::Error),
    #[error("the receiver said {0}")]
    Refused(StatusCode),
}
