//! What one resource says by itself: its fields and annotations read, nothing merged yet.

use std::time::Duration;

use super::annotations::Annotations;
use super::compile;
use super::delivery::Delivery;
use super::filter::Filter;
use super::name::check_name;
use super::policy::Policy;
use super::refer::{Target, target};
use super::trigger::Start;
use crate::problem::{At, Fault, Faults, Problem};
use crate::written::policy::DeliveryPolicySpec;
use crate::written::read::at_resource;
use crate::written::{BrokerSpec, Kind, Metadata, Resource, TriggerSpec};

/// What a broker says by itself.
pub(super) struct BrokerSays {
    pub(super) delivery: Delivery,
    pub(super) policy: Option<String>,
    pub(super) dedup_window: Option<Duration>,
}

pub(super) fn broker_says(
    metadata: &Metadata,
    spec: &BrokerSpec,
    faults: &mut Faults,
) -> BrokerSays {
    let at = At::ROOT.key("spec");
    let at = at.key("delivery");
    let mut delivery = Delivery::read(spec.delivery.as_ref(), &metadata.namespace, at, faults);
    let at = At::ROOT.key("metadata");
    let at = at.key("annotations");
    let annotations = Annotations::read(&metadata.annotations, Kind::Broker, at, faults);
    annotations.apply(&mut delivery);
    BrokerSays {
        delivery,
        policy: annotations.policy,
        dedup_window: annotations.dedup_window,
    }
}

/// What a trigger says by itself.
pub(super) struct TriggerSays {
    pub(super) broker: String,
    pub(super) filter: Filter,
    pub(super) subscriber: Target,
    pub(super) delivery: Delivery,
    pub(super) policy: Option<String>,
    pub(super) start: Start,
    pub(super) paused: bool,
}

pub(super) fn trigger_says(
    metadata: &Metadata,
    spec: &TriggerSpec,
    faults: &mut Faults,
) -> Option<TriggerSays> {
    let root = At::ROOT;
    let namespace = &*metadata.namespace;
    let at = root.key("spec");
    let broker = match spec.broker.as_deref() {
        Some(broker) => faults
            .take(at.key("broker"), check_name(broker))
            .map(|()| broker.to_owned()),
        None => {
            faults.add(
                at.key("broker"),
                "is missing",
                "write the broker's name, such as broker: default",
            );
            None
        }
    };
    let filter = compile::filter(spec, at, faults);
    let subscriber = match &spec.subscriber {
        Some(subscriber) => target(subscriber, namespace, at.key("subscriber"), faults),
        None => {
            let cure = "say where events go, such as subscriber: {uri: http://127.0.0.1:8081/}";
            faults.add(at.key("subscriber"), "is missing", cure);
            None
        }
    };
    let mut delivery = Delivery::read(
        spec.delivery.as_ref(),
        namespace,
        at.key("delivery"),
        faults,
    );
    let metadata_at = root.key("metadata");
    let annotations_at = metadata_at.key("annotations");
    let annotations =
        Annotations::read(&metadata.annotations, Kind::Trigger, annotations_at, faults);
    annotations.apply(&mut delivery);
    Some(TriggerSays {
        start: annotations.start.unwrap_or_default(),
        paused: annotations.paused.unwrap_or_default(),
        policy: annotations.policy,
        broker: broker?,
        filter: filter?,
        subscriber: subscriber?,
        delivery,
    })
}

pub(super) fn policy_says(
    metadata: &Metadata,
    spec: &DeliveryPolicySpec,
    faults: &mut Faults,
) -> Policy {
    let at = At::ROOT.key("metadata");
    let at = at.key("annotations");
    Annotations::read(&metadata.annotations, Kind::DeliveryPolicy, at, faults);
    Policy::read(spec, At::ROOT.key("spec"), faults)
}

/// Notes what is wrong with a resource and says whether anything is.
pub(super) fn tell(resource: &Resource, faults: Faults, problems: &mut Vec<Problem>) -> bool {
    let wrong = !faults.0.is_empty();
    problems.extend(
        faults
            .0
            .iter()
            .map(|fault: &Fault| at_resource(resource, fault)),
    );
    wrong
}
