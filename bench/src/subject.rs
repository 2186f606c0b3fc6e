//! A server under test: started, watched, and ended by its id.
//!
//! It says on its standard output where it listens (`ingress  http://…`), Weft also where its
//! admin side is; both prototypes and Weft name their durability class. Whatever happens, dropping
//! a [`Subject`] ends the process that was started and no other.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process;

/// How long a server may take from its start to its first line with an address, and then to
/// being ready. Ten thousand triggers have to be read in it.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a server may take to stop once asked; more than Weft's `shutdownGrace`, 25 s.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(40);
/// Between two looks at something that gives no sign.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Lines of output kept unread before the server's output waits.
const LINES_MAX: usize = 1_000;
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The classes that a status may name; what isn't among them shows as "?".
const CLASSES: [&str; 4] = ["direct+fdatasync", "buffered+fdatasync", "memory", "none"];

/// Why a server could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("it did not start: {0}")]
    Spawn(io::Error),
    #[error("it ended ({status}) before it was ready; see {}", log.display())]
    Ended { status: ExitStatus, log: PathBuf },
    #[error("it printed no ingress address within {} s; see {}", START_MAX.as_secs(), log.display())]
    Silent { log: PathBuf },
    #[error("it was not ready within {} s; see {}", START_MAX.as_secs(), log.display())]
    NotReady { log: PathBuf },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A running server.
pub(crate) struct Subject {
    /// What was started: the server, or the tracer around it.
    child: Child,
    /// The server itself.
    pub(crate) pid: Pid,
    pub(crate) ingress: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    /// What its 202 rests on, in its own words.
    pub(crate) class: String,
    lines: Receiver<String>,
}

/// Milliseconds added to each sync of a server, from outside it.
///
/// strace holds the calling thread for that long when `fdatasync` or `fsync` returns. A seccomp
/// filter lets every other system call pass at full speed, so nothing else of the server slows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SyncDelay(pub(crate) Duration);

impl SyncDelay {
    /// `command`, run under the tracer.
    pub(crate) fn wrap(self, command: &Command) -> Command {
        let mut wrapped = Command::new("strace");
        wrapped.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"]);
        wrapped.args(["-e", "trace=fdatasync,fsync", "-e"]);
        wrapped.arg(format!(
            "inject=fdatasync,fsync:delay_exit={}",
            self.0.as_micros()
        ));
        wrapped
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        wrapped
    }

    /// Whether this machine lets one process trace another this way.
    pub(crate) fn possible() -> bool {
        let mut probe = Command::new("true");
        probe.stdin(Stdio::null());
        let mut wrapped = Self(Duration::ZERO).wrap(&probe);
        wrapped
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        wrapped.status().is_ok_and(|status| status.success())
    }
}

impl Subject {
    /// Starts `command` and waits until it says where it listens and is ready.
    ///
    /// With `traced` the command is a tracer, and the server its only child. Standard error goes
    /// to the file `log`.
    pub(crate) fn start(mut command: Command, traced: bool, log: &Path) -> Result<Self, Failure> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?);
        let mut child = command.spawn().map_err(Failure::Spawn)?;
        let pid = Pid::from_child(&child);
        let lines = read_lines(child.stdout.take());
        let mut subject = Self {
            child,
            pid,
            ingress: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: None,
            class: "?".into(),
            lines,
        };
        subject.listen(log)?;
        if traced {
            subject.pid = process::children(pid).first().copied().unwrap_or(pid);
        }
        Ok(subject)
    }

    /// Reads what it prints until an ingress address is known and it answers there.
    fn listen(&mut self, log: &Path) -> Result<(), Failure> {
        let deadline = Instant::now() + START_MAX;
        let mut ingress = None;
        loop {
            // Once the first address is known, more may follow, but not for long.
            let patience = if ingress.is_none() {
                deadline
            } else {
                Instant::now() + LOOK_EVERY
            };
            match self
                .lines
                .recv_timeout(patience.saturating_duration_since(Instant::now()))
            {
                Ok(line) => match announced(&line) {
                    Some(Announced::Ingress(address)) => ingress = Some(address),
                    Some(Announced::Admin(address)) => self.admin = Some(address),
                    Some(Announced::Class(class)) => self.class = class.into(),
                    None => {}
                },
                Err(RecvTimeoutError::Timeout) if ingress.is_some() => break,
                Err(RecvTimeoutError::Timeout) => return Err(Failure::Silent { log: log.into() }),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    return Err(Failure::Ended {
                        status,
                        log: log.into(),
                    });
                }
            }
        }
        self.ingress = ingress.ok_or_else(|| Failure::Silent { log: log.into() })?;
        while get(self.ingress, "/readyz").is_none_or(|(status, _)| status == 503) {
            if deadline < Instant::now() {
                return Err(Failure::NotReady { log: log.into() });
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(Failure::Ended {
                    status,
                    log: log.into(),
                });
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// What it says it owes, all triggers together; none when it has no metrics.
    pub(crate) fn owed(&self) -> Option<u64> {
        self.metric("weft_owed{")
    }

    /// The sum of a metric's series; `series` ends with the brace of the labels.
    pub(crate) fn metric(&self, series: &str) -> Option<u64> {
        let (status, text) = get(self.admin?, "/metrics")?;
        (status == 200).then(|| sum_of(series, &text))
    }

    /// Asks it to stop and waits until it has, letting time pass by `meanwhile`: a server that
    /// drains waits for the functions, which must go on answering. False when it had to be killed.
    pub(crate) fn stop(
        mut self,
        mut meanwhile: impl FnMut(Duration) -> io::Result<()>,
    ) -> io::Result<bool> {
        if self.child.try_wait()?.is_some() {
            return Ok(false);
        }
        kill_process(self.pid, Signal::TERM)?;
        let deadline = Instant::now() + STOP_MAX;
        while self.child.try_wait()?.is_none() {
            if deadline < Instant::now() {
                return Ok(false);
            }
            meanwhile(LOOK_EVERY)?;
        }
        Ok(true)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // The server first: a tracer that is killed would leave it running untraced.
            kill_process(self.pid, Signal::KILL).ok();
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Hands on each line; reads to the end also when nobody listens, so that the writer never waits.
fn read_lines(output: Option<ChildStdout>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    thread::spawn(move || {
        let lines = output
            .into_iter()
            .flat_map(|output| BufReader::new(output).lines());
        for line in lines.map_while(Result::ok) {
            // Full or gone: what is printed after the start is not needed.
            drop(sender.try_send(line));
        }
    });
    receiver
}

#[derive(Debug, PartialEq)]
enum Announced {
    Ingress(SocketAddr),
    Admin(SocketAddr),
    Class(&'static str),
}

/// What a line of a server's start says, if it is one of those we need.
///
/// Tolerant of what stands around: `ingress  http://127.0.0.1:1`, with or without a path behind,
/// a bullet before, colours or a colon between.
fn announced(line: &str) -> Option<Announced> {
    let lower = line.to_ascii_lowercase();
    if let Some(at) = lower.find("http://") {
        let rest = &lower[at + "http://".len()..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]".contains(c)));
        let address = rest[..end.unwrap_or(rest.len())].parse().ok()?;
        let before = &lower[..at];
        return if before.contains("ingress") {
            Some(Announced::Ingress(address))
        } else if before.contains("admin") {
            Some(Announced::Admin(address))
        } else {
            None
        };
    }
    let about = ["durability", "storage", "log ", "data "];
    about
        .iter()
        .any(|word| lower.contains(word))
        .then(|| class_in(&lower))?
        .map(Announced::Class)
}

fn class_in(text: &str) -> Option<&'static str> {
    let whole_word = |class: &&&str| {
        text.match_indices(**class).any(|(at, found)| {
            let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            edge(text[..at].chars().next_back()) && edge(text[at + found.len()..].chars().next())
        })
    };
    CLASSES.iter().find(whole_word).copied()
}

/// The sum of a metric's series, in whole numbers. `name` ends with the brace of the labels.
fn sum_of(name: &str, metrics: &str) -> u64 {
    let series = metrics.lines().filter(|line| line.starts_with(name));
    let values = series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

/// A plain GET; none when nobody answers. The status, and the bytes that came as text.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((status, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_classes_are_read_from_start_lines() {
        let address = "127.0.0.1:4711".parse().unwrap();
        for (line, expected) in [
            (
                "ingress  http://127.0.0.1:4711",
                Some(Announced::Ingress(address)),
            ),
            (
                "  • Ingress: http://127.0.0.1:4711/default/default (POST)",
                Some(Announced::Ingress(address)),
            ),
            (
                "admin  http://127.0.0.1:4711",
                Some(Announced::Admin(address)),
            ),
            ("try: curl http://127.0.0.1:4711/", None),
            ("ingress  http://localhost:x", None),
            (
                "durability  direct+fdatasync",
                Some(Announced::Class("direct+fdatasync")),
            ),
            (
                "storage  embedded, buffered+fdatasync",
                Some(Announced::Class("buffered+fdatasync")),
            ),
            ("loaded 3 triggers in memory", None),
        ] {
            assert_eq!(announced(line), expected, "{line}");
        }
    }

    #[test]
    fn a_metric_is_the_sum_of_its_series() {
        let text = "# TYPE weft_owed gauge\nweft_owed{trigger=\"a b\"} 1000.0\n\
                    weft_owed{trigger=\"c\"} 7\nweft_owed_seconds{trigger=\"c\"} 99\n";
        assert_eq!(sum_of("weft_owed{", text), 1_007);
        assert_eq!(sum_of("weft_dead{", text), 0);
    }

    #[test]
    fn a_class_is_a_whole_word() {
        assert_eq!(
            class_in(r#"{"memory_bytes":1,"class":"direct+fdatasync"}"#),
            Some("direct+fdatasync")
        );
        assert_eq!(class_in(r#"{"nonempty":1}"#), None);
    }

    #[test]
    fn a_server_that_ends_at_once_is_a_failure_that_names_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("stderr.txt");
        let failure = Subject::start(Command::new("false"), false, &log)
            .err()
            .unwrap();
        let log = log.display();
        let expected = format!("it ended (exit status: 1) before it was ready; see {log}");
        assert_eq!(failure.to_string(), expected);
    }
}
