//! One file's text to resources and problems.
//!
//! A document that isn't YAML, or whose values make no sense, costs itself only. What can be
//! known of its identity is still told, so that the last good version stays in force.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{EVENTING_V1, Kind, Raw, RawMetadata, Resource, ResourceKey, Spec, WEFT_V1ALPHA1};
use crate::problem::{At, Fault, Faults, Place, Problem, Step};
use crate::run::{lower, name};
use crate::yaml::decode::{Found, decode};
use crate::yaml::nearest::nearest;
use crate::yaml::node::{Node, Value};
use crate::yaml::tree::{Document, documents};

/// What became of one document.
#[derive(Debug)]
pub(crate) enum Doc {
    Good(Box<Resource>),
    /// Has problems. Its identity, and where it stands, when that much could be read.
    Bad(Option<(ResourceKey, Place)>),
    /// Read well, and no resource that could ever be in force (another program's kind).
    Foreign,
}

const KINDS: &str = "this version runs Broker, Trigger, DeliveryPolicy, Sink and Node";

/// Kinds of ours and Knative's that exist, or will, but not in this version.
const LATER: [(&str, &str); 4] = [
    (WEFT_V1ALPHA1, "Source"),
    (WEFT_V1ALPHA1, "Link"),
    ("eventing.knative.dev/v1alpha1", "EventPolicy"),
    ("eventing.knative.dev/v1beta2", "EventType"),
];

/// Reads every document of `text`, adding to `problems` in the order of lines.
pub(crate) fn read(file: &Arc<str>, text: &str, problems: &mut Vec<Problem>) -> Vec<Doc> {
    let mut docs = Vec::new();
    for document in documents(text) {
        let mut reader = Reader {
            file,
            problems: Vec::new(),
        };
        match document {
            Document::Broken(flaw) => {
                reader.problem((flaw.line, flaw.column), flaw.found, flaw.cure);
                docs.push(Doc::Bad(None));
            }
            Document::Parsed { root, flaws } => {
                let flawed = !flaws.is_empty();
                for flaw in flaws {
                    reader.problem((flaw.line, flaw.column), flaw.found, flaw.cure);
                }
                reader.documents(root, flawed, &mut docs);
            }
        }
        reader
            .problems
            .sort_by_key(|problem| (problem.line, problem.column));
        problems.append(&mut reader.problems);
    }
    docs
}

struct Reader<'a> {
    file: &'a Arc<str>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, place: (u32, u32), message: impl Into<String>, cure: impl Into<String>) {
        let problem = Problem::at(self.place(place), message, cure);
        self.problems.push(problem);
    }

    fn place(&self, (line, column): (u32, u32)) -> Place {
        Place {
            file: Arc::clone(self.file),
            line,
            column,
        }
    }

    /// One document, or each item of a `kind: List` as `kubectl get -o yaml` prints it.
    fn documents(&mut self, root: Node, flawed: bool, docs: &mut Vec<Doc>) {
        let is_list = root.get("kind").and_then(Node::text) == Some("List")
            && root.get("apiVersion").and_then(Node::text) == Some("v1");
        match root.value {
            Value::Map(entries) if is_list => {
                for (key, value) in entries {
                    if let ("items", Value::List(items)) = (key.text.as_str(), value.value) {
                        docs.extend(items.into_iter().map(|item| self.document(item, flawed)));
                    }
                }
            }
            _ => docs.push(self.document(root, flawed)),
        }
    }

    fn document(&mut self, root: Node, flawed: bool) -> Doc {
        let start = (root.line, root.column);
        if !matches!(root.value, Value::Map(_)) {
            let cure = "a resource begins with apiVersion, kind, metadata and spec";
            self.problem(start, "the document is not a map of fields", cure);
            return Doc::Bad(None);
        }
        let kind = match self.kind(&root) {
            Ok(kind) => kind,
            Err(doc) => return doc,
        };
        let identity = identity(kind, &root).map(|key| (key, self.place(start)));
        let resource = match kind {
            Kind::Broker => self.body(root, Spec::Broker),
            Kind::Trigger => self.body(root, Spec::Trigger),
            Kind::Node => self.body(root, Spec::Node),
            Kind::DeliveryPolicy => self.body(root, Spec::DeliveryPolicy),
            Kind::Sink => self.body(root, Spec::Sink),
        };
        match resource {
            Some(resource) if !flawed => Doc::Good(Box::new(resource)),
            _ => Doc::Bad(identity),
        }
    }

    fn kind(&mut self, root: &Node) -> Result<Kind, Doc> {
        let start = (root.line, root.column);
        let field = |name: &str| root.get(name).and_then(Node::text);
        let at = |name: &str| root.locate(&[Step::Key(name.to_owned())], false);
        let (api_version, kind) = match (field("apiVersion"), field("kind")) {
            (Some(api_version), Some(kind)) => (api_version, kind),
            (None, Some(kind)) => {
                let version = named(kind).map_or(EVENTING_V1, Kind::api_version);
                let cure = format!("write apiVersion: {version}");
                self.problem(start, "apiVersion is missing", cure);
                return Err(Doc::Bad(None));
            }
            (_, None) => {
                self.problem(
                    start,
                    "kind is missing",
                    "write kind: Trigger, Broker, DeliveryPolicy, Sink or Node",
                );
                return Err(Doc::Bad(None));
            }
        };
        match named(kind) {
            Some(kind) if kind.api_version() == api_version => return Ok(kind),
            Some(kind) => {
                let found = format!("apiVersion is {api_version:?}");
                let cure = format!("for a {kind} write {}", kind.api_version());
                self.problem(at("apiVersion"), found, cure);
                return Err(Doc::Bad(
                    identity(kind, root).map(|key| (key, self.place(start))),
                ));
            }
            None => {}
        }
        if LATER.contains(&(api_version, kind)) {
            let found = format!("kind {kind} is not supported by this version");
            self.problem(at("kind"), found, format!("remove it: {KINDS}"));
            return Err(Doc::Foreign);
        }
        let ours = api_version.contains("knative.dev/") || api_version.starts_with("weft.dev/");
        let found = format!("kind is {kind:?} of {api_version:?}");
        let meant = nearest(kind, &Kind::ALL.map(Kind::name));
        let cure = match meant {
            Some(meant) => format!("did you mean {meant}?"),
            None if ours => KINDS.to_owned(),
            None => format!("move it out of this folder: {KINDS}"),
        };
        self.problem(at("kind"), found, cure);
        // A misspelt kind is one of ours whose identity isn't known.
        Err(if meant.is_some() {
            Doc::Bad(None)
        } else {
            Doc::Foreign
        })
    }

    /// Decodes and checks a document of known kind. `None` when it has problems.
    fn body<S: DeserializeOwned + Default>(
        &mut self,
        root: Node,
        wrap: fn(S) -> Spec,
    ) -> Option<Resource> {
        let mut tree = root.clone();
        let mut found = Vec::new();
        let raw: Option<Raw<S>> = decode(&mut tree, &mut found);
        for Found {
            fault,
            line,
            column,
            ..
        } in &found
        {
            self.problem((*line, *column), fault.message(), fault.cure.clone());
        }
        let raw = raw?;
        let mut faults = Faults::default();
        let metadata = raw.metadata.unwrap_or_default();
        check_name(&metadata, &mut faults);
        let name = metadata.name.clone().unwrap_or_default();
        let resource = Resource {
            metadata: metadata.keep(name),
            spec: wrap(raw.spec.unwrap_or_default()),
            place: Some(self.place((root.line, root.column))),
        };
        lower::check(&resource, &mut faults);
        let reported = found.len();
        for fault in &faults.0 {
            // A field that was struck out as wrong isn't missing as well.
            if found
                .iter()
                .any(|found| related(&found.meant, &fault.steps))
            {
                continue;
            }
            let place = root.locate(&fault.steps, false);
            self.problem(place, fault.message(), fault.cure.clone());
        }
        (reported == 0 && faults.0.is_empty()).then_some(resource)
    }
}

/// The kind of that name.
fn named(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name)
}

fn check_name(metadata: &RawMetadata, faults: &mut Faults) {
    let at = At::ROOT.key("metadata");
    match metadata.name.as_deref() {
        None => faults.add(at.key("name"), "is missing", "give the resource a name"),
        Some(name) => {
            faults.take(at.key("name"), name::check_name(name));
        }
    }
    if let Some(namespace) = metadata.namespace.as_deref() {
        faults.take(at.key("namespace"), name::check_namespace(namespace));
    }
}

/// Whether one path leads to the other.
fn related(struck: &[Step], fault: &[Step]) -> bool {
    struck.starts_with(fault) || fault.starts_with(struck)
}

/// A document's identity, as far as it can be read without believing the rest. `None` when the
/// name itself is wrong: whose it was meant to be isn't known then.
fn identity(kind: Kind, root: &Node) -> Option<ResourceKey> {
    let metadata = root.get("metadata")?;
    let name = metadata.get("name")?.text()?;
    let namespace = match metadata.get("namespace") {
        Some(namespace) if !namespace.is_null() => namespace.text()?,
        _ => "default",
    };
    name::check_name(name)
        .and_then(|()| name::check_namespace(namespace))
        .ok()?;
    Some(ResourceKey {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// A fault of a resource whose tree is gone: it is shown where the resource begins.
pub(crate) fn at_resource(resource: &Resource, fault: &Fault) -> Problem {
    let place = resource.place.clone().unwrap_or_else(|| Place {
        file: Arc::from(format!("the log's {}", resource.key())),
        line: 0,
        column: 0,
    });
    Problem::at(place, fault.message(), fault.cure.clone())
}
