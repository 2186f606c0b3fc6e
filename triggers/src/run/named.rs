//! Brokers and triggers together with the policies and Sinks that they name, merged as contract
//! §3 says.

use std::collections::BTreeMap;

use super::broker::Dedup;
use super::delivery::Delivery;
use super::destination::Destination;
use super::name::{BrokerName, TriggerName};
use super::policy::{self, Policy};
use super::refer::{Target, missing, names_in, not_joined};
use super::says::{BrokerSays, TriggerSays, policy_says, tell};
use super::sink;
use super::trigger::{NotReady, Trigger};
use crate::problem::{Faults, Problem};
use crate::written::{Kind, Resource, ResourceKey, Spec};

/// What brokers and triggers name.
#[derive(Default)]
pub(super) struct Named {
    pub(super) policies: BTreeMap<ResourceKey, Policy>,
    pub(super) sinks: BTreeMap<ResourceKey, Destination>,
}

impl Named {
    pub(super) fn of(resources: &[&Resource], problems: &mut Vec<Problem>) -> Named {
        let mut named = Named::default();
        for resource in resources {
            let mut faults = Faults::default();
            match &resource.spec {
                Spec::DeliveryPolicy(spec) => {
                    let policy = policy_says(&resource.metadata, spec, &mut faults);
                    if !tell(resource, faults, problems) {
                        named.policies.entry(resource.key()).or_insert(policy);
                    }
                }
                Spec::Sink(spec) => {
                    let sink = sink::sink(&resource.metadata, spec, &mut faults);
                    let wrong = tell(resource, faults, problems);
                    if let (Some(sink), false) = (sink, wrong) {
                        named.sinks.entry(resource.key()).or_insert(sink);
                    }
                }
                _ => {}
            }
        }
        named
    }

    /// The policy of a name, or that it isn't there.
    pub(super) fn policy(
        &self,
        resource: &Resource,
        name: Option<String>,
        problems: &mut Vec<Problem>,
    ) -> (Option<&Policy>, Option<NotReady>) {
        let Some(name) = name else {
            return (None, None);
        };
        let key = ResourceKey {
            kind: Kind::DeliveryPolicy,
            namespace: resource.metadata.namespace.clone(),
            name,
        };
        let policy = self.policies.get(&key);
        if policy.is_none() {
            let there = names_in(&self.policies, Kind::DeliveryPolicy, &key.namespace);
            problems.push(missing(resource, &key, there));
        }
        let not_ready = policy.is_none().then_some(NotReady::PolicyDoesNotExist);
        (policy, not_ready)
    }

    /// Where a target is, and whether it is there.
    pub(super) fn resolve(
        &self,
        resource: &Resource,
        target: Target,
        problems: &mut Vec<Problem>,
    ) -> (Destination, bool) {
        let (name, relative) = match target {
            Target::Address(destination) => return (destination, true),
            Target::Sink(name, relative) => (name, relative),
        };
        let key = ResourceKey {
            kind: Kind::Sink,
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
        };
        let Some(sink) = self.sinks.get(&key) else {
            let there = names_in(&self.sinks, Kind::Sink, &key.namespace);
            problems.push(missing(resource, &key, there));
            return (Destination::unresolved(name), false);
        };
        match relative.map_or_else(|| Ok(sink.clone()), |relative| relative.onto(sink)) {
            Ok(destination) => (destination, true),
            Err(wrong) => {
                problems.push(not_joined(resource, &name, wrong));
                (Destination::unresolved(name), false)
            }
        }
    }

    pub(super) fn broker(
        &self,
        resource: &Resource,
        said: BrokerSays,
        problems: &mut Vec<Problem>,
    ) -> BrokerTerms {
        let (policy, not_ready) = self.policy(resource, said.policy, problems);
        let dead_letter = said
            .delivery
            .dead_letter
            .clone()
            .map(|target| self.resolve(resource, target, problems));
        BrokerTerms {
            dedup: policy::dedup(said.dedup_window, policy),
            policy: policy
                .map(|policy| policy.delivery.clone())
                .unwrap_or_default(),
            own: said.delivery,
            dead_letter,
            not_ready,
        }
    }

    pub(super) fn trigger(
        &self,
        resource: &Resource,
        parts: TriggerSays,
        broker: BrokerName,
        of_broker: &BrokerTerms,
        problems: &mut Vec<Problem>,
    ) -> Trigger {
        let (policy, no_policy) = self.policy(resource, parts.policy, problems);
        let (subscriber, found) = self.resolve(resource, parts.subscriber, problems);
        let no_subscriber = (!found).then_some(NotReady::SubscriberDoesNotExist);
        let dead_letter = match parts.delivery.dead_letter.clone() {
            Some(target) => Some(self.resolve(resource, target, problems)),
            None => of_broker.dead_letter.clone(),
        };
        let no_dead_letter = dead_letter
            .as_ref()
            .is_some_and(|(_, found)| !found)
            .then_some(NotReady::DeadLetterSinkDoesNotExist);
        let silent = Delivery::default();
        let of_policy = policy.map_or(&silent, |policy| &policy.delivery);
        let mut terms = Delivery::terms(&[
            &parts.delivery,
            of_policy,
            &of_broker.own,
            &of_broker.policy,
        ]);
        let not_ready = no_subscriber
            .or(no_policy)
            .or(of_broker.not_ready)
            .or(no_dead_letter);
        // On other terms than were asked for, or to nowhere, nothing is sent.
        terms.paused = parts.paused || not_ready.is_some();
        Trigger {
            name: TriggerName::new(&*resource.metadata.namespace, &*resource.metadata.name),
            broker,
            filter: parts.filter,
            subscriber,
            dead_letter: dead_letter.map(|(destination, _)| destination),
            terms,
            start: parts.start,
            not_ready,
        }
    }
}

/// What a broker gives its triggers, with what it names.
#[derive(Default)]
pub(super) struct BrokerTerms {
    pub(super) own: Delivery,
    pub(super) policy: Delivery,
    /// Where to, and whether that is there.
    pub(super) dead_letter: Option<(Destination, bool)>,
    pub(super) dedup: Option<Dedup>,
    pub(super) not_ready: Option<NotReady>,
}
