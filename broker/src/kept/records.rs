//! What lies in kept: copies of records whose segment of the log was reclaimed, and the state of
//! what they are about. Kinds of their own, since kept is a journal of its own.
//!
//! Copy (1), tag: the record's: offset varint | kind u8 | version u8 | the record's body, as it was.
//! Owed (2): offset varint | count varint | for each delivery owed of it: number varint | flags u8
//! (1 parked, 2 owed again) | with 2: since varint | with 1: due varint, count varint, attempts
//! ([`crate::records::attempt`]).
//! Letter (3): id varint | there u8 | when 1, its row ([`crate::dead_letters::Row`]).
//! Standing (4): part varint | count varint (0: there is nothing any more) | small state as records of
//! the log's kinds: kind u8 | version u8 | body as bytes behind a varint length.
//! Mark (11): as in the log.
//!
//! Of several about the same offset the last counts.

use journal::{Offset, Record, Stored, WallTime};

use crate::dead_letters::Row;
use crate::fold::ParkedThen;
use crate::records::attempt::{self, Attempt};
use crate::records::wire::{self, Short, Take};
use crate::records::{Malformed, Number, VERSION};

/// A record of the log.
pub const COPY: u8 = 1;
/// What is owed of an offset.
pub const OWED: u8 = 2;
/// What a dead letter is.
pub const LETTER: u8 = 3;
/// Small state.
pub const STANDING: u8 = 4;

/// A copy of a record of the log.
pub(crate) fn copy(stored: &Stored) -> Record {
    let mut body = Vec::with_capacity(stored.body.len() + 12);
    wire::put_varint(&mut body, stored.offset.0);
    body.push(stored.kind);
    body.push(stored.version);
    body.extend_from_slice(&stored.body);
    record(COPY, stored.tag, body)
}

/// The record that a copy is of.
pub(crate) fn read_copy(stored: &Stored) -> Result<Stored, Malformed> {
    (|| {
        if stored.kind != COPY {
            return Err(Short("kind"));
        }
        let mut take = Take::new(&stored.body);
        let offset = Offset(take.varint("offset")?);
        let (kind, version) = (take.byte("kind")?, take.byte("version")?);
        let start = stored.body.len() - take.rest().len();
        Ok(Stored {
            offset,
            kind,
            version,
            tag: stored.tag,
            body: stored.body.slice(start..),
        })
    })()
    .map_err(Malformed::at(stored.offset, COPY))
}

const PARKED: u8 = 1;
const AGAIN: u8 = 2;

/// What is owed of an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwedThen {
    pub(crate) offset: Offset,
    pub(crate) to: Vec<OwedTo>,
}

/// One delivery that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwedTo {
    pub(crate) number: Number,
    /// Since when it is owed again, if it is.
    pub(crate) again: Option<WallTime>,
    pub(crate) parked: Option<ParkedThen>,
}

/// How the histories of what is parked are made shorter, step by step.
const HISTORIES: [fn(&mut Vec<Attempt>); 3] = [
    |history| {
        let last = history.len().saturating_sub(1);
        let middle = history.get_mut(1..last).unwrap_or_default();
        middle.iter_mut().for_each(|attempt| attempt.body.clear());
    },
    |history| history.iter_mut().for_each(|attempt| attempt.body.clear()),
    |history| {
        attempt::keep_ends(history);
        for attempt in history {
            attempt.body.clear();
            attempt.text = "".into();
        }
    },
];

impl OwedThen {
    /// As much of it as fits a record of `bytes_max`: an event that is owed to many may come with
    /// longer histories than that. First go the answers' bodies, then all attempts but each
    /// history's first and last; how many there were stays, and when the next is due.
    pub(crate) fn record_within(mut self, bytes_max: usize) -> Record {
        let mut record = self.record();
        for lessen in HISTORIES {
            if record.body.len() <= bytes_max {
                break;
            }
            let parked = self.to.iter_mut().filter_map(|owed| owed.parked.as_mut());
            parked.for_each(|parked| lessen(&mut parked.history));
            record = self.record();
        }
        record
    }

    fn record(&self) -> Record {
        let mut body = Vec::new();
        wire::put_varint(&mut body, self.offset.0);
        wire::put_varint(&mut body, self.to.len() as u64);
        for owed in &self.to {
            wire::put_varint(&mut body, u64::from(owed.number));
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            body.push(flag(owed.parked.is_some(), PARKED) | flag(owed.again.is_some(), AGAIN));
            if let Some(since) = owed.again {
                wire::put_varint(&mut body, since.0);
            }
            if let Some(parked) = &owed.parked {
                parked.put(&mut body);
            }
        }
        record(OWED, 0, body)
    }

    pub(crate) fn read(stored: &Stored) -> Result<Self, Malformed> {
        (|| {
            let mut take = Take::new(&stored.body);
            let offset = Offset(take.varint("offset")?);
            let mut to = Vec::new();
            for _ in 0..take.varint("count")? {
                let number = take.number("number")?;
                let flags = take.byte("flags")?;
                let again = match flags & AGAIN {
                    0 => None,
                    _ => Some(WallTime(take.varint("since")?)),
                };
                let parked = match flags & PARKED {
                    0 => None,
                    _ => Some(ParkedThen::take(&mut take)?),
                };
                to.push(OwedTo {
                    number,
                    again,
                    parked,
                });
            }
            Ok(Self { offset, to })
        })()
        .map_err(Malformed::at(stored.offset, OWED))
    }
}

/// What a dead letter is; none: it is gone.
pub(crate) fn letter(id: Offset, row: Option<&Row>) -> Record {
    let mut body = Vec::new();
    wire::put_varint(&mut body, id.0);
    body.push(u8::from(row.is_some()));
    if let Some(row) = row {
        body.extend_from_slice(&row.encode());
    }
    record(LETTER, 0, body)
}

/// Reads it back.
pub(crate) fn read_letter(stored: &Stored) -> Result<(Offset, Option<Row>), Malformed> {
    (|| {
        let mut take = Take::new(&stored.body);
        let id = Offset(take.varint("id")?);
        Ok(match take.byte("there")? {
            0 => (id, None),
            _ => (id, Some(Row::decode(id, take.rest())?)),
        })
    })()
    .map_err(Malformed::at(stored.offset, LETTER))
}

/// A part of the small state, as records.
pub(crate) fn standing(part: Offset, records: &[Record]) -> Record {
    let mut body = Vec::new();
    wire::put_varint(&mut body, part.0);
    put_standing(&mut body, records);
    record(STANDING, 0, body)
}

/// Reads it back.
pub(crate) fn read_standing(stored: &Stored) -> Result<Vec<Record>, Malformed> {
    (|| {
        let mut take = Take::new(&stored.body);
        take.varint("part")?;
        take_standing(&mut take)
    })()
    .map_err(Malformed::at(stored.offset, STANDING))
}

/// Appends records to a longer body.
pub(crate) fn put_standing(out: &mut Vec<u8>, records: &[Record]) {
    wire::put_varint(out, records.len() as u64);
    for record in records {
        out.extend_from_slice(&[record.kind, record.version]);
        wire::put_bytes(out, &record.body);
    }
}

/// Reads them from it.
pub(crate) fn take_standing(take: &mut Take<'_>) -> Result<Vec<Record>, Short> {
    let mut records = Vec::new();
    for _ in 0..take.varint("standing records")? {
        records.push(Record {
            kind: take.byte("kind")?,
            version: take.byte("version")?,
            tag: 0,
            body: take.bytes("body")?.to_vec().into(),
        });
    }
    Ok(records)
}

fn record(kind: u8, tag: u32, body: Vec<u8>) -> Record {
    Record {
        kind,
        version: VERSION,
        tag,
        body: body.into(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use triggers::TriggerName;

    use super::*;
    use crate::dead_letters::{Reason, State};
    use crate::records::attempt::Verdict;
    use crate::records::{Cause, EVENT};

    fn stored(record: Record) -> Stored {
        Stored {
            offset: Offset(99),
            kind: record.kind,
            version: record.version,
            tag: record.tag,
            body: record.body,
        }
    }

    #[test]
    fn what_is_kept_reads_back_and_what_is_cut_short_is_refused() {
        let event = Stored {
            offset: Offset(300),
            kind: EVENT,
            version: VERSION,
            tag: 7,
            body: Bytes::from_static(b"the event"),
        };
        assert_eq!(read_copy(&stored(copy(&event))), Ok(event));

        let attempt = |started, body: &'static [u8]| Attempt {
            started: WallTime(started),
            latency_ms: 5,
            verdict: Verdict::Said,
            status: Some(503),
            text: "".into(),
            body: Bytes::from_static(body),
            left_out: 0,
        };
        let parked = ParkedThen {
            due: WallTime(1000),
            history: vec![attempt(1, b"busy"), attempt(2, b"busy"), attempt(3, b"")],
        };
        let to = |number, again, parked| OwedTo {
            number,
            again,
            parked,
        };
        let owed = OwedThen {
            offset: Offset(300),
            to: vec![
                to(1, None, None),
                to(2, Some(WallTime(77)), Some(parked)),
                to(1 << 31, None, None),
            ],
        };
        assert_eq!(OwedThen::read(&stored(owed.record())), Ok(owed.clone()));

        let row = Row {
            id: Offset(400),
            event: Offset(300),
            number: 2,
            trigger: TriggerName::new("shop", "billing"),
            reason: Reason::Dead(Cause::Exhausted),
            at: WallTime(5),
            bytes: 300,
            status: None,
            forwarded: false,
            state: State::Redriven(WallTime(8)),
            forwarding: false,
            payload_discarded: false,
            let_go: false,
        };
        let kept = read_letter(&stored(letter(row.id, Some(&row))));
        assert_eq!(kept, Ok((row.id, Some(row.clone()))));
        assert_eq!(
            read_letter(&stored(letter(row.id, None))),
            Ok((row.id, None))
        );

        let mut many = owed;
        let mut parked = many.to[1].clone();
        let Some(ParkedThen { history, .. }) = &mut parked.parked else {
            unreachable!()
        };
        for (n, attempt) in (0..).zip(history.iter_mut()) {
            attempt.body = vec![n; 4096].into();
        }
        many.to = (2..200)
            .map(|number| OwedTo {
                number,
                ..parked.clone()
            })
            .collect();
        for bytes_max in [2 << 20, 1 << 20, 64 << 10, 12 << 10] {
            let record = many.clone().record_within(bytes_max);
            assert!(record.body.len() <= bytes_max, "{bytes_max}");
            let read = OwedThen::read(&stored(record)).unwrap();
            for (read, to) in read.to.iter().zip(&many.to) {
                assert_eq!((read.number, read.again), (to.number, to.again));
                let (read, to) = (read.parked.as_ref(), to.parked.as_ref());
                let (read, to) = (read.unwrap(), to.unwrap());
                assert_eq!(read.due, to.due);
                assert_eq!(attempt::count(&read.history), attempt::count(&to.history));
            }
        }

        let whole = many.record();
        for length in (0..whole.body.len()).step_by(997) {
            let cut = Record {
                body: whole.body.slice(..length),
                ..whole.clone()
            };
            assert!(OwedThen::read(&stored(cut)).is_err(), "{length}");
        }
    }
}
