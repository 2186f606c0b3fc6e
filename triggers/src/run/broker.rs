//! A broker as run.

use std::time::Duration;

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
    /// Whether an event that comes again is dropped. Default none.
    pub dedup: Option<Dedup>,
}

/// An event whose `source` and `id` were seen before is stored and not delivered (GUARANTEES 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// How long one is remembered.
    pub window: Duration,
    /// How many are remembered; at the bound the oldest are forgotten. Default 1,000,000.
    pub entries_max: u32,
}

impl Dedup {
    pub const ENTRIES_MAX: u32 = 1_000_000;
}
