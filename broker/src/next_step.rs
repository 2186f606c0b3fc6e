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
        Answer::Said {
            status: 404 | 408 | 409 | 429 | 500..,
            retry_after,
        } => {
            // Only 429 and 503 carry a Retry-After that counts.
            let wait = if matches!(
                answer,
                Answer::Said {
                    status: 429 | 503,
                    ..
                }
            ) {
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
    let share = if terms.backoff.jitter {
        1.0 + JITTER_SHARE_MAX * chance
    } else {
        1.0
    };
    nominal.mul_f64(share).max(RETRY_DELAY_MIN)
}

/// No policy hot-loops, whatever it says (contract §2).
pub const RETRY_DELAY_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use triggers::{Backoff, BackoffPolicy};

    use super::*;

    fn terms() -> Terms {
        let backoff = Backoff {
            delay: Duration::from_secs(1),
            jitter: false,
            ..Backoff::default()
        };
        Terms {
            retry: Some(2),
            event_age_max: None,
            backoff,
            ..Terms::default()
        }
    }

    fn said(status: u16) -> Answer {
        Answer::Said {
            status,
            retry_after: None,
        }
    }

    #[track_caller]
    fn check(terms: &Terms, answers: &[Answer], expect: Expect) {
        let step = |(attempt, answer): (u32, &Answer)| {
            let next = next_step(terms, attempt, Duration::ZERO, answer, 0.0);
            format!("{answer:?} -> {next:?}")
        };
        let steps: Vec<String> = (1..).zip(answers).map(step).collect();
        expect.assert_eq(&steps.join("\n"));
    }

    #[test]
    fn a_silent_destination_is_given_up_after_the_last_attempt() {
        check(
            &terms(),
            &[
                said(503),
                Answer::TimedOut,
                Answer::Unreachable("connection refused".into()),
            ],
            expect![[r#"
                Said { status: 503, retry_after: None } -> RetryAfter(1s)
                TimedOut -> RetryAfter(2s)
                Unreachable("connection refused") -> GiveUp(Exhausted)"#]],
        );
    }

    #[test]
    fn each_status_is_final_or_passing_as_the_contract_says() {
        for status in 100..=999 {
            let next = next_step(&terms(), 1, Duration::ZERO, &said(status), 0.0);
            let passing = matches!(status, 404 | 408 | 409 | 429 | 500..);
            assert_eq!(matches!(next, Next::RetryAfter(_)), passing, "{status}");
            assert_eq!(next == Next::GiveUp(Cause::Refused), !passing, "{status}");
        }
    }

    #[test]
    fn without_a_written_retry_it_is_tried_until_it_is_too_old() {
        let day = Duration::from_secs(24 * 3600);
        let terms = Terms {
            retry: None,
            event_age_max: Some(day),
            ..terms()
        };
        let step = |age| next_step(&terms, 1_000, age, &said(503), 0.0);
        assert_eq!(
            step(Duration::ZERO),
            Next::RetryAfter(Duration::from_secs(300))
        );
        let last = day - Duration::from_secs(7);
        assert_eq!(
            step(last),
            Next::RetryAfter(Duration::from_secs(7)),
            "no later than its end"
        );
        assert_eq!(step(day), Next::GiveUp(Cause::Expired));
    }

    #[test]
    fn jitter_only_lengthens_by_up_to_a_half() {
        let mut terms = terms();
        terms.backoff.jitter = true;
        let wait = |chance| next_step(&terms, 1, Duration::ZERO, &said(503), chance);
        assert_eq!(wait(0.0), Next::RetryAfter(Duration::from_secs(1)));
        assert_eq!(wait(0.5), Next::RetryAfter(Duration::from_millis(1250)));
        assert!(matches!(wait(0.999), Next::RetryAfter(d) if d < Duration::from_millis(1500)));
    }

    #[test]
    fn a_wait_that_is_asked_for_counts_on_429_and_503_up_to_the_cap() {
        let asks = |status, seconds| Answer::Said {
            status,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        check(
            &Terms {
                retry: Some(9),
                ..terms()
            },
            &[asks(429, 7), asks(503, 7), asks(500, 7), asks(429, 3_600)],
            expect![[r#"
                Said { status: 429, retry_after: Some(7s) } -> RetryAfter(7s)
                Said { status: 503, retry_after: Some(7s) } -> RetryAfter(7s)
                Said { status: 500, retry_after: Some(7s) } -> RetryAfter(4s)
                Said { status: 429, retry_after: Some(3600s) } -> RetryAfter(300s)"#]],
        );
        let deaf = Terms {
            retry_after_max: Duration::ZERO,
            ..terms()
        };
        let next = next_step(&deaf, 1, Duration::ZERO, &asks(429, 7), 0.0);
        assert_eq!(
            next,
            Next::RetryAfter(Duration::from_secs(1)),
            "zero ignores it"
        );
    }

    #[test]
    fn strict_replies_fail_what_lenient_ones_ignore() {
        let ignored = Answer::Took(Reply::Ignored { status: 200 });
        let step = |terms: &Terms| next_step(terms, 1, Duration::ZERO, &ignored, 0.0);
        assert_eq!(step(&terms()), Next::Settle);
        let strict = Terms {
            replies: Replies::Strict,
            ..terms()
        };
        assert_eq!(step(&strict), Next::RetryAfter(Duration::from_secs(1)));
    }

    #[test]
    fn linear_backoff_grows_by_its_delay() {
        let mut terms = Terms {
            retry: Some(9),
            ..terms()
        };
        terms.backoff.policy = BackoffPolicy::Linear;
        check(
            &terms,
            &[said(500), said(500), said(500)],
            expect![[r#"
                Said { status: 500, retry_after: None } -> RetryAfter(1s)
                Said { status: 500, retry_after: None } -> RetryAfter(2s)
                Said { status: 500, retry_after: None } -> RetryAfter(3s)"#]],
        );
    }
}
