//! `weft log`: what lies in a data folder, read without opening it.

use std::path::{Path, PathBuf};

use broker::records::dead::Dead;
use broker::records::envelope::Envelope;
use broker::records::held::Held;
use broker::records::intent::Intent;
use broker::records::parked::Parked;
use broker::records::redriven::{Action, Redriven};
use broker::records::rejected::Rejected;
use broker::records::started::{Before, Started, Which};
use broker::records::trigger_set::{self, Op};
use broker::records::{
    self, DEAD, EVENT, FORWARD, HELD, INTENT, MARK, Malformed, PARKED, PAUSED, REDRIVEN, REJECTED,
    REPLAYED, ROUTED, SETTLED, STARTED, TRIGGER_SET, routed, settled,
};
use journal::{Cause, Offset, OpenError, Stored, Verified};
use serde_json::{Value, json};

use crate::admin::convert::{event_view, payload};
use crate::cli::{LogCommand, LogCommandArgs, Output};
use crate::exit::{Exit, Failure};
use broker::time::rfc3339;

use crate::format::print;
use crate::node::open::{KEPT_FOLDER, LOG_FOLDER};
use crate::out;
use crate::table::Align::{Left, Right};
use crate::table::{Table, count, size};

/// Names of the kinds, as commands and `docs/format.md` have them.
const KINDS: [(u8, &str); 14] = [
    (EVENT, "event"),
    (ROUTED, "routed"),
    (SETTLED, "settled"),
    (PARKED, "parked"),
    (HELD, "held"),
    (DEAD, "dead"),
    (REDRIVEN, "redriven"),
    (TRIGGER_SET, "trigger-set"),
    (REJECTED, "rejected"),
    (INTENT, "intent"),
    (MARK, "mark"),
    (REPLAYED, "replayed"),
    (PAUSED, "paused"),
    (STARTED, "started"),
];

/// Verifies, or prints records.
pub(crate) fn run(args: &LogCommandArgs) -> Result<(), Failure> {
    match &args.command {
        LogCommand::Verify { dir, output } => verify(dir, *output),
        LogCommand::Cat {
            dir,
            from,
            limit,
            kind,
            output,
        } => {
            let kind = kind.as_deref().map(kind_of).transpose()?;
            cat(dir, *from, limit.unwrap_or(u64::MAX), kind, *output)
        }
    }
}

/// The log of a data folder; the folder itself when it is a log.
fn folder(dir: &Path) -> PathBuf {
    let inside = dir.join(LOG_FOLDER);
    if inside.is_dir() {
        inside
    } else {
        dir.to_owned()
    }
}

fn refused(dir: &Path, error: &OpenError) -> Failure {
    match error {
        OpenError::Io { doing, source } => {
            Failure::new(Exit::Unwritable, format!("{doing}: {source}"))
                .cure("name the data folder, as `weft run` printed it")
        }
        _ => Failure::new(
            Exit::Log,
            format!("{} can't be read: {error}", dir.display()),
        ),
    }
}

/// The log, and what is kept of it where there is something.
fn verify(dir: &Path, output: Output) -> Result<(), Failure> {
    let read = |folder: &Path| journal::verify(folder).map_err(|error| refused(folder, &error));
    let log = read(&folder(dir))?;
    let kept = dir.join(KEPT_FOLDER);
    let kept = kept.is_dir().then(|| read(&kept)).transpose()?;
    match output {
        Output::Table => {
            out::text(report(&log));
            if let Some(kept) = &kept {
                out::text(format!("\nkept of segments that went:\n{}", report(kept)));
            }
        }
        format => {
            let mut all = document(&log);
            all["kept"] = kept.as_ref().map_or(Value::Null, document);
            print(format, &all)?;
        }
    }
    if log.is_whole() && kept.is_none_or(|kept| kept.is_whole()) {
        Ok(())
    } else {
        Err(Failure::said(Exit::Log))
    }
}

fn report(verified: &Verified) -> String {
    let mut table = Table::new(&[
        ("SEGMENT", Left),
        ("FIRST", Right),
        ("END", Right),
        ("RECORDS", Right),
        ("BODIES", Right),
        ("CREATED", Left),
    ]);
    for segment in &verified.segments {
        table.row([
            segment.name.clone(),
            count(segment.first.0),
            count(segment.end.0),
            count(segment.records),
            size(segment.body_bytes),
            rfc3339(segment.created),
        ]);
    }
    let mut text = table.render();
    for damage in &verified.damage {
        text.push_str(&format!("damage  {damage}\n"));
    }
    let records: u64 = verified
        .segments
        .iter()
        .map(|segment| segment.records)
        .sum();
    let lost: u64 = verified.damage.iter().map(journal::Damage::records).sum();
    let stop = if verified.recovered.clean {
        "closed in order"
    } else {
        "not closed in order: running, or crashed"
    };
    text.push_str(&format!(
        "{} records read, {} unreadable; {stop}\n",
        count(records),
        count(lost)
    ));
    text.push_str(&verdict(verified));
    text
}

/// What all of it comes to, in a line. Whole is what the files that are there say of each other: nothing
/// in them tells that a segment before the first of them, or behind the last, is missing.
fn verdict(verified: &Verified) -> String {
    let loses = |damage: &journal::Damage| {
        let file = matches!(damage.cause, Cause::Segment | Cause::Short);
        damage.cause != Cause::Torn && (file || damage.records() != 0)
    };
    let is_torn = || verified.damage.iter().any(|damage| damage.records() != 0);
    let said = match () {
        () if verified.refused => {
            "DAMAGED so that no node starts on it: restore a backup, or put back the file that is named above; `weft log cat` prints what can be read"
        }
        () if verified.damage.iter().any(loses) => {
            "DAMAGED: what is named above is lost; `weft log cat` prints the rest, and a node that is started goes on with that"
        }
        () if !verified.is_whole() => {
            "DAMAGED, and no record lost: the disk gave back other bytes than it was given"
        }
        () if is_torn() => {
            "whole but for what a crash tore: nobody was told that those records were stored, unless the disk damaged them since"
        }
        () => return whole(verified),
    };
    format!("{said}\n")
}

fn whole(verified: &Verified) -> String {
    let (Some(first), Some(last)) = (verified.segments.first(), verified.segments.last()) else {
        return "whole, and empty: there is no segment\n".to_owned();
    };
    format!(
        "whole: every record from offset {} up to {} is there; a file that is missing before or behind doesn't show here\n",
        count(first.first.0),
        count(last.end.0)
    )
}

fn document(verified: &Verified) -> Value {
    let segments = verified.segments.iter().map(|segment| {
        json!({
            "name": segment.name,
            "first": segment.first.0,
            "end": segment.end.0,
            "records": segment.records,
            "bodyBytes": segment.body_bytes,
            "created": rfc3339(segment.created),
        })
    });
    let damage = verified.damage.iter().map(|damage| {
        json!({
            "segment": damage.segment,
            "position": damage.position,
            "bytes": damage.bytes,
            "firstOffset": damage.offsets.start.0,
            "records": damage.records(),
            "cause": damage.cause.to_string(),
        })
    });
    json!({
        "whole": verified.is_whole(),
        "refused": verified.refused,
        "clean": verified.recovered.clean,
        "segments": segments.collect::<Vec<_>>(),
        "damage": damage.collect::<Vec<_>>(),
    })
}

fn kind_of(name: &str) -> Result<u8, Failure> {
    let known = KINDS
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(kind, _)| *kind);
    known.ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|(_, name)| *name).collect();
        Failure::new(Exit::Usage, format!("there is no kind \"{name}\""))
            .cure(format!("kinds are {}", names.join(", ")))
    })
}

fn kind_name(kind: u8) -> String {
    let known = KINDS.iter().find(|(known, _)| *known == kind);
    known.map_or_else(|| format!("kind-{kind}"), |(_, name)| (*name).to_owned())
}

fn cat(dir: &Path, from: u64, limit: u64, only: Option<u8>, output: Output) -> Result<(), Failure> {
    let records = journal::cat(&folder(dir), Offset(from)).map_err(|error| refused(dir, &error))?;
    let mut shown = 0;
    for stored in records {
        let stored = stored.map_err(|error| Failure::new(Exit::Log, error))?;
        if only.is_some_and(|only| only != stored.kind) {
            continue;
        }
        if shown == limit {
            break;
        }
        shown += 1;
        let name = kind_name(stored.kind);
        // A record that doesn't read is shown as such, and the next one follows.
        let body = body(&stored).unwrap_or_else(|error| json!({"malformed": error.to_string()}));
        match output {
            Output::Table => out::line(format_args!(
                "{:>10}  {name:<11}  {}",
                stored.offset.0,
                line(&stored, &body)
            )),
            Output::Json => out::line(document_of(&stored, &name, body)),
            Output::Yaml => {
                out::line("---");
                print(Output::Yaml, &document_of(&stored, &name, body))?;
            }
        }
    }
    Ok(())
}

fn document_of(stored: &Stored, name: &str, body: Value) -> Value {
    json!({
        "offset": stored.offset.0,
        "kind": name,
        "version": stored.version,
        "tag": stored.tag,
        "bytes": stored.body.len(),
        "body": body,
    })
}

/// One record on one line.
fn line(stored: &Stored, body: &Value) -> String {
    let text = |name: &str| body[name].as_str().unwrap_or("?").to_owned();
    match stored.kind {
        EVENT => {
            let attributes = &body["event"]["attributes"];
            let of = |name: &str| attributes[name].as_str().unwrap_or("?").to_owned();
            format!(
                "{} {} {} {}",
                text("arrived"),
                of("type"),
                of("source"),
                of("id")
            )
        }
        MARK => format!("clean stop {}", text("at")),
        _ => body.to_string(),
    }
}

/// A record's body, decoded.
fn body(stored: &Stored) -> Result<Value, Malformed> {
    Ok(match stored.kind {
        EVENT => {
            let envelope = Envelope::read(stored)?;
            let context = envelope.context()?;
            json!({
                "arrived": rfc3339(envelope.arrival),
                "broker": envelope.broker,
                "hops": envelope.hops,
                "traceparent": context.traceparent.map(|trace| trace.to_string()),
                "event": event_view(&envelope.event.as_ref()),
            })
        }
        ROUTED => {
            let mut entries = Vec::new();
            let range = routed::read(stored, |offset, numbers| {
                entries.push(json!({"offset": offset.0, "triggers": numbers}));
            })?;
            json!({"start": range.start.0, "end": range.end.0, "events": entries})
        }
        SETTLED => {
            let mut settlements = Vec::new();
            settled::read(stored, |one| {
                settlements.push(json!({
                    "trigger": one.number & !FORWARD,
                    "forward": one.number & FORWARD != 0,
                    "offset": one.offset.0,
                    "outcome": one.outcome.to_string(),
                    "attempt": one.attempt,
                    "status": one.status,
                    "latencyMs": one.latency_ms,
                    "at": rfc3339(one.at),
                }));
            })?;
            json!(settlements)
        }
        PARKED => {
            let parked = Parked::read(stored)?;
            json!({
                "trigger": parked.number & !FORWARD,
                "forward": parked.number & FORWARD != 0,
                "offset": parked.offset.0,
                "due": rfc3339(parked.due),
                "failed": attempt(parked.attempt, &parked.failed),
            })
        }
        HELD => {
            let held = Held::read(stored)?;
            json!({
                "trigger": held.number,
                "key": payload(&held.key),
                "blockedBy": held.by.map(|by| by.0),
            })
        }
        DEAD => {
            let dead = Dead::read(stored)?;
            json!({
                "trigger": format!("{}/{}", dead.namespace, dead.name),
                "offset": dead.offset.0,
                "cause": dead.cause.word(),
                "at": rfc3339(dead.at),
                "destination": dead.destination,
                "forwarded": dead.forwarded,
                "attempts": records::attempt::numbered(&dead.attempts).map(|(number, one)| attempt(number, one)).collect::<Vec<_>>(),
            })
        }
        REDRIVEN => {
            let redriven = Redriven::read(stored)?;
            let (action, number, offset) = match redriven.action {
                Action::Again { number, offset } => ("redriven", Some(number), Some(offset.0)),
                Action::Discarded => ("discarded", None, None),
                Action::PayloadDiscarded => ("payload discarded", None, None),
                Action::LetGo => ("let go", None, None),
            };
            json!({
                "letter": redriven.letter.0,
                "action": action,
                "trigger": number,
                "offset": offset,
                "at": rfc3339(redriven.at),
            })
        }
        REJECTED => {
            let rejected = Rejected::read(stored)?;
            json!({
                "source": format!("{}/{}", rejected.namespace, rejected.name),
                "broker": rejected.broker,
                "at": rfc3339(rejected.at),
                "why": rejected.why,
                "origin": rejected.origin,
                "contentType": rejected.content_type(),
                "key": payload(&rejected.key),
                "value": payload(&rejected.value),
                "leftOut": rejected.left_out,
            })
        }
        TRIGGER_SET => {
            let part = trigger_set::read(stored)?;
            json!({
                "revision": part.revision,
                "last": part.last,
                "snapshot": part.snapshot,
                "changes": part.ops.iter().map(op).collect::<Vec<_>>(),
            })
        }
        INTENT => {
            let intent = Intent::read(stored)?;
            json!({
                "trigger": intent.number & !FORWARD,
                "forward": intent.number & FORWARD != 0,
                "offset": intent.offset.0,
                "attempt": intent.attempt,
            })
        }
        STARTED => {
            let started = Started::read(stored)?;
            let which = |(number, offset): &Which| {
                let forward = number & FORWARD != 0;
                json!({"trigger": number & !FORWARD, "forward": forward, "offset": offset.0})
            };
            json!({
                "at": rfc3339(started.at),
                "before": match started.before {
                    Before::Nothing => "nothing",
                    Before::InOrder => "in order",
                    Before::NotInOrder => "not in order",
                },
                "ends": started.ends,
                "accused": started.accused.iter().map(|(one, times)| json!({"delivery": which(one), "times": times})).collect::<Vec<_>>(),
                "suspects": started.suspects.iter().map(which).collect::<Vec<_>>(),
            })
        }
        MARK => {
            let bytes = stored.body.get(..8).and_then(|bytes| bytes.try_into().ok());
            let at = bytes.map(|bytes| rfc3339(journal::WallTime(u64::from_le_bytes(bytes))));
            json!({"at": at})
        }
        _ => json!(payload(&stored.body)),
    })
}

fn attempt(number: u32, attempt: &records::attempt::Attempt) -> Value {
    json!({
        "number": number,
        "started": rfc3339(attempt.started),
        "latencyMs": attempt.latency_ms,
        "verdict": attempt.verdict.word(),
        "status": attempt.status,
        "reason": attempt.text,
        "body": payload(&attempt.body),
    })
}

fn op(op: &Op) -> Value {
    match op {
        Op::Put {
            number,
            resource,
            detached,
            ..
        } => json!({
            "put": number,
            "detached": detached.map(rfc3339),
            "resource": serde_json::from_str::<Value>(resource).unwrap_or_else(|_| json!(resource)),
        }),
        Op::Detach { number, since } => json!({"detach": number, "since": rfc3339(*since)}),
        Op::Attach { number } => json!({"attach": number}),
        Op::Delete { number } => json!({"delete": number}),
    }
}
