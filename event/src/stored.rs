//! The stored form: the bytes in which an event lies in the log.
//!
//! Version 1. All numbers are little-endian. Offsets count bytes from the first of the event.
//!
//! ```text
//! header, 32 bytes
//!   0  u8   version        1
//!   1  u8   flags          1 = structured (else binary), 2 = specversion 0.3 (else 1.0),
//!                          4 = the document has attribute members that are null;
//!                          the other bits are 0
//!   2  u8   data kind      0 none, 1 bytes, 2 JSON text, 3 base64 text
//!   3  u8   reserved       0
//!   4  u32  attributes     how many entries the table has
//!   8  u32  id             index of the table's entry for id
//!  12  u32  source         ... for source
//!  16  u32  type           ... for type
//!  20  u32  text length    bytes of the text
//!  24  u32  data offset    where the data begins, 0 when there is none
//!  28  u32  data length
//! table, 12 bytes an attribute, in the order in which the sender wrote them
//!   0  u8   name           0 = the name stands in the text; 1 specversion, 2 id, 3 source,
//!                          4 type, 5 subject, 6 time, 7 datacontenttype, 8 dataschema,
//!                          9 schemaurl, 10 datacontentencoding
//!   1  u8   value kind     0 string, 1 integer, 2 boolean
//!   2  u16  name length    0 unless name is 0; the name ends where the value begins
//!   4  u32  value offset   from the beginning of the text
//!   8  u32  value length
//! text, UTF-8: for each attribute its name (if the table has no code for it), then its value
//!   decoded: no percent coding, no JSON escapes, integers and booleans in their canonical form.
//!   Base64 data that was written with JSON escapes follows, without them.
//! body, up to the end
//!   binary: the data, as it came.
//!   structured: the JSON document, as it came (but for reserved attributes, spliced out).
//!   The data of a structured event is a part of the document, or of the text.
//! ```
//!
//! The form has no checksum: the log's record has one. Reading checks every bound, and never
//! panics, whatever the bytes. What the attributes mean was checked when the event was made.

mod writer;

use crate::error::StoredError;
use crate::name;
use crate::value::Data;
pub(crate) use writer::{Body, Held, Writer};

/// The version that is written, and the only one there is.
pub const VERSION: u8 = 1;

/// Length of the header.
pub const HEADER_BYTES: usize = 32;

/// Length of one entry of the table.
pub const ENTRY_BYTES: usize = 12;

/// Longest stored form. Every offset fits into four bytes with room to spare.
pub const STORED_BYTES_MAX: usize = 1 << 30;

pub(crate) const STRUCTURED: u8 = 1;
pub(crate) const OLD: u8 = 2;
pub(crate) const NULLS: u8 = 4;

const FLAGS_AT: usize = 1;
const DATA_KIND_AT: usize = 2;
const COUNT_AT: usize = 4;
pub(crate) const ID_AT: usize = 8;
pub(crate) const SOURCE_AT: usize = 12;
pub(crate) const TYPE_AT: usize = 16;
const TEXT_AT: usize = 20;
const DATA_AT: usize = 24;
const DATA_LEN_AT: usize = 28;
const _: () = assert!(DATA_LEN_AT + 4 == HEADER_BYTES);
const _: () = assert!(STORED_BYTES_MAX < u32::MAX as usize);

/// The type of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    String = 0,
    Integer = 1,
    Boolean = 2,
}

/// One entry of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) code: u8,
    pub(crate) kind: ValueKind,
    name_len: usize,
    value_at: usize,
    value_len: usize,
}

impl Entry {
    pub(crate) fn name<'a>(&self, text: &'a str) -> &'a str {
        match self.code {
            name::OTHER => &text[self.value_at - self.name_len..self.value_at],
            code => name::KNOWN[usize::from(code)],
        }
    }

    pub(crate) fn text<'a>(&self, text: &'a str) -> &'a str {
        &text[self.value_at..self.value_at + self.value_len]
    }

    /// Whether the value begins and ends with a character of `text`.
    pub(crate) fn is_text(&self, text: &str) -> bool {
        text.get(self.value_at..self.value_at + self.value_len)
            .is_some()
    }

    /// The value before it is known to be UTF-8.
    pub(crate) fn raw<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.value_at..self.value_at + self.value_len]
    }

    /// The name before it is known to be UTF-8.
    pub(crate) fn raw_name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        match self.code {
            name::OTHER => &text[self.value_at - self.name_len..self.value_at],
            code => name::KNOWN[usize::from(code)].as_bytes(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.value_len
    }

    fn read(table: &[u8], index: usize) -> Option<Entry> {
        let entry = table
            .get(index * ENTRY_BYTES..)?
            .first_chunk::<ENTRY_BYTES>()?;
        let kind = match entry[1] {
            0 => ValueKind::String,
            1 => ValueKind::Integer,
            2 => ValueKind::Boolean,
            _ => return None,
        };
        if usize::from(entry[0]) >= name::KNOWN.len() {
            return None;
        }
        Some(Entry {
            code: entry[0],
            kind,
            name_len: usize::from(u16::from_le_bytes([entry[2], entry[3]])),
            value_at: number(entry, 4)?,
            value_len: number(entry, 8)?,
        })
    }

    fn check(&self, text: &str) -> Option<()> {
        let value = text.get(self.value_at..self.value_at.checked_add(self.value_len)?)?;
        let name = text.get(self.value_at.checked_sub(self.name_len)?..self.value_at)?;
        let known = self.code != name::OTHER;
        let sound = match self.kind {
            ValueKind::String => true,
            ValueKind::Integer => value.parse::<i32>().is_ok(),
            ValueKind::Boolean => matches!(value, "true" | "false"),
        };
        (sound && known == name.is_empty()).then_some(())
    }
}

/// A stored event taken apart: borrowed pieces, nothing parsed.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) table: &'a [u8],
    pub(crate) text: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) data: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes `stored` apart and checks that every entry of the table lies within.
    pub(crate) fn checked(stored: &'a [u8]) -> Result<Parts<'a>, StoredError> {
        let parts = Parts::split(stored)?;
        let sound = match parts.header[DATA_KIND_AT] {
            0..3 => true,
            3 => std::str::from_utf8(parts.data).is_ok(),
            _ => false,
        };
        if !sound {
            return Err(damaged("the data"));
        }
        for index in 0..parts.count() {
            Entry::read(parts.table, index)
                .and_then(|entry| entry.check(parts.text))
                .ok_or(damaged("an entry of the attribute table"))?;
        }
        for (at, code) in [
            (ID_AT, name::ID),
            (SOURCE_AT, name::SOURCE),
            (TYPE_AT, name::TYPE),
        ] {
            let index = number(parts.header, at).ok_or(damaged("the header"))?;
            let entry = Entry::read(parts.table, index);
            if !entry.is_some_and(|entry| entry.code == code && entry.len() > 0) {
                return Err(damaged("the index of a required attribute"));
            }
        }
        Ok(parts)
    }

    /// Takes `stored` apart by its header alone. Its table is trusted: [`Parts::checked`] saw it,
    /// or we have just written it.
    pub(crate) fn split(stored: &'a [u8]) -> Result<Parts<'a>, StoredError> {
        let (pieces, text, data) = Parts::split_raw(stored)?;
        let text = std::str::from_utf8(text).map_err(|_| damaged("text that is not UTF-8"))?;
        let (header, table, body) = pieces;
        Ok(Parts {
            header,
            table,
            text,
            body,
            data,
        })
    }

    /// The pieces of `stored` before its text is known to be UTF-8: (header, table, body), text
    /// and data.
    #[expect(
        clippy::type_complexity,
        reason = "three slices for two callers, named at once"
    )]
    pub(crate) fn split_raw(
        stored: &'a [u8],
    ) -> Result<((&'a [u8], &'a [u8], &'a [u8]), &'a [u8], &'a [u8]), StoredError> {
        let short = |need| StoredError::Short {
            got: stored.len(),
            need,
        };
        match stored.first() {
            Some(&VERSION) => {}
            Some(&found) => {
                return Err(StoredError::Version {
                    found,
                    known: VERSION,
                });
            }
            None => return Err(short(HEADER_BYTES)),
        }
        let (header, rest) = stored
            .split_at_checked(HEADER_BYTES)
            .ok_or(short(HEADER_BYTES))?;
        let field = |at| number(header, at).ok_or(damaged("the header"));
        let count = field(COUNT_AT)?;
        let table_len = count
            .checked_mul(ENTRY_BYTES)
            .ok_or(damaged("the header"))?;
        let (table, rest) = rest
            .split_at_checked(table_len)
            .ok_or(short(HEADER_BYTES.saturating_add(table_len)))?;
        let text_len = field(TEXT_AT)?;
        let (text, body) = rest.split_at_checked(text_len).ok_or(short(
            HEADER_BYTES
                .saturating_add(table_len)
                .saturating_add(text_len),
        ))?;
        let (data_at, data_len) = (field(DATA_AT)?, field(DATA_LEN_AT)?);
        let data = data_at
            .checked_add(data_len)
            .and_then(|end| stored.get(data_at..end));
        Ok((
            (header, table, body),
            text,
            data.ok_or(damaged("the place of the data"))?,
        ))
    }

    pub(crate) fn count(&self) -> usize {
        self.table.len() / ENTRY_BYTES
    }

    pub(crate) fn data(&self) -> Data<'a> {
        match self.header[DATA_KIND_AT] {
            1 => Data::Bytes(self.data),
            2 => Data::Json(self.data),
            3 => Data::Base64(std::str::from_utf8(self.data).unwrap_or_default()),
            _ => Data::None,
        }
    }

    pub(crate) fn flag(&self, flag: u8) -> bool {
        self.header[FLAGS_AT] & flag != 0
    }

    pub(crate) fn entry(&self, index: usize) -> Option<Entry> {
        Entry::read(self.table, index)
    }

    /// The required attribute whose index the header has at `at`.
    pub(crate) fn required(&self, at: usize) -> &'a str {
        number(self.header, at)
            .and_then(|index| self.entry(index))
            .map_or("", |entry| entry.text(self.text))
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*four)).ok()
}

fn damaged(what: &'static str) -> StoredError {
    StoredError::Damaged { what }
}

pub(crate) fn set_flag(bytes: &mut [u8], flag: u8) {
    bytes[FLAGS_AT] |= flag;
}

/// Writes a length or an offset. Events over [`STORED_BYTES_MAX`] are refused before this.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: usize) {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventRef};
    use expect_test::{Expect, expect};

    /// A structured event: `x` is attribute 4, the type of the data 5, the data a JSON string.
    fn sample() -> Vec<u8> {
        let body = r#"{"specversion":"1.0","id":"é","source":"/s","type":"t","x":true,"datacontenttype":"a/b","data":"hi"}"#;
        let headers = [(
            http::header::CONTENT_TYPE,
            crate::http::JSON.parse().unwrap(),
        )];
        let limits = crate::http::Limits::default();
        let batch = crate::http::decode(&headers.into_iter().collect(), body.into(), &limits);
        batch.unwrap().events[0].stored().to_vec()
    }

    /// Puts `bytes` at `at` of a sound event and says what reading makes of it.
    #[track_caller]
    fn check(at: usize, bytes: &[u8], expect: Expect) {
        let mut stored = sample();
        stored[at..at + bytes.len()].copy_from_slice(bytes);
        let shown = match EventRef::from_stored(&stored) {
            Ok(event) => {
                format!(
                    "{event:?} {:?}",
                    String::from_utf8_lossy(&event.data_bytes())
                )
            }
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&shown);
    }

    const fn entry(index: usize) -> usize {
        HEADER_BYTES + index * ENTRY_BYTES
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let stored = sample();
        let hex: Vec<String> = stored[..entry(6)]
            .chunks(4)
            .map(|four| four.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        let lines: Vec<String> = hex.chunks(8).map(|line| line.join(" ")).collect();
        expect![[r#"
            01010200 06000000 01000000 02000000 03000000 10000000 d8000000 04000000
            01000000 00000000 03000000 02000000 03000000 02000000 03000000 05000000
            02000000 04000000 07000000 01000000 00020100 09000000 04000000 07000000
            0d000000 03000000"#]]
        .assert_eq(&lines.join("\n"));
        let text = &stored[entry(6)..];
        expect![[r#"1.0é/stxtruea/b{"specversion":"1.0","id":"é","source":"/s","type":"t","x":true,"datacontenttype":"a/b","data":"hi"}"#]].assert_eq(&String::from_utf8_lossy(text));
    }

    #[test]
    fn damage_is_named() {
        check(
            0,
            &[1],
            expect![[
                r#"Event { mode: Structured, attributes: [("specversion", String("1.0")), ("id", String("é")), ("source", String("/s")), ("type", String("t")), ("x", Boolean(true)), ("datacontenttype", String("a/b"))], data_bytes: 2 } "hi""#
            ]],
        );
        check(
            0,
            &[2],
            expect!["stored event has format version 2, this version reads 1"],
        );
        check(
            DATA_KIND_AT,
            &[4],
            expect!["stored event is damaged: the data"],
        );
        check(
            COUNT_AT,
            &[0xFF; 4],
            expect!["stored event is 221 bytes, it needs at least 51539607572"],
        );
        check(
            TEXT_AT,
            &[0xFF; 4],
            expect!["stored event is 221 bytes, it needs at least 4294967399"],
        );
        check(
            DATA_AT,
            &[0xFF; 4],
            expect!["stored event is damaged: the place of the data"],
        );
        check(
            DATA_LEN_AT,
            &[0xFF; 4],
            expect!["stored event is damaged: the place of the data"],
        );
        check(
            ID_AT,
            &[0],
            expect!["stored event is damaged: the index of a required attribute"],
        );
        check(
            TYPE_AT,
            &[6],
            expect!["stored event is damaged: the index of a required attribute"],
        );
        // The value of `x` under another kind, code, name and place.
        check(
            entry(4),
            &[11],
            expect!["stored event is damaged: an entry of the attribute table"],
        );
        check(
            entry(4),
            &[9],
            expect!["stored event is damaged: an entry of the attribute table"],
        );
        check(
            entry(4) + 1,
            &[1],
            expect!["stored event is damaged: an entry of the attribute table"],
        );
        check(
            entry(4) + 1,
            &[3],
            expect!["stored event is damaged: an entry of the attribute table"],
        );
        check(
            entry(4) + 2,
            &[200],
            expect!["stored event is damaged: an entry of the attribute table"],
        );
        check(
            entry(4) + 4,
            &[0xFF; 4],
            expect!["stored event is damaged: an entry of the attribute table"],
        );
        check(
            entry(4) + 8,
            &[0xFF; 4],
            expect!["stored event is damaged: an entry of the attribute table"],
        );
        check(
            entry(4) + 8,
            &[3],
            expect!["stored event is damaged: an entry of the attribute table"],
        );
        // The id begins in the middle of its character.
        check(
            entry(1) + 4,
            &[4],
            expect!["stored event is damaged: an entry of the attribute table"],
        );
        check(
            entry(6),
            &[0xFF],
            expect!["stored event is damaged: text that is not UTF-8"],
        );
    }

    #[test]
    fn a_string_with_one_quote_is_no_panic() {
        // The data's length is cut to its opening quote.
        check(
            DATA_LEN_AT,
            &[1],
            expect![[
                r#"Event { mode: Structured, attributes: [("specversion", String("1.0")), ("id", String("é")), ("source", String("/s")), ("type", String("t")), ("x", Boolean(true)), ("datacontenttype", String("a/b"))], data_bytes: 1 } "\"""#
            ]],
        );
        check(
            DATA_LEN_AT,
            &[0],
            expect![[
                r#"Event { mode: Structured, attributes: [("specversion", String("1.0")), ("id", String("é")), ("source", String("/s")), ("type", String("t")), ("x", Boolean(true)), ("datacontenttype", String("a/b"))], data_bytes: 0 } """#
            ]],
        );
    }

    #[test]
    fn a_cut_that_reaches_the_data_shows() {
        let stored = sample();
        // Behind the data stands the brace that ends the document.
        for end in 0..stored.len() - 1 {
            let cut = Event::from_stored(stored[..end].to_vec().into());
            assert!(cut.is_err(), "cut at {end}");
        }
    }
}
