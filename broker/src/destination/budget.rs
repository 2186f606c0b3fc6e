//! The retry budget of a destination: how many retries it gets, as a share of first attempts
//! (Finagle's `RetryBudget`). Pure.
//!
//! A first attempt deposits a share of a token, a retry takes one, and a retry that succeeds
//! gives it back with a first attempt's share: a success is as good a sign as any first attempt,
//! and without it a healed destination could not drain what is parked. A few tokens a second
//! come by themselves.

use std::time::Duration;

use tokio::time::Instant;
use triggers::RetryBudget as Policy;

/// Parts of the time for which deposits count.
const SLOTS: usize = 10;

/// A budget without tokens of its own is looked at again this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One destination's retry budget, in tokens.
#[derive(Debug)]
pub struct Budget {
    policy: Policy,
    balance: f64,
    refilled: Instant,
    /// What was deposited in the last `ttl`, by part: more than that can't be saved up.
    deposits: [f64; SLOTS],
    newest: usize,
    began: Instant,
}

impl Budget {
    /// A budget with its reserve: what comes by itself within `ttl`.
    pub fn new(policy: Policy, now: Instant) -> Self {
        Self {
            balance: reserve(&policy),
            policy,
            refilled: now,
            deposits: [0.0; SLOTS],
            newest: 0,
            began: now,
        }
    }

    /// Takes another policy.
    pub fn configure(&mut self, policy: &Policy, now: Instant) {
        if self.policy != *policy {
            *self = Self::new(policy.clone(), now);
        }
    }

    /// Whether a retry may be made now; if not, when to ask again.
    ///
    /// # Errors
    ///
    /// When there may be a token again.
    pub fn may_retry(&mut self, now: Instant) -> Result<(), Instant> {
        self.refill(now);
        if self.balance >= 1.0 {
            return Ok(());
        }
        let rate = f64::from(self.policy.min_per_second);
        let wait = match rate > 0.0 {
            // A nanosecond is lost in rounding: asked a moment early, it would wait again.
            true => Duration::from_secs_f64((1.0 - self.balance) / rate) + Duration::from_micros(1),
            false => LOOK_EVERY,
        };
        Err(now + wait.min(LOOK_EVERY))
    }

    /// A first attempt was made.
    pub fn deposit(&mut self, now: Instant) {
        self.refill(now);
        self.save(self.policy.ratio);
    }

    /// A retry was made.
    pub fn withdraw(&mut self) {
        self.balance -= 1.0;
    }

    /// A retry succeeded.
    pub fn give_back(&mut self, now: Instant) {
        self.refill(now);
        self.save(1.0 + self.policy.ratio);
    }

    fn save(&mut self, tokens: f64) {
        self.deposits[self.newest] += tokens;
        self.balance = (self.balance + tokens).min(self.most());
    }

    fn refill(&mut self, now: Instant) {
        let part = (self.policy.ttl / SLOTS as u32).max(Duration::from_millis(1));
        let passed = now.saturating_duration_since(self.began).as_nanos() / part.as_nanos();
        for _ in 0..passed.min(SLOTS as u128) {
            self.newest = (self.newest + 1) % SLOTS;
            self.deposits[self.newest] = 0.0;
        }
        if passed > 0 {
            self.began += part.saturating_mul(u32::try_from(passed).unwrap_or(u32::MAX));
        }
        let since = now.saturating_duration_since(self.refilled);
        self.refilled = now;
        let came = since.as_secs_f64() * f64::from(self.policy.min_per_second);
        self.balance = (self.balance + came).min(self.most());
    }

    /// What can be saved up: the reserve, and what was deposited within `ttl`.
    fn most(&self) -> f64 {
        reserve(&self.policy).max(1.0) + self.deposits.iter().sum::<f64>()
    }

    /// The tokens left.
    pub fn balance(&self) -> f64 {
        self.balance
    }
}

fn reserve(policy: &Policy) -> f64 {
    f64::from(policy.min_per_second) * policy.ttl.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand first attempts a second for a minute, and as many retries as are allowed.
    #[test]
    fn failing_retries_are_a_share_of_first_attempts_and_a_few() {
        let began = Instant::now();
        let mut budget = Budget::new(Policy::default(), began);
        let mut retries = 0;
        for ms in 0..60_000 {
            let now = began + Duration::from_millis(ms);
            budget.deposit(now);
            while budget.may_retry(now).is_ok() {
                budget.withdraw();
                retries += 1;
            }
        }
        let allowed = 60 * (200 + 10);
        assert!(retries <= allowed * 105 / 100, "{retries}");
        assert!(retries >= allowed * 95 / 100, "{retries}");
    }

    /// With nothing but retries left, all of which succeed, it soon limits no more.
    #[test]
    fn retries_that_succeed_pay_for_more() {
        let began = Instant::now();
        let mut budget = Budget::new(Policy::default(), began);
        while budget.may_retry(began).is_ok() {
            budget.withdraw();
        }
        let mut rounds = Vec::new();
        for round in 0..40 {
            let now = began + Duration::from_millis(100 * (round + 1));
            let mut made = 0;
            while made < 256 && budget.may_retry(now).is_ok() {
                budget.withdraw();
                made += 1;
            }
            (0..made).for_each(|_| budget.give_back(now));
            rounds.push(made);
        }
        assert_eq!(rounds[0], 1, "ten a second");
        assert_eq!(*rounds.last().unwrap(), 256, "{rounds:?}");
    }

    /// Nobody saves up for longer than `ttl`.
    #[test]
    fn what_was_deposited_long_ago_is_gone() {
        let began = Instant::now();
        let mut budget = Budget::new(Policy::default(), began);
        (0..10_000).for_each(|_| budget.deposit(began));
        assert!(budget.balance() > 2_000.0);
        let later = began + Duration::from_secs(11);
        assert!(budget.may_retry(later).is_ok());
        assert!(budget.balance() <= 100.0, "{}", budget.balance());
    }

    #[test]
    fn it_says_when_to_ask_again() {
        let began = Instant::now();
        let mut budget = Budget::new(Policy::default(), began);
        while budget.may_retry(began).is_ok() {
            budget.withdraw();
        }
        let again = budget.may_retry(began).unwrap_err();
        assert!(again <= began + Duration::from_millis(101));
        assert!(budget.may_retry(again).is_ok());
    }
}
