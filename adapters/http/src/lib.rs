//! CloudEvents over HTTP: a [`source`] that takes events in, and a [`sink`] that delivers them.
//!
//! Both run on a worker's current-thread runtime, inside a `LocalSet`: nothing here is shared
//! between threads but a few counters. The broker's words (`Refusal`, `Answer`) are turned into
//! HTTP's, and back, in one exhaustive `match` each: `source::refused` and `sink::answer`.

pub mod sink;
pub mod source;
