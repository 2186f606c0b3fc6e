//! Five million dead letters of 100 bytes: what they cost in memory.

use std::time::Duration;

use crate::bad_days::{Stage, judge, say, send, until};
use crate::out;
use crate::rig::Rig;
use crate::sink::Habit;
use crate::subject::{Failure, get};

const LETTERS: u64 = 5_000_000;
/// Sent first, so that what the first letters make the node allocate is not counted.
const FIRST: u64 = 50_000;
const DATA_BYTES: usize = 100;
const SETTLES_WITHIN: Duration = Duration::from_secs(900);
/// After the last letter, until the view has been committed and freed memory given back.
const REST: Duration = Duration::from_secs(15);

pub(super) fn tell(stage: &Stage) -> Result<bool, Failure> {
    let letters = LETTERS / stage.divisor;
    let mut rig = Rig::new()?;
    let refusing = rig.open(Habit::Refusing)?;
    let node = stage.start("letters", &[(0, format!("http://{refusing}/"))], "60Gi")?;
    node.connect(&mut rig, 1, DATA_BYTES)?;
    let mut resident = Vec::new();
    for events in [FIRST, letters] {
        send(&mut rig, events)?;
        let ended = until(&mut rig, SETTLES_WITHIN, |_| {
            Ok(node.subject()?.owed() == Some(0))
        })?;
        if !ended {
            out::line("  some deliveries had not ended in time");
        }
        rig.rest(REST)?;
        resident.push(node.resident_mb()?.0);
    }
    let counted = node.subject()?.metric("weft_dead_letters ").unwrap_or(0);
    say("dead letters", counted as f64, "");
    say("data folder", node.data_bytes() as f64 / 1e6, " MB");
    say("resident with the first 50,000", resident[0], " MB");
    say("resident with all", resident[1], " MB");
    let admin = node.subject()?.admin;
    let listed = admin.and_then(|admin| get(admin, "/api/v1/dead-letters?limit=3"));
    out::line(&format!(
        "  listing three answers {}",
        listed.map_or(0, |(status, _)| status)
    ));
    let all = judge(
        "letters kept / sent",
        counted as f64 / (letters + FIRST) as f64,
        "",
        1.0,
        true,
    );
    Ok(judge("growth", resident[1] - resident[0], " MB", 32.0, false) && all)
}
