//! The Node's `spec` as written. What each field means and defaults to stands beside the
//! field as run, in [`crate::run::node`].

use serde::{Deserialize, Serialize};

pub use crate::yaml::decode::{Decimal, TextOrNumber};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NodeSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listeners: Option<Listeners>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shutdown_grace: Option<TextOrNumber>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Listeners {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Storage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<TextOrNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_free: Option<TextOrNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_bytes: Option<TextOrNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Retention {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<TextOrNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<TextOrNumber>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Telemetry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_bytes: Option<TextOrNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<TextOrNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_events: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hops: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_in_flight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine_after: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_entries: Option<i64>,
}
