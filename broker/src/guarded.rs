//! Work on an event that must not end the process: a panic in it is caught and told.
//!
//! A panic ends the thread it happens on, and with it the node. Where it can be told which event it
//! was, that event bears the consequence instead: a filter that panics makes its delivery end as
//! poison, a sink that panics makes its attempt fail. The panic itself is a bug of ours, is logged as
//! an error, and counted by where it happened: `Panics`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// The work in which a panic is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caught {
    /// Finding out by the index which triggers want an event. Its filters are then judged one by
    /// one.
    Index,
    /// Judging one filter by itself. Its delivery ends as poison.
    Filter,
    /// Reading what is owed. The delivery ends as unreadable.
    Load,
    /// Sending. The attempt has failed.
    Send,
}

impl Caught {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Caught; 4] = [Caught::Index, Caught::Filter, Caught::Load, Caught::Send];

    /// The label of metrics.
    pub fn word(self) -> &'static str {
        match self {
            Caught::Index => "index",
            Caught::Filter => "filter",
            Caught::Load => "load",
            Caught::Send => "send",
        }
    }
}

/// Panics caught since the process started. Each is a bug of ours.
#[derive(Debug, Default)]
pub(crate) struct Panics([AtomicU64; Caught::ALL.len()]);

impl Panics {
    /// Does `work`; when it panics, counts that and returns what it said.
    ///
    /// # Errors
    ///
    /// The panic's message.
    pub(crate) fn guarded<T>(&self, caught: Caught, work: impl FnOnce() -> T) -> Result<T, String> {
        // Whatever the work was changing is dropped with it, or cleared before it is used again.
        catch_unwind(AssertUnwindSafe(work)).map_err(|panic| self.count(caught, &*panic))
    }

    /// Counts a panic that was caught elsewhere, and returns what it said.
    pub(crate) fn count(&self, caught: Caught, panic: &(dyn Any + Send)) -> String {
        self.0[caught as usize].fetch_add(1, Ordering::Relaxed);
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "a panic without a message".to_owned())
    }

    /// How many there were, in the order of [`Caught::ALL`].
    pub(crate) fn counts(&self) -> [u64; Caught::ALL.len()] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_and_counted() {
        let panics = Panics::default();
        let count = [1, 2].len() + 5;
        assert_eq!(panics.guarded(Caught::Load, || count), Ok(7));
        let index: Result<u8, _> = panics.guarded(Caught::Load, || [1, 2][count]);
        assert_eq!(
            index,
            Err("index out of bounds: the len is 2 but the index is 7".to_owned())
        );
        let text: Result<u8, _> = panics.guarded(Caught::Send, || panic!("no"));
        assert_eq!(text, Err("no".to_owned()));
        assert_eq!(panics.counts(), [0, 0, 1, 1]);
    }
}
