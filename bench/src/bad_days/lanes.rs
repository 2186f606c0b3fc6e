//! A million events owed to 9,999 functions that are dead, and one function that is well.
//!
//! Asked: is the one as fast as without the others' backlog, and what is read from disk meanwhile.

use std::time::Duration;

use crate::bad_days::{Stage, judge, say, send};
use crate::gates::median;
use crate::rig::{Load, Pace, Rig};
use crate::sink::Habit;
use crate::subject::Failure;
use crate::trial::DATA_BYTES;
use crate::{out, process};

const LANES: usize = 10_000;
const OWED: u64 = 1_000_000;
const ROUNDS: usize = 3;
/// How long the dead lanes are left alone before the live one is measured, so that their
/// breakers have opened.
const SETTLE: Duration = Duration::from_secs(20);
const OUTSTANDING_MAX: u64 = 1_024;

pub(super) fn tell(stage: &Stage) -> Result<bool, Failure> {
    let (mut alone, mut laden) = (Vec::new(), Vec::new());
    let mut read = 0;
    for round in 1..=ROUNDS {
        alone.push(rate(stage, 0)?.0);
        let (rate, bytes) = rate(stage, OWED / stage.divisor)?;
        laden.push(rate);
        read = read.max(bytes);
        out::problem(&format!(
            "round {round}/{ROUNDS}  {:.0} events/s alone, {rate:.0} beside the dead",
            alone[round - 1]
        ));
    }
    let ratios: Vec<f64> = laden
        .iter()
        .zip(&alone)
        .map(|(laden, alone)| laden / alone)
        .collect();
    say(
        "live lane alone (median)",
        median(&alone).unwrap_or(0.0),
        " events/s",
    );
    say(
        "live lane beside 9,999 dead ones (median)",
        median(&laden).unwrap_or(0.0),
        " events/s",
    );
    say(
        "read from disk while it was measured, at most",
        read as f64 / 1e6,
        " MB",
    );
    Ok(judge(
        "beside / alone",
        median(&ratios).unwrap_or(0.0),
        "",
        0.9,
        true,
    ))
}

/// The live lane's events a second, with so many owed to the others; bytes read from disk.
fn rate(stage: &Stage, owed: u64) -> Result<(f64, u64), Failure> {
    let mut rig = Rig::new()?;
    let live = rig.open(Habit::Prompt)?;
    let dead = rig.open(Habit::Dead)?;
    let mut lanes = vec![(0, format!("http://{live}/"))];
    lanes.extend((1..LANES).map(|lane| (lane, format!("http://{dead}/{lane}"))));
    let node = stage.start("lanes", &lanes, "10Gi")?;
    if 0 < owed {
        node.connect(&mut rig, LANES, DATA_BYTES)?;
        send(&mut rig, owed)?;
    }
    rig.rest(SETTLE)?;
    if 0 < owed {
        say(
            "owed when measured",
            node.subject()?.owed().unwrap_or(0) as f64,
            "",
        );
    }
    node.connect(&mut rig, 1, DATA_BYTES)?;
    let load = Load {
        pace: Pace::Closed,
        warm: Duration::from_secs(1),
        measured: Duration::from_secs(4),
        events_max: u64::MAX,
        deliveries_percent: 100,
        owed_max: Some(OUTSTANDING_MAX),
    };
    let pid = node.subject()?.pid;
    let seen = rig.run(&load, || process::disk_read(pid))?;
    let rate = seen.arrived_in_window as f64 / seen.window.as_secs_f64();
    Ok((rate, seen.probes.1 - seen.probes.0))
}
