//! What makes a set of attributes a CloudEvent, whatever form they came in.
//!
//! Every event passes through [`admit`]: the binary, the structured and the composed. Rules are
//! those of CloudEvents 1.0.2 and 0.3; where the specification is stricter than what senders do
//! without harm (an empty `subject`, line breaks in an extension), the event passes.

use bytes::Bytes;

use crate::error::{DecodeError, Place, StoredError, shown};
use crate::event::{Event, SpecVersion};
use crate::name;
use crate::stored::{self, Entry, Parts, STORED_BYTES_MAX, ValueKind};
use crate::time;

/// Beyond so many extensions duplicates are looked for by sorting, not by comparing all pairs.
const PAIRS_MAX: usize = 32;

/// Refuses a name that no attribute may have.
pub(crate) fn name(name: &str, place: Place) -> Result<(), DecodeError> {
    if name::is_valid(name) {
        return Ok(());
    }
    Err(DecodeError::BadName {
        name: shown(name),
        place,
    })
}

/// Refuses an event whose stored form would be too long, before anything is written.
pub(crate) fn size(bytes: usize) -> Result<(), DecodeError> {
    if bytes > STORED_BYTES_MAX {
        return Err(DecodeError::TooLarge {
            got: bytes,
            limit: STORED_BYTES_MAX,
        });
    }
    Ok(())
}

/// Checks an event that a [`stored::Writer`] wrote, and completes its header.
pub(crate) fn admit(mut bytes: Vec<u8>, place: Place) -> Result<Event, DecodeError> {
    size(bytes.len())?;
    let Found {
        version,
        id,
        source,
        ty,
    } = judge(&bytes, place)?;
    if version == SpecVersion::V03 {
        stored::set_flag(&mut bytes, stored::OLD);
    }
    stored::put(&mut bytes, stored::ID_AT, id);
    stored::put(&mut bytes, stored::SOURCE_AT, source);
    stored::put(&mut bytes, stored::TYPE_AT, ty);
    Ok(Event::trusted(Bytes::from(bytes)))
}

/// What the header of a checked event still lacks.
struct Found {
    version: SpecVersion,
    id: usize,
    source: usize,
    ty: usize,
}

fn judge(bytes: &[u8], place: Place) -> Result<Found, DecodeError> {
    let parts = match Parts::split(bytes) {
        Ok(parts) if each_is_text(&parts) => parts,
        _ => return Err(not_utf8(bytes, place)),
    };
    let at = once(&parts, place)?;
    let index = |code: u8, attribute| match at[usize::from(code)] {
        Some(index) => Ok(index),
        None => Err(DecodeError::Missing { attribute, place }),
    };
    let text = |index| {
        parts
            .entry(index)
            .map_or("", |entry| entry.text(parts.text))
    };
    let specversion = index(name::SPECVERSION, "specversion")?;
    let version = match text(specversion) {
        "1.0" => SpecVersion::V10,
        "0.3" => SpecVersion::V03,
        "" => {
            return Err(DecodeError::Empty {
                attribute: "specversion",
                place,
            });
        }
        found => {
            return Err(DecodeError::UnknownSpecVersion {
                found: shown(found),
                place,
            });
        }
    };
    let mut required = [0; 3];
    let wanted = [
        (name::ID, "id"),
        (name::SOURCE, "source"),
        (name::TYPE, "type"),
    ];
    for (slot, (code, attribute)) in required.iter_mut().zip(wanted) {
        *slot = index(code, attribute)?;
        if text(*slot).is_empty() {
            return Err(DecodeError::Empty { attribute, place });
        }
    }
    // Without an early exit the loop is vectorised.
    let controls = parts
        .text
        .bytes()
        .fold(false, |found, byte| found | is_control(byte));
    for index in 0..parts.count() {
        if let Some(entry) = parts.entry(index) {
            attribute(&entry, version, parts.text, controls, place)?;
        }
    }
    let [id, source, ty] = required;
    Ok(Found {
        version,
        id,
        source,
        ty,
    })
}

/// Where each attribute with a code stands, after making sure that none is given twice.
fn once(
    parts: &Parts<'_>,
    place: Place,
) -> Result<[Option<usize>; name::KNOWN.len()], DecodeError> {
    let twice = |attribute: &str| DecodeError::Twice {
        attribute: shown(attribute),
        place,
    };
    let mut at = [None; name::KNOWN.len()];
    let mut others = 0;
    for index in 0..parts.count() {
        let Some(entry) = parts.entry(index) else {
            break;
        };
        if entry.code == name::OTHER {
            let named = entry.name(parts.text);
            others += 1;
            if others > PAIRS_MAX {
                continue;
            }
            let mut earlier = (0..index).filter_map(|index| parts.entry(index));
            if earlier.any(|other| other.code == name::OTHER && other.name(parts.text) == named) {
                return Err(twice(named));
            }
        } else if at[usize::from(entry.code)].replace(index).is_some() {
            return Err(twice(entry.name(parts.text)));
        }
    }
    if others > PAIRS_MAX {
        let entries = (0..parts.count()).filter_map(|index| parts.entry(index));
        let mut names: Vec<&str> = entries.map(|entry| entry.name(parts.text)).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(twice(pair[0]));
        }
    }
    Ok(at)
}

/// The rules of one attribute by itself.
fn attribute(
    entry: &Entry,
    version: SpecVersion,
    text: &str,
    controls: bool,
    place: Place,
) -> Result<(), DecodeError> {
    let of_the_spec = match entry.code {
        name::OTHER => false,
        name::DATASCHEMA => version == SpecVersion::V10,
        name::SCHEMAURL | name::DATACONTENTENCODING => version == SpecVersion::V03,
        _ => true,
    };
    let value = entry.text(text);
    if controls {
        // The conformance kit's own samples carry a line break in an extension.
        let kept = |byte: u8| !of_the_spec && matches!(byte, b'\t' | b'\n' | b'\r');
        if let Some(byte) = value.bytes().find(|byte| is_control(*byte) && !kept(*byte)) {
            let attribute = shown(entry.name(text));
            return Err(DecodeError::ControlCharacter {
                attribute,
                character: byte.into(),
                place,
            });
        }
    }
    if !of_the_spec {
        return Ok(());
    }
    if entry.kind != ValueKind::String {
        return Err(DecodeError::WrongType {
            attribute: entry.name(text).to_owned(),
            found: shown(value),
            instead: "write it as a string, in double quotes",
            place,
        });
    }
    match entry.code {
        name::TIME if !time::is_rfc3339(value) => Err(DecodeError::BadTime {
            found: shown(value),
            place,
        }),
        code @ (name::SOURCE | name::DATASCHEMA | name::SCHEMAURL)
            if value.is_empty() || value.contains(' ') =>
        {
            let attribute = name::KNOWN[usize::from(code)];
            Err(DecodeError::BadUri {
                attribute,
                found: shown(value),
                place,
            })
        }
        _ => Ok(()),
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7F
}

/// Whether each value is UTF-8 by itself. Two that aren't may be so together, where one ends within a
/// character and the next begins with the rest of it.
fn each_is_text(parts: &Parts<'_>) -> bool {
    let mut entries = (0..parts.count()).filter_map(|index| parts.entry(index));
    parts.text.is_ascii() || entries.all(|entry| entry.is_text(parts.text))
}

/// Finds the attribute whose value isn't UTF-8.
fn not_utf8(bytes: &[u8], place: Place) -> DecodeError {
    let named = |bytes| -> Result<Option<String>, StoredError> {
        let ((_, table, body), text, data) = Parts::split_raw(bytes)?;
        let parts = Parts {
            header: &[],
            table,
            text: "",
            body,
            data,
        };
        let entries = (0..parts.count()).filter_map(|index| parts.entry(index));
        let mut bad = entries.filter(|entry| std::str::from_utf8(entry.raw(text)).is_err());
        Ok(bad
            .next()
            .map(|entry| String::from_utf8_lossy(entry.raw_name(text)).into_owned()))
    };
    let attribute = named(bytes).ok().flatten().unwrap_or_default();
    DecodeError::AttributeNotUtf8 { attribute, place }
}
