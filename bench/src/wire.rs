//! HTTP/1.1 as the driver speaks it: prepared requests, and reading just enough of what comes.
//!
//! The server under test has one core and the driver another, so every microsecond here lowers
//! the rate that can be seen. A request is rendered once for each connection, and only its id,
//! its time and its type's number are patched before it is sent again.

/// The longest head read, of a request or an answer.
const HEADERS_MAX: usize = 64;
const ID_DIGITS: usize = 12;
const AT_DIGITS: usize = 20;
const FUNCTION_DIGITS: usize = 4;

/// A request, with the places of what changes from one to the next.
#[derive(Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    places: Places,
}

#[derive(Clone, Copy)]
struct Places {
    id: usize,
    at: usize,
    function: usize,
}

impl Request {
    /// A CloudEvent in binary mode with `data_bytes` of JSON. Ids are unique while `run` is.
    pub(crate) fn event(host: &str, path: &str, run: &str, data_bytes: usize) -> Self {
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nce-specversion: 1.0\r\nce-source: /weft/bench\r\n\
             ce-type: {}",
            type_prefix()
        )
        .into_bytes();
        let function = blank(&mut bytes, FUNCTION_DIGITS);
        bytes.extend_from_slice(format!("\r\nce-id: {run}-").as_bytes());
        let id = blank(&mut bytes, ID_DIGITS);
        bytes.extend_from_slice(b"\r\nce-weftbenchat: ");
        let at = blank(&mut bytes, AT_DIGITS);
        let data = json(data_bytes);
        bytes.extend_from_slice(b"\r\ncontent-type: application/json\r\n");
        bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", data.len()).as_bytes());
        bytes.extend_from_slice(&data);
        Self {
            bytes,
            places: Places { id, at, function },
        }
    }

    /// Writes event number `number`, meant to be sent at `at` nanoseconds, into the request.
    pub(crate) fn set(&mut self, number: u64, at: u64, function: usize) {
        let Places {
            id,
            at: time,
            function: kind,
        } = self.places;
        decimal(&mut self.bytes[id..id + ID_DIGITS], number);
        decimal(&mut self.bytes[time..time + AT_DIGITS], at);
        decimal(
            &mut self.bytes[kind..kind + FUNCTION_DIGITS],
            function as u64,
        );
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the type of every event begins with; the function's number in four digits follows.
pub(crate) const fn type_prefix() -> &'static str {
    "com.example.bench.f"
}

/// The type of the events meant for one function.
pub(crate) fn type_of(function: usize) -> String {
    format!("{}{function:0FUNCTION_DIGITS$}", type_prefix())
}

fn blank(bytes: &mut Vec<u8>, digits: usize) -> usize {
    let at = bytes.len();
    bytes.resize(at + digits, b'0');
    at
}

fn decimal(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// `bytes` of JSON, a small order with a long note.
pub(crate) fn json(bytes: usize) -> Vec<u8> {
    let mut data = br#"{"order":"A-1001","currency":"EUR","lines":[{"sku":"7"}],"note":""#.to_vec();
    let end = br#""}"#;
    let fill = bytes.saturating_sub(data.len() + end.len());
    data.extend((0..fill).map(|place| b'a' + (place % 26) as u8));
    data.extend_from_slice(end);
    data
}

/// One message found at the start of a buffer.
#[derive(Debug, PartialEq)]
pub(crate) struct Message<T> {
    pub(crate) said: T,
    /// Bytes of head and body together.
    pub(crate) bytes: usize,
}

/// What an event that reached the sink says of itself.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct Stamp {
    /// Its number, when the id ends in one.
    pub(crate) number: Option<u64>,
    /// The intended send time in nanoseconds, when it carries one.
    pub(crate) at: Option<u64>,
}

/// Bytes that the driver does not read: not HTTP/1.1, or a body without a length.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("not HTTP/1.1 with a content-length")]
pub(crate) struct Unreadable;

/// Reads an answer's status; `None` while bytes are missing.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<Message<u16>>, Unreadable> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(bytes).map_err(|_| Unreadable)? else {
        return Ok(None);
    };
    let status = head.code.ok_or(Unreadable)?;
    let body = if status == 204 {
        Some(0)
    } else {
        body_bytes(head.headers)?
    };
    let bytes_all = head_bytes + body.ok_or(Unreadable)?;
    Ok((bytes_all <= bytes.len()).then_some(Message {
        said: status,
        bytes: bytes_all,
    }))
}

/// Reads the stamp of a request to the sink; `None` while bytes are missing.
pub(crate) fn request(bytes: &[u8]) -> Result<Option<Message<Stamp>>, Unreadable> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(bytes).map_err(|_| Unreadable)? else {
        return Ok(None);
    };
    let bytes_all = head_bytes + body_bytes(head.headers)?.unwrap_or(0);
    if bytes.len() < bytes_all {
        return Ok(None);
    }
    let mut stamp = Stamp::default();
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("ce-id") {
            let digits = header.value.len().saturating_sub(ID_DIGITS);
            stamp.number = number(&header.value[digits..]);
        } else if header.name.eq_ignore_ascii_case("ce-weftbenchat") {
            stamp.at = number(header.value);
        }
    }
    Ok(Some(Message {
        said: stamp,
        bytes: bytes_all,
    }))
}

fn body_bytes(headers: &[httparse::Header<'_>]) -> Result<Option<usize>, Unreadable> {
    let mut length = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = number(header.value).ok_or(Unreadable)?;
            length = Some(usize::try_from(value).map_err(|_| Unreadable)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Unreadable);
        }
    }
    Ok(length)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_sent_is_the_event_read() {
        let mut sent = Request::event("h:1", "/default/default", "r1", 1024);
        sent.set(42, 1_234_567, 7);
        let text = std::str::from_utf8(sent.bytes()).unwrap();
        assert!(
            text.contains(&format!("\r\nce-type: {}\r\n", type_of(7))),
            "{text}"
        );
        assert!(text.ends_with("\"}"), "{text}");
        let read = request(sent.bytes()).unwrap().unwrap();
        assert_eq!(read.bytes, sent.bytes().len());
        assert_eq!(
            read.said,
            Stamp {
                number: Some(42),
                at: Some(1_234_567)
            }
        );
        assert_eq!(request(&sent.bytes()[..read.bytes - 1]), Ok(None));
    }

    #[test]
    fn data_has_the_size_asked_for() {
        assert_eq!(json(1024).len(), 1024);
    }

    #[test]
    fn an_answer_is_read_once_all_of_it_is_there() {
        let bytes = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok";
        let all = Message {
            said: 202,
            bytes: bytes.len(),
        };
        assert_eq!(answer(&[bytes, &b"HTTP/1.1 "[..]].concat()), Ok(Some(all)));
        assert_eq!(answer(&bytes[..bytes.len() - 1]), Ok(None));
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\n\r\n"), Err(Unreadable));
        assert_eq!(
            answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Err(Unreadable)
        );
        assert_eq!(answer(b"SSH-2.0\r\n"), Err(Unreadable));
    }
}
