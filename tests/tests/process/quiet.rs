//! The disk of a quiet node: lone events cost a sync each, and their segments give the padding back.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;
use tests::http::Function;
use tests::node::{PATIENCE, Weft, until, weft};

use crate::{Folders, trigger};

const GIB: f64 = (1u64 << 30) as f64;
/// Events of a week at ten a second.
const WEEK: f64 = 10.0 * 7.0 * 24.0 * 3600.0;
/// What a node keeps them in unless told otherwise (`storage.maxBytes`).
const ROOM: f64 = 10.0 * GIB;

/// Segments of 8 MiB instead of 64, so that a test fills some; a frame is as large in both.
const NODE: &str = "apiVersion: weft.dev/v1alpha1
kind: Node
metadata: {name: node}
spec: {storage: {segmentBytes: 8Mi}}
";

fn metric(node: &Weft, name: &str) -> u64 {
    let text = node.admin("/metrics").text();
    let line = text
        .lines()
        .find(|line| line.split(' ').next() == Some(name));
    let value = line.and_then(|line| line.split(' ').nth(1));
    let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.parse::<f64>().expect("a number") as u64
}

fn answer(args: &[&str]) -> String {
    let output = weft(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Bytes that a file takes on disk, not its length.
fn on_disk(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |facts| facts.blocks() * 512)
}

/// GUARANTEES: 10 events a second of 300 bytes keep P7D inside 10 GiB. Counted here are the bytes
/// that the files of sealed segments, and their sidecars, take on disk, for each event in them.
#[test]
fn ten_events_a_second_of_300_bytes_keep_their_week_in_ten_gibibytes() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    folders.write("node.yaml", NODE);
    folders.write(
        "t.yaml",
        &trigger("billing", "[]", &function.uri("/"), "{}"),
    );
    let node = folders.start().run();
    let data = format!("\"{}\"", "x".repeat(298));
    let mut client = node.client();
    let mut published = 0;
    while metric(&node, "weft_log_segments") < 3 {
        for _ in 0..50 {
            let id = format!("e-{published}");
            let headers = [
                ("ce-specversion", "1.0"),
                ("ce-id", &id),
                ("ce-source", "/shop"),
                ("ce-type", "order.placed"),
                ("content-type", "application/json"),
            ];
            let target = "/default/default";
            let answer = client.call("POST", target, &headers, data.as_bytes());
            assert_eq!(answer.expect("it answers").status(), 202);
            published += 1;
        }
    }
    node.until_settled();
    let padded = metric(&node, "weft_log_written_bytes_total");
    until("repacked", PATIENCE, || {
        (metric(&node, "weft_log_repacked_segments_total") == 2).then_some(())
    });
    let log = folders.data().join("log");
    let side = |name: &str| log.join(name.replace(".seg", ".side"));
    let folder = folders.data().display().to_string();
    let verified = answer(&["log", "verify", &folder, "-o", "json"]);
    let verified: Value = serde_json::from_str(&verified).expect("JSON");
    let segments = verified["segments"].as_array().expect("segments");
    let sealed = &segments[..2];
    let names: Vec<&str> = sealed
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    until("sidecars", PATIENCE, || {
        names.iter().all(|name| side(name).exists()).then_some(())
    });
    let bytes: u64 = names
        .iter()
        .map(|name| on_disk(&log.join(name)) + on_disk(&side(name)))
        .sum();
    let end = sealed[1]["end"].as_u64().expect("an offset");
    let listed = answer(&["log", "cat", &folder, "--kind", "event", "-o", "json"]);
    let events = listed
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["offset"].as_u64().is_some_and(|offset| offset < end))
        .count();
    let each = bytes as f64 / events as f64;
    let each_padded = padded as f64 / published as f64;
    eprintln!(
        "{events} events in 2 sealed segments: {each:.0} bytes each on disk, a week at 10/s in {:.1} GiB; \
         {each_padded:.0} each were written, which fill 10 GiB in {:.1} days",
        each * WEEK / GIB,
        ROOM / each_padded / WEEK * 7.0,
    );
    assert!(each_padded * WEEK > 2.0 * ROOM, "nothing was padded");
    // A tenth of the room stays for what is written, spare and reserved.
    assert!(each * WEEK < 0.9 * ROOM, "{each} bytes an event");
    assert_eq!(metric(&node, "weft_log_repack_failures_total"), 0);
    assert!(metric(&node, "weft_log_padding_bytes") < bytes / 10);
    // Nothing got lost in it.
    assert_eq!(verified["damage"].as_array().map(Vec::len), Some(0));
    assert_eq!(function.count(), published);
}
