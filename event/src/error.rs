//! What is wrong with an event that someone sent, or with bytes that claim to be a stored one.
//!
//! Each message names the attribute or the place, what was found there and what to write instead:
//! it is the `detail` of the problem+json that the sender reads.

use std::fmt;

/// Most characters of a sender's text that a message repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// Where an attribute was written, so that a message can use the sender's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A header of a binary-mode message.
    Header,
    /// A member of a JSON object.
    Member,
    /// A part given to [`compose`](crate::compose).
    Part,
}

/// What a [`DecodeError`] means to a protocol. HTTP says 400, 413 and 415.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Invalid,
    TooLarge,
    Unsupported,
}

/// Why a message was not taken as an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    #[error("{} is missing, send {}", .place.of(.attribute), .place.example(.attribute))]
    Missing {
        attribute: &'static str,
        place: Place,
    },
    #[error("{} is empty, send {}", .place.of(.attribute), .place.example(.attribute))]
    Empty {
        attribute: &'static str,
        place: Place,
    },
    #[error("{} is {found:?}, this broker takes \"1.0\" and \"0.3\"", .place.of("specversion"))]
    UnknownSpecVersion { found: String, place: Place },
    #[error("{} is {}, an attribute is named by lower-case letters and digits only, such as \"comexamplename\"", .place.of(.name), bad_name(.name))]
    BadName { name: String, place: Place },
    #[error(
        "header ce-datacontenttype is not how binary mode gives the type of the data, send it as content-type"
    )]
    ContentTypeAsAttribute,
    #[error("{} is given twice, send it once", .place.of(.attribute))]
    Twice { attribute: String, place: Place },
    #[error("{} is {found}, {instead}", .place.of(.attribute))]
    WrongType {
        attribute: String,
        found: String,
        instead: &'static str,
        place: Place,
    },
    #[error("{} is {found:?}, write an RFC 3339 time such as 2018-04-05T17:31:00Z", .place.of("time"))]
    BadTime { found: String, place: Place },
    #[error("{} is {found:?}, write a URI reference without spaces or control characters, such as /sensors/tn-1234567", .place.of(.attribute))]
    BadUri {
        attribute: &'static str,
        found: String,
        place: Place,
    },
    #[error("{} holds the control character U+{character:04X}, leave it out", .place.of(.attribute))]
    ControlCharacter {
        attribute: String,
        character: u32,
        place: Place,
    },
    #[error("{} is not valid UTF-8, send UTF-8, percent-encoded in a header", .place.of(.attribute))]
    AttributeNotUtf8 { attribute: String, place: Place },
    #[error("{} holds half a surrogate pair, write the character itself or both of its \\u escapes", .place.of(.attribute))]
    LoneSurrogate { attribute: String, place: Place },
    #[error("the JSON is not valid UTF-8 at byte {at}, send UTF-8")]
    JsonNotUtf8 { at: usize },
    #[error("the JSON is malformed at byte {at}: {what}")]
    Json { at: usize, what: &'static str },
    #[error(
        "the JSON is nested deeper than {limit} at byte {at}, send deeper data as data_base64 or in binary mode"
    )]
    TooDeep { at: usize, limit: usize },
    #[error("the batch holds {found}, it must be a JSON array of events")]
    NotABatch { found: &'static str },
    #[error("members \"data\" and \"data_base64\" are both given, send one of them")]
    DataTwice,
    #[error(
        "member {member:?} is not valid base64, write standard base64 with padding, such as \"aGVsbG8=\""
    )]
    BadBase64 { member: &'static str },
    #[error(
        "member \"data_base64\" does not exist in a 0.3 event, send \"data\" with \"datacontentencoding\": \"base64\""
    )]
    DataBase64InOld,
    #[error("event is {got} bytes, this broker takes at most {limit}")]
    TooLarge { got: usize, limit: usize },
    #[error("batch is {got} bytes, this broker takes at most {limit}, send several smaller ones")]
    BatchTooLarge { got: usize, limit: usize },
    #[error("batch holds more than {limit} events, send several smaller ones")]
    BatchTooMany { limit: usize },
    #[error(
        "content type {found:?} is an event format that this broker does not speak, send application/cloudevents+json, application/cloudevents-batch+json or binary mode"
    )]
    UnsupportedFormat { found: String },
    #[error("content type {found:?} has a charset that JSON does not have, send UTF-8")]
    UnsupportedCharset { found: String },
    #[error("header content-type is given twice, send it once")]
    ContentTypeTwice,
    #[error("the answer is a batch, which nobody asked for, answer with one event")]
    UnaskedBatch,
    #[error("event {index} of the batch, counted from 0: {error}")]
    InBatch {
        index: usize,
        error: Box<DecodeError>,
    },
}

impl DecodeError {
    /// The attribute at fault, when it is one attribute's.
    pub fn attribute(&self) -> Option<&str> {
        use DecodeError::*;
        match self {
            Missing { attribute, .. } | Empty { attribute, .. } | BadUri { attribute, .. } => {
                Some(attribute)
            }
            Twice { attribute, .. }
            | WrongType { attribute, .. }
            | ControlCharacter { attribute, .. }
            | AttributeNotUtf8 { attribute, .. }
            | LoneSurrogate { attribute, .. } => Some(attribute),
            BadName { name, .. } => Some(name),
            UnknownSpecVersion { .. } => Some("specversion"),
            BadTime { .. } => Some("time"),
            ContentTypeAsAttribute | ContentTypeTwice => Some("datacontenttype"),
            InBatch { error, .. } => error.attribute(),
            _ => None,
        }
    }

    /// What the error means to a protocol.
    pub fn kind(&self) -> Kind {
        use DecodeError::*;
        match self {
            TooLarge { .. } | BatchTooLarge { .. } | BatchTooMany { .. } => Kind::TooLarge,
            UnsupportedFormat { .. } | UnsupportedCharset { .. } => Kind::Unsupported,
            InBatch { error, .. } => error.kind(),
            _ => Kind::Invalid,
        }
    }
}

/// Why bytes are not a stored event. Bytes that the log vouches for and that still fail here were
/// written by another version, or by a fault of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    #[error("stored event has format version {found}, this version reads {known}")]
    Version { found: u8, known: u8 },
    #[error("stored event is {got} bytes, it needs at least {need}")]
    Short { got: usize, need: usize },
    #[error("stored event is damaged: {what}")]
    Damaged { what: &'static str },
}

impl Place {
    fn of(self, attribute: &str) -> Named<'_> {
        Named {
            place: self,
            attribute,
        }
    }

    fn example(self, attribute: &str) -> Example<'_> {
        Example {
            place: self,
            attribute,
        }
    }
}

/// An attribute in the words of the place where it stands: `header ce-id`, `member "id"`.
struct Named<'a> {
    place: Place,
    attribute: &'a str,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place, self.attribute) {
            (Place::Header, "datacontenttype") => f.write_str("header content-type"),
            (Place::Header, name) => write!(f, "header ce-{}", shown(name)),
            (Place::Member, name) => write!(f, "member {:?}", shown(name)),
            (Place::Part, name) => write!(f, "attribute {}", shown(name)),
        }
    }
}

/// A line that would have been right.
struct Example<'a> {
    place: Place,
    attribute: &'a str,
}

impl fmt::Display for Example<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.attribute;
        let value = match name {
            "specversion" => "1.0",
            "id" => "A234-1234-1234",
            "source" => "/sensors/tn-1234567",
            "type" => "com.example.order.placed",
            _ => "some text",
        };
        match self.place {
            Place::Header => write!(f, "ce-{name}: {value}")?,
            Place::Member => write!(f, "\"{name}\": \"{value}\"")?,
            Place::Part => write!(f, "{name} such as {value}")?,
        }
        if name == "specversion" && self.place == Place::Header {
            f.write_str(
                " and the other attributes as ce- headers, or the whole event as JSON with content-type: application/cloudevents+json",
            )?;
        }
        Ok(())
    }
}

fn bad_name(name: &str) -> &'static str {
    match name {
        "" => "a name of no characters",
        "data" => "reserved for the payload",
        name if name.len() > crate::name::NAME_BYTES_MAX => "a name of over 65535 characters",
        _ => "not a valid name",
    }
}

/// The beginning of a sender's text, for a message.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
