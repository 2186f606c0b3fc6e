//! The call that replays a range of the log; it begins a job.

use std::num::NonZeroU32;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use broker::WallTime;
use broker::replay::{Asked, Point, ReplayError, To};
use journal::Offset;
use serde::{Deserialize, Serialize};
use triggers::{BrokerName, TriggerName};

use crate::admin::State;
use crate::admin::letters::{JobView, job_view};
use crate::admin::problem::Problem;
use crate::span::Span;

/// Filters that one request may have.
const FILTERS_MAX: usize = 100;

/// What is to be replayed.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ReplayAsked {
    /// Who gets it: NAME, of the namespace default, or NAMESPACE/NAME.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<String>,
    /// Or this address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to_uri: Option<String>,
    /// Whose events, with an address: `default/default` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broker: Option<String>,
    /// `earliest`, an offset, an RFC 3339 time, or how long ago: `2h`.
    pub(crate) from: String,
    /// The same, that point not included; what is stored now unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// Filters that must hold beside the trigger's own, each in one line of YAML.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) filters: Vec<String>,
    /// Deliveries a second, at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<NonZeroU32>,
    pub(crate) dry_run: bool,
}

/// Begins a replay.
pub(crate) async fn begin(
    Shared(state): Shared<State>,
    Json(asked): Json<ReplayAsked>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let asked = read(asked, state.admin.clock.wall())?;
    let job = state.admin.engine.replay(asked).await;
    let job = job.map_err(|error| refused(&error))?;
    Ok((StatusCode::ACCEPTED, Json(job_view(&job))))
}

fn read(asked: ReplayAsked, now: WallTime) -> Result<Asked, Problem> {
    let to = match (asked.trigger, asked.to_uri, asked.broker) {
        (Some(trigger), None, None) => {
            let (namespace, name) = split(&trigger);
            To::Trigger(TriggerName::new(namespace, name))
        }
        (Some(_), None, Some(_)) => {
            return Err(bad(
                "broker goes with toUri: a trigger has its own, leave it out",
            ));
        }
        (None, Some(uri), broker) => {
            let (namespace, name) = broker.as_deref().map_or(("default", "default"), split);
            let broker = BrokerName::new(namespace, name);
            To::Uri { broker, uri }
        }
        _ => return Err(bad("who gets it? write trigger or toUri, one of them")),
    };
    if asked.filters.len() > FILTERS_MAX {
        let many = asked.filters.len();
        return Err(bad(format!(
            "{many} filters are too many, write {FILTERS_MAX} at the most"
        )));
    }
    let until = asked.to.as_deref();
    Ok(Asked {
        to,
        from: point("from", &asked.from, now)?,
        until: until.map(|text| point("to", text, now)).transpose()?,
        filters: asked.filters,
        rate: asked.rate,
        dry_run: asked.dry_run,
    })
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("default", name))
}

/// A point in the log that a person wrote.
fn point(field: &str, text: &str, now: WallTime) -> Result<Point, Problem> {
    if text == "earliest" {
        return Ok(Point::Earliest);
    }
    if let Ok(offset) = text.parse() {
        return Ok(Point::Offset(Offset(offset)));
    }
    if let Ok(time) = triggers::moment::parse(text) {
        return Ok(Point::Time(WallTime(time)));
    }
    let ago = text.parse::<Span>().map_err(|_| {
        bad(format!(
            "{field} is {text:?}, write earliest, an offset, an RFC 3339 time such as \
             2026-11-21T09:00:00Z, or how long ago: 2h"
        ))
    })?;
    let ago = u64::try_from(ago.0.as_millis()).unwrap_or(u64::MAX);
    Ok(Point::Time(WallTime(now.0.saturating_sub(ago))))
}

fn bad(why: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, why)
}

fn refused(error: &ReplayError) -> Problem {
    let status = match error {
        ReplayError::NoSuchTrigger(_) | ReplayError::NoSuchBroker(_) => StatusCode::NOT_FOUND,
        ReplayError::Address(_)
        | ReplayError::Filter(_)
        | ReplayError::TooEarly { .. }
        | ReplayError::Empty { .. } => StatusCode::BAD_REQUEST,
        ReplayError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        ReplayError::Ended(_) => return Problem::ended(),
    };
    Problem::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_point_is_written_in_four_ways() {
        let now = WallTime(7_200_000);
        let lines: Vec<String> = [
            "earliest",
            "1042",
            "1970-01-01T00:00:01Z",
            "1h",
            "PT30M",
            "9h",
            "yesterday",
            "-1",
        ]
        .iter()
        .map(|text| match point("from", text, now) {
            Ok(point) => format!("{text}: {point:?}"),
            Err(problem) => serde_json::to_value(problem).unwrap()["detail"].to_string(),
        })
        .collect();
        expect![[r#"
            earliest: Earliest
            1042: Offset(Offset(1042))
            1970-01-01T00:00:01Z: Time(WallTime(1000))
            1h: Time(WallTime(3600000))
            PT30M: Time(WallTime(5400000))
            9h: Time(WallTime(0))
            "from is \"yesterday\", write earliest, an offset, an RFC 3339 time such as 2026-11-21T09:00:00Z, or how long ago: 2h"
            "from is \"-1\", write earliest, an offset, an RFC 3339 time such as 2026-11-21T09:00:00Z, or how long ago: 2h""#]].assert_eq(&lines.join("\n"));
    }
}
