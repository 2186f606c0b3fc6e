//! Percent coding of attribute values in headers (CloudEvents HTTP binding 1.0.2, §3.1.3.2).
//!
//! Written: space, `"`, `%` and everything outside U+0021-007E as `%XX` of its UTF-8, upper case.
//! Read tolerantly: one round, a stray `%` stays, double quotes are removed (with their backslash
//! escapes) only where they wrap the whole value, raw UTF-8 is accepted. Bytes that come out as
//! invalid UTF-8 are refused.

use std::borrow::Cow;

/// A header value that stands for no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("header value is not valid UTF-8, send UTF-8, percent-encoded")]
pub struct NotUtf8;

/// The header value for `text`. Borrows when nothing needs coding.
pub fn encode(text: &str) -> Cow<'_, str> {
    let Some(first) = text.bytes().position(needs_coding) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len() + 32);
    out.push_str(text.get(..first).unwrap_or_default());
    for byte in text.bytes().skip(first) {
        if needs_coding(byte) {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        } else {
            out.push(char::from(byte));
        }
    }
    Cow::Owned(out)
}

/// The text of a header value. Borrows when nothing was coded.
pub fn decode(value: &[u8]) -> Result<Cow<'_, str>, NotUtf8> {
    if is_plain(value) {
        return std::str::from_utf8(value)
            .map(Cow::Borrowed)
            .map_err(|_| NotUtf8);
    }
    let mut out = Vec::with_capacity(value.len());
    decode_into(value, &mut out);
    String::from_utf8(out).map(Cow::Owned).map_err(|_| NotUtf8)
}

/// Writes the bytes of a header value at the end of `out`. Whether they are UTF-8 is not judged.
pub(crate) fn decode_into(value: &[u8], out: &mut Vec<u8>) {
    if is_plain(value) {
        return out.extend_from_slice(value);
    }
    match quoted(value) {
        Some(inside) => decode_percent(&inside, out),
        None => decode_percent(value, out),
    }
}

fn decode_percent(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        out.extend_from_slice(&rest[..at]);
        let coded = rest
            .get(at + 1)
            .copied()
            .and_then(digit)
            .zip(rest.get(at + 2).copied().and_then(digit));
        let (byte, taken) = match coded {
            Some((high, low)) => (high << 4 | low, 3),
            None => (b'%', 1),
        };
        out.push(byte);
        rest = &rest[at + taken..];
    }
    out.extend_from_slice(rest);
}

/// The inside of a value that is one quoted string from end to end (RFC 7230 §3.2.6).
fn quoted(value: &[u8]) -> Option<Vec<u8>> {
    let inside = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut out = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => out.push(*bytes.next()?),
            _ => out.push(*byte),
        }
    }
    Some(out)
}

fn is_plain(value: &[u8]) -> bool {
    value.first() != Some(&b'"') && !value.contains(&b'%')
}

fn needs_coding(byte: u8) -> bool {
    !(0x21..=0x7E).contains(&byte) || matches!(byte, b'"' | b'%')
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_coded_as_the_binding_says() {
        let rows = [
            ("Euro € \u{1f600}", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("100%", "100%25"),
            ("say \"hi\"", "say%20%22hi%22"),
            ("a\tb\u{7f}", "a%09b%7F"),
            (
                "plain!#$&'()*+,-./:;<=>?@[\\]^_`{|}~",
                "plain!#$&'()*+,-./:;<=>?@[\\]^_`{|}~",
            ),
            ("", ""),
        ];
        for (text, value) in rows {
            assert_eq!(encode(text), value);
            assert_eq!(decode(value.as_bytes()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn values_are_read_tolerantly() {
        let rows: [(&[u8], &str); 14] = [
            (b"%e2%82%ac", "€"),
            ("€ raw".as_bytes(), "€ raw"),
            (b"100%", "100%"),
            (b"%", "%"),
            (b"%4", "%4"),
            (b"%zz%41", "%zzA"),
            (b"%2541", "%41"),
            (br#""quoted \"text\" \\ %41""#, "quoted \"text\" \\ A"),
            (br#""a" and "b""#, r#""a" and "b""#),
            (br#""open"#, "\"open"),
            (br#""escaped end\""#, r#""escaped end\""#),
            (b"\"", "\""),
            (b"\"\"", ""),
            (b"%22kept%22", "\"kept\""),
        ];
        for (value, text) in rows {
            assert_eq!(
                decode(value).as_deref(),
                Ok(text),
                "{:?}",
                String::from_utf8_lossy(value)
            );
        }
        for bad in [
            b"\xff" as &[u8],
            b"%FF",
            b"%C0%80",
            b"%ED%A0%80",
            b"\"%FF\"",
            b"\xe2%82",
        ] {
            assert_eq!(
                decode(bad),
                Err(NotUtf8),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_a_header(text in any::<String>()) {
            let value = encode(&text);
            prop_assert!(value.bytes().all(|byte| (0x21..=0x7E).contains(&byte)));
            let back = decode(value.as_bytes());
            prop_assert_eq!(back.as_deref(), Ok(&*text));
        }
    }
}
