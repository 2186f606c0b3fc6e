//! What an attribute holds, and what an event carries.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The value of an attribute, as one of the three types that the JSON format tells apart.
///
/// In binary mode every value is a `String`: headers carry no types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    String(Cow<'a, str>),
    /// A CloudEvents `Integer` with its canonical text.
    Integer {
        value: i32,
        text: &'a str,
    },
    Boolean(bool),
}

impl<'a> Value<'a> {
    /// The canonical string form (CloudEvents 1.0.2, "Type system"), which filters compare with
    /// and binary mode sends. Borrows when the value came from a stored event.
    pub fn text(&self) -> Cow<'a, str> {
        match self {
            Value::String(text) => text.clone(),
            Value::Integer { text, .. } => Cow::Borrowed(text),
            Value::Boolean(true) => Cow::Borrowed("true"),
            Value::Boolean(false) => Cow::Borrowed("false"),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) => f.write_str(text),
            Value::Integer { text, .. } => f.write_str(text),
            Value::Boolean(value) => value.fmt(f),
        }
    }
}

/// What an event carries, in the form in which it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// Nothing. HTTP doesn't tell an empty body from a missing one, so neither do we.
    None,
    /// The body of a binary-mode event, untouched.
    Bytes(&'a [u8]),
    /// The text of one JSON value, untouched.
    Json(&'a [u8]),
    /// Standard base64 with padding, valid.
    Base64(&'a str),
}

/// Reads what [`is_base64`] let pass: bits left over in the last character are ignored, since
/// encoders exist that don't zero them.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes that `text` stands for; empty if it isn't base64, which a stored event's is.
pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    LENIENT.decode(text).unwrap_or_default()
}

/// Writes standard base64 with padding at the end of `out`.
pub(crate) fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(
        base64::engine::general_purpose::STANDARD
            .encode(bytes)
            .as_bytes(),
    );
}

/// Says whether `text` is base64 of RFC 4648 §4, padded, with nothing else in it.
pub(crate) fn is_base64(text: &[u8]) -> bool {
    let payload = match text {
        [head @ .., b'=', b'='] | [head @ .., b'='] => head,
        _ => text,
    };
    text.len().is_multiple_of(4)
        && payload
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_judged_as_it_is_read() {
        for good in ["", "aA==", "aGk=", "aGkh", "+/+/", "aB=="] {
            assert!(is_base64(good.as_bytes()), "{good}");
            assert!(LENIENT.decode(good).is_ok(), "{good}");
        }
        for bad in [
            "a", "aA", "aA=", "=", "====", "a===", "aGk=aGk=", "aG k", "aGk-", "aA==\n",
        ] {
            assert!(!is_base64(bad.as_bytes()), "{bad}");
        }
    }
}
