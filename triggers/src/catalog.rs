//! What is in force, while files change, break, move and vanish. Pure.
//!
//! Each resource stands for itself: a bad one is refused and its last good version stays,
//! whatever happens to its neighbours. Only what is known to be absent is gone: a resource is
//! never taken for deleted because a file can't be read or parsed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::files::File;
use crate::problem::{Place, Problem, Report, plural};
use crate::run::refer::{missing, names_in, references};
use crate::written::read::{Doc, read};
use crate::written::{Kind, Resource, ResourceKey};

/// The resources in force, and the file each came from.
#[derive(Debug, Default)]
pub struct Catalog {
    in_force: BTreeMap<ResourceKey, Entry>,
}

#[derive(Debug)]
struct Entry {
    resource: Arc<Resource>,
    /// `None` for a resource restored from the log that hasn't been seen in a file since.
    file: Option<Arc<str>>,
}

/// What a reload changed.
#[derive(Debug, Default)]
pub struct Change {
    /// New, or saying something else than before. In the order of keys.
    pub put: Vec<Arc<Resource>>,
    /// In force before, and known to stand in no file any more. In the order of keys.
    pub gone: Vec<ResourceKey>,
    /// What is wrong in any file, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// What is in force now.
    pub counts: Counts,
}

impl Change {
    /// Whether what is in force stayed as it was.
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }

    /// What `weft check` prints, with `further` problems that showed later ([`crate::lower`]).
    pub fn report(&self, further: impl IntoIterator<Item = Problem>) -> Report {
        Report {
            counts: self.counts,
            problems: self.problems.iter().cloned().chain(further).collect(),
        }
    }
}

/// How much is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub files: usize,
    pub brokers: usize,
    pub triggers: usize,
    pub policies: usize,
    pub sinks: usize,
    pub nodes: usize,
}

/// `1 broker, 3 triggers, 1 policy, 2 sinks, 1 node from 2 files`; policies and sinks where there
/// are any.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}, ",
            plural(self.brokers, "broker"),
            plural(self.triggers, "trigger")
        )?;
        match self.policies {
            0 => {}
            1 => f.write_str("1 policy, ")?,
            policies => write!(f, "{policies} policies, ")?,
        }
        if 0 < self.sinks {
            write!(f, "{}, ", plural(self.sinks, "sink"))?;
        }
        write!(
            f,
            "{} from {}",
            plural(self.nodes, "node"),
            plural(self.files, "file")
        )
    }
}

/// What the files say, before it is compared with what is in force.
#[derive(Default)]
struct Seen {
    good: BTreeMap<ResourceKey, (Arc<Resource>, Arc<str>)>,
    /// Every identity that stands in some file, good or bad, with its first place.
    standing: HashMap<ResourceKey, Place>,
    /// Files of which some part couldn't be understood: what was known from them stays.
    unclear: BTreeSet<Arc<str>>,
    problems: Vec<Problem>,
}

impl Catalog {
    /// A catalog that begins with what the log says was in force, so that a resource whose
    /// file is broken at start keeps its logged version.
    pub fn restore(resources: impl IntoIterator<Item = Arc<Resource>>) -> Catalog {
        let entry = |resource: Arc<Resource>| {
            (
                resource.key(),
                Entry {
                    resource,
                    file: None,
                },
            )
        };
        Catalog {
            in_force: resources.into_iter().map(entry).collect(),
        }
    }

    /// Everything in force, in the order of keys; what [`crate::lower`] takes.
    pub fn in_force(&self) -> impl Iterator<Item = &Resource> {
        self.in_force.values().map(|entry| &*entry.resource)
    }

    /// One resource in force.
    pub fn get(&self, key: &ResourceKey) -> Option<&Resource> {
        self.in_force.get(key).map(|entry| &*entry.resource)
    }

    /// Takes in what the files say now: all files, changed or not.
    ///
    /// A resource that is wrong or can't be read keeps its last good version. One that stands
    /// in another file than before has moved and isn't gone. Of two with one key the first
    /// counts and the second is a problem.
    pub fn reload(&mut self, files: Vec<File>) -> Change {
        let count = files.len();
        let Seen {
            good,
            standing,
            unclear,
            problems,
        } = see(files);
        let mut change = Change {
            problems,
            ..Change::default()
        };
        self.in_force.retain(|key, entry| {
            let stays = standing.contains_key(key)
                || match &entry.file {
                    Some(file) => unclear.contains(file),
                    // It may be in any of them.
                    None => !unclear.is_empty(),
                };
            if !stays {
                change.gone.push(key.clone());
            }
            stays
        });
        let mut before = BTreeMap::new();
        for (key, (resource, file)) in good {
            let entry = Entry {
                resource,
                file: Some(file),
            };
            let last = self.in_force.insert(key.clone(), entry);
            before.insert(key, last.map(|entry| entry.resource));
        }
        self.hold_back(&before, &mut change.problems);
        for (key, last) in before {
            let now = self.in_force.get(&key).map(|entry| &entry.resource);
            if let Some(now) = now.filter(|now| last.as_ref() != Some(now)) {
                change.put.push(Arc::clone(now));
            }
        }
        // A resource that stands in a file, but wrong there, is to be looked for there.
        for (key, place) in standing {
            if let Some(entry) = self.in_force.get_mut(&key) {
                entry.file = Some(place.file);
            }
        }
        change.counts = self.counts(count);
        change
    }

    /// Where the new version of a resource names a policy or a Sink that isn't there, the last
    /// stays in force, as it does where a value is wrong: without what it names it would run on
    /// terms that nobody wrote.
    fn hold_back(
        &mut self,
        before: &BTreeMap<ResourceKey, Option<Arc<Resource>>>,
        problems: &mut Vec<Problem>,
    ) {
        let mut held = Vec::new();
        for (key, last) in before {
            let (Some(last), Some(now)) = (last, self.in_force.get(key)) else {
                continue;
            };
            let unknown = references(&now.resource)
                .into_iter()
                .find(|named| !self.in_force.contains_key(named));
            if let Some(named) = unknown.filter(|_| last != &now.resource) {
                let there = names_in(&self.in_force, named.kind, &named.namespace);
                let mut problem = missing(&now.resource, &named, there);
                problem.cure.push_str("; its last version stays in force");
                problems.push(problem);
                held.push((key.clone(), Arc::clone(last)));
            }
        }
        for (key, last) in held {
            if let Some(entry) = self.in_force.get_mut(&key) {
                entry.resource = last;
            }
        }
    }

    fn counts(&self, files: usize) -> Counts {
        let of = |kind| self.in_force.keys().filter(|key| key.kind == kind).count();
        Counts {
            files,
            brokers: of(Kind::Broker),
            triggers: of(Kind::Trigger),
            policies: of(Kind::DeliveryPolicy),
            sinks: of(Kind::Sink),
            nodes: of(Kind::Node),
        }
    }
}

fn see(files: Vec<File>) -> Seen {
    let mut seen = Seen::default();
    for File { path, text } in files {
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let place = Place {
                    file: Arc::clone(&path),
                    line: 0,
                    column: 0,
                };
                let cure = "what was known from it stays in force";
                seen.problems
                    .push(Problem::at(place, error.to_string(), cure));
                seen.unclear.insert(path);
                continue;
            }
        };
        for doc in read(&path, &text, &mut seen.problems) {
            match doc {
                Doc::Foreign => {}
                Doc::Bad(None) => {
                    seen.unclear.insert(Arc::clone(&path));
                }
                Doc::Bad(Some((key, place))) => {
                    seen.stands(key, place);
                }
                Doc::Good(resource) => {
                    let key = resource.key();
                    let place = resource
                        .place
                        .clone()
                        .expect("what was read from a file has a place");
                    if seen.stands(key.clone(), place) {
                        seen.good
                            .insert(key, (Arc::from(resource), Arc::clone(&path)));
                    }
                }
            }
        }
    }
    seen
}

impl Seen {
    /// Notes where a resource stands. False, and a problem, when it stood somewhere before.
    fn stands(&mut self, key: ResourceKey, place: Place) -> bool {
        match self.standing.get(&key) {
            None => {
                self.standing.insert(key, place);
                true
            }
            Some(first) => {
                let message = format!("{key} is here a second time");
                let cure = format!("the one at {first} counts: rename or remove one");
                self.problems.push(Problem::at(place, message, cure));
                false
            }
        }
    }
}
