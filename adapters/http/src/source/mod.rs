//! Events in, over HTTP/1.1 and HTTP/2 with prior knowledge on one port (contract §1).
//!
//! A 202 is said only once the broker has the event on stable storage. Everything else that can
//! be said is a `refused::Refused`, and the status of each stands in one `match` there.
//!
//! hyper's defaults are too loose for an edge (DESIGN §9). Who refuses what:
//!
//! | what | who | how |
//! |---|---|---|
//! | two differing `Content-Length`, a `Content-Length` that isn't a number | hyper | 400, closed |
//! | `Transfer-Encoding` that doesn't end in `chunked`, or in HTTP/1.0 | hyper | 400, closed |
//! | obs-fold, NUL, CR or DEL in a header value, a space before the colon | hyper | 400, closed |
//! | a header block over 128 KiB, more than 512 headers, a URI over 64 KiB | hyper, from our settings | 431 or 414, closed |
//! | both `Content-Length` and `Transfer-Encoding` | us: `scan`, since hyper hides the former | 400, closed |
//! | a bare LF as line end | us: `scan`, since httparse takes it | 400, closed |
//! | no `Host` or two of them | us: `noted` | 400, closed |
//! | a head that takes over 10 s, a connection idle for over 120 s | us: `connection` | closed |
//! | a body under 4 KiB/s after 10 s, or silent for 10 s | us: `body` | 408, closed |
//! | a body over the broker's limit | us: `body`, while reading | 413 |
//! | `Content-Encoding` other than identity | us: `receive` | 415 |
//! | bodies of all requests over 64 MiB | us: `budget` | 503 with `Retry-After` |
//! | connections over 4,096 a worker | us: `serve` | they wait in the kernel's queue |
//! | HTTP/2: over 100 streams, header lists over 128 KiB, floods of resets | h2, from our settings | as its RFC says |
//! | a duplicated or malformed attribute | the `event` crate | 400 |
//!
//! hyper's own header timer is not used: it counts idle time of a kept-alive connection as time
//! of the next head, and makes a timer for each request. One lazy timer a connection does both.

mod body;
mod budget;
mod connection;
mod door;
mod listen;
mod names;
mod noted;
mod receive;
mod refused;
mod scan;
mod serve;
mod stats;
mod tap;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

pub use budget::IngestBudget;
pub use connection::attend;
pub use door::Door;
pub use listen::{BindError, bind};
pub use refused::Reason;
pub use serve::{Stop, serve};
pub use stats::{SourceCounts, SourceStats};

/// What the source bounds, each with its fate.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a request's head may take from its first byte; then the connection is closed.
    /// Default 10 s.
    pub head_time_max: Duration,
    /// How long a connection may rest between requests; then it is closed. Default 120 s, more
    /// than the 90 s of Go's client, so that the client closes first and no request is lost on
    /// a connection that we are closing.
    pub idle_time_max: Duration,
    /// How long a body may be silent, and the grace before its rate is measured; then 408.
    /// Default 10 s.
    pub body_silence_max: Duration,
    /// The least rate of a body after the grace, in bytes a second; below it 408. Default 4 KiB.
    pub body_rate_min: u64,
    /// Connections open at once, for each worker; more wait in the kernel's accept queue.
    /// Default 4,096.
    pub connections_max: usize,
    /// The largest batch request in bytes; over it 413. Default 4 MiB.
    pub batch_bytes_max: usize,
    /// The most events of a batch; over it 413. Default 1,000.
    pub batch_events_max: usize,
    /// The deepest nesting of a JSON body; over it 400. Default 64.
    pub json_depth_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head_time_max: Duration::from_secs(10),
            idle_time_max: Duration::from_secs(120),
            body_silence_max: Duration::from_secs(10),
            body_rate_min: 4 * 1024,
            connections_max: 4096,
            batch_bytes_max: 4 * 1024 * 1024,
            batch_events_max: 1000,
            json_depth_max: 64,
        }
    }
}

/// What the node says of itself to whoever probes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Events are taken and delivered.
    Ready,
    /// The node is stopping: what is in the air is finished, nothing new should come.
    Draining,
    /// The node can't keep its promises; the text says which.
    NotReady(String),
}

/// Asked at each probe, so it must be quick.
pub type Health = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// One worker's source of events over HTTP. [`serve`] runs it.
pub struct Source<D> {
    door: D,
    settings: Settings,
    budget: Arc<IngestBudget>,
    health: Health,
    stats: Arc<SourceStats>,
    names: RefCell<names::Names>,
}

impl<D: Door> Source<D> {
    /// A source that publishes through `door`. `budget` is shared by the workers of a node.
    pub fn new(door: D, settings: Settings, budget: Arc<IngestBudget>, health: Health) -> Self {
        let stats = Arc::default();
        Self {
            door,
            settings,
            budget,
            health,
            stats,
            names: RefCell::default(),
        }
    }

    /// This source's counters, for `/metrics`.
    pub fn stats(&self) -> Arc<SourceStats> {
        Arc::clone(&self.stats)
    }
}
