//! Resources as written to what runs: brokers, triggers with merged terms, the node.
//!
//! One resource is first checked by itself, while its tree still knows every line
//! (`check`). [`lower`] then takes all that are in force together; it can be called again
//! at any time with the same result.

use std::collections::BTreeMap;

use super::annotations::Annotations;
use super::broker::{Broker, Dedup};
use super::compile;
use super::delivery::{self, Delivery};
use super::destination::Destination;
use super::filter::Filter;
use super::name::{BrokerName, TriggerName, check_name};
use super::node::{self, Node};
use super::trigger::{NotReady, Start, Trigger};
use crate::problem::{At, Fault, Faults, Problem};
use crate::written::read::at_resource;
use crate::written::{BrokerSpec, Kind, Metadata, Resource, Spec, TriggerSpec};
use crate::yaml::nearest::nearest;

/// The broker that exists without being declared, once a trigger names it (DESIGN §5).
pub const DEFAULT_BROKER: &str = "default";

/// All that runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lowered {
    pub brokers: BTreeMap<BrokerName, Broker>,
    /// Those that aren't ready included; see [`Trigger::not_ready`].
    pub triggers: BTreeMap<TriggerName, Trigger>,
    pub node: Node,
}

/// Lowers all resources together.
///
/// A resource that is wrong by itself is left out and told; of two with one key the first
/// counts. A trigger whose broker doesn't exist is kept, not ready, and told as well.
pub fn lower(resources: &[&Resource]) -> (Lowered, Vec<Problem>) {
    let mut problems = Vec::new();
    let node = the_node(resources, &mut problems);
    let mut deliveries = BTreeMap::new();
    let mut brokers = BTreeMap::new();
    for resource in resources {
        let Spec::Broker(spec) = &resource.spec else {
            continue;
        };
        let mut faults = Faults::default();
        let said = broker_says(&resource.metadata, spec, &mut faults);
        if tell(resource, faults, &mut problems) {
            continue;
        }
        let name = BrokerName::new(&*resource.metadata.namespace, &*resource.metadata.name);
        brokers.entry(name.clone()).or_insert_with(|| Broker {
            dedup: said.dedup,
            ..broker(name.clone(), true, &said.delivery, &node)
        });
        deliveries.entry(name).or_insert(said.delivery);
    }
    let mut triggers = BTreeMap::new();
    for resource in resources {
        let Spec::Trigger(spec) = &resource.spec else {
            continue;
        };
        let mut faults = Faults::default();
        let parts = trigger_parts(&resource.metadata, spec, &mut faults);
        let wrong = tell(resource, faults, &mut problems);
        let (Some(parts), false) = (parts, wrong) else {
            continue;
        };
        let namespace = &*resource.metadata.namespace;
        let broker_name = BrokerName::new(namespace, parts.broker);
        if broker_name.name() == DEFAULT_BROKER && !brokers.contains_key(&broker_name) {
            let silent = Delivery::default();
            brokers.insert(
                broker_name.clone(),
                broker(broker_name.clone(), false, &silent, &node),
            );
        }
        let not_ready = match brokers.contains_key(&broker_name) {
            true => None,
            false => {
                problems.push(no_broker(resource, &broker_name, &brokers));
                Some(NotReady::BrokerDoesNotExist)
            }
        };
        let silent = Delivery::default();
        let of_broker = deliveries.get(&broker_name).unwrap_or(&silent);
        let name = TriggerName::new(namespace, &*resource.metadata.name);
        let mut terms = parts.delivery.terms(of_broker);
        terms.paused = parts.paused;
        triggers.entry(name.clone()).or_insert_with(|| Trigger {
            name,
            broker: broker_name,
            filter: parts.filter,
            subscriber: parts.subscriber,
            terms,
            dead_letter: parts
                .delivery
                .dead_letter
                .or_else(|| of_broker.dead_letter.clone()),
            start: parts.start,
            not_ready,
        });
    }
    (
        Lowered {
            brokers,
            triggers,
            node,
        },
        problems,
    )
}

/// Checks one resource by itself.
pub(crate) fn check(resource: &Resource, faults: &mut Faults) {
    match &resource.spec {
        Spec::Broker(spec) => {
            broker_says(&resource.metadata, spec, faults);
        }
        Spec::Trigger(spec) => {
            trigger_parts(&resource.metadata, spec, faults);
        }
        Spec::Node(spec) => {
            node_of(&resource.metadata, spec, faults);
        }
    }
}

/// Notes what is wrong with a resource and says whether anything is.
fn tell(resource: &Resource, faults: Faults, problems: &mut Vec<Problem>) -> bool {
    let wrong = !faults.0.is_empty();
    problems.extend(
        faults
            .0
            .iter()
            .map(|fault: &Fault| at_resource(resource, fault)),
    );
    wrong
}

fn the_node(resources: &[&Resource], problems: &mut Vec<Problem>) -> Node {
    let mut first: Option<(&Resource, Node)> = None;
    for resource in resources {
        let Spec::Node(spec) = &resource.spec else {
            continue;
        };
        if let Some((other, _)) = &first {
            let other = match &other.place {
                Some(place) => format!("{} at {place}", other.key()),
                None => other.key().to_string(),
            };
            let fault = Fault {
                steps: Vec::new(),
                found: format!("is a second Node beside {other}"),
                cure: "a node has one: remove one of them".to_owned(),
            };
            problems.push(at_resource(resource, &fault));
            continue;
        }
        let mut faults = Faults::default();
        let node = node_of(&resource.metadata, spec, &mut faults);
        if !tell(resource, faults, problems) {
            first = Some((resource, node));
        }
    }
    first.map(|(_, node)| node).unwrap_or_default()
}

fn node_of(
    metadata: &Metadata,
    spec: &crate::written::node::NodeSpec,
    faults: &mut Faults,
) -> Node {
    let at = At::ROOT.key("metadata");
    let annotations_at = at.key("annotations");
    Annotations::read(&metadata.annotations, Kind::Node, annotations_at, faults);
    node::node(spec, At::ROOT.key("spec"), faults)
}

fn broker(name: BrokerName, declared: bool, delivery: &Delivery, node: &Node) -> Broker {
    Broker {
        name,
        declared,
        terms: delivery.terms(&Delivery::default()),
        dead_letter: delivery.dead_letter.clone(),
        dedup: None,
        event_bytes_max: node.limits.event_bytes,
    }
}

fn no_broker(
    resource: &Resource,
    name: &BrokerName,
    brokers: &BTreeMap<BrokerName, Broker>,
) -> Problem {
    let there: Vec<&str> = brokers
        .keys()
        .filter(|other| other.namespace() == name.namespace())
        .map(BrokerName::name)
        .collect();
    let declare = format!("declare a Broker {}, or write broker: default", name.name());
    let cure = match nearest(name.name(), &there) {
        Some(near) => format!("did you mean {near}? Otherwise {declare}"),
        None => declare,
    };
    let fault = Fault {
        steps: Vec::new(),
        found: format!(
            "{} names the broker {name}, which does not exist (BrokerDoesNotExist)",
            resource.key()
        ),
        cure,
    };
    let mut problem = at_resource(resource, &fault);
    problem.message = fault.found;
    problem
}

/// What a broker says by itself.
struct BrokerSays {
    delivery: Delivery,
    dedup: Option<Dedup>,
}

fn broker_says(metadata: &Metadata, spec: &BrokerSpec, faults: &mut Faults) -> BrokerSays {
    let at = At::ROOT.key("spec");
    let mut delivery = Delivery::read(spec.delivery.as_ref(), at.key("delivery"), faults);
    let at = At::ROOT.key("metadata");
    let at = at.key("annotations");
    let annotations = Annotations::read(&metadata.annotations, Kind::Broker, at, faults);
    annotations.apply(&mut delivery);
    let dedup = annotations
        .dedup_window
        .filter(|window| !window.is_zero())
        .map(|window| Dedup {
            window,
            entries_max: Dedup::ENTRIES_MAX,
        });
    BrokerSays { delivery, dedup }
}

/// What a trigger says by itself.
struct TriggerParts {
    broker: String,
    filter: Filter,
    subscriber: Destination,
    delivery: Delivery,
    start: Start,
    paused: bool,
}

fn trigger_parts(
    metadata: &Metadata,
    spec: &TriggerSpec,
    faults: &mut Faults,
) -> Option<TriggerParts> {
    let root = At::ROOT;
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
        Some(subscriber) => delivery::destination(subscriber, at.key("subscriber"), faults),
        None => {
            let cure = "say where events go, such as subscriber: {uri: http://127.0.0.1:8081/}";
            faults.add(at.key("subscriber"), "is missing", cure);
            None
        }
    };
    let mut delivery = Delivery::read(spec.delivery.as_ref(), at.key("delivery"), faults);
    let metadata_at = root.key("metadata");
    let annotations_at = metadata_at.key("annotations");
    let annotations =
        Annotations::read(&metadata.annotations, Kind::Trigger, annotations_at, faults);
    annotations.apply(&mut delivery);
    Some(TriggerParts {
        start: annotations.start.unwrap_or_default(),
        paused: annotations.paused.unwrap_or_default(),
        broker: broker?,
        filter: filter?,
        subscriber: subscriber?,
        delivery,
    })
}
