//! Five million dead letters of 100 bytes: what they cost in memory.

use std::time::Duration;

use crate::bad_days::{Node, Stage, judge, say, send, until};
use crate::out;
use crate::rig::Rig;
use crate::sink::Habit;
use crate::subject::{Failure, get};

const LETTERS: u64 = 5_000_000;
/// Sent first, to show how much of the memory the first of them take.
const FIRST: u64 = 50_000;
const DATA_BYTES: usize = 100;
const SETTLES_WITHIN: Duration = Duration::from_secs(900);
/// After the last letter, until the view has been committed and freed memory given back.
const REST: Duration = Duration::from_secs(15);

/// What a node takes in memory, in MB.
struct Resident {
    first: f64,
    all: f64,
}

/// Sends all to a function that answers so, and says what the node takes.
fn run(stage: &Stage, habit: Habit) -> Result<(Node, Resident), Failure> {
    let mut rig = Rig::new()?;
    let function = rig.open(habit)?;
    let node = stage.start("letters", &[(0, format!("http://{function}/"))], "60Gi")?;
    node.connect(&mut rig, 1, DATA_BYTES)?;
    let mut after = |events| {
        send(&mut rig, events)?;
        let ended = until(&mut rig, SETTLES_WITHIN, |_| {
            Ok(node.subject()?.owed() == Some(0))
        })?;
        if !ended {
            out::line("  some deliveries had not ended in time");
        }
        rig.rest(REST)?;
        Ok::<_, Failure>(node.resident_mb()?.0)
    };
    let resident = Resident {
        first: after(FIRST)?,
        all: after(LETTERS / stage.divisor)?,
    };
    Ok((node, resident))
}

pub(super) fn tell(stage: &Stage) -> Result<bool, Failure> {
    let (node, delivered) = run(stage, Habit::Prompt)?;
    say(
        "resident with the first 50,000 delivered",
        delivered.first,
        " MB",
    );
    say("resident with all delivered", delivered.all, " MB");
    drop(node);
    let (node, dead) = run(stage, Habit::Refusing)?;
    let counted = node.subject()?.metric("weft_dead_letters ").unwrap_or(0);
    say("dead letters", counted as f64, "");
    say("data folder", node.data_bytes() as f64 / 1e6, " MB");
    say("resident with the first 50,000 dead", dead.first, " MB");
    say("resident with all dead", dead.all, " MB");
    let admin = node.subject()?.admin;
    let listed = admin.and_then(|admin| get(admin, "/api/v1/dead-letters?limit=3"));
    out::line(&format!(
        "  listing three answers {}",
        listed.map_or(0, |(status, _)| status)
    ));
    let sent = (LETTERS / stage.divisor + FIRST) as f64;
    let all = judge("letters kept / sent", counted as f64 / sent, "", 1.0, true);
    Ok(judge(
        "more than delivered",
        dead.all - delivered.all,
        " MB",
        32.0,
        false,
    ) && all)
}
