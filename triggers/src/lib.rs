//! Who wants which events, on what terms.
//!
//! In reading order: resources **as written** are read from YAML with every mistake collected
//! together with its place and its cure (`yaml`, `written`); they are lowered to what **runs**
//! (`run`: brokers, triggers with their merged terms, the node's settings, filters); the
//! `catalog` keeps what is in force while files change or break; the `index` finds the
//! triggers that want an event.
//!
//! Everything is pure but [`files`], which reads folders. Nothing here sends, stores, sleeps
//! or asks for the time.

pub mod attributes;
pub mod catalog;
pub mod duration;
pub mod files;
pub mod index;
pub mod moment;
pub mod problem;
pub mod quantity;
pub mod run;
pub mod written;
mod yaml;

pub use attributes::Attributes;
pub use catalog::{Catalog, Change, Counts};
pub use index::Index;
pub use problem::{Place, Problem, Report};
pub use run::broker::{Broker, Dedup};
pub use run::destination::{Destination, DestinationKey};
pub use run::filter::Filter;
pub use run::health::{Adaptive, Breaker, Health, RetryBudget, SuccessRate, Warmup};
pub use run::lower::{Lowered, lower};
pub use run::name::{BrokerName, SinkName, TriggerName};
pub use run::node::Node;
pub use run::terms::{
    Backoff, BackoffPolicy, BlockedKey, Classify, Format, OnQuota, Ordering, Replies, Terms,
};
pub use run::trigger::{NotReady, Start, Trigger};
pub use written::{Kind, Resource, ResourceKey};
