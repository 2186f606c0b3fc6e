//! What the tests of the whole are made with.
//!
//! [`World`] runs the engine in process, with paused time, scripted sinks and a disk that loses
//! power on demand; the [`ledger`] writes down what was acknowledged and settles at the end. For
//! tests of what the disk does to a data folder there are [`data`], its files as bytes, and
//! [`mod@format`], which reads them by the document alone. For
//! tests of the real program there is [`node`], which starts `weft`, and [`http`], which talks to
//! it and listens for it.
//!
//! A scenario reads as its own explanation: the builder says who wants what and how functions
//! answer, then events are published, and [`World::check`] compares what came of each.

pub mod beside;
pub mod chance;
pub mod clock;
pub mod data;
pub mod format;
pub mod fuzz;
pub mod http;
pub mod ledger;
pub mod logbook;
pub mod node;
pub mod proof;
pub mod script;
pub mod sinks;
mod table;
pub mod want;
pub mod world;

pub use chance::Seed;
pub use script::{
    Script, after, always, garbles, hangs, refuses_connection, replies, replies_with, resets, times,
};
pub use want::{Terms, everything, terms, ty};
pub use world::{World, event, order_placed};
