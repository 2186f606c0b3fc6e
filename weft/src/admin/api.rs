//! The calls: the engine's report in the API's words.

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use broker::report::Report;
use triggers::TriggerName;

use crate::admin::convert::{book, destination, merged, terms, trigger_view};
use crate::admin::problem::Problem;
use crate::admin::views::{
    BrokerView, DestinationView, List, LogView, Status, StorageView, TriggerDetail, TriggerView,
};
use crate::admin::{OPENAPI, State};
use crate::node::health::reason;
use broker::time::rfc3339;

type Answer<T> = Result<Json<T>, Problem>;

/// The process runs.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// The node keeps its promises; 503 with the reason when it can't.
pub(crate) async fn readyz(Shared(state): Shared<State>) -> Response {
    match reason(&state.admin.health.get()) {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

/// The API's description.
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// The node.
pub(crate) async fn status(Shared(state): Shared<State>) -> Answer<Status> {
    let report = report(&state).await?;
    let admin = &state.admin;
    let journal = admin.engine.journal();
    let (usage, facts) = (journal.usage(), journal.facts());
    let now = admin.clock.wall();
    let why = reason(&admin.health.get());
    let data = (!admin.settings.in_memory()).then(|| admin.settings.data.display().to_string());
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        ready: why.is_none(),
        reason: why,
        started: rfc3339(admin.started),
        uptime_seconds: now.since(admin.started).as_secs_f64(),
        ingress: format!("http://{}", admin.ingress),
        admin: format!("http://{}", admin.address),
        data,
        durability: facts.class.into(),
        workers: admin.settings.workers,
        brokers: report.brokers.len(),
        triggers: report.triggers.len(),
        dead_letters: admin.engine.dead_letters().count() as u64,
        suspects: report.suspects,
        log: LogView {
            id: format!("{:016x}", facts.log_id),
            start: report.log.start.0,
            end: report.log.end.0,
            routed_to: report.log.routed_to.0,
            held_from: report.log.held_from.map(|offset| offset.0),
            segments: journal.segments().len(),
            bytes_used: usage.bytes_used,
            bytes_max: usage.bytes_max,
            disk_free: usage.disk_free,
            revision: report.log.revision,
        },
        storage: StorageView {
            bytes_max: report.space.bytes_max,
            log_bytes: report.space.log_bytes,
            kept_bytes: report.space.kept_bytes,
            view_bytes: report.space.view_bytes,
            held_ratio: report.space.held_ratio,
            replay_since: report.space.replay_since.map(rfc3339),
            refusing: report
                .space
                .refused
                .keys()
                .map(ToString::to_string)
                .collect(),
        },
        books: book(&report.books),
        problems: admin.problems.all(),
    }))
}

/// All triggers.
pub(crate) async fn triggers(Shared(state): Shared<State>) -> Answer<List<TriggerView>> {
    let report = report(&state).await?;
    let now = state.admin.clock.wall();
    let destinations = merged(&report.destinations);
    let items = report
        .triggers
        .iter()
        .map(|report| trigger_view(report, &destinations, now))
        .collect();
    Ok(Json(List { items }))
}

/// One trigger in full.
pub(crate) async fn trigger(
    Shared(state): Shared<State>,
    Path((namespace, name)): Path<(String, String)>,
) -> Answer<TriggerDetail> {
    let wanted = TriggerName::new(namespace, name);
    let report = report(&state).await?;
    let in_force = state.admin.engine.in_force();
    let (lowered, _) = triggers::lower(
        &in_force
            .iter()
            .map(|resource| &**resource)
            .collect::<Vec<_>>(),
    );
    let found = report.triggers.iter().find(|report| report.name == wanted);
    let resource = in_force.iter().find(|resource| {
        resource.kind() == triggers::Kind::Trigger
            && resource.metadata.namespace == wanted.namespace()
            && resource.metadata.name == wanted.name()
    });
    let (Some(found), Some(trigger), Some(resource)) =
        (found, lowered.triggers.get(&wanted), resource)
    else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no trigger {wanted}; `weft get triggers` lists those there are"),
        ));
    };
    let written = |resource: &triggers::Resource| {
        serde_json::from_str(&resource.canonical())
            .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    };
    let named = triggers::run::refer::references(resource);
    let names = in_force
        .iter()
        .filter(|other| named.contains(&other.key()))
        .map(|other| written(other))
        .collect::<Result<_, _>>()?;
    let resource = written(resource)?;
    let now = state.admin.clock.wall();
    let destinations = merged(&report.destinations);
    let view = trigger_view(found, &destinations, now);
    Ok(Json(TriggerDetail {
        view,
        terms: terms(&trigger.terms),
        destination: destinations
            .iter()
            .find(|report| *report.key == *trigger.subscriber.key().as_str())
            .map(|report| destination(report, now)),
        resource,
        names,
    }))
}

/// All brokers.
pub(crate) async fn brokers(Shared(state): Shared<State>) -> Answer<List<BrokerView>> {
    let report = report(&state).await?;
    let ingress = state.admin.ingress;
    let items = report.brokers.iter().map(|report| BrokerView {
        namespace: report.name.namespace().into(),
        name: report.name.name().into(),
        url: format!(
            "http://{ingress}/{}/{}",
            report.name.namespace(),
            report.name.name()
        ),
        triggers: report.triggers,
        stored: report.stored,
        deduplicated: report.deduplicated,
        detached: report.detached.map(rfc3339),
    });
    Ok(Json(List {
        items: items.collect(),
    }))
}

/// All destinations.
pub(crate) async fn destinations(Shared(state): Shared<State>) -> Answer<List<DestinationView>> {
    let report = report(&state).await?;
    let now = state.admin.clock.wall();
    let items = merged(&report.destinations)
        .iter()
        .map(|report| destination(report, now))
        .collect();
    Ok(Json(List { items }))
}

pub(crate) async fn report(state: &State) -> Result<Report, Problem> {
    state
        .admin
        .engine
        .report()
        .await
        .map_err(|_| Problem::ended())
}
