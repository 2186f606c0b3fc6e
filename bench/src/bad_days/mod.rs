//! What bad days cost: an outage, ten thousand dead functions, millions of dead letters, a crash
//! with a full log.
//!
//! Each story starts its own servers on the same two cores as the rows of `all`, prints what it
//! saw, and judges it by the bound that the design gives. They take minutes and gigabytes, so
//! they are no part of `all`.

mod lanes;
mod letters;
mod outage;
mod restart;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::rig::{Load, Pace, Rig, Seen};
use crate::subject::{Failure, Subject};
use crate::wire::Request;
use crate::{all, folder, guard, out, process};

/// What `bad-days` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these stories: outage, lanes, letters, restart.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The weft to measure. Without it, the one beside this program is built and measured.
    #[arg(long)]
    weft: Option<PathBuf>,
    /// Where servers keep their data meanwhile; on a real disk, 16 GiB free. Default:
    /// `bench-data` in the target folder.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// One tenth of the sizes: to see that it runs, not to quote.
    #[arg(long)]
    small: bool,
}

/// How a story is told.
struct Stage {
    weft: PathBuf,
    data_dir: PathBuf,
    cores: Option<(usize, usize)>,
    /// What sizes are divided by.
    divisor: u64,
}

/// Connections that send.
const CONNECTIONS: usize = 256;

/// Tells the stories; true when each met its bounds.
pub(crate) fn run(options: &Options) -> io::Result<bool> {
    let beside = std::env::current_exe()?;
    let beside = beside.parent().unwrap_or(Path::new(".")).to_path_buf();
    let weft = match &options.weft {
        Some(weft) => weft.canonicalize()?,
        None => all::build_weft(&beside)?
            .ok_or_else(|| io::Error::other("there is no weft; give one with --weft PATH"))?,
    };
    let cores = process::cores()?;
    if let Some((_, driver)) = cores {
        process::pin(driver)?;
    }
    let stage = Stage {
        weft,
        data_dir: all::data_dir(options.data_dir.as_deref())?,
        cores,
        divisor: if options.small { 10 } else { 1 },
    };
    let stories: [(&str, Story); 4] = [
        ("outage", outage::tell),
        ("lanes", lanes::tell),
        ("letters", letters::tell),
        ("restart", restart::tell),
    ];
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| stories.iter().all(|(known, _)| known != name))
    {
        return Err(io::Error::other(format!(
            "there is no story {unknown}; there are outage, lanes, letters, restart"
        )));
    }
    let mut well = true;
    for (name, tell) in stories {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == name) {
            continue;
        }
        out::line(&format!(
            "\n{name}  (load average {})",
            process::load_average()
        ));
        match tell(&stage) {
            Ok(met) => well &= met,
            Err(failure) => {
                well = false;
                out::line(&format!("  FAILED: {failure}"));
            }
        }
    }
    Ok(well)
}

type Story = fn(&Stage) -> Result<bool, Failure>;

/// A node with a folder of its own, which goes with it.
struct Node {
    subject: Option<Subject>,
    place: PathBuf,
    yaml: PathBuf,
    weft: PathBuf,
    core: Option<usize>,
}

impl Stage {
    /// Starts a node for these types and addresses.
    fn start(
        &self,
        name: &str,
        lanes: &[(usize, String)],
        bytes_max: &str,
    ) -> Result<Node, Failure> {
        let place = self.data_dir.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&place)?;
        let yaml = place.join("yaml");
        folder::write_lanes(&yaml, lanes, bytes_max)?;
        let mut node = Node {
            subject: None,
            place,
            yaml,
            weft: self.weft.clone(),
            core: self.cores.map(|(server, _)| server),
        };
        node.start()?;
        Ok(node)
    }
}

impl Node {
    /// Starts it on the data it has; how long until it was ready.
    fn start(&mut self) -> Result<Duration, Failure> {
        let mut command = Command::new(&self.weft);
        command
            .arg("run")
            .arg(&self.yaml)
            .arg("--data")
            .arg(self.place.join("data"))
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let command = guard::guarded(&command, self.core)?;
        let began = Instant::now();
        self.subject = Some(Subject::start(
            command,
            false,
            &self.place.join("stderr.txt"),
        )?);
        Ok(began.elapsed())
    }

    fn subject(&self) -> Result<&Subject, Failure> {
        let gone = || Failure::Io(io::Error::other("the node is not running"));
        self.subject.as_ref().ok_or_else(gone)
    }

    /// Ends it as `kill -9` does.
    fn kill(&mut self) {
        self.subject = None;
    }

    fn resident_mb(&self) -> Result<(f64, f64), Failure> {
        let memory = process::memory(self.subject()?.pid)?;
        Ok((
            memory.resident as f64 / 1e6,
            memory.resident_peak as f64 / 1e6,
        ))
    }

    /// Bytes of its data folder.
    fn data_bytes(&self) -> u64 {
        folder_bytes(&self.place.join("data"))
    }

    /// Connects the callers of this rig to it; events go to the first `types` types in turn.
    fn connect(&self, rig: &mut Rig, types: usize, data_bytes: usize) -> Result<(), Failure> {
        let ingress = self.subject()?.ingress;
        let run = format!("{:x}-{types}", std::process::id());
        let request = Request::event(&ingress.to_string(), folder::BROKER_PATH, &run, data_bytes);
        rig.connect(ingress, CONNECTIONS, types, &request)?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if let Err(error) = fs::remove_dir_all(&self.place) {
            out::problem(&format!("{}: {error}", self.place.display()));
        }
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Sends so many events as fast as they are taken; what was answered.
fn send(rig: &mut Rig, events: u64) -> Result<Seen<()>, Failure> {
    let load = Load {
        pace: Pace::Closed,
        warm: Duration::ZERO,
        measured: Duration::from_secs(900),
        events_max: events,
        deliveries_percent: 0,
        owed_max: None,
    };
    Ok(rig.run(&load, || Ok(()))?)
}

/// Prints a figure with its bound; whether it was met.
fn judge(what: &str, value: f64, unit: &str, bound: f64, at_least: bool) -> bool {
    let met = if at_least {
        bound <= value
    } else {
        value <= bound
    };
    let sign = if at_least { "≥" } else { "≤" };
    let verdict = if met { "met" } else { "NOT MET" };
    out::line(&format!(
        "  {what:<58} {value:>10.2}{unit}  ({sign} {bound}{unit}: {verdict})"
    ));
    met
}

/// Prints a figure without a bound.
fn say(what: &str, value: f64, unit: &str) {
    out::line(&format!("  {what:<58} {value:>10.2}{unit}"));
}

/// Lets time pass until `done`, for at most `longest`; whether it came.
fn until(
    rig: &mut Rig,
    longest: Duration,
    mut done: impl FnMut(&mut Rig) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let deadline = Instant::now() + longest;
    while Instant::now() < deadline {
        if done(rig)? {
            return Ok(true);
        }
        rig.rest(Duration::from_millis(200))?;
    }
    Ok(false)
}
