//! Starts that can't be: one clear message, an exit code of its own, and nothing changed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use tests::http::Function;
use tests::node::Start;

use crate::{Folders, contents, trigger};

/// Starts what must be refused: this exit code, one message with all of these, nothing changed.
#[track_caller]
fn refused(start: &Start, code: i32, parts: &[&str]) {
    let before = contents(&start.data);
    let (exit, said) = start.refused();
    assert_eq!(exit, code, "{said}");
    assert_eq!(said.matches("error:").count(), 1, "one message:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} isn't in:\n{said}");
    }
    assert!(
        contents(&start.data) == before,
        "the data folder was changed"
    );
}

fn quiet(folders: &Folders) {
    folders.write("t.yaml", &trigger("t", "[]", "http://127.0.0.1:1/", "{}"));
}

#[test]
fn a_port_that_is_taken() {
    let folders = Folders::new();
    quiet(&folders);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin"] {
        let mut start = folders.start();
        start.args = vec![flag.into(), address.clone()];
        refused(&start, 4, &[&address, flag]);
        assert!(!folders.data().exists(), "not even the data folder is made");
    }
}

#[test]
fn a_data_folder_that_another_process_uses() {
    let folders = Folders::new();
    quiet(&folders);
    let weft = folders.start().run();
    weft.publish("o-1", "red");
    // The first one goes on writing, so what it holds isn't compared.
    let (exit, said) = folders.start().refused();
    assert_eq!(exit, 5, "{said}");
    assert!(said.contains("in use by process"), "{said}");
    weft.publish("o-2", "red");
}

#[test]
fn a_data_folder_that_is_not_one() {
    let folders = Folders::new();
    quiet(&folders);
    fs::write(folders.data(), "a file in the way").unwrap();
    refused(&folders.start(), 6, &["data", "--data DIR"]);
    assert_eq!(
        fs::read_to_string(folders.data()).unwrap(),
        "a file in the way"
    );
}

#[test]
fn a_data_folder_that_may_not_be_written() {
    let folders = Folders::new();
    quiet(&folders);
    fs::create_dir(folders.data()).unwrap();
    fs::set_permissions(folders.data(), fs::Permissions::from_mode(0o555)).unwrap();
    let writable = fs::write(folders.data().join("probe"), "").is_ok();
    if writable {
        // Who is root may write anywhere: a file system that can't be written stands in.
        let mut start = folders.start();
        start.data = "/proc/weft-data".into();
        refused(&start, 6, &["/proc/weft-data", "--data DIR"]);
        return;
    }
    refused(&folders.start(), 6, &["--data DIR"]);
}

#[test]
fn a_log_of_an_unknown_version() {
    let folders = Folders::new();
    quiet(&folders);
    let weft = folders.start().run();
    weft.publish("o-1", "red");
    weft.terminate();
    assert_eq!(weft.wait().0, 0);
    let segments = contents(&folders.data()).into_iter();
    let mut segments =
        segments.filter(|(path, _)| path.extension().is_some_and(|end| end == "seg"));
    let (path, mut bytes) = segments.next().expect("there is a segment");
    // docs/format.md, "Header block": two copies, the version at 8, CRC32C of bytes 0 to 91 at 92.
    for copy in [0, 2048] {
        bytes[copy + 8..copy + 12].copy_from_slice(&9u32.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[copy..copy + 92]);
        bytes[copy + 92..copy + 96].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(&path, &bytes).unwrap();
    refused(
        &folders.start(),
        7,
        &["format version 9", "nothing was changed"],
    );
}

#[test]
fn a_folder_of_yaml_that_is_not_there() {
    let folders = Folders::new();
    let mut start = folders.start();
    start.yaml = folders.yaml().join("nowhere");
    refused(&start, 8, &["nowhere", "does not exist"]);
    assert!(!folders.data().exists());
}

#[test]
fn a_folder_of_yaml_that_is_empty() {
    let folders = Folders::new();
    refused(&folders.start(), 8, &["yaml", "has no .yaml"]);
    assert!(!folders.data().exists());
}

/// Damage in the middle is named, and all the rest is delivered.
#[test]
fn a_damaged_record_is_named_and_the_others_go_on() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    folders.write("t.yaml", &trigger("t", "[]", "http://127.0.0.1:1/", "{}"));
    let weft = folders.start().run();
    for n in 0..5 {
        weft.publish(&format!("o-{n}"), "red");
    }
    weft.kill();
    let needle = b"o-2";
    let (path, mut bytes) = contents(&folders.data())
        .into_iter()
        .find(|(_, bytes)| bytes.windows(3).any(|window| window == needle))
        .expect("the event is in the log");
    let at = bytes
        .windows(3)
        .position(|window| window == needle)
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    folders.write("t.yaml", &trigger("t", "[]", &function.uri("/"), "{}"));
    let weft = folders.start().run();
    let said = weft.until_said("LOST");
    assert!(said.contains("offset"), "{said}");
    tests::node::until("delivered", tests::node::PATIENCE, || {
        (function.count() >= 4).then_some(())
    });
    let mut ids: Vec<String> = function
        .received()
        .iter()
        .map(|one| one.id().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids, ["o-0", "o-1", "o-3", "o-4"]);
}
