//! Resources as a person wrote them: Broker, Trigger, DeliveryPolicy, Sink and Node.
//!
//! Every field may be missing or wrong; nothing is defaulted, no text is a duration yet. Only
//! fields that this version acts on exist: any other is refused, so that nobody believes in a
//! setting that does nothing. What kubectl and the API server write is accepted and ignored.
//!
//! The log keeps resources in this form, as [`Resource::canonical`] text, so that a later
//! version with better defaults or more fields still reads what was meant.

pub mod delivery;
pub mod filter;
pub mod node;
pub mod policy;
pub(crate) mod read;
pub mod sink;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::problem::Place;
use delivery::{Delivery, Destination};
use filter::{Filter, LegacyFilter};

/// `apiVersion` of Broker and Trigger.
pub const EVENTING_V1: &str = "eventing.knative.dev/v1";
/// `apiVersion` of our own kinds: DeliveryPolicy, Sink and Node.
pub const WEFT_V1ALPHA1: &str = "weft.dev/v1alpha1";

/// The kinds that this version runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Node,
    Broker,
    Trigger,
    DeliveryPolicy,
    Sink,
}

impl Kind {
    /// All of them, in the order in which a reader meets them.
    pub const ALL: [Kind; 5] = [
        Kind::Broker,
        Kind::Trigger,
        Kind::DeliveryPolicy,
        Kind::Sink,
        Kind::Node,
    ];

    /// The kind's name as written in YAML.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Node => "Node",
            Kind::Broker => "Broker",
            Kind::Trigger => "Trigger",
            Kind::DeliveryPolicy => "DeliveryPolicy",
            Kind::Sink => "Sink",
        }
    }

    /// The `apiVersion` that belongs to the kind.
    pub fn api_version(self) -> &'static str {
        match self {
            Kind::Node | Kind::DeliveryPolicy | Kind::Sink => WEFT_V1ALPHA1,
            Kind::Broker | Kind::Trigger => EVENTING_V1,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What makes a resource the same one after an edit or a move to another file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// `Trigger shop/billing`
impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// One resource as written. Two are equal when they say the same, wherever they stand.
#[derive(Clone, Debug)]
pub struct Resource {
    pub metadata: Metadata,
    pub spec: Spec,
    /// The file and line it came from; `None` when it came from the log.
    pub place: Option<Place>,
}

impl PartialEq for Resource {
    fn eq(&self, other: &Resource) -> bool {
        self.metadata == other.metadata && self.spec == other.spec
    }
}

impl Eq for Resource {}

/// What identifies a resource and what is noted on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    pub name: String,
    /// `default` where none was written.
    pub namespace: String,
    /// Without those that kubectl and the API server write for themselves.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a resource asks for, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    Broker(BrokerSpec),
    Trigger(TriggerSpec),
    Node(node::NodeSpec),
    DeliveryPolicy(policy::DeliveryPolicySpec),
    Sink(sink::SinkSpec),
}

/// A Broker's `spec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BrokerSpec {
    /// Defaults for the deliveries of its triggers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// A Trigger's `spec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TriggerSpec {
    /// The broker's name in the trigger's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<LegacyFilter>,
    /// Replaces `filter` when not empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<Filter>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<Destination>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// Why a text from the log isn't a resource that this version can read.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    #[error("not the canonical text of a resource")]
    Json(#[from] serde_json::Error),
    #[error("apiVersion {api_version} kind {kind} is not known to this version")]
    Kind { api_version: String, kind: String },
    #[error("a resource without a name")]
    Name,
}

impl Resource {
    /// What kind of resource it is.
    pub fn kind(&self) -> Kind {
        match self.spec {
            Spec::Broker(_) => Kind::Broker,
            Spec::Trigger(_) => Kind::Trigger,
            Spec::Node(_) => Kind::Node,
            Spec::DeliveryPolicy(_) => Kind::DeliveryPolicy,
            Spec::Sink(_) => Kind::Sink,
        }
    }

    /// Its identity.
    pub fn key(&self) -> ResourceKey {
        ResourceKey {
            kind: self.kind(),
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
        }
    }

    /// The resource as written in one line of JSON, without status and what a server wrote.
    /// The same content always gives the same text.
    pub fn canonical(&self) -> String {
        match &self.spec {
            Spec::Broker(spec) => self.canonical_with(spec),
            Spec::Trigger(spec) => self.canonical_with(spec),
            Spec::Node(spec) => self.canonical_with(spec),
            Spec::DeliveryPolicy(spec) => self.canonical_with(spec),
            Spec::Sink(spec) => self.canonical_with(spec),
        }
    }

    fn canonical_with<S: Serialize>(&self, spec: &S) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Canonical<'a, S> {
            api_version: &'static str,
            kind: &'static str,
            metadata: &'a Metadata,
            spec: &'a S,
        }
        let kind = self.kind();
        let canonical = Canonical {
            api_version: kind.api_version(),
            kind: kind.name(),
            metadata: &self.metadata,
            spec,
        };
        serde_json::to_string(&canonical).expect("maps with text keys always serialise")
    }

    /// Reads what [`Resource::canonical`] wrote. The result has no place.
    ///
    /// # Errors
    ///
    /// The text isn't JSON of that shape, or has kinds or fields of another version. Whether
    /// its values make sense is left to [`crate::lower`].
    pub fn from_canonical(text: &str) -> Result<Resource, CanonicalError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            api_version: String,
            kind: String,
        }
        fn body<S: DeserializeOwned>(text: &str) -> Result<(Metadata, Option<S>), CanonicalError> {
            let document: Raw<S> = serde_json::from_str(text)?;
            let metadata = document.metadata.unwrap_or_default();
            let name = metadata.name.clone().ok_or(CanonicalError::Name)?;
            Ok((metadata.keep(name), document.spec))
        }
        let head: Head = serde_json::from_str(text)?;
        let (metadata, spec) = match (head.api_version.as_str(), head.kind.as_str()) {
            (EVENTING_V1, "Broker") => {
                let (metadata, spec) = body(text)?;
                (metadata, Spec::Broker(spec.unwrap_or_default()))
            }
            (EVENTING_V1, "Trigger") => {
                let (metadata, spec) = body(text)?;
                (metadata, Spec::Trigger(spec.unwrap_or_default()))
            }
            (WEFT_V1ALPHA1, "Node") => {
                let (metadata, spec) = body(text)?;
                (metadata, Spec::Node(spec.unwrap_or_default()))
            }
            (WEFT_V1ALPHA1, "DeliveryPolicy") => {
                let (metadata, spec) = body(text)?;
                (metadata, Spec::DeliveryPolicy(spec.unwrap_or_default()))
            }
            (WEFT_V1ALPHA1, "Sink") => {
                let (metadata, spec) = body(text)?;
                (metadata, Spec::Sink(spec.unwrap_or_default()))
            }
            _ => {
                let Head { api_version, kind } = head;
                return Err(CanonicalError::Kind { api_version, kind });
            }
        };
        Ok(Resource {
            metadata,
            spec,
            place: None,
        })
    }
}

/// A whole document. What a server writes is named here so that it can be ignored.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    bound = "S: DeserializeOwned"
)]
pub(crate) struct Raw<S> {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    pub(crate) metadata: Option<RawMetadata>,
    pub(crate) spec: Option<S>,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

/// Metadata as kubectl, the API server and people write it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawMetadata {
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(rename = "uid")]
    _uid: Option<IgnoredAny>,
    #[serde(rename = "resourceVersion")]
    _resource_version: Option<IgnoredAny>,
    #[serde(rename = "generation")]
    _generation: Option<IgnoredAny>,
    #[serde(rename = "generateName")]
    _generate_name: Option<IgnoredAny>,
    #[serde(rename = "creationTimestamp")]
    _creation_timestamp: Option<IgnoredAny>,
    #[serde(rename = "deletionTimestamp")]
    _deletion_timestamp: Option<IgnoredAny>,
    #[serde(rename = "deletionGracePeriodSeconds")]
    _deletion_grace_period_seconds: Option<IgnoredAny>,
    #[serde(rename = "managedFields")]
    _managed_fields: Option<IgnoredAny>,
    #[serde(rename = "ownerReferences")]
    _owner_references: Option<IgnoredAny>,
    #[serde(rename = "finalizers")]
    _finalizers: Option<IgnoredAny>,
    #[serde(rename = "selfLink")]
    _self_link: Option<IgnoredAny>,
}

impl RawMetadata {
    /// What is kept of it.
    pub(crate) fn keep(self, name: String) -> Metadata {
        let mut annotations = self.annotations.unwrap_or_default();
        annotations.retain(|key, _| !key.starts_with("kubectl.kubernetes.io/"));
        Metadata {
            name,
            namespace: self.namespace.unwrap_or_else(|| "default".to_owned()),
            annotations,
            labels: self.labels.unwrap_or_default(),
        }
    }
}

/// What is wrong with a field that exists elsewhere, and the cure. `known` are the fields of
/// the map it was found in.
pub(crate) fn misplaced(
    field: &str,
    known: &[&str],
) -> Option<(&'static str, std::borrow::Cow<'static, str>)> {
    let beside = |sibling: &str| known.contains(&sibling);
    let later = "is not supported by this version";
    if known == ["attributes"] {
        let cure = match field {
            "exact" | "prefix" | "suffix" | "all" | "any" | "not" | "cesql" => {
                format!(
                    "it belongs in the list filters beside filter: write filters, and under it - {field}:"
                )
            }
            _ => format!("write attributes between: filter: {{attributes: {{{field}: ...}}}}"),
        };
        return Some(("is in the wrong place", cure.into()));
    }
    let cure = match field {
        "CACerts" | "audience" if beside("uri") => {
            "remove it: TLS and identity come with a later version"
        }
        "config" if beside("delivery") => {
            "remove it: Weft needs no configuration object for a broker"
        }
        "cel" if beside("exact") => {
            "write one of exact, prefix, suffix, all, any and not: CEL comes with a later version"
        }
        "sql" if beside("exact") => {
            "write one of exact, prefix, suffix, all, any and not: CESQL comes with a later version"
        }
        _ => return None,
    };
    Some((later, cure.into()))
}
