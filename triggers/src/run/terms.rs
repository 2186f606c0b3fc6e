//! On what terms a delivery is attempted again, and when it is given up (contract §2).

use std::time::Duration;

/// How long a trigger's deliveries are tried and how they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Retries after the first attempt, where the trigger or its broker wrote `retry`. `None`
    /// means that nobody did: attempts go on until [`Terms::event_age_max`].
    pub retry: Option<u32>,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// How long one attempt may take. Default PT30S.
    pub timeout: Duration,
    /// The longest `Retry-After` that is heeded; zero ignores them. Default PT5M.
    pub retry_after_max: Duration,
    /// The age at which a delivery is given up as expired: PT24H, or `None` where `retry` was
    /// written, whose schedule then is the limit.
    pub event_age_max: Option<Duration>,
    /// Requests of this trigger under way at once. Default 100.
    pub max_in_flight: u32,
    /// What a success means whose body isn't an event.
    pub replies: Replies,
    /// Statuses that are judged otherwise than contract §2 says.
    pub classify: Classify,
    /// Whether events of one key keep their order. Default none.
    pub ordering: Option<Ordering>,
    /// Whether nothing is sent until it is resumed: the annotation `weft.dev/paused`.
    pub paused: bool,
    /// What gives way when this trigger's backlog is the largest and space is short.
    pub on_quota: OnQuota,
    /// In which form events are sent.
    pub format: Format,
}

impl Terms {
    /// How long attempts may fail before the delivery is given up, where `retry` was written: its
    /// whole nominal schedule, without jitter. `None` where nobody wrote it (contract §2).
    pub fn patience(&self) -> Option<Duration> {
        let retries = self.retry?;
        // From the first wait at the cap on all are equal; before it there are at most 32, or as
        // many as linear steps fit under the cap.
        let mut total = Duration::ZERO;
        for retry in 1..=retries {
            let wait = self.backoff.nominal(retry);
            if wait == self.backoff.max {
                let left = retries - retry + 1;
                return Some(total.saturating_add(wait.saturating_mul(left)));
            }
            total = total.saturating_add(wait);
        }
        Some(total)
    }

    pub const TIMEOUT: Duration = Duration::from_secs(30);
    pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);
    pub const EVENT_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
    pub const MAX_IN_FLIGHT: u32 = 100;
}

/// The terms of a trigger that writes none, of a broker that writes none.
impl Default for Terms {
    fn default() -> Terms {
        Terms {
            retry: None,
            backoff: Backoff::default(),
            timeout: Terms::TIMEOUT,
            retry_after_max: Terms::RETRY_AFTER_MAX,
            event_age_max: Some(Terms::EVENT_AGE_MAX),
            max_in_flight: Terms::MAX_IN_FLIGHT,
            replies: Replies::default(),
            classify: Classify::default(),
            ordering: None,
            paused: false,
            on_quota: OnQuota::default(),
            format: Format::default(),
        }
    }
}

/// Statuses that a policy judges otherwise than contract §2. Both are sorted and share none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classify {
    /// Failures that are retried though the contract calls them final.
    pub retry_on: Box<[u16]>,
    /// Failures that are final though the contract retries them.
    pub retry_never: Box<[u16]>,
}

/// First in, first out for events that share a key (GUARANTEES 14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordering {
    /// The attribute whose value is the key. An event without it is not ordered.
    pub by: Box<str>,
    /// What becomes of a key's later events while an earlier one fails.
    pub blocked_key: BlockedKey,
}

/// What becomes of a key's later events when one of its deliveries fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockedKey {
    /// They wait until it is delivered or dead.
    #[default]
    Retry,
    /// Once it is dead, those that waited end as dead letters too, cause `blocked`.
    DeadLetter,
}

/// What gives way when space is short (DESIGN §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnQuota {
    /// Payloads of its dead letters first, then its oldest owed events.
    #[default]
    DiscardOldest,
    /// Nothing: its broker refuses new events.
    Refuse,
}

/// The waits between attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// How waits grow. Default exponential.
    pub policy: BackoffPolicy,
    /// The first wait. Never zero. Default PT0.2S.
    pub delay: Duration,
    /// The longest wait before jitter. Default PT5M.
    pub max: Duration,
    /// Whether a wait is lengthened by up to half of itself, at random. Default on.
    pub jitter: bool,
}

impl Backoff {
    pub const DELAY: Duration = Duration::from_millis(200);
    pub const MAX: Duration = Duration::from_secs(5 * 60);

    /// The wait before retry `retry`, counted from 1, without jitter: `retry × delay` or
    /// `delay × 2^(retry-1)`, at most `max`.
    pub fn nominal(&self, retry: u32) -> Duration {
        debug_assert!(1 <= retry);
        let factor = match self.policy {
            BackoffPolicy::Linear => Some(retry),
            BackoffPolicy::Exponential => 1u32.checked_shl(retry.saturating_sub(1)),
        };
        factor
            .and_then(|factor| self.delay.checked_mul(factor))
            .map_or(self.max, |wait| wait.min(self.max))
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            policy: BackoffPolicy::default(),
            delay: Backoff::DELAY,
            max: Backoff::MAX,
            jitter: true,
        }
    }
}

/// How waits grow from retry to retry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackoffPolicy {
    Linear,
    #[default]
    Exponential,
}

/// What a 2xx means whose body doesn't claim to be a CloudEvent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// Delivered; the body is ignored.
    #[default]
    Lenient,
    /// Failed, as Knative's brokers have it.
    Strict,
    /// A JSON object with `status` `SUCCESS`, `RETRY` or `DROP`, as Dapr's functions answer, is
    /// obeyed; any other body is ignored.
    Dapr,
}

/// In which form events are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// In the mode they came in.
    #[default]
    AsItCame,
    /// Structured, as JSON.
    Json,
    /// Binary.
    Binary,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_their_policy_up_to_the_cap() {
        let waits = |policy| {
            let backoff = Backoff {
                policy,
                ..Backoff::default()
            };
            [1, 2, 3, 10, 11, 12, 40, u32::MAX].map(|retry| backoff.nominal(retry).as_millis())
        };
        assert_eq!(
            waits(BackoffPolicy::Exponential),
            [200, 400, 800, 102_400, 204_800, 300_000, 300_000, 300_000]
        );
        assert_eq!(
            waits(BackoffPolicy::Linear),
            [200, 400, 600, 2000, 2200, 2400, 8000, 300_000]
        );
    }

    /// Contract §2: Knative's defaults are patient for 204.6 s.
    #[test]
    fn the_schedule_of_knatives_defaults() {
        let backoff = Backoff::default();
        let patience: Duration = (1..=10).map(|retry| backoff.nominal(retry)).sum();
        assert_eq!(patience, Duration::from_millis(204_600));
    }
}
