//! What every file must have, and what none may hold.
//!
//! Reads the files that git tracks or would add, so build output and data folders don't count.

use std::process::Command;

use crate::assert_none;

/// A text file of the repository.
pub(crate) struct Text {
    /// From the repository's root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Folders of one person's machine. A file that names one works nowhere else.
const MACHINE_FOLDERS: &[&str] = &["work", "root", "home"];

/// Where packages come from is the machine's setting, not the repository's. Written in halves, so
/// that this list isn't a finding.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("crates.io", "-index"),
    concat!("pypi", ".org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.npm", "js.org"),
    concat!("proxy.gol", "ang.org"),
    concat!("repo.maven", ".apache.org"),
    concat!("deb.deb", "ian.org"),
];

/// Every text file that git tracks or would add.
pub(crate) fn all() -> Vec<Text> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(crate::root())
        .output()
        .expect("the repository is a git checkout, so git is here");
    assert!(
        output.status.success(),
        "git: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let paths = String::from_utf8(output.stdout).expect("our file names are UTF-8");
    let paths = paths.split_terminator('\0');
    // What isn't UTF-8, a link to a folder, or deleted but not yet committed is no text.
    let texts = paths.filter_map(|path| {
        let text = std::fs::read_to_string(crate::root().join(path)).ok()?;
        Some(Text {
            path: path.to_owned(),
            text,
        })
    });
    texts.collect()
}

/// Rust files that don't begin by saying what they are for.
fn silent(files: &[Text]) -> Vec<String> {
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    let silent = rust.filter(|file| {
        let said = file
            .text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("//! "));
        said.is_none_or(|said| said.trim().is_empty())
    });
    silent
        .map(|file| format!("{}:1 begins without `//! ` and a sentence", file.path))
        .collect()
}

/// Lines that name a folder of some machine or a registry's host.
fn tied_to_a_machine(files: &[Text]) -> Vec<String> {
    let mut problems = Vec::new();
    // Lock files are written by tools and say where each package is from.
    for file in files.iter().filter(|file| !file.path.ends_with(".lock")) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let folder = MACHINE_FOLDERS
                .iter()
                .find(|folder| names_folder(line, folder));
            let host = REGISTRY_HOSTS.iter().find(|host| line.contains(*host));
            if let Some(found) = folder.or(host) {
                problems.push(format!(
                    "{}:{number} is tied to a machine by {found:?}",
                    file.path
                ));
            }
        }
    }
    problems
}

/// Whether the line has an absolute path that begins with this folder.
fn names_folder(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        // `a/home/b` and `https://host/home/` are somewhere else.
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}/".contains(c))
    })
}

/// Lines of code in `event/` that use a JSON library; comments may speak of it.
fn json_library_in_event(files: &[Text]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("event/")) {
        let comment = match file.path.rsplit('.').next() {
            Some("rs") => "//",
            Some("toml") => "#",
            _ => continue,
        };
        for (number, line) in (1..).zip(file.text.lines()) {
            let code = line.split(comment).next().unwrap_or_default();
            if code.contains("serde_json") {
                problems.push(format!("{}:{number} uses serde_json", file.path));
            }
        }
    }
    problems
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    assert_none(&silent(&all()));
}

#[test]
fn no_file_is_tied_to_a_machine() {
    assert_none(&tied_to_a_machine(&all()));
}

#[test]
fn the_event_is_read_without_a_json_library() {
    assert_none(&json_library_in_event(&all()));
}

#[test]
fn the_files_that_the_checks_read_are_found() {
    let paths: Vec<String> = all().into_iter().map(|file| file.path).collect();
    for path in [
        "Makefile",
        "ARCHITECTURE.md",
        "event/src/lib.rs",
        "tests/tests/tidy/files.rs",
    ] {
        assert!(
            paths.iter().any(|found| found == path),
            "{path} is not among {} files",
            paths.len()
        );
    }
}

mod planted {
    use super::*;

    fn file(path: &str, text: &str) -> Vec<Text> {
        vec![Text {
            path: path.to_owned(),
            text: text.to_owned(),
        }]
    }

    #[test]
    fn a_rust_file_that_says_nothing_is_found() {
        let expected = ["a.rs:1 begins without `//! ` and a sentence"];
        assert_eq!(silent(&file("a.rs", "")), expected);
        assert_eq!(silent(&file("a.rs", "//! \nfn main() {}\n")), expected);
        assert_eq!(
            silent(&file("a.rs", "use std::fmt;\n//! Late.\n")),
            expected
        );
        assert_none(&silent(&file("a.rs", "//! The door.\n")));
        assert_none(&silent(&file("a.py", "")));
    }

    #[test]
    fn a_path_of_some_machine_is_found() {
        let found = |line: &str| !tied_to_a_machine(&file("a.md", line)).is_empty();
        for folder in MACHINE_FOLDERS {
            assert!(found(&format!("see /{folder}/me/weft")));
            assert!(found(&format!("/{folder}/me")));
            assert!(found(&format!("path = \"/{folder}/me\"")));
            assert!(!found(&format!("docs/{folder}/page.md")));
            assert!(!found(&format!("https://example.com/{folder}/page")));
        }
        assert!(found(&format!("index = \"https://{}\"", REGISTRY_HOSTS[0])));
        assert!(!found("the framework/work of others"));
        assert!(tied_to_a_machine(&file("Cargo.lock", REGISTRY_HOSTS[2])).is_empty());
    }

    #[test]
    fn a_json_library_in_the_event_is_found() {
        let found = json_library_in_event(&file("event/src/json.rs", "\nuse serde_json::Value;\n"));
        assert_eq!(found, ["event/src/json.rs:2 uses serde_json"]);
        assert!(!json_library_in_event(&file("event/Cargo.toml", "serde_json = \"1\"")).is_empty());
        assert_none(&json_library_in_event(&file(
            "event/src/json.rs",
            "//! Without serde_json.",
        )));
        assert_none(&json_library_in_event(&file(
            "weft/src/main.rs",
            "use serde_json::Value;",
        )));
    }
}
