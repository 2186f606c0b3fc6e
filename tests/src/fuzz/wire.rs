//! A connection in memory, in paused time, with bytes on it as somebody may send them.

use std::future::Future;
use std::time::Duration;

use adapters_http::sink::HttpSink;
use broker::{Clock, WallTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

/// Of the paused clock: what takes so long waits for what will never happen.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How many bytes go over at a time; a parser meets its heads whole, and cut anywhere.
pub(super) const PIECES: [usize; 4] = [64 << 10, 1, 7, 64];

/// Runs `work` as a worker's thread would.
pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    LocalSet::new().block_on(&runtime, async {
        timeout(PATIENCE, work).await.expect("this never ends")
    })
}

/// Says all of `bytes` on `stream`, lets the other side do what it will, ends, and returns what was
/// heard up to the other side's end. The other side may close before it has heard all.
pub(super) async fn talk(stream: DuplexStream, bytes: &[u8]) -> Vec<u8> {
    let (reader, mut writer) = tokio::io::split(stream);
    let say = async {
        drop(writer.write_all(bytes).await);
        // The clock moves on when nobody has anything left to do.
        sleep(Duration::from_millis(1)).await;
        drop(writer.shutdown().await);
    };
    let ((), heard) = tokio::join!(say, hear_all(reader));
    heard
}

async fn hear_all(mut reader: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut heard = Vec::new();
    drop(reader.read_to_end(&mut heard).await);
    heard
}

/// Hears one request, answers with `bytes` and ends. Returns the request.
pub(super) async fn answer(mut stream: DuplexStream, bytes: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    while !is_whole_request(&request) {
        let read = stream.read_buf(&mut request).await.unwrap_or_default();
        assert_ne!(read, 0, "a request is sent whole before its answer");
    }
    say_and_end(stream, bytes).await;
    request
}

async fn say_and_end(mut stream: impl AsyncWrite + Unpin, bytes: &[u8]) {
    drop(stream.write_all(bytes).await);
    drop(stream.shutdown().await);
}

fn is_whole_request(bytes: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes).expect("we send HTTP") {
        httparse::Status::Partial => false,
        httparse::Status::Complete(head) => {
            let length = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |header| number(header.value));
            head + length <= bytes.len()
        }
    }
}

/// An answer of ours.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) is_problem: bool,
    pub(super) closes: bool,
}

/// All answers in what was heard, which consists of nothing else.
pub(super) fn answers(mut heard: &[u8]) -> Vec<Heard> {
    let mut all = Vec::new();
    while !heard.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(heard);
        let Ok(httparse::Status::Complete(head)) = parsed else {
            panic!("{parsed:?}: {:?}", String::from_utf8_lossy(heard));
        };
        let value = |name: &str| {
            let header = response
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name));
            header.map(|header| header.value)
        };
        let status = response.code.expect("an answer has a status");
        let rest = &heard[head..];
        // To HEAD the length is told and nothing follows; no body of ours begins like an answer.
        let bodiless = status < 200 || rest.is_empty() || rest.starts_with(b"HTTP/1.");
        let length = match bodiless {
            true => 0,
            false => value("content-length").map_or(0, number),
        };
        assert!(length <= rest.len(), "half an answer");
        all.push(Heard {
            status,
            body: rest[..length].to_vec(),
            is_problem: value("content-type") == Some(b"application/problem+json"),
            closes: value("connection") == Some(b"close"),
        });
        heard = &rest[length..];
    }
    all
}

fn number(text: &[u8]) -> usize {
    let text = std::str::from_utf8(text).expect("a length is digits");
    text.parse().expect("a length is a number")
}

/// A clock that stands at 1994-11-06T08:49:37Z.
pub(super) struct Standing;

impl Clock for Standing {
    fn wall(&self) -> WallTime {
        WallTime(784_111_777_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A sink that keeps no connection.
pub(super) fn sink(reply_bytes_max: usize) -> HttpSink {
    let settings = adapters_http::sink::Settings {
        reply_bytes_max,
        ..Default::default()
    };
    HttpSink::new(settings, std::sync::Arc::new(Standing))
}
