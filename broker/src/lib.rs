//! The engine: what happens to an event between the door and its end.
//!
//! In reading order: an event enters through [`ingress`], the one door, past [`admission`], and
//! is stored by [`log`]. The [`router`] matches it and says who is owed it. A [`worker`] turns
//! its [`lane`]s, sends through a [`sink`], and [`next_step`] decides what follows each
//! [`answer`]. What ended is in the [`books`]; what ended badly in the [`dead_letters`]. The
//! [`fold`] finds all of it again after a restart: the [`keeper`] runs it behind the log, writes
//! what it finds to the [`view`], and copies to [`kept`] what is still needed when its segment
//! goes.
//!
//! The broker opens no socket and reads no clock but the one it is given.

pub mod ad_hoc;
pub mod admission;
pub mod again;
pub mod answer;
pub mod books;
mod careful;
mod dapr;
pub mod dead_letters;
pub mod dedup;
pub mod delete;
pub mod destination;
pub mod engine;
pub mod fold;
pub mod guarded;
pub mod histogram;
mod in_the_air;
pub mod ingress;
pub mod jobs;
pub mod keeper;
pub mod kept;
pub mod keys;
pub mod lane;
pub mod letter_query;
pub mod limits;
pub mod log;
pub mod next_step;
pub mod owed;
mod pace;
pub mod patience;
pub mod pauses;
pub mod pausing;
mod poison;
pub mod records;
pub mod redrive;
mod registrar;
pub mod registry;
pub mod replay;
pub mod report;
pub mod rng;
pub mod router;
mod seek;
pub mod sidecar;
pub mod sink;
pub mod steady;
mod store;
pub mod time;
pub mod trace;
pub mod view;
pub mod worker;

pub use answer::{Answer, Attempted, Nack, Reply};
pub use engine::{Engine, Opened, Setup};
pub use ingress::{Ingress, Receipt, Refusal};
pub use journal::{Clock, WallTime};
pub use keeper::{Keeper, Progress};
pub use limits::Limits;
pub use router::Router;
pub use sink::{Request, Sink};
pub use worker::Worker;

/// Why a part of the engine ended. Each means that the node can't keep its promises: it drains
/// and exits.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A write or sync failed, or the log was closed.
    #[error("the log has stopped")]
    LogStopped,
    /// The disk couldn't be read.
    #[error("the log can't be read")]
    LogUnreadable,
    /// A worker has ended.
    #[error("a worker has ended")]
    WorkerGone,
    /// A record of ours doesn't read back.
    #[error(transparent)]
    Malformed(records::Malformed),
    /// What is still needed can't be kept, or the view not written.
    #[error("what must be kept can't be: {0}")]
    NotKept(String),
    /// A resource in the log doesn't read back.
    #[error(transparent)]
    Unreadable(registry::Unreadable),
}
