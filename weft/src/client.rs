//! A small HTTP/1.1 client: one kept-alive connection, whole answers, clear words when nobody
//! answers. The commands use it towards brokers and the admin API, and the exporter of traces
//! towards a collector. Deliveries have a client of their own, in `adapters-http`.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a whole answer may take, from the request's first byte. A broker that can't store
/// answers at once, so this only ends what hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is read; a longer one is an error, not a truncation.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// The port of `http://` addresses that name none.
const HTTP_PORT: u16 = 80;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address can't be used.
    #[error("\"{url}\" {why}, write a whole address such as {example}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
        /// One that would do.
        example: &'static str,
    },
    /// No connection was made.
    #[error("nothing answers at {authority}: {}", plain(.source))]
    Unreachable {
        /// Host and port.
        authority: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection broke before the answer was in.
    #[error("{authority} closed the connection before it answered: {why}")]
    Broken {
        /// Host and port.
        authority: String,
        /// What hyper says.
        why: String,
    },
    /// The answer didn't come in time.
    #[error("{authority} didn't answer within {} s", ANSWER_TIMEOUT.as_secs())]
    TimedOut {
        /// Host and port.
        authority: String,
    },
    /// The request can't be put into HTTP.
    #[error("the request can't be sent: {0}")]
    Request(#[from] http::Error),
}

/// The system's words without its number.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::TimedOut => {
            format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())
        }
        _ => error.to_string(),
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, whole.
    pub(crate) body: Bytes,
}

/// A connection to one server, made when it is needed and kept.
#[derive(Debug)]
pub(crate) struct Client {
    authority: String,
    path: String,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// Drives the connection; ends with the client.
    driver: JoinSet<()>,
}

impl Client {
    /// A client for the server of `url`; `example` is shown when the address is no good.
    ///
    /// # Errors
    ///
    /// [`Error::Address`].
    pub(crate) fn new(url: &str, example: &'static str) -> Result<Self, Error> {
        let bad = |why| Error::Address {
            url: url.into(),
            why,
            example,
        };
        let uri: Uri = url.parse().map_err(|_| bad("isn't an address"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(bad("is https, which this version doesn't speak")),
            _ => return Err(bad("doesn't begin with http://")),
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or(bad("names no host"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(HTTP_PORT));
        let path = uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        Ok(Self {
            authority,
            path,
            connection: None,
            driver: JoinSet::new(),
        })
    }

    /// The path and query of the address that the client was made with.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Sends a request and reads the whole answer. A kept connection that turns out to be
    /// closed is replaced once.
    ///
    /// # Errors
    ///
    /// See [`Error`]. A status is never an error here.
    pub(crate) async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Error> {
        let reused = self.connection.is_some();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, async {
            match self.exchange(&method, path, headers, body.clone()).await {
                // The server closed the idle connection before it saw the request.
                Err(Error::Broken { .. }) if reused => {
                    self.exchange(&method, path, headers, body).await
                }
                result => result,
            }
        });
        let result = answer.await.unwrap_or_else(|_| {
            Err(Error::TimedOut {
                authority: self.authority.clone(),
            })
        });
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    async fn exchange(
        &mut self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = path.parse().map_err(http::Error::from)?;
        *request.headers_mut() = headers.clone();
        let host = self.authority.parse().map_err(http::Error::from)?;
        request.headers_mut().insert(http::header::HOST, host);
        let authority = self.authority.clone();
        let broken = |why: String| Error::Broken {
            authority: authority.clone(),
            why,
        };
        let mut connection = match self.connection.take() {
            Some(kept) if !kept.is_closed() => kept,
            _ => self.connect().await?,
        };
        let said = async {
            connection
                .ready()
                .await
                .map_err(|error| broken(error.to_string()))?;
            connection
                .send_request(request)
                .await
                .map_err(|error| broken(error.to_string()))
        };
        let (parts, body) = said.await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
        self.connection = Some(connection);
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let unreachable = |source| Error::Unreachable {
            authority: self.authority.clone(),
            source,
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.authority))
            .await
            .unwrap_or_else(|elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)))
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream))
                .await
                .map_err(|error| Error::Broken {
                    authority: self.authority.clone(),
                    why: error.to_string(),
                })?;
        self.driver.abort_all();
        self.driver.spawn(async move {
            // How it ended shows in the request that was on it.
            connection.await.unwrap_or(());
        });
        Ok(sender)
    }
}

/// A `problem+json` answer (RFC 9457), as brokers and the admin API send it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// A short name of what is wrong.
    pub(crate) title: String,
    /// What is wrong here, and what to write instead.
    pub(crate) detail: String,
    /// The attribute that it is about.
    pub(crate) attribute: Option<String>,
}

impl Answer {
    /// What the answer says went wrong: the problem's detail, else the start of the body, else
    /// the status in words.
    pub(crate) fn problem(&self) -> Problem {
        let parsed: Problem = serde_json::from_slice(&self.body).unwrap_or_default();
        if !parsed.detail.is_empty() {
            return parsed;
        }
        const SHOWN_BYTES_MAX: usize = 300;
        let start = &self.body[..self.body.len().min(SHOWN_BYTES_MAX)];
        let text = String::from_utf8_lossy(start).trim().to_owned();
        let title = self.status.canonical_reason().unwrap_or("").to_owned();
        Problem {
            title,
            detail: text,
            attribute: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(url: &str, expect: Expect) {
        let shown = match Client::new(url, "http://127.0.0.1:8090") {
            Ok(client) => format!("{} {}", client.authority, client.path()),
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn an_address_that_cannot_be_used_says_what_to_write() {
        check(
            "http://127.0.0.1:8080/shop/default?x=1",
            expect!["127.0.0.1:8080 /shop/default?x=1"],
        );
        check("http://localhost", expect!["localhost:80 /"]);
        check("http://[::1]:80", expect!["[::1]:80 /"]);
        check(
            "https://a/",
            expect![[
                r#""https://a/" is https, which this version doesn't speak, write a whole address such as http://127.0.0.1:8090"#
            ]],
        );
        check(
            "localhost:8080",
            expect![[
                r#""localhost:8080" doesn't begin with http://, write a whole address such as http://127.0.0.1:8090"#
            ]],
        );
        check(
            "a b",
            expect![[
                r#""a b" isn't an address, write a whole address such as http://127.0.0.1:8090"#
            ]],
        );
    }

    #[test]
    fn a_refused_connection_is_said_in_plain_words() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut client = Client::new(&format!("http://{free}/"), "").unwrap();
        let headers = HeaderMap::new();
        let asked = client.request(Method::GET, "/", &headers, Bytes::new());
        let error = runtime.block_on(asked).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("nothing answers at {free}: connection refused")
        );
    }

    #[test]
    fn a_problem_is_read_from_the_body_or_made_from_the_status() {
        let answer = |body: &'static str| Answer {
            status: StatusCode::BAD_REQUEST,
            headers: HeaderMap::new(),
            body: body.into(),
        };
        let told =
            answer(r#"{"title":"t","detail":"id is missing","attribute":"id","status":400}"#);
        let problem = told.problem();
        assert_eq!(
            (problem.detail.as_str(), problem.attribute.as_deref()),
            ("id is missing", Some("id"))
        );
        let problem = answer("upstream said no\n").problem();
        assert_eq!(
            (problem.title.as_str(), problem.detail.as_str()),
            ("Bad Request", "upstream said no")
        );
    }
}
