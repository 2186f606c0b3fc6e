//! What cases play on: a broker, and functions on one address, each below a path of its own.
//!
//! The broker is the program that was built, started with the YAML of all cases, or whatever
//! `WEFT_CONFORMANCE_URL` names, where somebody has applied that YAML before. Functions answer in this
//! process; where the broker reaches them is `WEFT_CONFORMANCE_FUNCTIONS`.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::http::{Answer, Client, Function, Message};
use tests::node::{Start, Weft, until};

use crate::case::Case;
use crate::ce::{Ce, Request};

/// The broker's address, of another broker than the one that was built here.
const URL: &str = "WEFT_CONFORMANCE_URL";
/// Where the broker finds the functions: `http://host:port`. They listen on that port.
const FUNCTIONS: &str = "WEFT_CONFORMANCE_FUNCTIONS";
/// A folder to write the YAML of all cases to, instead of running them.
const WRITE: &str = "WEFT_CONFORMANCE_WRITE";
/// Where another broker looks for functions when nobody says.
const FUNCTIONS_DEFAULT: &str = "http://127.0.0.1:18099";

/// How long a case waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another broker doesn't say when all is delivered: what hasn't come by then doesn't come.
const QUIET: Duration = Duration::from_secs(3);

/// Where the YAML is to be written, if that is what was asked for.
pub(crate) fn folder_to_write() -> Option<PathBuf> {
    std::env::var_os(WRITE).map(PathBuf::from)
}

/// Writes the YAML of all cases into a folder, a file each.
pub(crate) fn write(folder: &Path, cases: &[Case]) {
    write_for(folder, cases, &reached_at());
    eprintln!(
        "{} cases: apply {} to the broker",
        cases.len(),
        folder.display()
    );
}

fn reached_at() -> String {
    std::env::var(FUNCTIONS).unwrap_or(FUNCTIONS_DEFAULT.to_owned())
}

fn write_for(folder: &Path, cases: &[Case], functions: &str) {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    for case in cases {
        if let Some(yaml) = case.yaml(functions) {
            let name = format!("{}.yaml", Case::namespace(case.test));
            std::fs::write(folder.join(name), yaml.text()).expect("a file can be written");
        }
    }
}

type Script = Arc<dyn Fn(&Message, usize) -> Answer + Send + Sync>;

/// One request at a function.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    /// The request.
    pub(crate) request: Message,
    /// When it came.
    pub(crate) at: Instant,
    /// What it was answered; 0 while it isn't.
    pub(crate) status: u16,
}

/// One function: what it answers, and what it got.
#[derive(Default)]
struct Part {
    /// Given the request and how many came before it; 200 where there is none.
    script: Option<Script>,
    /// Its requests, in the order in which they came.
    got: Vec<Got>,
}

type Parts = Arc<Mutex<HashMap<String, Part>>>;

fn locked(parts: &Parts) -> MutexGuard<'_, HashMap<String, Part>> {
    parts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A broker and the functions.
pub(crate) struct Stage {
    parts: Parts,
    functions: Function,
    foreign: Option<String>,
    ours: OnceLock<Ours>,
    yaml: Vec<(String, String)>,
}

/// The program that was built.
struct Ours {
    weft: Weft,
    folder: tempfile::TempDir,
}

impl Stage {
    /// Listens for the functions. The broker is started when the first case asks for it.
    pub(crate) fn new(cases: &[Case]) -> Stage {
        let foreign = std::env::var(URL).ok();
        let at = match &foreign {
            None => "127.0.0.1:0".to_owned(),
            Some(_) => {
                let reached = reached_at();
                let port = reached.rsplit(':').next().unwrap_or_default();
                format!("0.0.0.0:{}", port.trim_end_matches('/'))
            }
        };
        let parts = Parts::default();
        let heard = Arc::clone(&parts);
        let functions = Function::listen(&at, move |request| {
            let path = request.target().split('?').next().unwrap_or_default();
            let (script, before) = {
                let mut parts = locked(&heard);
                let part = parts.entry(path.to_owned()).or_default();
                part.got.push(Got {
                    request: request.clone(),
                    at: Instant::now(),
                    status: 0,
                });
                (part.script.clone(), part.got.len() - 1)
            };
            // Unlocked: a function may take its time.
            let answer = script.map_or(200.into(), |script| script(request, before));
            if let Some(part) = locked(&heard).get_mut(path) {
                part.got[before].status = answer.status;
            }
            answer
        });
        let reached = functions.uri("");
        let yaml = cases.iter().filter_map(|case| {
            let yaml = case.yaml(&reached)?;
            Some((
                format!("{}.yaml", Case::namespace(case.test)),
                yaml.text().to_owned(),
            ))
        });
        Stage {
            yaml: yaml.collect(),
            parts,
            functions,
            foreign,
            ours: OnceLock::new(),
        }
    }

    /// Whether the broker isn't the one that was built here.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign.is_some()
    }

    /// The broker that was built here.
    fn ours(&self) -> &Ours {
        self.ours.get_or_init(|| {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let yaml = folder.path().join("yaml");
            std::fs::create_dir(&yaml).expect("a folder can be made");
            for (name, text) in &self.yaml {
                std::fs::write(yaml.join(name), text).expect("a file can be written");
            }
            let weft = Start::new(&yaml, &folder.path().join("data")).run();
            Ours { weft, folder }
        })
    }

    /// What one case sees.
    pub(crate) fn place(&self, test: &str) -> Place<'_> {
        Place {
            stage: self,
            namespace: Case::namespace(test),
        }
    }
}

/// The broker and the functions of one case.
pub(crate) struct Place<'a> {
    stage: &'a Stage,
    namespace: String,
}

impl Place<'_> {
    /// Whether the broker is the one that was built here.
    pub(crate) fn is_ours(&self) -> bool {
        !self.stage.is_foreign()
    }

    /// Its namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A request to the case's broker, whatever it is.
    pub(crate) fn call(&self, method: &str, query: &str, request: &Request) -> Message {
        let (address, prefix) = match &self.stage.foreign {
            None => (self.stage.ours().weft.ingress, String::new()),
            Some(url) => resolved(url),
        };
        let (headers, body) = request;
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let path = format!("{prefix}/{}/broker{query}", self.namespace);
        let mut client = Client::connect(address).expect("the broker listens");
        client
            .call(method, &path, &headers, body)
            .expect("the broker answers")
    }

    /// Posts an event in binary mode: the answer's status.
    pub(crate) fn post(&self, event: &Ce) -> u16 {
        self.call("POST", "", &event.binary()).status()
    }

    /// Posts an event in binary mode, which must be taken.
    #[track_caller]
    pub(crate) fn publish(&self, event: &Ce) {
        self.publish_as(&event.binary());
    }

    /// Posts a request, which must be taken.
    #[track_caller]
    pub(crate) fn publish_as(&self, request: &Request) {
        let answer = self.call("POST", "", request);
        assert_eq!(answer.status(), 202, "{}", answer.text());
    }

    /// One of the case's functions.
    pub(crate) fn function(&self, name: &str) -> Role<'_> {
        Role {
            parts: &self.stage.parts,
            path: format!("/{}/{name}", self.namespace),
            uri: self
                .stage
                .functions
                .uri(&format!("/{}/{name}", self.namespace)),
        }
    }

    /// Waits until every delivery of this case has ended.
    pub(crate) fn settle(&self) {
        if self.stage.is_foreign() {
            return std::thread::sleep(QUIET);
        }
        let weft = &self.stage.ours().weft;
        let end = weft.status()["log"]["end"].as_u64();
        until("settled", PATIENCE, || {
            let routed = weft.status()["log"]["routedTo"].as_u64() >= end;
            let owed = self.triggers().iter().any(|trigger| {
                let owed = |books: &Value| books["owed"].as_u64().is_some_and(|owed| owed > 0);
                owed(&trigger["books"]) || owed(&trigger["forwardBooks"])
            });
            (routed && !owed).then_some(())
        });
    }

    /// What the admin API says of this case's triggers.
    fn triggers(&self) -> Vec<Value> {
        let ours = |trigger: &Value| trigger["namespace"] == self.namespace.as_str();
        self.ask("/api/v1/triggers", ours)
    }

    /// Why each of this case's dead letters died.
    pub(crate) fn causes_of_death(&self) -> Vec<String> {
        let prefix = format!("{}/", self.namespace);
        let ours = |letter: &Value| {
            let trigger = letter["trigger"].as_str();
            trigger.is_some_and(|trigger| trigger.starts_with(&prefix))
        };
        self.ask("/api/v1/dead-letters?limit=1000", ours)
            .iter()
            .map(|letter| letter["cause"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    fn ask(&self, path: &str, is_asked_for: impl Fn(&Value) -> bool) -> Vec<Value> {
        let answer = self.stage.ours().weft.admin(path);
        let list: Value = serde_json::from_slice(&answer.body).expect("the admin API answers JSON");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().filter(is_asked_for).collect()
    }

    /// Runs `weft check` on this text: its exit code and what it said.
    pub(crate) fn check(&self, text: &str) -> (i32, String) {
        let folder = tempfile::tempdir_in(self.stage.ours().folder.path());
        let folder = folder.expect("a folder can be made");
        std::fs::write(folder.path().join("resources.yaml"), text).expect("a file can be written");
        let path = folder.path().to_string_lossy().into_owned();
        let output = tests::node::weft(&["check", &path]);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.code().unwrap_or(-1), said)
    }
}

/// The address and the path of `http://host:port/path`.
fn resolved(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://");
    let rest = rest.unwrap_or_else(|| panic!("{URL} is {url:?}, and begins with http://"));
    let (host, path) = rest
        .split_once('/')
        .map_or((rest, ""), |(host, path)| (host, path));
    let with_port = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut addresses = with_port
        .to_socket_addrs()
        .expect("the broker's host resolves");
    let path = match path.trim_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    };
    (addresses.next().expect("the broker has an address"), path)
}

/// One function of a case.
pub(crate) struct Role<'a> {
    parts: &'a Parts,
    path: String,
    uri: String,
}

impl Role<'_> {
    /// Its address.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// From now on it answers so: given the request, and how many came before it.
    pub(crate) fn answers(
        &self,
        script: impl Fn(&Message, usize) -> Answer + Send + Sync + 'static,
    ) {
        let mut parts = locked(self.parts);
        parts.entry(self.path.clone()).or_default().script = Some(Arc::new(script));
    }

    /// The first `count` requests fail, as Knative's own receiver does it: 409.
    pub(crate) fn fails(&self, count: usize) {
        self.answers(move |_, before| Answer::from(if before < count { 409 } else { 200 }));
    }

    /// Each request is answered with this event, in binary mode.
    pub(crate) fn replies(&self, reply: Ce) {
        self.answers(move |_, _| {
            let (headers, body) = reply.binary();
            Answer {
                status: 200,
                headers,
                body,
            }
        });
    }

    /// All requests so far.
    pub(crate) fn got(&self) -> Vec<Got> {
        let mut parts = locked(self.parts);
        parts.entry(self.path.clone()).or_default().got.clone()
    }

    /// The events of all requests; panics at one that is none.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Ce> {
        let got = self.got();
        got.iter()
            .map(|got| Ce::read(&got.request).unwrap_or_else(|error| panic!("{error}")))
            .collect()
    }

    /// The ids of all events that it accepted, sorted.
    pub(crate) fn accepted(&self) -> Vec<String> {
        let got = self.got();
        let good = got.iter().filter(|got| (200..300).contains(&got.status));
        let mut ids: Vec<String> = good
            .filter_map(|got| Some(Ce::read(&got.request).ok()?.get("id").to_owned()))
            .collect();
        ids.sort();
        ids
    }

    /// Waits until it got that many requests, and gives them.
    #[track_caller]
    pub(crate) fn until_got(&self, count: usize) -> Vec<Message> {
        let what = format!("{count} requests at {}", self.path);
        until(&what, PATIENCE, || {
            (self.got().len() >= count).then_some(())
        });
        self.got().into_iter().map(|got| got.request).collect()
    }

    /// Waits for its first event, and gives it.
    #[track_caller]
    pub(crate) fn until_event(&self) -> Ce {
        self.until_got(1);
        self.events().remove(0)
    }
}
