//! The Rejected record: what a source got and could make no event of. It names its source and
//! broker in full, since it outlives both, and holds what came, so that somebody can look at it.
//!
//! Body: source's namespace, its name, the broker (`namespace/name`): text behind varint lengths |
//! when varint (ms since 1970) | why text | origin text (such as `topic/partition/offset`) | count
//! varint | headers: name text, value bytes | key bytes | left out varint (bytes of the value) |
//! value bytes. The tag is the broker's number.

use bytes::Bytes;
use journal::{Record, Stored, WallTime};

use super::wire::{self, Short, Take};
use super::{Malformed, Number, REJECTED, VERSION};

/// Bytes of a value that are kept; of a longer one the first, and how many are left out. As many as
/// an event may have unless the node says otherwise.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a key that are kept; a longer one is cut.
pub const KEY_BYTES_MAX: usize = 4 << 10;
/// Bytes of names and values of headers that are kept; from the first on that is too much, none.
pub const HEADER_BYTES_MAX: usize = 64 << 10;
/// Bytes of `why`, and of `origin`, that are kept; a longer text is cut.
pub const TEXT_BYTES_MAX: usize = 1 << 10;

/// What a source rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The broker's number, whose event it would have been.
    pub broker_number: Number,
    /// The source's namespace.
    pub namespace: String,
    /// The source's name.
    pub name: String,
    /// The broker's name, `namespace/name`.
    pub broker: String,
    /// When it came.
    pub at: WallTime,
    /// Why it is no event.
    pub why: String,
    /// Where it came from, in the source's terms.
    pub origin: String,
    /// What came beside the value, such as its `content-type`, in order.
    pub headers: Vec<(String, Bytes)>,
    /// Its key; empty when it had none.
    pub key: Bytes,
    /// How many bytes of the value are left out at its end.
    pub left_out: u64,
    /// The value, as it came.
    pub value: Bytes,
}

impl Rejected {
    /// The value's type, as its sender wrote it.
    pub fn content_type(&self) -> Option<&str> {
        let is_it = |(name, _): &&(String, Bytes)| name.eq_ignore_ascii_case("content-type");
        let (_, value) = self.headers.iter().find(is_it)?;
        std::str::from_utf8(value).ok()
    }

    /// The record, with all that is too long cut.
    pub fn record(&self) -> Record {
        let value = &self.value[..self.value.len().min(VALUE_BYTES_MAX)];
        let mut body = Vec::with_capacity(value.len() + 256);
        for text in [&self.namespace, &self.name, &self.broker] {
            wire::put_bytes(&mut body, text.as_bytes());
        }
        wire::put_varint(&mut body, self.at.0);
        wire::put_bytes(&mut body, beginning(&self.why).as_bytes());
        wire::put_bytes(&mut body, beginning(&self.origin).as_bytes());
        let headers = self.headers_that_fit();
        wire::put_varint(&mut body, headers.len() as u64);
        for (name, value) in headers {
            wire::put_bytes(&mut body, name.as_bytes());
            wire::put_bytes(&mut body, value);
        }
        wire::put_bytes(&mut body, &self.key[..self.key.len().min(KEY_BYTES_MAX)]);
        let cut = (self.value.len() - value.len()) as u64;
        wire::put_varint(&mut body, self.left_out.saturating_add(cut));
        wire::put_bytes(&mut body, value);
        Record {
            kind: REJECTED,
            version: VERSION,
            tag: self.broker_number,
            body: body.into(),
        }
    }

    fn headers_that_fit(&self) -> &[(String, Bytes)] {
        let mut bytes = 0;
        let fits = |(name, value): &&(String, Bytes)| {
            bytes += name.len() + value.len();
            bytes <= HEADER_BYTES_MAX
        };
        let count = self.headers.iter().take_while(fits).count();
        &self.headers[..count]
    }

    /// Reads a Rejected record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the body isn't of this layout.
    pub fn read(stored: &Stored) -> Result<Self, Malformed> {
        (|| -> Result<Self, Short> {
            let mut take = Take::new(&stored.body);
            let [namespace, name, broker] = [
                take.text("namespace")?.to_owned(),
                take.text("name")?.to_owned(),
                take.text("broker")?.to_owned(),
            ];
            let at = WallTime(take.varint("when")?);
            let why = take.text("why")?.to_owned();
            let origin = take.text("origin")?.to_owned();
            let mut headers = Vec::new();
            for _ in 0..take.varint("header count")? {
                let header = take.text("header's name")?.to_owned();
                headers.push((header, stored.body.slice_ref(take.bytes("header's value")?)));
            }
            let key = stored.body.slice_ref(take.bytes("key")?);
            let left_out = take.varint("left out")?;
            let value = stored.body.slice_ref(take.bytes("value")?);
            Ok(Self {
                broker_number: stored.tag,
                namespace,
                name,
                broker,
                at,
                why,
                origin,
                headers,
                key,
                left_out,
                value,
            })
        })()
        .map_err(Malformed::at(stored.offset, REJECTED))
    }
}

/// As much of a text as is kept.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}
