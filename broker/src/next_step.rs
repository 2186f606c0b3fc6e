//! What follows an attempt. Pure: the lane owns the clock and gives the jitter.
//!
//! The status table is contract §2, from "Event Acknowledgement and Delivery Retry" in the
//! Knative eventing data plane specification.

use std::time::Duration;

use triggers::{Classify, Replies, Terms};

use crate::answer::{Answer, Nack, Reply};
use crate::records::Cause;

/// What to do with a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// It was delivered.
    Settle,
    /// Try again, not before this long from now.
    RetryAfter(Duration),
    /// The attempt doesn't count: make it again, not before this long from now.
    AgainAfter(Duration),
    /// It ends in the dead letters.
    GiveUp(Cause),
    /// It ends as cancelled: the function said to drop it.
    Drop,
}

/// What came before the answer that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// The attempt's number, counted from 1.
    pub attempt: u32,
    /// How often this delivery was declined by `Weft-Nack`.
    pub nacks: u32,
    /// How long until the event expires; `None` when it doesn't, or when the clock can't be
    /// believed.
    pub left: Option<Duration>,
}

/// How much jitter adds at the most, as a share of the delay. Upwards only, so that a schedule
/// covers at least the outage that Knative's would (contract §2).
const JITTER_SHARE_MAX: f64 = 0.5;

/// The first wait after `Weft-Nack: retry`; each further one is twice as long, up to the policy's
/// longest (GUARANTEES 7).
pub const NACK_DELAY_FIRST: Duration = Duration::from_secs(1);

/// Decides what follows an attempt. `chance` is uniform in 0..1 and is the jitter's only source.
pub fn next_step(terms: &Terms, before: Before, answer: &Answer, chance: f64) -> Next {
    debug_assert!(1 <= before.attempt);
    match answer {
        Answer::Declined { nack, .. } => declined(terms, before, *nack, chance),
        Answer::Took(Reply::Ignored { .. }) if terms.replies == Replies::Strict => {
            retry_or_give_up(terms, before, None, chance)
        }
        // Ingress would refuse it for good, so the function isn't called again for it.
        Answer::Took(Reply::TooLarge { .. }) => Next::GiveUp(Cause::Reply),
        Answer::Took(_) => Next::Settle,
        Answer::Said {
            status,
            retry_after,
        } => {
            if !is_passing(&terms.classify, *status) {
                // The destination understood and declined. Asking again would only repeat the
                // refusal.
                return Next::GiveUp(Cause::Refused);
            }
            let wait = asked_for(*status, *retry_after);
            retry_or_give_up(terms, before, wait, chance)
        }
        Answer::Garbled { .. } | Answer::TimedOut | Answer::Unreachable(_) => {
            retry_or_give_up(terms, before, None, chance)
        }
    }
}

/// Whether a failure's status passes with time: by the policy's word, else by contract §2. A
/// function that is still busy with an earlier attempt says 409, one that isn't deployed yet 404:
/// later, not no.
fn is_passing(classify: &Classify, status: u16) -> bool {
    if classify.retry_never.contains(&status) {
        return false;
    }
    classify.retry_on.contains(&status) || matches!(status, 404 | 408 | 409 | 429 | 500..)
}

/// The `Retry-After` of an answer, if it counts: only 429 and 503 may ask (contract §2).
pub fn asked_for(status: u16, retry_after: Option<Duration>) -> Option<Duration> {
    retry_after.filter(|_| matches!(status, 429 | 503))
}

fn declined(terms: &Terms, before: Before, nack: Nack, chance: f64) -> Next {
    let after = match nack {
        Nack::Drop => return Next::Drop,
        Nack::Retry { after } => after,
    };
    let doubled = 1u32.checked_shl(before.nacks).unwrap_or(u32::MAX);
    let nominal = NACK_DELAY_FIRST
        .saturating_mul(doubled)
        .min(terms.backoff.max);
    let delay = jittered(terms, nominal.max(NACK_DELAY_FIRST), chance);
    let asked = after.unwrap_or_default().min(terms.retry_after_max);
    within(before.left, delay.max(asked), Next::AgainAfter)
}

fn retry_or_give_up(terms: &Terms, before: Before, wait: Option<Duration>, chance: f64) -> Next {
    if terms.retry.is_some_and(|retries| before.attempt > retries) {
        return Next::GiveUp(Cause::Exhausted);
    }
    let delay = backoff(terms, before.attempt, chance);
    let asked = wait.unwrap_or_default().min(terms.retry_after_max);
    within(before.left, delay.max(asked), Next::RetryAfter)
}

/// The last attempt comes no later than the event's end: at that time it expires.
fn within(left: Option<Duration>, delay: Duration, next: fn(Duration) -> Next) -> Next {
    match left {
        Some(Duration::ZERO) => Next::GiveUp(Cause::Expired),
        Some(left) => next(delay.min(left)),
        None => next(delay),
    }
}

/// The wait after attempt `attempt`: as the policy says, capped, then jittered upwards.
fn backoff(terms: &Terms, attempt: u32, chance: f64) -> Duration {
    jittered(terms, terms.backoff.nominal(attempt), chance).max(RETRY_DELAY_MIN)
}

fn jittered(terms: &Terms, nominal: Duration, chance: f64) -> Duration {
    if terms.backoff.jitter {
        nominal.mul_f64(1.0 + JITTER_SHARE_MAX * chance)
    } else {
        nominal
    }
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

    fn at(attempt: u32) -> Before {
        Before {
            attempt,
            nacks: 0,
            left: None,
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
            let next = next_step(terms, at(attempt), answer, 0.0);
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
            let next = next_step(&terms(), at(1), &said(status), 0.0);
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
        let step = |age| {
            let before = Before {
                left: Some(day.saturating_sub(age)),
                ..at(1_000)
            };
            next_step(&terms, before, &said(503), 0.0)
        };
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
        let wait = |chance| next_step(&terms, at(1), &said(503), chance);
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
        let next = next_step(&deaf, at(1), &asks(429, 7), 0.0);
        assert_eq!(
            next,
            Next::RetryAfter(Duration::from_secs(1)),
            "zero ignores it"
        );
    }

    #[test]
    fn strict_replies_fail_what_lenient_ones_ignore() {
        let ignored = Answer::Took(Reply::Ignored { status: 200 });
        let step = |terms: &Terms| next_step(terms, at(1), &ignored, 0.0);
        assert_eq!(step(&terms()), Next::Settle);
        let strict = Terms {
            replies: Replies::Strict,
            ..terms()
        };
        assert_eq!(step(&strict), Next::RetryAfter(Duration::from_secs(1)));
    }

    #[test]
    fn a_reply_that_is_too_large_is_not_asked_for_again() {
        let too_large = Answer::Took(Reply::TooLarge {
            status: 200,
            why: "the reply is larger than 9 bytes".to_owned(),
        });
        let next = next_step(&terms(), at(1), &too_large, 0.0);
        assert_eq!(next, Next::GiveUp(Cause::Reply));
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

    /// GUARANTEES 4: a policy's word beats the contract's, each status by itself.
    #[test]
    fn a_policy_may_judge_a_status_otherwise() {
        let terms = Terms {
            classify: Classify {
                retry_on: [302, 402, 425].into(),
                retry_never: [404, 501].into(),
            },
            ..terms()
        };
        for status in 100..=999 {
            let next = next_step(&terms, at(1), &said(status), 0.0);
            let passing = match status {
                302 | 402 | 425 => true,
                404 | 501 => false,
                _ => matches!(status, 408 | 409 | 429 | 500..),
            };
            assert_eq!(matches!(next, Next::RetryAfter(_)), passing, "{status}");
            assert_eq!(next == Next::GiveUp(Cause::Refused), !passing, "{status}");
        }
    }

    #[test]
    fn a_nack_waits_longer_each_time_and_burns_nothing() {
        let waits = |after: Option<Duration>| {
            [0, 1, 2, 8, 9, 40].map(|nacks| {
                let before = Before { nacks, ..at(1) };
                let declined = Answer::Declined {
                    status: 200,
                    nack: Nack::Retry { after },
                };
                // As if no retry were left: it needs none.
                let terms = Terms {
                    retry: Some(0),
                    ..terms()
                };
                match next_step(&terms, before, &declined, 0.0) {
                    Next::AgainAfter(wait) => wait.as_secs(),
                    other => panic!("{other:?}"),
                }
            })
        };
        assert_eq!(waits(None), [1, 2, 4, 256, 300, 300]);
        let asked = waits(Some(Duration::from_secs(7)));
        assert_eq!(asked, [7, 7, 7, 256, 300, 300]);
        let dropped = Answer::Declined {
            status: 503,
            nack: Nack::Drop,
        };
        assert_eq!(next_step(&terms(), at(1), &dropped, 0.0), Next::Drop);
    }
}
