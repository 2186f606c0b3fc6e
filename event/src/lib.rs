//! The CloudEvent and its wire forms: pure, and byte-preserving.
//!
//! Nothing here does I/O, reads a clock or waits. An event is decoded once into its *stored
//! form* ([`stored`]), one run of bytes that the log keeps and that [`EventRef`] reads in place,
//! without parsing. What a sender wrote is never rewritten: data bytes, attribute text, JSON
//! key order, whitespace, big numbers and escapes leave as they came. An attribute is added to
//! or taken from a JSON event by splicing its text, which is why this crate has a JSON scanner
//! of its own and no model of JSON values.
//!
//! What it doesn't do: judge who may publish, or what an event means.

mod check;
pub mod compose;
mod error;
mod event;
pub mod http;
mod json;
pub mod name;
mod splice;
pub mod stored;
mod structured;
mod time;
mod value;

pub use error::{DecodeError, Kind, Place, StoredError};
pub use event::{Attributes, Batch, Event, EventRef, Mode, SpecVersion};
pub use value::{Data, Value};

/// Deepest nesting of JSON that is read or written, the event's own object counted as 1.
/// Deeper JSON is refused, never followed.
pub const JSON_DEPTH_MAX: usize = 64;
