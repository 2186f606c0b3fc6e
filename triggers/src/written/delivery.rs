//! `spec.delivery` as written, and where to.

use serde::{Deserialize, Serialize};

use crate::yaml::decode::TextOrNumber;

/// Knative's delivery fields (contract §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Delivery {
    /// Where events go whose delivery failed for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_sink: Option<Destination>,
    /// Retries after the first attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<i64>,
    /// How long an attempt may take, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<TextOrNumber>,
    /// `linear` or `exponential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_policy: Option<String>,
    /// ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_delay: Option<TextOrNumber>,
    /// The longest wait between two attempts, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_max: Option<TextOrNumber>,
    /// The longest `Retry-After` that is heeded, ISO 8601; `PT0S` ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_max: Option<TextOrNumber>,
    /// `json` or `binary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// An address, or what has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// An absolute `http://` address; beside `ref` one relative to the Sink's (RFC 3986).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// The resource that it is the address of: a Sink.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// Knative's reference to a resource that has an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Reference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The namespace of who refers to it where none is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
