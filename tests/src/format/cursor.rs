//! Taking integers and strings off a body, as "Bodies" says they are written.

/// The rest of a body.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

/// What is wrong with a body, in words.
pub(super) type Wrong = String;

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Wrong> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| format!("{count} bytes were expected, {} are left", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Wrong> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, Wrong> {
        let bytes = self.take(4)?.try_into().map_err(|_| "four bytes")?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Wrong> {
        let bytes = self.take(8)?.try_into().map_err(|_| "eight bytes")?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// LEB128, at most 10 bytes.
    pub(super) fn varint(&mut self) -> Result<u64, Wrong> {
        let mut value = 0u64;
        for index in 0..10 {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a varint of more than 10 bytes".into())
    }

    /// Zigzag: 0, -1, 1, -2, 2, …
    pub(super) fn signed(&mut self) -> Result<i64, Wrong> {
        let coded = self.varint()?;
        let half = (coded >> 1).cast_signed();
        Ok(if coded & 1 == 0 { half } else { -half - 1 })
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Wrong> {
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| "a length")?)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Wrong> {
        std::str::from_utf8(self.bytes()?).map_err(|error| error.to_string())
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Wrong> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes are left over")),
        }
    }
}
