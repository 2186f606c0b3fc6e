//! The calls about what others name: Sinks and DeliveryPolicies, and who names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use triggers::run::name::SinkName;
use triggers::run::refer::references;
use triggers::{Kind, Resource, ResourceKey};

use crate::admin::State;
use crate::admin::api::report;
use crate::admin::convert::{destination, merged};
use crate::admin::problem::Problem;
use crate::admin::views::{DestinationView, List};

/// A Sink.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SinkView {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uri: String,
    /// Who names it, as `Trigger shop/billing`.
    pub(crate) used_by: Vec<String>,
    /// How it is; absent while nothing sends to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) destination: Option<DestinationView>,
    /// As written.
    pub(crate) spec: Value,
}

/// A DeliveryPolicy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyView {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Who names it, as `Trigger shop/billing`.
    pub(crate) used_by: Vec<String>,
    /// As written: the fields that are set.
    pub(crate) spec: Value,
}

type Answer<T> = Result<Json<List<T>>, Problem>;

/// All Sinks.
pub(crate) async fn sinks(Shared(state): Shared<State>) -> Answer<SinkView> {
    let destinations = merged(&report(&state).await?.destinations);
    let now = state.admin.clock.wall();
    let in_force = state.admin.engine.in_force();
    let named = Named::of(&in_force);
    let items = in_force.iter().filter(|one| one.kind() == Kind::Sink);
    let items = items.map(|sink| {
        let (namespace, name) = name(sink);
        let spec = spec(sink)?;
        let key = format!("sink:{}", SinkName::new(&*namespace, &*name));
        Ok(SinkView {
            uri: spec["uri"].as_str().unwrap_or_default().to_owned(),
            used_by: named.by(&sink.key()),
            destination: destinations
                .iter()
                .find(|report| *report.key == *key)
                .map(|report| destination(report, now)),
            namespace,
            name,
            spec,
        })
    });
    let items = items.collect::<Result<_, Problem>>()?;
    Ok(Json(List { items }))
}

/// All DeliveryPolicies.
pub(crate) async fn policies(Shared(state): Shared<State>) -> Answer<PolicyView> {
    let in_force = state.admin.engine.in_force();
    let named = Named::of(&in_force);
    let items = in_force
        .iter()
        .filter(|one| one.kind() == Kind::DeliveryPolicy);
    let items = items.map(|policy| {
        let (namespace, name) = name(policy);
        Ok(PolicyView {
            namespace,
            name,
            used_by: named.by(&policy.key()),
            spec: spec(policy)?,
        })
    });
    let items = items.collect::<Result<_, Problem>>()?;
    Ok(Json(List { items }))
}

/// Who names what, in one pass over all.
struct Named(BTreeMap<ResourceKey, Vec<String>>);

impl Named {
    fn of(resources: &[Arc<Resource>]) -> Named {
        let mut named: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for resource in resources {
            for key in references(resource) {
                let by = named.entry(key).or_default();
                let who = resource.key().to_string();
                // A trigger may name one Sink twice, for events and for dead letters.
                if by.last() != Some(&who) {
                    by.push(who);
                }
            }
        }
        Named(named)
    }

    fn by(&self, key: &ResourceKey) -> Vec<String> {
        let mut by = self.0.get(key).cloned().unwrap_or_default();
        by.sort();
        by
    }
}

fn name(resource: &Resource) -> (String, String) {
    let metadata = &resource.metadata;
    (metadata.namespace.clone(), metadata.name.clone())
}

/// What the resource says, without its metadata.
fn spec(resource: &Resource) -> Result<Value, Problem> {
    let mut whole: Value = serde_json::from_str(&resource.canonical())
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(whole["spec"].take())
}
