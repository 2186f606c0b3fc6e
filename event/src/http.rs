//! The HTTP protocol binding (CloudEvents 1.0.2, and 0.3): headers and body to events and back.
//!
//! Pure: the adapter reads sockets and bounds what it reads, this module judges what was read.

mod decode;
mod encode;
pub(crate) mod media;
pub mod percent;
mod reply;

pub use decode::{Limits, decode};
pub use encode::{
    Encoded, HEADER_BYTES_MAX, HEADERS_MAX, Out, VALUE_BYTES_MAX, encode, encode_batch,
};
pub use media::{BATCH_JSON, ContentMode, JSON, content_mode};
pub use reply::{Claim, reply};

use http::HeaderName;

use crate::name;

/// Header names of the attributes that have a code in the stored form, the code being the index.
static HEADERS: [HeaderName; name::KNOWN.len()] = [
    HeaderName::from_static("ce-"),
    HeaderName::from_static("ce-specversion"),
    HeaderName::from_static("ce-id"),
    HeaderName::from_static("ce-source"),
    HeaderName::from_static("ce-type"),
    HeaderName::from_static("ce-subject"),
    HeaderName::from_static("ce-time"),
    http::header::CONTENT_TYPE,
    HeaderName::from_static("ce-dataschema"),
    HeaderName::from_static("ce-schemaurl"),
    HeaderName::from_static("ce-datacontentencoding"),
];
