//! Whether an event may come in: does its broker exist, is it within the limits. Pure but for
//! one pointer, the brokers in force, which the router swaps when a change takes effect.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use event::Batch;
use triggers::BrokerName;

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
}

impl Admission {
    /// Replaces the brokers in force.
    pub(crate) fn open_for(&self, brokers: impl IntoIterator<Item = BrokerFacts>) {
        let brokers = brokers
            .into_iter()
            .map(|facts| (facts.name.clone(), Arc::new(facts)));
        self.brokers.store(Arc::new(brokers.collect()));
    }

    /// The broker of that name.
    pub(crate) fn broker(&self, name: &BrokerName) -> Result<Arc<BrokerFacts>, Refusal> {
        let brokers = self.brokers.load();
        brokers
            .get(name)
            .cloned()
            .ok_or_else(|| Refusal::NoSuchBroker(name.clone()))
    }

    /// Checks each event's size against its broker's limit.
    pub(crate) fn admit(&self, to: &BrokerFacts, batch: &Batch) -> Result<(), Refusal> {
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
