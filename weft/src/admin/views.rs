//! The admin API's answers: the same types write them at the node and read them in the commands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Several of something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
}

/// The node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) ready: bool,
    /// Why it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// RFC 3339.
    pub(crate) started: String,
    pub(crate) uptime_seconds: f64,
    pub(crate) ingress: String,
    pub(crate) admin: String,
    /// Absent when nothing survives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    /// `direct+fdatasync`, `buffered+fdatasync` or `memory`.
    pub(crate) durability: String,
    pub(crate) workers: usize,
    pub(crate) brokers: usize,
    pub(crate) triggers: usize,
    pub(crate) dead_letters: u64,
    /// Deliveries that may have ended the process before, and go one at a time.
    pub(crate) suspects: u64,
    pub(crate) log: LogView,
    pub(crate) storage: StorageView,
    pub(crate) books: BookView,
    /// What is wrong in the YAML now.
    pub(crate) problems: Vec<String>,
}

/// What the storage holds: log, kept and view.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StorageView {
    pub(crate) bytes_max: u64,
    pub(crate) log_bytes: u64,
    pub(crate) kept_bytes: u64,
    pub(crate) view_bytes: u64,
    /// The share that what is owed or dead takes, 0 to 1.
    pub(crate) held_ratio: f64,
    /// Since when a replay reaches everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replay_since: Option<String>,
    /// Brokers that refuse events for a trigger that is over its share.
    pub(crate) refusing: Vec<String>,
}

/// The log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogView {
    pub(crate) id: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) routed_to: u64,
    /// The oldest record that somebody is owed or that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held_from: Option<u64>,
    pub(crate) segments: usize,
    pub(crate) bytes_used: u64,
    pub(crate) bytes_max: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_free: Option<u64>,
    /// The revision of the resources in force.
    pub(crate) revision: u64,
}

/// matched = delivered + dead + cancelled + owed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BookView {
    pub(crate) matched: u64,
    pub(crate) delivered: u64,
    /// By cause; causes without any are left out.
    pub(crate) dead: BTreeMap<String, u64>,
    pub(crate) cancelled: u64,
    pub(crate) owed: u64,
    pub(crate) balanced: bool,
}

/// A trigger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TriggerView {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) broker: String,
    pub(crate) ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What it waits for, while it isn't ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// What spares its destination now: `breaker open`, `pushed back`; or `keys full`, which takes
    /// nothing new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spared: Option<String>,
    /// Since when its file is gone, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detached: Option<String>,
    pub(crate) subscriber: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dead_letter_sink: Option<String>,
    pub(crate) books: BookView,
    /// The books of forwarding to the dead letter sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forward_books: Option<BookView>,
    pub(crate) waiting: u64,
    pub(crate) in_flight: u32,
    pub(crate) parked: u32,
    /// Of an ordered trigger: how many of those waiting wait behind another of their key.
    pub(crate) held: u64,
    /// Of an ordered trigger: keys that wait for a delivery that fails, or that a dead letter
    /// blocks.
    pub(crate) keys_blocked: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oldest_owed_seconds: Option<f64>,
    /// Since the process started.
    pub(crate) attempts: u64,
    pub(crate) attempts_failed: u64,
    pub(crate) replies: u64,
    pub(crate) replies_ignored: u64,
    pub(crate) dead_letters: u64,
    /// Deliveries that may have ended the process before, and go one at a time.
    pub(crate) suspects: u64,
    /// Absent when it sends.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) paused: Option<PausedState>,
}

/// What keeps a trigger from sending.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PausedState {
    /// RFC 3339.
    pub(crate) since: String,
    /// `command` or `YAML`.
    pub(crate) by: String,
    /// The destination, where that is what is paused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) destination: Option<String>,
}

/// A trigger in full.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TriggerDetail {
    #[serde(flatten)]
    pub(crate) view: TriggerView,
    pub(crate) terms: TermsView,
    /// How its subscriber's destination is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destination: Option<DestinationView>,
    /// As written.
    pub(crate) resource: serde_json::Value,
    /// The DeliveryPolicies and Sinks that it names, as written; those of its broker aren't here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<serde_json::Value>,
}

/// On what terms a trigger's events are delivered, everything merged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TermsView {
    /// Absent when nobody wrote it: until `maxEventAgeSeconds` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<u32>,
    pub(crate) backoff_policy: String,
    pub(crate) backoff_delay_seconds: f64,
    pub(crate) backoff_max_seconds: f64,
    pub(crate) jitter: bool,
    pub(crate) timeout_seconds: f64,
    pub(crate) retry_after_max_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_event_age_seconds: Option<f64>,
    /// How long attempts may fail, where `retry` was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patience_seconds: Option<f64>,
    pub(crate) max_in_flight: u32,
    pub(crate) replies: String,
    pub(crate) format: String,
    /// Statuses that are tried again though they are final by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retry_on: Vec<u16>,
    /// Statuses that are final though they are tried again by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retry_never: Vec<u16>,
    /// The attribute whose value is the key of order; absent when nothing is ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ordered_by: Option<String>,
    /// `retry` or `deadLetter`, where something is ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blocked_key: Option<String>,
    /// `discardOldest` or `refuse`.
    pub(crate) on_quota: String,
    /// Whether nothing is sent, by the annotation or because what it names isn't there.
    pub(crate) paused: bool,
}

/// A broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BrokerView {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) triggers: usize,
    /// Events stored since the process started.
    pub(crate) stored: u64,
    /// Of those, how many had been seen within the broker's window and are owed to nobody.
    pub(crate) deduplicated: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detached: Option<String>,
}

/// A destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DestinationView {
    pub(crate) address: String,
    pub(crate) triggers: u32,
    pub(crate) in_flight: u32,
    pub(crate) attempts: u64,
    /// By class: 2xx, 3xx, 4xx, 5xx, other, none.
    pub(crate) answers: BTreeMap<String, u64>,
    /// Of an attempt, to the nearest bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_seconds: Option<f64>,
    /// Of its breaker: off, closed, half-open, open.
    pub(crate) breaker: String,
    /// RFC 3339: since when its breaker isn't closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open_since: Option<String>,
    /// For how long it hasn't been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open_seconds: Option<f64>,
    /// RFC 3339: when the next probe may leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_probe: Option<String>,
    /// RFC 3339: until when it asked by `Retry-After` to be left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pushed_back_until: Option<String>,
    /// Triggers that wait for it with all they have.
    pub(crate) waiting: usize,
    /// Requests that may be in flight at full speed.
    pub(crate) max_in_flight: u32,
    /// The share of that which may be used now: under 1 while it warms up.
    pub(crate) share: f64,
    /// Tokens left; absent when retries aren't limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_budget: Option<f64>,
    /// How often a trigger was held back, by reason.
    pub(crate) deferred: BTreeMap<String, u64>,
    /// What failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error_at: Option<String>,
    /// How long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error_seconds: Option<f64>,
    /// Since when nothing is sent to it on somebody's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<PausedState>,
}

/// A dead letter in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LetterView {
    pub(crate) id: u64,
    pub(crate) trigger: String,
    pub(crate) broker: String,
    pub(crate) destination: String,
    pub(crate) cause: String,
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
    /// Whether it went to a dead letter sink too.
    pub(crate) forwarded: bool,
    /// `kept`, `redriven` or `discarded`.
    pub(crate) state: String,
    /// When it was redriven or discarded, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state_since: Option<String>,
    /// How long ago it died.
    pub(crate) age_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<EventHead>,
}

/// What tells an event from others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EventHead {
    pub(crate) id: String,
    pub(crate) source: String,
    #[serde(rename = "type")]
    pub(crate) ty: String,
}

/// A dead letter in full.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LetterDetail {
    #[serde(flatten)]
    pub(crate) letter: LetterView,
    /// Where the event stands in the log, and when it was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stored: Option<StoredEvent>,
    /// Why the event can't be shown, when it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_lost: Option<String>,
    pub(crate) history: Vec<AttemptView>,
    /// The reply that couldn't be stored, where that is the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reply: Option<EventView>,
    /// What a source rejected, where that is why it is here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected: Option<RejectedView>,
}

/// What a source got and could make no event of.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RejectedView {
    /// Why it is no event.
    pub(crate) why: String,
    /// Where it came from, in the source's terms.
    pub(crate) origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    /// What came beside the value.
    pub(crate) headers: Vec<HeaderView>,
    pub(crate) key: Payload,
    pub(crate) value: Payload,
    /// Bytes of the value that are left out at its end, as there were too many.
    pub(crate) left_out: u64,
}

/// A header; a name may come more than once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HeaderView {
    pub(crate) name: String,
    pub(crate) value: Payload,
}

/// An event and where it lies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredEvent {
    pub(crate) position: u64,
    /// RFC 3339.
    pub(crate) arrived: String,
    pub(crate) hops: u8,
    #[serde(flatten)]
    pub(crate) event: EventView,
}

/// An event.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventView {
    /// `binary` or `structured`: how it came.
    pub(crate) mode: String,
    /// All but the data, as text.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) data: Payload,
}

/// Bytes: as text when they are text.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Payload {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base64: Option<String>,
}

/// One attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptView {
    pub(crate) number: u32,
    /// RFC 3339.
    pub(crate) started: String,
    pub(crate) latency_ms: u32,
    pub(crate) verdict: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) reason: String,
    /// The start of the answer's body.
    pub(crate) body: Payload,
}
