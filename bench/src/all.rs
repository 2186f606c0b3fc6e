//! The whole table: rounds of all rows, interleaved, then medians and gates.
//!
//! Bounded by rounds × rows × the spans of a trial. A row that fails is named and does not stop
//! the others; the command's exit status says whether all was well.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::gates::{self, Round};
use crate::recipe::{self, Recipe, Server};
use crate::subject::SyncDelay;
use crate::trial::{self, DATA_BYTES, Setup};
use crate::{out, process, table};

/// What `all` and `quick` take.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these rows, such as `durable,weft-durable`; see README.md for their names.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The weft to measure. Without it, the one beside this program is built and measured.
    #[arg(long)]
    weft: Option<PathBuf>,
    /// Where servers keep their data meanwhile; on a real disk. Default: `bench-data` in the
    /// target folder.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Connections that send.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Events a second of the open loop.
    #[arg(long, default_value_t = 10_000)]
    open_rate: u64,
    /// Rounds over all rows [default: 5, quick: 1].
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds measured in each loop of a row [default: 4, quick: 1].
    #[arg(long)]
    seconds: Option<f64>,
    /// Leave out the rows with a delay added to each sync.
    #[arg(long)]
    no_delays: bool,
}

/// Runs the rows, prints the table and the gates; true when every row ran and every gate that was
/// measured is met.
pub(crate) fn run(options: &Options, quick: bool) -> io::Result<bool> {
    let began = Instant::now();
    let rounds_max = options.rounds.unwrap_or(if quick { 1 } else { 5 });
    let recipes = recipes(options, quick)?;
    let setup = setup(options, quick, &recipes)?;
    introduce(&setup, rounds_max);
    let mut notes = Vec::new();
    let recipes = runnable(recipes, &setup, &mut notes);
    let mut rounds = Vec::new();
    let mut failed = 0;
    for number in 1..=rounds_max {
        let mut round = Round::new();
        for recipe in &recipes {
            let load = process::load_average();
            match trial::run(&setup, recipe, number) {
                Ok(row) => {
                    let rate = row
                        .rate
                        .map_or_else(String::new, |rate| format!("{rate:.0} events/s"));
                    out::problem(&format!(
                        "round {number}/{rounds_max}  {:<20} {rate:<18} load average {load}",
                        recipe.name
                    ));
                    for blemish in &row.blemishes {
                        notes.push(format!("{} (round {number}): {blemish}", recipe.name));
                    }
                    round.insert(recipe.name, row);
                }
                Err(failure) => {
                    failed += 1;
                    notes.push(format!(
                        "{} (round {number}) FAILED: {failure}",
                        recipe.name
                    ));
                    out::problem(&format!(
                        "round {number}/{rounds_max}  {}: {failure}",
                        recipe.name
                    ));
                }
            }
        }
        rounds.push(round);
    }
    out::line("");
    for line in table::lines(&recipes, &rounds) {
        out::line(&line);
    }
    let verdicts = gates::judge(&rounds);
    out::line("");
    for line in table::gates(&verdicts) {
        out::line(&line);
    }
    if !notes.is_empty() {
        out::line("\nnotes");
        for note in &notes {
            out::line(&format!("  {note}"));
        }
    }
    let passed = verdicts
        .iter()
        .filter(|verdict| verdict.passed == Some(true))
        .count();
    let missed = verdicts
        .iter()
        .filter(|verdict| verdict.passed == Some(false))
        .count();
    out::line(&format!(
        "\n{passed} gates passed, {missed} failed, {} not measured; {failed} rows failed; {:.0} s; \
         load average {}",
        verdicts.len() - passed - missed,
        began.elapsed().as_secs_f64(),
        process::load_average()
    ));
    Ok(missed == 0 && failed == 0)
}

fn recipes(options: &Options, quick: bool) -> io::Result<Vec<Recipe>> {
    let mut recipes = recipe::rows(if quick { 100_000 } else { 1_000_000 });
    if !options.no_delays {
        recipes.extend(recipe::delayed_rows(1));
        recipes.extend(recipe::delayed_rows(5));
    }
    let known = |name: &&String| recipes.iter().any(|recipe| recipe.name == name.as_str());
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = recipes.iter().map(|recipe| recipe.name).collect();
        let names = names.join(", ");
        return Err(io::Error::other(format!(
            "there is no row {unknown}; there are {names}"
        )));
    }
    if !options.only.is_empty() {
        recipes.retain(|recipe| options.only.iter().any(|name| name == recipe.name));
    }
    Ok(recipes)
}

fn setup(options: &Options, quick: bool, recipes: &[Recipe]) -> io::Result<Setup> {
    let program = env::current_exe()?;
    let beside = program.parent().unwrap_or(Path::new("."));
    let data_dir = data_dir(options.data_dir.as_deref())?;
    let needs_weft = recipes.iter().any(|recipe| recipe.server == Server::Weft);
    let weft = match &options.weft {
        Some(weft) => Some(weft.canonicalize()?),
        None if needs_weft => build_weft(beside)?,
        None => None,
    };
    let cores = process::cores()?;
    if let Some((_, driver)) = cores {
        process::pin(driver)?;
    }
    let seconds = options.seconds.unwrap_or(if quick { 1.0 } else { 4.0 });
    let measured = Duration::try_from_secs_f64(seconds).map_err(io::Error::other)?;
    Ok(Setup {
        data_dir,
        weft,
        cores,
        connections: options.connections.max(1),
        open_per_second: options.open_rate.max(1),
        warm: if quick {
            Duration::from_millis(300)
        } else {
            Duration::from_secs(1)
        },
        measured,
        rest: if quick {
            Duration::from_millis(500)
        } else {
            Duration::from_secs(2)
        },
        tracer: SyncDelay::possible(),
    })
}

/// Builds the weft that stands beside this program, so that no old one is measured.
///
/// Only under `cargo run`, which says where cargo is; else what is there is taken as it is.
pub(crate) fn build_weft(beside: &Path) -> io::Result<Option<PathBuf>> {
    if let Some(cargo) = env::var_os("CARGO")
        && let Some(target) = beside.parent()
        && let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR")
    {
        let mut build = Command::new(cargo);
        build
            .args(["build", "--release", "-p", "weft", "--target-dir"])
            .arg(target);
        if !build.current_dir(manifest).status()?.success() {
            return Err(io::Error::other(
                "weft did not build; give another with --weft PATH",
            ));
        }
    }
    let weft = beside.join("weft");
    Ok(weft.is_file().then_some(weft))
}

/// The folder for servers' data, made if need be: `wanted`, or `bench-data` in the target folder.
pub(crate) fn data_dir(wanted: Option<&Path>) -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let beside = program.parent().unwrap_or(Path::new("."));
    let folder = wanted.map_or_else(|| beside.join("../bench-data"), Path::to_path_buf);
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    refuse_memory(&folder)?;
    Ok(folder)
}

/// A log in memory proves nothing about durability, and looks fast.
fn refuse_memory(folder: &Path) -> io::Result<()> {
    const TMPFS: i64 = 0x0102_1994;
    if rustix::fs::statfs(folder)?.f_type == TMPFS {
        let folder = folder.display();
        return Err(io::Error::other(format!(
            "{folder} is in memory, give another --data-dir"
        )));
    }
    Ok(())
}

/// Leaves out what can't run here, and says so.
fn runnable(recipes: Vec<Recipe>, setup: &Setup, notes: &mut Vec<String>) -> Vec<Recipe> {
    let mut kept = Vec::new();
    for recipe in recipes {
        let weft = recipe.server == Server::Weft;
        if weft && setup.weft.is_none() {
            notes.push(format!(
                "{} skipped: there is no weft; give one with --weft PATH",
                recipe.name
            ));
        } else if weft && !recipe.sync_delay.is_zero() && !setup.tracer {
            notes.push(format!(
                "{} skipped: strace, which delays its syncs, does not work here",
                recipe.name
            ));
        } else {
            kept.push(recipe);
        }
    }
    kept
}

fn introduce(setup: &Setup, rounds: usize) {
    let cores = match setup.cores {
        Some((server, driver)) => {
            format!("server on core {server}, driver and sink on core {driver}")
        }
        None => "ONE CORE ONLY: server and driver share it, rates mean little".into(),
    };
    let delay = if setup.tracer {
        "by strace"
    } else {
        "by the prototypes themselves"
    };
    out::line(&format!(
        "{rounds} rounds, {} connections, {DATA_BYTES} B events, {:.1} s a loop, open loop at {}/s\n\
         {cores}; sync delays {delay}; data in {}; load average {}",
        setup.connections,
        setup.measured.as_secs_f64(),
        setup.open_per_second,
        setup.data_dir.display(),
        process::load_average()
    ));
    if cfg!(debug_assertions) {
        out::line("THIS IS A DEBUG BUILD of the driver and the prototypes: use --release");
    }
}
