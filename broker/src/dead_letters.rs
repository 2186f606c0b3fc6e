//! The dead letters: always kept, with payload and every attempt, also when their trigger is
//! gone (contract §3).
//!
//! The index in memory says where each Dead record stands; the record and the event are read
//! when somebody looks. An event with a dead letter keeps its segment of the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Offset, Reader, WallTime};
use triggers::TriggerName;

use crate::log::Log;
use crate::records::dead::Dead;
use crate::records::envelope::Envelope;
use crate::records::{Cause, DEAD, EVENT, Number};

/// `knativeerrordata` has at most 1,024 characters: 768 bytes before base64 (contract §3).
const ERROR_DATA_BYTES_MAX: usize = 768;

/// Where one dead letter is.
#[derive(Debug, Clone)]
pub struct Row {
    /// The Dead record's offset: the letter's id.
    pub id: Offset,
    /// The event's offset.
    pub event: Offset,
    /// The trigger's number.
    pub number: Number,
    /// The trigger's name, which outlives it.
    pub trigger: TriggerName,
    /// Why it is here.
    pub cause: Cause,
    /// When it came here.
    pub at: WallTime,
}

/// The index: rows by id.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    rows: BTreeMap<Offset, Row>,
    /// One name for all letters of a trigger.
    names: BTreeMap<Number, TriggerName>,
}

impl Letters {
    pub(crate) fn insert(&mut self, id: Offset, dead: &Dead) {
        let name = || TriggerName::new(&*dead.namespace, &*dead.name);
        let trigger = self.names.entry(dead.number).or_insert_with(name).clone();
        let Dead {
            number,
            offset: event,
            cause,
            at,
            ..
        } = *dead;
        self.rows.insert(
            id,
            Row {
                id,
                event,
                number,
                trigger,
                cause,
                at,
            },
        );
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }
}

/// Which letters to list.
#[derive(Debug, Clone)]
pub struct Query {
    /// Only this trigger's.
    pub trigger: Option<TriggerName>,
    /// Only those older than this one; for the next page.
    pub before: Option<Offset>,
    /// At most this many.
    pub limit: usize,
}

/// A dead letter with all that is kept of it.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The Dead record's offset.
    pub id: Offset,
    /// The trigger, the cause, the attempts.
    pub dead: Dead,
    /// The event; what keeps it from being read, if damage does.
    pub event: Result<Envelope, String>,
}

/// Reads dead letters. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    letters: Arc<Mutex<Letters>>,
    log: Log,
}

impl DeadLetters {
    pub(crate) fn new(letters: Arc<Mutex<Letters>>, log: Log) -> Self {
        Self { letters, log }
    }

    /// How many are kept.
    pub fn count(&self) -> usize {
        self.locked(|letters| letters.rows.len())
    }

    /// How many are kept of each trigger, those of deleted ones too.
    pub fn count_by_trigger(&self) -> BTreeMap<Number, u64> {
        self.locked(|letters| {
            let mut counts = BTreeMap::new();
            letters
                .rows()
                .for_each(|row| *counts.entry(row.number).or_default() += 1);
            counts
        })
    }

    /// The newest letters first, without reading the log.
    pub fn rows(&self, query: &Query) -> Vec<Row> {
        let end = query.before.unwrap_or(Offset(u64::MAX));
        let wanted = |row: &&Row| {
            query
                .trigger
                .as_ref()
                .is_none_or(|name| row.trigger == *name)
        };
        self.locked(|letters| {
            let newest_first = letters.rows.range(..end).rev().map(|(_, row)| row);
            newest_first
                .filter(wanted)
                .take(query.limit)
                .cloned()
                .collect()
        })
    }

    /// The newest letters first. Reads the log: not for an engine's thread with a long list.
    pub fn list(&self, query: &Query) -> Vec<Letter> {
        let mut reader = self.log.journal().reader();
        let rows = self.rows(query);
        rows.iter()
            .filter_map(|row| read_letter(&mut reader, row.id).ok())
            .collect()
    }

    /// One letter; `None` when there is none of that id.
    pub fn show(&self, id: Offset) -> Option<Letter> {
        if !self.locked(|letters| letters.rows.contains_key(&id)) {
            return None;
        }
        read_letter(&mut self.log.journal().reader(), id).ok()
    }

    fn locked<T>(&self, look: impl FnOnce(&Letters) -> T) -> T {
        look(&self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read_letter(reader: &mut Reader, id: Offset) -> Result<Letter, String> {
    let dead = read_dead(reader, id)?;
    let event = read_event(reader, dead.offset);
    Ok(Letter { id, dead, event })
}

/// Reads the Dead record at `offset`.
pub(crate) fn read_dead(reader: &mut Reader, offset: Offset) -> Result<Dead, String> {
    let stored = reader.get(offset).map_err(|error| error.to_string())?;
    let stored = stored.filter(|stored| stored.kind == DEAD);
    let stored = stored.ok_or_else(|| format!("there is no dead letter at {}", offset.0))?;
    Dead::read(&stored).map_err(|malformed| malformed.to_string())
}

/// Reads the event at `offset`.
pub(crate) fn read_event(reader: &mut Reader, offset: Offset) -> Result<Envelope, String> {
    let stored = reader.get(offset).map_err(|error| error.to_string())?;
    let stored = stored.filter(|stored| stored.kind == EVENT);
    let stored = stored.ok_or_else(|| format!("there is no event at {}", offset.0))?;
    Envelope::read(&stored).map_err(|malformed| malformed.to_string())
}

/// What a dead letter sink gets beside the event: where it failed, the final status, and the
/// start of what the destination said.
pub(crate) fn error_attributes(dead: &Dead) -> Vec<(&'static str, String)> {
    let last = dead.attempts.last();
    let mut attributes = vec![("knativeerrordest", dead.destination.clone())];
    // A delivery that never got an attempt, as an expired one, has no code.
    if let Some(last) = last {
        let code = last.status.unwrap_or(TRANSPORT_FAILURE_CODE);
        attributes.push(("knativeerrorcode", code.to_string()));
        if !last.body.is_empty() {
            let body = &last.body[..last.body.len().min(ERROR_DATA_BYTES_MAX)];
            attributes.push(("knativeerrordata", STANDARD.encode(body)));
        }
    }
    attributes
}

/// What `knativeerrorcode` says when nothing came back (contract §3).
const TRANSPORT_FAILURE_CODE: u16 = 500;
