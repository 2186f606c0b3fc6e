//! `kill -9` with 10 GiB of log: how long until the node serves again.

use std::time::Duration;

use crate::bad_days::{Stage, judge, say};
use crate::out;
use crate::rig::{Load, Pace, Rig};
use crate::sink::Habit;
use crate::subject::Failure;
use crate::trial::DATA_BYTES;

const LOG_BYTES: u64 = 10 << 30;
const EVENTS_A_TURN: u64 = 500_000;
const OUTSTANDING_MAX: u64 = 1_024;
const KILLS: usize = 3;

pub(super) fn tell(stage: &Stage) -> Result<bool, Failure> {
    let mut rig = Rig::new()?;
    let well = rig.open(Habit::Prompt)?;
    let mut node = stage.start("restart", &[(0, format!("http://{well}/"))], "14Gi")?;
    let wanted = LOG_BYTES / stage.divisor;
    while node.data_bytes() < wanted {
        node.connect(&mut rig, 1, DATA_BYTES)?;
        let load = Load {
            pace: Pace::Closed,
            warm: Duration::ZERO,
            measured: Duration::from_secs(120),
            events_max: EVENTS_A_TURN / stage.divisor,
            deliveries_percent: 0,
            owed_max: Some(OUTSTANDING_MAX),
        };
        rig.run(&load, || Ok(()))?;
    }
    say(
        "data folder",
        node.data_bytes() as f64 / (1u64 << 30) as f64,
        " GiB",
    );
    let mut longest: f64 = 0.0;
    for _ in 0..KILLS {
        // What is in the air when it is killed is repeated; sending goes on until then.
        node.connect(&mut rig, 1, DATA_BYTES)?;
        let load = Load {
            pace: Pace::Open { per_second: 20_000 },
            warm: Duration::ZERO,
            measured: Duration::from_secs(2),
            events_max: u64::MAX,
            deliveries_percent: 0,
            owed_max: None,
        };
        rig.run(&load, || Ok(()))?;
        rig.disconnect();
        node.kill();
        let took = node.start()?;
        out::line(&format!("  ready after {:.0} ms", took.as_secs_f64() * 1e3));
        longest = longest.max(took.as_secs_f64());
    }
    Ok(judge(
        "from start to ready, the longest",
        longest,
        " s",
        1.0,
        false,
    ))
}
