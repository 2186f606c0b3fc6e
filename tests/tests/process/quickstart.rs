//! The first five minutes, as the banner and the README tell them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::node::{Running, binary, until};

use crate::Folders;

/// The quick start's own YAML, with `weft receive` as the function: the pasted lines answer 202
/// and the function prints the event.
#[test]
fn the_pasted_lines_deliver_an_event() {
    let folders = Folders::new();
    let mut receive = Command::new(binary());
    receive.args(["receive", "--listen", "127.0.0.1:0"]);
    let receive = Running::spawn(receive);
    let said = receive.until_said("http://127.0.0.1:");
    let address = said.split("http://").nth(1).unwrap();
    let end = address.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    let address = &address[..end.unwrap_or(address.len())];

    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart/trigger.yaml");
    let yaml = std::fs::read_to_string(example).unwrap();
    assert!(
        yaml.contains("127.0.0.1:8081"),
        "the example names the function's usual port"
    );
    folders.write("trigger.yaml", &yaml.replace("127.0.0.1:8081", address));
    let weft = folders.start().run();
    let banner = weft.until_said("curl ");

    let mut pasted = 0;
    for line in banner.lines().map(str::trim) {
        if !line.contains("weft send --to ") && !line.starts_with("curl ") {
            continue;
        }
        let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("202"),
            "{line}\n{said}"
        );
        pasted += 1;
        until("printed", Duration::from_secs(10), || {
            (receive.output().matches("com.example.order.placed").count() >= pasted).then_some(())
        });
    }
    assert_eq!(
        pasted, 2,
        "a line for weft send and one for curl:\n{banner}"
    );
    weft.until_settled();
    assert_eq!(weft.books("delivered"), 2);
}

/// Stopping the function and starting it again delivers what was owed.
#[test]
fn a_function_that_is_started_again_gets_what_it_is_owed() {
    let folders = Folders::new();
    let start = |address: &str| {
        let mut receive = Command::new(binary());
        receive.args(["receive", "--listen", address]);
        Running::spawn(receive)
    };
    let receive = start("127.0.0.1:0");
    let said = receive.until_said("http://127.0.0.1:");
    let address = said.split("http://").nth(1).unwrap();
    let end = address.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    let address = address[..end.unwrap_or(address.len())].to_owned();
    folders.write(
        "t.yaml",
        &crate::trigger(
            "t",
            "[]",
            &format!("http://{address}/"),
            "{backoffMax: PT0.5S}",
        ),
    );
    let weft = folders.start().run();
    drop(receive);
    weft.publish("while-away", "com.example.order.placed");
    until("tried in vain", Duration::from_secs(10), || {
        weft.admin("/api/v1/triggers")
            .text()
            .contains("\"parked\":1")
            .then_some(())
    });
    let receive = start(&address);
    receive.until_said("while-away");
    weft.until_settled();
}

/// What `weft check` says of the example.
#[test]
fn the_example_checks_clean() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart");
    let output = tests::node::weft(&["check", example]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("1 trigger"),
        "{said}"
    );
}
