//! Resources as written to what runs: brokers, triggers with merged terms, the node.
//!
//! One resource is first checked by itself, while its tree still knows every line
//! (`check`). [`lower`] then takes all that are in force together; it can be called again
//! at any time with the same result.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::annotations::Annotations;
use super::broker::Broker;
use super::delivery::Delivery;
use super::destination::Destination;
use super::name::{BrokerName, SinkName, TriggerName};
use super::named::{BrokerTerms, Named};
use super::node::{self, Node};
use super::says::{broker_says, policy_says, tell, trigger_says};
use super::sink;
use super::trigger::{NotReady, Trigger};
use crate::problem::{At, Fault, Faults, Problem};
use crate::written::read::at_resource;
use crate::written::{Kind, Metadata, Resource, Spec};
use crate::yaml::nearest::nearest;

/// The broker that exists without being declared, once a trigger names it (DESIGN §5).
pub const DEFAULT_BROKER: &str = "default";

/// All that runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lowered {
    pub brokers: BTreeMap<BrokerName, Broker>,
    /// Those that aren't ready included; see [`Trigger::not_ready`].
    pub triggers: BTreeMap<TriggerName, Trigger>,
    /// Each with its address and how it is spared.
    pub sinks: BTreeMap<SinkName, Destination>,
    pub node: Node,
}

/// Lowers all resources together.
///
/// A resource that is wrong by itself is left out and told; of two with one key the first
/// counts. A trigger whose broker, policy or Sink doesn't exist is kept, not ready, and told as
/// well.
pub fn lower(resources: &[&Resource]) -> (Lowered, Vec<Problem>) {
    let mut problems = Vec::new();
    let node = the_node(resources, &mut problems);
    let named = Named::of(resources, &mut problems);
    let mut says = BTreeMap::new();
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
        if let Entry::Vacant(free) = says.entry(name.clone()) {
            let said = free.insert(named.broker(resource, said, &mut problems));
            brokers.insert(name.clone(), broker(name, true, said));
        }
    }
    let silent = BrokerTerms::default();
    let mut triggers = BTreeMap::new();
    for resource in resources {
        let Spec::Trigger(spec) = &resource.spec else {
            continue;
        };
        let mut faults = Faults::default();
        let parts = trigger_says(&resource.metadata, spec, &mut faults);
        let wrong = tell(resource, faults, &mut problems);
        let (Some(parts), false) = (parts, wrong) else {
            continue;
        };
        let namespace = &*resource.metadata.namespace;
        let broker_name = BrokerName::new(namespace, &*parts.broker);
        if broker_name.name() == DEFAULT_BROKER && !brokers.contains_key(&broker_name) {
            brokers.insert(
                broker_name.clone(),
                broker(broker_name.clone(), false, &silent),
            );
        }
        let no_broker = match brokers.contains_key(&broker_name) {
            true => None,
            false => {
                problems.push(no_broker(resource, &broker_name, &brokers));
                Some(NotReady::BrokerDoesNotExist)
            }
        };
        let of_broker = says.get(&broker_name).unwrap_or(&silent);
        let trigger = named.trigger(resource, parts, broker_name, of_broker, &mut problems);
        triggers
            .entry(trigger.name.clone())
            .or_insert_with(|| Trigger {
                not_ready: no_broker.or(trigger.not_ready),
                ..trigger
            });
    }
    let sinks = named.sinks.into_values().flat_map(|sink| {
        let name = sink.sink()?.clone();
        Some((name, sink))
    });
    (
        Lowered {
            brokers,
            triggers,
            sinks: sinks.collect(),
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
            trigger_says(&resource.metadata, spec, faults);
        }
        Spec::Node(spec) => {
            node_of(&resource.metadata, spec, faults);
        }
        Spec::DeliveryPolicy(spec) => {
            policy_says(&resource.metadata, spec, faults);
        }
        Spec::Sink(spec) => {
            sink::sink(&resource.metadata, spec, faults);
        }
    }
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

fn broker(name: BrokerName, declared: bool, says: &BrokerTerms) -> Broker {
    Broker {
        name,
        declared,
        terms: Delivery::terms(&[&says.own, &says.policy]),
        dead_letter: says.dead_letter.as_ref().map(|(sink, _)| sink.clone()),
        dedup: says.dedup,
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
