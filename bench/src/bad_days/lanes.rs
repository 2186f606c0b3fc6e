//! A million events owed by 9,999 lanes behind an open breaker, and one function that is well.
//!
//! Asked: is the one as fast as without the others' backlog, and what is read from disk meanwhile.
//! The same with a destination and a breaker for each of the 9,999 is shown beside it: there each
//! has probes of its own.

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

/// Behind how many breakers the dead lanes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breakers {
    One,
    OneEach,
}

pub(super) fn tell(stage: &Stage) -> Result<bool, Failure> {
    let (mut alone, mut behind_one, mut behind_each) = (Vec::new(), Vec::new(), Vec::new());
    let mut read = [0, 0];
    let owed = OWED / stage.divisor;
    for round in 1..=ROUNDS {
        alone.push(rate(stage, 0, Breakers::One)?.0);
        for (at, breakers) in [Breakers::One, Breakers::OneEach].into_iter().enumerate() {
            let (rate, bytes) = rate(stage, owed, breakers)?;
            match breakers {
                Breakers::One => behind_one.push(rate),
                Breakers::OneEach => behind_each.push(rate),
            }
            read[at] = bytes.max(read[at]);
        }
        let last = round - 1;
        out::problem(&format!(
            "round {round}/{ROUNDS}  {:.0} events/s alone, {:.0} beside one breaker, {:.0} beside 9,999",
            alone[last], behind_one[last], behind_each[last]
        ));
    }
    let say_rate = |what: &str, rates: &[f64]| {
        say(what, median(rates).unwrap_or(0.0), " events/s");
    };
    let ratio = |rates: &[f64]| {
        let ratios: Vec<f64> = rates
            .iter()
            .zip(&alone)
            .map(|(at, alone)| at / alone)
            .collect();
        median(&ratios).unwrap_or(0.0)
    };
    say_rate("live lane alone (median)", &alone);
    say_rate(
        "live lane beside 9,999 behind one breaker (median)",
        &behind_one,
    );
    say_rate("live lane beside 9,999 breakers (median)", &behind_each);
    say(
        "read from disk beside one breaker, at most",
        read[0] as f64 / 1e6,
        " MB",
    );
    say(
        "read from disk beside 9,999, at most",
        read[1] as f64 / 1e6,
        " MB",
    );
    say("beside 9,999 breakers / alone", ratio(&behind_each), "");
    Ok(judge(
        "beside one breaker / alone",
        ratio(&behind_one),
        "",
        0.9,
        true,
    ))
}

/// The live lane's events a second, with so many owed to the others; bytes read from disk.
fn rate(stage: &Stage, owed: u64, breakers: Breakers) -> Result<(f64, u64), Failure> {
    let mut rig = Rig::new()?;
    let live = rig.open(Habit::Prompt)?;
    let dead = rig.open(Habit::Dead)?;
    let mut lanes = vec![(0, format!("http://{live}/"))];
    lanes.extend((1..LANES).map(|lane| match breakers {
        Breakers::One => (lane, format!("http://{dead}/")),
        Breakers::OneEach => (lane, format!("http://{dead}/{lane}")),
    }));
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
