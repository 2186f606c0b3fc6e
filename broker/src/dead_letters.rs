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

use crate::letter_query::{From, Page, Query, READ_MAX};
use crate::log::Log;
use crate::records::dead::Dead;
use crate::records::envelope::Envelope;
use crate::records::redriven::{Action, Redriven};
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
    /// Whether it still waits for somebody.
    pub state: State,
}

/// What has become of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for somebody to redrive or discard it.
    Kept,
    /// A new delivery of its event began then.
    Redriven(WallTime),
    /// Somebody said then that it isn't needed.
    Discarded(WallTime),
}

impl State {
    /// The word that commands show.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Redriven(_) => "redriven",
            Self::Discarded(_) => "discarded",
        }
    }

    /// Since when it isn't kept any more.
    pub fn since(self) -> Option<WallTime> {
        match self {
            Self::Kept => None,
            Self::Redriven(at) | Self::Discarded(at) => Some(at),
        }
    }
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
                state: State::Kept,
            },
        );
    }

    /// Marks what was done with a letter. Returns its event's offset when the letter needs that no
    /// more and did before.
    pub(crate) fn mark(&mut self, redriven: &Redriven) -> Option<Offset> {
        let row = self.rows.get_mut(&redriven.letter)?;
        let was_kept = row.state == State::Kept;
        row.state = match redriven.action {
            Action::Again { .. } => State::Redriven(redriven.at),
            Action::Discarded => State::Discarded(redriven.at),
            Action::PayloadDiscarded => row.state,
        };
        (was_kept && row.state != State::Kept).then_some(row.event)
    }

    pub(crate) fn row(&self, id: Offset) -> Option<&Row> {
        self.rows.get(&id)
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Those that wait for somebody.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Row> {
        self.rows().filter(|row| row.state == State::Kept)
    }
}

/// A dead letter with all that is kept of it.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The Dead record's offset.
    pub id: Offset,
    /// What has become of it.
    pub state: State,
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

    /// How many wait for somebody.
    pub fn count(&self) -> usize {
        self.locked(|letters| letters.kept().count())
    }

    /// How many wait for somebody of each trigger, those of deleted ones too.
    pub fn count_by_trigger(&self) -> BTreeMap<Number, u64> {
        self.locked(|letters| {
            let mut counts = BTreeMap::new();
            letters
                .kept()
                .for_each(|row| *counts.entry(row.number).or_default() += 1);
            counts
        })
    }

    /// How many are in each state: kept, redriven, discarded.
    pub fn count_by_state(&self) -> [u64; 3] {
        self.locked(|letters| {
            let mut counts = [0; 3];
            for row in letters.rows() {
                counts[match row.state {
                    State::Kept => 0,
                    State::Redriven(_) => 1,
                    State::Discarded(_) => 2,
                }] += 1;
            }
            counts
        })
    }

    /// What the index knows of a letter.
    pub fn row(&self, id: Offset) -> Option<Row> {
        self.locked(|letters| letters.rows.get(&id).cloned())
    }

    /// Behind the newest letter.
    pub fn end(&self) -> Offset {
        let last = self.locked(|letters| letters.rows.keys().next_back().copied());
        last.map_or(Offset(0), |last| Offset(last.0 + 1))
    }

    /// Rows that may be wanted, at most `limit`, without reading the log.
    pub fn rows(&self, query: &Query, from: From, limit: usize) -> Vec<Row> {
        self.locked(|letters| {
            let wanted = |row: &&Row| query.wants_row(row);
            match from {
                From::NewestBefore(before) => {
                    let rows = letters.rows.range(..before).rev().map(|(_, row)| row);
                    rows.filter(wanted).take(limit).cloned().collect()
                }
                From::Oldest(from) => {
                    let rows = letters.rows.range(from..).map(|(_, row)| row);
                    rows.filter(wanted).take(limit).cloned().collect()
                }
            }
        })
    }

    /// Letters that are wanted, at most `limit`. Reads the log, at most [`READ_MAX`] letters of it:
    /// not for an engine's thread with a long list.
    pub fn page(&self, query: &Query, from: From, limit: usize) -> Page {
        let mut page = Page::default();
        let mut reader = self.log.journal().reader();
        let budget = if query.reads() { READ_MAX } else { limit };
        let rows = self.rows(query, from, budget + 1);
        for row in rows {
            if page.letters.len() == limit || page.read == budget {
                page.next = Some(match from {
                    From::NewestBefore(_) => Offset(row.id.0 + 1),
                    From::Oldest(_) => row.id,
                });
                break;
            }
            page.read += 1;
            match read_letter(&mut reader, &row) {
                Ok(letter) if query.wants(&letter) => page.letters.push(letter),
                Ok(_) => {}
                Err(why) => tracing::error!(why, id = row.id.0, "a dead letter can't be read"),
            }
        }
        page
    }

    /// One letter; `None` when there is none of that id.
    pub fn show(&self, id: Offset) -> Option<Letter> {
        let row = self.row(id)?;
        read_letter(&mut self.log.journal().reader(), &row).ok()
    }

    fn locked<T>(&self, look: impl FnOnce(&Letters) -> T) -> T {
        look(&self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read_letter(reader: &mut Reader, row: &Row) -> Result<Letter, String> {
    let dead = read_dead(reader, row.id)?;
    let event = read_event(reader, dead.offset);
    Ok(Letter {
        id: row.id,
        state: row.state,
        dead,
        event,
    })
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
