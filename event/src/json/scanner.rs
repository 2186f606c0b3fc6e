//! The walk over JSON text: one byte after the other, never back, never deeper on the stack.

use std::ops::Range;

use super::Shape;
use super::text::unit;
use crate::error::DecodeError;

/// Nesting beyond which the bits that remember it would run out, whatever the caller allows.
const DEPTH_BITS: usize = u128::BITS as usize;

/// A place in JSON text.
pub(super) struct Scanner<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Deepest nesting that is followed; at most 128 is.
    pub(super) depth_max: usize,
}

impl Scanner<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += usize::from(byte.is_some());
        byte
    }

    pub(super) fn fault<T>(&self, what: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError::Json { at: self.at, what })
    }

    /// A fault at the byte that was just taken, or at the end when there was none to take.
    pub(super) fn fault_before<T>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        if self.at < self.bytes.len() {
            self.at -= 1;
        }
        self.fault(what)
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fault("something follows the end of the JSON"),
        }
    }

    /// Reads `"name" :` up to the value.
    pub(super) fn name(&mut self) -> Result<(Range<usize>, bool), DecodeError> {
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
    pub(super) fn value(&mut self, above: usize) -> Result<Shape, DecodeError> {
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
