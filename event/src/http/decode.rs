//! Headers and body to events.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};

use super::media::{ContentMode, content_mode, is_utf8};
use super::percent;
use crate::check;
use crate::error::{DecodeError, Place, shown};
use crate::event::{Batch, Event};
use crate::json;
use crate::name;
use crate::stored::{Body, ValueKind, Writer};
use crate::structured;

/// Prefix of the headers that are attributes.
const PREFIX: &str = "ce-";

/// So many attributes of a binary message are noted without an allocation.
const ON_STACK: usize = 24;

/// What is refused for its size. The adapter bounds what it reads; this bounds what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest event, counted as [`EventRef::wire_len`](crate::EventRef::wire_len) does. Over it:
    /// [`DecodeError::TooLarge`].
    pub event_bytes_max: usize,
    /// Most events of a batch. Over it: [`DecodeError::BatchTooMany`].
    pub batch_events_max: usize,
    /// Longest body of a batch. Over it: [`DecodeError::BatchTooLarge`].
    pub batch_bytes_max: usize,
    /// Deepest nesting of an event's JSON, the event itself being 1; at most 128. Over it:
    /// [`DecodeError::TooDeep`].
    pub json_depth_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            event_bytes_max: 1 << 20,
            batch_events_max: 1000,
            batch_bytes_max: 4 << 20,
            json_depth_max: crate::JSON_DEPTH_MAX,
        }
    }
}

/// Takes a message for the events it carries: one, or a batch's.
///
/// After `Ok` every event is valid and holds exactly the bytes that came, but for the reserved
/// attributes ([`name::RESERVED`]), which are dropped. After `Err` none of them is taken: a fault
/// in one event of a batch refuses the batch, and names the event.
pub fn decode(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Batch, DecodeError> {
    match content_mode(headers) {
        ContentMode::Binary => one(binary(headers, &body, limits)?, limits),
        ContentMode::UnsupportedFormat(found) if is_utf8(&found) => {
            Err(DecodeError::UnsupportedFormat {
                found: shown(&found),
            })
        }
        ContentMode::UnsupportedFormat(found) => Err(DecodeError::UnsupportedCharset {
            found: shown(&found),
        }),
        _ if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() => {
            Err(DecodeError::ContentTypeTwice)
        }
        ContentMode::Structured => {
            too_large(body.len(), limits)?;
            one(structured::decode(&body, limits.json_depth_max)?, limits)
        }
        ContentMode::Batched => batch(&body, limits),
    }
}

fn one(event: Event, limits: &Limits) -> Result<Batch, DecodeError> {
    // The stored form is never shorter than the event, and its length costs nothing to know.
    if event.stored().len() > limits.event_bytes_max {
        too_large(event.as_ref().wire_len(), limits)?;
    }
    Ok(Batch {
        events: vec![event],
    })
}

fn too_large(got: usize, limits: &Limits) -> Result<(), DecodeError> {
    let limit = limits.event_bytes_max;
    if got > limit {
        Err(DecodeError::TooLarge { got, limit })
    } else {
        Ok(())
    }
}

fn binary(headers: &HeaderMap, body: &[u8], limits: &Limits) -> Result<Event, DecodeError> {
    too_large(body.len(), limits)?;
    // Headers are walked once: the few that an event has are noted on the stack.
    let mut first = [None; ON_STACK];
    let mut further = Vec::new();
    let (mut count, mut text_bytes) = (0, 0_usize);
    let mut hops_left = None;
    for (header, value) in headers {
        let Some((code, name)) = attribute_of(header) else {
            if header.as_str().strip_prefix(PREFIX) == Some(name::BROKER_TTL) {
                hops_left = value.to_str().ok();
            }
            continue;
        };
        text_bytes += value.len();
        if code == name::OTHER {
            check::name(name, Place::Header)?;
            text_bytes += name.len();
        } else if code == name::DATACONTENTTYPE && header != CONTENT_TYPE {
            return Err(DecodeError::ContentTypeAsAttribute);
        }
        match first.get_mut(count) {
            Some(slot) => *slot = Some((code, name, value)),
            None => further.push(Some((code, name, value))),
        }
        count += 1;
    }
    check::size(body.len().saturating_add(text_bytes))?;
    let mut writer = Writer::new(count, text_bytes, body.len());
    for (code, name, value) in first.iter().chain(&further).flatten() {
        let out = writer.begin(*code, name);
        match *code {
            // The content type is the attribute as it stands, no percent coding.
            name::DATACONTENTTYPE => out.extend_from_slice(value.as_bytes()),
            _ => percent::decode_into(value.as_bytes(), out),
        }
        writer.end(ValueKind::String);
    }
    let mut event = check::admit(writer.finish(Body::Binary(body)), Place::Header)?;
    if let Some(hops_left) = hops_left {
        event.note_hops_left(hops_left);
    }
    Ok(event)
}

/// The attribute that a header is, with its code; `None` for other headers and for reserved
/// attributes.
fn attribute_of(header: &HeaderName) -> Option<(u8, &str)> {
    if header == CONTENT_TYPE {
        return Some((name::DATACONTENTTYPE, "datacontenttype"));
    }
    let name = header.as_str().strip_prefix(PREFIX)?;
    let code = name::code(name);
    (code != name::OTHER || !name::is_reserved(name)).then_some((code, name))
}

fn batch(body: &Bytes, limits: &Limits) -> Result<Batch, DecodeError> {
    let (got, limit) = (body.len(), limits.batch_bytes_max);
    if got > limit {
        return Err(DecodeError::BatchTooLarge { got, limit });
    }
    std::str::from_utf8(body).map_err(|error| DecodeError::JsonNotUtf8 {
        at: error.valid_up_to(),
    })?;
    let mut ranges = Vec::new();
    json::elements(body, limits.json_depth_max, |range| {
        if ranges.len() == limits.batch_events_max {
            return Err(DecodeError::BatchTooMany {
                limit: limits.batch_events_max,
            });
        }
        ranges.push(range);
        Ok(())
    })?;
    let decode = |(index, range): (usize, std::ops::Range<usize>)| {
        too_large(range.len(), limits)
            .and_then(|()| structured::decode(&body[range], limits.json_depth_max))
            .map_err(|error| DecodeError::InBatch {
                index,
                error: Box::new(error),
            })
    };
    Ok(Batch {
        events: ranges
            .into_iter()
            .enumerate()
            .map(decode)
            .collect::<Result<_, _>>()?,
    })
}
