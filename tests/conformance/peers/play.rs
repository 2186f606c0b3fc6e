//! Runs all peers at once, through one broker, and judges what came of each.
//!
//! Senders send every sample in every mode to a broker of their own. Every sample in every mode is sent to each
//! function, through a trigger that also has a dead letter sink: what a function refuses says so there. Replies
//! reach a second trigger.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tests::http::{Answer, Function, Message};
use tests::node::{Running, Start, Weft};

use super::judge::{Data, code, differences};
use super::list::{Folders, PEERS, Peer};
use super::samples::{MODES, Sample, WAY, WAYS, samples};
use crate::ce::Ce;

/// How long a runtime may take until it listens, on a machine that does much else.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How many things were tried, and how many of them went as they should.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) good: usize,
    pub(crate) tried: usize,
}

/// What was tried (`sent`, `received`, `replied`), which way, and what was wrong.
pub(crate) type Fault = (&'static str, &'static str, String);

/// What came of one peer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) sent: Option<Tally>,
    pub(crate) received: Option<Tally>,
    pub(crate) replied: Option<Tally>,
    /// What didn't go as it should, and with which samples.
    pub(crate) wrong: BTreeMap<Fault, Vec<&'static str>>,
}

impl Outcome {
    fn note(
        &mut self,
        kind: &'static str,
        mode: &'static str,
        sample: &Sample,
        wrong: Vec<String>,
    ) {
        let tally = match kind {
            "sent" => &mut self.sent,
            "received" => &mut self.received,
            _ => &mut self.replied,
        };
        let tally = tally.get_or_insert_default();
        tally.tried += 1;
        tally.good += usize::from(wrong.is_empty());
        for wrong in wrong {
            let samples = self.wrong.entry((kind, mode, wrong)).or_default();
            samples.push(sample.name);
        }
    }
}

/// Every request at our own functions, by path.
type Heard = Arc<Mutex<HashMap<String, Vec<Message>>>>;

/// A function in a process of its own.
struct Receiver {
    peer: &'static Peer,
    at: SocketAddr,
    seen: PathBuf,
    running: Running,
}

/// What came of each peer that is installed, by its key.
pub(crate) fn play() -> BTreeMap<&'static str, Outcome> {
    let folders = Folders::new();
    let here: Vec<&'static Peer> = PEERS.iter().filter(|peer| folders.has(peer)).collect();
    let root = tempfile::tempdir().expect("a folder can be made");
    let receivers: Vec<Receiver> = here
        .iter()
        .filter_map(|peer| start(peer, &folders, root.path()))
        .collect();
    let heard = Heard::default();
    let hears = Arc::clone(&heard);
    let recorder = Function::listen("127.0.0.1:0", move |request| {
        let mut heard = hears.lock().unwrap_or_else(PoisonError::into_inner);
        let path = request.target().to_owned();
        heard.entry(path).or_default().push(request.clone());
        Answer::from(200)
    });
    let yaml = root.path().join("yaml");
    std::fs::create_dir(&yaml).expect("a folder can be made");
    let text = resources(&here, &receivers, &recorder);
    std::fs::write(yaml.join("all.yaml"), text).expect("a file can be written");
    let weft = Start::new(&yaml, &root.path().join("data")).run();
    for receiver in &receivers {
        listens(receiver);
    }

    publish(&weft);
    let said = send(&here, &folders, &weft);
    weft.until_settled();

    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let mut outcomes: BTreeMap<&'static str, Outcome> = BTreeMap::new();
    for peer in &here {
        outcomes.insert(peer.key, Outcome::default());
    }
    for ((key, mode), lines) in &said {
        let got = heard.get(&format!("/sent/{key}/{mode}"));
        let peer = here.iter().find(|peer| peer.key == *key);
        if let (Some(peer), Some(outcome)) = (peer, outcomes.get_mut(key)) {
            judge_sent(peer, mode, lines, got.map_or(&[], Vec::as_slice), outcome);
        }
    }
    for receiver in &receivers {
        if let Some(outcome) = outcomes.get_mut(receiver.peer.key) {
            judge_received(receiver, &heard, outcome);
        }
    }
    outcomes
}

/// Starts a peer that receives, on a port that was free a moment ago.
fn start(peer: &'static Peer, folders: &Folders, root: &Path) -> Option<Receiver> {
    let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let at = free.local_addr().expect("a listener has an address");
    let mut command = peer.receives?(folders, at);
    drop(free);
    let seen = root.join(format!("{}.jsonl", peer.key));
    command
        .env("PORT", at.port().to_string())
        .env("PEER", peer.key)
        .env("SEEN", &seen);
    Some(Receiver {
        peer,
        at,
        seen,
        running: Running::spawn(command),
    })
}

fn listens(receiver: &Receiver) {
    let began = Instant::now();
    while TcpStream::connect(receiver.at).is_err() {
        let key = receiver.peer.key;
        let said = receiver.running.output();
        assert!(
            began.elapsed() < STARTS_WITHIN,
            "{key} doesn't listen:\n{said}"
        );
        std::thread::sleep(LOOK_EVERY);
    }
}

fn resources(here: &[&Peer], receivers: &[Receiver], recorder: &Function) -> String {
    let mut yaml = String::from(
        "apiVersion: weft.dev/v1alpha1
kind: Node
metadata: {name: node}
# A mebibyte of data is more than a mebibyte of event.
spec: {limits: {eventBytes: 4Mi}}
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: functions}
spec: {}
",
    );
    let mut trigger = |name: &str, broker: &str, filter: &str, uri: &str, delivery: &str| {
        yaml += &format!(
            "---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}}}
spec: {{broker: {broker}, filters: [{filter}], subscriber: {{uri: \"{uri}\"}}, delivery: {{{delivery}}}}}
"
        );
    };
    for receiver in receivers {
        let key = receiver.peer.key;
        let dead = recorder.uri(&format!("/dead/{key}"));
        for way in WAYS {
            let delivery = format!(
                "retry: 1, backoffDelay: PT0.1S, timeout: PT20S, deadLetterSink: {{uri: \"{dead}\"}}{}",
                way.delivery
            );
            let filter = format!("{{exact: {{type: peer.event, {WAY}: {}}}}}", way.name);
            let uri = format!("http://{}/", receiver.at);
            trigger(
                &format!("to-{key}-{}", way.name),
                "functions",
                &filter,
                &uri,
                &delivery,
            );
        }
        let filter = format!("{{exact: {{type: peer.reply, source: /peers/{key}}}}}");
        let uri = recorder.uri(&format!("/replies/{key}"));
        trigger(&format!("of-{key}"), "functions", &filter, &uri, "");
    }
    let senders = here.iter().filter(|peer| peer.sends.is_some());
    for key in senders.clone().map(|peer| peer.key) {
        for mode in MODES {
            let uri = recorder.uri(&format!("/sent/{key}/{mode}"));
            let filter = format!("{{exact: {{{WAY}: {mode}}}}}");
            trigger(&format!("{key}-{mode}"), key, &filter, &uri, "");
        }
    }
    for key in senders.map(|peer| peer.key) {
        yaml += &format!(
            "---\napiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: {key}}}\nspec: {{}}\n"
        );
    }
    yaml
}

/// Sends all samples to all functions.
fn publish(weft: &Weft) {
    let mut client = weft.client();
    for way in WAYS {
        for sample in samples(way.name) {
            let (headers, body) = sample.request(way.sent);
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let answer = client.call("POST", "/default/functions", &headers, &body);
            let answer = answer.expect("ingress answers");
            assert_eq!(answer.status(), 202, "{}: {}", sample.name, answer.text());
        }
    }
}

/// What each sender said of each sample, by its key and the mode.
type Said = BTreeMap<(&'static str, &'static str), HashMap<String, Value>>;

/// Has every sender send every sample, one mode after the other, all senders at once.
fn send(here: &[&'static Peer], folders: &Folders, weft: &Weft) -> Said {
    let said = Mutex::new(Said::new());
    std::thread::scope(|scope| {
        for peer in here {
            let Some(sends) = peer.sends else { continue };
            let said = &said;
            scope.spawn(move || {
                for mode in MODES {
                    let url = format!("http://{}/default/{}", weft.ingress, peer.key);
                    let mut command = sends(folders);
                    command.args(["send", &url, mode]);
                    let lines = run(command, &samples(mode));
                    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                    said.insert((peer.key, mode), lines);
                }
            });
        }
    });
    said.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a sender to its end: what it said of each event.
fn run(mut command: Command, samples: &[Sample]) -> HashMap<String, Value> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the sender starts");
    let mut input = child.stdin.take().expect("its input is ours");
    let lines: Vec<String> = samples.iter().map(|sample| sample.line() + "\n").collect();
    // Beside reading, so that neither waits for the other.
    let writer = std::thread::spawn(move || input.write_all(lines.concat().as_bytes()));
    let output = child.wait_with_output().expect("the sender ends");
    let written = writer.join().expect("nothing panics here");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && written.is_ok(),
        "{command:?}:\n{complaint}"
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = said.lines().map(|line| {
        let line: Value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{command:?} printed {line:?}: {error}"));
        (line["id"].as_str().unwrap_or_default().to_owned(), line)
    });
    lines.collect()
}

fn judge_sent(
    peer: &Peer,
    mode: &'static str,
    said: &HashMap<String, Value>,
    got: &[Message],
    outcome: &mut Outcome,
) {
    for sample in samples(mode) {
        let id = sample.ce.get("id");
        let line = said.get(id).cloned().unwrap_or_default();
        let came = got.iter().filter_map(|request| Ce::read(request).ok());
        let came: Vec<Ce> = came.filter(|came| came.get("id") == id).collect();
        let wrong = match (line["status"].as_u64(), came.as_slice()) {
            (Some(202), [came]) => differences(
                &sample.ce,
                &pairs(came),
                &Data::Bytes(&came.data),
                peer.takes_values,
            ),
            (Some(202), came) => vec![format!("was taken, and came {} times", came.len())],
            (Some(status), _) => vec![format!("Weft answers {status}: {}", problem(&line))],
            (None, _) => vec![format!(
                "can't be sent: {}",
                said_wrong(line["error"].as_str().unwrap_or_default())
            )],
        };
        outcome.note("sent", mode, &sample, wrong);
    }
}

fn judge_received(
    receiver: &Receiver,
    heard: &HashMap<String, Vec<Message>>,
    outcome: &mut Outcome,
) {
    let peer = receiver.peer;
    let seen = std::fs::read_to_string(&receiver.seen).unwrap_or_default();
    let seen: Vec<Value> = seen
        .lines()
        .map(|line| serde_json::from_str(line).expect("a peer writes JSON"))
        .collect();
    let events = |kind: &str| -> Vec<Ce> {
        let heard = heard.get(&format!("/{kind}/{}", peer.key));
        let heard = heard.map_or(&[][..], Vec::as_slice);
        heard
            .iter()
            .filter_map(|request| Ce::read(request).ok())
            .collect()
    };
    let (dead, replies) = (events("dead"), events("replies"));
    for mode in WAYS.map(|way| way.name) {
        for sample in samples(mode) {
            let id = sample.ce.get("id");
            let line = seen
                .iter()
                .rev()
                .find(|line| line["attributes"]["id"] == id);
            let refused = dead
                .iter()
                .find(|letter| letter.get("id") == id)
                .map(|letter| {
                    let why = STANDARD
                        .decode(letter.get("knativeerrordata"))
                        .unwrap_or_default();
                    let why = String::from_utf8_lossy(&why).into_owned();
                    match why.is_empty() {
                        true => "gives no answer that is HTTP".to_owned(),
                        false => format!(
                            "answers {}: {}",
                            letter.get("knativeerrorcode"),
                            said_wrong(&why)
                        ),
                    }
                });
            let wrong = match line {
                Some(line) => seen_differs(peer, &sample, line),
                None => vec![refused.clone().unwrap_or("didn't come".to_owned())],
            };
            let came = line.is_some();
            outcome.note("received", mode, &sample, wrong);
            if !peer.replies || !came {
                continue;
            }
            let answer = format!("reply-{id}");
            let reply = replies.iter().find(|reply| reply.get("id") == answer);
            let wrong = match (reply, refused) {
                (Some(reply), _) => {
                    let note = line.and_then(|line| line["attributes"]["note"].as_str());
                    let same = note.is_none_or(|note| same_note(reply.get("note"), note, &sample));
                    let odd = format!("`note` comes back as {}", code(reply.get("note")));
                    if same { Vec::new() } else { vec![odd] }
                }
                (None, Some(refused)) => vec![refused],
                (None, None) => vec!["no reply came".to_owned()],
            };
            outcome.note("replied", mode, &sample, wrong);
        }
    }
}

/// Whether a reply's note is the one that the function saw, or the one that was sent.
fn same_note(came: &str, seen: &str, sample: &Sample) -> bool {
    came == seen || came == sample.ce.get("note")
}

fn seen_differs(peer: &Peer, sample: &Sample, line: &Value) -> Vec<String> {
    let attributes: Vec<(String, String)> = line["attributes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    match line.get("bytes").and_then(Value::as_str) {
        Some(text) => {
            let bytes = STANDARD.decode(text).expect("a peer writes base64");
            let data = Data::Bytes(&bytes);
            differences(&sample.ce, &attributes, &data, peer.takes_values)
        }
        None => {
            let data = Data::Value(&line["json"]);
            differences(&sample.ce, &attributes, &data, peer.takes_values)
        }
    }
}

fn pairs(event: &Ce) -> Vec<(String, String)> {
    event.attributes.clone().into_iter().collect()
}

/// What our own answer names as wrong.
fn problem(line: &Value) -> String {
    let text = line["error"].as_str().unwrap_or_default();
    let json = serde_json::from_str::<Value>(text).ok();
    let detail = json.and_then(|json| Some(json["detail"].as_str()?.to_owned()));
    code(&detail.unwrap_or(text.to_owned()))
}

/// The start of what somebody said went wrong, without the tags of a page.
fn said_wrong(text: &str) -> String {
    let mut plain = String::new();
    let mut tag = false;
    for c in text.chars() {
        match c {
            '<' => tag = true,
            '>' if tag => {
                tag = false;
                plain.push(' ');
            }
            c if !tag => plain.push(c),
            _ => {}
        }
    }
    code(&plain.replace("&#39;", "'").replace("&quot;", "\""))
}
