//! The real program, as a user starts it: `weft` in a process of its own.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http::{Client, Message};

/// How long the program may take to be ready, or to end.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The program, which `cargo build` puts beside the folder of test executables.
///
/// # Panics
///
/// If it isn't there: cargo doesn't build another package's program for a test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its executable");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/…/deps");
    let binary = folder.join("weft");
    assert!(
        binary.exists(),
        "{} isn't there: run `cargo build -p weft` first",
        binary.display()
    );
    binary
}

/// Waits until `holds` gives something.
///
/// # Panics
///
/// If it doesn't in time.
pub fn until<T>(what: &str, within: Duration, mut holds: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(began.elapsed() < within, "not {what} within {within:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// How `weft run` is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// The folder of YAML.
    pub yaml: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// Further arguments; a later `--listen` wins over the free port.
    pub args: Vec<String>,
    /// Further environment.
    pub env: Vec<(String, String)>,
}

impl Start {
    /// On free ports, with these folders.
    pub fn new(yaml: &Path, data: &Path) -> Start {
        Start {
            yaml: yaml.into(),
            data: data.into(),
            args: Vec::new(),
            env: Vec::new(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("run")
            .arg(&self.yaml)
            .arg("--data")
            .arg(&self.data);
        for (flag, free) in [("--listen", "127.0.0.1:0"), ("--admin", "127.0.0.1:0")] {
            if !self.args.iter().any(|arg| arg == flag) {
                command.args([flag, free]);
            }
        }
        command.args(&self.args);
        // What the machine has set for its own telemetry isn't this test's.
        for name in [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        ] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it, and waits until it says where it listens.
    ///
    /// # Panics
    ///
    /// If it ends before, or takes too long.
    pub fn run(&self) -> Weft {
        let mut running = Running::spawn(self.command());
        let (ingress, admin) = until("ready", PATIENCE, || {
            let output = running.output();
            if let Ok(Some(status)) = running.child.try_wait() {
                panic!("weft run ended with {status}:\n{output}");
            }
            Some((address(&output, "ingress")?, address(&output, "admin")?))
        });
        Weft {
            running,
            ingress,
            admin,
        }
    }

    /// Starts what should refuse to, and waits for its end: its exit code, and all that it said.
    ///
    /// # Panics
    ///
    /// If it goes on instead.
    pub fn refused(&self) -> (i32, String) {
        let mut running = Running::spawn(self.command());
        let status = until("ended", PATIENCE, || running.child.try_wait().ok()?);
        (status.code().unwrap_or(-1), running.output_whole())
    }
}

/// Runs another command of the program to its end.
///
/// # Panics
///
/// If it can't be started.
pub fn weft(args: &[&str]) -> Output {
    Command::new(binary())
        .args(args)
        .output()
        .expect("the program starts")
}

/// A process whose output is collected.
pub struct Running {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Starts a command.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    pub fn spawn(mut command: Command) -> Running {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().map(|pipe| collect(pipe, &output));
        let stderr = child.stderr.take().map(|pipe| collect(pipe, &output));
        let readers = stdout.into_iter().chain(stderr).collect();
        Running {
            child,
            output,
            readers,
        }
    }

    /// All that it has said, on both of its outputs.
    pub fn output(&self) -> String {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for its end: its exit code, and all that it said.
    ///
    /// # Panics
    ///
    /// If it goes on.
    pub fn ended(&mut self) -> (i32, String) {
        let status = until("ended", PATIENCE, || self.child.try_wait().ok()?);
        (status.code().unwrap_or(-1), self.output_whole())
    }

    /// Waits until it has said this.
    ///
    /// # Panics
    ///
    /// If it doesn't in time.
    pub fn until_said(&self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let output = self.output();
            if output.contains(text) {
                return output;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{text:?} wasn't said, but:\n{output}"
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn output_whole(&mut self) -> String {
        self.readers
            .drain(..)
            .for_each(|reader| drop(reader.join()));
        self.output()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        // Not left to themselves: glibc reads what belongs to a thread while it detaches it, and these
        // are ending just now. That has crashed the tests.
        self.output_whole();
    }
}

fn collect(
    mut pipe: impl Read + Send + 'static,
    output: &Arc<Mutex<String>>,
) -> std::thread::JoinHandle<()> {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..count]);
            output
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&text);
        }
    })
}

/// The address in a line such as `ingress  http://127.0.0.1:8080`.
fn address(output: &str, name: &str) -> Option<SocketAddr> {
    let complete = &output[..=output.rfind('\n')?];
    let line = complete
        .lines()
        .find(|line| line.trim_start().starts_with(name))?;
    line.split_once("http://")?.1.trim().parse().ok()
}

/// A running `weft run`. Dropping it kills it.
pub struct Weft {
    running: Running,
    /// Where events come in.
    pub ingress: SocketAddr,
    /// Where the admin API listens.
    pub admin: SocketAddr,
}

impl Weft {
    /// All that it has said.
    pub fn output(&self) -> String {
        self.running.output()
    }

    /// Waits until it has said this, and gives all of it.
    ///
    /// # Panics
    ///
    /// If it doesn't in time.
    pub fn until_said(&self, text: &str) -> String {
        self.running.until_said(text)
    }

    /// `kill -9`.
    ///
    /// # Panics
    ///
    /// If it had ended before by itself, which nobody asked for.
    pub fn kill(mut self) {
        let ended = self.running.child.try_wait().expect("its state is known");
        assert!(
            ended.is_none(),
            "weft had ended with {ended:?}:\n{}",
            self.output()
        );
        self.running.child.kill().expect("it can be killed");
        self.running.child.wait().expect("it ends");
    }

    /// As of [`Running::ended`], for one that is still asked things afterwards.
    ///
    /// # Panics
    ///
    /// If it goes on.
    pub fn ended(&mut self) -> (i32, String) {
        self.running.ended()
    }

    /// SIGTERM.
    ///
    /// # Panics
    ///
    /// If it isn't there.
    pub fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("it is there");
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn pid(&self) -> Pid {
        let pid = i32::try_from(self.running.child.id()).ok();
        pid.and_then(Pid::from_raw).expect("a process has an id")
    }

    /// Whether it has ended, by itself or by a signal.
    ///
    /// # Panics
    ///
    /// If the system doesn't say.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.running.child.try_wait();
        ended.expect("its state is known").is_some()
    }

    /// Waits for its end: its exit code, and all that it said.
    ///
    /// # Panics
    ///
    /// If it goes on.
    pub fn wait(mut self) -> (i32, String) {
        self.running.ended()
    }

    /// A new connection to ingress.
    ///
    /// # Panics
    ///
    /// If it doesn't listen.
    pub fn client(&self) -> Client {
        Client::connect(self.ingress).expect("ingress listens")
    }

    /// Publishes one event, which must be taken.
    ///
    /// # Panics
    ///
    /// If it isn't.
    pub fn publish(&self, id: &str, ty: &str) {
        let answer = self.client().publish(id, ty).expect("ingress answers");
        assert_eq!(answer.status(), 202, "{}", answer.text());
    }

    /// Asks the admin API.
    ///
    /// # Panics
    ///
    /// If it doesn't answer.
    pub fn admin(&self, path: &str) -> Message {
        let mut client = Client::connect(self.admin).expect("admin listens");
        client.call("GET", path, &[], b"").expect("admin answers")
    }

    /// The node's status as JSON.
    ///
    /// # Panics
    ///
    /// If it isn't any.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.admin("/api/v1/status").body).expect("status is JSON")
    }

    /// One number of the books: `owed`, `delivered`, `cancelled`, `matched`.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    pub fn books(&self, column: &str) -> u64 {
        self.status()["books"][column]
            .as_u64()
            .expect("the books have this column")
    }

    /// Waits until nothing is owed, and checks that the books balance.
    ///
    /// # Panics
    ///
    /// If that takes too long, or they don't.
    pub fn until_settled(&self) {
        let began = Instant::now();
        let status = loop {
            let status = self.status();
            let routed = status["log"]["routedTo"] == status["log"]["end"];
            if routed && status["books"]["owed"] == 0 {
                break status;
            }
            let waited = began.elapsed();
            assert!(waited < 3 * PATIENCE, "not settled: {status:#}");
            std::thread::sleep(LOOK_EVERY);
        };
        assert_eq!(status["books"]["balanced"], true, "{status}");
    }
}
