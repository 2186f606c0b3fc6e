//! Which replays are under way: what Replayed records add up to. The fold keeps it at start; then
//! everybody who notes such a record takes it in here first, so that a segment that opens in
//! between begins with it.

use std::collections::{BTreeMap, HashSet};

use journal::{Offset, Record, WallTime};

use crate::records::Number;
use crate::records::replayed::{Replayed, Spec};

/// A replay under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Going {
    /// Whose lane.
    pub(crate) number: Number,
    pub(crate) spec: Spec,
    /// All before it has been looked at.
    pub(crate) cursor: Offset,
}

/// All replays that have not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReplayBook {
    last: u64,
    going: BTreeMap<u64, Going>,
    /// Triggers whose start was begun, ended or not: it is begun once.
    started: HashSet<Number>,
}

impl ReplayBook {
    /// Takes in what a record says.
    pub(crate) fn take(&mut self, replayed: &Replayed) {
        let Replayed {
            id,
            number,
            cursor,
            ended,
            spec,
            ..
        } = replayed;
        self.last = self.last.max(*id);
        if let Some(spec) = spec {
            if spec.start {
                self.started.insert(*number);
            }
            let going = Going {
                number: *number,
                spec: spec.clone(),
                cursor: *cursor,
            };
            self.going.insert(*id, going);
        }
        if *ended {
            self.going.remove(id);
        } else if let Some(going) = self.going.get_mut(id) {
            going.cursor = *cursor;
        }
    }

    /// A trigger is deleted, or a lane: nothing more is owed to it.
    pub(crate) fn forget(&mut self, number: Number) {
        self.going.retain(|_, going| going.number != number);
        self.started.remove(&number);
    }

    /// The id of a new replay.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether this trigger's start was begun.
    pub(crate) fn has_started(&self, number: Number) -> bool {
        self.started.contains(&number)
    }

    /// All that have not ended.
    pub(crate) fn going(&self) -> impl Iterator<Item = (u64, &Going)> {
        self.going.iter().map(|(id, going)| (*id, going))
    }

    /// All that a start needs, as records: taken in by an empty book, they give it back.
    pub(crate) fn standing(&self) -> Vec<Record> {
        let is_going = |number: &Number| {
            let mut starts = self.going.values().filter(|going| going.spec.start);
            starts.any(|going| going.number == *number)
        };
        let ended = self.started.iter().filter(|number| !is_going(number));
        // Before those that go on: one of them may have the last id.
        let ended = ended.map(|number| {
            let replayed = Replayed {
                id: self.last,
                number: *number,
                at: WallTime(0),
                cursor: Offset(0),
                ended: true,
                spec: Some(Spec {
                    start: true,
                    from: 0,
                    to: Offset(0),
                    broker: 0,
                    rate: 0,
                    filters: String::new(),
                }),
                offsets: Vec::new(),
            };
            replayed.record()
        });
        ended.chain(self.opening()).collect()
    }

    /// What a segment opens with.
    pub(crate) fn opening(&self) -> Vec<Record> {
        let replayed = |(id, going): (u64, &Going)| {
            let replayed = Replayed {
                id,
                number: going.number,
                at: WallTime(0),
                cursor: going.cursor,
                ended: false,
                spec: Some(going.spec.clone()),
                offsets: Vec::new(),
            };
            replayed.record()
        };
        self.going().map(replayed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(start: bool) -> Spec {
        Spec {
            start,
            from: 0,
            to: Offset(90),
            broker: 1,
            rate: 0,
            filters: String::new(),
        }
    }

    fn step(id: u64, number: Number, cursor: u64, ended: bool, spec: Option<Spec>) -> Replayed {
        Replayed {
            id,
            number,
            at: WallTime(7),
            cursor: Offset(cursor),
            ended,
            spec,
            offsets: Vec::new(),
        }
    }

    /// What a book is after the records that it opens a segment with.
    fn opened(book: &ReplayBook) -> ReplayBook {
        after(book.opening())
    }

    fn after(records: Vec<Record>) -> ReplayBook {
        let mut anew = ReplayBook::default();
        for record in records {
            let stored = journal::Stored {
                offset: Offset(0),
                kind: record.kind,
                version: record.version,
                tag: record.tag,
                body: record.body,
            };
            anew.take(&Replayed::read(&stored).unwrap());
        }
        anew
    }

    #[test]
    fn a_segment_opens_with_what_goes_on() {
        let mut book = ReplayBook::default();
        book.take(&step(1, 3, 0, false, Some(spec(true))));
        book.take(&step(2, 4, 10, false, Some(spec(false))));
        book.take(&step(2, 4, 20, false, None));
        let going: Vec<_> = opened(&book)
            .going()
            .map(|(id, going)| (id, going.number, going.cursor.0))
            .collect();
        assert_eq!(going, [(1, 3, 0), (2, 4, 20)]);
        book.take(&step(1, 3, 90, true, None));
        assert_eq!(opened(&book).going().count(), 1);
        assert_eq!(opened(&book).next_id(), 3);
    }

    #[test]
    fn a_start_is_begun_once_until_its_trigger_is_deleted() {
        let mut book = ReplayBook::default();
        book.take(&step(1, 4, 0, false, Some(spec(false))));
        assert!(!book.has_started(4), "it is a replay");
        book.take(&step(2, 3, 0, false, Some(spec(true))));
        assert!(book.has_started(3));
        book.take(&step(2, 3, 90, true, None));
        assert!(book.has_started(3), "also when it has ended");
        let standing = after(book.standing());
        assert!(standing.has_started(3) && !standing.has_started(4));
        assert!(
            standing.going().eq(book.going()),
            "and nothing goes on anew"
        );
        book.forget(3);
        assert!(!book.has_started(3));
        book.forget(4);
        assert_eq!(book.going().count(), 0);
    }
}
