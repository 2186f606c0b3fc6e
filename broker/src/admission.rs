//! Whether an event may come in: does its broker exist, is it within the limits. Pure but for
//! one pointer to the brokers in force, which the router swaps when a change takes effect; and one to
//! those that refuse, which the keeper swaps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use event::Batch;
use triggers::{BrokerName, TriggerName};

use crate::ingress::Refusal;

/// What the door needs to know of a broker.
#[derive(Debug, Clone)]
pub struct BrokerFacts {
    /// Its name.
    pub name: BrokerName,
    /// Its number in the log: the tag of its events' records.
    pub number: u32,
    /// The largest event it takes, in bytes as sent (default 1 MiB, contract §1).
    pub event_bytes_max: usize,
}

/// Decides what may come in.
#[derive(Debug, Default)]
pub struct Admission {
    brokers: ArcSwap<HashMap<BrokerName, Arc<BrokerFacts>>>,
    /// Brokers that refuse, each for a trigger that is over its share of the storage.
    refused: ArcSwap<BTreeMap<BrokerName, TriggerName>>,
}

impl Admission {
    /// Replaces the brokers in force.
    pub(crate) fn open_for(&self, brokers: impl IntoIterator<Item = BrokerFacts>) {
        let brokers = brokers
            .into_iter()
            .map(|facts| (facts.name.clone(), Arc::new(facts)));
        self.brokers.store(Arc::new(brokers.collect()));
    }

    /// Replaces the brokers that refuse.
    pub(crate) fn refuse(&self, refused: BTreeMap<BrokerName, TriggerName>) {
        self.refused.store(Arc::new(refused));
    }

    /// The broker of that name.
    pub(crate) fn broker(&self, name: &BrokerName) -> Result<Arc<BrokerFacts>, Refusal> {
        let brokers = self.brokers.load();
        brokers
            .get(name)
            .cloned()
            .ok_or_else(|| Refusal::NoSuchBroker(name.clone()))
    }

    /// Checks that the broker doesn't refuse, and each event's size against its limit.
    pub(crate) fn admit(&self, to: &BrokerFacts, batch: &Batch) -> Result<(), Refusal> {
        if let Some(trigger) = self.refused.load().get(&to.name) {
            return Err(Refusal::Quota {
                broker: to.name.clone(),
                trigger: trigger.clone(),
            });
        }
        for event in &batch.events {
            let got = event.as_ref().wire_len();
            if got > to.event_bytes_max {
                let (broker, limit) = (to.name.clone(), to.event_bytes_max);
                return Err(Refusal::TooLarge { broker, got, limit });
            }
        }
        Ok(())
    }
}
