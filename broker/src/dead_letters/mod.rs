//! The dead letters: always kept, with payload and every attempt, also when their trigger is
//! gone (contract §3).
//!
//! Their rows are in the [view](crate::view), so that millions of them cost no memory; the record
//! and the event are read when somebody looks, from the log or from kept.

mod row;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Journal, Offset, ReadError};

pub(crate) use self::row::REJECTED_NUMBER;
pub use self::row::{Reason, Row, State};

use crate::letter_query::{From, Page, Query, READ_MAX};
use crate::records::attempt::Attempt;
use crate::records::dead::Dead;
use crate::records::envelope::Envelope;
use crate::records::rejected::Rejected;
use crate::records::{DEAD, EVENT, Number, REJECTED};
use crate::store::{GetError, Store, StoreReader};
use crate::view::Counts;

/// `knativeerrordata` has at most 1,024 characters: 768 bytes before base64 (contract §3).
const ERROR_DATA_BYTES_MAX: usize = 768;

/// A dead letter with all that is kept of it.
#[derive(Debug, Clone)]
pub struct Letter {
    /// What the list says of it.
    pub row: Row,
    /// What is kept of how it came here.
    pub content: Content,
    /// The event; why there is none, if it is damaged, gave way to the quota, or isn't kept any
    /// more since the letter was redriven or discarded; or if there never was one.
    pub event: Result<Envelope, String>,
}

/// What a letter is about.
#[derive(Debug, Clone)]
pub enum Content {
    /// A delivery: the trigger, the cause, the attempts.
    Dead(Box<Dead>),
    /// What a source rejected; why it isn't there any more, for the reasons an event has.
    Rejected(Result<Box<Rejected>, String>),
}

impl Letter {
    /// Every attempt of the delivery; of what was rejected there were none.
    pub fn attempts(&self) -> &[Attempt] {
        self.dead().map_or(&[], |dead| &dead.attempts)
    }

    /// The delivery that died, if it is about one.
    pub fn dead(&self) -> Option<&Dead> {
        match &self.content {
            Content::Dead(dead) => Some(dead),
            Content::Rejected(_) => None,
        }
    }

    /// What a source rejected, if it is about that and is still there.
    pub fn rejected(&self) -> Option<&Rejected> {
        match &self.content {
            Content::Rejected(Ok(rejected)) => Some(rejected),
            _ => None,
        }
    }
}

/// Reads dead letters. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    store: Store,
}

impl DeadLetters {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    pub(crate) fn kept(&self) -> &Journal {
        self.store.kept()
    }

    /// How many wait for somebody.
    pub fn count(&self) -> usize {
        self.counts().kept_total() as usize
    }

    /// How many wait for somebody of each trigger, those of deleted ones too.
    pub fn count_by_trigger(&self) -> BTreeMap<Number, u64> {
        self.counts().kept
    }

    /// How many are in each state: kept, redriven, discarded.
    pub fn count_by_state(&self) -> [u64; 3] {
        let counts = self.counts();
        [counts.kept_total(), counts.redriven, counts.discarded]
    }

    fn counts(&self) -> Counts {
        self.store.view().letter_counts()
    }

    /// Behind the newest letter.
    pub fn end(&self) -> Offset {
        self.store.view().letters_end().unwrap_or_else(|error| {
            tracing::error!(%error, "the newest dead letter can't be looked up");
            Offset(0)
        })
    }

    /// Rows that may be wanted, at most `limit`, without reading a record.
    pub fn rows(&self, query: &Query, from: From, limit: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        if limit == 0 {
            return rows;
        }
        let take = |row: Row| {
            if query.wants_row(&row) {
                rows.push(row);
            }
            match rows.len() < limit {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        let view = self.store.view();
        let trigger = query.trigger.as_ref();
        let listed = match from {
            From::NewestBefore(before) => view.letters_downwards(trigger, before, take),
            From::Oldest(from) => view.letters_upwards(trigger, from, take),
        };
        if let Err(error) = listed {
            tracing::error!(%error, "dead letters can't be listed");
        }
        rows
    }

    /// Letters that are wanted, at most `limit`. Reads records, at most [`READ_MAX`] letters' of
    /// them: not for an engine's thread with a long list.
    pub fn page(&self, query: &Query, from: From, limit: usize) -> Page {
        let mut page = Page::default();
        let mut reader = self.store.reader();
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

    /// What the list says of a letter; `None` when there is none of that id.
    pub fn row(&self, id: Offset) -> Option<Row> {
        let row = self.store.view().letter(id).unwrap_or_else(|error| {
            tracing::error!(%error, "a dead letter can't be looked up");
            None
        });
        row.filter(|row| !row.let_go)
    }

    /// One letter; `None` when there is none of that id.
    pub fn show(&self, id: Offset) -> Option<Letter> {
        let row = self.row(id)?;
        read_letter(&mut self.store.reader(), &row).ok()
    }
}

fn read_letter(reader: &mut StoreReader, row: &Row) -> Result<Letter, String> {
    let lost = |unread| match (row.state, unread) {
        _ if row.payload_discarded => "its payload gave way to the storage quota".to_owned(),
        (State::Kept, unread) => unread.why(),
        (_, Unread::Later(why)) => why,
        (_, Unread::Never(_)) => {
            "it isn't kept any more, since the letter needs it no longer".to_owned()
        }
    };
    let (content, event) = match row.reason {
        Reason::Dead(_) => {
            let dead = read_dead(reader, row.id).map_err(Unread::why)?;
            let event = match row.payload_discarded {
                true => Err(Unread::never("")),
                false => read_event(reader, dead.offset),
            };
            (Content::Dead(Box::new(dead)), event.map_err(lost))
        }
        Reason::Rejected => {
            let rejected = match row.payload_discarded {
                true => Err(Unread::never("")),
                false => read_rejected(reader, row.id).map(Box::new),
            };
            let content = Content::Rejected(rejected.map_err(lost));
            (content, Err(NEVER_AN_EVENT.to_owned()))
        }
    };
    Ok(Letter {
        row: row.clone(),
        content,
        event,
    })
}

/// Why a rejected record has no event.
const NEVER_AN_EVENT: &str = "its source could make no event of it";

/// Reads the Rejected record at `offset`.
fn read_rejected(reader: &mut StoreReader, offset: Offset) -> Result<Rejected, Unread> {
    let stored = reader.get(offset)?;
    let stored = stored.filter(|stored| stored.kind == REJECTED);
    let missing = || Unread::never(format_args!("there is nothing rejected at {}", offset.0));
    Rejected::read(&stored.ok_or_else(missing)?).map_err(Unread::never)
}

/// Why what was stored can't be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The disk failed, or no file could be opened: it may be readable later.
    Later(String),
    /// It is missing or damaged.
    Never(String),
}

impl Unread {
    /// In words.
    pub(crate) fn why(self) -> String {
        match self {
            Self::Later(why) | Self::Never(why) => why,
        }
    }

    fn never(why: impl std::fmt::Display) -> Self {
        Self::Never(why.to_string())
    }
}

impl std::convert::From<GetError> for Unread {
    fn from(error: GetError) -> Self {
        let why = chain(&error);
        match error {
            GetError::Read(ReadError::Io { .. }) | GetError::View(_) => Self::Later(why),
            GetError::Read(ReadError::Gone { .. }) | GetError::Malformed(_) => Self::Never(why),
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut why = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        why = format!("{why}: {error}");
        cause = error.source();
    }
    why
}

/// Reads the Dead record at `offset`.
pub(crate) fn read_dead(reader: &mut StoreReader, offset: Offset) -> Result<Dead, Unread> {
    let stored = reader.get(offset)?.filter(|stored| stored.kind == DEAD);
    let missing = || Unread::never(format_args!("there is no dead letter at {}", offset.0));
    Dead::read(&stored.ok_or_else(missing)?).map_err(Unread::never)
}

/// Reads the event at `offset`.
pub(crate) fn read_event(reader: &mut StoreReader, offset: Offset) -> Result<Envelope, Unread> {
    let stored = reader.get(offset)?.filter(|stored| stored.kind == EVENT);
    let missing = || Unread::never(format_args!("there is no event at {}", offset.0));
    Envelope::read(&stored.ok_or_else(missing)?).map_err(Unread::never)
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
