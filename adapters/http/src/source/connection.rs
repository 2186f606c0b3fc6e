//! One connection: which HTTP it speaks, what hyper may do with it, and when it has had enough
//! time.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::serve::{Stop, stopped};
use super::tap::{Activity, Tap};
use super::{Door, Settings, Source, receive};

/// The largest head in bytes; over it 431.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// The most headers of a request; over it 431.
pub(super) const HEADERS_MAX: usize = 512;

/// What is read ahead of hyper's parser, at most. Over [`HEAD_BYTES_MAX`], or a head of the
/// largest size could never be read.
const BUFFER_BYTES_MAX: usize = 160 * 1024;
const _: () = assert!(HEAD_BYTES_MAX < BUFFER_BYTES_MAX);

/// Requests at once on one HTTP/2 connection; more are refused by h2.
const STREAMS_MAX: u32 = 100;

/// Resets that a peer may have waiting, and that its errors may cause, before h2 ends the
/// connection: rapid reset (CVE-2023-44487) and its like.
const RESETS_MAX: usize = 100;

/// What one HTTP/2 stream, and all of a connection's together, may send ahead.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// How an HTTP/2 connection with prior knowledge begins (RFC 9113, §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum Version {
    Http1,
    Http2,
}

/// Serves one connection until it ends, has had its time, or the node stops; [`super::serve`] does
/// so with each that it accepts. Runs inside a `LocalSet`.
///
/// # Cancel safety
///
/// Dropping the future closes the connection; an event whose answer was still to come may have
/// been stored.
pub async fn attend<S, D>(mut stream: S, source: Rc<Source<D>>, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    D: Door,
{
    let told = tokio::select! {
        told = tell_version(&mut stream, &source.settings) => told,
        _deadline = stopped(&mut stop) => return,
    };
    let Some((version, replay)) = told else {
        return;
    };
    let activity = Rc::new(Activity::new());
    let service = service_fn({
        let (source, activity) = (Rc::clone(&source), Rc::clone(&activity));
        move |request| {
            let source = Rc::clone(&source);
            let (in_flight, violation) = activity.begin();
            async move {
                let response = receive::receive(&source, request, violation).await;
                drop(in_flight);
                Ok::<_, Infallible>(response)
            }
        }
    });
    match version {
        Version::Http1 => {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.max_headers(HEADERS_MAX)
                .max_header_size(HEAD_BYTES_MAX)
                .max_buf_size(BUFFER_BYTES_MAX)
                .header_read_timeout(None);
            let io = TokioIo::new(Tap::watched(stream, replay, Rc::clone(&activity)));
            drive(
                http.serve_connection(io, service),
                &activity,
                &source.settings,
                stop,
            )
            .await;
        }
        Version::Http2 => {
            let mut http = hyper::server::conn::http2::Builder::new(OnThisThread);
            http.timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .max_pending_accept_reset_streams(RESETS_MAX)
                .max_local_error_reset_streams(RESETS_MAX)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .keep_alive_interval(source.settings.idle_time_max)
                .keep_alive_timeout(source.settings.head_time_max);
            let io = TokioIo::new(Tap::plain(stream, replay));
            drive(
                http.serve_connection(io, service),
                &activity,
                &source.settings,
                stop,
            )
            .await;
        }
    }
}

/// Reads until it is certain whether the peer speaks HTTP/2. `None`: it left, or said nothing.
async fn tell_version<S: AsyncRead + Unpin>(
    stream: &mut S,
    settings: &Settings,
) -> Option<(Version, Vec<u8>)> {
    let mut bytes = [0; PREFACE.len()];
    let mut len = 0;
    let mut deadline = Instant::now() + settings.idle_time_max;
    loop {
        let read = timeout_at(deadline, stream.read(&mut bytes[len..])).await;
        match read.ok()?.ok()? {
            0 => return None,
            read if len == 0 => {
                deadline = Instant::now() + settings.head_time_max;
                len = read;
            }
            read => len += read,
        }
        if !PREFACE.starts_with(&bytes[..len]) {
            return Some((Version::Http1, bytes[..len].to_vec()));
        }
        if len == bytes.len() {
            return Some((Version::Http2, bytes.to_vec()));
        }
    }
}

/// Polls a connection to its end, with one timer that is looked at only when it rings.
async fn drive<C: GracefulConnection>(
    connection: C,
    activity: &Activity,
    settings: &Settings,
    mut stop: Stop,
) {
    let mut connection = pin!(connection);
    let mut alarm = pin!(sleep_until(activity.deadline(Instant::now(), settings)));
    let mut stopping = pin!(stopped(&mut stop));
    let mut draining = false;
    std::future::poll_fn(|cx| {
        loop {
            // How a peer's connection ended is the peer's affair; its requests were answered or
            // weren't.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if !draining && stopping.as_mut().poll(cx).is_ready() {
                draining = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            // The deadline moves away with every request, and the alarm finds out when it rings;
            // only half a head brings it nearer.
            if activity.is_in_head() {
                let deadline = activity.deadline(Instant::now(), settings);
                if deadline < alarm.deadline() {
                    alarm.as_mut().reset(deadline);
                }
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let deadline = activity.deadline(now, settings);
            if deadline <= now {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(deadline);
        }
    })
    .await;
}

/// Runs what HTTP/2 does beside a connection on the worker's own thread.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        // It serves one stream; its end is the stream's.
        drop(tokio::task::spawn_local(future));
    }
}
