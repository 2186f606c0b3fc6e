//! Bytes on a connection to our ingress, through hyper: what is answered is HTTP, each 202 stands for
//! one stored batch of sound events, and nothing is kept of what was refused.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use adapters_http::source::{self, Door, IngestBudget, Readiness, Source, SourceCounts};
use broker::Refusal;
use broker::admission::BrokerFacts;
use broker::records::envelope::Context;
use event::Batch;
use tokio::sync::watch;
use triggers::BrokerName;

use super::Input;
use super::sound::assert_sound;
use super::wire::{self, Heard, PIECES};

pub(super) const WORDS: &[&str] = &[
    "POST /shop/orders HTTP/1.1\r\n",
    "GET /readyz HTTP/1.1\r\n",
    "OPTIONS / HTTP/1.1\r\n",
    "Host: weft\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Content-Type: application/cloudevents+json\r\n",
    "Content-Type: application/cloudevents-batch+json\r\n",
    "Content-Encoding: gzip\r\n",
    "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\n",
    "K-Network-Probe: probe\r\n",
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
    "[{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}]",
    "\r\n\r\n",
    "\r\n",
    "\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\0\0\0\u{4}\0\0\0\0\0",
];

/// Every status that ingress answers with, hyper's own among them.
const STATUSES: [u16; 13] = [
    100, 200, 202, 400, 404, 405, 408, 413, 414, 415, 431, 503, 501,
];

const LIMIT: usize = 4096;
const LIMIT_SMALL: usize = 300;
const BUDGET: usize = 3500;

/// What went through the door.
#[derive(Clone, Default)]
struct Recording(Rc<RefCell<Vec<Batch>>>);

impl Door for Recording {
    fn broker(&self, name: &BrokerName) -> Result<Arc<BrokerFacts>, Refusal> {
        let event_bytes_max = match (name.namespace(), name.name()) {
            ("shop", "orders") | ("default", "default") => LIMIT,
            ("shop", "small") => LIMIT_SMALL,
            _ => return Err(Refusal::NoSuchBroker(name.clone())),
        };
        Ok(Arc::new(BrokerFacts {
            name: name.clone(),
            number: 1,
            event_bytes_max,
        }))
    }

    async fn publish(
        &self,
        _to: &BrokerFacts,
        context: &Context,
        batch: &Batch,
    ) -> Result<(), Refusal> {
        // Any sender's words can be kept beside the event.
        assert!(
            context
                .forwarded
                .iter()
                .map(|(n, v)| n.len() + v.len())
                .sum::<usize>()
                <= 8 << 10
        );
        self.0.borrow_mut().push(batch.clone());
        Ok(())
    }
}

/// What came of a connection.
struct Came {
    heard: Vec<u8>,
    published: Vec<Batch>,
    counts: SourceCounts,
}

pub(super) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let piece = input.one_of(&PIECES);
    let said = input.rest();
    let whole = attend(said, PIECES[0]);
    assert_answered(said, &whole);
    if piece == PIECES[0] {
        return;
    }
    let cut = attend(said, piece);
    assert_answered(said, &cut);
    // Behind a chunked body the scan takes up again with a read, so there the cuts count.
    if contains(said, b"transfer-encoding") {
        return;
    }
    let (whole, cut) = (whole.published, cut.published);
    if contains(said, b"PRI * HTTP/2") {
        // A stream that breaks ends all that are under way, and that depends on the cuts.
        let same = whole.iter().zip(&cut).all(|(one, other)| one == other);
        assert!(same, "cut into pieces of {piece}: {whole:?}, {cut:?}");
        return;
    }
    assert_eq!(whole, cut, "cut into pieces of {piece}");
}

fn attend(said: &[u8], piece: usize) -> Came {
    let door = Recording::default();
    let budget = IngestBudget::new(BUDGET);
    let settings = source::Settings {
        batch_bytes_max: 2 * LIMIT,
        batch_events_max: 3,
        json_depth_max: 8,
        ..Default::default()
    };
    let health = Arc::new(|| Readiness::Ready);
    let source = Source::new(door.clone(), settings, Arc::clone(&budget), health);
    let stats = source.stats();
    let heard = wire::run(async move {
        let (ours, theirs) = tokio::io::duplex(piece);
        let (_going_on, stop) = watch::channel(None);
        let (heard, ()) = tokio::join!(
            wire::talk(theirs, said),
            source::attend(ours, Rc::new(source), stop)
        );
        heard
    });
    assert_eq!(budget.bytes(), 0, "the room of bodies is given back");
    Came {
        heard,
        published: door.0.take(),
        counts: stats.counts(),
    }
}

fn assert_answered(said: &[u8], came: &Came) {
    for batch in &came.published {
        assert!(batch.events.len() <= 3, "more events than a batch may have");
        for event in &batch.events {
            assert!(event.as_ref().wire_len() <= LIMIT);
            assert_sound(event);
        }
    }
    let events: usize = came.published.iter().map(|batch| batch.events.len()).sum();
    assert_eq!(came.counts.events, events as u64);
    if said.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
        return assert_frames(&came.heard);
    }
    if is_ambiguous(said) {
        assert!(came.published.is_empty(), "others read that otherwise");
    }
    let answers = wire::answers(&came.heard);
    for heard in &answers {
        assert_is_ours(heard);
    }
    let stored = answers.iter().filter(|heard| heard.status == 202).count();
    assert_eq!(stored, came.published.len(), "a 202 is a stored batch");
    let posts = said.windows(5).filter(|window| window == b"POST ").count();
    assert!(stored <= posts, "{stored} batches of {posts} requests");
    let closing = answers.iter().position(|heard| heard.closes);
    let last = answers.len().saturating_sub(1);
    assert!(closing.is_none_or(|at| at == last), "said closed, went on");
}

/// Whether the first head ends a line in LF alone or has two lengths, by which requests are smuggled past
/// a proxy.
fn is_ambiguous(said: &[u8]) -> bool {
    let Some(end) = said.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = &said[..end];
    let lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
    let bare = lines[..lines.len() - 1]
        .iter()
        .any(|line| !line.ends_with(b"\r"));
    let has = |name: &[u8]| {
        let named = |line: &&[u8]| {
            let start = line.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        lines.iter().any(named)
    };
    bare || has(b"content-length:") && has(b"transfer-encoding:")
}

fn assert_is_ours(heard: &Heard) {
    assert!(STATUSES.contains(&heard.status), "{heard:?}");
    if heard.is_problem && !heard.body.is_empty() {
        let problem: serde_json::Value = serde_json::from_slice(&heard.body).expect("it is JSON");
        assert_eq!(problem["status"], heard.status);
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
}

/// HTTP/2 is whole frames.
fn assert_frames(mut heard: &[u8]) {
    while let Some((head, rest)) = heard.split_at_checked(9) {
        let length = u32::from_le_bytes([head[2], head[1], head[0], 0]) as usize;
        assert!(length <= rest.len(), "half a frame");
        heard = &rest[length..];
    }
    assert!(heard.is_empty(), "half the head of a frame");
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}
