//! A strict scanner of JSON (RFC 8259) that finds where things stand and leaves them there.
//!
//! It builds no values, so nothing a sender wrote can be rounded, reordered or merged. It doesn't
//! recurse: nesting costs a bit, and is capped. Input is bytes already known to be UTF-8. Refused:
//! control characters in strings, leading zeros, trailing commas, a byte order mark, anything
//! after the value. Half a surrogate pair as an escape is correct syntax and passes inside data;
//! who wants the text ([`text_of`]) is told.

mod scanner;
mod text;

use std::borrow::Cow;
use std::ops::Range;

use crate::error::DecodeError;
use scanner::Scanner;
pub(crate) use text::{LoneSurrogate, push_string, text_of};

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
        scanner.value(1).map_err(one_level_less)?;
        found(start..scanner.at)?;
        scanner.space();
        match scanner.next() {
            Some(b',') => scanner.space(),
            Some(b']') => return scanner.end(),
            _ => return scanner.fault_before("expected , or ] after an event"),
        }
    }
}

/// The array that encloses a batch doesn't count towards the depth of its events.
fn one_level_less(error: DecodeError) -> DecodeError {
    match error {
        DecodeError::TooDeep { at, limit } => DecodeError::TooDeep {
            at,
            limit: limit - 1,
        },
        other => other,
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
