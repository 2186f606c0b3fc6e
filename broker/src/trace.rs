//! W3C trace context: one trace from the sender through every attempt.
//!
//! The broker makes an attempt's span itself and tells [`Spans`] when it ended, so the engine
//! doesn't know OpenTelemetry, and a node without an exporter pays for 24 bytes.

use std::fmt;
use std::sync::Arc;

use journal::WallTime;

/// A `traceparent` of version 00 (W3C Trace Context, §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Not all zero.
    pub trace_id: [u8; 16],
    /// Not all zero.
    pub span_id: [u8; 8],
    /// Bit 0: sampled.
    pub flags: u8,
}

impl TraceParent {
    /// Reads a header. `None` for anything that isn't a usable `traceparent`; as the
    /// specification says, such a header counts as absent. Later versions are read by the first
    /// four fields.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (version, rest) = text.split_at_checked(2)?;
        let version = hex::<1>(version)?[0];
        if version == 0xff || rest.len() < 53 || (version == 0 && rest.len() != 53) {
            return None;
        }
        if rest[0] != b'-' || rest[33] != b'-' || rest[50] != b'-' {
            return None;
        }
        if rest.len() > 53 && rest[53] != b'-' {
            return None;
        }
        let parsed = Self {
            trace_id: hex(&rest[1..33])?,
            span_id: hex(&rest[34..50])?,
            flags: hex::<1>(&rest[51..53])?[0],
        };
        (parsed.trace_id != [0; 16] && parsed.span_id != [0; 8]).then_some(parsed)
    }

    /// Whether the sender asked for the trace to be recorded.
    pub fn sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The same trace under another span.
    #[must_use]
    pub fn child(&self, span_id: [u8; 8]) -> Self {
        Self { span_id, ..*self }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace_id
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        self.span_id
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "-{:02x}", self.flags)
    }
}

/// Lower-case hexadecimal, as the specification demands.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// One attempt, ended.
#[derive(Debug, Clone)]
pub struct AttemptSpan {
    /// The attempt's own span.
    pub span: TraceParent,
    /// The span it is a child of: the sender's, when it sent one.
    pub parent: Option<[u8; 8]>,
    /// When the request left.
    pub started: WallTime,
    /// When the answer was in.
    pub ended: WallTime,
    /// `namespace/name` of the trigger.
    pub trigger: Arc<str>,
    /// The destination's address.
    pub destination: Arc<str>,
    /// The event's `id`.
    pub event_id: String,
    /// The event's `source`.
    pub event_source: String,
    /// The event's `type`.
    pub event_type: String,
    /// Counted from 1.
    pub attempt: u32,
    /// The answer's status; `None` when nothing came back.
    pub status: Option<u16>,
    /// Whether the attempt delivered the event.
    pub delivered: bool,
}

/// Where ended spans go. `weft` exports them by OTLP when it was told where to.
pub trait Spans: Send + Sync + 'static {
    /// Whether spans are exported at all. When not, none is made.
    fn wanted(&self) -> bool;
    /// Takes one span; must not block.
    fn ended(&self, span: AttemptSpan);
}

/// Exports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSpans;

impl Spans for NoSpans {
    fn wanted(&self) -> bool {
        false
    }

    fn ended(&self, _span: AttemptSpan) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_survives_the_round_trip() {
        let parsed = TraceParent::parse(EXAMPLE.as_bytes()).unwrap();
        assert!(parsed.sampled());
        assert_eq!(parsed.to_string(), EXAMPLE);
    }

    #[test]
    fn what_is_not_a_traceparent_counts_as_absent() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_by_its_first_fields() {
        let later = format!("cc{}-what", &EXAMPLE[2..]);
        assert!(TraceParent::parse(later.as_bytes()).is_some());
    }
}
