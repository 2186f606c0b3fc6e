//! From a delivery to the HTTP request that carries it (contract §2).
//!
//! This runs for each attempt, so what depends on the destination alone is made once and kept.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use broker::Request;
use broker::time::rfc3339_bytes;
use broker::trace::TraceParent;
use bytes::Bytes;
use event::http::Out;
use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::Full;
use triggers::{Destination, Format};

/// How many destinations, and namespaces, are remembered; when full, all are forgotten and made
/// anew.
const KEPT_MAX: usize = 4096;

/// How many headers are added to an event's own, besides the forwarded ones.
const OURS: usize = 8;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const KN_NAMESPACE: HeaderName = HeaderName::from_static("kn-namespace");
const WEFT_ATTEMPT: HeaderName = HeaderName::from_static("weft-attempt");
const WEFT_DEADLINE: HeaderName = HeaderName::from_static("weft-deadline");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const REPLY: HeaderValue = HeaderValue::from_static("reply");
const FIRST: HeaderValue = HeaderValue::from_static("1");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("weft/", env!("CARGO_PKG_VERSION")));

/// What of a request is its destination's.
pub(super) struct Target {
    /// What connections are kept by; plain HTTP is the only scheme.
    pub(super) authority: Rc<str>,
    uri: Uri,
    host: HeaderValue,
}

/// Makes requests, and remembers what they have in common.
#[derive(Default)]
pub(super) struct Requests {
    targets: RefCell<HashMap<Box<str>, Rc<Target>>>,
    namespaces: RefCell<HashMap<Arc<str>, HeaderValue>>,
}

impl Requests {
    /// What is known of a destination.
    pub(super) fn target(&self, destination: &Destination) -> Rc<Target> {
        if let Some(target) = self.targets.borrow().get(destination.uri()) {
            return Rc::clone(target);
        }
        let target = Rc::new(Target {
            authority: destination.authority().into(),
            uri: destination
                .path_and_query()
                .parse()
                .expect("a destination's path was checked when it was read"),
            host: HeaderValue::from_str(destination.authority())
                .expect("a destination's authority was checked when it was read"),
        });
        let mut targets = self.targets.borrow_mut();
        if targets.len() >= KEPT_MAX {
            targets.clear();
        }
        targets.insert(destination.uri().into(), Rc::clone(&target));
        target
    }

    /// The request of one attempt.
    pub(super) fn message(&self, request: &Request, target: &Target) -> http::Request<Full<Bytes>> {
        let add: Vec<(&str, &str)> = request
            .add
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let out = match request.format {
            Format::AsItCame => Out::AsItCame,
            Format::Json => Out::Json,
            Format::Binary => Out::Binary,
        };
        let encoded = event::http::encode(&request.event.as_ref(), out, &add, &[]);
        let mut message = http::Request::new(Full::new(encoded.body));
        *message.method_mut() = Method::POST;
        *message.uri_mut() = target.uri.clone();
        *message.headers_mut() = encoded.headers;
        self.put_ours(message.headers_mut(), request, target);
        message
    }

    fn put_ours(&self, headers: &mut HeaderMap, request: &Request, target: &Target) {
        headers.reserve(OURS + request.forwarded.len());
        for (name, value) in &request.forwarded {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_bytes(value))
            {
                headers.append(name, value);
            }
        }
        headers.insert(HOST, target.host.clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(PREFER, REPLY);
        if let Some(namespace) = self.namespace(&request.namespace) {
            headers.insert(KN_NAMESPACE, namespace);
        }
        let attempt = match request.attempt {
            1 => FIRST,
            later => HeaderValue::from(later),
        };
        headers.insert(WEFT_ATTEMPT, attempt);
        if let Some(deadline) = request.deadline {
            headers.insert(WEFT_DEADLINE, ascii(&rfc3339_bytes(deadline)));
        }
        headers.insert(TRACEPARENT, ascii(&trace_parent(&request.trace)));
        if let Some(Ok(state)) = request.tracestate.as_deref().map(HeaderValue::from_str) {
            headers.insert(TRACESTATE, state);
        }
    }

    fn namespace(&self, namespace: &Arc<str>) -> Option<HeaderValue> {
        if let Some(value) = self.namespaces.borrow().get(namespace) {
            return Some(value.clone());
        }
        let value = HeaderValue::from_str(namespace).ok()?;
        let mut namespaces = self.namespaces.borrow_mut();
        if namespaces.len() >= KEPT_MAX {
            namespaces.clear();
        }
        namespaces.insert(Arc::clone(namespace), value.clone());
        Some(value)
    }
}

fn ascii(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).expect("digits, letters and dashes are a header's value")
}

/// As [`TraceParent`] is displayed, without the formatting machinery.
fn trace_parent(trace: &TraceParent) -> [u8; 55] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    put_hex(&mut text[3..35], &trace.trace_id);
    put_hex(&mut text[36..52], &trace.span_id);
    put_hex(&mut text[53..55], &[trace.flags]);
    text
}

fn put_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_parent_is_written_as_it_is_displayed() {
        let trace = TraceParent {
            trace_id: std::array::from_fn(|i| (i * 17) as u8 ^ 0x5a),
            span_id: std::array::from_fn(|i| (i * 31) as u8 ^ 0xa5),
            flags: 1,
        };
        assert_eq!(trace_parent(&trace), trace.to_string().as_bytes());
    }
}
