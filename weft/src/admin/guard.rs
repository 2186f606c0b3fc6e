//! Who may talk to the admin API.
//!
//! A web page that an operator visits can send requests to loopback, and by DNS rebinding read
//! the answers; so on loopback the Host must be a loopback name, and requests of pages from
//! elsewhere, which carry an Origin, are refused. Off loopback a token is asked for; probes need
//! none.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::admin::problem::Problem;

/// What is checked before a request is looked at.
#[derive(Debug)]
pub(crate) struct Guard {
    loopback: bool,
    token: Option<String>,
}

impl Guard {
    /// For an API that listens on `address`.
    pub(crate) fn new(address: SocketAddr, token: Option<String>) -> Self {
        Self {
            loopback: address.ip().is_loopback(),
            token,
        }
    }

    /// Why a request is refused, if it is.
    fn refusal(&self, path: &str, headers: &HeaderMap) -> Option<Problem> {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or("");
        if self.loopback && !is_loopback_name(host) {
            return Some(Problem::new(
                StatusCode::FORBIDDEN,
                format!(
                    "Host is \"{host}\", this API listens on loopback and answers to localhost, 127.0.0.1 and [::1] only"
                ),
            ));
        }
        if let Some(origin) = headers.get(header::ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            if origin != format!("http://{host}") {
                return Some(Problem::new(
                    StatusCode::FORBIDDEN,
                    format!("requests of web pages from elsewhere ({origin}) are refused"),
                ));
            }
        }
        let probe = matches!(path, "/healthz" | "/readyz");
        match &self.token {
            Some(token) if !probe && !has_token(headers, token) => Some(Problem::new(
                StatusCode::UNAUTHORIZED,
                "this API asks for a token: send `Authorization: Bearer TOKEN`, or use --token-file FILE",
            )),
            _ => None,
        }
    }
}

/// The middleware.
pub(crate) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    match guard.refusal(request.uri().path(), request.headers()) {
        None => next.run(request).await,
        Some(problem) => {
            let mut response = problem.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let scheme = header::HeaderValue::from_static("Bearer");
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        // An IPv6 address in brackets has colons of its own.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let value = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.as_bytes());
    let given = value
        .and_then(|value| value.strip_prefix(b"Bearer "))
        .unwrap_or(b"");
    // Compared whole, so that the time tells nothing about how much of a guess was right.
    let differing = given
        .iter()
        .zip(token.as_bytes())
        .fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(address: &str, token: Option<&str>, path: &str, headers: &[(&str, &str)]) -> u16 {
        let guard = Guard::new(address.parse().unwrap(), token.map(str::to_owned));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(
                header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        guard
            .refusal(path, &map)
            .map_or(200, |problem| problem.into_response().status().as_u16())
    }

    #[test]
    fn on_loopback_only_loopback_names_are_hosts() {
        for host in [
            "localhost:8090",
            "127.0.0.1:8090",
            "[::1]:8090",
            "LOCALHOST",
            "127.9.9.9",
        ] {
            assert_eq!(
                status("127.0.0.1:8090", None, "/metrics", &[("host", host)]),
                200,
                "{host}"
            );
        }
        for host in [
            "evil.example:8090",
            "10.0.0.1",
            "",
            "localhost.evil.example",
            "127.0.0.1.evil",
        ] {
            assert_eq!(
                status("127.0.0.1:8090", None, "/metrics", &[("host", host)]),
                403,
                "{host}"
            );
        }
        assert_eq!(
            status(
                "0.0.0.0:8090",
                Some("t"),
                "/healthz",
                &[("host", "weft.internal")]
            ),
            200
        );
    }

    #[test]
    fn a_web_page_from_elsewhere_is_refused() {
        let host = ("host", "localhost:8090");
        for (origin, expected) in [
            ("http://localhost:8090", 200),
            ("https://evil.example", 403),
            ("null", 403),
        ] {
            let got = status(
                "127.0.0.1:8090",
                None,
                "/api/v1/status",
                &[host, ("origin", origin)],
            );
            assert_eq!(got, expected, "{origin}");
        }
    }

    #[test]
    fn a_token_is_asked_for_everywhere_but_by_probes() {
        let host = ("host", "node:8090");
        let ask = |path, headers: &[(&str, &str)]| {
            status("0.0.0.0:8090", Some("0123456789abcdef"), path, headers)
        };
        assert_eq!(ask("/metrics", &[host]), 401);
        assert_eq!(
            ask(
                "/metrics",
                &[host, ("authorization", "Bearer 0123456789abcdeX")]
            ),
            401
        );
        assert_eq!(
            ask(
                "/metrics",
                &[host, ("authorization", "Bearer 0123456789abcde")]
            ),
            401
        );
        assert_eq!(
            ask(
                "/metrics",
                &[host, ("authorization", "Bearer 0123456789abcdef")]
            ),
            200
        );
        assert_eq!(ask("/readyz", &[host]), 200);
    }
}
