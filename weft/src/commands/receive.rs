//! `weft receive`: a function to try things with. It prints each event, and can fail, dawdle or
//! answer with an event, so that a newcomer sees what the broker makes of each.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use event::http::{Limits, Out, decode, encode};
use event::{Event, EventRef};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::cli::ReceiveArgs;
use crate::exit::{Exit, Failure};
use crate::source::fresh_id;
use crate::{json, out};

/// The largest request that is read: a batch at the broker's default limit.
const BODY_BYTES_MAX: usize = 4 << 20;
/// How many lines of data are printed for one event.
const DATA_LINES_MAX: usize = 40;
/// The status of an answer that fails because of `--fail`.
const FAIL_STATUS: u16 = 503;

/// How this function behaves.
#[derive(Debug)]
struct Function {
    status: Option<u16>,
    fail: Option<u64>,
    delay: Option<Duration>,
    retry_after: Option<Duration>,
    reply: Option<String>,
    reply_data: Option<String>,
    quiet: bool,
    seen: Cell<u64>,
    random: RandomState,
}

/// Listens until it is told to stop.
pub(crate) fn run(args: &ReceiveArgs) -> Result<(), Failure> {
    let function = Function {
        status: args.status,
        fail: args.fail,
        delay: args.delay.map(|span| span.0),
        retry_after: args.retry_after.map(|span| span.0),
        reply: args.reply.clone(),
        reply_data: args.reply_data.clone(),
        quiet: args.quiet,
        seen: Cell::new(0),
        random: RandomState::new(),
    };
    super::block_on(LocalSet::new().run_until(serve(args.listen, function)))
}

async fn serve(listen: SocketAddr, function: Function) -> Result<(), Failure> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        Failure::new(Exit::Address, format!("can't listen on {listen}: {error}"))
            .cure("stop what listens there, or choose another with --listen ADDR")
    })?;
    let address = listener.local_addr().map_err(Failure::fault)?;
    out::line(format_args!(
        "function  http://{address}/  {}",
        function.manners()
    ));
    let function = Rc::new(function);
    let mut stop = std::pin::pin!(crate::signals::stop());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Such as too many open files: the next accept may do better.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut stop => return Ok(()),
        };
        let function = function.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                let function = function.clone();
                async move { Ok::<_, Infallible>(function.take(request).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .max_headers(512)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
}

impl Function {
    /// How it behaves, in words.
    fn manners(&self) -> String {
        let mut manners = Vec::new();
        if let Some(delay) = self.delay {
            manners.push(format!("waits {:.1} s", delay.as_secs_f64()));
        }
        if let Some(fail) = self.fail {
            manners.push(format!(
                "answers {} to the first {fail}",
                self.status.unwrap_or(FAIL_STATUS)
            ));
        }
        match (&self.reply, self.status) {
            (Some(ty), _) => manners.push(format!("answers with an event of type {ty}")),
            (None, Some(status)) if self.fail.is_none() => {
                manners.push(format!("answers {status}"))
            }
            _ => manners.push("answers 200".into()),
        }
        manners.join(", then ")
    }

    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return plain(StatusCode::OK, "weft receive: send events here by POST\n");
        }
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "over 4 MiB, or broken off\n");
        };
        let limits = Limits {
            event_bytes_max: BODY_BYTES_MAX,
            ..Limits::default()
        };
        let batch = match decode(&parts.headers, body.to_bytes(), &limits) {
            Ok(batch) => batch,
            Err(error) => {
                out::line(format_args!("{}  not a CloudEvent: {error}", now()));
                return plain(StatusCode::BAD_REQUEST, &format!("{error}\n"));
            }
        };
        let number = self.seen.get() + 1;
        self.seen.set(number);
        let answer = self.answer(number, &batch.events);
        for event in &batch.events {
            let text = if self.quiet {
                line(&event.as_ref(), &parts.headers, answer.status())
            } else {
                full(&event.as_ref(), &parts.headers, answer.status())
            };
            out::line(text);
        }
        if let Some(delay) = self.delay {
            tokio::time::sleep(delay).await;
        }
        answer
    }

    /// The answer to request `number`, counted from 1.
    fn answer(&self, number: u64, events: &[Event]) -> Response<Full<Bytes>> {
        let failing = self.fail.map(|fail| number <= fail);
        let status = match (failing, self.status) {
            (Some(true), status) => status.unwrap_or(FAIL_STATUS),
            (None, Some(status)) => status,
            _ => 200,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        if status.is_success()
            && let (Some(ty), Some(cause)) = (&self.reply, events.first())
        {
            return self.reply(ty, number, &cause.as_ref());
        }
        let text = match status.is_success() {
            true => String::new(),
            false => format!("weft receive was told to answer {}\n", status.as_u16()),
        };
        let mut response = plain(status, &text);
        if let Some(after) = self.retry_after {
            response
                .headers_mut()
                .insert(http::header::RETRY_AFTER, after.as_secs().into());
        }
        response
    }

    fn reply(&self, ty: &str, number: u64, cause: &EventRef<'_>) -> Response<Full<Bytes>> {
        let data = match &self.reply_data {
            Some(data) => data.clone(),
            None => format!("{{\"answers\": {}}}", serde_json::Value::from(cause.id())),
        };
        let built = Event::build(&fresh_id(&self.random, number), "/weft/receive", ty)
            .datacontenttype("application/json")
            .data(data)
            .finish();
        match built {
            Ok(event) => {
                let encoded = encode(&event.as_ref(), Out::Binary, &[], &[]);
                let mut response = Response::new(Full::new(encoded.body));
                *response.headers_mut() = encoded.headers;
                response
            }
            Err(error) => plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("--reply: {error}\n"),
            ),
        }
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response
}

/// Local time of day, to the millisecond.
fn now() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S%.3f").to_string()
}

fn attempt(headers: &HeaderMap) -> Option<&str> {
    headers.get("weft-attempt")?.to_str().ok()
}

/// One event on one line.
fn line(event: &EventRef<'_>, headers: &HeaderMap, answer: StatusCode) -> String {
    let attempt = attempt(headers).map_or(String::new(), |attempt| format!("  attempt {attempt}"));
    let (ty, source, id) = (event.ty(), event.source(), event.id());
    format!(
        "{}  {ty}  {source}  {id}{attempt}  -> {}",
        now(),
        answer.as_u16()
    )
}

/// One event in full.
fn full(event: &EventRef<'_>, headers: &HeaderMap, answer: StatusCode) -> String {
    let attempt = attempt(headers).map_or(String::new(), |attempt| format!("  attempt {attempt}"));
    let mut text = format!(
        "\n{}  {}{attempt}  -> {}",
        now(),
        event.ty(),
        answer.as_u16()
    );
    text.push('\n');
    text.push_str(&attributes(event));
    let data = event.data_bytes();
    if !data.is_empty() {
        let media_type = event.datacontenttype().unwrap_or("application/json");
        text.push_str(&format!("  data  {media_type}, {} bytes\n", data.len()));
        text.push_str(&json::readable(&data, "    ", DATA_LINES_MAX));
    }
    text.trim_end().to_owned()
}

/// The attributes as a list, but for the type, which is the heading, and the data's type, which
/// stands beside the data.
fn attributes(event: &EventRef<'_>) -> String {
    let shown = |name: &str| !matches!(name, "type" | "datacontenttype" | "specversion");
    let rows: Vec<_> = event.attributes().filter(|(name, _)| shown(name)).collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| format!("  {name:<width$}  {value}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn function() -> Function {
        Function {
            status: None,
            fail: None,
            delay: None,
            retry_after: None,
            reply: None,
            reply_data: None,
            quiet: false,
            seen: Cell::new(0),
            random: RandomState::new(),
        }
    }

    fn event() -> Event {
        let event = Event::build("o-1", "/shop", "order.placed").attribute("region", "eu");
        event
            .datacontenttype("application/json")
            .data(r#"{"amount":1e400}"#)
            .finish()
            .unwrap()
    }

    #[test]
    fn an_event_is_printed_as_a_person_reads_it() {
        let event = event();
        let mut headers = HeaderMap::new();
        headers.insert("weft-attempt", "2".parse().unwrap());
        let text = full(&event.as_ref(), &headers, StatusCode::OK);
        let (_, rest) = text.trim_start().split_at("12:00:00.000".len());
        expect![[r#"
            TIME  order.placed  attempt 2  -> 200
              id      o-1
              source  /shop
              region  eu
              data  application/json, 16 bytes
                {
                  "amount": 1e400
                }"#]]
        .assert_eq(&format!("TIME{rest}"));
    }

    #[test]
    fn it_fails_as_often_as_it_was_told() {
        let function = Function {
            fail: Some(2),
            ..function()
        };
        let statuses: Vec<u16> = (1..=4)
            .map(|number| function.answer(number, &[event()]).status().as_u16())
            .collect();
        assert_eq!(statuses, [503, 503, 200, 200]);
        let function = Function {
            status: Some(410),
            ..self::function()
        };
        assert_eq!(function.answer(1, &[event()]).status().as_u16(), 410);
    }

    #[test]
    fn a_reply_is_an_event() {
        let function = Function {
            reply: Some("order.billed".into()),
            ..function()
        };
        let response = function.answer(1, &[event()]);
        assert_eq!(response.headers()["ce-type"], "order.billed");
        assert_eq!(response.headers()["ce-source"], "/weft/receive");
    }
}
