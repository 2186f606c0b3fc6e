//! Replays, typed as an operator types them.

use tests::http::Function;
use tests::node::{PATIENCE, Running, Weft, binary, until};

use crate::operate::{says, typed};
use crate::{Folders, trigger};

/// The ids that came with the mark of a replay, sorted: what is in the air together comes in any
/// order.
fn replayed(function: &Function) -> Vec<String> {
    let mut ids: Vec<String> = function.look(|all| {
        let marked = all
            .iter()
            .filter(|received| !received.request.header("ce-weftreplay").is_empty());
        marked.map(|received| received.id().to_owned()).collect()
    });
    ids.sort();
    ids
}

fn publish(node: &Weft, ids: std::ops::Range<usize>, ty: &str) {
    for id in ids {
        node.publish(&id.to_string(), ty);
    }
}

#[test]
fn a_range_is_replayed_by_commands() {
    let billing = Function::start(|_| 200);
    let elsewhere = Function::start(|_| 200);
    let folders = Folders::new();
    let filters = "[{prefix: {type: order.}}]";
    let yaml = trigger("billing", filters, &billing.uri("/"), "{}");
    folders.write("billing.yaml", &yaml);
    let node = folders.start().run();
    publish(&node, 0..5, "order.placed");
    publish(&node, 5..8, "order.paid");
    publish(&node, 8..10, "other");
    node.until_settled();

    // Who and where must be said; mistakes are named.
    let said = typed(&node, &["replay", "--from", "earliest"]);
    says(&said, 2, &["--trigger", "--to-uri"]);
    let asked = ["replay", "--trigger", "billing", "--from", "yesterday"];
    says(&typed(&node, &asked), 10, &["from is \"yesterday\", write"]);
    let asked = ["replay", "--trigger", "nobody", "--from", "earliest"];
    says(
        &typed(&node, &asked),
        11,
        &["there is no trigger default/nobody"],
    );
    let wrong = "{prefx: {type: x}}";
    let asked = [
        "replay",
        "--trigger",
        "billing",
        "--from",
        "1h",
        "--filter",
        wrong,
    ];
    says(&typed(&node, &asked), 10, &["did you mean prefix?"]);

    // A dry run, and no yes: nothing is sent.
    let all = ["replay", "--trigger", "billing", "--from", "earliest"];
    let dry: Vec<&str> = all.iter().copied().chain(["--dry-run"]).collect();
    says(
        &typed(&node, &dry),
        0,
        &["8 events would be replayed, of 10 looked at\n  "],
    );
    says(
        &typed(&node, &all),
        2,
        &["8 events would be replayed to billing", "--yes"],
    );
    assert_eq!((billing.count(), node.books("matched")), (8, 8));

    let asked = [
        "replay",
        "--trigger",
        "billing",
        "--from",
        "1h",
        "--filter",
        "type=order.paid",
        "--wait",
        "--yes",
    ];
    says(
        &typed(&node, &asked),
        0,
        &["3 events replayed, of 10 looked at: 3 delivered, 0 dead, 0 on their way"],
    );
    assert_eq!(replayed(&billing), ["5", "6", "7"]);
    let uri = elsewhere.uri("/");
    let asked = [
        "replay",
        "--to-uri",
        &uri,
        "--from",
        "earliest",
        "--filter",
        "{not: {prefix: {type: order.}}}",
        "--wait",
        "--yes",
    ];
    says(
        &typed(&node, &asked),
        0,
        &["2 events replayed, of 10 looked at: 2 delivered"],
    );
    assert_eq!(replayed(&elsewhere), ["8", "9"]);
    node.until_settled();
    assert_eq!((billing.count(), elsewhere.count()), (11, 2));
}

#[test]
fn a_replay_survives_a_kill_and_ends_when_it_is_stopped() {
    let billing = Function::start(|_| 200);
    let folders = Folders::new();
    let yaml = trigger("billing", "[]", &billing.uri("/"), "{}");
    folders.write("billing.yaml", &yaml);
    let node = folders.start().run();
    publish(&node, 0..60, "red");
    node.until_settled();

    // The command ends with the node; the replay doesn't.
    let mut command = std::process::Command::new(binary());
    let admin = format!("http://{}", node.admin);
    let slow = "replay --trigger billing --from earliest --rate 50/s --yes";
    command.args(slow.split(' ')).args(["--admin-url", &admin]);
    let command = Running::spawn(command);
    until("replaying", PATIENCE, || {
        (replayed(&billing).len() >= 10).then_some(())
    });
    says(
        &typed(&node, &["jobs", "list"]),
        0,
        &["replay  running", "ON THEIR WAY"],
    );
    node.kill();
    command.until_said("error: ");
    let before = replayed(&billing).len();
    assert!(before < 60, "{before} of 60 before the kill");
    let node = folders.start().run();
    until("all replayed", PATIENCE, || {
        (node.books("matched") == 120).then_some(())
    });
    node.until_settled();
    let mut ids = replayed(&billing);
    let repeated = ids.len() - 60;
    // What was in the air, and what was answered in the last 50 ms at 50/s, with room for a slow
    // machine.
    assert!(repeated <= 10, "{repeated} were repeated");
    ids.dedup();
    assert_eq!(ids.len(), 60, "each of them");
    assert_eq!((node.books("matched"), node.books("delivered")), (120, 120));

    let admin = format!("http://{}", node.admin);
    let mut command = std::process::Command::new(binary());
    let slow = slow.replace("50/s", "1");
    command.args(slow.split(' ')).args(["--admin-url", &admin]);
    let command = Running::spawn(command);
    let said = command.until_said("weft jobs stop ");
    let job = said.split("weft jobs stop ").nth(1);
    let job = job
        .and_then(|rest| rest.split('`').next())
        .expect("it names the job");
    says(
        &typed(&node, &["jobs", "stop", job]),
        0,
        &["is stopped", "done, what it began goes on"],
    );
    command.until_said("Stopped; what it began goes on.");
    node.until_settled();
    let matched = node.books("matched");
    assert!(matched < 180, "{matched}: it was stopped");
    let node = {
        node.kill();
        folders.start().run()
    };
    node.until_settled();
    assert_eq!(node.books("matched"), matched, "a restart doesn't wake it");
}

#[test]
fn a_new_trigger_gets_what_is_stored_and_its_annotation_counts_once() {
    let first = Function::start(|_| 200);
    let late = Function::start(|_| 200);
    let folders = Folders::new();
    folders.write("first.yaml", &trigger("first", "[]", &first.uri("/"), "{}"));
    let node = folders.start().run();
    publish(&node, 0..5, "red");
    node.until_settled();
    let yaml = |start: &str| {
        let named = format!("{{name: late, annotations: {{weft.dev/start: {start}}}}}");
        trigger("late", "[]", &late.uri("/"), "{}").replace("{name: late}", &named)
    };
    folders.write("late.yaml", &yaml("earliest"));
    until("started", PATIENCE, || (late.count() == 5).then_some(()));
    publish(&node, 5..7, "red");
    node.until_settled();
    says(
        &typed(&node, &["describe", "trigger", "late"]),
        0,
        &["earliest; it counted when the trigger was made"],
    );
    folders.write("late.yaml", &yaml("2026-01-01T00:00:00Z"));
    until("changed", PATIENCE, || {
        let said = typed(&node, &["describe", "trigger", "late"]).1;
        said.contains("2026-01-01T00:00:00Z; it counted")
            .then_some(())
    });
    node.kill();
    let node = folders.start().run();
    node.until_settled();
    assert_eq!((first.count(), late.count()), (7, 7));
    assert_eq!(node.books("matched"), 14);
}
