//! The node's settings as run: every value checked, defaults beside the fields.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::bounds::{span, whole};
use super::broker::Dedup;
use super::delivery::choice;
use super::destination::Destination;
use super::policy::DEDUP_ENTRIES_MAX;
use crate::duration::{self, DURATION_MAX};
use crate::problem::{At, Faults, Wrong};
use crate::quantity;
use crate::written::node as written;

const MI: u64 = 1 << 20;
const GI: u64 = 1 << 30;

/// The largest group and its headers must fit into a segment with room to spare.
const SEGMENT_PER_BATCH: u64 = 2;

/// Recycling needs a segment that is written, one that is reclaimed, and two in between.
const SEGMENTS_MIN: u64 = 4;

/// Dead letters go no sooner than somebody could look at them.
const DEAD_LETTERS_MIN: Duration = Duration::from_secs(60 * 60);

/// Unclean exits that a poisoned event may cause at most before it is looked for.
const QUARANTINE_MAX: u32 = 100;

/// What a node runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where events come in. Default 127.0.0.1:8080.
    pub ingress: SocketAddr,
    /// Where operators look. Default 127.0.0.1:8090.
    pub admin: SocketAddr,
    pub storage: Storage,
    pub telemetry: Telemetry,
    pub limits: Limits,
    /// How long a stopping node waits for what is under way. Default PT25S, which is within
    /// Kubernetes' 30.
    pub shutdown_grace: Duration,
}

/// Where events are kept, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Default embedded.
    pub kind: StorageKind,
    /// The data folder, relative to where the program was started. Default `weft-data`.
    pub path: PathBuf,
    /// Bytes of log, kept events and view together, after which space is given up. Default 10Gi.
    pub bytes_max: u64,
    /// Bytes that are left free on the disk. Default 1Gi.
    pub free_min: u64,
    /// Bytes of one segment of the log, a multiple of 4Ki. Default 64Mi.
    pub segment_bytes: u64,
    /// How long events that nobody is owed are kept for replay, at most. Default P7D.
    pub retention: Duration,
    /// How long dead letters are kept, at most. Default P14D, at least PT1H.
    pub retention_dead_letters: Duration,
}

/// What kind of log a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StorageKind {
    /// Files on local disk; survives a crash.
    #[default]
    Embedded,
    /// Nothing survives the process. For tests and throw-away use.
    Memory,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// An OTLP/HTTP collector. Default none: the usual `OTEL_*` variables, or no export.
    pub otlp_endpoint: Option<String>,
    /// What traces call this node. Default `weft`.
    pub service_name: String,
}

/// What a node takes and does at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one event. Default 1Mi, at least 64Ki (CloudEvents 1.0.2 §5.2).
    pub event_bytes: u64,
    /// Bytes of one batch. Default 4Mi.
    pub batch_bytes: u64,
    /// Events of one batch. Default 1000.
    pub batch_events: u32,
    /// Replies to replies before a delivery is dead-lettered as a loop. Default 32.
    pub hops: u32,
    /// Requests under way at once in the whole node. Default 4096.
    pub in_flight: u32,
    /// Requests under way at once to one destination. Default 256.
    pub destination_in_flight: u32,
    /// Unclean exits with the same deliveries under way after which they go one at a time, so that
    /// the event that ends the process is found. Default 2; 0: never.
    pub quarantine_after: u32,
    /// Events that all brokers together remember so that none is delivered twice, at most.
    /// Default 1,000,000.
    pub dedup_entries: u32,
}

impl Default for Node {
    fn default() -> Node {
        Node {
            ingress: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
            storage: Storage::default(),
            telemetry: Telemetry::default(),
            limits: Limits::default(),
            shutdown_grace: Duration::from_secs(25),
        }
    }
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            kind: StorageKind::Embedded,
            path: PathBuf::from("weft-data"),
            bytes_max: 10 * GI,
            free_min: GI,
            segment_bytes: 64 * MI,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            retention_dead_letters: Duration::from_secs(14 * 24 * 60 * 60),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Telemetry {
        Telemetry {
            otlp_endpoint: None,
            service_name: "weft".to_owned(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            event_bytes: MI,
            batch_bytes: 4 * MI,
            batch_events: 1000,
            hops: 32,
            in_flight: 4096,
            destination_in_flight: 256,
            quarantine_after: 2,
            dedup_entries: Dedup::ENTRIES_MAX,
        }
    }
}

/// Reads a Node's `spec`, which stands at `at`. Where a value is wrong the default stands in,
/// and the fault is noted.
pub(crate) fn node(spec: &written::NodeSpec, at: At<'_>, faults: &mut Faults) -> Node {
    let default = Node::default();
    let listeners = spec.listeners.clone().unwrap_or_default();
    let listeners_at = at.key("listeners");
    let mut listener = |name: &str, text: &Option<String>, default| match text {
        Some(text) => faults
            .take(listeners_at.key(name), address(text))
            .unwrap_or(default),
        None => default,
    };
    let ingress = listener("ingress", &listeners.ingress, default.ingress);
    let admin = listener("admin", &listeners.admin, default.admin);
    if ingress == admin && ingress.port() != 0 {
        let cure = "give ingress and admin a port each, such as 8080 and 8090";
        faults.add(
            listeners_at.key("admin"),
            format!("is {admin}, which is ingress's too"),
            cure,
        );
    }
    let limits = limits(
        &spec.limits.clone().unwrap_or_default(),
        at.key("limits"),
        faults,
    );
    let storage = storage(
        &spec.storage.clone().unwrap_or_default(),
        at.key("storage"),
        faults,
    );
    if storage.segment_bytes < limits.batch_bytes * SEGMENT_PER_BATCH {
        let found = format!("is {}", quantity::text(storage.segment_bytes));
        let cure = format!(
            "it must be at least twice limits.batchBytes, which is {}",
            quantity::text(limits.batch_bytes)
        );
        let storage_at = at.key("storage");
        faults.add(storage_at.key("segmentBytes"), found, cure);
    }
    Node {
        ingress,
        admin,
        storage,
        telemetry: telemetry(
            &spec.telemetry.clone().unwrap_or_default(),
            at.key("telemetry"),
            faults,
        ),
        limits,
        shutdown_grace: spec
            .shutdown_grace
            .as_ref()
            .and_then(|text| faults.take(at.key("shutdownGrace"), duration::parse(&text.0)))
            .unwrap_or(default.shutdown_grace),
    }
}

fn storage(written: &written::Storage, at: At<'_>, faults: &mut Faults) -> Storage {
    let default = Storage::default();
    let mut bytes = |name: &str, written: &Option<written::TextOrNumber>, least, most, default| {
        amount(at.key(name), written, least, most, faults).unwrap_or(default)
    };
    let segment_bytes = bytes(
        "segmentBytes",
        &written.segment_bytes,
        (MI, ""),
        GI,
        default.segment_bytes,
    );
    let bytes_max = bytes(
        "maxBytes",
        &written.max_bytes,
        (segment_bytes * SEGMENTS_MIN, ", four times segmentBytes"),
        u64::MAX,
        default.bytes_max,
    );
    let free_min = bytes(
        "minFree",
        &written.min_free,
        (0, ""),
        u64::MAX,
        default.free_min,
    );
    if !segment_bytes.is_multiple_of(4096) {
        let found = format!("is {segment_bytes}");
        faults.add(
            at.key("segmentBytes"),
            found,
            "it must be a multiple of 4Ki",
        );
    }
    let retention_at = at.key("retention");
    let retention = written.retention.clone().unwrap_or_default();
    let path = match written.path.as_deref() {
        Some("") => {
            faults.add(
                at.key("path"),
                "is an empty text",
                "write a folder such as ./weft-data, or remove it",
            );
            default.path
        }
        Some(path) => PathBuf::from(path),
        None => default.path,
    };
    Storage {
        kind: written
            .kind
            .as_deref()
            .and_then(|text| {
                let choices = [
                    ("embedded", StorageKind::Embedded),
                    ("memory", StorageKind::Memory),
                ];
                faults.take(at.key("kind"), choice(text, &choices))
            })
            .unwrap_or_default(),
        path,
        bytes_max,
        free_min,
        segment_bytes,
        retention: retention
            .events
            .and_then(|text| faults.take(retention_at.key("events"), duration::parse(&text.0)))
            .unwrap_or(default.retention),
        retention_dead_letters: span(
            retention_at.key("deadLetters"),
            retention.dead_letters.as_ref(),
            DEAD_LETTERS_MIN..=DURATION_MAX,
            faults,
        )
        .unwrap_or(default.retention_dead_letters),
    }
}

fn limits(written: &written::Limits, at: At<'_>, faults: &mut Faults) -> Limits {
    let default = Limits::default();
    // Both at most 64Mi: bodies under way are capped at that in the whole node.
    let event_bytes = amount(
        at.key("eventBytes"),
        &written.event_bytes,
        (64 << 10, ""),
        64 * MI,
        faults,
    )
    .unwrap_or(default.event_bytes);
    let batch_default = default.batch_bytes.max(event_bytes);
    let batch_bytes = amount(
        at.key("batchBytes"),
        &written.batch_bytes,
        (event_bytes, ", which is eventBytes"),
        64 * MI,
        faults,
    )
    .unwrap_or(batch_default);
    let mut number = |name: &str, written: Option<i64>, range, default: u32| {
        whole(at.key(name), written, range, faults).unwrap_or(default)
    };
    Limits {
        event_bytes,
        batch_bytes,
        batch_events: number(
            "batchEvents",
            written.batch_events,
            1..=10_000,
            default.batch_events,
        ),
        hops: number("hops", written.hops, 1..=255, default.hops),
        in_flight: number("inFlight", written.in_flight, 1..=65_536, default.in_flight),
        destination_in_flight: number(
            "destinationInFlight",
            written.destination_in_flight,
            1..=65_536,
            default.destination_in_flight,
        ),
        quarantine_after: number(
            "quarantineAfter",
            written.quarantine_after,
            0..=QUARANTINE_MAX,
            default.quarantine_after,
        ),
        dedup_entries: number(
            "dedupEntries",
            written.dedup_entries,
            1..=DEDUP_ENTRIES_MAX,
            default.dedup_entries,
        ),
    }
}

fn telemetry(written: &written::Telemetry, at: At<'_>, faults: &mut Faults) -> Telemetry {
    let default = Telemetry::default();
    Telemetry {
        otlp_endpoint: written
            .otlp_endpoint
            .as_deref()
            .and_then(|uri| faults.take(at.key("otlpEndpoint"), Destination::parse(uri)))
            .map(|endpoint| endpoint.uri().to_owned()),
        service_name: match written.service_name.as_deref() {
            Some("") => {
                faults.add(
                    at.key("serviceName"),
                    "is an empty text",
                    "write a name, or remove it",
                );
                default.service_name
            }
            Some(name) => name.to_owned(),
            None => default.service_name,
        },
    }
}

fn amount(
    at: At<'_>,
    written: &Option<written::TextOrNumber>,
    (least, why): (u64, &str),
    most: u64,
    faults: &mut Faults,
) -> Option<u64> {
    let text = &written.as_ref()?.0;
    let read = quantity::parse(text).and_then(|bytes| match bytes {
        bytes if bytes < least => Err(Wrong::new(
            format!("is {text}"),
            format!("it must be at least {}{why}", quantity::text(least)),
        )),
        bytes if most < bytes => Err(Wrong::new(
            format!("is {text}"),
            format!("it must be at most {}", quantity::text(most)),
        )),
        bytes => Ok(bytes),
    });
    faults.take(at, read)
}

fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let cure = match text.strip_prefix(':').or(text.strip_prefix("localhost:")) {
            Some(port) if port.parse::<u16>().is_ok() => {
                format!("write 127.0.0.1:{port}, or 0.0.0.0:{port} for every interface")
            }
            _ => "write an IP address and a port, such as 127.0.0.1:8080".to_owned(),
        };
        Wrong::new(format!("is {text:?}"), cure)
    })
}
