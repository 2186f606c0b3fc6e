//! A backup of the real program under load, restored elsewhere.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tests::http::{Client, Function};
use tests::node::{PATIENCE, Start, until, weft};

use crate::{Folders, trigger};

const PUBLISHERS: usize = 3;

fn typed(args: &[&str]) -> (i32, String) {
    let output = weft(args);
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn what_was_stored_before_a_backup_is_delivered_by_the_node_that_it_is_restored_to() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    let yaml = trigger("billing", "[]", &function.uri("/"), "{}");
    folders.write("billing.yaml", &yaml);
    let node = folders.start().run();
    let url = format!("http://{}", node.admin);
    let admin = ["--admin-url", url.as_str()];
    let root = tempfile::tempdir().unwrap();
    let backup = root.path().join("backup").display().to_string();
    let data = root.path().join("data");
    let restored = data.display().to_string();
    // All is owed and nothing delivered while it is taken.
    let (exit, said) = typed(&[&["pause", "trigger", "billing"], &admin[..]].concat());
    assert_eq!(exit, 0, "{said}");

    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let ends = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (acknowledged, ends) = (Arc::clone(&acknowledged), Arc::clone(&ends));
            let address = node.ingress;
            std::thread::spawn(move || {
                let mut client = Client::connect(address).unwrap();
                for n in 0.. {
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    let id = format!("{publisher}-{n}");
                    let answer = client.publish(&id, "order.placed").unwrap();
                    assert_eq!(answer.status(), 202, "{}", answer.text());
                    acknowledged.lock().unwrap().insert(id);
                }
            })
        })
        .collect();
    let published = |more: usize| {
        until("published", PATIENCE, || {
            (acknowledged.lock().unwrap().len() >= more).then_some(())
        });
    };
    published(500);
    let before = acknowledged.lock().unwrap().clone();
    let (exit, said) = typed(&[&["backup", &backup], &admin[..]].concat());
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("backed up to"), "{said}");
    let (exit, said) = typed(&[&["backup", &backup], &admin[..]].concat());
    assert_eq!(exit, 10, "{said}");
    assert!(said.contains("is there already"), "{said}");
    // The node goes on as if nothing had been.
    let since = acknowledged.lock().unwrap().len();
    published(since + 100);
    ends.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.join().unwrap();
    }
    node.kill();
    assert_eq!(function.count(), 0);

    let (exit, said) = typed(&["restore", &backup, "--data", &restored]);
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("restored") && said.contains("read"), "{said}");
    let (exit, said) = typed(&["restore", &backup, "--data", &restored]);
    assert_eq!(exit, 6, "{said}");
    assert!(said.contains("isn't empty"), "{said}");
    let (exit, said) = typed(&["log", "verify", &restored]);
    assert_eq!(exit, 0, "{said}");

    let node = Start::new(&folders.start().yaml, &data).run();
    let url = format!("http://{}", node.admin);
    let args = ["resume", "trigger", "billing", "--admin-url", url.as_str()];
    let (exit, said) = typed(&args);
    assert_eq!(exit, 0, "{said}");
    node.until_settled();
    let got: BTreeSet<String> =
        function.look(|received| received.iter().map(|one| one.id().to_owned()).collect());
    let lost: Vec<&String> = before.difference(&got).collect();
    eprintln!(
        "{} acknowledged before the backup, {} delivered from it, {} lost",
        before.len(),
        got.len(),
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
    // It is a node like any other.
    node.publish("after", "order.placed");
    node.until_settled();
    assert!(function.look(|received| received.iter().any(|one| one.id() == "after")));
}

/// A log so small that what is kept of it has long left it.
const SMALL: &str = "apiVersion: weft.dev/v1alpha1
kind: Node
metadata: {name: node}
spec:
  storage: {segmentBytes: 1Mi, maxBytes: 24Mi, minFree: 0}
  limits: {eventBytes: 256Ki, batchBytes: 512Ki}
";

/// Publishes an event of 32 KiB as often as it is refused for want of room.
fn publish_large(client: &mut Client, id: &str, ty: &str) {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-source", "/shop"),
        ("ce-type", ty),
        ("content-type", "text/plain"),
    ];
    let data = vec![b'x'; 32 << 10];
    until("taken", PATIENCE, || {
        let answer = client.call("POST", "/default/default", &headers, &data);
        let answer = answer.expect("ingress answers");
        assert!([202, 503].contains(&answer.status()), "{}", answer.text());
        (answer.status() == 202).then_some(())
    });
}

#[test]
fn what_was_kept_of_reclaimed_segments_is_in_a_backup_too() {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let function = Function::start(move |request| {
        match request.header("ce-type") == "bad" && !is_well.load(Ordering::Relaxed) {
            true => 400,
            false => 200,
        }
    });
    let folders = Folders::new();
    folders.write("node.yaml", SMALL);
    let yaml = trigger("billing", "[]", &function.uri("/"), "{}");
    folders.write("billing.yaml", &yaml);
    let node = folders.start().run();
    let mut client = node.client();
    publish_large(&mut client, "bad-1", "bad");
    // Until the log begins behind it.
    let mut published = 0;
    while node.status()["log"]["start"] == 0 {
        for _ in 0..20 {
            publish_large(&mut client, &format!("o-{published}"), "order.placed");
            published += 1;
        }
    }
    let root = tempfile::tempdir().unwrap();
    let backup = root.path().join("backup").display().to_string();
    let data = root.path().join("data");
    let url = format!("http://{}", node.admin);
    // Segments go, and more is kept, all the while.
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = node.client();
            for n in 0.. {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let ty = if n % 10 == 0 { "bad" } else { "order.placed" };
                publish_large(&mut client, &format!("later-{n}"), ty);
            }
        });
        for n in 0..3 {
            let folder = format!("{backup}-{n}");
            let (exit, said) = typed(&["backup", &folder, "--admin-url", &url]);
            assert_eq!(exit, 0, "{said}");
        }
        ends.store(true, Ordering::Relaxed);
    });
    node.kill();
    for n in 0..3 {
        let (folder, restored) = (format!("{backup}-{n}"), data.join(n.to_string()));
        let shown = restored.display().to_string();
        let (exit, said) = typed(&["restore", &folder, "--data", &shown]);
        assert_eq!(exit, 0, "{said}");
        assert!(restored.join("kept/000000000001.seg").exists(), "{said}");
        let (exit, said) = typed(&["log", "verify", &shown]);
        assert_eq!(exit, 0, "{said}");
        assert!(said.contains("kept of segments that went"), "{said}");
        // Damage in its first record. A node that has redriven all may take the segment out of use.
        let segment = restored.join("kept/000000000001.seg");
        let whole = std::fs::read(&segment).unwrap();
        let mut bytes = whole.clone();
        bytes[4096 + 100] ^= 1;
        std::fs::write(&segment, bytes).unwrap();
        let (_, said) = typed(&["log", "verify", &shown]);
        let (_, of_kept) = said.split_once("kept of segments that went").unwrap();
        assert!(of_kept.contains("damage  segment 1 at byte 4096"), "{said}");
        std::fs::write(&segment, whole).unwrap();
        let node = Start::new(&folders.start().yaml, &restored).run();
        node.until_settled();
        let url = format!("http://{}", node.admin);
        assert_ne!(node.status()["log"]["start"], 0, "it is in kept alone");
        well.store(true, Ordering::Relaxed);
        let before = function.count();
        let args = [
            "dead-letters",
            "redrive",
            "--wait",
            "--yes",
            "--admin-url",
            &url,
        ];
        let (exit, said) = typed(&args);
        assert_eq!(exit, 0, "{said}");
        eprintln!(
            "backup {n}, log from {}: {said}",
            node.status()["log"]["start"]
        );
        let again = function.look(|received| {
            let again = received[before..].iter().filter(|one| one.id() == "bad-1");
            again.map(|one| one.request.body.len()).collect::<Vec<_>>()
        });
        assert_eq!(again, [32 << 10], "with its event");
        well.store(false, Ordering::Relaxed);
        node.kill();
    }
}

#[test]
fn a_restore_that_was_cut_short_is_not_run() {
    let folders = Folders::new();
    folders.write(
        "billing.yaml",
        &trigger("billing", "[]", "http://127.0.0.1:1/", "{}"),
    );
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("restoring/log")).unwrap();
    let (exit, said) = Start::new(&folders.start().yaml, root.path()).refused();
    assert_eq!(exit, 7, "{said}");
    assert!(said.contains("was cut short"), "{said}");
    assert!(said.contains("restore the backup again"), "{said}");
}
