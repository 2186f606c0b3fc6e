//! What runs: resources with every value read, checked, defaulted and merged.

pub mod annotations;
pub mod broker;
mod compile;
mod delivery;
pub mod destination;
pub mod filter;
pub mod health;
pub mod lower;
pub mod name;
pub mod node;
pub mod terms;
pub mod trigger;
