//! What one resource names of others: its DeliveryPolicy and its Sinks.

use std::collections::BTreeMap;

use super::delivery::MISSING_ADDRESS;
use super::destination::Destination;
use super::join::Relative;
use super::name::{SinkName, check_name, check_namespace};
use crate::problem::{At, Fault, Faults, Problem, Wrong};
use crate::written::delivery::{self as written, Reference};
use crate::written::read::at_resource;
use crate::written::{Kind, Metadata, Resource, ResourceKey, Spec, WEFT_V1ALPHA1};
use crate::yaml::nearest::nearest;

/// The most names among which the one that was meant is looked for.
const MEANT_AMONG_MAX: usize = 1000;

/// Where events go, as one resource says it: what a Sink's address is, others know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Address(Destination),
    /// A Sink's address, or one that is written relative to it.
    Sink(SinkName, Option<Relative>),
}

/// Reads an address or a reference that must be there, of a resource in `namespace`.
pub(crate) fn target(
    written: &written::Destination,
    namespace: &str,
    at: At<'_>,
    faults: &mut Faults,
) -> Option<Target> {
    match (&written.uri, &written.reference) {
        (Some(uri), None) => faults
            .take(at.key("uri"), Destination::parse(uri))
            .map(Target::Address),
        (uri, Some(reference)) => {
            let sink = sink_name(reference, namespace, at.key("ref"), faults);
            let relative = match uri {
                Some(uri) => Some(faults.take(at.key("uri"), Relative::parse(uri))?),
                None => None,
            };
            Some(Target::Sink(sink?, relative))
        }
        (None, None) => {
            faults.add(at, "has no uri", MISSING_ADDRESS);
            None
        }
    }
}

fn sink_name(
    written: &Reference,
    namespace: &str,
    at: At<'_>,
    faults: &mut Faults,
) -> Option<SinkName> {
    match written.kind.as_deref() {
        Some("Sink") => {}
        None => {
            faults.add(at.key("kind"), "is missing", "write kind: Sink");
            return None;
        }
        Some(_) => {
            let cure = "without Kubernetes nothing resolves it: write the address, such as uri: http://127.0.0.1:8081/";
            faults.add(at, "is not supported by this version", cure);
            return None;
        }
    }
    let cure = || format!("a Sink's is {WEFT_V1ALPHA1}");
    match written.api_version.as_deref() {
        Some(WEFT_V1ALPHA1) => {}
        None => faults.add(at.key("apiVersion"), "is missing", cure()),
        Some(other) => faults.add(at.key("apiVersion"), format!("is {other:?}"), cure()),
    }
    let namespace = match &written.namespace {
        Some(other) => {
            faults.take(at.key("namespace"), check_namespace(other))?;
            other
        }
        None => namespace,
    };
    match &written.name {
        Some(name) => faults
            .take(at.key("name"), check_name(name))
            .map(|()| SinkName::new(namespace, &**name)),
        None => {
            faults.add(at.key("name"), "is missing", "write the Sink's name");
            None
        }
    }
}

/// The DeliveryPolicy and Sinks that a resource names, whether or not they are there. What is
/// wrong by itself names nothing.
pub fn references(resource: &Resource) -> Vec<ResourceKey> {
    let (delivery, subscriber) = match &resource.spec {
        Spec::Broker(spec) => (&spec.delivery, None),
        Spec::Trigger(spec) => (&spec.delivery, spec.subscriber.as_ref()),
        Spec::DeliveryPolicy(_) | Spec::Sink(_) | Spec::Node(_) => return Vec::new(),
    };
    let Metadata {
        namespace,
        annotations,
        ..
    } = &resource.metadata;
    let policy = annotations.get("weft.dev/policy").map(|name| ResourceKey {
        kind: Kind::DeliveryPolicy,
        namespace: namespace.clone(),
        name: name.clone(),
    });
    let dead_letter = delivery
        .as_ref()
        .and_then(|delivery| delivery.dead_letter_sink.as_ref());
    let sinks = [subscriber, dead_letter]
        .into_iter()
        .flatten()
        .filter_map(|destination| destination.reference.as_ref())
        .filter(|reference| reference.kind.as_deref() == Some("Sink"))
        .filter_map(|reference| {
            Some(ResourceKey {
                kind: Kind::Sink,
                namespace: reference.namespace.as_ref().unwrap_or(namespace).clone(),
                name: reference.name.clone()?,
            })
        });
    policy.into_iter().chain(sinks).collect()
}

/// That a resource names one that isn't there; `there` are the names in that namespace.
pub(crate) fn missing<'a>(
    resource: &Resource,
    named: &ResourceKey,
    there: impl Iterator<Item = &'a str>,
) -> Problem {
    let there: Vec<&str> = there.take(MEANT_AMONG_MAX).collect();
    let declare = format!(
        "declare a {} {} in the namespace {}",
        named.kind, named.name, named.namespace
    );
    let cure = match nearest(&named.name, &there) {
        Some(near) => format!("did you mean {near}? Otherwise {declare}"),
        None => declare,
    };
    let fault = Fault {
        steps: Vec::new(),
        found: String::new(),
        cure,
    };
    let mut problem = at_resource(resource, &fault);
    problem.message = format!(
        "{} names the {} {}/{}, which does not exist ({})",
        resource.key(),
        named.kind,
        named.namespace,
        named.name,
        match named.kind {
            Kind::DeliveryPolicy => "PolicyDoesNotExist",
            _ => "SinkDoesNotExist",
        }
    );
    problem
}

/// That what a resource writes beside `ref` and the Sink's address make none together.
pub(crate) fn not_joined(resource: &Resource, sink: &SinkName, wrong: Wrong) -> Problem {
    let fault = Fault {
        steps: Vec::new(),
        found: String::new(),
        cure: wrong.cure,
    };
    let mut problem = at_resource(resource, &fault);
    problem.message = format!(
        "the address that {} makes of the Sink {sink} {}",
        resource.key(),
        wrong.found
    );
    problem
}

/// The names of `kind` in `namespace`.
pub(crate) fn names_in<'a, V>(
    resources: &'a BTreeMap<ResourceKey, V>,
    kind: Kind,
    namespace: &'a str,
) -> impl Iterator<Item = &'a str> {
    let first = ResourceKey {
        kind,
        namespace: namespace.to_owned(),
        name: String::new(),
    };
    resources
        .range(first..)
        .map(|(key, _)| key)
        .take_while(move |key| key.kind == kind && key.namespace == namespace)
        .map(|key| &*key.name)
}
