//! Ad hoc lanes: deliveries to another destination than a trigger's, as redrive and replay with
//! `--to-uri` begin them.
//!
//! An ad hoc lane is a resource of its own in the TriggerSet records, with a number of its own,
//! written as a Trigger and in no index: no event is matched to it. So it survives a restart with
//! all that it owes, like any lane. It is deleted when nobody uses it and nothing is owed to it.

use std::sync::Arc;

use triggers::written::delivery::Destination;
use triggers::written::{Metadata, Spec, TriggerSpec};
use triggers::{BrokerName, Resource, TriggerName};

use crate::records::Number;
use crate::registrar::Registrar;

/// Annotations of a trigger that say when it works and not how; an ad hoc lane on its terms doesn't
/// take them over.
const NOT_TAKEN_OVER: [&str; 2] = ["weft.dev/paused", "weft.dev/start"];

/// A lane to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdHoc {
    /// What for, in a word that its name begins with: `redrive`, `replay`.
    pub purpose: &'static str,
    /// The broker of the events that it is owed: replies go there.
    pub broker: BrokerName,
    /// Where to: an absolute address.
    pub uri: String,
    /// Whose terms hold; the broker's where that trigger isn't in force, or none is named.
    pub like: Option<TriggerName>,
}

impl AdHoc {
    /// The resource that stands for it. `like` is the trigger whose terms it takes over.
    pub(crate) fn resource(&self, number: Number, like: Option<&Resource>) -> Resource {
        let mut metadata = Metadata {
            name: format!("{}-{number}", self.purpose),
            namespace: self.broker.namespace().to_owned(),
            annotations: like
                .map(|like| like.metadata.annotations.clone())
                .unwrap_or_default(),
            labels: Default::default(),
        };
        metadata
            .annotations
            .retain(|name, _| !NOT_TAKEN_OVER.contains(&name.as_str()));
        let delivery = like.and_then(|like| match &like.spec {
            Spec::Trigger(spec) => spec.delivery.clone(),
            _ => None,
        });
        Resource {
            metadata,
            spec: Spec::Trigger(TriggerSpec {
                broker: Some(self.broker.name().to_owned()),
                subscriber: Some(Destination {
                    uri: Some(self.uri.clone()),
                    reference: None,
                }),
                delivery,
                ..TriggerSpec::default()
            }),
            place: None,
        }
    }
}

/// An ad hoc lane in use. It may go when this is dropped and nothing is owed to it any more.
pub(crate) struct AdHocLane {
    pub(crate) number: Number,
    registrar: Arc<Registrar>,
}

impl AdHocLane {
    pub(crate) fn new(number: Number, registrar: Arc<Registrar>) -> Self {
        Self { number, registrar }
    }
}

impl Drop for AdHocLane {
    fn drop(&mut self) {
        self.registrar.no_longer_used(self.number);
    }
}
