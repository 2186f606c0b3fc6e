//! A second look at HTTP/1.1 heads, for what the parser takes or hides.
//!
//! hyper removes `Content-Length` from a request that also has `Transfer-Encoding`, and its
//! parser takes a bare LF as the end of a line. Both are how requests are smuggled past a proxy
//! that reads them otherwise, so DESIGN §9 refuses them. The scan sees each byte before the
//! parser does, follows `Content-Length` to the next head, and is quick: it looks at the first
//! bytes of each line of a head and skips bodies.
//!
//! It doesn't follow chunked bodies. Behind one it rests until a read that begins with nothing
//! in the air; a head that was pipelined behind a chunked body is parsed by hyper alone, which
//! then ignores a `Content-Length` beside `Transfer-Encoding` and closes the connection, so
//! nothing that follows can be taken for a request.

/// What a head may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// A line that ends in LF without CR.
    BareLf,
    /// Both `Content-Length` and `Transfer-Encoding`.
    TwoLengths,
}

/// How much of a line that spans reads is kept: the longest name that matters, and a number.
const LINE_KEPT_BYTES: usize = 64;

#[derive(Debug)]
enum Place {
    /// In a head; `begun` after its request line.
    Head { begun: bool },
    /// In a body of which this much is still to come.
    Body { left: u64 },
    /// Somewhere in or behind a chunked body.
    Lost,
    /// Nothing more is looked at.
    Done,
}

/// The scan of one connection.
#[derive(Debug)]
pub(super) struct Scan {
    place: Place,
    /// The start of a line that the last read cut.
    cut: Vec<u8>,
    /// The last byte of that line so far.
    cut_last: u8,
    length: Option<u64>,
    chunked: bool,
    heads: u64,
    /// The first violation, and the number of its head counted from 1.
    pub(super) found: Option<(u64, Violation)>,
}

impl Scan {
    /// A scan that waits for the first head.
    pub(super) fn new() -> Self {
        Self {
            place: Place::Head { begun: false },
            cut: Vec::new(),
            cut_last: 0,
            length: None,
            chunked: false,
            heads: 0,
            found: None,
        }
    }

    /// Takes up again behind a chunked body: the next byte begins the head after `served`.
    pub(super) fn resume(&mut self, served: u64) {
        if matches!(self.place, Place::Lost) {
            self.place = Place::Head { begun: false };
            self.heads = served;
        }
    }

    /// Looks at bytes as they were read.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Lost | Place::Done => return,
                Place::Body { left } => {
                    let skipped = bytes
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= skipped as u64;
                    bytes = &bytes[skipped..];
                    if *left == 0 {
                        self.place = Place::Head { begun: false };
                    }
                }
                Place::Head { .. } => bytes = self.line(bytes),
            }
        }
    }

    /// Takes one line, or the part of it that is there, off the front.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            let room = LINE_KEPT_BYTES - self.cut.len();
            self.cut.extend_from_slice(&bytes[..bytes.len().min(room)]);
            self.cut_last = bytes[bytes.len() - 1];
            return &[];
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if self.cut.is_empty() {
            self.end_of_line(line, line.last() == Some(&b'\r'));
        } else {
            let last = line.last().copied().unwrap_or(self.cut_last);
            let mut whole = std::mem::take(&mut self.cut);
            let room = LINE_KEPT_BYTES - whole.len();
            whole.extend_from_slice(&line[..line.len().min(room)]);
            self.end_of_line(&whole, last == b'\r');
        }
        rest
    }

    /// `line` is without its LF; of a long line that spans reads it is only the start.
    fn end_of_line(&mut self, line: &[u8], has_cr: bool) {
        if !has_cr {
            return self.stop(Violation::BareLf);
        }
        let begun = matches!(self.place, Place::Head { begun: true });
        match line.first() {
            Some(b'\r') if begun => self.end_of_head(),
            // Empty lines before a request are skipped, as the parser does.
            Some(b'\r') => {}
            _ if !begun => self.place = Place::Head { begun: true },
            Some(b'c' | b'C') => {
                if let Some(value) = value_of(line, b"content-length:") {
                    self.length = value.trim_ascii().iter().try_fold(0_u64, |number, byte| {
                        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
                        number.checked_mul(10)?.checked_add(digit)
                    });
                    if self.length.is_none() {
                        // Not a number: the parser answers 400 and closes.
                        self.place = Place::Done;
                    }
                }
            }
            Some(b't' | b'T') => self.chunked |= value_of(line, b"transfer-encoding:").is_some(),
            _ => {}
        }
    }

    fn end_of_head(&mut self) {
        let (length, chunked) = (self.length.take(), std::mem::take(&mut self.chunked));
        if length.is_some() && chunked {
            return self.stop(Violation::TwoLengths);
        }
        self.heads += 1;
        self.place = match length {
            _ if chunked => Place::Lost,
            Some(left) if left > 0 => Place::Body { left },
            _ => Place::Head { begun: false },
        };
    }

    fn stop(&mut self, violation: Violation) {
        self.found = Some((self.heads + 1, violation));
        self.place = Place::Done;
    }
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in one read, byte by byte, and cut anywhere in two.
    #[track_caller]
    fn check(text: &str, expected: Option<(u64, Violation)>) {
        let bytes = text.as_bytes();
        for at in 0..=bytes.len() {
            let mut scan = Scan::new();
            scan.feed(&bytes[..at]);
            scan.feed(&bytes[at..]);
            assert_eq!(scan.found, expected, "cut at {at}: {text:?}");
        }
        let mut scan = Scan::new();
        bytes
            .iter()
            .for_each(|byte| scan.feed(std::slice::from_ref(byte)));
        assert_eq!(scan.found, expected, "byte by byte: {text:?}");
    }

    const GOOD: &str = "POST /a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab\ncd";

    #[test]
    fn good_requests_pass_also_pipelined_and_with_line_feeds_in_bodies() {
        check(GOOD, None);
        check(&GOOD.repeat(3), None);
        check(
            "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            None,
        );
        check(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n11\r\nContent-Length: 1\n\r\n0\r\n\r\n",
            None,
        );
        check(
            &format!("POST / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(300)),
            None,
        );
    }

    #[test]
    fn both_lengths_are_found_in_either_order_and_case() {
        let found = Some((1, Violation::TwoLengths));
        check(
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            found,
        );
        check(
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH:5\r\n\r\n",
            found,
        );
    }

    #[test]
    fn a_violation_belongs_to_its_own_request() {
        let second = "POST / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n";
        check(&format!("{GOOD}{second}"), Some((2, Violation::BareLf)));
        check(
            "POST / HTTP/1.1\nHost: x\r\n\r\n",
            Some((1, Violation::BareLf)),
        );
    }

    #[test]
    fn behind_a_chunked_body_it_takes_up_with_the_next_request() {
        let mut scan = Scan::new();
        scan.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
        scan.resume(1);
        scan.feed(b"POST / HTTP/1.1\r\nHost: x\n\r\n");
        assert_eq!(scan.found, Some((2, Violation::BareLf)));
    }
}
