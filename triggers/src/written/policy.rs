//! A DeliveryPolicy's `spec` as written: what is a delivery's and Knative has no field for.

use serde::{Deserialize, Serialize};

use crate::yaml::decode::TextOrNumber;

/// On what terms deliveries are made, for the triggers and brokers that name it by the annotation
/// `weft.dev/policy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeliveryPolicySpec {
    /// The age at which an event is given up as expired, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_event_age: Option<TextOrNumber>,
    /// Requests of one trigger under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<i64>,
    /// `on` or `off`: whether waits are lengthened at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<String>,
    /// `lenient`, `strict` or `dapr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replies: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
    /// Statuses that are judged otherwise than by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Classification>,
    /// `discardOldest` or `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_quota: Option<String>,
    /// Acted on where a Broker names the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Dedup>,
}

/// First in, first out for events that share a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Ordering {
    /// The attribute whose value is the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// `retry` or `deadLetter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked_key: Option<String>,
}

/// Statuses from 400 to 599.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Classification {
    /// Tried again though they are final by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<i64>>,
    /// Final though they are tried again by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub never: Option<Vec<i64>>,
}

/// Events that come again are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Dedup {
    /// How long one is remembered, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<TextOrNumber>,
    /// How many are remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_entries: Option<i64>,
}
