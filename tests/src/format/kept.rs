//! "Kept".

use super::bodies::{self, attempts, number, outcome};
use super::cursor::{Cursor, Wrong};

/// What a record of kept is about: a Copy's, an Owed's or a Letter's offset in the log.
///
/// # Errors
///
/// What isn't as the document says.
pub fn about(kind: u8, body: &[u8]) -> Result<Option<u64>, String> {
    match kind {
        1..=3 => Ok(Some(Cursor::new(body).varint()?)),
        _ => Ok(None),
    }
}

/// The kind and the body of the record that a Copy is of.
///
/// # Errors
///
/// What isn't as the document says.
pub fn copied(body: &[u8]) -> Result<(u8, &[u8]), String> {
    let mut cursor = Cursor::new(body);
    cursor.varint()?;
    let (kind, _version) = (cursor.u8()?, cursor.u8()?);
    Ok((kind, cursor.rest()))
}

/// What a record of kept says, in a line.
///
/// # Errors
///
/// What isn't as the document says.
pub fn record(kind: u8, tag: u32, body: &[u8]) -> Result<String, String> {
    let mut cursor = Cursor::new(body);
    let said = match kind {
        1 => {
            let (offset, kind, version) = (cursor.varint()?, cursor.u8()?, cursor.u8()?);
            if version != 1 {
                return Err(format!("version {version}"));
            }
            format!(
                "copy of {offset}: {}",
                bodies::record(kind, tag, cursor.rest())?
            )
        }
        2 => owed(&mut cursor)?,
        3 => {
            let (id, there) = (cursor.varint()?, cursor.u8()?);
            match there {
                0 => format!("letter {id}: none any more"),
                1 => format!("letter {id}: {}", row(&mut cursor)?),
                there => return Err(format!("there {there}")),
            }
        }
        4 => {
            let (part, count) = (cursor.varint()?, cursor.varint()?);
            let mut said = format!("standing, part {part}:");
            for _ in 0..count {
                let (kind, version) = (cursor.u8()?, cursor.u8()?);
                if version != 1 {
                    return Err(format!("version {version}"));
                }
                let body = cursor.bytes()?;
                said += &format!(" [{}]", bodies::record(kind, 0, body)?);
            }
            said
        }
        11 => return bodies::record(kind, tag, body),
        kind => return Err(format!("kind {kind}")),
    };
    cursor.end()?;
    Ok(said)
}

fn owed(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (offset, count) = (cursor.varint()?, cursor.varint()?);
    let mut said = format!("owed of {offset}:");
    for _ in 0..count {
        let (to, flags) = (number(cursor.varint()?)?, cursor.u8()?);
        said += &format!(" {to}");
        if flags & 2 != 0 {
            said += &format!(" again since {}", cursor.varint()?);
        }
        if flags & 1 != 0 {
            let (due, count) = (cursor.varint()?, cursor.varint()?);
            said += &format!(" parked until {due}{}", attempts(cursor, count)?);
        }
        if flags & !3 != 0 {
            return Err(format!("flags {flags}"));
        }
        said += ";";
    }
    Ok(said)
}

/// A letter's row.
fn row(cursor: &mut Cursor<'_>) -> Result<String, Wrong> {
    let (flags, state) = (cursor.u8()?, cursor.u8()?);
    if flags & !15 != 0 || state > 2 {
        return Err(format!("flags {flags}, state {state}"));
    }
    let (bytes, since, reason) = (cursor.varint()?, cursor.varint()?, cursor.u8()?);
    let reason = match reason {
        255 => "rejected",
        code => outcome(code)?,
    };
    let (event, number) = (cursor.varint()?, cursor.varint()?);
    let (time, status) = (cursor.varint()?, cursor.varint()?);
    let (namespace, name) = (cursor.text()?, cursor.text()?);
    Ok(format!(
        "flags {flags} state {state} since {since} {reason} event {event} number {number} at {time} status {status} of {namespace}/{name}, {bytes} bytes"
    ))
}
