//! How a destination is brought back to full speed after its breaker closed or its pause ended:
//! a share of its cap that grows with time (Envoy's slow start). Pure.

use tokio::time::Instant;
use triggers::Warmup as Policy;

/// The share of a cap that may be used now, for a ramp that began at `began`: in 0..=1.
pub fn share(policy: &Policy, began: Instant, now: Instant) -> f64 {
    if policy.duration.is_zero() {
        return 1.0;
    }
    let passed = now.saturating_duration_since(began).as_secs_f64();
    let least = f64::from(policy.min_percent) / 100.0;
    (passed / policy.duration.as_secs_f64()).clamp(least.min(1.0), 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_share_follows_time_from_its_least() {
        let began = Instant::now();
        let shares = [0, 1, 3, 15, 29, 30, 60].map(|second| {
            share(
                &Policy::default(),
                began,
                began + Duration::from_secs(second),
            )
        });
        let expected = [0.1, 0.1, 0.1, 0.5, 29.0 / 30.0, 1.0, 1.0];
        for (share, expected) in shares.iter().zip(expected) {
            assert!((share - expected).abs() < 1e-9, "{shares:?}");
        }
    }

    #[test]
    fn without_a_duration_it_is_all_at_once() {
        let at_once = Policy {
            duration: Duration::ZERO,
            min_percent: 10,
        };
        let now = Instant::now();
        assert!((share(&at_once, now, now) - 1.0).abs() < f64::EPSILON);
    }
}
