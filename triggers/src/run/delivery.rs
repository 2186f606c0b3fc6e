//! What is said about deliveries, in `spec.delivery` and in annotations: each value read, none
//! defaulted, so that a trigger's and its broker's can be merged (contract §3).

use std::time::Duration;

use super::destination::Destination;
use super::terms::{Backoff, BackoffPolicy, Format, Replies, Terms};
use crate::duration;
use crate::problem::{At, Faults, Wrong};
use crate::written::delivery as written;
use crate::written::node::TextOrNumber;

/// The most requests one trigger may have under way: the node's own cap (DESIGN §3).
pub(crate) const MAX_IN_FLIGHT_MAX: u32 = 4096;

/// The words of `replies`.
pub(crate) const REPLIES: [(&str, Replies); 3] = [
    ("lenient", Replies::Lenient),
    ("strict", Replies::Strict),
    ("dapr", Replies::Dapr),
];

/// The words of a switch.
pub(crate) const SWITCH: [(&str, bool); 2] = [("off", false), ("on", true)];

/// The shortest waits and timeouts: anything shorter would be a hot loop.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// What one resource says about deliveries. `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) dead_letter: Option<Destination>,
    retry: Option<u32>,
    policy: Option<BackoffPolicy>,
    delay: Option<Duration>,
    max: Option<Duration>,
    timeout: Option<Duration>,
    retry_after_max: Option<Duration>,
    format: Option<Format>,
    pub(crate) jitter: Option<bool>,
    pub(crate) replies: Option<Replies>,
    pub(crate) max_in_flight: Option<u32>,
}

impl Delivery {
    /// Reads the fields, which stand at `at`, noting what is wrong.
    pub(crate) fn read(
        written: Option<&written::Delivery>,
        at: At<'_>,
        faults: &mut Faults,
    ) -> Delivery {
        let Some(written) = written else {
            return Delivery::default();
        };
        let mut duration_of = |name: &str, text: Option<&TextOrNumber>, least: Duration| {
            let text = &text?.0;
            let read = duration::parse(text).and_then(|value| match value {
                value if value < least => {
                    let cure = format!("it must be at least {}", duration::iso(least));
                    Err(Wrong::new(format!("is {text}"), cure))
                }
                value => Ok(value),
            });
            faults.take(at.key(name), read)
        };
        let delay = duration_of("backoffDelay", written.backoff_delay.as_ref(), WAIT_MIN);
        let max = duration_of("backoffMax", written.backoff_max.as_ref(), WAIT_MIN);
        let timeout = duration_of("timeout", written.timeout.as_ref(), WAIT_MIN);
        let retry_after_max = duration_of(
            "retryAfterMax",
            written.retry_after_max.as_ref(),
            Duration::ZERO,
        );
        if let (Some(delay), Some(max)) = (delay, max)
            && max < delay
        {
            let found = format!("is {}", duration::iso(max));
            let cure = format!(
                "it must be at least backoffDelay, which is {}",
                duration::iso(delay)
            );
            faults.add(at.key("backoffMax"), found, cure);
        }
        Delivery {
            dead_letter: written
                .dead_letter_sink
                .as_ref()
                .and_then(|sink| destination(sink, at.key("deadLetterSink"), faults)),
            retry: written
                .retry
                .and_then(|retry| faults.take(at.key("retry"), retries(retry))),
            policy: written.backoff_policy.as_deref().and_then(|text| {
                let choices = [
                    ("linear", BackoffPolicy::Linear),
                    ("exponential", BackoffPolicy::Exponential),
                ];
                faults.take(at.key("backoffPolicy"), choice(text, &choices))
            }),
            delay,
            max,
            timeout,
            retry_after_max,
            format: written.format.as_deref().and_then(|text| {
                let choices = [("json", Format::Json), ("binary", Format::Binary)];
                faults.take(at.key("format"), choice(text, &choices))
            }),
            ..Delivery::default()
        }
    }

    /// The terms of a trigger that says `self`, of a broker that says `broker`.
    ///
    /// `retry`, `backoffPolicy` and `backoffDelay`: the trigger's, gaps filled from the
    /// broker, then the defaults; every other field alone the same way (contract §3).
    pub(crate) fn terms(&self, broker: &Delivery) -> Terms {
        let retry = self.retry.or(broker.retry);
        Terms {
            retry,
            backoff: Backoff {
                policy: self.policy.or(broker.policy).unwrap_or_default(),
                delay: self.delay.or(broker.delay).unwrap_or(Backoff::DELAY),
                max: self.max.or(broker.max).unwrap_or(Backoff::MAX),
                jitter: self.jitter.or(broker.jitter).unwrap_or(true),
            },
            timeout: self.timeout.or(broker.timeout).unwrap_or(Terms::TIMEOUT),
            retry_after_max: self
                .retry_after_max
                .or(broker.retry_after_max)
                .unwrap_or(Terms::RETRY_AFTER_MAX),
            // Who wrote retry gets Knative's patience instead (contract §2).
            event_age_max: retry.is_none().then_some(Terms::EVENT_AGE_MAX),
            max_in_flight: self
                .max_in_flight
                .or(broker.max_in_flight)
                .unwrap_or(Terms::MAX_IN_FLIGHT),
            replies: self.replies.or(broker.replies).unwrap_or_default(),
            format: self.format.or(broker.format).unwrap_or_default(),
            ..Terms::default()
        }
    }
}

/// An address that must be there.
pub(crate) fn destination(
    written: &written::Destination,
    at: At<'_>,
    faults: &mut Faults,
) -> Option<Destination> {
    match &written.uri {
        Some(uri) => faults.take(at.key("uri"), Destination::parse(uri)),
        None => {
            faults.add(
                at.key("uri"),
                "is missing",
                "write an address such as uri: http://127.0.0.1:8081/",
            );
            None
        }
    }
}

fn retries(retry: i64) -> Result<u32, Wrong> {
    // Knative's field is an int32.
    u32::try_from(retry)
        .ok()
        .filter(|retry| i32::try_from(*retry).is_ok())
        .ok_or_else(|| {
            Wrong::new(
                format!("is {retry}"),
                "it must be a whole number from 0 to 2147483647",
            )
        })
}

/// The value that a word stands for.
pub(crate) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
    match choices.iter().find(|(name, _)| *name == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            Err(Wrong::new(
                format!("is {text:?}"),
                format!("write {}", or(&names)),
            ))
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(crate) fn or(names: &[&str]) -> String {
    match names {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        names => names.concat(),
    }
}
