//! Writes the stored form in one go: header, table and text grow in one buffer.

use super::{
    COUNT_AT, DATA_AT, DATA_KIND_AT, DATA_LEN_AT, ENTRY_BYTES, FLAGS_AT, HEADER_BYTES, NULLS,
    STRUCTURED, TEXT_AT, VERSION, ValueKind, put,
};
use crate::name;

/// What goes behind the text when an event is written.
pub(crate) enum Body<'b> {
    Binary(&'b [u8]),
    Structured {
        document: &'b [u8],
        data: Held,
        nulls: bool,
    },
}

/// Where the data of a structured event is.
pub(crate) enum Held {
    None,
    Json(std::ops::Range<usize>),
    Base64(std::ops::Range<usize>),
    /// Base64 whose escapes were resolved: it goes behind the text.
    Base64Text(String),
}

/// Writes a stored event into one buffer: header, table and text grow together.
pub(crate) struct Writer {
    bytes: Vec<u8>,
    table_next: usize,
    text_at: usize,
    name_len: usize,
    value_from: usize,
    code: u8,
}

impl Writer {
    /// A writer for exactly `count` attributes, whose names and values take about `text_bytes`,
    /// with `body_bytes` to follow.
    pub(crate) fn new(count: usize, text_bytes: usize, body_bytes: usize) -> Writer {
        let text_at = HEADER_BYTES + count * ENTRY_BYTES;
        let mut bytes = Vec::with_capacity(text_at + text_bytes + body_bytes);
        bytes.resize(text_at, 0);
        bytes[0] = VERSION;
        put(&mut bytes, COUNT_AT, count);
        Writer {
            bytes,
            table_next: HEADER_BYTES,
            text_at,
            name_len: 0,
            value_from: 0,
            code: 0,
        }
    }

    /// Begins an attribute whose name has this code, and hands out the buffer at whose end its value goes.
    pub(crate) fn begin(&mut self, code: u8, name: &str) -> &mut Vec<u8> {
        debug_assert_eq!(code, name::code(name));
        self.code = code;
        self.name_len = 0;
        if code == name::OTHER {
            self.name_len = name.len();
            self.bytes.extend_from_slice(name.as_bytes());
        }
        self.value_from = self.bytes.len();
        &mut self.bytes
    }

    /// Ends the attribute that was begun.
    pub(crate) fn end(&mut self, kind: ValueKind) {
        let number = |value| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
        let mut entry = [0; ENTRY_BYTES];
        entry[0] = self.code;
        entry[1] = kind as u8;
        entry[2..4].copy_from_slice(
            &u16::try_from(self.name_len)
                .unwrap_or(u16::MAX)
                .to_le_bytes(),
        );
        entry[4..8].copy_from_slice(&number(self.value_from - self.text_at));
        entry[8..].copy_from_slice(&number(self.bytes.len() - self.value_from));
        self.bytes[self.table_next..self.table_next + ENTRY_BYTES].copy_from_slice(&entry);
        self.table_next += ENTRY_BYTES;
    }

    /// Ends the event. Its version flag and the indexes of the required attributes are still to
    /// be set, by the check that finds them.
    pub(crate) fn finish(mut self, body: Body<'_>) -> Vec<u8> {
        debug_assert_eq!(
            self.table_next, self.text_at,
            "as many attributes as were announced"
        );
        let mut data = (0, 0, 0);
        if let Body::Structured {
            data: Held::Base64Text(text),
            ..
        } = &body
        {
            data = (3, self.bytes.len(), text.len());
            self.bytes.extend_from_slice(text.as_bytes());
        }
        let body_at = self.bytes.len();
        put(&mut self.bytes, TEXT_AT, body_at - self.text_at);
        match body {
            Body::Binary(bytes) => {
                self.bytes.extend_from_slice(bytes);
                if !bytes.is_empty() {
                    data = (1, body_at, bytes.len());
                }
            }
            Body::Structured {
                document,
                data: held,
                nulls,
            } => {
                self.bytes[FLAGS_AT] = STRUCTURED | if nulls { NULLS } else { 0 };
                self.bytes.extend_from_slice(document);
                match held {
                    Held::None | Held::Base64Text(_) => {}
                    Held::Json(range) => data = (2, body_at + range.start, range.len()),
                    Held::Base64(range) => data = (3, body_at + range.start, range.len()),
                }
            }
        }
        self.bytes[DATA_KIND_AT] = data.0;
        put(&mut self.bytes, DATA_AT, data.1);
        put(&mut self.bytes, DATA_LEN_AT, data.2);
        self.bytes
    }
}
