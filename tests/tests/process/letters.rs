//! Dead letters, as an operator finds, mends and redrives them: commands alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tests::http::Function;
use tests::node::{PATIENCE, Weft, until, weft};

use crate::operate::{says, typed};
use crate::{Folders, trigger};

/// A function whose status can be changed.
fn function(status: u16) -> (Arc<AtomicU16>, Function) {
    let status = Arc::new(AtomicU16::new(status));
    let answers = Arc::clone(&status);
    (
        status,
        Function::start(move |_| answers.load(Ordering::SeqCst)),
    )
}

fn letters(node: &Weft) -> Vec<u64> {
    let url = format!("http://{}", node.admin);
    let listed = weft(&["dead-letters", "list", "-o", "json", "--admin-url", &url]);
    let listed: serde_json::Value =
        serde_json::from_slice(&listed.stdout).expect("the list is JSON");
    let items = listed["items"].as_array().expect("the list has items");
    items
        .iter()
        .filter_map(|item| item["id"].as_u64())
        .collect()
}

#[test]
fn dead_letters_are_found_mended_and_redriven_by_commands() {
    let (status, billing) = function(422);
    let (_, rescue) = function(200);
    let folders = Folders::new();
    let yaml = trigger("billing", "[]", &billing.uri("/"), "{}");
    folders.write("billing.yaml", &yaml);
    let node = folders.start().run();
    for id in ["1", "2", "3", "4", "5"] {
        node.publish(id, "red");
    }
    until("dead", PATIENCE, || {
        (letters(&node).len() == 5).then_some(())
    });

    let said = typed(&node, &["dead-letters", "list", "--status", "422"]);
    says(
        &said,
        0,
        &[
            "refused",
            "default/billing",
            "5 letters shown; in all 5 kept",
        ],
    );
    let said = typed(&node, &["dead-letters", "list", "--status", "503"]);
    says(&said, 0, &["no dead letters"]);
    let said = typed(&node, &["dead-letters", "list", "--reason", "bored"]);
    says(
        &said,
        10,
        &["reason: there is no \"bored\", write one of exhausted"],
    );
    let ids = letters(&node);
    let first = ids[4].to_string();
    let said = typed(&node, &["dead-letters", "show", &first]);
    says(
        &said,
        0,
        &["422", &format!("weft dead-letters redrive {first}")],
    );

    // Nothing happens without a yes, and a dry run changes nothing.
    let said = typed(&node, &["dead-letters", "redrive"]);
    says(&said, 2, &["5 dead letters would be redriven", "--yes"]);
    let said = typed(&node, &["dead-letters", "redrive", "--dry-run"]);
    says(&said, 0, &["5 dead letters would be redriven", &first]);
    let said = typed(&node, &["dead-letters", "discard", &first]);
    says(&said, 2, &["1 dead letter would be discarded", "--yes"]);
    assert_eq!((letters(&node).len(), billing.count()), (5, 5));

    let said = typed(&node, &["dead-letters", "discard", &first, "--yes"]);
    says(&said, 0, &["1 dead letter discarded"]);
    let said = typed(&node, &["dead-letters", "redrive", &first, "--yes"]);
    says(
        &said,
        10,
        &["0 dead letters would be redriven", "it was discarded at"],
    );
    let said = typed(&node, &["dead-letters", "list", "--state", "discarded"]);
    says(&said, 0, &["in all 4 kept, 0 redriven, 1 discarded"]);

    // One of them to another place.
    let second = ids[3].to_string();
    let elsewhere = rescue.uri("/");
    let asked = [
        "dead-letters",
        "redrive",
        &second,
        "--to-uri",
        &elsewhere,
        "--wait",
        "--yes",
    ];
    says(
        &typed(&node, &asked),
        0,
        &["1 dead letter redriven: 1 delivered, 0 dead again, 0 on their way"],
    );
    assert_eq!(rescue.look(|all| all[0].id().to_owned()), "2");
    let asked = ["dead-letters", "redrive", "--to-uri", "nowhere", "--yes"];
    says(&typed(&node, &asked), 10, &["toUri"]);

    // Mended; a crash before the redrive loses nothing, and the rest goes where it should.
    node.kill();
    let node = folders.start().run();
    let third = ids[2].to_string();
    let asked = ["dead-letters", "redrive", &third, "--wait", "--yes"];
    says(&typed(&node, &asked), 12, &["0 delivered, 1 dead again"]);
    let asked = ["dead-letters", "redrive", "--trigger", "biling", "--yes"];
    says(&typed(&node, &asked), 11, &["no trigger default/biling"]);
    status.store(200, Ordering::SeqCst);
    let asked = [
        "dead-letters",
        "redrive",
        "--trigger",
        "billing",
        "--rate",
        "100/s",
        "--wait",
        "--yes",
    ];
    says(
        &typed(&node, &asked),
        0,
        &["3 dead letters redriven: 3 delivered, 0 dead again, 0 on their way"],
    );
    assert_eq!(billing.count(), 5 + 1 + 3);
    says(
        &typed(&node, &["dead-letters", "redrive", "--yes"]),
        0,
        &["0 dead letters"],
    );
    let said = typed(&node, &["dead-letters", "list", "--state", "all"]);
    says(&said, 0, &["in all 0 kept, 5 redriven, 1 discarded"]);
    node.until_settled();
}

#[test]
fn an_export_is_one_letter_a_line_and_can_be_sent_again() {
    let (status, billing) = function(400);
    let folders = Folders::new();
    let yaml = trigger("billing", "[]", &billing.uri("/"), "{}");
    folders.write("billing.yaml", &yaml);
    let node = folders.start().run();
    for n in 0..120 {
        node.publish(&n.to_string(), "red");
    }
    until("dead", PATIENCE, || {
        (node.books("owed") == 0 && letters(&node).len() == 100).then_some(())
    });
    until("all dead", PATIENCE, || {
        let said = typed(&node, &["dead-letters", "list"]).1;
        said.contains("in all 120 kept").then_some(())
    });
    let url = format!("http://{}", node.admin);
    let exported = weft(&["dead-letters", "export", "--admin-url", &url]);
    let exported = String::from_utf8(exported.stdout).expect("an export is text");
    let mut events = String::new();
    let mut ids = Vec::new();
    for line in exported.lines() {
        let letter: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        assert_eq!(letter["reason"], "refused");
        assert_eq!(letter["attempts"][0]["status"], 400);
        assert_eq!(letter["event"]["specversion"], "1.0");
        ids.push(letter["event"]["id"].as_str().unwrap_or("?").to_owned());
        events += &format!("{}\n", letter["event"]);
    }
    assert_eq!(ids.len(), 120, "over two pages");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 120, "each once");

    // What was exported can be sent again.
    status.store(200, Ordering::SeqCst);
    let file = folders.yaml().join("../events.ndjson");
    std::fs::write(&file, events).expect("the file can be written");
    let to = format!("http://{}/default/default", node.ingress);
    let sent = weft(&["send", "--to", &to, "--file", &file.to_string_lossy()]);
    assert!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    node.until_settled();
    assert_eq!(billing.count(), 240);
}
