//! What is said about deliveries, in `spec.delivery` and in annotations: each value read, none
//! defaulted, so that a trigger's and its broker's can be merged (contract §3).

use std::time::Duration;

use super::bounds::{WAIT_MIN, span};
use super::refer::{Target, target};
use super::terms::{Backoff, BackoffPolicy, Classify, Format, OnQuota, Ordering, Replies, Terms};
use crate::duration::{self, DURATION_MAX};
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

/// What to write where an address is missing.
pub(crate) const MISSING_ADDRESS: &str = "write an address such as uri: http://127.0.0.1:8081/";

/// The words of a switch.
pub(crate) const SWITCH: [(&str, bool); 2] = [("off", false), ("on", true)];

/// What one resource says about deliveries. `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) dead_letter: Option<Target>,
    pub(crate) retry: Option<u32>,
    pub(crate) policy: Option<BackoffPolicy>,
    pub(crate) delay: Option<Duration>,
    pub(crate) max: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry_after_max: Option<Duration>,
    pub(crate) format: Option<Format>,
    pub(crate) jitter: Option<bool>,
    pub(crate) replies: Option<Replies>,
    pub(crate) max_in_flight: Option<u32>,
    pub(crate) event_age_max: Option<Duration>,
    pub(crate) classify: Option<Classify>,
    pub(crate) ordering: Option<Ordering>,
    pub(crate) on_quota: Option<OnQuota>,
}

impl Delivery {
    /// Reads the fields, which stand at `at`, noting what is wrong.
    pub(crate) fn read(
        written: Option<&written::Delivery>,
        namespace: &str,
        at: At<'_>,
        faults: &mut Faults,
    ) -> Delivery {
        let Some(written) = written else {
            return Delivery::default();
        };
        let mut duration_of = |name: &str, text: Option<&TextOrNumber>, least: Duration| {
            span(at.key(name), text, least..=DURATION_MAX, faults)
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
                .and_then(|sink| target(sink, namespace, at.key("deadLetterSink"), faults)),
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

    /// The terms that `layers` come to, the one that wins first: a trigger's own, its policy's,
    /// its broker's own, its broker's policy's. Each field is that of the first that says it, else
    /// the default (contract §3).
    pub(crate) fn terms(layers: &[&Delivery]) -> Terms {
        fn first<T: Clone>(layers: &[&Delivery], of: fn(&Delivery) -> &Option<T>) -> Option<T> {
            layers.iter().find_map(|layer| of(layer).clone())
        }
        let retry = first(layers, |layer| &layer.retry);
        // Who wrote retry gets Knative's patience instead of the default age; an age that is
        // written holds beside it (contract §2).
        let event_age_max = first(layers, |layer| &layer.event_age_max)
            .or_else(|| retry.is_none().then_some(Terms::EVENT_AGE_MAX));
        Terms {
            retry,
            backoff: Backoff {
                policy: first(layers, |layer| &layer.policy).unwrap_or_default(),
                delay: first(layers, |layer| &layer.delay).unwrap_or(Backoff::DELAY),
                max: first(layers, |layer| &layer.max).unwrap_or(Backoff::MAX),
                jitter: first(layers, |layer| &layer.jitter).unwrap_or(true),
            },
            timeout: first(layers, |layer| &layer.timeout).unwrap_or(Terms::TIMEOUT),
            retry_after_max: first(layers, |layer| &layer.retry_after_max)
                .unwrap_or(Terms::RETRY_AFTER_MAX),
            event_age_max,
            max_in_flight: first(layers, |layer| &layer.max_in_flight)
                .unwrap_or(Terms::MAX_IN_FLIGHT),
            replies: first(layers, |layer| &layer.replies).unwrap_or_default(),
            classify: first(layers, |layer| &layer.classify).unwrap_or_default(),
            ordering: first(layers, |layer| &layer.ordering),
            paused: false,
            on_quota: first(layers, |layer| &layer.on_quota).unwrap_or_default(),
            format: first(layers, |layer| &layer.format).unwrap_or_default(),
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
