//! Spans of attempts, exported by OTLP over HTTP as protobuf when `OTEL_*` variables or the Node
//! say where to.
//!
//! The workers hand spans over through a bounded queue and never wait: when the collector is
//! slow or gone, spans are dropped and counted, events are not. One thread collects them into
//! batches and sends them. What a span says follows OpenTelemetry's semantic conventions for
//! messaging (`messaging.*`) and CloudEvents (`cloudevents.*`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use broker::trace::{AttemptSpan, Spans};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;

use crate::client::Client;
use crate::tasks::{OnEnd, Reporter};
use crate::telemetry::export::{Collector, Message, export};

/// Spans that wait for the exporter; more are dropped and counted. OpenTelemetry's default
/// (`OTEL_BSP_MAX_QUEUE_SIZE`).
const QUEUE_SPANS_MAX: usize = 2048;
/// How long a stop waits for the last spans to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Where spans go, if anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nobody asked for them, or `OTEL_TRACES_EXPORTER=none`, or `OTEL_SDK_DISABLED=true`.
    Nowhere,
    /// As the `OTEL_EXPORTER_OTLP_*` variables say; the address is for messages.
    Environment(String),
    /// To the Node's address.
    Node(String),
}

impl Target {
    /// The collector's address.
    pub(crate) fn address(&self) -> Option<&str> {
        match self {
            Self::Nowhere => None,
            Self::Environment(address) | Self::Node(address) => Some(address),
        }
    }
}

/// Why spans can't be exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The collector's address is no good.
    #[error(transparent)]
    Address(#[from] crate::client::Error),
    /// A protocol other than `http/protobuf`.
    #[error("{variable} is \"{found}\", this version exports spans by http/protobuf only")]
    Protocol {
        /// The variable.
        variable: &'static str,
        /// Its value.
        found: String,
    },
    /// The library refused.
    #[error("spans can't be exported: {0}")]
    Exporter(String),
}

/// Decides where spans go: the standard variables win over the Node.
pub(crate) fn target(
    variable: impl Fn(&str) -> Option<String>,
    node: Option<&str>,
) -> Result<Target, Error> {
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if off || variable("OTEL_TRACES_EXPORTER").as_deref() == Some("none") {
        return Ok(Target::Nowhere);
    }
    for name in [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ] {
        match variable(name) {
            Some(found) if found != "http/protobuf" => {
                return Err(Error::Protocol {
                    variable: name,
                    found,
                });
            }
            Some(_) => break,
            None => {}
        }
    }
    let traces = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    if let Some(address) = traces.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT")) {
        return Ok(Target::Environment(address));
    }
    Ok(node.map_or(Target::Nowhere, |address| Target::Node(address.to_owned())))
}

/// The workers' end: takes spans while the exporter keeps up.
#[derive(Debug)]
pub(crate) struct Exported {
    queue: SyncSender<Message>,
    dropped: AtomicU64,
}

/// The thread's handle.
#[derive(Debug)]
pub(crate) struct Exporter {
    spans: Arc<Exported>,
    thread: JoinHandle<()>,
}

impl Spans for Exported {
    fn wanted(&self) -> bool {
        true
    }

    fn ended(&self, span: AttemptSpan) {
        if self.queue.try_send(Message::Span(Box::new(span))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Exported {
    /// Spans that were dropped since the exporter didn't keep up.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Starts the exporter's thread; `None` when spans go nowhere.
///
/// # Errors
///
/// See [`Error`]. Nothing was started then.
pub(crate) fn start(
    target: &Target,
    service: &str,
    reporter: &Reporter,
) -> Result<Option<Exporter>, Error> {
    let (address, by_node) = match target {
        Target::Nowhere => return Ok(None),
        Target::Environment(address) => (address, false),
        Target::Node(address) => (address, true),
    };
    // Refused here, in our words, rather than at the first span.
    drop(Client::new(address, "http://127.0.0.1:4318")?);
    let mut builder = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector);
    if by_node {
        // The Node gives the base address, as OTEL_EXPORTER_OTLP_ENDPOINT does.
        let base = address.trim_end_matches('/');
        builder = builder.with_endpoint(format!("{base}/v1/traces"));
    }
    let mut exporter = builder
        .build()
        .map_err(|error| Error::Exporter(error.to_string()))?;
    exporter.set_resource(&resource(service));
    let (queue, waiting) = sync_channel(QUEUE_SPANS_MAX);
    let spans = Arc::new(Exported {
        queue,
        dropped: AtomicU64::new(0),
    });
    let thread = reporter
        .thread("the export of spans".into(), OnEnd::Log, move || {
            export(&waiting, &exporter)
        })
        .map_err(|error| Error::Exporter(error.to_string()))?;
    Ok(Some(Exporter { spans, thread }))
}

impl Exporter {
    /// The workers' end.
    pub(crate) fn spans(&self) -> Arc<Exported> {
        self.spans.clone()
    }

    /// Sends what waits, for at most three seconds, and ends the thread.
    pub(crate) fn stop(self) {
        let until = Instant::now() + FLUSH_TIMEOUT;
        let mut message = Message::Stop;
        // The queue may be full for a moment, while the last batch is on its way.
        while let Err(TrySendError::Full(back)) = self.spans.queue.try_send(message) {
            if Instant::now() >= until {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(10));
        }
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What this process calls itself: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over
/// the Node's name.
fn resource(service: &str) -> Resource {
    let named = Resource::builder().build();
    let name = opentelemetry::Key::from_static_str("service.name");
    let known = named
        .get(&name)
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if known {
        builder.build()
    } else {
        builder.with_service_name(service.to_owned()).build()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use broker::trace::TraceParent;
    use expect_test::{Expect, expect};
    use journal::WallTime;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message as _;

    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], node: Option<&str>, expect: Expect) {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let shown = match target(variable, node) {
            Ok(target) => format!("{target:?}"),
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn the_usual_variables_say_where_spans_go() {
        const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        check(&[], None, expect!["Nowhere"]);
        check(
            &[],
            Some("http://c:4318"),
            expect![[r#"Node("http://c:4318")"#]],
        );
        check(
            &[(BASE, "http://e:4318")],
            Some("http://c"),
            expect![[r#"Environment("http://e:4318")"#]],
        );
        check(
            &[
                (BASE, "http://e:4318"),
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"),
            ],
            None,
            expect![[r#"Environment("http://t/x")"#]],
        );
        check(
            &[(BASE, "http://e"), ("OTEL_TRACES_EXPORTER", "none")],
            None,
            expect!["Nowhere"],
        );
        check(
            &[(BASE, "http://e"), ("OTEL_SDK_DISABLED", "true")],
            None,
            expect!["Nowhere"],
        );
        check(
            &[(BASE, "http://e"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            None,
            expect![[
                r#"OTEL_EXPORTER_OTLP_PROTOCOL is "grpc", this version exports spans by http/protobuf only"#
            ]],
        );
    }

    fn attempt() -> AttemptSpan {
        AttemptSpan {
            span: TraceParent {
                trace_id: [7; 16],
                span_id: [8; 8],
                flags: 1,
            },
            parent: Some([9; 8]),
            started: WallTime(1_000),
            ended: WallTime(1_250),
            trigger: "shop/billing".into(),
            destination: "http://127.0.0.1:8081/".into(),
            event_id: "o-1".into(),
            event_source: "/shop".into(),
            event_type: "order.placed".into(),
            attempt: 3,
            status: Some(503),
            delivered: false,
        }
    }

    /// Answers one request with 200 and returns its head and body.
    fn receive(listener: &TcpListener) -> (String, Vec<u8>) {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let read = stream.read(&mut chunk).unwrap();
            bytes.extend_from_slice(&chunk[..read]);
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8(bytes[..end].to_vec())
                .unwrap()
                .to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap().trim().parse().unwrap();
            if bytes.len() >= end + 4 + length {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .unwrap();
                return (head, bytes.split_off(end + 4));
            }
        }
    }

    #[test]
    fn an_attempt_reaches_a_collector_as_a_span() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let exporter = start(
            &Target::Node(address),
            "weft",
            &crate::tasks::Tasks::new().reporter(),
        )
        .unwrap()
        .unwrap();
        exporter.spans().ended(attempt());
        let received = std::thread::spawn(move || receive(&listener));
        exporter.stop();
        let (head, body) = received.join().unwrap();
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        let request = ExportTraceServiceRequest::decode(&*body).unwrap();
        let resource = &request.resource_spans[0];
        let named = resource.resource.as_ref().unwrap().attributes.iter();
        let names: Vec<_> = named.map(|pair| pair.key.as_str()).collect();
        assert!(
            names.contains(&"service.name") && names.contains(&"service.version"),
            "{names:?}"
        );
        let span = &resource.scope_spans[0].spans[0];
        assert_eq!(
            (&*span.trace_id, &*span.span_id),
            (&[7; 16][..], &[8; 8][..])
        );
        assert_eq!(span.parent_span_id, [9; 8]);
        assert_eq!(span.name, "deliver shop/billing");
        assert_eq!(
            span.end_time_unix_nano - span.start_time_unix_nano,
            250_000_000
        );
        let keys: Vec<_> = span
            .attributes
            .iter()
            .map(|pair| pair.key.as_str())
            .collect();
        for key in [
            "messaging.message.id",
            "cloudevents.event_type",
            "weft.attempt",
        ] {
            assert!(keys.contains(&key), "{key} is not among {keys:?}");
        }
        assert_eq!(span.status.as_ref().unwrap().message, "answered 503");
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_never_waits() {
        let (queue, _waiting) = sync_channel(1);
        let spans = Exported {
            queue,
            dropped: AtomicU64::new(0),
        };
        (0..5).for_each(|_| spans.ended(attempt()));
        assert_eq!(spans.dropped(), 4);
    }
}
