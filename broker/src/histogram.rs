//! Histograms with fixed bounds, as Prometheus counts them: plain numbers, since each has one
//! owner.

use std::time::Duration;

/// Upper bounds in seconds, ascending; what is over the last goes in one bucket more. From 100 µs
/// (a commit) to 5 minutes (a longest backoff).
pub const BOUNDS_SECONDS: [f64; 20] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// Counts of durations by bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// How many fell in each bucket; the last is beyond all bounds.
    pub buckets: [u64; BOUNDS_SECONDS.len() + 1],
    /// All durations added up, in seconds.
    pub sum_seconds: f64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS_SECONDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket] += 1;
        self.sum_seconds += seconds;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum_seconds += other.sum_seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for micros in [100, 101, 1_000, 400_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        assert_eq!(histogram.count(), 4);
        assert_eq!(histogram.buckets[0], 1);
        assert_eq!(histogram.buckets[1], 1);
        assert_eq!(histogram.buckets[3], 1);
        assert_eq!(histogram.buckets[BOUNDS_SECONDS.len()], 1);
    }
}
