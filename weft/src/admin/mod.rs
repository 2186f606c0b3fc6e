//! The admin API: health, metrics, and the calls that the commands use. What each answers is in
//! `openapi.json`, served at `/openapi.json`; a test holds the two together.

pub(crate) mod api;
pub(crate) mod backup;
pub(crate) mod convert;
pub(crate) mod guard;
pub(crate) mod idle;
pub(crate) mod letters;
pub(crate) mod metrics;
pub(crate) mod named;
pub(crate) mod operate;
pub(crate) mod problem;
pub(crate) mod replays;
mod series;
pub(crate) mod views;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use adapters_http::source::Stop;
use axum::Router;
use axum::routing::{MethodRouter, delete, get, post};
use broker::{Clock, Engine, WallTime};

use crate::backup::take::Backups;
use crate::node::health::Health;
use crate::node::settings::Settings;
use crate::node::watch::Problems;
use crate::node::workers::Sources;
use crate::telemetry::otlp::Exported;

/// What the admin API speaks about.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) engine: Engine,
    pub(crate) health: Arc<Health>,
    pub(crate) sources: Sources,
    pub(crate) problems: Arc<Problems>,
    pub(crate) spans: Option<Arc<Exported>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: WallTime,
    pub(crate) settings: Settings,
    /// Where events come in.
    pub(crate) ingress: SocketAddr,
    /// Where this API listens.
    pub(crate) address: SocketAddr,
}

/// What handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) admin: Arc<Admin>,
    pub(crate) idle: Arc<std::sync::Mutex<idle::Idle>>,
    /// The work of jobs.
    pub(crate) running: letters::Running,
    pub(crate) backups: Backups,
}

/// The API's description.
const OPENAPI: &str = include_str!("openapi.json");

/// Every route, as the description names it.
fn routes() -> Vec<(&'static str, MethodRouter<State>)> {
    vec![
        ("/healthz", get(api::healthz)),
        ("/readyz", get(api::readyz)),
        ("/metrics", get(metrics::scrape)),
        ("/openapi.json", get(api::openapi)),
        ("/api/v1/status", get(api::status)),
        ("/api/v1/triggers", get(api::triggers)),
        ("/api/v1/triggers/{namespace}/{name}", get(api::trigger)),
        ("/api/v1/brokers", get(api::brokers)),
        ("/api/v1/destinations", get(api::destinations)),
        ("/api/v1/sinks", get(named::sinks)),
        ("/api/v1/policies", get(named::policies)),
        ("/api/v1/dead-letters", get(letters::list)),
        ("/api/v1/dead-letters/{id}", get(letters::show)),
        ("/api/v1/dead-letters/export", get(letters::export)),
        ("/api/v1/dead-letters/redrive", post(letters::redrive)),
        ("/api/v1/dead-letters/discard", post(letters::discard)),
        ("/api/v1/replays", post(replays::begin)),
        ("/api/v1/jobs", get(letters::jobs)),
        ("/api/v1/jobs/{id}", get(letters::job).delete(letters::stop)),
        (
            "/api/v1/triggers/{namespace}/{name}/pause",
            post(operate::pause_trigger),
        ),
        (
            "/api/v1/triggers/{namespace}/{name}/resume",
            post(operate::resume_trigger),
        ),
        (
            "/api/v1/destinations/pause",
            post(operate::pause_destination),
        ),
        (
            "/api/v1/destinations/resume",
            post(operate::resume_destination),
        ),
        ("/api/v1/backup", get(backup::last).post(backup::begin)),
        (
            "/api/v1/resources/{kind}/{namespace}/{name}",
            delete(operate::delete),
        ),
    ]
}

fn router(guard: guard::Guard, state: State) -> Router {
    let routes = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, method)| {
            router.route(path, method)
        });
    let guarded = axum::middleware::from_fn_with_state(Arc::new(guard), guard::check);
    routes
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(guarded)
        .with_state(state)
}

/// Serves until the node stops.
pub(crate) async fn serve(
    listener: TcpListener,
    admin: Admin,
    mut stop: Stop,
) -> Result<(), String> {
    let guard = guard::Guard::new(admin.address, admin.settings.token.clone());
    let state = State {
        admin: Arc::new(admin),
        idle: Arc::default(),
        running: letters::Running::default(),
        backups: Backups::default(),
    };
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
    let stopped = async move {
        // It answers while the node drains, and is cut off when the deadline has passed.
        if let Ok(deadline) = stop
            .wait_for(Option::is_some)
            .await
            .map(|deadline| *deadline)
            && let Some(deadline) = deadline
        {
            tokio::time::sleep_until(deadline).await;
        }
    };
    let serving = axum::serve(listener, router(guard, state)).with_graceful_shutdown(stopped);
    serving.await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
