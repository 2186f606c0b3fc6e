//! The way out: what a worker hands to a protocol, and gets back.
//!
//! The broker opens no socket. A [`Sink`] belongs to one worker and lives on its thread, so it
//! may keep connections without locks; the worker bounds the attempt's time and counts what is
//! in flight, the sink only carries it.

use std::sync::Arc;
use std::time::Duration;

use event::Event;
use futures_util::future::LocalBoxFuture;
use journal::WallTime;
use triggers::{Destination, Format};

use crate::answer::Attempted;
use crate::trace::TraceParent;

/// One event on its way to one destination.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where it goes.
    pub destination: Destination,
    /// The event as it was stored.
    pub event: Event,
    /// The mode to send it in.
    pub format: Format,
    /// Attributes that this delivery adds: `knativearrivaltime` unless the event has one,
    /// `knativeerror*` towards a dead letter sink.
    pub add: Vec<(&'static str, String)>,
    /// The trigger's namespace, for `Kn-Namespace`.
    pub namespace: Arc<str>,
    /// Counted from 1, for `Weft-Attempt`.
    pub attempt: u32,
    /// When the broker gives the event up, for `Weft-Deadline`.
    pub deadline: Option<WallTime>,
    /// The attempt's own span, for `traceparent`.
    pub trace: TraceParent,
    /// The sender's `tracestate`.
    pub tracestate: Option<String>,
    /// The sender's `x-request-id` and `knative-*` headers.
    pub forwarded: Vec<(String, Vec<u8>)>,
    /// How long the whole attempt may take. The worker enforces it; a sink may use it to bound
    /// its parts.
    pub timeout: Duration,
}

/// Carries requests to destinations over one protocol. One per worker.
pub trait Sink: 'static {
    /// Sends `request` and says what came back.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up: its connection is not used again.
    fn send(&self, request: Request) -> LocalBoxFuture<'static, Attempted>;
}
