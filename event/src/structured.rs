//! Reads an event from its JSON document (CloudEvents JSON format 1.0.2, and that of 0.3).
//!
//! The document itself is what is kept, byte for byte. Beside it go the attributes as text, so
//! that nothing needs to read JSON again.

use std::borrow::Cow;

use crate::check;
use crate::error::{DecodeError, Place, shown};
use crate::event::Event;
use crate::json::{self, Member, Shape};
use crate::name;
use crate::splice;
use crate::stored::{Body, Held, ValueKind, Writer};
use crate::value::is_base64;

const PLACE: Place = Place::Member;

/// Reads the event that `document` is. It may be longer than one event's limit: who calls checks.
pub(crate) fn decode(document: &[u8], depth_max: usize) -> Result<Event, DecodeError> {
    check::size(document.len())?;
    std::str::from_utf8(document).map_err(|error| DecodeError::JsonNotUtf8 {
        at: error.valid_up_to(),
    })?;
    let members = json::members(document, depth_max)?;
    let read = read(document, &members)?;
    if read.reserved {
        let stripped = splice::edit(document, &[], &name::RESERVED)?;
        let mut event = decode(&stripped, depth_max)?;
        if let Some(hops_left) = &read.hops_left {
            event.note_hops_left(hops_left);
        }
        return Ok(event);
    }
    write(document, read)
}

/// One attribute: its name, its value as text and its type.
type Attribute<'a> = (Cow<'a, str>, Cow<'a, str>, ValueKind);

/// What the members of a document say.
struct Read<'a> {
    attributes: Vec<Attribute<'a>>,
    data: Option<&'a Member>,
    data_base64: Option<&'a Member>,
    nulls: bool,
    reserved: bool,
    hops_left: Option<Cow<'a, str>>,
}

fn read<'a>(document: &'a [u8], members: &'a [Member]) -> Result<Read<'a>, DecodeError> {
    let mut read = Read {
        attributes: Vec::with_capacity(members.len()),
        data: None,
        data_base64: None,
        nulls: false,
        reserved: false,
        hops_left: None,
    };
    let mut null_names: Vec<Cow<'a, str>> = Vec::new();
    for member in members {
        let name = member
            .name_text(document)
            .map_err(|_| lone_surrogate("a name"))?;
        let seen = match &*name {
            "data" => read.data.replace(member),
            "data_base64" => read.data_base64.replace(member),
            reserved if name::is_reserved(reserved) => {
                read.reserved = true;
                if reserved == name::BROKER_TTL {
                    // Whatever isn't a number counts as absent.
                    read.hops_left = value(document, member, &name)
                        .unwrap_or_default()
                        .map(|(text, _)| text);
                }
                None
            }
            _ => {
                check::name(&name, PLACE)?;
                match value(document, member, &name)? {
                    Some((text, kind)) => read.attributes.push((name, text, kind)),
                    None => null_names.push(name),
                }
                continue;
            }
        };
        if seen.is_some() {
            return Err(DecodeError::Twice {
                attribute: name.into_owned(),
                place: PLACE,
            });
        }
    }
    read.nulls = !null_names.is_empty();
    if read.nulls {
        // Null means absent, yet a name given twice is two answers to one question.
        let given = read.attributes.iter().map(|(name, ..)| name);
        let mut names: Vec<&Cow<'a, str>> = given.chain(&null_names).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::Twice {
                attribute: shown(pair[0]),
                place: PLACE,
            });
        }
    }
    Ok(read)
}

/// The value of an attribute; `None` for null, which means that it is absent.
fn value<'a>(
    document: &'a [u8],
    member: &Member,
    name: &str,
) -> Result<Option<(Cow<'a, str>, ValueKind)>, DecodeError> {
    let wrong = |found: &str, instead| {
        Err(DecodeError::WrongType {
            attribute: shown(name),
            found: shown(found),
            instead,
            place: PLACE,
        })
    };
    const SCALAR: &str = "an attribute is a string, a boolean or an integer";
    match member.shape {
        Shape::Null => Ok(None),
        Shape::Boolean(true) => Ok(Some((Cow::Borrowed("true"), ValueKind::Boolean))),
        Shape::Boolean(false) => Ok(Some((Cow::Borrowed("false"), ValueKind::Boolean))),
        Shape::Text { escaped } => {
            let text = json::text_of(document, &member.value, escaped);
            Ok(Some((
                text.map_err(|_| lone_surrogate(name))?,
                ValueKind::String,
            )))
        }
        Shape::Number => {
            let text = std::str::from_utf8(&document[member.value.clone()]).unwrap_or_default();
            match text.parse::<i32>() {
                Ok(0) => Ok(Some((Cow::Borrowed("0"), ValueKind::Integer))),
                Ok(_) => Ok(Some((Cow::Borrowed(text), ValueKind::Integer))),
                Err(_) => wrong(
                    text,
                    "an integer attribute is within -2147483648 to 2147483647, write other numbers as a string",
                ),
            }
        }
        Shape::Object => wrong("a JSON object", SCALAR),
        Shape::Array => wrong("a JSON array", SCALAR),
    }
}

fn write(document: &[u8], read: Read<'_>) -> Result<Event, DecodeError> {
    let data = held(document, &read)?;
    let side = if let Held::Base64Text(text) = &data {
        text.len()
    } else {
        0
    };
    let lengths = read
        .attributes
        .iter()
        .map(|(name, text, _)| name.len() + text.len());
    let text_bytes = lengths.sum::<usize>() + side;
    let mut writer = Writer::new(read.attributes.len(), text_bytes, document.len());
    for (name, text, kind) in &read.attributes {
        writer
            .begin(name::code(name), name)
            .extend_from_slice(text.as_bytes());
        writer.end(*kind);
    }
    check::admit(
        writer.finish(Body::Structured {
            document,
            data,
            nulls: read.nulls,
        }),
        PLACE,
    )
}

/// Finds the data: `data_base64` in 1.0, `data` under `datacontentencoding: base64` in 0.3.
fn held(document: &[u8], read: &Read<'_>) -> Result<Held, DecodeError> {
    let is = |name: &str, wanted: &str| {
        let mut attributes = read.attributes.iter();
        attributes.any(|(found, text, _)| found == name && text.eq_ignore_ascii_case(wanted))
    };
    let old = is("specversion", "0.3");
    match (
        read.data,
        read.data_base64
            .filter(|member| member.shape != Shape::Null),
    ) {
        (Some(_), Some(_)) => Err(DecodeError::DataTwice),
        (None, Some(_)) if old => Err(DecodeError::DataBase64InOld),
        (None, Some(member)) => base64(document, member, "data_base64"),
        (Some(member), None)
            if old
                && matches!(member.shape, Shape::Text { .. })
                && is("datacontentencoding", "base64") =>
        {
            base64(document, member, "data")
        }
        (Some(member), None) => Ok(Held::Json(member.value.clone())),
        (None, None) => Ok(Held::None),
    }
}

fn base64(document: &[u8], member: &Member, named: &'static str) -> Result<Held, DecodeError> {
    let bad = DecodeError::BadBase64 { member: named };
    let Shape::Text { escaped } = member.shape else {
        return Err(bad);
    };
    let text = json::text_of(document, &member.value, escaped).map_err(|_| bad.clone())?;
    if !is_base64(text.as_bytes()) {
        return Err(bad);
    }
    Ok(match text {
        Cow::Borrowed(_) => Held::Base64(member.value.start + 1..member.value.end - 1),
        // Some writers escape every slash.
        Cow::Owned(text) => Held::Base64Text(text),
    })
}

fn lone_surrogate(attribute: &str) -> DecodeError {
    DecodeError::LoneSurrogate {
        attribute: shown(attribute),
        place: PLACE,
    }
}
