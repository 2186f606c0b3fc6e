//! What the committer counts, for metrics.

use std::time::Duration;

/// Upper bounds of the buckets of [`Histogram`], in microseconds; a last bucket holds the rest.
const BOUNDS_US: [u64; 14] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
];

/// Durations, counted by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS_US.len() + 1],
    sum: Duration,
}

impl Histogram {
    pub(crate) fn record(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|&bound| bound < us);
        self.counts[bucket] += 1;
        self.sum += took;
    }

    /// Each bucket's upper bound in seconds, the last infinite, with how many fell into it. Not
    /// cumulative.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BOUNDS_US.iter().map(|&us| us as f64 / 1e6);
        bounds
            .chain(std::iter::once(f64::INFINITY))
            .zip(self.counts.iter().copied())
    }

    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// Counted since the journal was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Syncs of frames; one for each frame.
    pub syncs: u64,
    /// Frames written.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes written, padding included.
    pub bytes: u64,
    /// Segments opened.
    pub rolls: u64,
    /// Segments laid out anew, without padding.
    pub repacks: u64,
    /// Bytes that gave back.
    pub repacked_bytes: u64,
    /// Segments that could not be, for a failure of the disk.
    pub repack_failures: u64,
    /// How long each write and its sync took together.
    pub sync_seconds: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for us in [25, 26, 2_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let filled: Vec<f64> = histogram
            .buckets()
            .filter(|&(_, count)| count == 1)
            .map(|(bound, _)| bound)
            .collect();
        assert_eq!(filled, [0.000_025, 0.000_05, f64::INFINITY]);
        assert_eq!(histogram.count(), 3);
    }
}
