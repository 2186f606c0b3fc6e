//! A DeliveryPolicy as run: a layer of terms between a trigger's own and its broker's.

use std::time::Duration;

use super::bounds::{span, whole};
use super::broker::Dedup;
use super::compile::is_attribute_name;
use super::delivery::{Delivery, MAX_IN_FLIGHT_MAX, REPLIES, SWITCH, choice};
use super::terms::{BlockedKey, Classify, OnQuota, Ordering};
use crate::duration::DURATION_MAX;
use crate::problem::{At, Faults};
use crate::written::policy as written;

/// An event younger than this can't have been tried yet.
const EVENT_AGE_MIN: Duration = Duration::from_secs(1);

/// The longest that a node remembers which events came: as long as it keeps them for replay.
const DEDUP_WINDOW_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The most events that a node remembers: 16 bytes each.
pub(crate) const DEDUP_ENTRIES_MAX: u32 = 100_000_000;

/// What a DeliveryPolicy says. `None` where it is silent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) delivery: Delivery,
    pub(crate) dedup_window: Option<Duration>,
    pub(crate) dedup_entries: Option<u32>,
}

impl Policy {
    /// Reads a `spec`, which stands at `at`, noting what is wrong.
    pub(crate) fn read(
        spec: &written::DeliveryPolicySpec,
        at: At<'_>,
        faults: &mut Faults,
    ) -> Policy {
        let word = |text: &Option<String>| text.clone();
        let delivery = Delivery {
            event_age_max: span(
                at.key("maxEventAge"),
                spec.max_event_age.as_ref(),
                EVENT_AGE_MIN..=DURATION_MAX,
                faults,
            ),
            max_in_flight: whole(
                at.key("maxInFlight"),
                spec.max_in_flight,
                1..=MAX_IN_FLIGHT_MAX,
                faults,
            ),
            jitter: word(&spec.jitter)
                .and_then(|text| faults.take(at.key("jitter"), choice(&text, &SWITCH))),
            replies: word(&spec.replies)
                .and_then(|text| faults.take(at.key("replies"), choice(&text, &REPLIES))),
            ordering: spec
                .ordering
                .as_ref()
                .and_then(|written| ordering(written, at.key("ordering"), faults)),
            classify: spec
                .retry
                .as_ref()
                .and_then(|written| classify(written, at.key("retry"), faults)),
            on_quota: word(&spec.on_quota).and_then(|text| {
                let choices = [
                    ("discardOldest", OnQuota::DiscardOldest),
                    ("refuse", OnQuota::Refuse),
                ];
                faults.take(at.key("onQuota"), choice(&text, &choices))
            }),
            ..Delivery::default()
        };
        let dedup = spec.dedup.clone().unwrap_or_default();
        let dedup_at = at.key("dedup");
        Policy {
            delivery,
            dedup_window: span(
                dedup_at.key("window"),
                dedup.window.as_ref(),
                Duration::ZERO..=DEDUP_WINDOW_MAX,
                faults,
            ),
            dedup_entries: whole(
                dedup_at.key("maxEntries"),
                dedup.max_entries,
                1..=DEDUP_ENTRIES_MAX,
                faults,
            ),
        }
    }
}

/// The window that a broker's annotation says, else its policy's; the policy's entries.
pub(crate) fn dedup(annotated: Option<Duration>, policy: Option<&Policy>) -> Option<Dedup> {
    let window = annotated.or_else(|| policy?.dedup_window)?;
    let entries = policy.and_then(|policy| policy.dedup_entries);
    (!window.is_zero()).then(|| Dedup {
        window,
        entries_max: entries.unwrap_or(Dedup::ENTRIES_MAX),
    })
}

fn ordering(written: &written::Ordering, at: At<'_>, faults: &mut Faults) -> Option<Ordering> {
    let blocked_key = match &written.blocked_key {
        None => Some(BlockedKey::default()),
        Some(text) => {
            let choices = [
                ("retry", BlockedKey::Retry),
                ("deadLetter", BlockedKey::DeadLetter),
            ];
            faults.take(at.key("blockedKey"), choice(text, &choices))
        }
    };
    let by = match written.by.as_deref() {
        Some(by) if is_attribute_name(by) => Some(by),
        Some(by) => {
            let cure = "name an attribute: lower-case letters and digits, beginning with a letter, such as partitionkey";
            faults.add(at.key("by"), format!("is {by:?}"), cure);
            None
        }
        None => {
            let cure = "name the attribute that is the key, such as by: partitionkey";
            faults.add(at.key("by"), "is missing", cure);
            None
        }
    };
    Some(Ordering {
        by: by?.into(),
        blocked_key: blocked_key?,
    })
}

fn classify(
    written: &written::Classification,
    at: At<'_>,
    faults: &mut Faults,
) -> Option<Classify> {
    let before = faults.0.len();
    let mut statuses = |name: &str, written: &Option<Vec<i64>>| {
        let mut statuses = Vec::new();
        let list_at = at.key(name);
        for (index, status) in written.iter().flatten().enumerate() {
            match u16::try_from(*status) {
                Ok(read @ 400..=599) => statuses.push(read),
                _ => {
                    let cure = "it must be a status from 400 to 599: only failures can be judged otherwise";
                    faults.add(list_at.index(index), format!("is {status}"), cure);
                }
            }
        }
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    };
    let on = statuses("on", &written.on);
    let never = statuses("never", &written.never);
    if let Some(both) = on.iter().find(|status| never.contains(status)) {
        let cure = "a status is either tried again or never: remove it from one of them";
        faults.add(
            at.key("never"),
            format!("has {both}, which is in on too"),
            cure,
        );
    }
    (faults.0.len() == before).then(|| Classify {
        retry_on: on.into(),
        retry_never: never.into(),
    })
}
