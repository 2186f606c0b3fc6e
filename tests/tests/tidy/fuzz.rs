//! What is fuzzed is the same everywhere: the list in `tests::fuzz`, the programs for libFuzzer, and the
//! folders of seeds.

use std::collections::BTreeSet;

use tests::fuzz::TARGETS;

use crate::assert_none;

const FOLDER: &str = "tests/fuzz";

/// Names that aren't those of the list, in what was found at a place.
fn problems(listed: &BTreeSet<String>, place: &str, found: &BTreeSet<String>) -> Vec<String> {
    let missing = listed.difference(found);
    let missing = missing.map(|name| format!("{place} has no {name}, which is in the list"));
    let unknown = found.difference(listed);
    missing
        .chain(unknown.map(|name| format!("{place} has {name}, which isn't in the list")))
        .collect()
}

/// The names in a folder, without the ending.
fn names_in(folder: &str) -> BTreeSet<String> {
    let path = crate::root().join(FOLDER).join(folder);
    let entries = std::fs::read_dir(path).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("it can be read").path());
    names
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect()
}

/// The programs that `Cargo.toml` there declares.
fn programs(manifest: &str) -> BTreeSet<String> {
    let programs = manifest.split("[[bin]]").skip(1);
    let names = programs.filter_map(|program| program.split("name = \"").nth(1)?.split('"').next());
    names.map(str::to_owned).collect()
}

#[test]
fn each_target_has_a_program_and_seeds() {
    let listed: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    assert_eq!(listed.len(), TARGETS.len(), "each is listed once");
    let manifest = crate::root().join(FOLDER).join("Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("it is there");
    let mut all = Vec::new();
    all.extend(problems(&listed, "targets/", &names_in("targets")));
    all.extend(problems(&listed, "corpus/", &names_in("corpus")));
    all.extend(problems(&listed, "Cargo.toml", &programs(&manifest)));
    for name in &listed {
        let program = crate::root().join(format!("{FOLDER}/targets/{name}.rs"));
        let program = std::fs::read_to_string(program).unwrap_or_default();
        if !program.contains(&format!("tests::fuzz::run(\"{name}\", bytes)")) {
            all.push(format!("targets/{name}.rs doesn't run {name}"));
        }
    }
    let finds = names_in("finds");
    let strays = finds.difference(&listed).filter(|name| *name != "README");
    all.extend(strays.map(|name| format!("finds/ has {name}, which isn't in the list")));
    assert_none(&all);
}

#[test]
fn a_target_without_a_program_is_found() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let manifest = "[[bin]]\nname = \"frames\"\npath = \"x\"\n[[bin]]\nname = \"old\"\n";
    assert_eq!(programs(manifest), names(&["frames", "old"]));
    let found = problems(&names(&["frames", "folder"]), "x", &programs(manifest));
    let expected = [
        "x has no folder, which is in the list",
        "x has old, which isn't in the list",
    ];
    assert_eq!(found, expected);
}
