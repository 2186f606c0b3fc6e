//! A broker as run.

use super::destination::Destination;
use super::name::BrokerName;
use super::terms::Terms;

/// Where events are sent to, and the defaults of its triggers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub name: BrokerName,
    /// Whether a resource declares it. A `default` broker that a trigger names exists anyway.
    pub declared: bool,
    /// The terms of its triggers that write none.
    pub terms: Terms,
    /// Where its triggers' failed deliveries go, unless a trigger names its own.
    pub dead_letter: Option<Destination>,
    /// The largest event it takes: the node's `limits.eventBytes`.
    pub event_bytes_max: u64,
}
