//! A Sink's `spec` as written: what is a destination's, by a name that triggers refer to.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::yaml::decode::{Decimal, TextOrNumber};

/// Where to, and how it is spared when it is ill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SinkSpec {
    /// An absolute `http://` address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// When calls stop, and for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<OffOr<Breaker>>,
    /// How many retries it gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_budget: Option<OffOr<RetryBudget>>,
    /// Requests to it under way at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// The ramp after a breaker closes or a pause ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// Whether nothing is sent to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Breaker {
    /// Failures in a row after which it opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<SuccessRate>,
    /// The first pause, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_penalty: Option<TextOrNumber>,
    /// The longest pause, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_penalty: Option<TextOrNumber>,
    /// The share of itself by which a pause is lengthened at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Decimal>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SuccessRate {
    /// The share of successes below which the breaker opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Decimal>,
    /// Over how long, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<TextOrNumber>,
    /// Fewer requests decide nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RetryBudget {
    /// Retries for each first attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Decimal>,
    /// Retries a second that are always allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_per_second: Option<i64>,
    /// How long a first attempt counts, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<TextOrNumber>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Concurrency {
    /// `fixed` or `adaptive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Warmup {
    /// From the first share to all, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<TextOrNumber>,
    /// The share that it begins with, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_percent: Option<i64>,
}

/// A word, which should be `off`, or fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OffOr<T> {
    Word(String),
    Fields(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OffOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OffOr<T>, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OffOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("off, or fields under it")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<OffOr<T>, E> {
                Ok(OffOr::Word(word.to_owned()))
            }

            // What other YAML readers make of `off`.
            fn visit_bool<E: de::Error>(self, word: bool) -> Result<OffOr<T>, E> {
                Ok(OffOr::Word(word.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OffOr<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OffOr::Fields)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}
