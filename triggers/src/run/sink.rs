//! A Sink as run: an address with a name, and how it is spared.

use std::sync::Arc;
use std::time::Duration;

use super::annotations::Annotations;
use super::bounds::{decimal, span, whole};
use super::delivery::choice;
use super::destination::Destination;
use super::health::{Adaptive, Breaker, Health, RetryBudget, SuccessRate, Warmup};
use super::name::SinkName;
use crate::duration;
use crate::problem::{At, Faults};
use crate::written::sink::{self as written, OffOr};
use crate::written::{Kind, Metadata};

/// The most requests under way to one destination, as the node's `limits.destinationInFlight`.
const MAX_IN_FLIGHT_MAX: u32 = 65_536;
/// The most that anything is counted to before a breaker opens.
const COUNT_MAX: u32 = 10_000;
/// The most retries a second that a budget allows always.
const PER_SECOND_MAX: u32 = 100_000;
/// The most retries for each first attempt.
const RATIO_MAX: f64 = 10.0;
/// The shortest pause of a breaker: a shorter one would be a hot loop of probes.
const PENALTY_MIN: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Reads a Sink, noting what is wrong. `None` when it has no address that can be used.
pub(crate) fn sink(
    metadata: &Metadata,
    spec: &written::SinkSpec,
    faults: &mut Faults,
) -> Option<Destination> {
    let at = At::ROOT.key("metadata");
    let at = at.key("annotations");
    let annotations = Annotations::read(&metadata.annotations, Kind::Sink, at, faults);
    let at = At::ROOT.key("spec");
    let address = match &spec.uri {
        Some(uri) => faults.take(at.key("uri"), Destination::parse(uri)),
        None => {
            let cure = "write an address such as uri: http://127.0.0.1:8081/";
            faults.add(at.key("uri"), "is missing", cure);
            None
        }
    };
    let health = Health {
        breaker: part(&spec.breaker, at.key("breaker"), faults, breaker),
        retry_budget: part(&spec.retry_budget, at.key("retryBudget"), faults, budget),
        max_in_flight: whole(
            at.key("maxInFlight"),
            spec.max_in_flight,
            1..=MAX_IN_FLIGHT_MAX,
            faults,
        ),
        adaptive: spec
            .concurrency
            .as_ref()
            .and_then(|written| adaptive(written, at.key("concurrency"), faults)),
        warmup: warmup(
            &spec.warmup.clone().unwrap_or_default(),
            at.key("warmup"),
            faults,
        ),
        paused: spec.paused.unwrap_or(false) || annotations.paused.unwrap_or(false),
    };
    let name = SinkName::new(&*metadata.namespace, &*metadata.name);
    Some(address?.of_sink(name, Arc::new(health)))
}

/// What may be switched off: all of it by `off`, else the defaults where fields are silent.
fn part<W: Default, R>(
    written: &Option<OffOr<W>>,
    at: At<'_>,
    faults: &mut Faults,
    read: fn(&W, At<'_>, &mut Faults) -> R,
) -> Option<R> {
    match written {
        None => Some(read(&W::default(), at, faults)),
        Some(OffOr::Fields(fields)) => Some(read(fields, at, faults)),
        Some(OffOr::Word(word)) => {
            if word != "off" {
                faults.add(at, format!("is {word:?}"), "write off, or fields under it");
            }
            None
        }
    }
}

fn breaker(written: &written::Breaker, at: At<'_>, faults: &mut Faults) -> Breaker {
    let default = Breaker::default();
    let rate = written.success_rate.clone().unwrap_or_default();
    let rate_at = at.key("successRate");
    let threshold = decimal(rate_at.key("threshold"), rate.threshold, 0.0..=1.0, faults);
    if threshold == Some(0.0) {
        let cure = "it must be above 0 and at most 1, such as 0.8";
        faults.add(rate_at.key("threshold"), "is 0", cure);
    }
    let min_penalty = span(
        at.key("minPenalty"),
        written.min_penalty.as_ref(),
        PENALTY_MIN..=HOUR,
        faults,
    )
    .unwrap_or(default.min_penalty);
    let max_penalty = span(
        at.key("maxPenalty"),
        written.max_penalty.as_ref(),
        PENALTY_MIN..=HOUR,
        faults,
    )
    .unwrap_or(default.max_penalty);
    if max_penalty < min_penalty {
        let (name, found, cure) = match &written.max_penalty {
            Some(_) => ("maxPenalty", max_penalty, "at least minPenalty, which is"),
            None => ("minPenalty", min_penalty, "at most maxPenalty, which is"),
        };
        let other = if name == "maxPenalty" {
            min_penalty
        } else {
            max_penalty
        };
        faults.add(
            at.key(name),
            format!("is {}", duration::iso(found)),
            format!("it must be {cure} {}", duration::iso(other)),
        );
    }
    Breaker {
        consecutive_failures: whole(
            at.key("consecutiveFailures"),
            written.consecutive_failures,
            1..=COUNT_MAX,
            faults,
        )
        .unwrap_or(default.consecutive_failures),
        success_rate: SuccessRate {
            threshold: threshold.unwrap_or(default.success_rate.threshold),
            window: span(
                rate_at.key("window"),
                rate.window.as_ref(),
                SECOND..=HOUR,
                faults,
            )
            .unwrap_or(default.success_rate.window),
            min_requests: whole(
                rate_at.key("minRequests"),
                rate.min_requests,
                1..=COUNT_MAX,
                faults,
            )
            .unwrap_or(default.success_rate.min_requests),
        },
        min_penalty,
        max_penalty,
        jitter: decimal(at.key("jitter"), written.jitter, 0.0..=1.0, faults)
            .unwrap_or(default.jitter),
    }
}

fn budget(written: &written::RetryBudget, at: At<'_>, faults: &mut Faults) -> RetryBudget {
    let default = RetryBudget::default();
    let ratio = decimal(at.key("ratio"), written.ratio, 0.0..=RATIO_MAX, faults);
    let min_per_second = whole(
        at.key("minPerSecond"),
        written.min_per_second,
        0..=PER_SECOND_MAX,
        faults,
    );
    if ratio == Some(0.0) && min_per_second == Some(0) {
        let cure = "with ratio 0 nothing would ever be retried: write at least 1";
        faults.add(at.key("minPerSecond"), "is 0", cure);
    }
    RetryBudget {
        ratio: ratio.unwrap_or(default.ratio),
        min_per_second: min_per_second.unwrap_or(default.min_per_second),
        ttl: span(at.key("ttl"), written.ttl.as_ref(), SECOND..=MINUTE, faults)
            .unwrap_or(default.ttl),
    }
}

fn adaptive(written: &written::Concurrency, at: At<'_>, faults: &mut Faults) -> Option<Adaptive> {
    let default = Adaptive::default();
    let choices = [("fixed", false), ("adaptive", true)];
    let follows = match &written.mode {
        Some(mode) => faults.take(at.key("mode"), choice(mode, &choices))?,
        None => false,
    };
    let min = whole(at.key("min"), written.min, 1..=MAX_IN_FLIGHT_MAX, faults);
    let max = whole(at.key("max"), written.max, 1..=MAX_IN_FLIGHT_MAX, faults);
    if !follows {
        for (name, number) in [("min", min), ("max", max)] {
            if number.is_some() {
                let cure =
                    "write mode: adaptive beside it, or remove it; maxInFlight is the fixed cap";
                faults.add(at.key(name), "means nothing without mode: adaptive", cure);
            }
        }
        return None;
    }
    let read = Adaptive {
        min: min.unwrap_or(default.min),
        max: max.unwrap_or(default.max),
    };
    if read.max < read.min {
        let (name, found, cure) = match max {
            Some(max) => (
                "max",
                max,
                format!("it must be at least min, which is {}", read.min),
            ),
            None => (
                "min",
                read.min,
                format!("it must be at most max, which is {}", read.max),
            ),
        };
        faults.add(at.key(name), format!("is {found}"), cure);
    }
    Some(read)
}

fn warmup(written: &written::Warmup, at: At<'_>, faults: &mut Faults) -> Warmup {
    let default = Warmup::default();
    Warmup {
        duration: span(
            at.key("duration"),
            written.duration.as_ref(),
            Duration::ZERO..=HOUR,
            faults,
        )
        .unwrap_or(default.duration),
        min_percent: whole(at.key("minPercent"), written.min_percent, 1..=100, faults)
            .unwrap_or(default.min_percent),
    }
}
