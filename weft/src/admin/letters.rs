//! The calls about dead letters: list, show, redrive, discard, export; and about jobs.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{self, Path, State as Shared};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::WallTime;
use broker::dead_letters::{Content, Letter, Reason};
use broker::jobs::{self, Job};
use broker::letter_query::{From, Page, Query, StateIs, TypeIs};
use broker::records::Cause;
use broker::records::attempt::numbered;
use broker::redrive::{Asked, What, Which};
use broker::time::rfc3339;
use event::Event;
use event::http::{Out, encode};
use journal::Offset;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use triggers::{Destination, TriggerName};

use crate::admin::State;
use crate::admin::convert::{
    attempt, broker_of, destination_of, event_view, letter, rejected, stored,
};
use crate::admin::problem::Problem;
use crate::admin::views::{AttemptView, LetterDetail, LetterView, Payload, RejectedView};
use crate::span::Span;

/// Dead letters in one answer, at most.
const LETTERS_MAX: usize = 1000;
/// Dead letters in one answer, unless asked otherwise.
const LETTERS: usize = 100;
/// Events' bytes in one answer of an export; one letter more goes in, however large.
const EXPORT_BYTES_MAX: usize = 8 << 20;
/// Ids that one request may name.
const IDS_MAX: usize = 10_000;

type Answer<T> = Result<Json<T>, Problem>;

/// Which letters; what isn't given doesn't matter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Filter {
    /// NAME, of the namespace default, or NAMESPACE/NAME.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<String>,
    /// What they died of, in the word that the list shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// `kept`, `redriven`, `discarded` or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    /// The status of the last attempt's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// The event's type, or its beginning with a `*` behind it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) ty: Option<String>,
    /// Died longer ago than this: `PT1H`, `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) older_than: Option<String>,
    /// Died no longer ago than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) newer_than: Option<String>,
    /// A text in what an attempt came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) contains: Option<String>,
}

impl Filter {
    /// The query. `kept` is the state unless another is asked for.
    fn query(&self, now: WallTime) -> Result<Query, Problem> {
        let ago = |field: &str, text: &String| match text.parse::<Span>() {
            Ok(span) => Ok(WallTime(now.0.saturating_sub(span.0.as_millis() as u64))),
            Err(why) => Err(refused(format!("{field}: {why}"))),
        };
        let reason = |word: &String| {
            if word == Reason::Rejected.word() {
                return Ok(Reason::Rejected);
            }
            Cause::from_word(word).map(Reason::Dead).ok_or_else(|| {
                let words = Cause::ALL.map(Cause::word).join(", ");
                refused(format!(
                    "reason: there is no \"{word}\", write one of {words}, rejected"
                ))
            })
        };
        let state = match self.state.as_deref() {
            None | Some("kept") => Some(StateIs::Kept),
            Some("redriven") => Some(StateIs::Redriven),
            Some("discarded") => Some(StateIs::Discarded),
            Some("all") => None,
            Some(word) => {
                return Err(refused(format!(
                    "state: there is no \"{word}\", write kept, redriven, discarded or all"
                )));
            }
        };
        let older = self.older_than.as_ref();
        let newer = self.newer_than.as_ref();
        Ok(Query {
            trigger: self.trigger.as_deref().map(trigger_name),
            number: None,
            reason: self.reason.as_ref().map(reason).transpose()?,
            state,
            status: self.status,
            ty: self.ty.as_deref().map(TypeIs::parse),
            died_before: older.map(|text| ago("olderThan", text)).transpose()?,
            died_from: newer.map(|text| ago("newerThan", text)).transpose()?,
            contains: self.contains.clone(),
        })
    }
}

fn trigger_name(text: &str) -> TriggerName {
    match text.split_once('/') {
        Some((namespace, name)) => TriggerName::new(namespace, name),
        None => TriggerName::new("default", text),
    }
}

fn refused(why: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, why)
}

/// What a list is asked for with, beside the filter.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paging {
    limit: Option<usize>,
    /// The newest first, of those older than this one.
    before: Option<u64>,
    /// The oldest first, from this one on; for an export.
    from: Option<u64>,
}

/// A page of dead letters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LettersView {
    pub(crate) items: Vec<LetterView>,
    /// Where a longer list goes on: `before` of the next page. Absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    /// How many letters were read from disk for this page.
    pub(crate) read: usize,
    pub(crate) totals: Totals,
}

/// How many letters there are, whatever the filter.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) kept: u64,
    pub(crate) redriven: u64,
    pub(crate) discarded: u64,
}

/// A page of an export.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExportView {
    pub(crate) items: Vec<Exported>,
    /// `from` of the next page. Absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
}

/// A dead letter as a line of an export.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exported {
    pub(crate) id: u64,
    pub(crate) reason: String,
    pub(crate) state: String,
    pub(crate) trigger: String,
    pub(crate) broker: String,
    pub(crate) destination: String,
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) attempts: Vec<AttemptView>,
    /// The event in CloudEvents' JSON format; absent when it can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<Box<serde_json::value::RawValue>>,
    /// Why the event is absent.
    #[serde(skip_serializing_if = "Option::is_none", rename = "eventLost")]
    pub(crate) event_lost: Option<String>,
    /// What a source rejected, but for its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected: Option<RejectedView>,
    /// Its value, as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_base64: Option<String>,
}

/// What letters to redrive or discard.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct JobAsked {
    /// These; the filter is for all others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ids: Vec<u64>,
    pub(crate) filter: Filter,
    /// Another destination than the triggers'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to_uri: Option<String>,
    /// Deliveries a second, at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<NonZeroU32>,
    pub(crate) dry_run: bool,
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobView {
    pub(crate) id: u64,
    pub(crate) kind: String,
    /// `running`, `done`, `stopped` or `failed`.
    pub(crate) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) dry_run: bool,
    /// RFC 3339.
    pub(crate) began: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    pub(crate) looked_at: u64,
    /// What it did, or would do.
    pub(crate) done: u64,
    /// The first ten of them.
    pub(crate) first: Vec<u64>,
    pub(crate) refused: u64,
    pub(crate) refusals: Vec<RefusalView>,
    /// Of the deliveries that it began.
    pub(crate) delivered: u64,
    /// Those that are dead again.
    pub(crate) dead: u64,
    pub(crate) cancelled: u64,
    /// Those that haven't ended.
    pub(crate) outstanding: u64,
}

/// Something that a job couldn't do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RefusalView {
    pub(crate) id: u64,
    pub(crate) why: String,
}

/// The jobs' tasks; they end with the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<Mutex<JoinSet<()>>>);

impl Running {
    /// Runs a job's work. How it ends shows in the job.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(work);
    }
}

/// Dead letters, the newest first.
pub(crate) async fn list(
    Shared(state): Shared<State>,
    extract::Query(filter): extract::Query<Asking>,
    extract::Query(paging): extract::Query<Paging>,
) -> Answer<LettersView> {
    let now = state.admin.clock.wall();
    let query = filter.0.query(now)?;
    let letters = state.admin.engine.dead_letters().clone();
    let (from, limit) = look(&paging);
    let totals = totals(&state);
    let page = blocking(move || letters.page(&query, from, limit)).await?;
    Ok(Json(LettersView {
        items: page
            .letters
            .iter()
            .map(|found| letter(found, now))
            .collect(),
        next: page.next.map(|next| next.0),
        read: page.read,
        totals,
    }))
}

/// A query string's filter; the paging stands beside it, so other names are let pass.
#[derive(Debug)]
pub(crate) struct Asking(Filter);

impl<'de> Deserialize<'de> for Asking {
    fn deserialize<D: serde::Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        let mut pairs = std::collections::BTreeMap::<String, String>::deserialize(text)?;
        for name in ["limit", "before", "from"] {
            pairs.remove(name);
        }
        let mut take = |name: &str| pairs.remove(name);
        let status = take("status").map(|status| {
            status.parse().map_err(|_| {
                serde::de::Error::custom(format!("status: \"{status}\" isn't one, write 503"))
            })
        });
        let filter = Filter {
            trigger: take("trigger"),
            reason: take("reason"),
            state: take("state"),
            status: status.transpose()?,
            ty: take("type"),
            older_than: take("olderThan"),
            newer_than: take("newerThan"),
            contains: take("contains"),
        };
        match pairs.into_keys().next() {
            None => Ok(Self(filter)),
            Some(name) => Err(serde::de::Error::custom(format!(
                "there is no {name}; /openapi.json lists what can be asked"
            ))),
        }
    }
}

fn look(paging: &Paging) -> (From, usize) {
    let from = match (paging.from, paging.before) {
        (Some(from), _) => From::Oldest(Offset(from)),
        (None, before) => From::NewestBefore(Offset(before.unwrap_or(u64::MAX))),
    };
    (from, paging.limit.unwrap_or(LETTERS).clamp(1, LETTERS_MAX))
}

fn totals(state: &State) -> Totals {
    let [kept, redriven, discarded] = state.admin.engine.dead_letters().count_by_state();
    Totals {
        kept,
        redriven,
        discarded,
    }
}

/// Dead letters with their events, the oldest first.
pub(crate) async fn export(
    Shared(state): Shared<State>,
    extract::Query(filter): extract::Query<Asking>,
    extract::Query(paging): extract::Query<Paging>,
) -> Answer<ExportView> {
    let query = filter.0.query(state.admin.clock.wall())?;
    let letters = state.admin.engine.dead_letters().clone();
    let from = From::Oldest(Offset(paging.from.unwrap_or(0)));
    let (_, limit) = look(&paging);
    let view = blocking(move || {
        let Page { letters, next, .. } = letters.page(&query, from, limit);
        let (mut items, mut bytes) = (Vec::new(), 0);
        for found in &letters {
            if bytes >= EXPORT_BYTES_MAX {
                return ExportView {
                    items,
                    next: Some(found.row.id.0),
                };
            }
            let event = found.event.as_ref();
            bytes += event.map_or(0, |envelope| envelope.event.stored().len());
            bytes += found.rejected().map_or(0, |rejected| rejected.value.len());
            items.push(exported(found));
        }
        let next = next.map(|next| next.0);
        ExportView { items, next }
    });
    Ok(Json(view.await?))
}

fn exported(found: &Letter) -> Exported {
    let row = &found.row;
    let event = found.event.as_ref().map_err(Clone::clone);
    let event = event.and_then(|envelope| {
        let json = encode(&envelope.event.as_ref(), Out::Json, &[], &[]).body;
        // One line, whatever the sender's document looked like.
        let text = String::from_utf8_lossy(&json).replace(['\n', '\r'], " ");
        serde_json::value::RawValue::from_string(text).map_err(|error| error.to_string())
    });
    let (event, event_lost) = match event {
        Ok(event) => (Some(event), None),
        Err(why) => (None, Some(why)),
    };
    let came = found.rejected();
    Exported {
        id: row.id.0,
        reason: row.reason.word().into(),
        state: row.state.word().into(),
        trigger: row.trigger.to_string(),
        broker: broker_of(found).into(),
        destination: destination_of(found).into(),
        at: rfc3339(row.at),
        attempts: numbered(found.attempts()).map(attempt).collect(),
        event,
        event_lost: event_lost.map(|why| lost(found, why)),
        rejected: came.map(|came| RejectedView {
            value: Payload::default(),
            ..rejected(came)
        }),
        data_base64: came.map(|came| STANDARD.encode(&came.value)),
    }
}

/// Why there is no event; of what was rejected, why that isn't there either.
fn lost(found: &Letter, why: String) -> String {
    match &found.content {
        Content::Rejected(Err(gone)) => gone.clone(),
        _ => why,
    }
}

/// One dead letter in full.
pub(crate) async fn show(
    Shared(state): Shared<State>,
    Path(id): Path<u64>,
) -> Answer<LetterDetail> {
    let letters = state.admin.engine.dead_letters().clone();
    let found = blocking(move || letters.show(Offset(id))).await?;
    let Some(found) = found else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no dead letter {id}; `weft dead-letters list` lists those there are"),
        ));
    };
    let (stored, event_lost) = match &found.event {
        Ok(envelope) => (Some(stored(envelope)), None),
        Err(why) => (None, Some(lost(&found, why.clone()))),
    };
    let reply = found.dead().and_then(|dead| dead.reply.clone());
    let reply = reply.and_then(|bytes| Event::from_stored(bytes).ok());
    let history = numbered(found.attempts());
    Ok(Json(LetterDetail {
        letter: letter(&found, state.admin.clock.wall()),
        stored,
        event_lost,
        history: history.map(attempt).collect(),
        reply: reply.map(|event| event_view(&event.as_ref())),
        rejected: found.rejected().map(rejected),
    }))
}

/// Begins to redrive.
pub(crate) async fn redrive(
    Shared(state): Shared<State>,
    Json(asked): Json<JobAsked>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    if let Some(uri) = &asked.to_uri {
        Destination::parse(uri)
            .map_err(|wrong| refused(format!("toUri {}, {}", wrong.found, wrong.cure)))?;
    }
    let what = What::Redrive {
        to: asked.to_uri.clone(),
        rate: asked.rate,
    };
    begin(&state, asked, what)
}

/// Begins to discard.
pub(crate) async fn discard(
    Shared(state): Shared<State>,
    Json(asked): Json<JobAsked>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    if asked.to_uri.is_some() || asked.rate.is_some() {
        return Err(refused(
            "toUri and rate are for redrive; to discard leave them out",
        ));
    }
    begin(&state, asked, What::Discard)
}

fn begin(
    state: &State,
    asked: JobAsked,
    what: What,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let JobAsked {
        ids,
        filter,
        dry_run,
        ..
    } = asked;
    let which = if ids.is_empty() {
        if !matches!(filter.state.as_deref(), None | Some("kept")) {
            let why =
                "state: only letters that are kept can be redriven or discarded, leave it out";
            return Err(refused(why));
        }
        let query = filter.query(state.admin.clock.wall())?;
        known(state, query.trigger.as_ref())?;
        Which::All(Box::new(query))
    } else if filter != Filter::default() {
        return Err(refused(
            "ids and a filter exclude each other; leave one out",
        ));
    } else if ids.len() > IDS_MAX {
        let why = format!("{} ids are too many, name {IDS_MAX} at the most", ids.len());
        return Err(refused(why));
    } else {
        Which::Ids(ids.into_iter().map(Offset).collect())
    };
    let asked = Asked {
        which,
        what,
        dry_run,
    };
    let (job, work) = state
        .admin
        .engine
        .redrive(asked)
        .map_err(|why| Problem::new(StatusCode::TOO_MANY_REQUESTS, why.to_string()))?;
    state.running.spawn(work);
    Ok((StatusCode::ACCEPTED, Json(job_view(&job))))
}

/// Refuses a trigger that is none and has no letters from when it was one.
fn known(state: &State, trigger: Option<&TriggerName>) -> Result<(), Problem> {
    let Some(trigger) = trigger else {
        return Ok(());
    };
    let engine = &state.admin.engine;
    let its = Query {
        trigger: Some(trigger.clone()),
        ..Query::default()
    };
    let letters = || engine.dead_letters().page(&its, From::Oldest(Offset(0)), 1);
    if engine.has_trigger(trigger) || !letters().letters.is_empty() {
        return Ok(());
    }
    let why = format!(
        "there is no trigger {trigger}, and no dead letter of one; `weft get triggers` and \
         `weft dead-letters list` list those there are"
    );
    Err(Problem::new(StatusCode::NOT_FOUND, why))
}

/// One job.
pub(crate) async fn job(Shared(state): Shared<State>, Path(id): Path<u64>) -> Answer<JobView> {
    Ok(Json(job_view(&*find(&state, id)?)))
}

/// Tells a job to stop.
pub(crate) async fn stop(Shared(state): Shared<State>, Path(id): Path<u64>) -> Answer<JobView> {
    let job = find(&state, id)?;
    job.stop();
    Ok(Json(job_view(&job)))
}

/// All jobs that are remembered, the newest first.
pub(crate) async fn jobs(
    Shared(state): Shared<State>,
) -> Answer<crate::admin::views::List<JobView>> {
    let jobs = state.admin.engine.jobs().all();
    let items = jobs.iter().map(|job| job_view(job)).collect();
    Ok(Json(crate::admin::views::List { items }))
}

fn find(state: &State, id: u64) -> Result<Arc<Job>, Problem> {
    state.admin.engine.jobs().get(id).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no job {id}; they are forgotten when the node restarts"),
        )
    })
}

/// A job in the API's words.
pub(crate) fn job_view(job: &Job) -> JobView {
    let jobs::Progress {
        state,
        ended,
        looked_at,
        done,
        first,
        refused,
        refusals,
    } = job.progress();
    let (state, error) = match state {
        jobs::State::Running => ("running", None),
        jobs::State::Done => ("done", None),
        jobs::State::Stopped => ("stopped", None),
        jobs::State::Failed(why) => ("failed", Some(why)),
    };
    let refusals = refusals.into_iter();
    let refusals = refusals.map(|jobs::Refusal { id, why }| RefusalView { id, why });
    JobView {
        id: job.id,
        kind: job.kind.into(),
        state: state.into(),
        error,
        dry_run: job.dry_run,
        began: rfc3339(job.began),
        ended: ended.map(rfc3339),
        looked_at,
        done,
        first,
        refused,
        refusals: refusals.collect(),
        delivered: job.tracker.delivered(),
        dead: job.tracker.dead(),
        cancelled: job.tracker.cancelled(),
        outstanding: job.tracker.outstanding(),
    }
}

/// Runs what reads the disk off the API's thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Problem::ended())
}
