//! The commands that change how a node goes on, typed as an operator types them.

use tests::http::Function;
use tests::node::{PATIENCE, Weft, until, weft};

use crate::{Folders, trigger};

/// Types a command at the node: its exit code, and what it printed on both of its outputs.
pub(crate) fn typed(node: &Weft, args: &[&str]) -> (i32, String) {
    let url = format!("http://{}", node.admin);
    let args: Vec<&str> = args.iter().copied().chain(["--admin-url", &url]).collect();
    let output = weft(&args);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

#[track_caller]
pub(crate) fn says(said: &(i32, String), exit: i32, parts: &[&str]) {
    assert_eq!(said.0, exit, "{}", said.1);
    for part in parts {
        assert!(said.1.contains(part), "{part:?} isn't in: {}", said.1);
    }
}

#[test]
fn a_trigger_is_paused_resumed_and_deleted_by_commands() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    let yaml = trigger("billing", "[]", &function.uri("/"), "{}");
    folders.write("billing.yaml", &yaml);
    let node = folders.start().run();

    let said = typed(&node, &["pause", "trigger", "billing"]);
    says(
        &said,
        0,
        &["trigger billing is paused", "weft resume trigger billing"],
    );
    for id in ["1", "2", "3"] {
        node.publish(id, "red");
    }
    says(&typed(&node, &["get", "triggers"]), 0, &["paused"]);
    let said = typed(&node, &["describe", "trigger", "billing"]);
    says(&said, 0, &["Paused since", "by command"]);
    node.kill();
    let node = folders.start().run();
    assert_eq!(function.count(), 0, "it is still paused after a crash");
    let asked = ["resume", "trigger", "billing", "--from", "latest"];
    says(
        &typed(&node, &asked),
        2,
        &["3 owed to trigger billing would be cancelled", "--yes"],
    );
    assert_eq!(node.books("owed"), 3);
    says(
        &typed(&node, &["resume", "trigger", "billing"]),
        0,
        &["goes on after"],
    );
    node.until_settled();
    assert_eq!(function.count(), 3);
    says(
        &typed(&node, &["resume", "trigger", "billing"]),
        10,
        &["isn't paused"],
    );

    says(
        &typed(&node, &["pause", "destination", &function.uri("/")]),
        0,
        &["is paused"],
    );
    says(&typed(&node, &["get", "destinations"]), 0, &["paused"]);
    says(
        &typed(&node, &["resume", "trigger", "billing"]),
        10,
        &["its destination is", "weft resume destination http://"],
    );
    node.publish("4", "red");
    let mut late = vec!["resume", "destination"];
    let uri = function.uri("/");
    late.extend([uri.as_str(), "--from", "latest", "--yes"]);
    until("owed", PATIENCE, || (node.books("owed") == 1).then_some(()));
    says(&typed(&node, &late), 0, &["1 owed were cancelled"]);
    assert_eq!((function.count(), node.books("cancelled")), (3, 1));

    let annotated = yaml.replace(
        "{name: billing}",
        "{name: billing, annotations: {weft.dev/paused: \"true\"}}",
    );
    folders.write("billing.yaml", &annotated);
    until("paused", PATIENCE, || {
        typed(&node, &["get", "triggers"])
            .1
            .contains("paused")
            .then_some(())
    });
    node.publish("5", "red");
    let said = typed(&node, &["resume", "trigger", "billing"]);
    says(&said, 10, &["weft.dev/paused", "billing.yaml:1:"]);

    says(
        &typed(&node, &["delete", "trigger", "billing", "--yes"]),
        10,
        &["billing.yaml:1:", "remove it there"],
    );
    std::fs::remove_file(folders.yaml().join("billing.yaml")).expect("the file can be removed");
    until("detached", PATIENCE, || {
        typed(&node, &["get", "triggers"])
            .1
            .contains("detached")
            .then_some(())
    });
    says(
        &typed(&node, &["delete", "trigger", "billing"]),
        2,
        &["cancels 1 owed to it"],
    );
    says(
        &typed(&node, &["delete", "trigger", "billing", "--yes"]),
        0,
        &["is deleted; 1 owed were cancelled"],
    );
    says(
        &typed(&node, &["delete", "trigger", "billing", "--yes"]),
        11,
        &["there is no Trigger default/billing"],
    );
    node.until_settled();
    assert_eq!((function.count(), node.books("cancelled")), (3, 2));
}

const NAMED: &str = "apiVersion: weft.dev/v1alpha1
kind: Sink
metadata: {name: erp}
spec: {uri: URI, maxInFlight: 7}
---
apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {name: careful}
spec: {maxEventAge: PT1H, ordering: {by: partitionkey}}
";

/// What triggers name is listed with who names it, and a trigger that names what isn't there says
/// so wherever an operator looks.
#[test]
fn what_is_named_is_listed_and_what_is_missing_is_said() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    let below = "{ref: {apiVersion: weft.dev/v1alpha1, kind: Sink, name: erp}, uri: /orders}";
    let yaml = trigger("billing", "[]", "", "{}")
        .replace("{uri: \"\"}", below)
        .replace(
            "{name: billing}",
            "{name: billing, annotations: {weft.dev/policy: careful}}",
        );
    folders.write("billing.yaml", &yaml);
    let node = folders.start().run();
    until("not ready", PATIENCE, || {
        let told = typed(&node, &["get", "triggers"]).1;
        told.contains("SubscriberDoesNotExist").then_some(())
    });
    let said = typed(&node, &["resume", "trigger", "billing"]);
    says(
        &said,
        10,
        &["isn't paused but not ready (SubscriberDoesNotExist)"],
    );
    let said = typed(&node, &["describe", "trigger", "billing"]);
    let waits = "SubscriberDoesNotExist: nothing is sent until the Sink is declared";
    says(&said, 0, &[waits]);
    assert!(!said.1.contains("Paused"), "{}", said.1);
    says(&typed(&node, &["get", "sinks"]), 0, &["no Sinks"]);
    says(
        &typed(&node, &["get", "policies"]),
        0,
        &["no DeliveryPolicies"],
    );

    folders.write("named.yaml", &NAMED.replace("URI", &function.uri("/in/")));
    until("ready", PATIENCE, || {
        let told = typed(&node, &["get", "triggers"]).1;
        told.contains(" ready ").then_some(())
    });
    node.publish("1", "red");
    node.until_settled();
    assert_eq!(function.received()[0].request.target(), "/orders");
    let said = typed(&node, &["get", "sinks"]);
    let there = ["erp", "warming up", "Trigger default/billing", "/in/"];
    says(&said, 0, &there);
    let said = typed(&node, &["get", "policies"]);
    let set = "maxEventAge: PT1H, ordering: {by: partitionkey}";
    says(&said, 0, &["careful", "Trigger default/billing", set]);
    let said = typed(&node, &["get", "sinks", "-o", "json"]);
    says(
        &said,
        0,
        &[r#""usedBy""#, r#""maxInFlight""#, "sink:default/erp"],
    );
    says(
        &typed(&node, &["get", "policies", "-o", "yaml"]),
        0,
        &["usedBy:"],
    );
}
