//! One request: what it asks for, and the door it goes through.
//!
//! The order matters. Whether the broker exists is known before the body is read; the body is
//! bounded while it is read; 202 is said after the event is stored.

use std::sync::Arc;

use broker::admission::BrokerFacts;
use bytes::Bytes;
use event::http::Limits;
use http::header::{ALLOW, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use triggers::BrokerName;

use super::noted::Noted;
use super::refused::{ALLOWED, Refused};
use super::scan::Violation;
use super::{Door, Readiness, Source, body, names};

type Answer = Response<Full<Bytes>>;

/// Serves one request. Always answers; what can't be answered has no request.
pub(super) async fn receive<D: Door>(
    source: &Source<D>,
    request: Request<Incoming>,
    violation: Option<Violation>,
) -> Answer {
    let (head, body) = request.into_parts();
    let answered = match violation {
        None => answer(source, &head, body).await,
        Some(violation) => Err(Refused::Head(violation)),
    };
    let response = answered.unwrap_or_else(|refused| {
        source.stats.refused(refused.status().1);
        refused.response(head.version)
    });
    source.stats.answered(response.status());
    response
}

async fn answer<D: Door>(
    source: &Source<D>,
    head: &Parts,
    body: Incoming,
) -> Result<Answer, Refused> {
    let noted = Noted::of(head)?;
    if noted.network_probe {
        return Ok(network_probe(&noted));
    }
    match head.method {
        Method::POST => publish(source, head, noted, body).await,
        Method::OPTIONS => options(source, head),
        Method::GET | Method::HEAD => asked(source, head, &noted),
        _ => Err(Refused::Method(head.method.clone())),
    }
}

/// Takes the events of a request in.
async fn publish<D: Door>(
    source: &Source<D>,
    head: &Parts,
    noted: Noted<'_>,
    mut body: Incoming,
) -> Result<Answer, Refused> {
    if let Some(encoding) = noted
        .encoding
        .filter(|e| !e.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(Refused::Encoding(
            String::from_utf8_lossy(encoding.as_bytes()).into_owned(),
        ));
    }
    let facts = source.broker(head.uri.path())?;
    let settings = &source.settings;
    let limit = match is_batch(&head.headers) {
        true => settings.batch_bytes_max,
        false => facts.event_bytes_max,
    };
    let mut permit = source.budget.permit();
    let read = body::read(&mut body, limit, settings, &mut permit).await;
    if read.is_err() && !noted.expects {
        body::linger(body);
    }
    let read = read?;
    let bytes = read.len();
    let limits = Limits {
        event_bytes_max: facts.event_bytes_max,
        batch_events_max: settings.batch_events_max,
        batch_bytes_max: settings.batch_bytes_max,
        json_depth_max: settings.json_depth_max,
    };
    let batch = event::http::decode(&head.headers, read, &limits)?;
    source.door.publish(&facts, &noted.context, &batch).await?;
    source.stats.stored(batch.events.len(), bytes);
    drop(permit);
    let mut accepted = Response::new(Full::default());
    *accepted.status_mut() = StatusCode::ACCEPTED;
    Ok(accepted)
}

impl<D: Door> Source<D> {
    /// The broker whose address `path` is.
    fn broker(&self, path: &str) -> Result<Arc<BrokerFacts>, Refused> {
        if let Some(name) = self.names.borrow().known(path) {
            return Ok(self.door.broker(name)?);
        }
        let (namespace, name) = names::split(path).ok_or(Refused::NoSuchPath)?;
        let name = BrokerName::new(namespace, name);
        let facts = self.door.broker(&name)?;
        self.names.borrow_mut().remember(path, name);
        Ok(facts)
    }
}

/// `OPTIONS` at a broker's address: what may be sent there, and the CloudEvents web hook
/// handshake (HTTP Web Hooks 1.0.2, §4), which we always consent to.
fn options<D: Door>(source: &Source<D>, head: &Parts) -> Result<Answer, Refused> {
    source.broker(head.uri.path())?;
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(ALLOW, ALLOWED);
    if let Some(origin) = head.headers.get("webhook-request-origin") {
        headers.insert("webhook-allowed-origin", origin.clone());
        headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    }
    Ok(response)
}

/// `GET`: probes, and nothing else.
fn asked<D: Door>(source: &Source<D>, head: &Parts, noted: &Noted<'_>) -> Result<Answer, Refused> {
    match (head.uri.path(), (source.health)()) {
        ("/healthz", _) => Ok(text(StatusCode::OK, "alive\n")),
        ("/readyz", Readiness::Ready) => Ok(text(StatusCode::OK, "ready\n")),
        ("/readyz", Readiness::NotReady(why)) => Ok(text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        )),
        ("/readyz", Readiness::Draining) => Ok(text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")),
        (_, Readiness::Draining) if noted.kube_probe => {
            Ok(text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"))
        }
        _ if noted.kube_probe => Ok(text(StatusCode::OK, "alive\n")),
        _ => Err(Refused::Method(head.method.clone())),
    }
}

/// Knative's controllers ask so whether an address has arrived at its data plane.
fn network_probe(noted: &Noted<'_>) -> Answer {
    let mut response = Response::new(Full::default());
    if let Some(hash) = noted.network_hash {
        response
            .headers_mut()
            .insert("k-network-hash", hash.clone());
    }
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Which bound a body has; what it really is, the event crate judges.
fn is_batch(headers: &HeaderMap) -> bool {
    const BATCH: &[u8] = b"application/cloudevents-batch";
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .get(..BATCH.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(BATCH))
    })
}
