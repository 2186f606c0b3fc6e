//! The books: matched = delivered + dead + cancelled + owed, per trigger, always.
//!
//! Kept by the router from records that are durable, so that they say what a restart would find.
//! What a restart finds is what the log still holds: events whose segment has gone are in no
//! column. Forwarding to dead letter sinks has books of its own.

use std::collections::HashMap;

use crate::records::wire::{self, Short, Take};
use crate::records::{Cause, FORWARD, Number, Outcome};

/// One trigger's columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Book {
    /// Deliveries begun: events that matched; in a forwarding lane, dead letters.
    pub matched: u64,
    /// Ended at the destination.
    pub delivered: u64,
    /// Ended in the dead letters; in a forwarding lane, given up. By [`Cause`].
    pub dead: [u64; 9],
    /// Ended because nobody wants them any more.
    pub cancelled: u64,
    /// Not ended.
    pub owed: u64,
}

impl Book {
    /// All dead, whatever the cause.
    pub fn dead(&self) -> u64 {
        self.dead.iter().sum()
    }

    /// Whether the columns add up.
    pub fn balances(&self) -> bool {
        self.matched == self.delivered + self.dead() + self.cancelled + self.owed
    }

    /// Adds another's columns.
    pub fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.delivered += other.delivered;
        for (mine, theirs) in self.dead.iter_mut().zip(other.dead) {
            *mine += theirs;
        }
        self.cancelled += other.cancelled;
        self.owed += other.owed;
    }
}

impl Book {
    fn put(&self, out: &mut Vec<u8>) {
        wire::put_varint(out, self.matched);
        wire::put_varint(out, self.delivered);
        self.dead
            .iter()
            .for_each(|dead| wire::put_varint(out, *dead));
        wire::put_varint(out, self.cancelled);
        wire::put_varint(out, self.owed);
    }

    fn take(take: &mut Take<'_>) -> Result<Self, Short> {
        let (matched, delivered) = (take.varint("matched")?, take.varint("delivered")?);
        let mut dead = [0; 9];
        for dead in &mut dead {
            *dead = take.varint("dead")?;
        }
        Ok(Self {
            matched,
            delivered,
            dead,
            cancelled: take.varint("cancelled")?,
            owed: take.varint("owed")?,
        })
    }
}

/// Every trigger's books.
#[derive(Debug, Clone, Default)]
pub struct Books {
    open: HashMap<Number, Book>,
    /// Of triggers that are no more.
    closed: Book,
    closed_forwards: Book,
}

impl Books {
    /// Appends them as the view keeps them: the two of those that are no more, then a count and
    /// number and columns each, all varints.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        self.closed.put(out);
        self.closed_forwards.put(out);
        wire::put_varint(out, self.open.len() as u64);
        for (number, book) in &self.open {
            wire::put_varint(out, u64::from(*number));
            book.put(out);
        }
    }

    /// Reads them back.
    pub(crate) fn take(take: &mut Take<'_>) -> Result<Self, Short> {
        let (closed, closed_forwards) = (Book::take(take)?, Book::take(take)?);
        let mut open = HashMap::new();
        for _ in 0..take.varint("books")? {
            open.insert(take.number("book's number")?, Book::take(take)?);
        }
        Ok(Self {
            open,
            closed,
            closed_forwards,
        })
    }

    /// A delivery begins.
    pub(crate) fn matched(&mut self, number: Number) {
        let book = self.open.entry(number).or_default();
        book.matched += 1;
        book.owed += 1;
    }

    /// A delivery ends. `false` when its trigger is gone, and it was cancelled with it.
    pub(crate) fn ended(&mut self, number: Number, outcome: Outcome) -> bool {
        let Some(book) = self.open.get_mut(&number) else {
            return false;
        };
        if book.owed == 0 {
            return false;
        }
        book.owed -= 1;
        match outcome {
            Outcome::Delivered => book.delivered += 1,
            Outcome::Dead(cause) => book.dead[cause as usize] += 1,
            Outcome::Cancelled(_) => book.cancelled += 1,
        }
        true
    }

    /// A trigger is deleted: what it was owed is cancelled.
    pub(crate) fn close(&mut self, number: Number) {
        for number in [number, number | FORWARD] {
            let Some(mut book) = self.open.remove(&number) else {
                continue;
            };
            book.cancelled += std::mem::take(&mut book.owed);
            if number & FORWARD == 0 {
                self.closed.add(&book);
            } else {
                self.closed_forwards.add(&book);
            }
        }
    }

    /// One trigger's, or one forwarding lane's.
    pub fn of(&self, number: Number) -> Book {
        self.open.get(&number).copied().unwrap_or_default()
    }

    /// All triggers together, with those that are no more.
    pub fn total(&self) -> Book {
        let mut total = self.closed;
        let open = self
            .open
            .iter()
            .filter(|(number, _)| *number & FORWARD == 0);
        open.for_each(|(_, book)| total.add(book));
        total
    }

    /// All forwarding lanes together.
    pub fn forwards(&self) -> Book {
        let mut total = self.closed_forwards;
        let open = self
            .open
            .iter()
            .filter(|(number, _)| *number & FORWARD != 0);
        open.for_each(|(_, book)| total.add(book));
        total
    }
}

/// The dead of a book, by cause's word.
pub fn by_cause(dead: &[u64; 9]) -> impl Iterator<Item = (Cause, u64)> + '_ {
    const CAUSES: [Cause; 9] = [
        Cause::Exhausted,
        Cause::Refused,
        Cause::Expired,
        Cause::Loop,
        Cause::Reply,
        Cause::Poison,
        Cause::Blocked,
        Cause::Transform,
        Cause::Quota,
    ];
    CAUSES
        .into_iter()
        .map(|cause| (cause, dead[cause as usize]))
        .filter(|(_, count)| *count > 0)
}
