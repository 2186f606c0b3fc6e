//! "Bodies": what the records of the log say.

use super::cursor::{Cursor, Wrong};
use super::stored::{Stored, stored};

/// A number, with the lane that forwards dead letters as `5#dead`.
pub(super) fn number(number: u64) -> Result<String, Wrong> {
    let number = u32::try_from(number).map_err(|_| "a number beyond 32 bits")?;
    Ok(match number >> 31 {
        0 => format!("{number}"),
        _ => format!("{}#dead", number & (u32::MAX >> 1)),
    })
}

/// "Outcome".
pub(super) fn outcome(code: u8) -> Result<&'static str, Wrong> {
    Ok(match code {
        0 => "delivered",
        1 => "exhausted",
        2 => "refused",
        3 => "expired",
        4 => "loop",
        5 => "reply",
        6 => "poison",
        7 => "blocked",
        8 => "transform",
        9 => "quota",
        32 => "deleted",
        33 => "dropped",
        code => return Err(format!("outcome {code}")),
    })
}

/// The event of an Event record's body.
///
/// # Errors
///
/// What isn't as the document says.
pub fn event(body: &[u8]) -> Result<Stored, String> {
    let mut cursor = Cursor::new(body);
    cursor.u64()?;
    let context = cursor.u32()? as usize;
    cursor.u8()?;
    cursor.take(context)?;
    stored(cursor.rest())
}

/// What a record of the log says, in a line: its kind's name, and its fields.
///
/// # Errors
///
/// What isn't as the document says.
pub fn record(kind: u8, tag: u32, body: &[u8]) -> Result<String, String> {
    if tag != 0 && kind != 1 && kind != 9 {
        return Err(format!("tag {tag}"));
    }
    let mut cursor = Cursor::new(body);
    let said = match kind {
        1 => an_event(tag, &mut cursor)?,
        2 => routed(&mut cursor)?,
        3 => settled(&mut cursor)?,
        4 => {
            let (to, offset) = (number(cursor.varint()?)?, cursor.varint()?);
            let (attempt, due) = (cursor.varint()?, cursor.varint()?);
            let attempts = attempts(&mut cursor, 1)?;
            format!("parked {to} {offset} attempt {attempt} due {due}{attempts}")
        }
        5 => {
            let (to, key) = (number(cursor.varint()?)?, cursor.bytes()?);
            let key = String::from_utf8_lossy(key).into_owned();
            match cursor.varint()? {
                0 => format!("held {to} {key:?} let go"),
                1 => format!("held {to} {key:?} by {}", cursor.varint()?),
                count => return Err(format!("count {count}")),
            }
        }
        6 => dead(&mut cursor)?,
        7 => redriven(&mut cursor)?,
        8 => trigger_set(&mut cursor)?,
        9 => rejected(tag, &mut cursor)?,
        10 => {
            let (to, offset) = (number(cursor.varint()?)?, cursor.varint()?);
            format!("intent {to} {offset} attempt {}", cursor.varint()?)
        }
        11 => format!("mark {}", cursor.u64()?),
        12 => replayed(&mut cursor)?,
        13 => paused(&mut cursor)?,
        14 => started(&mut cursor)?,
        kind => return Err(format!("kind {kind}")),
    };
    cursor.end()?;
    Ok(said)
}

fn an_event(tag: u32, cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (arrival, length, hops) = (cursor.u64()?, cursor.u32()?, cursor.u8()?);
    let mut context = Cursor::new(cursor.take(length as usize)?);
    let mut said = format!("event of broker {tag} arrived {arrival} hops {hops}");
    while !context.is_empty() {
        let tag = context.u8()?;
        let mut value = Cursor::new(context.bytes()?);
        match tag {
            1 => {
                let (trace, span, flags) = (value.take(16)?, value.take(8)?, value.u8()?);
                said += &format!(" trace {} {} {flags}", hex(trace), hex(span));
            }
            2 | 3 => said += &format!(" {:?}", String::from_utf8_lossy(value.rest())),
            4 => {
                let name = value.text()?;
                said += &format!(" {name}={:?}", String::from_utf8_lossy(value.rest()));
            }
            tag => return Err(format!("context tag {tag}")),
        }
        value.end()?;
    }
    let event = stored(cursor.rest())?;
    said += &format!(" {}", event.mode);
    for (name, value) in &event.attributes {
        said += &format!(" {name}={value:?}");
    }
    if event.nulls {
        said += " with nulls";
    }
    Ok(said + &format!(" {} {}", event.data_is, shown(&event.data)))
}

/// Text as it is where it is short, else how long it is.
fn shown(data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) if text.len() <= 64 => format!("{text:?}"),
        _ => format!("of {} bytes", data.len()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn routed(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (start, length) = (cursor.varint()?, cursor.varint()?);
    let mut said = format!("routed {start} to {}", start + length);
    let mut offset = start;
    while !cursor.is_empty() {
        offset += cursor.varint()?;
        let (count, mut to) = (cursor.varint()?, 0);
        let mut numbers = Vec::new();
        for _ in 0..count {
            to += cursor.varint()?;
            numbers.push(number(to)?);
        }
        said += &format!(", {offset} to {}", numbers.join(" "));
    }
    Ok(said)
}

fn settled(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let time = cursor.u64()?;
    let mut said = "settled".to_owned();
    let mut offset = 0i64;
    while !cursor.is_empty() {
        let to = number(cursor.varint()?)?;
        offset += cursor.signed()?;
        let outcome = outcome(cursor.u8()?)?;
        let (attempt, status, latency) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
        let at = time.cast_signed() + cursor.signed()?;
        said += &format!(
            ", {to} {offset} {outcome} attempt {attempt} status {status} in {latency} at {at}"
        );
    }
    Ok(said)
}

/// So many attempts, one behind the other.
pub(super) fn attempts(cursor: &mut Cursor<'_>, count: u64) -> Result<String, Wrong> {
    let mut said = String::new();
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for _ in 0..count {
        let (started, latency, verdict) = (cursor.varint()?, cursor.varint()?, cursor.u8()?);
        let left_out = match verdict & 128 {
            0 => 0,
            _ => cursor.varint()?,
        };
        let verdicts = [
            "answered",
            "garbled",
            "not an event",
            "timed out",
            "unreachable",
            "took",
        ];
        let verdict = verdicts
            .get(usize::from(verdict & 127))
            .ok_or("a verdict")?;
        let (status, text) = (cursor.varint()?, cursor.text()?);
        let body = match cursor.varint()? {
            0 => Vec::new(),
            1 => cursor.bytes()?.to_vec(),
            same => {
                let index = usize::try_from(same - 2).map_err(|_| "a body's index")?;
                bodies.get(index).ok_or("a body's index")?.clone()
            }
        };
        said += &format!(
            " ({started}+{latency} {verdict} {status} {text:?} {}",
            shown(&body)
        );
        if left_out != 0 {
            said += &format!(", {left_out} before it left out");
        }
        said += ")";
        bodies.push(body);
    }
    Ok(said)
}

fn dead(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (to, uid, offset) = (
        number(cursor.varint()?)?,
        cursor.take(16)?,
        cursor.varint()?,
    );
    let (code, flags, died) = (cursor.u8()?, cursor.u8()?, cursor.varint()?);
    if !(1..=9).contains(&code) || flags & !3 != 0 {
        return Err(format!("outcome {code}, flags {flags}"));
    }
    let (namespace, name) = (cursor.text()?, cursor.text()?);
    let (broker, destination) = (cursor.text()?, cursor.text()?);
    let count = cursor.varint()?;
    let attempts = attempts(cursor, count)?;
    let mut said = format!(
        "dead {to} {} {offset} {} at {died} {namespace}/{name} of {broker} to {destination}{attempts}",
        number_of(uid)?,
        outcome(code)?
    );
    if flags & 1 != 0 {
        said += " forwarded";
    }
    if flags & 2 != 0 {
        said += &format!(" reply {}", stored(cursor.bytes()?)?.id);
    }
    Ok(said)
}

/// The number in a UID, which is the log's id, the number, and 4 zero bytes.
fn number_of(uid: &[u8]) -> Result<String, Wrong> {
    let mut uid = Cursor::new(uid);
    uid.u64()?;
    let number = uid.u32()?;
    match uid.u32()? {
        0 => Ok(format!("uid-{number}")),
        _ => Err("a UID's last four bytes".into()),
    }
}

fn redriven(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (action, letter, when) = (cursor.u8()?, cursor.varint()?, cursor.varint()?);
    Ok(match action {
        0 => {
            let (to, offset) = (number(cursor.varint()?)?, cursor.varint()?);
            format!("redriven {letter} at {when}: {to} {offset}")
        }
        1 => format!("discarded {letter} at {when}"),
        2 => format!("payload of {letter} gave way at {when}"),
        3 => format!("letter {letter} gave way at {when}"),
        action => return Err(format!("action {action}")),
    })
}

fn trigger_set(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (revision, flags, next) = (cursor.varint()?, cursor.u8()?, cursor.varint()?);
    if flags & !7 != 0 {
        return Err(format!("flags {flags}"));
    }
    let mut said = format!("trigger-set revision {revision} flags {flags} next {next}");
    while !cursor.is_empty() {
        let (step, to) = (cursor.u8()?, number(cursor.varint()?)?);
        said += &match step {
            1 => {
                let (uid, kind) = (number_of(cursor.take(16)?)?, cursor.u8()?);
                let (detached, resource) = (cursor.varint()?, cursor.text()?);
                if ![1, 2, 3, 4, 16].contains(&kind) || resource.contains('\n') {
                    return Err(format!("kind {kind}, {resource}"));
                }
                let resource: serde_json::Value =
                    serde_json::from_str(resource).map_err(|error| error.to_string())?;
                let name = &resource["metadata"]["name"];
                format!(", put {to} {uid} kind {kind} detached {detached} {name}")
            }
            2 => format!(", detach {to} since {}", cursor.varint()?),
            3 => format!(", attach {to}"),
            4 => format!(", delete {to}"),
            step => return Err(format!("step {step}")),
        };
    }
    Ok(said)
}

fn rejected(tag: u32, cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (namespace, name, broker) = (cursor.text()?, cursor.text()?, cursor.text()?);
    let (when, why, origin) = (cursor.varint()?, cursor.text()?, cursor.text()?);
    let mut said =
        format!("rejected by {namespace}/{name} for {tag} {broker} at {when}: {why:?} {origin}");
    for _ in 0..cursor.varint()? {
        let (name, value) = (cursor.text()?, cursor.bytes()?);
        said += &format!(" {name}={}", shown(value));
    }
    let (key, left_out, value) = (cursor.bytes()?, cursor.varint()?, cursor.bytes()?);
    Ok(said
        + &format!(
            " key {} value {} of {left_out} more",
            shown(key),
            shown(value)
        ))
}

fn replayed(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (id, to, when) = (
        cursor.varint()?,
        number(cursor.varint()?)?,
        cursor.varint()?,
    );
    let (flags, to_look_at) = (cursor.u8()?, cursor.varint()?);
    let mut said = format!("replayed {id} {to} at {when} flags {flags} cursor {to_look_at}");
    if flags & 2 != 0 {
        let (kind, from, until) = (cursor.u8()?, cursor.varint()?, cursor.varint()?);
        let (broker, rate, filters) = (cursor.varint()?, cursor.varint()?, cursor.text()?);
        if kind > 1 {
            return Err(format!("kind {kind}"));
        }
        said += &format!(
            " kind {kind} from {from} to {until} of {broker} rate {rate} filters {filters:?}"
        );
    }
    if flags & !3 != 0 {
        return Err(format!("flags {flags}"));
    }
    let mut offset = 0;
    while !cursor.is_empty() {
        offset += cursor.varint()?;
        said += &format!(" {offset}");
    }
    Ok(said)
}

fn paused(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let what = match cursor.u8()? {
        1 => number(cursor.varint()?)?,
        2 => cursor.text()?.to_owned(),
        what => return Err(format!("what {what}")),
    };
    let (flags, since, count) = (cursor.u8()?, cursor.varint()?, cursor.varint()?);
    let mut said = format!("paused {what} flags {flags} since {since}");
    let mut end = 0;
    for _ in 0..count {
        let from = end + cursor.varint()?;
        end = from + cursor.varint()?;
        said += &format!(", {from} to {end}");
    }
    Ok(said)
}

fn started(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (when, before, ends) = (cursor.varint()?, cursor.u8()?, cursor.varint()?);
    if before > 2 {
        return Err(format!("before {before}"));
    }
    let (unrouted, length) = (cursor.varint()?, cursor.varint()?);
    let mut said = format!(
        "started {when} before {before} ends {ends} unrouted {unrouted} to {}",
        unrouted + length
    );
    for _ in 0..cursor.varint()? {
        let (to, offset, times) = (
            number(cursor.varint()?)?,
            cursor.varint()?,
            cursor.varint()?,
        );
        said += &format!(", accused {to} {offset} {times} times");
    }
    let (mut to, mut offset) = (0u32, 0i64);
    while !cursor.is_empty() {
        let more = u32::try_from(cursor.varint()?).map_err(|_| "a number")?;
        to = to.wrapping_add(more);
        offset += cursor.signed()?;
        said += &format!(", suspect {} {offset}", number(u64::from(to))?);
    }
    Ok(said)
}
