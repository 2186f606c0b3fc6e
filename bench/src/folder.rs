//! The YAML that a row's Weft reads: a broker, the triggers that match, and those that don't.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::wire;

/// Where the driver sends to.
pub(crate) const BROKER_PATH: &str = "/default/default";
/// Documents a file, as people with many triggers keep them.
const DOCUMENTS_A_FILE: usize = 500;

const BROKER: &str = "apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default, namespace: default}
spec: {}
";

/// A trigger and the function behind it.
pub(crate) struct Wanted {
    /// The number of the type it wants.
    pub(crate) function: usize,
    pub(crate) subscriber: SocketAddr,
}

/// Writes the folder `to`: one trigger for each of `wanted`, and `idle` that match nothing and
/// whose functions are at `nowhere`.
pub(crate) fn write(
    to: &Path,
    wanted: &[Wanted],
    idle: usize,
    nowhere: SocketAddr,
) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::write(to.join("broker.yaml"), BROKER)?;
    let mut documents: Vec<String> = wanted
        .iter()
        .enumerate()
        .map(|(number, wanted)| {
            let filter = format!("exact: {{type: {}}}", wire::type_of(wanted.function));
            let uri = format!("http://{}/", wanted.subscriber);
            trigger(&format!("wanted-{number}"), &filter, &uri)
        })
        .collect();
    let nowhere = format!("http://{nowhere}/");
    documents.extend(
        (0..idle).map(|number| trigger(&format!("idle-{number}"), &idle_filter(number), &nowhere)),
    );
    write_documents(to, &documents)
}

/// Writes one trigger for each type and address, and a Node that may store `bytes_max`.
pub(crate) fn write_lanes(to: &Path, lanes: &[(usize, String)], bytes_max: &str) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::write(to.join("broker.yaml"), BROKER)?;
    let node = format!(
        "apiVersion: weft.dev/v1alpha1
kind: Node
metadata: {{name: node}}
spec: {{storage: {{maxBytes: {bytes_max}}}}}
"
    );
    fs::write(to.join("node.yaml"), node)?;
    let documents: Vec<String> = lanes
        .iter()
        .map(|(function, uri)| {
            let filter = format!("exact: {{type: {}}}", wire::type_of(*function));
            trigger(&format!("lane-{function}"), &filter, uri)
        })
        .collect();
    write_documents(to, &documents)
}

fn write_documents(to: &Path, documents: &[String]) -> io::Result<()> {
    for (number, some) in documents.chunks(DOCUMENTS_A_FILE).enumerate() {
        fs::write(
            to.join(format!("triggers-{number}.yaml")),
            some.join("---\n"),
        )?;
    }
    Ok(())
}

/// Filters of several kinds, none of which our events pass: eight of ten ask for an exact type.
fn idle_filter(number: usize) -> String {
    match number % 20 {
        16 | 17 => format!("prefix: {{type: com.example.other{number}.}}"),
        18 => format!("suffix: {{source: /elsewhere/{number}}}"),
        19 => format!("exact: {{region: r{number}}}"),
        _ => format!("exact: {{type: com.example.other.t{number}}}"),
    }
}

fn trigger(name: &str, filter: &str, uri: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}, namespace: default}}
spec:
  broker: default
  filters:
    - {filter}
  subscriber: {{uri: '{uri}'}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_triggers_are_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let wanted: Vec<_> = (0..3)
            .map(|_| Wanted {
                function: 0,
                subscriber: at,
            })
            .collect();
        write(folder.path(), &wanted, 9_997, at).unwrap();
        let mut triggers = 0;
        for file in fs::read_dir(folder.path()).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            triggers += text.matches("kind: Trigger").count();
        }
        assert_eq!(triggers, 10_000);
    }
}
