//! Data folders of every version of the disk format that was ever released are read, for ever
//! (`docs/format.md`): by a reader that was written from the document alone, and by a node, which
//! finds in them what it found when they were made.
//!
//! `tests/fixtures/format/v1/` has one that was stopped in order, one whose power failed, and one of what
//! is rare, as archives of their files, each with what the document's reader reads in it and with what came
//! of it. They are made by
//!
//! ```text
//! cargo test -p tests --test scenarios format::makes_the_fixtures -- --ignored
//! UPDATE_EXPECT=1 cargo test -p tests --test scenarios format::
//! ```
//!
//! once for each version, before it is released; those of an older version are never made again. What
//! today's node writes is read by the document as well, so that a change of the writer that isn't on the
//! page is seen.

mod rare;

use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::{ExpectFile, expect_file};
use tests::data::{Files, disk_of};
use tests::format::{bodies, kept, segment, side};

use crate::damage::folder::make;
use crate::damage::node::goes_on;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/format")
}

fn tar(args: &[&str], archive: &Path, folder: &Path) {
    let ran = Command::new("tar")
        .args(args)
        .arg("-f")
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .arg(".")
        .status();
    assert!(ran.expect("there is tar").success());
}

fn pack(files: &Files, archive: &Path) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (path, bytes) in files {
        let path = folder.path().join(path);
        let parent = path.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(parent).expect("a folder can be made");
        std::fs::write(path, bytes).expect("a file can be written");
    }
    let args = [
        "-cz",
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ];
    tar(&args, archive, folder.path());
}

fn unpack(archive: &Path) -> Files {
    let folder = tempfile::tempdir().expect("a folder can be made");
    tar(&["-xz"], archive, folder.path());
    let mut files = Files::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder.path()).expect("it lies in it");
            let name = name.to_str().expect("a plain name").to_owned();
            files.insert(name, std::fs::read(&path).expect("a file can be read"));
        }
    }
    files
}

#[tokio::test(start_paused = true)]
#[ignore = "makes the fixtures of this version of the format, which is done once"]
async fn makes_the_fixtures() {
    let made = make().await;
    let folder = fixtures().join("v1");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    pack(&made.stopped, &folder.join("stopped.tar.gz"));
    pack(&made.crashed, &folder.join("crashed.tar.gz"));
    pack(&rare::make().await, &folder.join("rare.tar.gz"));
}

/// A data folder as the document's reader reads it, a line a record.
fn read(files: &Files) -> String {
    let mut text = String::new();
    for folder in ["log/", "kept/"] {
        let paths: Vec<&String> = files
            .keys()
            .filter(|path| path.starts_with(folder) && path.ends_with(".seg"))
            .collect();
        for (index, path) in paths.iter().enumerate() {
            let next = paths.get(index + 1).map(|next| &files[*next]);
            let next = next.map(|next| segment::header(next).expect("a header"));
            let bytes = &files[*path];
            let read = segment::segment(bytes, next.as_ref());
            let read = read.unwrap_or_else(|wrong| panic!("{path}: {wrong}"));
            let header = &read.header;
            text += &format!(
                "{path}: from {} created {} end {} before {} torn {} {}{}\n",
                header.first,
                header.created,
                read.end,
                header.before_end,
                header.before_torn,
                if header.end == 0 { "" } else { "repacked" },
                if read.torn == 0 { "" } else { "torn-behind" },
            );
            for record in &read.records {
                assert_eq!(record.version, 1);
                let body = &bytes[record.body.clone()];
                let said = match folder {
                    "log/" => bodies::record(record.kind, record.tag, body),
                    _ => kept::record(record.kind, record.tag, body),
                };
                let offset = record.offset;
                let said = said.unwrap_or_else(|wrong| panic!("{path} {offset}: {wrong}"));
                text += &format!("  {offset} [{}] {said}\n", record.flags);
            }
            let beside = path.replace(".seg", ".side");
            if let Some(bytes) = files.get(&beside) {
                let said = side::side(bytes, header.log_id, header.sequence);
                let said = said.unwrap_or_else(|wrong| panic!("{beside}: {wrong}"));
                text += &format!("{beside}: {said}\n");
            }
        }
    }
    text
}

/// Kinds of records, as they begin, and what they may say: each is somewhere in the folders.
const VARIANTS: &[&str] = &[
    "] event of broker",
    "] routed",
    "] settled",
    "] parked",
    "] held",
    "] dead",
    "] redriven",
    "] trigger-set",
    "] rejected",
    "] intent",
    "] mark",
    "] replayed",
    "] paused",
    "] started",
    "] copy of",
    "] owed of",
    "] letter",
    "] standing",
    // Events.
    " binary specversion=\"1.0\"",
    " binary specversion=\"0.3\"",
    " structured specversion=\"1.0\"",
    " structured specversion=\"0.3\"",
    " no data",
    " data of 9216 bytes",
    " JSON \"{",
    " base64 \"",
    " with nulls",
    " own=\"its own\"",
    " count=\"3\"",
    // Attempts.
    " answered 503",
    " garbled 200",
    " not an event 200",
    " timed out 0",
    " took 200",
    " 2000 before it left out",
    // Outcomes.
    " delivered attempt",
    " exhausted ",
    " refused ",
    " loop ",
    " poison ",
    " forwarded",
    " reply ",
    // Keys, letters, pauses, replays, resources.
    " by ",
    " let go",
    "] discarded",
    "] payload of",
    " gave way at",
    ", put ",
    ", detach ",
    ", attach ",
    "#dead",
    " kind 16 ",
    "] paused ",
    " filters ",
    " suspect ",
    " accused ",
    " attempt 0",
    " repacked",
    ".side: ",
    " again since ",
    ": none any more",
    " torn-behind",
];

/// Which of these no line says.
fn missing(text: &str) -> Vec<&'static str> {
    let is_missing = |variant: &&str| !text.contains(*variant);
    VARIANTS.iter().copied().filter(is_missing).collect()
}

async fn check(archive: &str, content: ExpectFile, came: ExpectFile) -> String {
    let files = unpack(&fixtures().join(archive));
    let text = read(&files);
    content.assert_eq(&text);
    let opened = goes_on(disk_of(&files), true).await.expect("it opens");
    assert!(!opened.view_anew && !opened.said, "{archive}");
    let mut said = String::new();
    for (whose, id) in &opened.came.taken {
        said += &format!("{whose} takes {id}\n");
    }
    for (letter, (whose, event)) in &opened.came.letters {
        said += &format!("letter {letter} of {whose}: {event:?}\n");
    }
    came.assert_eq(&said);
    let mut without = files;
    without.remove("view.redb").expect("there is a view");
    let anew = goes_on(disk_of(&without), true).await.expect("it opens");
    assert_eq!(anew.came, opened.came, "{archive} without its view");
    text
}

#[tokio::test(start_paused = true)]
async fn folders_of_version_1_are_read_by_the_document_and_by_a_node() {
    let stopped = check(
        "v1/stopped.tar.gz",
        expect_file!["../../fixtures/format/v1/stopped.txt"],
        expect_file!["../../fixtures/format/v1/stopped.came.txt"],
    )
    .await;
    let crashed = check(
        "v1/crashed.tar.gz",
        expect_file!["../../fixtures/format/v1/crashed.txt"],
        expect_file!["../../fixtures/format/v1/crashed.came.txt"],
    )
    .await;
    let rare = check(
        "v1/rare.tar.gz",
        expect_file!["../../fixtures/format/v1/rare.txt"],
        expect_file!["../../fixtures/format/v1/rare.came.txt"],
    )
    .await;
    let none: [&str; 0] = [];
    assert_eq!(missing(&format!("{stopped}{crashed}{rare}")), none);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_today_is_what_the_document_says() {
    let made = make().await;
    let text = read(&made.stopped) + &read(&made.crashed) + &read(&rare::make().await);
    let none: [&str; 0] = [];
    assert_eq!(missing(&text), none);
}

/// The hash that a sidecar has of an event is the one that the document gives.
#[test]
fn the_hashes_of_sidecars_are_those_of_the_events() {
    let files = unpack(&fixtures().join("v1/stopped.tar.gz"));
    let mut seen = 0;
    for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(".side")) {
        let log = &files[&path.replace(".side", ".seg")];
        let next: Vec<&Vec<u8>> = files
            .iter()
            .filter(|(other, _)| {
                other.starts_with("log/") && other.ends_with(".seg") && *other > path
            })
            .map(|(_, bytes)| bytes)
            .collect();
        let next = segment::header(next[0]).expect("a sealed segment has one behind it");
        let read = segment::segment(log, Some(&next)).expect("it reads");
        let events = read.records.iter().filter(|record| record.kind == 1);
        let mut hashes: Vec<u64> = events
            .map(|record| {
                let event = bodies::event(&log[record.body.clone()]).expect("an event");
                side::hash(&event.source, &event.id)
            })
            .collect();
        hashes.sort_unstable();
        seen += hashes.len();
        let header = &read.header;
        let said = side::side(bytes, header.log_id, header.sequence).expect("it reads");
        assert!(
            said.ends_with(&format!("hashes {hashes:x?}")),
            "{path}: {said}"
        );
    }
    assert!(seen > 10, "{seen}");
}
