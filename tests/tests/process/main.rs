//! The real program in processes of its own: it is killed, reloaded, refused, drained, and tried
//! as a newcomer would.

use std::path::{Path, PathBuf};

mod backup;
mod bad_days;
mod crash;
mod disk_full;
mod letters;
mod operate;
mod ordering;
mod poison;
mod power;
mod quickstart;
mod quiet;
mod reload;
mod replay;
mod stop;
mod verify;

/// A folder of YAML and one for data, gone at the end of the test.
struct Folders {
    root: tempfile::TempDir,
}

impl Folders {
    fn new() -> Folders {
        let root = tempfile::tempdir().expect("a folder can be made");
        std::fs::create_dir(root.path().join("yaml")).expect("a folder can be made");
        Folders { root }
    }

    fn yaml(&self) -> PathBuf {
        self.root.path().join("yaml")
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn start(&self) -> tests::node::Start {
        tests::node::Start::new(&self.yaml(), &self.data())
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.yaml().join(name), text).expect("a file can be written");
    }
}

/// A Trigger of broker `default`.
fn trigger(name: &str, filters: &str, uri: &str, delivery: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}}}
spec:
  broker: default
  filters: {filters}
  subscriber: {{uri: \"{uri}\"}}
  delivery: {delivery}
"
    )
}

/// Every file below a folder with its bytes, to see whether anything was changed; but for the lock,
/// which names the process that looked last.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.ends_with("lock") => {}
                false => all.push((path.clone(), std::fs::read(&path).unwrap_or_default())),
            }
        }
    }
    all.sort();
    all
}
