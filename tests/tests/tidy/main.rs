//! Tidy: the map is true. These tests read the repository instead of running it.
//!
//! What ARCHITECTURE.md and CONTRIBUTING.md promise about the shape of the code stays true only if
//! something fails when it stops being so. Each check is a function from what it reads to the list
//! of what is wrong; one test runs it over the repository, and another over a planted fault, so
//! that no check can pass by looking at nothing.

mod arrows;
mod files;
mod fuzz;
mod graph;
mod map;
mod mutants;
mod promises;
mod proof;

use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the tests package lies in the repository")
        .to_owned()
}

/// Fails with every problem, one a line.
#[track_caller]
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n  {}\n", problems.join("\n  "));
}
