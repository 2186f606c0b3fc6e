//! One function of ten is dead for two minutes with a million events owed to it, then healed.
//!
//! Asked: do the nine good ones notice (p99 against an interleaved control), does the node stay
//! small, does nothing die, and is the backlog drained at full speed once the function is back.
//! Full speed is what a node drains that finds the same backlog at its start, with the function
//! well all along.

use std::time::{Duration, Instant};

use crate::bad_days::{Node, Stage, judge, say, send, until};
use crate::gates::median;
use crate::out;
use crate::rig::{Load, Pace, Rig};
use crate::sink::Habit;
use crate::subject::Failure;
use crate::trial::DATA_BYTES;

const FUNCTIONS: usize = 10;
const OWED: u64 = 1_000_000;
/// How long the function is dead.
const DEAD: Duration = Duration::from_secs(120);
/// What the longest penalty (60 s and half of it) and the drain may take.
const DRAIN_MAX: Duration = Duration::from_secs(240);
const ROUNDS: usize = 5;
const OPEN_PER_SECOND: u64 = 5_000;
const MEASURED: Duration = Duration::from_secs(5);

pub(super) fn tell(stage: &Stage) -> Result<bool, Failure> {
    let (mut well, mut ill) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        well.push(p99(stage, Habit::Prompt)?);
        ill.push(p99(stage, Habit::Dead)?);
        out::problem(&format!(
            "round {round}/{ROUNDS}  p99 {:.0} µs well, {:.0} µs with one dead",
            well[round - 1],
            ill[round - 1]
        ));
    }
    let ratios: Vec<f64> = ill
        .iter()
        .zip(&well)
        .map(|(ill, well)| ill / well)
        .collect();
    say(
        "p99 of 9 good functions, all 10 well (median)",
        median(&well).unwrap_or(0.0),
        " µs",
    );
    say(
        "p99 of 9 good functions, one dead (median)",
        median(&ill).unwrap_or(0.0),
        " µs",
    );
    let mut met = judge(
        "p99 of the good ones, dead / control",
        median(&ratios).unwrap_or(f64::MAX),
        "",
        1.25,
        false,
    );

    let owed = OWED / stage.divisor;
    let (mut rig, mut node) = laden(stage, "outage", owed)?;
    let began = Instant::now();
    let mut peak: f64 = 0.0;
    while began.elapsed() < DEAD / stage.divisor as u32 {
        rig.rest(Duration::from_secs(1))?;
        peak = peak.max(node.resident_mb()?.0);
    }
    let attempts = node
        .subject()?
        .metric("weft_delivery_attempts_total{")
        .unwrap_or(0);
    say("attempts during the outage", attempts as f64, "");
    rig.heal(0)?;
    let (first, rate, each_second) = drain(&mut rig, owed)?;
    say(
        "from healing to the first delivery",
        first.as_secs_f64(),
        " s",
    );
    out::line(&format!(
        "  deliveries in each second from then on: {each_second:?}"
    ));
    let (resident, resident_peak) = node.resident_mb()?;
    say("resident after the drain", resident, " MB");
    met &= judge(
        "resident, at its peak",
        resident_peak.max(peak),
        " MB",
        256.0,
        false,
    );
    let dead = node.subject()?.metric("weft_dead_letters{").unwrap_or(0);
    met &= judge("dead letters", dead as f64, "", 0.0, false);
    node.kill();

    let (mut rig, mut node) = laden(stage, "full-speed", owed)?;
    node.kill();
    rig.heal(0)?;
    node.start()?;
    let (_, full, each_second) = drain(&mut rig, owed)?;
    out::line(&format!("  full speed, each second: {each_second:?}"));
    say("full speed", full, " events/s");
    say("drained after the outage at", rate, " events/s");
    met &= judge("drained / full speed", rate / full, "", 0.8, true);
    Ok(met)
}

fn lanes(rig: &mut Rig, first: Habit) -> Result<Vec<(usize, String)>, Failure> {
    let mut lanes = Vec::new();
    for function in 0..FUNCTIONS {
        let habit = if function == 0 { first } else { Habit::Prompt };
        let address = rig.open(habit)?;
        lanes.push((function, format!("http://{address}/")));
    }
    Ok(lanes)
}

/// The p99 from a send to its arrival at the nine functions that are well, in µs.
fn p99(stage: &Stage, first: Habit) -> Result<f64, Failure> {
    let mut rig = Rig::new()?;
    let lanes = lanes(&mut rig, first)?;
    let node = stage.start("outage-p99", &lanes, "10Gi")?;
    if first == Habit::Dead {
        node.connect(&mut rig, 1, DATA_BYTES)?;
        send(&mut rig, 100_000 / stage.divisor)?;
    }
    rig.rest(Duration::from_secs(2))?;
    node.connect(&mut rig, FUNCTIONS, DATA_BYTES)?;
    let load = Load {
        pace: Pace::Open {
            per_second: OPEN_PER_SECOND,
        },
        warm: Duration::from_secs(1),
        measured: MEASURED,
        events_max: u64::MAX,
        deliveries_percent: if first == Habit::Dead { 90 } else { 100 },
        owed_max: None,
    };
    let seen = rig.run(&load, || Ok(()))?;
    Ok(seen.end_to_end.value_at_quantile(0.99) as f64 / 1_000.0)
}

/// A node that owes `owed` events to a function that is dead.
fn laden(stage: &Stage, name: &str, owed: u64) -> Result<(Rig, Node), Failure> {
    let mut rig = Rig::new()?;
    let lanes = lanes(&mut rig, Habit::Dead)?;
    let node = stage.start(name, &lanes, "10Gi")?;
    node.connect(&mut rig, 1, DATA_BYTES)?;
    let seen = send(&mut rig, owed)?;
    rig.disconnect();
    if seen.answers.taken != owed {
        out::line(&format!(
            "  only {} of {owed} events were taken",
            seen.answers.taken
        ));
    }
    Ok((rig, node))
}

/// Waits until all has arrived: the time to the first delivery, the rate from there on, and the
/// deliveries of each second.
fn drain(rig: &mut Rig, owed: u64) -> Result<(Duration, f64, Vec<u64>), Failure> {
    let began = Instant::now();
    let mut first = None;
    let mut each_second = Vec::new();
    let mut last = 0;
    let done = until(rig, DRAIN_MAX, |rig| {
        let arrived = rig.sink.ports[0].arrived;
        if first.is_none() && 0 < arrived {
            first = Some(Instant::now());
        }
        if let Some(first) = first
            && each_second.len() as u64 <= first.elapsed().as_secs()
        {
            each_second.push(arrived - last);
            last = arrived;
        }
        Ok(owed <= arrived)
    })?;
    let arrived = rig.sink.ports[0].arrived;
    let first = first.unwrap_or(began);
    if !done {
        out::line(&format!(
            "  only {arrived} of {owed} arrived in {} s",
            DRAIN_MAX.as_secs()
        ));
    }
    let rate = arrived as f64 / first.elapsed().as_secs_f64();
    Ok((first - began, rate, each_second))
}
