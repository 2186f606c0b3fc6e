//! Which peers there are, and how each is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A library or a runtime in one of its roles.
pub(crate) struct Peer {
    /// What it is called in tests, addresses and files.
    pub(crate) key: &'static str,
    pub(crate) language: &'static str,
    pub(crate) library: &'static str,
    pub(crate) version: &'static str,
    /// What `scripts/setup.sh` installs it as, below `.cache/peers`.
    pub(crate) folder: &'static str,
    /// Sends with `send URL MODE`.
    pub(crate) sends: Option<fn(&Folders) -> Command>,
    /// Receives on the port that it is given.
    pub(crate) receives: Option<fn(&Folders, SocketAddr) -> Command>,
    /// Whether its API lets a function answer with an event.
    pub(crate) replies: bool,
    /// Whether JSON data is a value in its API, so that the bytes are the library's.
    pub(crate) takes_values: bool,
    /// What to know about it: for the page.
    pub(crate) remarks: &'static str,
}

/// Where things lie.
pub(crate) struct Folders {
    /// The programs: `tests/peers`.
    pub(crate) programs: PathBuf,
    /// What is installed: `.cache/peers`.
    pub(crate) installed: PathBuf,
}

impl Folders {
    pub(crate) fn new() -> Folders {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = tests.parent().expect("the tests lie in the repository");
        Folders {
            programs: tests.join("peers"),
            installed: root.join(".cache/peers"),
        }
    }

    /// Whether `scripts/setup.sh` could install a peer.
    pub(crate) fn has(&self, peer: &Peer) -> bool {
        let stamp = format!("{}.installed", peer.folder);
        self.installed.join(stamp).exists()
    }

    fn python(&self, folder: &str, program: &str) -> Command {
        let mut command = Command::new(self.installed.join(folder).join("bin").join(program));
        // Nothing is written beside the sources.
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONPATH", self.programs.join("python"));
        command
    }

    fn script(&self, folder: &str, script: &str) -> Command {
        let mut command = self.python(folder, "python");
        command.arg(self.programs.join("python").join(script));
        command
    }

    fn node(&self, program: &Path) -> Command {
        let mut command = Command::new("node");
        command
            .arg(program)
            .env("NODE_PATH", self.installed.join("node/node_modules"));
        command
    }

    fn node_script(&self, script: &str) -> Command {
        self.node(&self.programs.join("node").join(script))
    }

    fn node_tool(&self, tool: &str) -> Command {
        self.node(&self.installed.join("node/node_modules/.bin").join(tool))
    }

    fn java(&self) -> Command {
        let home = self.installed.join("java");
        let path = format!("{0}/classes:{0}/lib/*", home.display());
        let mut command = Command::new("java");
        // Small and quick to start; it is one of many.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"]);
        command.args(["-cp", &path, "Peer"]);
        command
    }
}

/// functions-framework for Python with one of our functions.
fn framework_py(folders: &Folders, at: SocketAddr, target: &str, signature: &str) -> Command {
    let mut command = folders.python("functions-framework", "functions-framework");
    let source = folders.programs.join("python/framework.py");
    command.arg("--source").arg(source);
    command.args(["--target", target, "--signature-type", signature]);
    command.args(["--host", "127.0.0.1", "--port", &at.port().to_string()]);
    command
}

/// functions-framework for Node with one of our functions.
fn framework_js(folders: &Folders, at: SocketAddr, target: &str, signature: &str) -> Command {
    let mut command = folders.node_tool("functions-framework");
    let source = folders.programs.join("node/framework.js");
    command.arg("--source").arg(source);
    command.args(["--target", target, "--signature-type", signature]);
    command.args(["--port", &at.port().to_string()]);
    command
}

/// All peers, in the order of the page.
pub(crate) const PEERS: [Peer; 11] = [
    Peer {
        key: "python-sdk-1",
        language: "Python",
        library: "cloudevents",
        version: "1.12.0",
        folder: "functions-framework",
        sends: Some(|folders| folders.script("functions-framework", "sdk1.py")),
        receives: None,
        replies: false,
        takes_values: true,
        remarks: "Send structured: its binary mode encodes no attribute and puts text into quotes",
    },
    Peer {
        key: "python-sdk-2",
        language: "Python",
        library: "cloudevents",
        version: "2.2.0",
        folder: "func-python",
        sends: Some(|folders| folders.script("func-python", "sdk2.py")),
        receives: None,
        replies: false,
        takes_values: true,
        remarks: "Give it bytes and booleans as CloudEvents writes them: as text",
    },
    Peer {
        key: "python-functions-framework-event",
        language: "Python",
        library: "functions-framework, `cloud_event`",
        version: "3.10.2",
        folder: "functions-framework",
        sends: None,
        receives: Some(|folders, at| framework_py(folders, at, "on_event", "cloudevent")),
        replies: false,
        takes_values: true,
        remarks: "Can't reply. `format: json`, since it decodes no header",
    },
    Peer {
        key: "python-functions-framework-http",
        language: "Python",
        library: "functions-framework, `http`",
        version: "3.10.2",
        folder: "functions-framework",
        sends: None,
        receives: Some(|folders, at| framework_py(folders, at, "on_request", "http")),
        replies: true,
        takes_values: true,
        remarks: "`format: json`, since it decodes no header; reply with ASCII attributes",
    },
    Peer {
        key: "python-func",
        language: "Python",
        library: "func-python",
        version: "0.8.1",
        folder: "func-python",
        sends: None,
        receives: Some(|folders, at| {
            let mut command = folders.script("func-python", "func.py");
            command.env("LISTEN_ADDRESS", at.to_string());
            command
        }),
        replies: true,
        takes_values: true,
        remarks: "Decodes headers, as the only one of all",
    },
    Peer {
        key: "node-sdk",
        language: "JavaScript",
        library: "cloudevents",
        version: "10.0.0",
        folder: "node",
        sends: Some(|folders| folders.node_script("sdk.js")),
        receives: Some(|folders, _| folders.node_script("sdk.js")),
        replies: true,
        takes_values: true,
        remarks: "`format: json`, since it decodes no header; send structured; reply with ASCII attributes",
    },
    Peer {
        key: "node-functions-framework-event",
        language: "JavaScript",
        library: "@google-cloud/functions-framework, `cloudEvent`",
        version: "5.0.5",
        folder: "node",
        sends: None,
        receives: Some(|folders, at| framework_js(folders, at, "onEvent", "cloudevent")),
        replies: false,
        takes_values: true,
        remarks: "Can't reply. `format: json`, since it decodes no header and refuses what has no JSON object as data",
    },
    Peer {
        key: "node-functions-framework-http",
        language: "JavaScript",
        library: "@google-cloud/functions-framework, `http`",
        version: "5.0.5",
        folder: "node",
        sends: None,
        receives: Some(|folders, at| framework_js(folders, at, "onRequest", "http")),
        replies: true,
        takes_values: true,
        remarks: "`format: json`, since it decodes no header and refuses null; reply with ASCII attributes",
    },
    Peer {
        key: "node-faas",
        language: "JavaScript",
        library: "faas-js-runtime",
        version: "3.0.2",
        folder: "node",
        sends: None,
        receives: Some(|folders, at| {
            let mut command = folders.node_tool("faas-js-runtime");
            command.arg(folders.programs.join("node/func.js"));
            command.args(["--port", &at.port().to_string()]);
            command
        }),
        replies: true,
        takes_values: true,
        remarks: "`format: json` below a mebibyte, its limit of a request; reply with ASCII attributes",
    },
    Peer {
        key: "go-sdk",
        language: "Go",
        library: "sdk-go",
        version: "2.16.2",
        folder: "go",
        sends: Some(|folders| Command::new(folders.installed.join("go/peer"))),
        receives: Some(|folders, _| Command::new(folders.installed.join("go/peer"))),
        replies: true,
        takes_values: false,
        remarks: "`format: json`, since it decodes no header; it encodes none either, so `%41` leaves as it is and is an `A`",
    },
    Peer {
        key: "java-sdk",
        language: "Java",
        library: "io.cloudevents, cloudevents-http-basic",
        version: "4.0.1",
        folder: "java",
        sends: Some(Folders::java),
        receives: Some(|folders, _| folders.java()),
        replies: true,
        takes_values: false,
        remarks: "`format: json`, since it decodes no header, though it then writes JSON data anew; binary mode is for ASCII attributes",
    },
];
