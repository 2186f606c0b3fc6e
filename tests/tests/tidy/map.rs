//! The names in ARCHITECTURE.md, CONTRIBUTING.md and docs/durability.md exist, and links between pages lead somewhere.
//!
//! A name counts when it stands in backticks outside a code block and looks like a file
//! (`event/src/lib.rs`, `trigger.yaml`) or like an item of ours (`broker::Router::run`). An item
//! exists when its crate declares each of its parts; a re-export may shorten the path.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::files::{self, Text};
use crate::graph::Graph;

const MAPS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/durability.md"];

/// What a name must end in to be a file even where no folder of ours begins it.
const FILE_ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".sh", ".yaml", ".txt"];

const KEYWORDS: &[&str] = &[
    "fn",
    "struct",
    "enum",
    "union",
    "trait",
    "mod",
    "type",
    "const",
    "static",
    "macro_rules!",
];

/// What the names are looked up in.
struct Repository {
    files: Vec<Text>,
    /// Our crates: the name in code, and the folder.
    crates: Vec<(String, String)>,
    /// Crates of others, as named in code.
    foreign: BTreeSet<String>,
}

impl Repository {
    fn read() -> Repository {
        let graph = Graph::of_the_repository();
        let ours = graph.members.keys();
        let crates = ours
            .map(|name| (name.replace('-', "_"), name.replace('-', "/")))
            .collect();
        let std = ["std", "core", "alloc", "clippy"].map(str::to_owned);
        let foreign = graph
            .linked
            .keys()
            .map(|name| name.replace('-', "_"))
            .chain(std)
            .collect();
        Repository {
            files: files::all(),
            crates,
            foreign,
        }
    }

    /// What is wrong with the name, if it is one that we check.
    fn problem(&self, name: &str) -> Option<String> {
        let name = name.trim_end_matches("()");
        if looks_like_an_item(name) {
            self.item_problem(name)
        } else if self.looks_like_a_file(name) && !self.has_file(name) {
            Some(format!("there is no file `{name}`"))
        } else {
            None
        }
    }

    fn looks_like_a_file(&self, name: &str) -> bool {
        let plain = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        let ending = FILE_ENDINGS
            .iter()
            .any(|ending| name.len() > ending.len() && name.ends_with(ending));
        let folder = name.split_once('/').map(|(folder, _)| format!("{folder}/"));
        let ours = folder
            .is_some_and(|folder| self.files.iter().any(|file| file.path.starts_with(&folder)));
        plain && !name.starts_with('/') && (ending || ours)
    }

    fn has_file(&self, name: &str) -> bool {
        let within = format!("/{name}");
        let bare =
            !name.contains('/') && self.files.iter().any(|file| file.path.ends_with(&within));
        bare || self.has_path(name)
    }

    /// Whether the path, from the root, is a file or a folder.
    fn has_path(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files
            .iter()
            .any(|file| file.path == path || file.path.starts_with(&folder))
    }

    fn item_problem(&self, name: &str) -> Option<String> {
        let parts: Vec<&str> = name.split("::").collect();
        let Some((_, folder)) = self.crates.iter().find(|(name, _)| name == parts[0]) else {
            let known = self.foreign.contains(parts[0]);
            return (!known).then(|| format!("`{name}`: there is no crate {}", parts[0]));
        };
        let source = format!("{folder}/src/");
        let files = self
            .files
            .iter()
            .filter(|file| file.path.starts_with(&source));
        let files: Vec<&Text> = files.filter(|file| file.path.ends_with(".rs")).collect();
        for (at, part) in parts.iter().enumerate().skip(1) {
            let owner = parts[at - 1];
            let of_a_type = owner.starts_with(char::is_uppercase);
            let found = files.iter().any(|file| {
                if of_a_type {
                    has_member(&file.text, owner, part)
                } else {
                    declares(&file.text, part)
                }
            });
            if !found {
                return Some(format!("`{name}`: {folder} declares no {part}"));
            }
        }
        None
    }
}

fn looks_like_an_item(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    name.contains("::")
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split("::").all(part)
}

/// Whether the file declares something of this name.
fn declares(text: &str, name: &str) -> bool {
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with("//"))
        .any(|line| {
            let words: Vec<&str> = words(line).collect();
            words
                .windows(2)
                .any(|pair| KEYWORDS.contains(&pair[0]) && pair[1] == name)
        })
}

/// Whether the file declares the type, or implements it, and has such a function, variant or field.
fn has_member(text: &str, owner: &str, name: &str) -> bool {
    let implements = || {
        text.lines()
            .any(|line| line.starts_with("impl") && words(line).any(|word| word == owner))
    };
    let member = |line: &str| {
        let line = line.trim_start().trim_start_matches("pub ");
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([',', '(', ' ', ':', '{']))
    };
    (declares(text, owner) || implements()) && (declares(text, name) || text.lines().any(member))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '!'))
        .filter(|word| !word.is_empty())
}

/// The names in backticks outside code blocks, each with the number of its line.
fn names(text: &str) -> Vec<(usize, &str)> {
    let mut names = Vec::new();
    let mut in_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            names.extend(
                line.split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|name| (number, name)),
            );
        }
    }
    names
}

/// Names in a page that nothing answers to.
fn names_of_nothing(page: &Text, repository: &Repository) -> Vec<String> {
    let names = names(&page.text).into_iter();
    let problems = names.filter_map(|(number, name)| Some((number, repository.problem(name)?)));
    problems
        .map(|(number, problem)| format!("{}:{number} {problem}", page.path))
        .collect()
}

/// Links of a page to files of ours that aren't there.
fn links_to_nowhere(page: &Text, repository: &Repository) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(page.text.lines()) {
        for link in line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains(':') {
                continue;
            }
            let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            if !repository.has_path(&joined(folder, target)) {
                problems.push(format!(
                    "{}:{number} links to {target}, which isn't there",
                    page.path
                ));
            }
        }
    }
    problems
}

/// `target` seen from `folder`, without `.` and `..`.
fn joined(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn every_name_on_the_map_exists() {
    let repository = Repository::read();
    let pages = repository
        .files
        .iter()
        .filter(|file| MAPS.contains(&file.path.as_str()));
    let pages: Vec<&Text> = pages.collect();
    assert_eq!(pages.len(), MAPS.len(), "a map is missing");
    let problems: Vec<_> = pages
        .iter()
        .flat_map(|page| names_of_nothing(page, &repository))
        .collect();
    assert_none(&problems);
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let repository = Repository::read();
    let pages = repository
        .files
        .iter()
        .filter(|file| file.path.ends_with(".md"));
    let problems: Vec<_> = pages
        .flat_map(|page| links_to_nowhere(page, &repository))
        .collect();
    assert_none(&problems);
}

mod planted {
    use super::*;

    fn page(text: &str) -> Text {
        Text {
            path: "docs/map.md".to_owned(),
            text: text.to_owned(),
        }
    }

    fn repository() -> Repository {
        let file = |path: &str, text: &str| Text {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let router = "mod index;\npub struct Router {\n    pub lag: u64,\n}\nimpl Router {\n    pub async fn run(self) {}\n}\n// fn gone()\n";
        let files = vec![
            file("broker/src/router.rs", router),
            file(
                "adapters/http/src/source.rs",
                "pub enum Mode {\n    Binary,\n}\n",
            ),
            file("examples/quickstart/trigger.yaml", ""),
            file("docs/map.md", ""),
        ];
        let crates = [("broker", "broker"), ("adapters_http", "adapters/http")];
        let crates = crates
            .map(|(name, folder)| (name.to_owned(), folder.to_owned()))
            .to_vec();
        Repository {
            files,
            crates,
            foreign: BTreeSet::from(["tokio".to_owned()]),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(
            names_of_nothing(&page(text), &repository()),
            expected,
            "for {text}"
        );
    }

    #[test]
    fn names_that_exist_pass() {
        check(
            "`broker/src/router.rs`, `broker/`, `trigger.yaml`, `adapters/http`",
            &[],
        );
        check(
            "`broker::Router`, `broker::Router::run()`, `broker::Router::lag`",
            &[],
        );
        check(
            "`adapters_http::Mode::Binary`, `broker::index`, `tokio::spawn`",
            &[],
        );
        check(
            "`/metrics`, `application/json`, `--data`, `Outcome`, `a b/c.rs d`",
            &[],
        );
        check("```\n`broker/src/gone.rs`\n```", &[]);
    }

    #[test]
    fn a_file_that_is_gone_is_found() {
        check(
            "`broker/src/gone.rs`",
            &["docs/map.md:1 there is no file `broker/src/gone.rs`"],
        );
        check(
            "\n`broker/gone`",
            &["docs/map.md:2 there is no file `broker/gone`"],
        );
        check(
            "`policy.yaml`",
            &["docs/map.md:1 there is no file `policy.yaml`"],
        );
    }

    #[test]
    fn an_item_that_is_gone_is_found() {
        check(
            "`broker::Lane`",
            &["docs/map.md:1 `broker::Lane`: broker declares no Lane"],
        );
        check(
            "`broker::Router::gone`",
            &["docs/map.md:1 `broker::Router::gone`: broker declares no gone"],
        );
        check(
            "`adapters_http::Mode::Batch`",
            &["docs/map.md:1 `adapters_http::Mode::Batch`: adapters/http declares no Batch"],
        );
        check(
            "`jounal::Reader`",
            &["docs/map.md:1 `jounal::Reader`: there is no crate jounal"],
        );
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        let links = |text: &str| links_to_nowhere(&page(text), &repository());
        assert_none(&links(
            "[a](map.md#x) [b](../broker/src/router.rs) [c](https://example.com) [d](#top)",
        ));
        let expected = ["docs/map.md:1 links to gone.md, which isn't there"];
        assert_eq!(links("[a](gone.md)"), expected);
        assert_eq!(
            links("[a](../trigger.yaml)").len(),
            1,
            "a link is a path, not a name"
        );
    }
}
