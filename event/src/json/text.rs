//! Strings of JSON to text and back: escapes resolved, and written where they must be.

use std::borrow::Cow;
use std::ops::Range;

/// Half a surrogate pair: an escape that stands for no character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoneSurrogate;

/// The text of the string that stands at `quoted`, its quotes included.
pub(crate) fn text_of<'a>(
    document: &'a [u8],
    quoted: &Range<usize>,
    escaped: bool,
) -> Result<Cow<'a, str>, LoneSurrogate> {
    // A scanned string has two quotes; damaged bytes from the log may not.
    let inside = quoted.start + 1..quoted.end.saturating_sub(1);
    let raw = document.get(inside).ok_or(LoneSurrogate)?;
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
fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Result<(), LoneSurrogate> {
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

/// The code unit of `\uXXXX` at the beginning of `raw`.
pub(super) fn unit(raw: &[u8]) -> Option<u32> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::is_value;

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
}
