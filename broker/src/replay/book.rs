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
