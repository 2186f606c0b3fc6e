//! Events to headers and body.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{BATCH_JSON, HEADERS, JSON, media, percent};
use crate::JSON_DEPTH_MAX;
use crate::event::{EventRef, Mode, SpecVersion};
use crate::json;
use crate::name;
use crate::splice;
use crate::value::{Data, Value, push_base64};

/// Longest `ce-` value of a binary message. An event with a longer one leaves structured:
/// functions-framework and the Node runtimes answer 431 above (CONTRACT §2).
pub const VALUE_BYTES_MAX: usize = 7 << 10;

/// Most headers that an event may become. With more it leaves structured.
pub const HEADERS_MAX: usize = 80;

/// Most bytes of headers that an event may become, each counted with `: ` and its line's end.
/// With more it leaves structured.
pub const HEADER_BYTES_MAX: usize = 12 << 10;

/// How an event shall leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Out {
    /// In the mode in which it came.
    #[default]
    AsItCame,
    /// Structured, in the JSON format.
    Json,
    /// Binary, where that is possible.
    Binary,
}

/// An event as a message. The content type is among the headers, the content length isn't.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Writes an event as a message, with the attributes `add` and without those in `remove`.
///
/// An attribute in `add` replaces one of its name; it is a string. Names in both are added.
/// Required attributes are never removed, and names must be attribute names: others in `add` are
/// left out. What `add` and `remove` don't name leaves exactly as it came. An event that is not
/// fit for binary mode (see the constants; or its data is a JSON string that is no text, or of a
/// media type by which a message says that it is structured) leaves structured whatever was asked.
///
/// Body and values are shared with the event, not copied, if the view is of an
/// [`Event`](crate::Event) and nothing forces a change.
pub fn encode(event: &EventRef<'_>, out: Out, add: &[(&str, &str)], remove: &[&str]) -> Encoded {
    debug_assert!(
        add.iter().all(|(name, _)| name::is_valid(name)),
        "add holds attribute names"
    );
    let binary = match out {
        Out::AsItCame => event.mode() == Mode::Binary,
        Out::Json => false,
        Out::Binary => true,
    };
    let change = Change { add, remove };
    if binary && let Some(encoded) = to_binary(event, &change) {
        return encoded;
    }
    let body = match event.document() {
        Some(document) => edited(event, document, &change),
        None => Bytes::from(to_json(event, &change)),
    };
    with_type(JSON, body)
}

/// Writes events as one batch, for senders. A receiver must have asked for it.
pub fn encode_batch(events: &[EventRef<'_>]) -> Encoded {
    let mut body = vec![b'['];
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        match event.document() {
            Some(document) => body.extend_from_slice(document),
            None => body.extend_from_slice(&to_json(
                event,
                &Change {
                    add: &[],
                    remove: &[],
                },
            )),
        }
    }
    body.push(b']');
    with_type(BATCH_JSON, Bytes::from(body))
}

fn with_type(media_type: &'static str, body: Bytes) -> Encoded {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    Encoded { headers, body }
}

/// What becomes of the attributes on the way out.
struct Change<'c> {
    add: &'c [(&'c str, &'c str)],
    remove: &'c [&'c str],
}

impl<'c> Change<'c> {
    fn added(&self, name: &str) -> Option<&'c str> {
        self.add
            .iter()
            .rev()
            .find(|(added, _)| *added == name)
            .map(|(_, value)| *value)
    }

    fn removed(&self, name: &str) -> bool {
        self.remove.contains(&name) && !matches!(name, "specversion" | "id" | "source" | "type")
    }

    /// Additions that replace nothing in `event`, each name once.
    fn new_for<'e>(&'e self, event: &'e EventRef<'_>) -> impl Iterator<Item = (&'c str, &'c str)> {
        let earlier =
            |index: usize, name| self.add[..index].iter().any(|(other, _)| *other == name);
        let entries = self.add.iter().enumerate();
        entries
            .filter(move |(index, (name, _))| {
                name::is_valid(name) && !earlier(*index, *name) && event.attribute(name).is_none()
            })
            .map(|(_, (name, _))| (*name, self.added(name).unwrap_or_default()))
    }
}

/// The document with its attributes changed.
fn edited<'a>(event: &EventRef<'a>, document: &'a [u8], change: &Change<'_>) -> Bytes {
    let new: Vec<(&str, &str)> = change.new_for(event).collect();
    let named = change
        .add
        .iter()
        .map(|(name, _)| *name)
        .chain(change.remove.iter().copied());
    // A null member is no attribute, yet a second one of its name would be one too many.
    let mut touched = named.filter(|name| event.has_nulls() || event.attribute(name).is_some());
    if touched.next().is_none() {
        return match new.is_empty() {
            true => event.share(document),
            false => Bytes::from(splice::insert(document, new)),
        };
    }
    let replaced = event
        .attributes()
        .filter_map(|(name, _)| Some((name, change.added(name)?)));
    let add: Vec<(&str, &str)> = new.iter().copied().chain(replaced).collect();
    match splice::edit(document, &add, change.remove) {
        Ok(edited) => Bytes::from(edited),
        // Only a document that came back damaged, under a checksum that is right, can't be cut.
        Err(_) => event.share(document),
    }
}

/// Writes a binary message, `None` if the event doesn't fit into one.
fn to_binary(event: &EventRef<'_>, change: &Change<'_>) -> Option<Encoded> {
    let body = match event.data() {
        Data::None => Bytes::new(),
        Data::Bytes(bytes) => event.share(bytes),
        Data::Json(text) => match event.json_bytes(text)? {
            Cow::Borrowed(bytes) => event.share(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        },
        Data::Base64(_) => Bytes::from(event.data_bytes().into_owned()),
    };
    // The attribute told how JSON carries the data; a body carries it as it is.
    let was_base64 =
        matches!(event.data(), Data::Base64(_)) && event.spec_version() == SpecVersion::V03;
    let mut headers = Headers {
        map: HeaderMap::with_capacity(16),
        bytes: 0,
    };
    let mut typed = false;
    for (name, value) in event.attributes() {
        let code = name::code(name);
        if was_base64 && code == name::DATACONTENTENCODING {
            continue;
        }
        if let Some(added) = change.added(name) {
            headers.push(code, name, HeaderText::Own(added))?;
        } else if change.removed(name) {
            continue;
        } else {
            match value {
                Value::String(Cow::Borrowed(text)) => {
                    headers.push(code, name, HeaderText::Shared(event, text))?;
                }
                other => headers.push(code, name, HeaderText::Own(&other.text()))?,
            }
        }
        typed |= code == name::DATACONTENTTYPE;
    }
    for (name, value) in change.new_for(event) {
        let code = name::code(name);
        headers.push(code, name, HeaderText::Own(value))?;
        typed |= code == name::DATACONTENTTYPE;
    }
    if !typed && matches!(event.data(), Data::Json(_)) {
        headers.push(
            name::DATACONTENTTYPE,
            "",
            HeaderText::Own("application/json"),
        )?;
    }
    Some(Encoded {
        headers: headers.map,
        body,
    })
}

/// Text on its way into a header value.
enum HeaderText<'a, 't> {
    /// A part of the event's bytes, which the header may share.
    Shared(&'t EventRef<'a>, &'a str),
    Own(&'t str),
}

/// The headers of a binary message, within their limits.
struct Headers {
    map: HeaderMap,
    bytes: usize,
}

impl Headers {
    /// Adds an attribute, `None` if it exceeds a limit or is no text for a header.
    fn push(&mut self, code: u8, name: &str, text: HeaderText<'_, '_>) -> Option<()> {
        let header = match code {
            name::OTHER => {
                HeaderName::from_bytes([b"ce-", name.as_bytes()].concat().as_slice()).ok()?
            }
            code => HEADERS[usize::from(code)].clone(),
        };
        let plain = match &text {
            HeaderText::Shared(_, text) => *text,
            HeaderText::Own(text) => *text,
        };
        // The content type is a header of HTTP's own, which has no percent coding.
        let coded = match code {
            name::DATACONTENTTYPE => Cow::Borrowed(plain),
            _ => percent::encode(plain),
        };
        if code != name::DATACONTENTTYPE && coded.len() > VALUE_BYTES_MAX {
            return None;
        }
        // Beside such a type the data would be read as the event.
        if code == name::DATACONTENTTYPE && media::names_event_format(plain.as_bytes()) {
            return None;
        }
        let value = match (coded, text) {
            (Cow::Owned(coded), _) => HeaderValue::from_maybe_shared(Bytes::from(coded)),
            (Cow::Borrowed(_), HeaderText::Shared(event, text)) => {
                HeaderValue::from_maybe_shared(event.share(text.as_bytes()))
            }
            (Cow::Borrowed(plain), HeaderText::Own(_)) => HeaderValue::from_bytes(plain.as_bytes()),
        };
        let value = value.ok()?;
        self.bytes += header.as_str().len() + value.len() + ": \r\n".len();
        if self.bytes > HEADER_BYTES_MAX || self.map.len() == HEADERS_MAX {
            return None;
        }
        self.map.insert(header, value);
        Some(())
    }
}

/// Writes a binary event as a JSON document.
fn to_json(event: &EventRef<'_>, change: &Change<'_>) -> Vec<u8> {
    let data = match event.data() {
        Data::Bytes(bytes) => bytes,
        _ => &[],
    };
    let media_type = change.added("datacontenttype").or_else(|| {
        event
            .datacontenttype()
            .filter(|_| !change.removed("datacontenttype"))
    });
    let may_be_json = media_type.is_none_or(|text| media::is_json(text) && media::is_utf8(text));
    // The event's own object is one level of the depth that receivers allow.
    let embedded = may_be_json && json::is_value(data, JSON_DEPTH_MAX - 1);
    let old = event.spec_version() == SpecVersion::V03;
    let mut out = Vec::with_capacity(event.wire_len() * 3 / 2 + 256);
    out.push(b'{');
    for (name, value) in event.attributes() {
        // In JSON this attribute of 0.3 speaks of how we write the data, and is written with it.
        if old && name == "datacontentencoding" && !data.is_empty() {
            continue;
        }
        match change.added(name) {
            Some(added) => push_member(name, added, &mut out),
            None if change.removed(name) => {}
            None => push_member(name, &value.text(), &mut out),
        }
    }
    for (name, value) in change.new_for(event) {
        push_member(name, value, &mut out);
    }
    if !data.is_empty() {
        push_data(data, embedded, old, &mut out);
    }
    out.push(b'}');
    out
}

fn push_data(data: &[u8], embedded: bool, old: bool, out: &mut Vec<u8>) {
    if embedded {
        out.extend_from_slice(b",\"data\":");
        return out.extend_from_slice(data);
    }
    out.extend_from_slice(match old {
        true => b",\"datacontentencoding\":\"base64\",\"data\":\"" as &[u8],
        false => b",\"data_base64\":\"",
    });
    push_base64(data, out);
    out.push(b'"');
}

fn push_member(name: &str, value: &str, out: &mut Vec<u8>) {
    if out.len() > 1 {
        out.push(b',');
    }
    json::push_string(name, out);
    out.push(b':');
    json::push_string(value, out);
}
