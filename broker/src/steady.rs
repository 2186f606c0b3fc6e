//! Whether the wall clock can be believed. It and the monotonic clock are compared: after a step
//! of the one against the other nothing expires or is deleted for a while, so that a wrong clock
//! (or a machine that slept) can be put right before it costs an event (DESIGN §4).
//!
//! A process that starts has nothing to compare with: a step from before its start can't be told from
//! time that it was down. Then a retry waits no longer than it was told, but may come sooner.

use std::sync::Mutex;
use std::time::Duration;

use journal::{Clock, WallTime};

/// A step longer than this is one; what is shorter is a clock being corrected.
pub const STEP_MIN: Duration = Duration::from_secs(60);

/// For how long nothing expires or is deleted after a step.
pub const UNSURE_TIME: Duration = Duration::from_secs(600);

/// Compares the two clocks. Shared by all who end something for its age.
#[derive(Debug, Default)]
pub struct Steady(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Wall time less monotonic time, in ms, when last looked.
    difference: Option<i64>,
    /// By the monotonic clock.
    unsure_until: Option<Duration>,
}

impl Steady {
    /// Looks at both clocks, and says whether what is too old may end: nothing may for
    /// [`UNSURE_TIME`] after a step. To be asked each time before something ends, and now and
    /// then, so that slow corrections don't add up to a step.
    pub fn may_delete(&self, clock: &dyn Clock) -> bool {
        let (WallTime(wall), monotonic) = (clock.wall(), clock.monotonic());
        let of = |ms: u128| i64::try_from(ms).unwrap_or(i64::MAX);
        let difference = of(u128::from(wall)) - of(monotonic.as_millis());
        let mut seen = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = seen.difference.replace(difference).unwrap_or(difference);
        let step_ms = difference - before;
        if u128::from(step_ms.unsigned_abs()) > STEP_MIN.as_millis() {
            tracing::warn!(
                step_seconds = step_ms / 1000,
                unsure_seconds = UNSURE_TIME.as_secs(),
                "the wall clock stepped: nothing expires or is deleted for a while"
            );
            seen.unsure_until = Some(monotonic + UNSURE_TIME);
        }
        seen.unsure_until.is_none_or(|until| until <= monotonic)
    }

    /// How long nothing may end yet, after the last look.
    pub fn unsure_for(&self, clock: &dyn Clock) -> Option<Duration> {
        let seen = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let left = seen.unsure_until?.checked_sub(clock.monotonic())?;
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Hands {
        wall_ms: AtomicI64,
        monotonic_ms: AtomicU64,
    }

    impl Hands {
        fn pass(&self, ms: u64) {
            self.wall_ms.fetch_add(ms as i64, Ordering::Relaxed);
            self.monotonic_ms.fetch_add(ms, Ordering::Relaxed);
        }
    }

    impl Clock for Hands {
        fn wall(&self) -> WallTime {
            WallTime(self.wall_ms.load(Ordering::Relaxed) as u64)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.monotonic_ms.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_step_either_way_stops_all_ends_for_ten_minutes() {
        for step_seconds in [3600, -3600, 15 * 86_400, -15 * 86_400, 61, -61] {
            let clock = Hands::default();
            clock.pass(1_000_000_000_000);
            let steady = Steady::default();
            assert!(steady.may_delete(&clock));
            clock
                .wall_ms
                .fetch_add(step_seconds * 1000, Ordering::Relaxed);
            assert!(!steady.may_delete(&clock), "{step_seconds}");
            clock.pass(599_000);
            assert!(!steady.may_delete(&clock), "{step_seconds}");
            assert_eq!(steady.unsure_for(&clock), Some(Duration::from_secs(1)));
            clock.pass(1_000);
            assert!(steady.may_delete(&clock), "{step_seconds}");
            assert_eq!(steady.unsure_for(&clock), None);
        }
    }

    #[test]
    fn small_corrections_are_no_step_however_many() {
        let clock = Hands::default();
        clock.pass(1_000_000_000_000);
        let steady = Steady::default();
        for _ in 0..100 {
            clock.wall_ms.fetch_add(59_000, Ordering::Relaxed);
            assert!(steady.may_delete(&clock));
        }
    }
}
