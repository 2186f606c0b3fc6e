//! What runs: resources with every value read, checked, defaulted and merged.

pub mod annotations;
mod bounds;
pub mod broker;
mod compile;
mod delivery;
pub mod destination;
pub mod filter;
pub mod health;
mod join;
pub mod lower;
pub mod name;
mod named;
pub mod node;
mod policy;
pub mod refer;
mod says;
mod sink;
pub mod terms;
pub mod trigger;
