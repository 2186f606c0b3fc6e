//! Making a sidecar: one walk through its segment.

use std::collections::BTreeSet;
use std::io;

use journal::{Journal, Offset, ReadError, SegmentFacts, Stored, WallTime};

use super::event_hash;
use crate::records::envelope::Envelope;
use crate::records::{EVENT, Malformed};

/// The first word of a sidecar: its layout's version.
pub(super) const LAYOUT: u64 = 1;

/// Bytes of the log read at a time.
const READ_BYTES: usize = 1 << 20;

/// Why a segment has no sidecar.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The segment couldn't be read, or was reclaimed meanwhile.
    #[error("reading segment {segment} for its sidecar")]
    Read {
        /// Its sequence.
        segment: u64,
        /// What failed.
        #[source]
        source: ReadError,
    },
    /// An event of the log doesn't read back.
    #[error("reading an event of segment {segment} for its sidecar")]
    Malformed {
        /// Its sequence.
        segment: u64,
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
    /// It couldn't be written.
    #[error("writing the sidecar of segment {segment}")]
    Write {
        /// Its sequence.
        segment: u64,
        /// What failed.
        #[source]
        source: io::Error,
    },
}

/// Builds the sidecar of a sealed `segment` from its records and writes it. Reads the whole segment:
/// blocking. What can't be read isn't in it, since nobody could replay it.
///
/// # Errors
///
/// [`BuildError`]; the segment then has no sidecar.
pub fn build(journal: &Journal, segment: &SegmentFacts) -> Result<(), BuildError> {
    let mut content = Content::default();
    let mut next = segment.first;
    while next < segment.end {
        let reading = journal
            .read(next, READ_BYTES)
            .map_err(|source| BuildError::Read {
                segment: segment.sequence,
                source,
            })?;
        for stored in &reading.records {
            if stored.offset < segment.end && stored.kind == EVENT {
                content
                    .take(stored)
                    .map_err(|source| BuildError::Malformed {
                        segment: segment.sequence,
                        source,
                    })?;
            }
        }
        if reading.next <= next {
            break;
        }
        next = reading.next;
    }
    journal
        .write_side(segment.sequence, &content.bytes(segment.first, segment.end))
        .map(drop)
        .map_err(|source| BuildError::Write {
            segment: segment.sequence,
            source,
        })
}

#[derive(Default)]
struct Content {
    arrivals: Option<(WallTime, WallTime)>,
    brokers: BTreeSet<u32>,
    hashes: Vec<u64>,
}

impl Content {
    fn take(&mut self, stored: &Stored) -> Result<(), Malformed> {
        let envelope = Envelope::read(stored)?;
        let at = envelope.arrival;
        self.arrivals = Some(
            self.arrivals
                .map_or((at, at), |(from, to)| (from.min(at), to.max(at))),
        );
        self.brokers.insert(envelope.broker);
        let event = envelope.event.as_ref();
        self.hashes.push(event_hash(event.source(), event.id()));
        Ok(())
    }

    fn bytes(mut self, first: Offset, end: Offset) -> Vec<u8> {
        self.hashes.sort_unstable();
        let (from, to) = self.arrivals.unwrap_or_default();
        let (events, brokers) = (self.hashes.len() as u64, self.brokers.len() as u64);
        let words = [LAYOUT, first.0, end.0, from.0, to.0, events, brokers];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(self.brokers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend(self.hashes.iter().flat_map(|hash| hash.to_le_bytes()));
        bytes
    }
}
