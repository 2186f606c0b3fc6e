//! The calls that change how a node goes on: pause, resume, delete.

use axum::Json;
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use broker::WallTime;
use broker::delete::DeleteError;
use broker::pausing::{PauseError, ResumeFrom, Target};
use broker::registry::Undeletable;
use broker::time::rfc3339;
use serde::{Deserialize, Serialize};
use triggers::{Kind, ResourceKey, TriggerName};

use crate::admin::State;
use crate::admin::problem::Problem;

/// What is to be paused.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pause {
    /// Its address, key or Sink's name; not for a trigger, whose name is in the path.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) destination: Option<String>,
}

/// Paused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PausedView {
    /// RFC 3339.
    pub(crate) since: String,
    /// Whether it was paused before.
    pub(crate) already: bool,
}

/// What is to be resumed, and where.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resume {
    /// Its address, key or Sink's name; not for a trigger, whose name is in the path.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) destination: Option<String>,
    /// `backlog` (the default), `latest`, or a time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) from: Option<String>,
    /// Only say what would be cancelled.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// Resumed, or what would be.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResumedView {
    /// Deliveries that were, or would be, cancelled.
    pub(crate) dropped: u64,
    pub(crate) paused_seconds: f64,
}

/// Deleted, or what would be.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeletedView {
    /// Deliveries that are, or would be, cancelled.
    pub(crate) cancelled: u64,
    /// Dead letters that are no longer owed to a sink; they stay kept.
    pub(crate) forwards_cancelled: u64,
}

type Answer<T> = Result<Json<T>, Problem>;

/// Pauses a trigger.
pub(crate) async fn pause_trigger(
    Shared(state): Shared<State>,
    Path((namespace, name)): Path<(String, String)>,
) -> Answer<PausedView> {
    pause(&state, Target::Trigger(TriggerName::new(namespace, name))).await
}

/// Pauses a destination.
pub(crate) async fn pause_destination(
    Shared(state): Shared<State>,
    Json(asked): Json<Pause>,
) -> Answer<PausedView> {
    pause(&state, destination(asked.destination)?).await
}

async fn pause(state: &State, target: Target) -> Answer<PausedView> {
    let paused = state.admin.engine.pause(&target).await;
    let paused = paused.map_err(|error| refused(state, &error))?;
    Ok(Json(PausedView {
        since: rfc3339(paused.since),
        already: paused.already,
    }))
}

/// Resumes a trigger.
pub(crate) async fn resume_trigger(
    Shared(state): Shared<State>,
    Path((namespace, name)): Path<(String, String)>,
    Json(asked): Json<Resume>,
) -> Answer<ResumedView> {
    let target = Target::Trigger(TriggerName::new(namespace, name));
    resume(&state, &target, &asked).await
}

/// Resumes a destination.
pub(crate) async fn resume_destination(
    Shared(state): Shared<State>,
    Json(mut asked): Json<Resume>,
) -> Answer<ResumedView> {
    let target = destination(asked.destination.take())?;
    resume(&state, &target, &asked).await
}

async fn resume(state: &State, target: &Target, asked: &Resume) -> Answer<ResumedView> {
    let from = match asked.from.as_deref() {
        None | Some("backlog") => ResumeFrom::Backlog,
        Some("latest") => ResumeFrom::Latest,
        Some(text) => ResumeFrom::At(moment("from", text, "backlog, latest or ")?),
    };
    let resumed = state.admin.engine.resume(target, from, asked.dry_run).await;
    let resumed = resumed.map_err(|error| refused(state, &error))?;
    Ok(Json(ResumedView {
        dropped: resumed.dropped,
        paused_seconds: resumed.paused_for.as_secs_f64(),
    }))
}

/// What a deletion is asked for with.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Deletion {
    dry_run: bool,
}

/// Deletes a resource whose file is gone.
pub(crate) async fn delete(
    Shared(state): Shared<State>,
    Path((kind, namespace, name)): Path<(String, String, String)>,
    Query(asked): Query<Deletion>,
) -> Answer<DeletedView> {
    let kind = match kind.as_str() {
        "Trigger" => Kind::Trigger,
        "Broker" => Kind::Broker,
        "DeliveryPolicy" => Kind::DeliveryPolicy,
        "Sink" => Kind::Sink,
        other => {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                format!("kind is {other:?}, write Trigger, Broker, DeliveryPolicy or Sink"),
            ));
        }
    };
    let key = ResourceKey {
        kind,
        namespace,
        name,
    };
    let deleted = state.admin.engine.delete(&key, asked.dry_run).await;
    let deleted = deleted.map_err(|error| match &error {
        DeleteError::Ended(_) => Problem::ended(),
        DeleteError::Undeletable(Undeletable::Unknown(_)) => {
            Problem::new(StatusCode::NOT_FOUND, error.to_string())
        }
        DeleteError::Undeletable(Undeletable::Declared(key)) => {
            conflict(&error, state.admin.problems.place(&key.to_string()))
        }
        DeleteError::Undeletable(Undeletable::Implied(_) | Undeletable::Named(_)) => {
            conflict(&error, None)
        }
    })?;
    Ok(Json(DeletedView {
        cancelled: deleted.cancelled,
        forwards_cancelled: deleted.forwards_cancelled,
    }))
}

fn destination(text: Option<String>) -> Result<Target, Problem> {
    text.map(Target::Destination).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "destination is missing, write its address or its Sink's NAMESPACE/NAME",
        )
    })
}

/// A time that a person wrote.
pub(crate) fn moment(field: &str, text: &str, or: &str) -> Result<WallTime, Problem> {
    triggers::moment::parse(text).map(WallTime).map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("{field} is {text:?}, write {or}an RFC 3339 time such as 2026-11-21T09:00:00Z"),
        )
    })
}

fn refused(state: &State, error: &PauseError) -> Problem {
    match error {
        PauseError::NoSuchTrigger(_) | PauseError::NoSuchDestination { .. } => {
            Problem::new(StatusCode::NOT_FOUND, error.to_string())
        }
        PauseError::NotPaused(_)
        | PauseError::WithDestination { .. }
        | PauseError::NotReady { .. } => conflict(error, None),
        PauseError::ByAnnotation { resource, .. } => {
            conflict(error, state.admin.problems.place(resource))
        }
        PauseError::Ended(_) => Problem::ended(),
    }
}

fn conflict(error: &impl ToString, place: Option<String>) -> Problem {
    let mut detail = error.to_string();
    if let Some(place) = place {
        detail.push_str(&format!(" ({place})"));
    }
    Problem::new(StatusCode::CONFLICT, detail)
}
