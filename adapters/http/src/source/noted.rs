//! What a request's headers say beside the event: noted in one pass, since each look-up in a
//! header map costs about as much as passing by a header.

use broker::records::envelope::Context;
use broker::trace::TraceParent;
use http::request::Parts;
use http::{HeaderValue, Version};

use super::connection::HEADERS_MAX;
use super::refused::Refused;

/// How many bytes of headers are kept to be sent on with an event; what is over it is not sent
/// on. They are stored with each event.
const FORWARDED_BYTES_MAX: usize = 8 * 1024;

/// The longest `tracestate` that is kept; a longer one is dropped, as W3C Trace Context §3.3.1.5
/// allows.
const TRACESTATE_BYTES_MAX: usize = 2 * 1024;

/// What the headers say.
#[derive(Debug, Default)]
pub(super) struct Noted<'a> {
    /// What is kept beside the event.
    pub(super) context: Context,
    /// `Content-Encoding`.
    pub(super) encoding: Option<&'a HeaderValue>,
    /// Whether the sender waits for a go-ahead before the body.
    pub(super) expects: bool,
    /// `K-Network-Probe: probe`, with the hash to echo.
    pub(super) network_probe: bool,
    /// `K-Network-Hash`.
    pub(super) network_hash: Option<&'a HeaderValue>,
    /// `User-Agent: kube-probe/*`.
    pub(super) kube_probe: bool,
    hosts: usize,
    forwarded_bytes: usize,
}

impl<'a> Noted<'a> {
    /// Reads the headers of `head`.
    ///
    /// # Errors
    ///
    /// More headers than [`HEADERS_MAX`]; no `Host` in HTTP/1.1, or two of them.
    pub(super) fn of(head: &'a Parts) -> Result<Self, Refused> {
        if head.headers.len() > HEADERS_MAX {
            return Err(Refused::TooManyHeaders {
                got: head.headers.len(),
            });
        }
        let mut noted = Self::default();
        for (name, value) in &head.headers {
            noted.note(name.as_str(), value);
        }
        match (noted.hosts, head.version) {
            (0, Version::HTTP_11) => Err(Refused::NoHost),
            (2.., _) => Err(Refused::TwoHosts),
            _ => Ok(noted),
        }
    }

    fn note(&mut self, name: &str, value: &'a HeaderValue) {
        match name {
            "host" => self.hosts += 1,
            "content-encoding" => self.encoding = Some(value),
            "expect" => self.expects = true,
            "k-network-probe" => self.network_probe = value == "probe",
            "k-network-hash" => self.network_hash = Some(value),
            "user-agent" => self.kube_probe = value.as_bytes().starts_with(b"kube-probe/"),
            "traceparent" => self.context.traceparent = TraceParent::parse(value.as_bytes()),
            "tracestate" => self.trace_state(value),
            "x-request-id" => self.forward(name, value),
            _ if name.starts_with("knative-") => self.forward(name, value),
            _ => {}
        }
    }

    /// Several lines are one list (RFC 9110, §5.3).
    fn trace_state(&mut self, value: &HeaderValue) {
        let Ok(text) = value.to_str() else { return };
        let state = self.context.tracestate.get_or_insert_default();
        if state.len() + text.len() < TRACESTATE_BYTES_MAX {
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(text);
        }
    }

    fn forward(&mut self, name: &str, value: &HeaderValue) {
        self.forwarded_bytes += name.len() + value.len();
        if self.forwarded_bytes <= FORWARDED_BYTES_MAX {
            self.context
                .forwarded
                .push((name.to_owned(), value.as_bytes().to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_senders_trace_and_forwarded_headers_are_kept() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let head = head(
            Version::HTTP_11,
            &[
                ("host", "x"),
                ("traceparent", trace),
                ("tracestate", "a=1"),
                ("tracestate", "b=2"),
                ("x-request-id", "r-1"),
                ("knative-anything", "k"),
                ("authorization", "secret"),
                ("ce-knative-not", "no"),
            ],
        );
        let context = Noted::of(&head).unwrap().context;
        assert_eq!(
            context.traceparent.map(|t| t.to_string()).as_deref(),
            Some(trace)
        );
        assert_eq!(context.tracestate.as_deref(), Some("a=1,b=2"));
        let pair = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_owned());
        assert_eq!(
            context.forwarded,
            [pair("x-request-id", "r-1"), pair("knative-anything", "k")]
        );
    }

    #[test]
    fn headers_to_send_on_are_bounded() {
        let big = "x".repeat(FORWARDED_BYTES_MAX);
        let sent = [
            ("host", "x"),
            ("x-request-id", "r"),
            ("knative-big", &big),
            ("knative-a", "b"),
        ];
        let head = head(Version::HTTP_11, &sent);
        assert_eq!(Noted::of(&head).unwrap().context.forwarded.len(), 1);
    }

    #[test]
    fn one_host_is_needed_where_http_needs_one() {
        let one = ("host", "x");
        assert!(matches!(
            Noted::of(&head(Version::HTTP_11, &[])),
            Err(Refused::NoHost)
        ));
        assert!(matches!(
            Noted::of(&head(Version::HTTP_11, &[one, one])),
            Err(Refused::TwoHosts)
        ));
        assert!(Noted::of(&head(Version::HTTP_10, &[])).is_ok());
        assert!(Noted::of(&head(Version::HTTP_2, &[])).is_ok());
    }
}
