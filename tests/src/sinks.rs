//! Functions that aren't there: a [`broker::Sink`] that answers by script and remembers every
//! call, also over restarts of the engine.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use broker::answer::ANSWER_BODY_KEPT_BYTES;
use broker::trace::TraceParent;
use broker::{Answer, Attempted, Reply, Request, Sink, WallTime};
use bytes::Bytes;
use event::Event;
use event::http::{Claim, Limits};
use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode};
use journal::model_disk::ModelDisk;
use tokio::time::Instant;

use crate::script::{Line, Script, What};

/// What tells events apart: `source` and `id`.
pub type Key = (String, String);

/// One request that reached a function.
#[derive(Debug, Clone)]
pub struct Call {
    /// The function: the host of the address.
    pub sink: String,
    /// Whose delivery it was: the trigger's name, with `#dead` behind it where the trigger's dead
    /// letter is forwarded.
    pub whose: String,
    /// Which event.
    pub key: Key,
    /// The event as it was handed over, without what the delivery adds.
    pub event: Event,
    /// What the delivery adds.
    pub add: Vec<(String, String)>,
    /// `Weft-Attempt`.
    pub attempt: u32,
    /// `Kn-Namespace`.
    pub namespace: String,
    /// `Weft-Deadline`.
    pub deadline: Option<WallTime>,
    /// `traceparent`.
    pub trace: TraceParent,
    /// When it came, since the world began.
    pub began: Duration,
    /// When it was answered, or given up.
    pub ended: Option<Duration>,
    /// The answer in a word: a status, `timeout`, `refused`, `reset`.
    pub answer: String,
    /// How many changes the disk had seen when it came, and when it was answered or given up; 0
    /// where nobody counts them.
    pub disk_changes: (u64, u64),
}

impl Call {
    /// An attribute that the delivery adds.
    pub fn added(&self, name: &str) -> Option<&str> {
        let mut pairs = self.add.iter();
        pairs
            .find(|(added, _)| added == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the function took the event.
    pub fn took(&self) -> bool {
        self.answer.starts_with('2') && !self.answer.ends_with("garbled")
    }
}

/// The functions' side of a world. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Sinks {
    shared: Rc<RefCell<Shared>>,
}

#[derive(Clone)]
struct Shared {
    /// Where changes are counted.
    disk: Option<ModelDisk>,
    began: Instant,
    scripts: BTreeMap<String, Script>,
    /// How a function answers single events, by its name and their id.
    special: BTreeMap<(String, String), Script>,
    calls: Vec<Call>,
    /// How often each function has answered each event, or let it wait for too long.
    counts: BTreeMap<(String, String, Key), u32>,
    in_flight: BTreeMap<String, u32>,
    in_flight_most: BTreeMap<String, u32>,
    /// When each worker of a function is free, where it has a number of them.
    free_at: BTreeMap<String, Vec<Duration>>,
    /// Events that functions answered with.
    replied: BTreeSet<Key>,
    /// Set while the engine is being killed: what is cut off then is no answer.
    killed: bool,
    /// Deliveries that end the process when they are sent: whose, and the event's `id`.
    deadly: BTreeSet<(String, String)>,
    /// How long after that.
    deadly_after: Duration,
    /// Such a one was sent.
    struck: bool,
}

impl Sinks {
    /// No function at all.
    pub fn new() -> Sinks {
        let shared = Shared {
            disk: None,
            began: Instant::now(),
            scripts: BTreeMap::new(),
            special: BTreeMap::new(),
            calls: Vec::new(),
            counts: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            in_flight_most: BTreeMap::new(),
            free_at: BTreeMap::new(),
            replied: BTreeSet::new(),
            killed: false,
            deadly: BTreeSet::new(),
            deadly_after: Duration::ZERO,
            struck: false,
        };
        Sinks {
            shared: Rc::new(RefCell::new(shared)),
        }
    }

    /// Makes a function, or has it answer differently from now on, each event from its script's
    /// first line.
    pub fn put(&self, name: &str, script: Script) {
        let mut shared = self.shared.borrow_mut();
        shared.scripts.insert(name.to_owned(), script);
        shared.counts.retain(|(sink, _, _), _| sink != name);
    }

    /// Has a function answer the events with this id differently from all others.
    pub fn put_for(&self, name: &str, id: &str, script: Script) {
        let mut shared = self.shared.borrow_mut();
        let special = (name.to_owned(), id.to_owned());
        shared.special.insert(special, script);
        shared
            .counts
            .retain(|(sink, _, key), _| sink != name || key.1 != id);
    }

    /// This delivery ends the process, so long after it was sent: see [`crate::World::until_struck`].
    pub fn deadly(&self, whose: &str, id: &str, after: Duration) {
        let mut shared = self.shared.borrow_mut();
        shared.deadly.insert((whose.to_owned(), id.to_owned()));
        shared.deadly_after = after;
    }

    /// Whether a deadly delivery has been sent since this was asked.
    pub(crate) fn struck(&self) -> bool {
        std::mem::take(&mut self.shared.borrow_mut().struck)
    }

    /// All calls so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.borrow().calls.clone()
    }

    /// The same functions as they were when the disk had seen no more than so many changes: what
    /// was in the air then was cut off. What either does from now on the other doesn't see.
    pub fn as_of_change(&self, changes: u64) -> Sinks {
        let mut shared = self.shared.borrow().clone();
        shared.disk = None;
        shared.calls.retain(|call| call.disk_changes.0 <= changes);
        for call in &mut shared.calls {
            if changes < call.disk_changes.1 || call.ended.is_none() {
                "cut".clone_into(&mut call.answer);
                call.ended = Some(call.began);
            }
            // From now on another disk's changes are counted, and this was before all of them.
            call.disk_changes = (0, 0);
        }
        shared.in_flight.clear();
        Sinks {
            shared: Rc::new(RefCell::new(shared)),
        }
    }

    /// From now on a call says how many changes this disk had seen.
    pub(crate) fn count_changes_of(&self, disk: &ModelDisk) {
        self.shared.borrow_mut().disk = Some(disk.clone());
    }

    /// How many calls there were.
    pub fn count(&self) -> usize {
        self.shared.borrow().calls.len()
    }

    /// Looks at all calls without copying them.
    pub fn each(&self, look: impl FnMut(&Call)) {
        self.shared.borrow().calls.iter().for_each(look);
    }

    /// The most requests that a function had at the same time.
    pub fn in_flight_most(&self, sink: &str) -> u32 {
        let shared = self.shared.borrow();
        shared.in_flight_most.get(sink).copied().unwrap_or(0)
    }

    /// How many requests a function has now.
    pub fn in_flight(&self, sink: &str) -> u32 {
        self.shared
            .borrow()
            .in_flight
            .get(sink)
            .copied()
            .unwrap_or(0)
    }

    /// The events that functions answered with.
    pub fn replied(&self) -> BTreeSet<Key> {
        self.shared.borrow().replied.clone()
    }

    /// Calls that are cut off while `kill` runs were never answered.
    pub(crate) fn while_killing(&self, kill: impl FnOnce()) {
        self.shared.borrow_mut().killed = true;
        kill();
        self.shared.borrow_mut().killed = false;
    }

    fn begin(&self, request: &Request) -> (Flight, Line) {
        let mut shared = self.shared.borrow_mut();
        let (now, changes) = (shared.began.elapsed(), shared.changes());
        let event = request.event.as_ref();
        let key = (event.source().to_owned(), event.id().to_owned());
        let sink = request.destination.host().to_owned();
        let whose = whose(request);
        let special = shared.special.get(&(sink.clone(), key.1.clone()));
        let script = special.or_else(|| shared.scripts.get(&sink)).cloned();
        let script = script.unwrap_or_else(crate::script::refuses_connection);
        let counts = &mut shared.counts;
        let count = counts
            .entry((sink.clone(), whose.clone(), key.clone()))
            .or_default();
        let mut line = script.line(*count).clone();
        line.wait = shared.work(&sink, &line);
        let in_flight = shared.in_flight.entry(sink.clone()).or_default();
        *in_flight += 1;
        let in_flight = *in_flight;
        let most = shared.in_flight_most.entry(sink.clone()).or_default();
        *most = in_flight.max(*most);
        let flight = Flight {
            sinks: self.clone(),
            index: shared.calls.len(),
            sink: sink.clone(),
        };
        shared.calls.push(Call {
            sink,
            whose,
            key,
            event: request.event.clone(),
            add: request
                .add
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            attempt: request.attempt,
            namespace: request.namespace.to_string(),
            deadline: request.deadline,
            trace: request.trace,
            began: now,
            ended: None,
            answer: String::new(),
            disk_changes: (changes, 0),
        });
        (flight, line)
    }

    /// Ends the process, if this is what does, and never comes back.
    async fn strike(&self, whose: &str, id: &str) {
        let after = {
            let shared = self.shared.borrow();
            let deadly = shared.deadly.contains(&(whose.to_owned(), id.to_owned()));
            deadly.then_some(shared.deadly_after)
        };
        if let Some(after) = after {
            tokio::time::sleep(after).await;
            self.shared.borrow_mut().struck = true;
            std::future::pending::<()>().await;
        }
    }

    fn answer(&self, mut line: Line, key: &Key) -> (Attempted, String) {
        if line.numbered {
            line.body = [self.count().to_string().as_bytes(), &line.body[..]]
                .concat()
                .into();
        }
        let say = |answer: Answer, body: Bytes, word: String| (Attempted { answer, body }, word);
        let start = line
            .body
            .slice(..line.body.len().min(ANSWER_BODY_KEPT_BYTES));
        if let (Some(nack), What::Status(status)) = (line.nack, &line.what) {
            let (status, word) = (*status, format!("{status}+nack"));
            return say(Answer::Declined { status, nack }, start, word);
        }
        match line.what {
            What::Status(status) if (200..300).contains(&status) => {
                let answer = success(status, &HeaderMap::new(), line.body);
                say(answer, start, status.to_string())
            }
            What::Status(status) => {
                let retry_after = line.retry_after;
                say(
                    Answer::Said {
                        status,
                        retry_after,
                    },
                    start,
                    status.to_string(),
                )
            }
            What::Reply(status, ty) => {
                let id = format!("{}'", key.1);
                let headers = event_headers(&id, &key.0, &ty);
                if status != 202 {
                    self.shared.borrow_mut().replied.insert((key.0.clone(), id));
                }
                say(
                    success(status, &headers, line.body),
                    Bytes::new(),
                    format!("{status}+reply"),
                )
            }
            What::Garbled => {
                let headers = event_headers("", "/s", "t");
                say(
                    success(200, &headers, Bytes::new()),
                    Bytes::new(),
                    "200+garbled".to_owned(),
                )
            }
            What::Refuse => {
                let answer = Answer::Unreachable("connection refused".to_owned());
                say(answer, Bytes::new(), "refused".to_owned())
            }
            What::Reset => {
                let answer = Answer::Unreachable("connection reset by peer".to_owned());
                say(answer, Bytes::new(), "reset".to_owned())
            }
            What::Panic => panic!("a bug, as a test wants it"),
            What::Hang => unreachable!("a function that hangs never comes to an answer"),
        }
    }
}

impl Shared {
    fn changes(&self) -> u64 {
        self.disk.as_ref().map_or(0, ModelDisk::changes)
    }

    /// How long an answer takes, with the wait for a worker to be free.
    fn work(&mut self, sink: &str, line: &Line) -> Duration {
        if line.workers == 0 {
            return line.wait;
        }
        let now = self.began.elapsed();
        let free_at = self.free_at.entry(sink.to_owned()).or_default();
        free_at.resize(line.workers, now);
        let Some(first) = free_at.iter_mut().min() else {
            return line.wait;
        };
        *first = now.max(*first) + line.wait;
        *first - now
    }
}

impl Default for Sinks {
    fn default() -> Sinks {
        Sinks::new()
    }
}

/// Whose delivery it is, by the address's query, as [`crate::want::trigger_yaml`] writes it; of a
/// dead letter, by that of the address that failed.
fn whose(request: &Request) -> String {
    let query = |uri: &str| uri.split_once('?').map(|(_, query)| query.to_owned());
    let failed = request
        .add
        .iter()
        .find(|(name, _)| *name == "knativeerrordest");
    match failed {
        Some((_, failed)) => query(failed).map(|whose| format!("{whose}#dead")),
        None => Some(addressed(&request.destination)),
    }
    .unwrap_or_else(|| request.destination.host().to_owned())
}

/// Whom an address names: by its query, or else by its host.
pub(crate) fn addressed(destination: &triggers::Destination) -> String {
    let query = destination.uri().split_once('?').map(|(_, query)| query);
    query.unwrap_or(destination.host()).to_owned()
}

fn event_headers(id: &str, source: &str, ty: &str) -> HeaderMap {
    let pairs = [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", source),
        ("ce-type", ty),
    ];
    let value = |text: &str| HeaderValue::from_str(text).expect("a test's names are plain text");
    let pairs = pairs.map(|(name, text)| (http::HeaderName::from_static(name), value(text)));
    pairs.into_iter().collect()
}

/// The largest reply that is read whole, as the node has it by default.
const REPLY_BYTES_MAX: usize = 4 << 20;

/// A success, judged as the HTTP adapter judges it.
fn success(status: u16, headers: &HeaderMap, body: Bytes) -> Answer {
    let code = StatusCode::from_u16(status).expect("a script's status is one");
    let is_empty = body.is_empty();
    if body.len() > REPLY_BYTES_MAX && status != 202 {
        let why = format!("the reply is larger than {REPLY_BYTES_MAX} bytes");
        return Answer::Took(Reply::TooLarge { status, why });
    }
    let limits = Limits {
        event_bytes_max: usize::MAX,
        ..Limits::default()
    };
    match event::http::reply(code, headers, body, &limits) {
        Claim::NotAnEvent if is_empty || status == 202 => Answer::Took(Reply::None { status }),
        Claim::NotAnEvent => Answer::Took(Reply::Ignored { status }),
        Claim::Event(event) => Answer::Took(Reply::Event { status, event }),
        Claim::Invalid(error) => Answer::Garbled {
            status,
            why: error.to_string(),
        },
    }
}

impl Sink for Sinks {
    fn send(&self, request: Request) -> LocalBoxFuture<'static, Attempted> {
        let sinks = self.clone();
        Box::pin(async move {
            let (flight, line) = sinks.begin(&request);
            let event = request.event.as_ref();
            let key = (event.source().to_owned(), event.id().to_owned());
            sinks.strike(&whose(&request), &key.1).await;
            if !line.wait.is_zero() {
                tokio::time::sleep(line.wait).await;
            }
            if matches!(line.what, What::Hang) {
                std::future::pending::<()>().await;
            }
            let (attempted, word) = sinks.answer(line, &key);
            flight.answered(word);
            attempted
        })
    }
}

/// A call that hasn't been answered. When it is dropped, the engine has given up waiting.
struct Flight {
    sinks: Sinks,
    index: usize,
    sink: String,
}

impl Flight {
    fn answered(&self, word: String) {
        let mut shared = self.sinks.shared.borrow_mut();
        let (now, changes) = (shared.began.elapsed(), shared.changes());
        let call = &mut shared.calls[self.index];
        call.answer = word;
        call.ended = Some(now);
        call.disk_changes.1 = changes;
        let counted = (call.sink.clone(), call.whose.clone(), call.key.clone());
        *shared.counts.entry(counted).or_default() += 1;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut shared = self.sinks.shared.borrow_mut();
        if let Some(in_flight) = shared.in_flight.get_mut(&self.sink) {
            *in_flight -= 1;
        }
        let now = shared.began.elapsed();
        let word = if shared.killed { "cut" } else { "timeout" };
        let (killed, changes) = (shared.killed, shared.changes());
        let call = &mut shared.calls[self.index];
        if call.ended.is_some() {
            return;
        }
        word.clone_into(&mut call.answer);
        call.ended = Some(now);
        call.disk_changes.1 = changes;
        let counted = (call.sink.clone(), call.whose.clone(), call.key.clone());
        if !killed {
            *shared.counts.entry(counted).or_default() += 1;
        }
    }
}
