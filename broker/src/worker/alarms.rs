//! When to look at lanes and destinations that wait: one alarm at a time for each.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

use crate::records::Number;

/// Who is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whom {
    /// A destination, by slot: somebody who waits there may go.
    Destination(u32),
    /// A lane: something of it may have ended while it waits.
    Lane(Number),
    /// A lane that couldn't read what it is to send: it tries again.
    Unread(Number),
}

/// A worker's alarms. One that was put forward leaves the old one behind, which is then ignored
/// by whoever it was for; so there are at most a few for each lane and destination.
#[derive(Debug, Default)]
pub(super) struct Alarms(BinaryHeap<Reverse<(Instant, Whom)>>);

impl Alarms {
    pub(super) fn set(&mut self, at: Instant, whom: Whom) {
        self.0.push(Reverse((at, whom)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Instant, Whom)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(alarm)| alarm)
    }
}
