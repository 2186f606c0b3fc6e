//! Annotations of ours: what Knative's schema has no field for and would prune.
//!
//! Each means something on some kinds only; elsewhere it is refused, so that nobody believes in
//! a setting that does nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::delivery::{Delivery, MAX_IN_FLIGHT_MAX, REPLIES, SWITCH, choice};
use super::name::check_name;
use super::trigger::Start;
use crate::problem::{At, Faults, Wrong};
use crate::written::Kind;
use crate::{duration, moment};

/// Every annotation of ours that is acted on, and the kinds that may carry it.
pub const ANNOTATIONS: [(&str, &[Kind]); 7] = [
    ("weft.dev/dedup-window", &[Kind::Broker]),
    ("weft.dev/jitter", &[Kind::Broker, Kind::Trigger]),
    ("weft.dev/max-in-flight", &[Kind::Broker, Kind::Trigger]),
    ("weft.dev/paused", &[Kind::Trigger, Kind::Sink]),
    ("weft.dev/policy", &[Kind::Broker, Kind::Trigger]),
    ("weft.dev/replies", &[Kind::Broker, Kind::Trigger]),
    ("weft.dev/start", &[Kind::Trigger]),
];

/// What one resource's annotations say. `None` where they are silent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    pub(crate) jitter: Option<bool>,
    pub(crate) replies: Option<super::terms::Replies>,
    pub(crate) max_in_flight: Option<u32>,
    /// The DeliveryPolicy's name, in the namespace of who names it.
    pub(crate) policy: Option<String>,
    pub(crate) start: Option<Start>,
    pub(crate) paused: Option<bool>,
    pub(crate) dedup_window: Option<Duration>,
}

impl Annotations {
    /// Reads those of a resource of `kind`, which stand at `at`, noting what is wrong.
    pub(crate) fn read(
        written: &BTreeMap<String, String>,
        kind: Kind,
        at: At<'_>,
        faults: &mut Faults,
    ) -> Annotations {
        let mut read = Annotations::default();
        for (key, value) in written {
            let at = at.key(key);
            let known = ANNOTATIONS.iter().find(|(name, _)| name == key);
            match known {
                Some((_, kinds)) if !kinds.contains(&kind) => {
                    let cure = format!("it belongs on a {}", one_of(kinds));
                    faults.add(at, "means nothing here", cure);
                }
                Some(_) => read.take(key, value, at, faults),
                None => other(key, value, kind, at, faults),
            }
        }
        read
    }

    fn take(&mut self, key: &str, value: &str, at: At<'_>, faults: &mut Faults) {
        match key {
            "weft.dev/jitter" => self.jitter = faults.take(at, choice(value, &SWITCH)),
            "weft.dev/replies" => self.replies = faults.take(at, choice(value, &REPLIES)),
            "weft.dev/max-in-flight" => self.max_in_flight = faults.take(at, in_flight(value)),
            "weft.dev/policy" => {
                let read = check_name(value).map(|()| value.to_owned());
                self.policy = faults.take(at, read);
            }
            "weft.dev/start" => self.start = faults.take(at, start(value)),
            "weft.dev/paused" => {
                let choices = [("true", true), ("false", false)];
                self.paused = faults.take(at, choice(value, &choices));
            }
            "weft.dev/dedup-window" => {
                self.dedup_window = faults.take(at, duration::parse(value));
            }
            _ => unreachable!("{key} is among ANNOTATIONS"),
        }
    }

    /// Moves what is said of deliveries to where it is merged.
    pub(crate) fn apply(&self, delivery: &mut Delivery) {
        delivery.jitter = self.jitter;
        delivery.replies = self.replies;
        delivery.max_in_flight = self.max_in_flight;
    }
}

/// One that isn't ours to act on, or not in this version.
fn other(key: &str, value: &str, kind: Kind, at: At<'_>, faults: &mut Faults) {
    match key {
        "weft.dev/filter" => faults.add(at, "is not supported by this version", "remove it"),
        "eventing.knative.dev/broker.class" if kind != Kind::Node && value != "Weft" => {
            let cure =
                "this program runs brokers of class Weft: write Weft, or remove the annotation";
            faults.add(at, format!("is {value:?}"), cure);
        }
        key if key.starts_with("weft.dev/") => {
            let names: Vec<&str> = ANNOTATIONS
                .iter()
                .filter(|(_, kinds)| kinds.contains(&kind))
                .map(|(name, _)| *name)
                .collect();
            let cure = match names.split_last() {
                Some((last, [])) => format!("the annotation of a {kind} is {last}"),
                Some((last, most)) => {
                    format!(
                        "the annotations of a {kind} are {} and {last}",
                        most.join(", ")
                    )
                }
                None => format!("a {kind} has no annotations of ours: remove it"),
            };
            faults.add(at, "is not a known annotation", cure);
        }
        _ => {}
    }
}

fn one_of(kinds: &[Kind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    names.join(" or ")
}

fn in_flight(value: &str) -> Result<u32, Wrong> {
    value
        .parse()
        .ok()
        .filter(|number| (1..=MAX_IN_FLIGHT_MAX).contains(number))
        .ok_or_else(|| {
            let cure =
                format!("it must be a whole number from 1 to {MAX_IN_FLIGHT_MAX}, in quotes");
            Wrong::new(format!("is {value:?}"), cure)
        })
}

fn start(value: &str) -> Result<Start, Wrong> {
    match value {
        "latest" => Ok(Start::Latest),
        "earliest" => Ok(Start::Earliest),
        time => moment::parse(time).map(Start::At).map_err(|_| {
            let cure =
                "write latest, earliest, or an RFC 3339 time such as \"2026-11-21T09:00:00Z\"";
            Wrong::new(format!("is {time:?}"), cure)
        }),
    }
}
