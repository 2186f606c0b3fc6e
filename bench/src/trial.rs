//! One row measured once: start the server, rest, send, rest, stop.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::Pid;

use crate::folder::{self, Wanted};
use crate::guard;
use crate::process::{self, Memory};
use crate::recipe::{Functions, Measure, Recipe, SLOW, Server};
use crate::rig::{Load, Pace, Rig, Seen};
use crate::sink::Habit;
use crate::subject::{Failure, STOP_MAX, Subject, SyncDelay};
use crate::wire::Request;

/// Bytes of data in each event.
pub(crate) const DATA_BYTES: usize = 1024;
/// Outstanding events, for each function that wants them, at which closed-loop callers wait.
const OWED_MAX: u64 = 1_024;
/// After a load, how long the server is left alone before its idle CPU is measured.
const SETTLE: Duration = Duration::from_millis(500);
/// The longest that sending what stays owed may take.
const OWE_MAX: Duration = Duration::from_secs(120);

/// How the trials of a run are made.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// On a real disk: logs and YAML of the servers, removed after each trial.
    pub(crate) data_dir: PathBuf,
    pub(crate) weft: Option<PathBuf>,
    /// The server's core and the driver's.
    pub(crate) cores: Option<(usize, usize)>,
    pub(crate) connections: usize,
    pub(crate) open_per_second: u64,
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
    pub(crate) rest: Duration,
    /// The tracer that delays syncs works here.
    pub(crate) tracer: bool,
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// What one trial saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    /// Events a second, closed loop: answered, or arrived at all well functions that want them.
    pub(crate) rate: Option<f64>,
    /// Deliveries a second for each well function.
    pub(crate) rate_each: Option<f64>,
    /// Closed loop, intended send to answer.
    pub(crate) busy: Option<Latency>,
    /// Open loop, intended send to answer.
    pub(crate) answer: Option<Latency>,
    /// Open loop, intended send to arrival at the function.
    pub(crate) arrival: Option<Latency>,
    /// Closed loop, user and system time of the server.
    pub(crate) cpu_micros: Option<f64>,
    /// Closed loop, share of its one core that the server used.
    pub(crate) core_percent: Option<f64>,
    /// Share of one core that neither server nor driver used, in the closed loop.
    pub(crate) others_percent: Option<f64>,
    pub(crate) idle_before_percent: f64,
    pub(crate) idle_after_percent: f64,
    pub(crate) resident_mb: f64,
    pub(crate) resident_peak_mb: f64,
    pub(crate) class: String,
    /// What spoils the trial, in words; empty when nothing does.
    pub(crate) blemishes: Vec<String>,
}

/// Runs `recipe` once, as part of the round of that number.
pub(crate) fn run(setup: &Setup, recipe: &Recipe, round: usize) -> Result<Row, Failure> {
    let name = format!("{}-{}-{round}", recipe.name, std::process::id());
    let place = setup.data_dir.join(name);
    fs::create_dir_all(&place)?;
    let row = run_in(&place, setup, recipe);
    // What a failed server wrote is what explains the failure.
    if row.is_ok() {
        fs::remove_dir_all(&place)?;
    }
    row
}

fn run_in(place: &Path, setup: &Setup, recipe: &Recipe) -> Result<Row, Failure> {
    let mut rig = Rig::new()?;
    let ports = open_ports(&mut rig, recipe.functions)?;
    let command = command(place, setup, recipe, &mut rig, &ports)?;
    let core = setup.cores.map(|(server, _)| server);
    let mut command = guard::guarded(&command, core)?;
    let traced = setup.tracer && !recipe.sync_delay.is_zero();
    if traced {
        // The server goes with the tracer, and the tracer with us.
        command = guard::guarded(&SyncDelay(recipe.sync_delay).wrap(&command), core)?;
    }
    let subject = Subject::start(command, traced, &place.join("stderr.txt"))?;
    let pid = subject.pid;
    let mut row = Row {
        class: subject.class.clone(),
        ..Row::default()
    };
    row.idle_before_percent = idle(&mut rig, pid, setup.rest)?;

    let host = subject.ingress.to_string();
    let run = format!("{:x}", std::process::id());
    let request = Request::event(&host, folder::BROKER_PATH, &run, DATA_BYTES);
    let types = recipe.functions.types();
    rig.connect(subject.ingress, setup.connections, types, &request)?;
    match recipe.measure {
        Measure::Speed => speed(&mut rig, pid, setup, recipe, &mut row)?,
        Measure::Rest => {}
        Measure::Owe { events } => {
            owe(&mut rig, pid, events, &mut row)?;
            let owed = subject.owed().unwrap_or(0);
            note(
                &mut row,
                events.saturating_sub(owed),
                "events that it does not say it owes",
            );
        }
    }
    rig.rest(SETTLE)?;
    row.idle_after_percent = idle(&mut rig, pid, setup.rest)?;
    let Memory {
        resident,
        resident_peak,
    } = process::memory(pid)?;
    row.resident_mb = megabytes(resident);
    row.resident_peak_mb = megabytes(resident_peak);
    let duplicates: u64 = rig.sink.ports.iter().map(|port| port.duplicates).sum();
    note(&mut row, duplicates, "arrived twice");
    let unreadable = rig.sink.unreadable;
    note(&mut row, unreadable, "unreadable at the sink");
    rig.disconnect();
    if !subject.stop(|span| rig.rest(span))? {
        let seconds = STOP_MAX.as_secs();
        row.blemishes.push(format!(
            "it did not stop in order within {seconds} s of SIGTERM"
        ));
    }
    Ok(row)
}

/// Opens the sink's ports: one for each function of the recipe.
fn open_ports(rig: &mut Rig, functions: Functions) -> io::Result<Vec<SocketAddr>> {
    let habits = match functions {
        Functions::None => vec![],
        Functions::Dead => vec![Habit::Dead],
        Functions::Every(functions)
        | Functions::Turns {
            functions,
            well: true,
        } => {
            vec![Habit::Prompt; functions]
        }
        Functions::Turns {
            functions,
            well: false,
        } => {
            let mut habits = vec![Habit::Prompt; functions - 2];
            habits.extend([Habit::Dead, Habit::Slow(SLOW)]);
            habits
        }
    };
    habits.into_iter().map(|habit| rig.open(habit)).collect()
}

fn command(
    place: &Path,
    setup: &Setup,
    recipe: &Recipe,
    rig: &mut Rig,
    ports: &[SocketAddr],
) -> Result<Command, Failure> {
    if recipe.server == Server::Weft {
        let weft = setup
            .weft
            .as_ref()
            .ok_or_else(|| io::Error::other("there is no weft"))?;
        let yaml = place.join("yaml");
        let turns = matches!(recipe.functions, Functions::Turns { .. });
        let wanted = |(number, &subscriber)| Wanted {
            function: if turns { number } else { 0 },
            subscriber,
        };
        let wanted: Vec<Wanted> = ports.iter().enumerate().map(wanted).collect();
        folder::write(&yaml, &wanted, recipe.idle_triggers, rig.open(Habit::Dead)?)?;
        let mut command = Command::new(weft);
        command
            .arg("run")
            .arg(yaml)
            .arg("--data")
            .arg(place.join("data"));
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        return Ok(command);
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("prototype");
    command.arg(match recipe.server {
        Server::Hello => "hello",
        Server::Durable => "durable",
        Server::Relay | Server::Weft => "relay",
    });
    if recipe.server != Server::Hello {
        command.arg("--log").arg(place.join("log"));
        if !setup.tracer {
            let micros = recipe.sync_delay.as_micros().to_string();
            command.args(["--sync-delay-us", &micros]);
        }
    }
    if recipe.server == Server::Relay
        && let Some(to) = ports.first()
    {
        command.args(["--to", &to.to_string()]);
    }
    Ok(command)
}

/// Closed loop for rate and CPU, then open loop for latency.
fn speed(
    rig: &mut Rig,
    pid: Pid,
    setup: &Setup,
    recipe: &Recipe,
    row: &mut Row,
) -> Result<(), Failure> {
    let deliveries_percent = recipe.functions.deliveries_percent();
    let fan_out = deliveries_percent.div_ceil(100);
    let load = Load {
        pace: Pace::Closed,
        warm: setup.warm,
        measured: setup.measured,
        events_max: u64::MAX,
        deliveries_percent,
        owed_max: (0 < fan_out).then_some(OWED_MAX * fan_out),
    };
    let seen = rig.run(&load, || Probe::take(pid))?;
    let seconds = seen.window.as_secs_f64();
    let events = if deliveries_percent == 0 {
        seen.answers.taken_in_window as f64
    } else {
        let prompt = recipe.functions.prompt();
        row.rate_each = Some(seen.arrived_in_window as f64 / prompt as f64 / seconds);
        seen.arrived_in_window as f64 * 100.0 / deliveries_percent as f64
    };
    row.rate = Some(events / seconds);
    row.busy = latency(&seen.waits);
    let (before, after) = (&seen.probes.0, &seen.probes.1);
    let server = (after.server - before.server).as_secs_f64();
    let driver = (after.driver - before.driver).as_secs_f64();
    let others = (after.machine.saturating_sub(before.machine)).as_secs_f64() - server - driver;
    let span = (after.at - before.at).as_secs_f64();
    row.cpu_micros = Some(server * 1e6 / events.max(1.0));
    row.core_percent = Some(server * 100.0 / span);
    row.others_percent = Some(others.max(0.0) * 100.0 / span);
    blemishes(&seen, row);

    let pace = Pace::Open {
        per_second: setup.open_per_second,
    };
    let seen = rig.run(&Load { pace, ..load }, || Probe::take(pid))?;
    row.answer = latency(&seen.waits);
    row.arrival = latency(&seen.end_to_end);
    blemishes(&seen, row);
    Ok(())
}

/// Sends `events` as fast as they are taken, to a function that is dead.
fn owe(rig: &mut Rig, pid: Pid, events: u64, row: &mut Row) -> Result<(), Failure> {
    let load = Load {
        pace: Pace::Closed,
        warm: Duration::ZERO,
        measured: OWE_MAX,
        events_max: events,
        deliveries_percent: 0,
        owed_max: None,
    };
    let seen = rig.run(&load, || Probe::take(pid))?;
    row.rate = Some(seen.answers.taken as f64 / seen.window.as_secs_f64());
    row.busy = latency(&seen.waits);
    note(
        row,
        events.saturating_sub(seen.answers.taken),
        "events not taken",
    );
    blemishes(&seen, row);
    Ok(())
}

struct Probe {
    at: Instant,
    server: Duration,
    driver: Duration,
    machine: Duration,
}

impl Probe {
    fn take(pid: Pid) -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: process::cpu(pid)?,
            driver: process::cpu(rustix::process::getpid())?,
            machine: process::machine_busy()?,
        })
    }
}

/// Share of a core that the server uses while nobody sends.
fn idle(rig: &mut Rig, pid: Pid, span: Duration) -> io::Result<f64> {
    let (at, before) = (Instant::now(), process::cpu(pid)?);
    rig.rest(span)?;
    let used = process::cpu(pid)?.saturating_sub(before);
    Ok(used.as_secs_f64() * 100.0 / at.elapsed().as_secs_f64())
}

fn latency(nanoseconds: &Histogram<u64>) -> Option<Latency> {
    let at = |quantile| nanoseconds.value_at_quantile(quantile) as f64 / 1_000.0;
    (!nanoseconds.is_empty()).then(|| Latency {
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
    })
}

fn blemishes<P>(seen: &Seen<P>, row: &mut Row) {
    let status = seen.answers.refused_status;
    note(
        row,
        seen.answers.refused,
        &format!("refused, the last with {status}"),
    );
    note(row, seen.answers.lost, "connections lost");
    note(
        row,
        seen.missing,
        "deliveries had not arrived 20 s after the window",
    );
    note(row, seen.unsent, "events of the open loop never sent");
}

fn note(row: &mut Row, count: u64, what: &str) {
    if 0 < count {
        row.blemishes.push(format!("{count} {what}"));
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
