//! Who depends on whom, read from `cargo metadata`.
//!
//! Two views are kept: what each of our crates *declares*, with the kind and the features asked
//! for, and what is *linked* into a crate in the end. The declared view is the one to judge by where
//! features matter: in the linked one, cargo has already united the features of the whole workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The crates of the workspace and everything they pull in, with all features on.
#[derive(Default)]
pub(crate) struct Graph {
    /// Our crates, with what each declares.
    pub(crate) members: BTreeMap<String, Vec<Declared>>,
    /// Every package, and what is linked or run to build it. Development dependencies are left out.
    pub(crate) linked: BTreeMap<String, BTreeSet<String>>,
}

/// One line of a `[dependencies]` table.
pub(crate) struct Declared {
    pub(crate) name: String,
    /// From `[dev-dependencies]`: it is no part of what ships.
    pub(crate) dev: bool,
    pub(crate) features: Vec<String>,
}

impl Graph {
    /// Asks cargo.
    pub(crate) fn of_the_repository() -> Graph {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args([
                "metadata",
                "--format-version",
                "1",
                "--all-features",
                "--locked",
            ])
            .current_dir(crate::root())
            .output()
            .expect("cargo runs these tests, so it is here");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo metadata: {errors}");
        let metadata = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
        Graph::from_metadata(&metadata)
    }

    fn from_metadata(metadata: &Value) -> Graph {
        let members: BTreeSet<&str> = array(&metadata["workspace_members"]).map(text).collect();
        let mut names = BTreeMap::new();
        let mut graph = Graph::default();
        for package in array(&metadata["packages"]) {
            let (id, name) = (text(&package["id"]), text(&package["name"]));
            names.insert(id, name);
            if members.contains(id) {
                let declared = array(&package["dependencies"]).map(Declared::from_metadata);
                graph.members.insert(name.to_owned(), declared.collect());
            }
        }
        for node in array(&metadata["resolve"]["nodes"]) {
            let linked = array(&node["deps"])
                .filter(|dep| array(&dep["dep_kinds"]).any(|kind| kind["kind"] != "dev"))
                .map(|dep| names[text(&dep["pkg"])].to_owned());
            // Two versions of one crate share an entry: no rule here tells them apart.
            graph
                .linked
                .entry(names[text(&node["id"])].to_owned())
                .or_default()
                .extend(linked);
        }
        graph
    }

    /// The chain of packages by which `from` comes to link `to`, both ends included.
    pub(crate) fn chain(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::from([from.to_owned()]);
        let mut chains = vec![vec![from.to_owned()]];
        while let Some(chain) = chains.pop() {
            let last = chain.last().expect("a chain begins with one name");
            if last == to {
                return Some(chain);
            }
            for next in self.linked.get(last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    chains.push([chain.as_slice(), std::slice::from_ref(next)].concat());
                }
            }
        }
        None
    }

    /// A graph to plant faults in: each crate of ours with what it declares and links.
    #[cfg(test)]
    pub(crate) fn planted(crates: &[(&str, &[&str])]) -> Graph {
        let mut graph = Graph::default();
        for (name, uses) in crates {
            let declared = uses.iter().map(|used| {
                let (used, features) = used.split_once('+').unwrap_or((used, ""));
                let features = features.split_whitespace().map(str::to_owned).collect();
                Declared {
                    name: used.to_owned(),
                    dev: false,
                    features,
                }
            });
            let declared: Vec<Declared> = declared.collect();
            let linked = declared.iter().map(|used| used.name.clone()).collect();
            graph.linked.insert((*name).to_owned(), linked);
            graph.members.insert((*name).to_owned(), declared);
        }
        graph
    }
}

impl Declared {
    fn from_metadata(dependency: &Value) -> Declared {
        Declared {
            name: text(&dependency["name"]).to_owned(),
            dev: dependency["kind"] == "dev",
            features: array(&dependency["features"])
                .map(|f| text(f).to_owned())
                .collect(),
        }
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value
        .as_array()
        .expect("cargo metadata documents a list here")
        .iter()
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .expect("cargo metadata documents a string here")
}

#[test]
fn the_repository_has_the_crates_that_the_checks_name() {
    let graph = Graph::of_the_repository();
    for name in [
        "event",
        "journal",
        "triggers",
        "broker",
        "adapters-http",
        "weft",
    ] {
        assert!(
            graph.members.contains_key(name),
            "{name} is not a member of the workspace"
        );
    }
    assert!(
        graph.chain("broker", "bytes").is_some(),
        "the graph holds no outside crates"
    );
}

#[test]
fn a_chain_names_every_link() {
    let graph = Graph::planted(&[
        ("weft", &["broker"]),
        ("broker", &["event"]),
        ("event", &[]),
    ]);
    assert_eq!(
        graph.chain("weft", "event").unwrap(),
        ["weft", "broker", "event"]
    );
    assert_eq!(graph.chain("event", "weft"), None);
}
