//! What follows an attempt. Pure: the lane owns the clock and gives the jitter.
//!
//! The status table is contract §2, from "Event Acknowledgement and Delivery Retry" in the
//! Knative eventing data plane specification.

use std::time::Duration;

use triggers::{Replies, Terms};

use crate::answer::{Answer, Reply};
use crate::records::Cause;

/// What to do with a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// It was delivered.
    Settle,
    /// Try again, not before this long from now.
    RetryAfter(Duration),
    /// It ends in the dead letters.
    GiveUp(Cause),
}

/// How much jitter adds at the most, as a share of the delay. Upwards only, so that a schedule
/// covers at least the outage that Knative's would (contract §2).
const JITTER_SHARE_MAX: f64 = 0.5;

/// Decides what follows attempt number `attempt`, counted from 1.
///
/// `age` is how long ago the event was stored, `chance` is uniform in 0..1 and is the jitter's
/// only source.
pub fn next_step(terms: &Terms, attempt: u32, age: Duration, answer: &Answer, chance: f64) -> Next {
    debug_assert!(1 <= attempt);
    match answer {
        Answer::Took(Reply::Ignored { .. }) if terms.replies == Replies::Strict => {
            retry_or_give_up(terms, attempt, age, None, chance)
        }
        Answer::Took(_) => Next::Settle,
        // A function that is still busy with an earlier attempt says 409, one that isn't
        // deployed yet 404: later, not no.
        Answer::Said { status: 404 | 408 | 409 | 429 | 500.., retry_after } => {
            // Only 429 and 503 carry a Retry-After that counts.
            let wait = if matches!(answer, Answer::Said { status: 429 | 503, .. }) {
                *retry_after
            } else {
                None
            };
            retry_or_give_up(terms, attempt, age, wait, chance)
        }
        // The destination understood and declined. Asking again would only repeat the refusal.
        Answer::Said { .. } => Next::GiveUp(Cause::Refused),
        Answer::Garbled { .. } | Answer::TimedOut | Answer::Unreachable(_) => {
            retry_or_give_up(terms, attempt, age, None, chance)
        }
    }
}

fn retry_or_give_up(
    terms: &Terms,
    attempt: u32,
    age: Duration,
    wait: Option<Duration>,
    chance: f64,
) -> Next {
    if terms.retry.is_some_and(|retries| attempt > retries) {
        return Next::GiveUp(Cause::Exhausted);
    }
    let delay = backoff(terms, attempt, chance);
    let asked = wait.unwrap_or_default().min(terms.retry_after_max);
    let delay = delay.max(asked);
    match terms.event_age_max {
        Some(age_max) if age >= age_max => Next::GiveUp(Cause::Expired),
        // The last attempt comes no later than the event's end: at that time it expires.
        Some(age_max) => Next::RetryAfter(delay.min(age_max - age)),
        None => Next::RetryAfter(delay),
    }
}

/// The wait after attempt `attempt`: as the policy says, capped, then jittered upwards.
fn backoff(terms: &Terms, attempt: u32, chance: f64) -> Duration {
    let nominal = terms.backoff.nominal(attempt);
    let share = if terms.backoff.jitter { 1.0 + JITTER_SHARE_MAX * chance } else { 1.0 };
    nominal.mul_f64(share).max(RETRY_DELAY_MIN)
}

/// No policy hot-loops, whatever it says (contract §2).
pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(10);
