//! Poison: a delivery that ends the process while it is handled is set aside (GUARANTEES 19).
//!
//! Each start writes down how the process before it ended and which deliveries may have been in the
//! air then: the *suspects*, those owed and not waiting for a retry, the first of each lane up to
//! its cap. A suspect that lands (is delivered, dead, or parked after an attempt) is one no longer.
//! After two ends in a row that weren't in order, with no suspect landed between them
//! ([`crate::Limits::quarantine_after`]), the node is *careful*: what may have been in the air goes
//! one delivery at a time, over all workers, each behind an Intent record that is durable before the
//! attempt is made. Everything else flows. When all suspects are through the node is careful no more.
//! What waits behind its key in an ordered trigger was not in the air and is no suspect; an intent whose
//! delivery can't leave after all, or comes down and is nacked, is taken back.
//!
//! A process that ends while an intent is outstanding accuses that delivery. Accused as often as
//! `quarantine_after` says, it ends `dead{poison}` at the next start, with its history. Once is not
//! enough, or a node that happens to be killed while it is careful would set an innocent aside: the
//! second time the accused must have been alone in the air again. Where one delivery is the only
//! suspect, having been in the air alone counts as being accused once less than is needed. So a culprit
//! ends the process four times and the fifth start sets it aside; alone in the air it is three times, and
//! the fourth start. Other landings while it is in the air, slow poison under load, add a start or two.
//!
//! What remains is bad luck: a node that is killed four times in a row (three where there is one
//! suspect) by something else, each time while the same delivery is in the air and before any other
//! lands, sets that one aside. It takes a destination slower than the kills come; a letter says so,
//! and can be redriven. A stop in order, or one suspect that lands, begins the count anew.
//!
//! [`Suspicion`] is what the fold knows of it, and decides what a start does; `careful` carries it
//! out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use journal::{Offset, WallTime};

use crate::records::Number;
use crate::records::started::{Before, Started, Which};
use crate::records::wire::{self, Short, Take};

/// Bytes of suspects in a Started record: some thousands. Beyond, those that are farthest back in
/// their lanes aren't suspected.
pub(crate) const SUSPECTS_BYTES_MAX: usize = 64 * 1024;

/// What a suspect may take in a Started record: two varints, and its share of the rest.
const SUSPECT_BYTES_MAX: usize = 16;

const BEGUN: u8 = 1;
const STOPPED: u8 = 2;
const LANDED: u8 = 4;
const TRYING: u8 = 8;

/// What the log says about the lives of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Suspicion {
    /// The log holds a record.
    begun: bool,
    /// The last record says that the process was stopped in order.
    stopped: bool,
    ends: u32,
    suspects: BTreeSet<Which>,
    unrouted: Option<Range<Offset>>,
    /// A suspect has landed since the last start.
    landed: bool,
    accused: BTreeMap<Which, u32>,
    /// The delivery that was being tried behind an intent.
    trying: Option<Which>,
}

impl Suspicion {
    /// Appends it, for the view: flags u8 (1 begun, 2 stopped, 4 landed, 8 trying) | the body of a
    /// Started record that says the rest, as bytes | with 8: number varint, offset varint.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(
            flag(self.begun, BEGUN)
                | flag(self.stopped, STOPPED)
                | flag(self.landed, LANDED)
                | flag(self.trying.is_some(), TRYING),
        );
        let rest = Started {
            ends: self.ends,
            unrouted: self.unrouted.clone().unwrap_or_default(),
            accused: self
                .accused
                .iter()
                .map(|(which, times)| (*which, *times))
                .collect(),
            suspects: self.suspects.iter().copied().collect(),
            ..Started::default()
        };
        wire::put_bytes(out, &rest.body());
        if let Some((number, offset)) = self.trying {
            wire::put_varint(out, u64::from(number));
            wire::put_varint(out, offset.0);
        }
    }

    /// Reads it back.
    pub(crate) fn take(take: &mut Take<'_>) -> Result<Self, Short> {
        let flags = take.byte("suspicion")?;
        let rest = Started::of_body(take.bytes("suspicion")?)?;
        let mut suspicion = Self::default();
        suspicion.start(rest);
        suspicion.begun = flags & BEGUN != 0;
        suspicion.stopped = flags & STOPPED != 0;
        suspicion.landed = flags & LANDED != 0;
        if flags & TRYING != 0 {
            suspicion.trying = Some((take.number("suspect")?, Offset(take.varint("suspect")?)));
        }
        Ok(suspicion)
    }

    /// A record of any kind was taken in.
    pub(crate) fn live(&mut self) {
        self.begun = true;
        self.stopped = false;
    }

    /// A Started record.
    pub(crate) fn start(&mut self, started: Started) {
        let unrouted = started.unrouted;
        *self = Self {
            begun: true,
            stopped: false,
            ends: started.ends,
            suspects: started.suspects.into_iter().collect(),
            unrouted: (unrouted.start < unrouted.end).then_some(unrouted),
            landed: false,
            accused: started.accused.into_iter().collect(),
            trying: None,
        };
    }

    /// A Mark record.
    pub(crate) fn stop(&mut self) {
        *self = Self {
            begun: true,
            stopped: true,
            ..Self::default()
        };
    }

    /// An Intent record.
    pub(crate) fn intend(&mut self, which: Which) {
        self.trying = Some(which);
    }

    /// An Intent record that takes back the one before.
    pub(crate) fn take_back(&mut self, which: Which) {
        if self.trying == Some(which) {
            self.trying = None;
        }
    }

    /// A delivery ended, or is parked after an attempt.
    pub(crate) fn land(&mut self, which: Which) {
        // Also where no end is known of: of a log that has lost its beginning the Started record may
        // be gone, and the intents not.
        self.take_back(which);
        if self.ends == 0 {
            return;
        }
        self.landed |= self.suspects.remove(&which) || self.was_unrouted(which);
        self.accused.remove(&which);
    }

    /// A trigger is gone, and its deliveries with it.
    pub(crate) fn forget(&mut self, number: Number) {
        self.suspects.retain(|(whose, _)| *whose != number);
        self.accused.retain(|(whose, _), _| *whose != number);
        if self.trying.is_some_and(|(whose, _)| whose == number) {
            self.trying = None;
        }
    }

    fn was_unrouted(&self, (_, offset): Which) -> bool {
        self.unrouted
            .as_ref()
            .is_some_and(|range| range.contains(&offset))
    }

    /// Whether the process ended otherwise than in order.
    pub(crate) fn is_needed(&self) -> bool {
        self.begun && !self.stopped
    }

    /// What a start makes of it: `in_the_air` are the deliveries that may have been in the air when
    /// the process before ended, the likeliest first, and `unrouted` the events whose deliveries
    /// aren't known yet. Whoever isn't `owed` can't be accused: it would never land.
    pub(crate) fn begin(
        &self,
        in_the_air: &[Which],
        owed: impl Fn(Which) -> bool,
        unrouted: Range<Offset>,
        quarantine_after: u32,
        bytes_max: usize,
        at: WallTime,
    ) -> Started {
        let before = match (self.begun, self.stopped) {
            (false, _) => Before::Nothing,
            (true, true) => Before::InOrder,
            (true, false) => Before::NotInOrder,
        };
        if before != Before::NotInOrder || quarantine_after == 0 {
            return Started {
                at,
                before,
                ..Started::default()
            };
        }
        let mut accused = self.accused.clone();
        if let Some(trying) = self.trying {
            *accused.entry(trying).or_default() += 1;
        }
        accused.retain(|which, _| owed(*which));
        let again = |which: &&Which| self.suspects.contains(which) || self.was_unrouted(**which);
        let remaining: Vec<Which> = in_the_air.iter().filter(again).copied().collect();
        let anew = self.ends == 0 || (remaining.is_empty() && accused.is_empty());
        let ends = match self.ends {
            _ if anew => 1,
            // Some have landed: whether the others ever do is to be seen.
            ends if self.landed => ends,
            ends => ends.saturating_add(1),
        };
        // The first end, and every end of a careful node, suspects all that may have been in the
        // air; between them it is those that were in the air each time.
        let all = anew || quarantine_after <= ends;
        let suspects = if all { in_the_air } else { &remaining };
        let unrouted = match &self.unrouted {
            _ if anew => unrouted,
            // Still not routed: nothing of it can have landed.
            Some(before) => {
                let start = before.start.max(unrouted.start);
                start..before.end.min(unrouted.end).max(start)
            }
            None => unrouted.end..unrouted.end,
        };
        let room = bytes_max.min(SUSPECTS_BYTES_MAX) / SUSPECT_BYTES_MAX;
        let suspects = accused.keys().chain(suspects).copied().take(room);
        let suspects: BTreeSet<Which> = suspects.collect();
        if quarantine_after <= ends
            && self.ends < quarantine_after
            && accused.is_empty()
            && suspects.len() == 1
        {
            accused.extend(suspects.iter().map(|which| (*which, quarantine_after - 1)));
        }
        accused.retain(|_, times| *times > 0);
        Started {
            at,
            before,
            ends,
            unrouted,
            accused: accused.into_iter().collect(),
            suspects: suspects.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: Which = (1, Offset(10));
    const A: Which = (1, Offset(11));
    const B: Which = (2, Offset(10));
    const NEW: Which = (2, Offset(90));

    /// Lives of a process: what lands in each, and what is in the air at its end.
    #[derive(Default)]
    struct Lives {
        suspicion: Suspicion,
    }

    impl Lives {
        fn start(&mut self, in_the_air: &[Which]) -> Started {
            let unrouted = Offset(100)..Offset(100);
            let started =
                self.suspicion
                    .begin(in_the_air, |_| true, unrouted, 2, 1 << 20, WallTime(1));
            let read = Started::of_body(&started.body()).unwrap();
            assert_eq!(read, started);
            self.suspicion.live();
            self.suspicion.start(read);
            self.keep();
            started
        }

        fn land(&mut self, which: Which) {
            self.suspicion.live();
            self.suspicion.land(which);
            self.keep();
        }

        /// As a view keeps it.
        fn keep(&mut self) {
            let mut bytes = Vec::new();
            self.suspicion.put(&mut bytes);
            let kept = Suspicion::take(&mut Take::new(&bytes)).unwrap();
            assert_eq!(kept, self.suspicion);
            self.suspicion = kept;
        }
    }

    /// How many ends have been counted, the suspects, the accused.
    fn said(started: &Started) -> (u32, Vec<Which>, Vec<(Which, u32)>) {
        let Started {
            ends,
            suspects,
            accused,
            ..
        } = started.clone();
        (ends, suspects, accused)
    }

    #[test]
    fn two_ends_without_a_landing_make_it_careful_and_two_accusations_condemn() {
        let mut lives = Lives::default();
        assert_eq!(lives.start(&[]).before, Before::Nothing);
        assert_eq!(said(&lives.start(&[X, A, B])), (1, vec![X, A, B], vec![]));
        assert_eq!(said(&lives.start(&[X, A, B])), (2, vec![X, A, B], vec![]));
        // Careful: one at a time. B is through, then X ends the process.
        lives.suspicion.intend(B);
        lives.land(B);
        lives.suspicion.intend(X);
        let third = lives.start(&[X, A, NEW]);
        assert_eq!(
            said(&third),
            (2, vec![X, A, NEW], vec![(X, 1)]),
            "also what is new"
        );
        lives.suspicion.intend(A);
        lives.land(A);
        lives.suspicion.intend(X);
        let fourth = lives.start(&[X, NEW]);
        assert_eq!(fourth.accused, [(X, 2)]);
        // It is buried, and the last suspect is through.
        lives.land(X);
        lives.suspicion.intend(NEW);
        lives.land(NEW);
        assert_eq!(said(&lives.start(&[NEW])), (1, vec![NEW], vec![]));
    }

    #[test]
    fn an_only_suspect_needs_one_accusation_less() {
        let mut lives = Lives::default();
        lives.start(&[]);
        lives.start(&[X]);
        assert_eq!(said(&lives.start(&[X])), (2, vec![X], vec![(X, 1)]));
        lives.suspicion.intend(X);
        assert_eq!(lives.start(&[X]).accused, [(X, 2)]);
    }

    #[test]
    fn an_intent_that_is_taken_back_accuses_nobody() {
        let mut lives = Lives::default();
        lives.start(&[]);
        lives.start(&[X, A]);
        lives.start(&[X, A]);
        lives.suspicion.intend(A);
        lives.suspicion.take_back(A);
        assert_eq!(said(&lives.start(&[X, A])).2, []);
        lives.suspicion.intend(X);
        lives.suspicion.take_back(A);
        assert_eq!(said(&lives.start(&[X, A])).2, [(X, 1)], "it was another's");
    }

    #[test]
    fn an_innocent_that_lands_is_accused_no_more() {
        let mut lives = Lives::default();
        lives.start(&[]);
        lives.start(&[X, A]);
        lives.start(&[X, A]);
        lives.suspicion.intend(A);
        assert_eq!(lives.start(&[X, A]).accused, [(A, 1)]);
        lives.suspicion.intend(A);
        lives.land(A);
        lives.suspicion.intend(X);
        assert_eq!(lives.start(&[X, A]).accused, [(X, 1)]);
    }

    #[test]
    fn a_suspect_that_lands_leaves_the_others_to_be_seen_and_a_stop_clears_all() {
        let mut lives = Lives::default();
        lives.start(&[]);
        lives.start(&[X, A, B]);
        lives.land(A);
        lives.land(B);
        assert_eq!(said(&lives.start(&[X, NEW])), (1, vec![X], vec![]));
        lives.land(NEW);
        assert_eq!(said(&lives.start(&[X, NEW])), (2, vec![X, NEW], vec![]));
        lives.suspicion.stop();
        let started = lives.start(&[X]);
        assert_eq!(
            (started.before, said(&started)),
            (Before::InOrder, (0, vec![], vec![]))
        );
        assert_eq!(said(&lives.start(&[X])), (1, vec![X], vec![]));
        lives.land(X);
        assert_eq!(
            said(&lives.start(&[A])),
            (1, vec![A], vec![]),
            "others than before"
        );
    }

    /// A view that is made anew may begin its reading behind the Started record.
    #[test]
    fn an_intent_without_its_start_ends_when_its_delivery_lands() {
        let mut lives = Lives::default();
        lives.suspicion.intend(A);
        lives.land(A);
        assert_eq!(said(&lives.start(&[X])), (1, vec![X], vec![]));
    }

    /// Else it would be waited for until the next stop in order.
    #[test]
    fn what_is_owed_no_longer_is_accused_no_longer() {
        let mut lives = Lives::default();
        lives.start(&[]);
        lives.start(&[X, A]);
        lives.start(&[X, A]);
        lives.suspicion.intend(A);
        let unrouted = Offset(100)..Offset(100);
        let owed = |which| which == X;
        let begin = lives
            .suspicion
            .begin(&[X], owed, unrouted, 2, 1 << 20, WallTime(1));
        assert_eq!(said(&begin), (3, vec![X], vec![]));
    }

    #[test]
    fn what_was_not_routed_yet_may_have_been_in_the_air() {
        let mut suspicion = Suspicion::default();
        suspicion.live();
        let start = |suspicion: &mut Suspicion, in_the_air: &[Which], unrouted| {
            let started = suspicion.begin(in_the_air, |_| true, unrouted, 2, 1 << 20, WallTime(1));
            suspicion.start(started.clone());
            started
        };
        start(&mut suspicion, &[], Offset(5)..Offset(11));
        let second = start(&mut suspicion, &[X, A], Offset(12)..Offset(12));
        assert_eq!(
            said(&second),
            (2, vec![X, A], vec![]),
            "A may be new, X is not"
        );
        suspicion.forget(1);
        assert_eq!(
            said(&start(&mut suspicion, &[], Offset(12)..Offset(12))).0,
            1
        );
    }

    /// Under load there is always something that isn't routed yet: what comes in later was not in
    /// the air at the first end, and its landing says nothing.
    #[test]
    fn what_comes_in_later_is_no_suspect() {
        let mut suspicion = Suspicion::default();
        suspicion.live();
        let start = |suspicion: &mut Suspicion, in_the_air: &[Which], unrouted| {
            let started = suspicion.begin(in_the_air, |_| true, unrouted, 2, 1 << 20, WallTime(1));
            suspicion.start(started.clone());
            started
        };
        start(&mut suspicion, &[X, A], Offset(50)..Offset(60));
        suspicion.land(A);
        let second = start(&mut suspicion, &[X, NEW], Offset(90)..Offset(95));
        assert_eq!(said(&second), (1, vec![X], vec![]));
        assert!(second.unrouted.is_empty());
        suspicion.land((1, Offset(92)));
        assert_eq!(start(&mut suspicion, &[X], Offset(99)..Offset(99)).ends, 2);
    }

    #[test]
    fn the_suspects_have_a_bound_and_the_accused_come_first() {
        let mut lives = Lives::default();
        lives.start(&[]);
        let many: Vec<Which> = (0..50).map(|n| (1, Offset(n))).collect();
        let begin = |suspicion: &mut Suspicion| {
            let started =
                suspicion.begin(&many, |_| true, Offset(0)..Offset(0), 2, 160, WallTime(1));
            suspicion.live();
            suspicion.start(started.clone());
            started
        };
        assert_eq!(begin(&mut lives.suspicion).suspects, many[..10]);
        begin(&mut lives.suspicion);
        lives.suspicion.intend((1, Offset(9)));
        let third = begin(&mut lives.suspicion);
        assert_eq!(third.accused, [((1, Offset(9)), 1)]);
        assert!(third.suspects.contains(&(1, Offset(9))));
    }
}
