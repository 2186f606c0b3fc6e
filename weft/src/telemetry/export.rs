//! The thread that exports spans: collects them into batches, and sends each by OTLP.

use std::borrow::Cow;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use broker::trace::AttemptSpan;
use bytes::Bytes;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};

use crate::client::Client;

/// Spans of one request (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
const BATCH_SPANS_MAX: usize = 512;
/// How long spans wait for a batch to fill. Shorter than OpenTelemetry's 5 s, so that a person
/// who sends one event sees its trace at once.
const BATCH_DELAY_MAX: Duration = Duration::from_secs(1);

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Message {
    /// An attempt has ended.
    Span(Box<AttemptSpan>),
    /// Send what waits, and end.
    Stop,
}

/// The thread: collects and sends until it is told to stop.
pub(super) fn export(waiting: &Receiver<Message>, exporter: &SpanExporter) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mut failing = false;
    loop {
        let (batch, stop) = collect(waiting);
        if !batch.is_empty() {
            let spans = batch.len();
            let result = runtime.block_on(exporter.export(batch));
            // A collector that is away is said once, and once when it is back.
            match (&result, failing) {
                (Ok(()), true) => tracing::info!("spans are exported again"),
                (Err(error), false) => {
                    tracing::warn!(%error, spans, "spans could not be exported and were dropped");
                }
                _ => {}
            }
            failing = result.is_err();
        }
        if stop {
            return Ok(());
        }
    }
}

/// The next batch, and whether it is the last.
fn collect(waiting: &Receiver<Message>) -> (Vec<SpanData>, bool) {
    let mut batch = Vec::new();
    match waiting.recv() {
        Ok(Message::Span(span)) => batch.push(data(*span)),
        Ok(Message::Stop) | Err(_) => return (batch, true),
    }
    let until = Instant::now() + BATCH_DELAY_MAX;
    while batch.len() < BATCH_SPANS_MAX {
        match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Message::Span(span)) => batch.push(data(*span)),
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return (batch, true),
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    (batch, false)
}

/// An attempt as OpenTelemetry's data: a client span of the operation "send".
fn data(span: AttemptSpan) -> SpanData {
    let flags = TraceFlags::new(span.span.flags);
    let trace = TraceId::from_bytes(span.span.trace_id);
    let id = SpanId::from_bytes(span.span.span_id);
    let millis = |time: journal::WallTime| SystemTime::UNIX_EPOCH + Duration::from_millis(time.0);
    let mut attributes = vec![
        KeyValue::new("messaging.system", "weft"),
        KeyValue::new("messaging.operation.name", "deliver"),
        KeyValue::new("messaging.operation.type", "process"),
        KeyValue::new("messaging.destination.name", span.destination.to_string()),
        KeyValue::new(
            "messaging.destination.subscription.name",
            span.trigger.to_string(),
        ),
        KeyValue::new("messaging.message.id", span.event_id.clone()),
        KeyValue::new("cloudevents.event_id", span.event_id),
        KeyValue::new("cloudevents.event_source", span.event_source),
        KeyValue::new("cloudevents.event_type", span.event_type),
        KeyValue::new("weft.trigger", span.trigger.to_string()),
        KeyValue::new("weft.attempt", i64::from(span.attempt)),
    ];
    if let Some(status) = span.status {
        attributes.push(KeyValue::new(
            "http.response.status_code",
            i64::from(status),
        ));
    }
    let status = match (span.delivered, span.status) {
        (true, _) => Status::Unset,
        (false, Some(status)) => {
            attributes.push(KeyValue::new("error.type", status.to_string()));
            Status::error(format!("answered {status}"))
        }
        (false, None) => {
            attributes.push(KeyValue::new("error.type", "no_answer"));
            Status::error("no answer")
        }
    };
    SpanData {
        span_context: SpanContext::new(trace, id, flags, false, TraceState::NONE),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: span.parent.is_some(),
        span_kind: SpanKind::Client,
        name: Cow::Owned(format!("deliver {}", span.trigger)),
        start_time: millis(span.started),
        end_time: millis(span.ended),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("weft")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

/// Carries the library's requests by our own client; a connection each, since there is at most
/// one request a second.
#[derive(Debug)]
pub(super) struct Collector;

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let mut client = Client::new(&parts.uri.to_string(), "http://127.0.0.1:4318")?;
        let path = client.path().to_owned();
        let answer = client
            .request(parts.method, &path, &parts.headers, body)
            .await?;
        let mut response = http::Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}
