//! A strict scanner of JSON (RFC 8259) that finds where things stand and leaves them there.
//!
//! It builds no values, so nothing a sender wrote can be rounded, reordered or merged. It doesn't
//! recurse: nesting costs a bit, and is capped. Input is bytes already known to be UTF-8. Refused:
//! control characters in strings, leading zeros, trailing commas, a byte order mark, anything
//! after the value. Half a surrogate pair as an escape is correct syntax and passes inside data;
//! who wants the text ([`unescape`]) is told.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::DecodeError;

/// Nesting beyond which the bits that remember it would run out, whatever the caller allows.
const DEPTH_BITS: usize = u128::BITS as usize;

/// What kind of value stands somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Text { escaped: bool },
    Number,
    Boolean(bool),
    Null,
    Object,
    Array,
}

/// One member of an object: where its name and its value stand, quotes included.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: Range<usize>,
    pub(crate) name_escaped: bool,
    pub(crate) value: Range<usize>,
    pub(crate) shape: Shape,
}

/// Half a surrogate pair: an escape that stands for no character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoneSurrogate;

impl Member {
    /// The member's name with its escapes resolved.
    pub(crate) fn name_text<'a>(&self, document: &'a [u8]) -> Result<Cow<'a, str>, LoneSurrogate> {
        text_of(document, &self.name, self.name_escaped)
    }
}

/// Reads the members of the object that `document` is.
pub(crate) fn members(document: &[u8], depth_max: usize) -> Result<Vec<Member>, DecodeError> {
    let mut scanner = Scanner {
        bytes: document,
        at: 0,
        depth_max,
    };
    scanner.space();
    match scanner.peek() {
        Some(b'{') => scanner.at += 1,
        Some(_) => return scanner.fault("an event is a JSON object, which begins with {"),
        None => return scanner.fault("the body is empty, an event is a JSON object"),
    }
    let mut members = Vec::with_capacity(12);
    scanner.space();
    if scanner.peek() == Some(b'}') {
        scanner.at += 1;
    } else {
        loop {
            let (name, name_escaped) = scanner.name()?;
            let start = scanner.at;
            let shape = scanner.value(1)?;
            members.push(Member {
                name,
                name_escaped,
                value: start..scanner.at,
                shape,
            });
            scanner.space();
            match scanner.next() {
                Some(b',') => scanner.space(),
                Some(b'}') => break,
                _ => return scanner.fault_before("expected , or } after a member"),
            }
        }
    }
    scanner.end()?;
    Ok(members)
}

/// Finds the elements of the array that `document` is; the closure may refuse more of them.
pub(crate) fn elements(
    document: &[u8],
    depth_max: usize,
    mut found: impl FnMut(Range<usize>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut scanner = Scanner {
        bytes: document,
        at: 0,
        depth_max: depth_max.saturating_add(1),
    };
    scanner.space();
    match scanner.peek() {
        Some(b'[') => scanner.at += 1,
        Some(b'{') => {
            return Err(DecodeError::NotABatch {
                found: "one JSON object",
            });
        }
        Some(_) => return scanner.fault("a batch is a JSON array, which begins with ["),
        None => return Err(DecodeError::NotABatch { found: "nothing" }),
    }
    scanner.space();
    if scanner.peek() == Some(b']') {
        scanner.at += 1;
        return scanner.end();
    }
    loop {
        let start = scanner.at;
        scanner.value(1)?;
        found(start..scanner.at)?;
        scanner.space();
        match scanner.next() {
            Some(b',') => scanner.space(),
            Some(b']') => return scanner.end(),
            _ => return scanner.fault_before("expected , or ] after an event"),
        }
    }
}

/// Says whether `bytes` are one JSON value in UTF-8, nested no deeper than `depth_max`.
pub(crate) fn is_value(bytes: &[u8], depth_max: usize) -> bool {
    let mut scanner = Scanner {
        bytes,
        at: 0,
        depth_max,
    };
    scanner.space();
    scanner.value(0).is_ok() && scanner.end().is_ok() && std::str::from_utf8(bytes).is_ok()
}

/// The text of the string that stands at `quoted`, its quotes included.
pub(crate) fn text_of<'a>(
    document: &'a [u8],
    quoted: &Range<usize>,
    escaped: bool,
) -> Result<Cow<'a, str>, LoneSurrogate> {
    let raw = &document[quoted.start + 1..quoted.end - 1];
    if !escaped {
        return Ok(Cow::Borrowed(
            std::str::from_utf8(raw).map_err(|_| LoneSurrogate)?,
        ));
    }
    let mut text = Vec::with_capacity(raw.len());
    unescape(raw, &mut text)?;
    Ok(Cow::Owned(
        String::from_utf8(text).map_err(|_| LoneSurrogate)?,
    ))
}

/// Writes the text that `raw`, the inside of a scanned string, stands for.
pub(crate) fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Result<(), LoneSurrogate> {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let (plain, taken) = match rest.get(at + 1) {
            Some(b'u') => {
                let (character, taken) = unicode(&rest[at..])?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[at + taken..];
                continue;
            }
            Some(b'b') => (8, 2),
            Some(b'f') => (12, 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(other) => (*other, 2),
            None => (b'\\', 1),
        };
        out.push(plain);
        rest = &rest[at + taken..];
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// The character of `\uXXXX` or of a pair of them at the beginning of `raw`, and its length there.
fn unicode(raw: &[u8]) -> Result<(char, usize), LoneSurrogate> {
    let first = unit(raw).ok_or(LoneSurrogate)?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 6));
    }
    let second = raw.get(6..).and_then(unit).ok_or(LoneSurrogate)?;
    if !(0xD800..0xDC00).contains(&first) || !(0xDC00..0xE000).contains(&second) {
        return Err(LoneSurrogate);
    }
    let joined = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
    char::from_u32(joined)
        .map(|character| (character, 12))
        .ok_or(LoneSurrogate)
}

fn unit(raw: &[u8]) -> Option<u32> {
    let digits = raw.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |sum, digit| {
        Some(sum * 16 + char::from(*digit).to_digit(16)?)
    })
}

/// Writes `text` as a JSON string, quotes included, at the end of `out`.
pub(crate) fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + 1;
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
    out.push(b'"');
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth_max: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += usize::from(byte.is_some());
        byte
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError::Json { at: self.at, what })
    }

    /// A fault at the byte that was just taken, or at the end when there was none to take.
    fn fault_before<T>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        if self.at < self.bytes.len() {
            self.at -= 1;
        }
        self.fault(what)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), DecodeError> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fault("something follows the end of the JSON"),
        }
    }

    /// Reads `"name" :` up to the value.
    fn name(&mut self) -> Result<(Range<usize>, bool), DecodeError> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.fault("expected the name of a member in double quotes");
        }
        let escaped = self.string()?;
        let name = start..self.at;
        self.space();
        if self.peek() != Some(b':') {
            return self.fault("expected : after the name of a member");
        }
        self.at += 1;
        self.space();
        Ok((name, escaped))
    }

    /// Passes over one value that `above` containers enclose, and says what it is.
    fn value(&mut self, above: usize) -> Result<Shape, DecodeError> {
        match self.peek() {
            Some(b'{') => self.nested(above).map(|()| Shape::Object),
            Some(b'[') => self.nested(above).map(|()| Shape::Array),
            _ => self.scalar(),
        }
    }

    /// Passes over a container. One bit for each open one remembers whether it is an object.
    fn nested(&mut self, above: usize) -> Result<(), DecodeError> {
        let limit = self.depth_max.min(DEPTH_BITS);
        let mut objects = 0_u128;
        let mut open = 0;
        loop {
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if above + open >= limit {
                        return Err(DecodeError::TooDeep { at: self.at, limit });
                    }
                    open += 1;
                    objects = objects << 1 | u128::from(bracket == b'{');
                    self.at += 1;
                    self.space();
                    // `}` and `]` are two past `{` and `[`.
                    if self.peek() != Some(bracket + 2) {
                        if bracket == b'{' {
                            self.name()?;
                        }
                        continue;
                    }
                    self.at += 1;
                    objects >>= 1;
                    open -= 1;
                }
                _ => {
                    self.scalar()?;
                }
            }
            if self.close(&mut objects, &mut open)? {
                return Ok(());
            }
        }
    }

    /// After a value: closes what closes, and stops before the next value (false) or outside (true).
    fn close(&mut self, objects: &mut u128, open: &mut usize) -> Result<bool, DecodeError> {
        while *open > 0 {
            self.space();
            let in_object = *objects & 1 == 1;
            match (self.peek(), in_object) {
                (Some(b','), _) => {
                    self.at += 1;
                    self.space();
                    if in_object {
                        self.name()?;
                    }
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    *objects >>= 1;
                    *open -= 1;
                }
                (_, true) => return self.fault("expected , or } after a member"),
                (_, false) => return self.fault("expected , or ] after an element"),
            }
        }
        Ok(true)
    }

    fn scalar(&mut self) -> Result<Shape, DecodeError> {
        match self.peek() {
            Some(b'"') => Ok(Shape::Text {
                escaped: self.string()?,
            }),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| Shape::Number),
            Some(b't') => self.literal(b"true", Shape::Boolean(true)),
            Some(b'f') => self.literal(b"false", Shape::Boolean(false)),
            Some(b'n') => self.literal(b"null", Shape::Null),
            Some(_) => self.fault("expected a value"),
            None => self.fault("the JSON ends before its end"),
        }
    }

    fn literal(&mut self, word: &[u8], shape: Shape) -> Result<Shape, DecodeError> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.fault("expected a value");
        }
        self.at += word.len();
        Ok(shape)
    }

    fn number(&mut self) -> Result<(), DecodeError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return self.fault("a number begins with a needless 0");
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            self.fault("expected a digit")
        } else {
            Ok(())
        }
    }

    /// Passes over a string and says whether it holds escapes.
    fn string(&mut self) -> Result<bool, DecodeError> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..0x20) => {
                    return self.fault("a control character in a string, write it as an escape");
                }
                Some(_) => self.at += 1,
                None => return self.fault("the JSON ends inside a string"),
            }
        }
    }

    /// Passes over plain characters eight at a time, and stops at or before one that isn't.
    fn plain(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const TOPS: u64 = 0x8080_8080_8080_8080;
        while let Some(eight) = self.bytes[self.at..].first_chunk::<8>() {
            let word = u64::from_le_bytes(*eight);
            let quote = word ^ (ONES * 0x22);
            let backslash = word ^ (ONES * 0x5C);
            // The top bit of each byte that is a quote, a backslash or below 0x20. A borrow can
            // mark a byte wrongly, but only above one marked rightly, and the lowest is used.
            let stops = (quote.wrapping_sub(ONES) & !quote
                | backslash.wrapping_sub(ONES) & !backslash
                | word.wrapping_sub(ONES * 0x20) & !word)
                & TOPS;
            if stops != 0 {
                self.at += (stops.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
    }

    fn escape(&mut self) -> Result<(), DecodeError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') if unit(&self.bytes[self.at..]).is_some() => self.at += 6,
            Some(b'u') => return self.fault("\\u needs four hexadecimal digits"),
            _ => return self.fault("an escape that JSON does not have"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn values_of_rfc_8259_pass() {
        for good in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12",
            "1e400",
            "1E+2",
            "-1.50e-7",
            r#""""#,
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            r#"{"a":{"a":[{},[],""]}}"#,
            r#""\u0000\ud800\"\\\/\b\f\n\r\t""#,
            "\"\u{7f}\u{2028}\u{1f30e}\"",
            "123456789012345678901234567890",
            "[[[[1]]]]",
            r#"{"a":1,"a":2}"#,
            "\t\r\n1",
        ] {
            assert!(is_value(good.as_bytes(), 64), "{good}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for bad in [
            "",
            " ",
            "nul",
            "nulll",
            "True",
            "01",
            "-",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "0x1",
            "NaN",
            "'a'",
            "\"",
            "\"a",
            r#""\x""#,
            r#""\u12g4""#,
            r#""\u12"#,
            r#""\"#,
            "\"\n\"",
            "\"\0\"",
            "\"12345678\u{1}\"",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "}",
            "{a:1}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":1]"#,
            r#"["a":1]"#,
            "[1}",
            "{]",
            "1 2",
            "[]]",
            "\u{feff}1",
            "// c\n1",
            "[1,/**/2]",
            r#"{1:2}"#,
            "--1",
        ] {
            assert!(!is_value(bad.as_bytes(), 64), "{bad}");
        }
        assert!(!is_value(b"\"\xff\"", 64));
        assert!(!is_value(b"\"\xed\xa0\x80\"", 64));
    }

    #[test]
    fn nesting_is_capped_and_never_recursed_into() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_value(deep(64).as_bytes(), 64));
        assert!(!is_value(deep(65).as_bytes(), 64));
        assert!(!is_value("[".repeat(1_000_000).as_bytes(), 64));
        assert!(!is_value(r#"{"a":"#.repeat(100_000).as_bytes(), 64));
        assert!(is_value(deep(128).as_bytes(), usize::MAX));
        assert!(!is_value(deep(129).as_bytes(), usize::MAX));
        let wide = format!("[{}1]", "[{\"a\":[]}],".repeat(1000));
        assert!(is_value(wide.as_bytes(), 64));
    }

    #[test]
    fn a_stop_is_found_at_every_place_of_a_word() {
        for before in 0..24 {
            for stop in ["\"", "\\n\"", "\u{1}"] {
                for filler in ["a", "\u{7f}", "é", "!", "#", "]", "["] {
                    let text = format!("\"{}{stop}", filler.repeat(before));
                    let expected = stop != "\u{1}";
                    assert_eq!(is_value(text.as_bytes(), 1), expected, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn strings_come_back_from_their_escapes() {
        let unescaped = |raw: &str| {
            let mut out = Vec::new();
            unescape(raw.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(unescaped(r"i\u0064"), Ok("id".into()));
        assert_eq!(unescaped(r"\ud83c\udf0e!"), Ok("\u{1f30e}!".into()));
        assert_eq!(
            unescaped(r#"\"\\\/\b\f\n\r\t"#),
            Ok("\"\\/\u{8}\u{c}\n\r\t".into())
        );
        for lone in [
            r"\ud800",
            r"\ud800x",
            r"\udc00",
            r"\ud800\u0041",
            r"\udc00\ud800",
        ] {
            assert_eq!(unescaped(lone), Err(LoneSurrogate), "{lone}");
        }
    }

    #[test]
    fn a_written_string_reads_back() {
        for text in [
            "",
            "a",
            "\"",
            "\\",
            "\u{0}\u{1f}\n\r\t\u{7f}",
            "é\u{1f30e}",
            "a\"b\\c/d",
        ] {
            let mut out = Vec::new();
            push_string(text, &mut out);
            assert!(is_value(&out, 1), "{text:?}");
            assert_eq!(
                text_of(&out, &(0..out.len()), true),
                Ok(Cow::Borrowed(text))
            );
        }
    }

    #[track_caller]
    fn check(document: &str, expect: Expect) {
        let shown = match members(document.as_bytes(), 4) {
            Ok(members) => members
                .iter()
                .map(|member| {
                    let name = member.name_text(document.as_bytes());
                    format!(
                        "{name:?} {:?} {}",
                        member.shape,
                        &document[member.value.clone()]
                    )
                })
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&shown);
    }

    #[test]
    fn members_are_found_where_they_stand() {
        check(
            r#" { "a" : 1e400 , "i\u0064":"\ud800","o":{"a":[2]},"n":null,"t":true } "#,
            expect![[r#"
                Ok("a") Number 1e400
                Ok("id") Text { escaped: true } "\ud800"
                Ok("o") Object {"a":[2]}
                Ok("n") Null null
                Ok("t") Boolean(true) true"#]],
        );
        check("{}", expect![""]);
    }

    #[test]
    fn faults_say_where_and_what() {
        check(
            "",
            expect![
                "the JSON is malformed at byte 0: the body is empty, an event is a JSON object"
            ],
        );
        check(
            "[1]",
            expect![
                "the JSON is malformed at byte 0: an event is a JSON object, which begins with {"
            ],
        );
        check(
            r#"{"a":1"#,
            expect!["the JSON is malformed at byte 6: expected , or } after a member"],
        );
        check(
            r#"{"a":1;"b":2}"#,
            expect!["the JSON is malformed at byte 6: expected , or } after a member"],
        );
        check(
            r#"{"a":01}"#,
            expect!["the JSON is malformed at byte 6: a number begins with a needless 0"],
        );
        check(
            r#"{"a":[[[[1]]]]}"#,
            expect![
                "the JSON is nested deeper than 4 at byte 8, send deeper data as data_base64 or in binary mode"
            ],
        );
        check(
            r#"{"a":1} x"#,
            expect!["the JSON is malformed at byte 8: something follows the end of the JSON"],
        );
    }
}
