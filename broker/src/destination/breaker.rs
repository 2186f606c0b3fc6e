//! The breaker of a destination: when calls stop, and how they begin again. Pure: it is told the
//! time and what came back, and says whether a request may leave.
//!
//! It is closed when calls flow. After several failures in a row, or too low a share of
//! successes, it opens for a penalty; then one real event is its probe. The probe's success
//! closes it, its failure opens it again for twice as long (Linkerd's unified breaker).
//!
//! **A failure of the destination** is a transport error, a timeout, a 5xx or a 429. Any other
//! answer that isn't a success speaks of the event: it counts neither way, and as the answer to a
//! probe it closes the breaker, since the destination is there and judges events.

use std::time::Duration;

use tokio::time::Instant;
use triggers::{Breaker as Policy, SuccessRate};

use crate::answer::{Answer, Reply};

/// What an answer says of the destination, apart from the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It took the event.
    Success,
    /// It couldn't take any.
    Failure,
    /// It spoke of this event alone.
    Neutral,
}

impl Heard {
    /// What `answer` says of the destination.
    pub fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Took(
                Reply::None { .. }
                | Reply::Ignored { .. }
                | Reply::TooLarge { .. }
                | Reply::Event { .. },
            ) => Self::Success,
            Answer::TimedOut | Answer::Unreachable(_) => Self::Failure,
            Answer::Said { status, .. } if *status == 429 || 500 <= *status => Self::Failure,
            Answer::Said { .. } | Answer::Garbled { .. } | Answer::Declined { .. } => Self::Neutral,
        }
    }
}

/// Why a breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    /// Several failures in a row.
    Consecutive,
    /// Too low a share of successes in the window.
    SuccessRate,
    /// A probe failed.
    Probe,
}

impl Trip {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Trip; 3] = [Trip::Consecutive, Trip::SuccessRate, Trip::Probe];

    /// The label of metrics.
    pub fn word(self) -> &'static str {
        match self {
            Trip::Consecutive => "consecutive_failures",
            Trip::SuccessRate => "success_rate",
            Trip::Probe => "probe",
        }
    }
}

/// Whether a request may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Yes.
    Yes,
    /// Yes, as the probe.
    Probe,
    /// Not before this.
    NotBefore(Instant),
    /// Not before the probe is back.
    WaitForProbe,
}

/// Where a breaker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls flow.
    Closed,
    /// No calls until the penalty is over; then one.
    Open {
        /// When the penalty is over.
        until: Instant,
    },
    /// A probe is in the air.
    Probing,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Calls stop; they flowed before.
    Opened,
    /// They stay stopped: a probe failed.
    StaysOpen,
    /// Calls flow again.
    Closed,
}

/// Parts of the window of the success rate.
const SLOTS: usize = 10;

/// One destination's breaker.
#[derive(Debug)]
pub struct Breaker {
    policy: Policy,
    state: State,
    /// Since when calls don't flow.
    since: Option<Instant>,
    /// How long it has been open in all before `since`.
    open_before: Duration,
    penalty: Duration,
    consecutive: u32,
    window: Window,
    /// Grows with each change of state: answers to what left before count no more.
    epoch: u32,
    trips: [u64; Trip::ALL.len()],
}

/// What a request remembers of the breaker it passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    epoch: u32,
    probe: bool,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(policy: Policy, now: Instant) -> Self {
        let window = Window::new(&policy.success_rate, now);
        Self {
            penalty: policy.min_penalty,
            policy,
            state: State::Closed,
            since: None,
            open_before: Duration::ZERO,
            consecutive: 0,
            window,
            epoch: 0,
            trips: [0; Trip::ALL.len()],
        }
    }

    /// Takes another policy; where it is stays as it is.
    pub fn configure(&mut self, policy: &Policy, now: Instant) {
        if self.policy != *policy {
            self.window = Window::new(&policy.success_rate, now);
            self.policy = policy.clone();
            self.penalty = self.penalty.clamp(policy.min_penalty, policy.max_penalty);
        }
    }

    /// Whether a request may leave now.
    pub fn may_call(&self, now: Instant) -> Call {
        match self.state {
            State::Closed => Call::Yes,
            State::Open { until } if now < until => Call::NotBefore(until),
            State::Open { .. } => Call::Probe,
            State::Probing => Call::WaitForProbe,
        }
    }

    /// A request leaves. `held`: it obeys the breaker, so while that is open it is the probe.
    pub fn leaves(&mut self, now: Instant, held: bool) -> Ticket {
        let probe = held && self.may_call(now) == Call::Probe;
        if probe {
            self.state = State::Probing;
        }
        Ticket {
            epoch: self.epoch,
            probe,
        }
    }

    /// What came of a request. `chance` is uniform in 0..1, for the penalty's jitter.
    pub fn heard(
        &mut self,
        ticket: Ticket,
        heard: Heard,
        now: Instant,
        chance: f64,
    ) -> Option<Change> {
        if ticket.epoch != self.epoch {
            return None;
        }
        if self.state == State::Closed {
            let trip = self.count(heard, now)?;
            self.open(trip, now, chance);
            return Some(Change::Opened);
        }
        // One that isn't held by the breaker proves the destination well, not ill.
        match (heard, ticket.probe) {
            (Heard::Success, _) | (Heard::Neutral, true) => {
                self.close(now);
                Some(Change::Closed)
            }
            (Heard::Failure, true) => {
                self.penalty = (self.penalty * 2).min(self.policy.max_penalty);
                self.open(Trip::Probe, now, chance);
                Some(Change::StaysOpen)
            }
            (Heard::Failure | Heard::Neutral, false) => None,
        }
    }

    fn count(&mut self, heard: Heard, now: Instant) -> Option<Trip> {
        match heard {
            Heard::Neutral => return None,
            Heard::Success => self.consecutive = 0,
            Heard::Failure => self.consecutive += 1,
        }
        self.window.count(heard == Heard::Success, now);
        if heard == Heard::Success {
            return None;
        }
        if self.consecutive >= self.policy.consecutive_failures {
            return Some(Trip::Consecutive);
        }
        let rate = &self.policy.success_rate;
        let (successes, failures) = self.window.totals();
        let all = successes + failures;
        let low = f64::from(successes) < rate.threshold * f64::from(all);
        (all >= rate.min_requests && low).then_some(Trip::SuccessRate)
    }

    fn open(&mut self, trip: Trip, now: Instant, chance: f64) {
        let until = now + self.penalty.mul_f64(1.0 + self.policy.jitter * chance);
        self.state = State::Open { until };
        self.since.get_or_insert(now);
        self.trips[trip as usize] += 1;
        self.consecutive = 0;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Calls flow again, as if nothing had been.
    pub fn close(&mut self, now: Instant) {
        self.open_before = self.open_for(now);
        self.since = None;
        self.state = State::Closed;
        self.penalty = self.policy.min_penalty;
        self.consecutive = 0;
        self.window = Window::new(&self.policy.success_rate, now);
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when calls don't flow.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// How long it has been open in all: the clock that patience runs by.
    pub fn open_for(&self, now: Instant) -> Duration {
        let current = self.since.map(|since| now.saturating_duration_since(since));
        self.open_before + current.unwrap_or_default()
    }

    /// How often it opened, in the order of [`Trip::ALL`].
    pub fn trips(&self) -> [u64; Trip::ALL.len()] {
        self.trips
    }
}

/// Successes and failures of the last seconds.
#[derive(Debug)]
struct Window {
    slots: [(u32, u32); SLOTS],
    slot_time: Duration,
    /// The newest slot, and when it began.
    newest: usize,
    began: Instant,
}

impl Window {
    fn new(rate: &SuccessRate, now: Instant) -> Self {
        Self {
            slots: [(0, 0); SLOTS],
            slot_time: (rate.window / SLOTS as u32).max(Duration::from_millis(1)),
            newest: 0,
            began: now,
        }
    }

    fn count(&mut self, success: bool, now: Instant) {
        let passed =
            now.saturating_duration_since(self.began).as_nanos() / self.slot_time.as_nanos();
        for _ in 0..passed.min(SLOTS as u128) {
            self.newest = (self.newest + 1) % SLOTS;
            self.slots[self.newest] = (0, 0);
        }
        if passed > 0 {
            self.began += self
                .slot_time
                .saturating_mul(u32::try_from(passed).unwrap_or(u32::MAX));
        }
        let (successes, failures) = &mut self.slots[self.newest];
        if success {
            *successes += 1;
        } else {
            *failures += 1;
        }
    }

    fn totals(&self) -> (u32, u32) {
        self.slots
            .iter()
            .fold((0, 0), |sum, slot| (sum.0 + slot.0, sum.1 + slot.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, Instant) {
        let now = Instant::now();
        (Breaker::new(Policy::default(), now), now)
    }

    /// Lets a request leave and come back at once.
    fn call(breaker: &mut Breaker, heard: Heard, now: Instant) -> Option<Change> {
        let ticket = breaker.leaves(now, true);
        breaker.heard(ticket, heard, now, 0.0)
    }

    #[test]
    fn seven_failures_in_a_row_open_it_and_six_do_not() {
        let (mut breaker, now) = breaker();
        for _ in 0..40 {
            assert_eq!(call(&mut breaker, Heard::Success, now), None);
        }
        for _ in 0..6 {
            assert_eq!(call(&mut breaker, Heard::Failure, now), None);
        }
        assert_eq!(breaker.may_call(now), Call::Yes);
        assert_eq!(
            call(&mut breaker, Heard::Failure, now),
            Some(Change::Opened)
        );
        assert_eq!(breaker.may_call(now), Call::NotBefore(now + SECOND));
        assert_eq!(breaker.trips(), [1, 0, 0]);
    }

    #[test]
    fn a_low_share_of_successes_in_its_window_opens_it() {
        let (mut breaker, now) = breaker();
        // 3 of 4 in ten seconds: under 0.8, but too few to judge.
        for heard in [
            Heard::Success,
            Heard::Success,
            Heard::Success,
            Heard::Failure,
        ] {
            assert_eq!(call(&mut breaker, heard, now), None);
        }
        // Eleven seconds later they are forgotten: four of five are enough.
        let later = now + 11 * SECOND;
        for heard in [Heard::Success; 4] {
            assert_eq!(call(&mut breaker, heard, later), None);
        }
        assert_eq!(call(&mut breaker, Heard::Failure, later), None, "4 of 5");
        assert_eq!(
            call(&mut breaker, Heard::Failure, later),
            Some(Change::Opened),
            "4 of 6"
        );
        assert_eq!(breaker.trips(), [0, 1, 0]);
    }

    #[test]
    fn one_probe_at_a_time_and_penalties_double_up_to_a_minute() {
        let (mut breaker, mut now) = breaker();
        for _ in 0..7 {
            call(&mut breaker, Heard::Failure, now);
        }
        let mut penalties = Vec::new();
        for _ in 0..8 {
            let Call::NotBefore(until) = breaker.may_call(now) else {
                panic!("{:?}", breaker.state());
            };
            penalties.push((until - now).as_secs());
            now = until;
            let probe = breaker.leaves(now, true);
            assert_eq!(breaker.may_call(now), Call::WaitForProbe);
            let change = breaker.heard(probe, Heard::Failure, now, 0.0);
            assert_eq!(change, Some(Change::StaysOpen));
        }
        assert_eq!(penalties, [1, 2, 4, 8, 16, 32, 60, 60]);
        let Call::NotBefore(until) = breaker.may_call(now) else {
            panic!("{:?}", breaker.state());
        };
        assert_eq!(
            call(&mut breaker, Heard::Success, until),
            Some(Change::Closed)
        );
        assert_eq!(breaker.may_call(until), Call::Yes);
    }

    #[test]
    fn what_was_in_the_air_when_it_opened_counts_no_more() {
        let (mut breaker, now) = breaker();
        let tickets: Vec<Ticket> = (0..20).map(|_| breaker.leaves(now, true)).collect();
        let changes: Vec<_> = tickets
            .into_iter()
            .filter_map(|ticket| breaker.heard(ticket, Heard::Failure, now, 0.0))
            .collect();
        assert_eq!(changes, [Change::Opened]);
        assert_eq!(breaker.may_call(now), Call::NotBefore(now + SECOND));
    }

    #[test]
    fn an_answer_about_the_event_counts_neither_way_and_closes_as_a_probe() {
        let (mut breaker, now) = breaker();
        for _ in 0..4 {
            call(&mut breaker, Heard::Failure, now);
        }
        assert_eq!(call(&mut breaker, Heard::Neutral, now), None);
        assert_eq!(
            call(&mut breaker, Heard::Failure, now),
            Some(Change::Opened)
        );
        let later = now + 2 * SECOND;
        assert_eq!(
            call(&mut breaker, Heard::Neutral, later),
            Some(Change::Closed)
        );
    }

    #[test]
    fn jitter_lengthens_a_penalty_by_up_to_half() {
        let (mut breaker, now) = breaker();
        for _ in 0..7 {
            let ticket = breaker.leaves(now, true);
            breaker.heard(ticket, Heard::Failure, now, 0.5);
        }
        assert_eq!(breaker.may_call(now), Call::NotBefore(now + SECOND * 5 / 4));
    }

    #[test]
    fn one_that_it_does_not_hold_may_close_it_but_not_keep_it_open() {
        let (mut breaker, now) = breaker();
        for _ in 0..7 {
            call(&mut breaker, Heard::Failure, now);
        }
        let free = breaker.leaves(now, false);
        assert_eq!(breaker.heard(free, Heard::Failure, now, 0.0), None);
        assert_eq!(breaker.may_call(now), Call::NotBefore(now + SECOND));
        let free = breaker.leaves(now, false);
        let change = breaker.heard(free, Heard::Success, now, 0.0);
        assert_eq!(change, Some(Change::Closed));
    }

    #[test]
    fn the_clock_of_patience_runs_while_it_is_open() {
        let (mut breaker, now) = breaker();
        for _ in 0..7 {
            call(&mut breaker, Heard::Failure, now);
        }
        assert_eq!(breaker.open_for(now + 3 * SECOND), 3 * SECOND);
        call(&mut breaker, Heard::Success, now + 3 * SECOND);
        assert_eq!(breaker.open_for(now + 9 * SECOND), 3 * SECOND);
    }

    #[test]
    fn what_is_a_failure_of_the_destination() {
        let said = |status| {
            Heard::of(&Answer::Said {
                status,
                retry_after: None,
            })
        };
        let failures: Vec<u16> = (100..=999).filter(|s| said(*s) == Heard::Failure).collect();
        let expected: Vec<u16> = std::iter::once(429).chain(500..=999).collect();
        assert_eq!(failures, expected);
        assert_eq!(Heard::of(&Answer::TimedOut), Heard::Failure);
        assert_eq!(
            Heard::of(&Answer::Unreachable(String::new())),
            Heard::Failure
        );
        assert_eq!(
            Heard::of(&Answer::Took(Reply::None { status: 200 })),
            Heard::Success
        );
    }
}
