//! How much of its patience a delivery has used, where its trigger wrote `retry` (contract §2).
//! Pure.
//!
//! Patience is the whole nominal schedule. It runs while attempts fail and while the destination's
//! breaker is open: a wait between attempts costs what the schedule says, without its jitter, and
//! a wait for the breaker costs what it takes. Time in the air, and in any queue, costs nothing:
//! slowness alone kills nothing.

use std::time::Duration;

use triggers::{Backoff, Terms};

/// What a delivery with `attempts` behind it has used once it is due again, and has then been
/// `held` by the breaker.
pub fn spent(backoff: &Backoff, attempts: u32, held: Duration) -> Duration {
    let mut waited = held;
    for retry in 1..=attempts {
        let wait = backoff.nominal(retry);
        if wait == backoff.max {
            // From here on all are equal.
            return waited.saturating_add(wait.saturating_mul(attempts - retry + 1));
        }
        waited = waited.saturating_add(wait);
    }
    waited
}

/// How long a delivery that is due, or hasn't been attempted (`attempts` is 0), may still be held
/// by the breaker. Zero: it is exhausted. `None`: nobody wrote `retry`.
pub fn left(terms: &Terms, attempts: u32, held: Duration) -> Option<Duration> {
    let patience = terms.patience()?;
    // What its own schedule takes, it is given: only being held can exhaust it early.
    if held.is_zero() {
        return Some(
            patience
                .saturating_sub(spent(&terms.backoff, attempts, held))
                .max(Duration::from_millis(1)),
        );
    }
    Some(patience.saturating_sub(spent(&terms.backoff, attempts, held)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knative() -> Terms {
        Terms {
            retry: Some(10),
            event_age_max: None,
            ..Terms::default()
        }
    }

    #[test]
    fn a_schedule_uses_up_its_own_patience_and_no_more() {
        let terms = knative();
        let all = Duration::from_millis(204_600);
        assert_eq!(spent(&terms.backoff, 10, Duration::ZERO), all);
        assert_eq!(
            spent(&terms.backoff, 3, Duration::ZERO),
            Duration::from_millis(1_400)
        );
        assert!(
            left(&terms, 10, Duration::ZERO) > Some(Duration::ZERO),
            "its last retry is made"
        );
        assert_eq!(
            left(&terms, 10, Duration::from_millis(1)),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn being_held_uses_what_it_takes() {
        let terms = knative();
        let held = Duration::from_secs(100);
        assert_eq!(left(&terms, 0, held), Some(Duration::from_millis(104_600)));
        assert_eq!(left(&terms, 1, held), Some(Duration::from_millis(104_400)));
        assert_eq!(left(&terms, 0, 3 * held), Some(Duration::ZERO));
    }

    #[test]
    fn who_wrote_no_retry_has_no_end_of_patience() {
        assert_eq!(
            left(&Terms::default(), 3, Duration::from_secs(1_000_000)),
            None
        );
    }

    #[test]
    fn a_capped_schedule_of_thousands_is_summed_at_once() {
        let terms = Terms {
            retry: Some(u32::MAX),
            ..knative()
        };
        let spent = spent(&terms.backoff, 1_000_000, Duration::ZERO);
        assert!(spent > Duration::from_secs(299_000_000));
    }
}
