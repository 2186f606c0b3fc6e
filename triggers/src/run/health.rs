//! How a destination is spared when it is ill: what a Sink says of it, or the defaults.
//!
//! Defaults are those of the systems named in GUARANTEES: Linkerd's breaker and retry budget,
//! Envoy's slow start and adaptive concurrency.

use std::time::Duration;

/// What hangs on a destination: its breaker, budget, caps. Shared by all its triggers.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// `None`: never opens.
    pub breaker: Option<Breaker>,
    /// `None`: retries are not limited.
    pub retry_budget: Option<RetryBudget>,
    /// Requests to it under way at once; `None`: the node's `limits.destinationInFlight` (256).
    pub max_in_flight: Option<u32>,
    /// Concurrency that follows latency. `None`: only the caps hold.
    pub adaptive: Option<Adaptive>,
    /// How it is brought back to full speed.
    pub warmup: Warmup,
    /// Whether nothing is sent to it until it is resumed.
    pub paused: bool,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            breaker: Some(Breaker::default()),
            retry_budget: Some(RetryBudget::default()),
            max_in_flight: None,
            adaptive: None,
            warmup: Warmup::default(),
            paused: false,
        }
    }
}

/// When calls stop, and for how long (GUARANTEES 10).
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// It opens after this many failures in a row. Default 7.
    pub consecutive_failures: u32,
    /// It opens below this share of successes.
    pub success_rate: SuccessRate,
    /// The first pause. Default PT1S; doubles while probes fail.
    pub min_penalty: Duration,
    /// The longest pause. Default PT60S.
    pub max_penalty: Duration,
    /// A pause is lengthened by up to this share of itself, at random. Default 0.5.
    pub jitter: f64,
}

/// A share of successes over a window.
#[derive(Clone, Debug, PartialEq)]
pub struct SuccessRate {
    /// Default 0.8.
    pub threshold: f64,
    /// Default PT10S.
    pub window: Duration,
    /// Fewer requests in the window decide nothing. Default 5.
    pub min_requests: u32,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            consecutive_failures: 7,
            success_rate: SuccessRate {
                threshold: 0.8,
                window: Duration::from_secs(10),
                min_requests: 5,
            },
            min_penalty: Duration::from_secs(1),
            max_penalty: Duration::from_secs(60),
            jitter: 0.5,
        }
    }
}

/// How many retries a destination gets, as a share of first attempts (GUARANTEES 6).
#[derive(Clone, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries for each first attempt. Default 0.2.
    pub ratio: f64,
    /// Retries a second that are always allowed. Default 10.
    pub min_per_second: u32,
    /// How long a first attempt counts. Default PT10S.
    pub ttl: Duration,
}

impl Default for RetryBudget {
    fn default() -> RetryBudget {
        RetryBudget {
            ratio: 0.2,
            min_per_second: 10,
            ttl: Duration::from_secs(10),
        }
    }
}

/// Concurrency that follows latency (GUARANTEES 12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adaptive {
    /// Default 3.
    pub min: u32,
    /// Default 1000; never more than the destination's cap.
    pub max: u32,
}

impl Default for Adaptive {
    fn default() -> Adaptive {
        Adaptive { min: 3, max: 1000 }
    }
}

/// The ramp after a breaker closes or a pause ends (GUARANTEES 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warmup {
    /// From the first share to all. Default PT30S; zero: at once.
    pub duration: Duration,
    /// The share that it begins with, in percent. Default 10.
    pub min_percent: u32,
}

impl Default for Warmup {
    fn default() -> Warmup {
        Warmup {
            duration: Duration::from_secs(30),
            min_percent: 10,
        }
    }
}
