//! The event itself: owned in its stored form, or borrowed from stored bytes.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::error::StoredError;
use crate::http::media;
use crate::json;
use crate::name;
use crate::stored::{self, Entry, Parts, ValueKind};
use crate::value::{self, Data, Value};

/// Versions of the specification that are spoken. An event never changes its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecVersion {
    V03,
    V10,
}

impl SpecVersion {
    /// What `specversion` says.
    pub fn as_str(self) -> &'static str {
        match self {
            SpecVersion::V03 => "0.3",
            SpecVersion::V10 => "1.0",
        }
    }
}

/// How an event came, which is how it leaves unless someone asks otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Attributes beside the data, as headers.
    Binary,
    /// One document in an event format that holds both.
    Structured,
}

/// An event, always a valid one. A clone shares its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    stored: Bytes,
    hops_left: Option<u8>,
}

impl Event {
    /// Takes bytes from the log for an event.
    ///
    /// After `Ok` every bound in them has been checked and every attribute is UTF-8. What the
    /// attributes mean was checked when the event was first made, and isn't again.
    pub fn from_stored(stored: Bytes) -> Result<Event, StoredError> {
        Parts::checked(&stored)?;
        Ok(Event {
            stored,
            hops_left: None,
        })
    }

    /// For bytes that we have just written and checked.
    pub(crate) fn trusted(stored: Bytes) -> Event {
        Event {
            stored,
            hops_left: None,
        }
    }

    /// Notes what the sender's `knativebrokerttl` says, if it is a number: the other brokers
    /// take anything else for absent too.
    pub(crate) fn note_hops_left(&mut self, written: &str) {
        let left = written.trim().parse::<i64>().ok();
        // It fits after the clamp.
        self.hops_left = left.map(|left| left.clamp(0, i64::from(u8::MAX)) as u8);
    }

    /// How many replies more may follow from it, where another Knative broker that it came
    /// through said so: its `knativebrokerttl`, at most 255. It isn't part of the stored form.
    pub fn hops_left(&self) -> Option<u8> {
        self.hops_left
    }

    /// The bytes for the log.
    pub fn stored(&self) -> &Bytes {
        &self.stored
    }

    /// A view that costs no allocation and lets [`encode`](crate::http::encode) share the bytes.
    pub fn as_ref(&self) -> EventRef<'_> {
        let parts =
            Parts::split(&self.stored).expect("an event's bytes were checked when it was made");
        EventRef {
            parts,
            owner: Some(&self.stored),
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// A view of an event over its stored bytes.
#[derive(Clone, Copy)]
pub struct EventRef<'a> {
    parts: Parts<'a>,
    owner: Option<&'a Bytes>,
}

impl<'a> EventRef<'a> {
    /// Looks at `stored` as an event: the same checks as [`Event::from_stored`], no allocation.
    pub fn from_stored(stored: &'a [u8]) -> Result<EventRef<'a>, StoredError> {
        Ok(EventRef {
            parts: Parts::checked(stored)?,
            owner: None,
        })
    }

    pub fn mode(&self) -> Mode {
        match self.parts.flag(stored::STRUCTURED) {
            true => Mode::Structured,
            false => Mode::Binary,
        }
    }

    pub fn spec_version(&self) -> SpecVersion {
        match self.parts.flag(stored::OLD) {
            true => SpecVersion::V03,
            false => SpecVersion::V10,
        }
    }

    pub fn id(&self) -> &'a str {
        self.parts.required(stored::ID_AT)
    }

    pub fn source(&self) -> &'a str {
        self.parts.required(stored::SOURCE_AT)
    }

    /// The attribute `type`.
    pub fn ty(&self) -> &'a str {
        self.parts.required(stored::TYPE_AT)
    }

    pub fn subject(&self) -> Option<&'a str> {
        self.known(name::SUBJECT)
    }

    /// The attribute `time` as its sender wrote it, RFC 3339.
    pub fn time(&self) -> Option<&'a str> {
        self.known(name::TIME)
    }

    pub fn datacontenttype(&self) -> Option<&'a str> {
        self.known(name::DATACONTENTTYPE)
    }

    /// The attribute of this name; the data is none. Finding it is a walk along the table.
    pub fn attribute(&self, name: &str) -> Option<Value<'a>> {
        let code = name::code(name);
        match code {
            name::ID => return Some(Value::String(Cow::Borrowed(self.id()))),
            name::SOURCE => return Some(Value::String(Cow::Borrowed(self.source()))),
            name::TYPE => return Some(Value::String(Cow::Borrowed(self.ty()))),
            _ => {}
        }
        self.entries()
            .find(|entry| {
                entry.code == code && (code != name::OTHER || entry.name(self.parts.text) == name)
            })
            .map(|entry| self.value(entry))
    }

    /// All attributes in the order in which the sender wrote them, the required ones among them.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes {
            event: *self,
            next: 0,
        }
    }

    /// What the event carries, in the form in which it came.
    pub fn data(&self) -> Data<'a> {
        self.parts.data()
    }

    /// The bytes that the data stands for: what binary mode has as its body. JSON under a JSON
    /// type is its text; a JSON string under another type is its characters; base64 is decoded.
    /// A string that holds half a surrogate pair stands for no bytes, and stays JSON text.
    pub fn data_bytes(&self) -> Cow<'a, [u8]> {
        match self.data() {
            Data::None => Cow::Borrowed(&[]),
            Data::Bytes(bytes) => Cow::Borrowed(bytes),
            Data::Json(text) => self.json_bytes(text).unwrap_or(Cow::Borrowed(text)),
            Data::Base64(text) => Cow::Owned(value::from_base64(text)),
        }
    }

    /// The JSON document that a structured event came as.
    pub fn document(&self) -> Option<&'a [u8]> {
        (self.mode() == Mode::Structured).then_some(self.parts.body)
    }

    /// Bytes of the event, protocol framing apart: the document, or the data with the names and
    /// values of all attributes. What limits on the size of an event count.
    pub fn wire_len(&self) -> usize {
        if self.mode() == Mode::Structured {
            return self.parts.body.len();
        }
        let known = self
            .entries()
            .map(|entry| name::KNOWN[usize::from(entry.code)].len());
        self.parts.body.len() + self.parts.text.len() + known.sum::<usize>()
    }

    /// The body as binary mode sends it, `None` for a JSON string that no bytes stand for.
    pub(crate) fn json_bytes(&self, text: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if text.first() != Some(&b'"') || self.datacontenttype().is_none_or(media::is_json) {
            return Some(Cow::Borrowed(text));
        }
        let decoded = json::text_of(text, &(0..text.len()), text.contains(&b'\\')).ok()?;
        Some(match decoded {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// Says whether the document has members that are null, and so are no attributes.
    pub(crate) fn has_nulls(&self) -> bool {
        self.parts.flag(stored::NULLS)
    }

    /// `part`, which must lie in this event, as bytes to keep: shared where that is possible.
    pub(crate) fn share(&self, part: &'a [u8]) -> Bytes {
        match self.owner {
            Some(owner) => owner.slice_ref(part),
            None => Bytes::copy_from_slice(part),
        }
    }

    fn entries(&self) -> impl Iterator<Item = Entry> + use<'a> {
        let parts = self.parts;
        (0..parts.count()).map_while(move |index| parts.entry(index))
    }

    fn known(&self, code: u8) -> Option<&'a str> {
        self.entries()
            .find(|entry| entry.code == code)
            .map(|entry| entry.text(self.parts.text))
    }

    fn value(&self, entry: Entry) -> Value<'a> {
        let text = entry.text(self.parts.text);
        match (entry.kind, text.parse()) {
            (ValueKind::Integer, Ok(value)) => Value::Integer { value, text },
            (ValueKind::Boolean, _) => Value::Boolean(text == "true"),
            _ => Value::String(Cow::Borrowed(text)),
        }
    }
}

impl fmt::Debug for EventRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("mode", &self.mode())
            .field("attributes", &self.attributes().collect::<Vec<_>>())
            .field("data_bytes", &self.data_bytes().len())
            .finish()
    }
}

/// The attributes of an event in their original order.
#[derive(Clone)]
pub struct Attributes<'a> {
    event: EventRef<'a>,
    next: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.event.parts.entry(self.next)?;
        self.next += 1;
        Some((entry.name(self.event.parts.text), self.event.value(entry)))
    }
}

/// Events that came together, to be stored all or none. A message that is no batch has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub events: Vec<Event>,
}
