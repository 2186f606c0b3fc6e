//! Who is paused, since when, and when they were before: what stops a delivery's clocks.
//!
//! A trigger or a destination is paused by command or by annotation, and while it is nothing is
//! sent, events go on being matched and owed, and no age or patience runs. Each one's
//! [`Standing`] is on disk as a Paused record; a lane's [`Pauses`] are its trigger's and its
//! destination's together. Pure: who pauses is in [`crate::pausing`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use journal::WallTime;

use crate::records::Number;

/// Pauses that have ended and are remembered of each thing. At the bound the two with the least
/// between them become one, that time included: an event may then live longer than it should,
/// and never shorter.
pub const PAST_MAX: usize = 32;

/// What can be paused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The trigger of that number.
    Trigger(Number),
    /// The destination of that key: `http://host:8081/path`, or `sink:namespace/name`.
    Destination(Arc<str>),
}

/// A pause that has ended, in ms since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub from: u64,
    /// When it ended.
    pub to: u64,
}

/// How one thing stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when it is paused, if it is.
    pub since: Option<WallTime>,
    /// Whether a command paused it.
    pub command: bool,
    /// Whether an annotation (of a Sink: its `spec.paused`) does.
    pub annotation: bool,
    /// Its pauses that have ended, in order, none touching another.
    pub past: Vec<Span>,
}

impl Standing {
    /// Takes in who pauses it from `now` on. `true` when anything changed.
    fn set(&mut self, command: bool, annotation: bool, now: WallTime) -> bool {
        if (command, annotation) == (self.command, self.annotation) {
            return false;
        }
        (self.command, self.annotation) = (command, annotation);
        match (command || annotation, self.since) {
            (true, None) => self.since = Some(now),
            (false, Some(since)) => {
                self.since = None;
                self.remember(since, now);
            }
            _ => {}
        }
        true
    }

    fn remember(&mut self, since: WallTime, until: WallTime) {
        // A wall clock that was set back may have it begin before the last one ended.
        let last = self.past.last().map_or(0, |last| last.to);
        let from = since.0.max(last);
        if from < until.0 {
            self.past.push(Span { from, to: until.0 });
        }
        if self.past.len() > PAST_MAX {
            let gap = |index: &usize| self.past[index + 1].from - self.past[*index].to;
            if let Some(closest) = (0..self.past.len() - 1).min_by_key(gap) {
                self.past[closest].to = self.past[closest + 1].to;
                self.past.remove(closest + 1);
            }
        }
    }

    /// Whether there is anything to remember.
    fn is_blank(&self) -> bool {
        self.since.is_none() && self.past.is_empty() && !self.command && !self.annotation
    }
}

/// When a lane was paused, by its trigger or its destination. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses(Option<Arc<Lasting>>);

#[derive(Debug, PartialEq, Eq)]
struct Lasting {
    /// In order, none touching another.
    past: Box<[Span]>,
    since: Option<WallTime>,
}

impl Pauses {
    /// Both together.
    fn of(standings: [Option<&Standing>; 2]) -> Self {
        let standings = standings.into_iter().flatten();
        let since = standings
            .clone()
            .filter_map(|standing| standing.since)
            .min();
        let mut all: Vec<Span> = standings
            .flat_map(|standing| standing.past.iter().copied())
            .collect();
        all.sort_by_key(|span| span.from);
        let mut past: Vec<Span> = Vec::new();
        for span in all {
            match past.last_mut() {
                Some(last) if span.from <= last.to => last.to = last.to.max(span.to),
                _ => past.push(span),
            }
        }
        if past.is_empty() && since.is_none() {
            return Self::default();
        }
        let past = past.into();
        Self(Some(Arc::new(Lasting { past, since })))
    }

    /// Whether nothing may be sent now.
    pub fn is_paused(&self) -> bool {
        self.since().is_some()
    }

    /// Since when nothing may be sent.
    pub fn since(&self) -> Option<WallTime> {
        self.0.as_ref()?.since
    }

    /// How long the lane was paused between these two.
    pub fn paused_between(&self, from: WallTime, to: WallTime) -> Duration {
        let Some(lasting) = &self.0 else {
            return Duration::ZERO;
        };
        // What lasts covers what ended behind its beginning, of the other of the two.
        let open = lasting.since.map_or(u64::MAX, |since| since.0);
        let mut ms = to.0.saturating_sub(open.max(from.0));
        for span in &lasting.past {
            let (begin, end) = (span.from.max(from.0), span.to.min(to.0).min(open));
            ms += end.saturating_sub(begin);
        }
        Duration::from_millis(ms)
    }

    /// How old something is that came at `arrival`, without the time it was paused.
    pub fn age(&self, arrival: WallTime, now: WallTime) -> Duration {
        now.since(arrival)
            .saturating_sub(self.paused_between(arrival, now))
    }
}

/// Everything's standing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PauseBook(BTreeMap<What, Standing>);

impl PauseBook {
    /// How one thing stands.
    pub fn get(&self, what: &What) -> Option<&Standing> {
        self.0.get(what)
    }

    /// All that are, or were, paused.
    pub fn iter(&self) -> impl Iterator<Item = (&What, &Standing)> {
        self.0.iter()
    }

    /// Takes in what a record says.
    pub fn put(&mut self, what: What, standing: Standing) {
        if standing.is_blank() {
            self.0.remove(&what);
        } else {
            self.0.insert(what, standing);
        }
    }

    /// Pauses or resumes by command. `true` when that changes anything.
    pub fn command(&mut self, what: &What, paused: bool, now: WallTime) -> bool {
        self.change(what, now, |standing| (paused, standing.annotation))
    }

    /// Takes in whether an annotation pauses it. `true` when that changes anything.
    pub fn annotation(&mut self, what: &What, paused: bool, now: WallTime) -> bool {
        self.change(what, now, |standing| (standing.command, paused))
    }

    fn change(
        &mut self,
        what: &What,
        now: WallTime,
        to: impl FnOnce(&Standing) -> (bool, bool),
    ) -> bool {
        let mut standing = self.0.get(what).cloned().unwrap_or_default();
        let (command, annotation) = to(&standing);
        let changed = standing.set(command, annotation, now);
        if changed {
            self.put(what.clone(), standing);
        }
        changed
    }

    /// A trigger is deleted: its number never comes again.
    pub fn forget(&mut self, number: Number) {
        self.0.remove(&What::Trigger(number));
    }

    /// When the lane of a trigger towards a destination was paused; a lane that forwards dead
    /// letters has no trigger here, and only its destination can stop it.
    pub fn of(&self, trigger: Option<Number>, destination: &str) -> Pauses {
        if self.0.is_empty() {
            return Pauses::default();
        }
        let trigger = trigger.and_then(|number| self.0.get(&What::Trigger(number)));
        let destination = self.0.get(&What::Destination(destination.into()));
        Pauses::of([trigger, destination])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BILLING: What = What::Trigger(7);

    fn there() -> What {
        What::Destination("http://there/".into())
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_was_paused_is_subtracted_once() {
        let mut book = PauseBook::default();
        assert!(book.command(&BILLING, true, WallTime(100)));
        assert!(!book.command(&BILLING, true, WallTime(150)), "it was");
        assert!(book.command(&BILLING, false, WallTime(200)));
        assert!(book.annotation(&there(), true, WallTime(150)));
        assert!(book.annotation(&there(), false, WallTime(250)));
        let pauses = book.of(Some(7), "http://there/");
        assert!(!pauses.is_paused());
        assert_eq!(pauses.paused_between(WallTime(0), WallTime(1000)), ms(150));
        assert_eq!(pauses.paused_between(WallTime(180), WallTime(220)), ms(40));
        assert_eq!(pauses.age(WallTime(120), WallTime(300)), ms(50));
        let other = book.of(Some(8), "http://there/");
        assert_eq!(other.paused_between(WallTime(0), WallTime(1000)), ms(100));

        assert!(book.command(&BILLING, true, WallTime(400)));
        let pauses = book.of(Some(7), "http://there/");
        assert_eq!(pauses.since(), Some(WallTime(400)));
        assert_eq!(pauses.paused_between(WallTime(0), WallTime(1000)), ms(750));
        assert_eq!(pauses.paused_between(WallTime(500), WallTime(600)), ms(100));
        book.forget(7);
        assert!(!book.of(Some(7), "http://there/").is_paused());
    }

    #[test]
    fn it_stays_paused_while_either_says_so() {
        let mut book = PauseBook::default();
        book.annotation(&BILLING, true, WallTime(10));
        book.command(&BILLING, true, WallTime(20));
        book.annotation(&BILLING, false, WallTime(30));
        let standing = book.get(&BILLING).unwrap();
        assert_eq!(standing.since, Some(WallTime(10)));
        assert!(standing.command && !standing.annotation);
        book.command(&BILLING, false, WallTime(40));
        let standing = book.get(&BILLING).unwrap();
        assert_eq!(standing.past, [Span { from: 10, to: 40 }]);
    }

    proptest! {
        /// However often it was paused, nothing gets older than without the bound, and the spans
        /// stay in order.
        #[test]
        fn the_bound_never_makes_anything_older(waits in prop::collection::vec(1u64..50, 0..200)) {
            let mut book = PauseBook::default();
            let (mut now, mut paused, mut exact) = (1000, false, 0);
            for wait in &waits {
                now += wait;
                exact += if paused { *wait } else { 0 };
                paused = !paused;
                book.command(&BILLING, paused, WallTime(now));
            }
            let pauses = book.of(Some(7), "");
            let told = pauses.paused_between(WallTime(0), WallTime(now));
            prop_assert!(told >= ms(exact));
            if waits.len() <= 2 * PAST_MAX {
                prop_assert_eq!(told, ms(exact));
            }
            let past = book.get(&BILLING).map_or(&[][..], |standing| &standing.past);
            prop_assert!(past.len() <= PAST_MAX);
            prop_assert!(past.windows(2).all(|pair| pair[0].to < pair[1].from));
        }
    }
}
