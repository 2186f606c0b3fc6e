//! Bytes that a function answers with, through our client: what they come to is what a plain reading of
//! the head says, and a reply is a sound event.

use adapters_http::sink::HttpSink;
use broker::answer::ANSWER_BODY_KEPT_BYTES;
use broker::trace::TraceParent;
use broker::{Answer, Attempted, Reply, Request, WallTime};
use event::Event;
use triggers::{Destination, Format};

use super::Input;
use super::sound::assert_sound;
use super::wire::{self, PIECES};

pub(super) const WORDS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 202 Accepted\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 503 Service Unavailable\r\n",
    "HTTP/1.0 200 OK\r\n",
    "Retry-After: 7\r\n",
    "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n",
    "Retry-After: 99999999999999999999\r\n",
    "Weft-Nack: retry\r\n",
    "Weft-Nack: drop\r\n",
    "Content-Length: 2\r\n\r\nOK",
    "Content-Length: 0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n",
    "Content-Type: application/cloudevents+json\r\n",
    "Content-Type: application/cloudevents-batch+json\r\n",
    "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n",
    "Connection: close\r\n",
    "\r\n\r\n",
    "\n",
];

/// The largest reply that is taken here.
const REPLY_BYTES_MAX: usize = 600;

pub(super) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let piece = input.one_of(&PIECES);
    let said = input.rest();
    let whole = attempt(said, PIECES[0]);
    assert_judged(said, &whole);
    if piece != PIECES[0] {
        let cut = attempt(said, piece);
        assert_judged(said, &cut);
        // Why there was no answer is told by what was heard last.
        let shown = |attempted: &Attempted| match &attempted.answer {
            Answer::Unreachable(_) => "unreachable".to_owned(),
            // Of a reply that is too large as much is kept as had come.
            Answer::Took(Reply::TooLarge { .. }) => format!("{:?}", attempted.answer),
            answer => format!("{answer:?} {:?}", attempted.body),
        };
        assert_eq!(shown(&whole), shown(&cut), "cut into pieces of {piece}");
    }
}

fn attempt(said: &[u8], piece: usize) -> Attempted {
    wire::run(async move {
        let (ours, theirs) = tokio::io::duplex(piece);
        let sink: HttpSink = wire::sink(REPLY_BYTES_MAX);
        let request = request();
        let (attempted, heard) =
            tokio::join!(sink.send_over(ours, &request), wire::answer(theirs, said));
        assert!(heard.starts_with(b"POST /in?x=1 HTTP/1.1\r\n"));
        attempted
    })
}

fn request() -> Request {
    let event = Event::build("1", "/s", "t")
        .data(b"{}")
        .finish()
        .expect("a good event");
    Request {
        destination: Destination::parse("http://127.0.0.1:1/in?x=1").expect("a good address"),
        event,
        format: Format::AsItCame,
        add: Vec::new(),
        namespace: "shop".into(),
        attempt: 1,
        deadline: Some(WallTime(784_111_800_000)),
        trace: TraceParent {
            trace_id: [0xab; 16],
            span_id: [0xcd; 8],
            flags: 1,
        },
        tracestate: None,
        forwarded: Vec::new(),
        timeout: std::time::Duration::from_secs(10),
    }
}

fn assert_judged(said: &[u8], attempted: &Attempted) {
    assert!(attempted.body.len() <= ANSWER_BODY_KEPT_BYTES);
    let status = match &attempted.answer {
        Answer::Unreachable(why) => return assert!(!why.is_empty()),
        Answer::TimedOut => panic!("the worker's timeout isn't the sink's"),
        answer => answer.code(),
    };
    let (read, headers) = head(said).expect("an answer was understood that isn't one");
    assert_eq!(status, read, "the status is the head's");
    let success = (200..300).contains(&status);
    match &attempted.answer {
        Answer::Took(reply) => {
            assert!(success);
            match reply {
                Reply::Event { event, .. } => {
                    assert_ne!(status, 202, "a 202 never carries a reply");
                    assert_sound(event);
                }
                Reply::TooLarge { why, .. } => assert!(!why.is_empty()),
                Reply::None { .. } | Reply::Ignored { .. } => {}
            }
        }
        Answer::Garbled { why, .. } => assert!(success && status != 202 && !why.is_empty()),
        Answer::Said { retry_after, .. } => {
            assert!(!success);
            let may_ask = matches!(status, 429 | 503) && has(&headers, "retry-after");
            assert!(retry_after.is_none() || may_ask);
        }
        Answer::Declined { .. } => assert!(has(&headers, "weft-nack")),
        Answer::TimedOut | Answer::Unreachable(_) => {}
    }
    if has(&headers, "weft-nack") && headers.len() == 1 {
        let word = headers[0].1.trim_ascii();
        let known = [&b"retry"[..], b"drop"]
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known));
        let declined = matches!(attempted.answer, Answer::Declined { .. });
        assert_eq!(declined, known);
    }
}

type Headers = Vec<(String, Vec<u8>)>;

/// The first head that is an answer and no interim one.
fn head(mut said: &[u8]) -> Option<(u16, Headers)> {
    loop {
        let mut headers = vec![httparse::EMPTY_HEADER; 512];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = httparse::ParserConfig::default().parse_response(&mut response, said);
        let Ok(httparse::Status::Complete(end)) = parsed else {
            return None;
        };
        let status = response.code?;
        if (100..200).contains(&status) && status != 101 {
            said = &said[end..];
            continue;
        }
        let headers = response.headers.iter();
        let headers = headers.map(|header| (header.name.to_owned(), header.value.to_vec()));
        return Some((status, headers.collect()));
    }
}

fn has(headers: &Headers, name: &str) -> bool {
    headers
        .iter()
        .any(|(header, _)| header.eq_ignore_ascii_case(name))
}
