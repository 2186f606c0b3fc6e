//! How many bytes of request bodies the node holds at once, over all its workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of bodies that may be in the air, from the first byte read until the event is
/// stored. Over it requests are refused with 503: a slow disk must not become a full memory
/// (GUARANTEES 21).
#[derive(Debug)]
pub struct IngestBudget {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl IngestBudget {
    /// The default bound, 64 MiB.
    pub const BYTES_MAX_DEFAULT: usize = 64 * 1024 * 1024;

    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            bytes_max,
        })
    }

    /// The bytes in the air now, for `/metrics`.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A permit for nothing yet; it grows as the body is read.
    pub(super) fn permit(self: &Arc<Self>) -> Permit {
        Permit {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// Bytes taken from the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    budget: Arc<IngestBudget>,
    bytes: usize,
}

impl Permit {
    /// Takes `more` bytes, or nothing and says so.
    #[must_use]
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let before = self.budget.bytes.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.budget.bytes_max {
            self.budget.bytes.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = IngestBudget::new(10);
        let (mut one, mut two) = (budget.permit(), budget.permit());
        assert!(one.grow(6));
        assert!(!two.grow(5));
        assert!(two.grow(4));
        assert_eq!(budget.bytes(), 10);
        drop(one);
        assert!(two.grow(6));
        drop(two);
        assert_eq!(budget.bytes(), 0);
    }
}
