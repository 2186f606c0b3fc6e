//! The few shapes that bodies are made of: little-endian integers, LEB128 varints, and bytes
//! behind their length. Reading checks every bound, so arbitrary bytes give [`Short`], never a
//! panic.

/// A body ended early, or held something that can't be there. Names what was being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Short(pub &'static str);

/// Appends an LEB128 varint, 1 to 10 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed difference, zigzag-coded so that small ones stay small.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends bytes behind their varint length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a body from front to back.
#[derive(Debug, Clone, Copy)]
pub struct Take<'a> {
    rest: &'a [u8],
}

impl<'a> Take<'a> {
    /// Begins at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What hasn't been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// `count` bytes.
    pub fn slice(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Short> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Short(what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn byte(&mut self, what: &'static str) -> Result<u8, Short> {
        Ok(self.slice(1, what)?[0])
    }

    /// `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Short> {
        self.slice(N, what)?.try_into().map_err(|_| Short(what))
    }

    /// A varint of at most 64 bits.
    pub fn varint(&mut self, what: &'static str) -> Result<u64, Short> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Short(what))
    }

    /// A varint that fits `T`.
    pub fn number<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Short> {
        T::try_from(self.varint(what)?).map_err(|_| Short(what))
    }

    /// A zigzag-coded difference.
    pub fn signed(&mut self, what: &'static str) -> Result<i64, Short> {
        let value = self.varint(what)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], Short> {
        let length = self.number(what)?;
        self.slice(length, what)
    }

    /// Text behind its length.
    pub fn text(&mut self, what: &'static str) -> Result<&'a str, Short> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| Short(what))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(value: u64, signed: i64, bytes: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_signed(&mut out, signed);
            put_bytes(&mut out, &bytes);
            let mut take = Take::new(&out);
            prop_assert_eq!(take.varint("value"), Ok(value));
            prop_assert_eq!(take.signed("signed"), Ok(signed));
            prop_assert_eq!(take.bytes("bytes"), Ok(bytes.as_slice()));
            prop_assert!(take.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut take = Take::new(&bytes);
            while take.varint("value").is_ok() && take.bytes("bytes").is_ok() {}
        }
    }
}
