//! Concurrency that follows latency: additive increase while answers come as fast as ever,
//! multiplicative decrease when they queue (TCP's AIMD, with latency as the sign). Pure.
//!
//! Its baseline is the least latency of the last seconds. Each decrease empties the queue at the
//! destination, so the baseline is measured anew by ordinary traffic and no probing phase that
//! cuts the flow is needed (Envoy's gradient controller has one).

use std::time::Duration;

use tokio::time::Instant;
use triggers::Adaptive as Policy;

/// Where it begins, within the policy's bounds.
const LIMIT_FIRST: f64 = 10.0;

/// Answers that take this many times the baseline have queued.
const QUEUED: f64 = 1.15;

/// What a decrease leaves: less than `1 / QUEUED`, so that the queue at the destination empties
/// and the baseline is seen again.
const DECREASE: f64 = 0.82;

/// For how long a latency is the baseline: between one and two of these.
const BASELINE_TIME: Duration = Duration::from_secs(10);

/// One destination's limit.
#[derive(Debug)]
pub struct Limit {
    policy: Policy,
    limit: f64,
    /// The least latency of this part of time, and of the one before.
    least: [Duration; 2],
    began: Instant,
    /// Answers of this round and their latencies together. A round is as many answers as requests
    /// may be in the air.
    round_answers: u32,
    round_latency: Duration,
    round_left: u32,
    /// Whether answers of this round are still those to the limit before.
    settling: bool,
    /// Whether a request of this round failed for want of time or capacity.
    round_failed: bool,
    /// The most in the air in this round.
    round_used: u32,
}

impl Limit {
    /// A limit that has seen nothing.
    pub fn new(policy: Policy, now: Instant) -> Self {
        let limit = LIMIT_FIRST.clamp(f64::from(policy.min), f64::from(policy.max.max(policy.min)));
        Self {
            policy,
            limit,
            least: [Duration::MAX; 2],
            began: now,
            round_answers: 0,
            round_latency: Duration::ZERO,
            round_left: limit as u32,
            settling: false,
            round_failed: false,
            round_used: 0,
        }
    }

    /// Takes another policy.
    pub fn configure(&mut self, policy: &Policy, now: Instant) {
        if self.policy != *policy {
            *self = Self::new(policy.clone(), now);
        }
    }

    /// Requests that may be in the air.
    pub fn now(&self) -> u32 {
        self.limit as u32
    }

    /// An answer came after `latency`, with `in_flight` requests in the air as it did.
    pub fn heard(&mut self, latency: Duration, failed: bool, in_flight: u32, now: Instant) {
        if now.saturating_duration_since(self.began) >= BASELINE_TIME {
            self.began = now;
            self.least = [Duration::MAX, self.least[0]];
        }
        if !failed {
            self.least[0] = self.least[0].min(latency);
            self.round_answers += 1;
            self.round_latency = self.round_latency.saturating_add(latency);
        }
        self.round_failed |= failed;
        self.round_used = self.round_used.max(in_flight);
        self.round_left = self.round_left.saturating_sub(1);
        if self.round_left == 0 {
            self.end_round();
        }
    }

    fn end_round(&mut self) {
        let baseline = self.least[0].min(self.least[1]);
        let mean = self.round_latency / self.round_answers.max(1);
        let queued = self.round_answers > 0 && mean.as_secs_f64() > baseline.as_secs_f64() * QUEUED;
        // A limit that isn't used says nothing about a larger one.
        let used = f64::from(self.round_used) + 1.0 >= self.limit.floor();
        let before = self.limit;
        if self.settling {
            // Not judged.
        } else if queued || self.round_failed {
            self.limit *= DECREASE;
        } else if used {
            self.limit += 1.0;
        }
        let most = f64::from(self.policy.max.max(self.policy.min));
        self.limit = self.limit.clamp(f64::from(self.policy.min), most);
        self.settling = self.limit as u32 != before as u32;
        self.round_left = (self.limit.max(before) as u32).max(1);
        self.round_answers = 0;
        self.round_latency = Duration::ZERO;
        self.round_failed = false;
        self.round_used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A destination with so many workers, each busy 10 ms with a request, asked as often as the
    /// limit allows for a minute: the limits it had in the second half.
    fn limits_with(workers: u32) -> Vec<u32> {
        let began = Instant::now();
        let mut limit = Limit::new(Policy::default(), began);
        let mut free_at = vec![began; workers as usize];
        let mut in_air: Vec<(Instant, Instant)> = Vec::new();
        let (mut now, mut seen) = (began, Vec::new());
        while now < began + Duration::from_secs(60) {
            while (in_air.len() as u32) < limit.now() {
                let worker = free_at.iter_mut().min().unwrap();
                *worker = (*worker).max(now) + 10 * MS;
                in_air.push((*worker, now));
            }
            let first = (0..in_air.len())
                .min_by_key(|index| in_air[*index])
                .unwrap();
            let (landed, sent) = in_air.remove(first);
            now = landed;
            limit.heard(landed - sent, false, in_air.len() as u32, now);
            if now > began + Duration::from_secs(30) {
                seen.push(limit.now());
            }
        }
        seen
    }

    /// GUARANTEES 12.
    #[test]
    fn it_settles_at_the_number_of_workers() {
        for workers in [8, 20, 60, 200] {
            let limits = limits_with(workers);
            let allowed = workers * 3 / 4..=(workers * 5).div_ceil(4);
            let outside = limits
                .iter()
                .filter(|limit| !allowed.contains(limit))
                .count();
            let (low, high) = (limits.iter().min(), limits.iter().max());
            assert_eq!(outside, 0, "{workers}: {low:?} to {high:?}");
        }
    }

    #[test]
    fn failures_halve_it_in_steps_down_to_the_least() {
        let now = Instant::now();
        let mut limit = Limit::new(Policy::default(), now);
        (0..1_000).for_each(|_| limit.heard(MS, true, 3, now));
        assert_eq!(limit.now(), 3);
    }

    #[test]
    fn a_limit_that_is_not_used_does_not_grow() {
        let now = Instant::now();
        let mut limit = Limit::new(Policy::default(), now);
        (0..1_000).for_each(|_| limit.heard(MS, false, 2, now));
        assert_eq!(limit.now(), 10);
    }
}
