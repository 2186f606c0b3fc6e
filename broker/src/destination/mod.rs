//! What a worker keeps of a destination: how ill it is, how many requests it has in the air, and
//! which lanes wait for a place there. A worker owns its destinations, so nothing here is locked.
//!
//! [`Destination::permit`] is where all that may hold a delivery back is asked, in one order:
//! pushback, breaker, concurrency, retry budget. Whoever is held back waits here; that is no
//! attempt, and nothing is written for it. A pause is the lane's: see [`crate::pauses`].

pub mod adaptive;
pub mod breaker;
pub mod budget;
pub mod waiting;
pub mod warmup;

use std::sync::Arc;
use std::time::Duration;

use journal::{Offset, WallTime};
use tokio::time::Instant;
use triggers::Health;

use self::adaptive::Limit;
use self::breaker::{Breaker, Call, Change, Heard, Ticket};
use self::budget::Budget;
use self::waiting::Waiting;
use crate::answer::Answer;
use crate::histogram::Histogram;

/// What holds deliveries back, in the order in which it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferral {
    /// It asked by `Retry-After` to be left alone.
    Pushback,
    /// Its breaker is open.
    Breaker,
    /// It has as many requests in the air as it may.
    Concurrency,
    /// It is being brought back to full speed.
    Warmup,
    /// Its retry budget is spent.
    RetryBudget,
}

impl Deferral {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Deferral; 5] = [
        Deferral::Pushback,
        Deferral::Breaker,
        Deferral::Concurrency,
        Deferral::Warmup,
        Deferral::RetryBudget,
    ];

    /// The label of metrics.
    pub fn word(self) -> &'static str {
        match self {
            Deferral::Pushback => "pushback",
            Deferral::Breaker => "breaker",
            Deferral::Concurrency => "concurrency",
            Deferral::Warmup => "warmup",
            Deferral::RetryBudget => "retry_budget",
        }
    }
}

/// Now, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// By the one that never steps.
    pub instant: Instant,
    /// By the calendar.
    pub wall: WallTime,
}

/// Whether a request may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It may.
    Go,
    /// Not before this.
    NotBefore(Instant, Deferral),
    /// Not before an answer has come.
    WaitForLanding(Deferral),
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// A delivery that has been attempted before: the retry budget's.
    pub retry: bool,
    /// Whether the breaker holds it. One whose patience is shorter than the breaker's longest
    /// penalty isn't: a breaker postpones, it doesn't decide.
    pub held: bool,
}

/// What a request remembers of its destination while it is in the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flown {
    ticket: Option<Ticket>,
    retry: bool,
}

/// When a breaker opened, for the patience of what has not been attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// When.
    pub at: Now,
    /// What stands before this in the log was owed before.
    pub end: Offset,
}

/// One destination of one worker.
#[derive(Debug)]
pub struct Destination {
    /// The named Sink, or scheme, authority and path.
    pub key: Arc<str>,
    /// Requests sent and not heard of.
    pub in_flight: u32,
    /// Lanes that have something to send and may not.
    pub waiting: Waiting,
    /// How many lanes send here; a destination without any is forgotten.
    pub lanes: u32,
    /// How long each attempt took.
    pub attempt_seconds: Histogram,
    /// From an event's arrival to its delivery, with what it waited.
    pub end_to_end_seconds: Histogram,
    /// Answers by class: 2xx, 3xx, 4xx, 5xx, other, none.
    pub answers: [u64; ANSWER_CLASSES.len()],
    /// How often a lane was held back, in the order of [`Deferral::ALL`].
    pub deferred: [u64; Deferral::ALL.len()],
    /// How long `Retry-After` kept everybody away, in all.
    pub pushback: Duration,
    /// What failed last, and when.
    pub last_error: Option<(WallTime, Box<str>)>,
    /// When its worker looks at those who wait here again.
    pub alarm: Option<Instant>,
    health: Health,
    breaker: Option<Breaker>,
    opened: Option<Opened>,
    budget: Option<Budget>,
    adaptive: Option<Limit>,
    warming_since: Option<Instant>,
    not_before: Option<Instant>,
    /// The node's cap, where the Sink names none.
    in_flight_default: u32,
}

/// The classes that answers are counted by.
pub const ANSWER_CLASSES: [&str; 6] = ["2xx", "3xx", "4xx", "5xx", "other", "none"];

impl Destination {
    /// A destination that nothing has been sent to yet.
    pub fn new(key: Arc<str>, health: Health, in_flight_default: u32, now: Instant) -> Self {
        let breaker = health.breaker.clone().map(|it| Breaker::new(it, now));
        let budget = health.retry_budget.clone().map(|it| Budget::new(it, now));
        let adaptive = health.adaptive.clone().map(|it| Limit::new(it, now));
        Self {
            key,
            in_flight: 0,
            waiting: Waiting::default(),
            lanes: 0,
            attempt_seconds: Histogram::default(),
            end_to_end_seconds: Histogram::default(),
            answers: [0; ANSWER_CLASSES.len()],
            deferred: [0; Deferral::ALL.len()],
            pushback: Duration::ZERO,
            last_error: None,
            alarm: None,
            health,
            breaker,
            opened: None,
            budget,
            adaptive,
            warming_since: None,
            not_before: None,
            in_flight_default,
        }
    }

    /// Takes what its Sink says now. What is open stays open.
    pub fn configure(&mut self, health: &Health, now: Instant) {
        if self.health == *health {
            return;
        }
        match (&mut self.breaker, &health.breaker) {
            (Some(breaker), Some(policy)) => breaker.configure(policy, now),
            (breaker, policy) => {
                *breaker = policy.clone().map(|it| Breaker::new(it, now));
                self.opened = None;
            }
        }
        match (&mut self.budget, &health.retry_budget) {
            (Some(budget), Some(policy)) => budget.configure(policy, now),
            (budget, policy) => *budget = policy.clone().map(|it| Budget::new(it, now)),
        }
        match (&mut self.adaptive, &health.adaptive) {
            (Some(limit), Some(policy)) => limit.configure(policy, now),
            (limit, policy) => *limit = policy.clone().map(|it| Limit::new(it, now)),
        }
        self.health = health.clone();
    }

    /// A pause of who sends here has ended: if it was idle meanwhile, its ramp begins.
    pub fn resumed(&mut self, now: Instant) {
        if self.in_flight == 0 {
            self.warming_since = Some(now);
        }
    }

    /// Whether a request may leave now.
    pub fn permit(&mut self, now: Instant, wish: Wish) -> Permit {
        if let Some(until) = self.pushed_back(now) {
            return Permit::NotBefore(until, Deferral::Pushback);
        }
        if wish.held
            && let Some(breaker) = &self.breaker
        {
            match breaker.may_call(now) {
                Call::Yes => {}
                // Real, and alone: neither the ramp nor the budget holds a probe back.
                Call::Probe => return Permit::Go,
                Call::NotBefore(until) => return Permit::NotBefore(until, Deferral::Breaker),
                Call::WaitForProbe => return Permit::WaitForLanding(Deferral::Breaker),
            }
        }
        if !self.has_place(now) {
            let full = self.in_flight >= self.cap();
            let why = if full {
                Deferral::Concurrency
            } else {
                Deferral::Warmup
            };
            return Permit::WaitForLanding(why);
        }
        if wish.retry
            && let Some(budget) = &mut self.budget
            && let Err(again) = budget.may_retry(now)
        {
            return Permit::NotBefore(again, Deferral::RetryBudget);
        }
        Permit::Go
    }

    /// Until when a `Retry-After` keeps everybody away, if it still does.
    pub fn pushed_back(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|until| now < *until)
    }

    /// How many requests may be in the air at full speed.
    pub fn cap(&self) -> u32 {
        let cap = self.health.max_in_flight.unwrap_or(self.in_flight_default);
        let adaptive = self.adaptive.as_ref().map_or(cap, Limit::now);
        cap.min(adaptive).max(1)
    }

    /// The share of its cap that it may use, while it is brought back to full speed.
    pub fn share(&self, now: Instant) -> f64 {
        self.warming_since
            .map_or(1.0, |since| warmup::share(&self.health.warmup, since, now))
    }

    /// A permitted request leaves.
    pub fn take_off(&mut self, now: Instant, wish: Wish) -> Flown {
        self.in_flight += 1;
        match &mut self.budget {
            Some(budget) if wish.retry => budget.withdraw(),
            Some(budget) => budget.deposit(now),
            None => {}
        }
        let ticket = self
            .breaker
            .as_mut()
            .map(|breaker| breaker.leaves(now, wish.held));
        Flown {
            ticket,
            retry: wish.retry,
        }
    }

    /// A request came down. `chance` is uniform in 0..1, for the penalty's jitter.
    pub fn land(
        &mut self,
        flown: Flown,
        answer: &Answer,
        latency: Duration,
        now: Instant,
        chance: f64,
    ) -> Option<Change> {
        self.in_flight -= 1;
        self.count(answer, latency);
        let heard = Heard::of(answer);
        if let Some(limit) = &mut self.adaptive {
            limit.heard(latency, heard == Heard::Failure, self.in_flight, now);
        }
        if flown.retry
            && heard == Heard::Success
            && let Some(budget) = &mut self.budget
        {
            budget.give_back(now);
        }
        let change = self
            .breaker
            .as_mut()
            .zip(flown.ticket)
            .and_then(|(breaker, ticket)| breaker.heard(ticket, heard, now, chance));
        if change == Some(Change::Closed) {
            self.warming_since = Some(now);
            self.opened = None;
            self.waiting.breaker_closed();
        }
        change
    }

    /// Its worker says when its breaker opened.
    pub(crate) fn has_opened(&mut self, opened: Opened) {
        self.opened = Some(opened);
    }

    /// When its breaker opened, while that is open.
    pub fn opened(&self) -> Option<Opened> {
        self.opened
    }

    /// When there is reason to look at those who wait here again, if no answer comes before.
    pub fn next_look(&mut self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        if let Some(until) = self.pushed_back(now) {
            return Some(until);
        }
        let breaker = self
            .breaker
            .as_ref()
            .filter(|_| !self.waiting.probe.is_empty());
        let probe = breaker.and_then(|breaker| match breaker.may_call(now) {
            Call::NotBefore(until) => Some(until),
            Call::Yes | Call::Probe | Call::WaitForProbe => None,
        });
        let budget = self
            .budget
            .as_mut()
            .filter(|_| !self.waiting.budget.is_empty());
        let token = budget.and_then(|budget| budget.may_retry(now).err());
        [probe, token].into_iter().flatten().min()
    }

    /// Takes the next lane to rouse from who waits, and says whether it was for the budget.
    pub fn rouse(&mut self, now: Instant) -> Option<(u32, bool)> {
        if self.waiting.is_empty() || self.pushed_back(now).is_some() {
            return None;
        }
        let call = self
            .breaker
            .as_ref()
            .map_or(Call::Yes, |it| it.may_call(now));
        if matches!(call, Call::Yes | Call::Probe)
            && let Some(slot) = self.waiting.probe.pop_front()
        {
            return Some((slot, false));
        }
        if !self.has_place(now) {
            return None;
        }
        if let Some(slot) = self.waiting.place.pop_front() {
            return Some((slot, false));
        }
        let budget = self.budget.as_mut();
        if budget.is_none_or(|budget| budget.may_retry(now).is_ok()) {
            return Some((self.waiting.budget.pop_front()?, true));
        }
        None
    }

    fn has_place(&self, now: Instant) -> bool {
        self.in_flight < self.places(now)
    }

    /// How many requests may be in the air now.
    fn places(&self, now: Instant) -> u32 {
        ((f64::from(self.cap()) * self.share(now)).ceil() as u32).max(1)
    }

    /// Nobody sends to it before this.
    pub fn push_back(&mut self, wait: Duration, now: Instant) {
        let until = now + wait;
        let before = self.not_before.unwrap_or(now).max(now);
        if before < until {
            self.pushback += until - before;
            self.not_before = Some(until);
        }
    }

    /// The clock that patience runs by here: how long its breaker has been open in all.
    pub fn patience_clock(&self, now: Instant) -> Duration {
        self.breaker
            .as_ref()
            .map_or(Duration::ZERO, |breaker| breaker.open_for(now))
    }

    /// Whether its breaker holds a lane with this patience.
    pub fn holds(&self, patience: Option<Duration>) -> bool {
        let penalty = self
            .health
            .breaker
            .as_ref()
            .map(|policy| policy.max_penalty);
        match (penalty, patience) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(penalty), Some(patience)) => penalty <= patience,
        }
    }

    /// Its breaker, unless it has none.
    pub fn breaker(&self) -> Option<&Breaker> {
        self.breaker.as_ref()
    }

    /// Tokens left in its retry budget, unless retries aren't limited.
    pub fn budget_balance(&self) -> Option<f64> {
        self.budget.as_ref().map(Budget::balance)
    }

    fn count(&mut self, answer: &Answer, latency: Duration) {
        let class = match answer {
            Answer::TimedOut | Answer::Unreachable(_) => 5,
            answered => match answered.code() {
                200..=299 => 0,
                300..=399 => 1,
                400..=499 => 2,
                500..=599 => 3,
                _ => 4,
            },
        };
        self.answers[class] += 1;
        self.attempt_seconds.record(latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Wish = Wish {
        retry: false,
        held: true,
    };
    const RETRY: Wish = Wish {
        retry: true,
        held: true,
    };
    const FREE: Wish = Wish {
        retry: true,
        held: false,
    };

    fn destination(now: Instant) -> Destination {
        Destination::new("http://billing/".into(), Health::default(), 256, now)
    }

    fn fail(destination: &mut Destination, now: Instant) -> Option<Change> {
        let flown = destination.take_off(now, FIRST);
        destination.land(flown, &Answer::TimedOut, Duration::ZERO, now, 0.0)
    }

    fn open(destination: &mut Destination, now: Instant) {
        let changes: Vec<_> = (0..7).filter_map(|_| fail(destination, now)).collect();
        assert_eq!(changes, [Change::Opened]);
    }

    #[test]
    fn the_end_of_a_pause_begins_the_ramp_of_an_idle_destination() {
        let now = Instant::now();
        let mut destination = destination(now);
        let flown = destination.take_off(now, FIRST);
        destination.resumed(now);
        assert!((destination.share(now) - 1.0).abs() < 1e-9, "it is at work");
        destination.land(flown, &Answer::TimedOut, Duration::ZERO, now, 0.0);
        destination.resumed(now);
        assert!((destination.share(now) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn a_pushback_holds_everybody_and_the_longest_counts() {
        let now = Instant::now();
        let mut destination = destination(now);
        destination.push_back(Duration::from_secs(7), now);
        destination.push_back(Duration::from_secs(3), now);
        let until = now + Duration::from_secs(7);
        for wish in [FIRST, RETRY, FREE] {
            let permit = destination.permit(now, wish);
            assert_eq!(permit, Permit::NotBefore(until, Deferral::Pushback));
        }
        assert_eq!(destination.permit(until, FIRST), Permit::Go);
        assert_eq!(destination.pushback, Duration::from_secs(7));
    }

    #[test]
    fn an_open_breaker_holds_all_but_those_it_would_kill() {
        let now = Instant::now();
        let mut destination = destination(now);
        open(&mut destination, now);
        let until = now + Duration::from_secs(1);
        let permit = destination.permit(now, FIRST);
        assert_eq!(permit, Permit::NotBefore(until, Deferral::Breaker));
        assert_eq!(destination.permit(now, FREE), Permit::Go);
        assert!(destination.holds(None));
        assert!(destination.holds(Some(Duration::from_secs(60))));
        assert!(!destination.holds(Some(Duration::from_secs(59))));
    }

    #[test]
    fn a_closed_breaker_lets_a_growing_share_go() {
        let now = Instant::now();
        let mut destination = destination(now);
        open(&mut destination, now);
        let healed = now + Duration::from_secs(1);
        let probe = destination.take_off(healed, FIRST);
        let answer = Answer::Took(crate::answer::Reply::None { status: 200 });
        let change = destination.land(probe, &answer, Duration::ZERO, healed, 0.0);
        assert_eq!(change, Some(Change::Closed));
        let places = |destination: &mut Destination, now| {
            let mut left = 0;
            while destination.permit(now, FIRST) == Permit::Go {
                let _flown: Flown = destination.take_off(now, FIRST);
                left += 1;
            }
            destination.in_flight -= left;
            left
        };
        assert_eq!(places(&mut destination, healed), 26);
        assert_eq!(
            places(&mut destination, healed + Duration::from_secs(15)),
            128
        );
        assert_eq!(
            places(&mut destination, healed + Duration::from_secs(30)),
            256
        );
    }

    #[test]
    fn a_spent_budget_holds_retries_alone() {
        let now = Instant::now();
        let mut destination = destination(now);
        let mut retries = 0;
        while destination.permit(now, RETRY) == Permit::Go {
            let flown = destination.take_off(now, RETRY);
            let said = Answer::Said {
                status: 404,
                retry_after: None,
            };
            destination.land(flown, &said, Duration::ZERO, now, 0.0);
            retries += 1;
        }
        assert_eq!(retries, 100, "the reserve");
        let permit = destination.permit(now, RETRY);
        assert!(matches!(
            permit,
            Permit::NotBefore(_, Deferral::RetryBudget)
        ));
        assert_eq!(destination.permit(now, FIRST), Permit::Go);
    }
}
