//! Events out, over HTTP/1.1 (contract §2).
//!
//! [`HttpSink`] belongs to one worker and lives on its thread. An attempt takes an idle
//! connection or opens one, sends, reads the answer as far as it matters, and gives the
//! connection back if nothing is left on it. No task is spawned for an attempt or for a
//! connection: the future that sends also drives the connection, which saves the wake-ups
//! between two tasks, and means that dropping the future closes the connection, as
//! [`broker::Sink`] asks.
//!
//! **Sent again at once.** A server may close a connection that has been idle just as we use it.
//! So when a connection that has carried an answer before breaks (closed, reset, broken pipe)
//! before the first byte of this answer, the request is sent once more, on a fresh connection,
//! and that is no attempt of its own. The function may then see the event twice, as it may
//! after any crash. It happens once an attempt; a fresh connection that breaks is an attempt.
//!
//! How many requests are in flight is the worker's business (256 a destination). What is bounded
//! here: idle connections (count and age), addresses and names remembered, the time to resolve
//! and to connect, and how much of an answer is read.

mod answer;
mod connect;
mod live;
mod pool;
mod request;
mod retry_after;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use broker::{Answer, Attempted, Clock, Request, Sink};
use futures_util::future::LocalBoxFuture;

use live::{Failure, Live};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// What the sink bounds, each with its fate.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a connection may lie idle before it is closed. Default 4 s: Node's servers, and
    /// with them most function runtimes, close after 5 s, and whoever closes first loses no
    /// request. A busy connection doesn't rest for so long.
    pub idle_time_max: Duration,
    /// Idle connections to one address; further ones are closed. Default 256, as many as a
    /// worker has in flight to one destination.
    pub idle_per_authority_max: usize,
    /// Idle connections in all; further ones are closed. Default 1,024.
    pub idle_max: usize,
    /// How long opening a connection may take, over all addresses of a name; then the attempt
    /// is over. Default 1 s (GUARANTEES 8).
    pub connect_time_max: Duration,
    /// How long resolving a name may take; then the attempt is over. Default 2 s.
    pub resolve_time_max: Duration,
    /// The largest reply; over it the answer is garbled. Default 1 MiB.
    pub reply_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_time_max: Duration::from_secs(4),
            idle_per_authority_max: 256,
            idle_max: 1024,
            connect_time_max: Duration::from_secs(1),
            resolve_time_max: Duration::from_secs(2),
            reply_bytes_max: 1024 * 1024,
        }
    }
}

/// One worker's way out over HTTP. Must be used on a current-thread runtime, inside a
/// `LocalSet`.
pub struct HttpSink {
    inner: Rc<Inner>,
}

struct Inner {
    settings: Settings,
    clock: Arc<dyn Clock>,
    requests: request::Requests,
    connector: connect::Connector,
    pool: Rc<pool::Pool>,
}

impl HttpSink {
    /// A sink without connections. `clock` tells what a `Retry-After` date is from now.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            clock,
            requests: request::Requests::default(),
            connector: connect::Connector::new(&settings),
            pool: pool::Pool::new(&settings),
            settings,
        };
        Self {
            inner: Rc::new(inner),
        }
    }

    /// One attempt over a connection that is there already, and is closed behind it: as
    /// [`Sink::send`] for a destination that is reached in another way.
    pub async fn send_over<S>(&self, stream: S, request: &Request) -> Attempted
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let attempted = self.inner.attempt_over(stream, request).await;
        attempted.unwrap_or_else(not_reached)
    }

    /// Idle connections now, for `/metrics`.
    pub fn idle(&self) -> usize {
        self.inner.pool.len()
    }
}

impl Sink for HttpSink {
    fn send(&self, request: Request) -> LocalBoxFuture<'static, Attempted> {
        let inner = Rc::clone(&self.inner);
        Box::pin(async move {
            let attempted = inner.attempt(&request).await;
            attempted.unwrap_or_else(not_reached)
        })
    }
}

fn not_reached(failure: Failure) -> Attempted {
    Answer::Unreachable(failure.to_string()).into()
}

impl Inner {
    async fn attempt_over<S>(&self, stream: S, request: &Request) -> Result<Attempted, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let target = self.requests.target(&request.destination);
        let mut live = Live::open(stream).await?;
        let response = live.send(self.requests.message(request, &target)).await?;
        let read = answer::read(&mut live, response, &self.settings, &*self.clock).await;
        read.map(|(attempted, _whole)| attempted)
    }

    async fn attempt(&self, request: &Request) -> Result<Attempted, Failure> {
        let target = self.requests.target(&request.destination);
        if let Some(mut live) = self.pool.take(&target.authority).await {
            match live.send(self.requests.message(request, &target)).await {
                Ok(response) => return self.answered(live, &target, response).await,
                Err(failure) if failure.may_be_sent_again() => {}
                Err(failure) => return Err(failure),
            }
        }
        let stream = self.connector.connect(&request.destination).await?;
        let mut live = Live::open(stream).await?;
        let response = live.send(self.requests.message(request, &target)).await?;
        self.answered(live, &target, response).await
    }

    /// Reads an answer, and gives its connection back if nothing is left on it.
    async fn answered(
        &self,
        mut live: Live<TcpStream>,
        target: &request::Target,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<Attempted, Failure> {
        let (attempted, whole) =
            answer::read(&mut live, response, &self.settings, &*self.clock).await?;
        if whole && live.is_usable().await {
            self.pool.put(&target.authority, live);
        }
        Ok(attempted)
    }
}
