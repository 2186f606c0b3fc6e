//! A rate that a job keeps to: a bucket that fills.

use std::time::Duration;

use tokio::time::Instant;

/// A rate, kept.
pub(crate) struct Pace {
    /// How many a second; `None`: as many as there are.
    rate: Option<f64>,
    left: f64,
    looked: Instant,
}

impl Pace {
    /// So many a second; 0: as many as there are.
    pub(crate) fn new(rate: u32) -> Self {
        Self {
            rate: (rate > 0).then(|| f64::from(rate)),
            left: 1.0,
            looked: Instant::now(),
        }
    }

    /// How many may be taken now. At most a tenth of a second's worth comes at once.
    pub(crate) fn allows(&self) -> usize {
        match self.rate {
            None => usize::MAX,
            Some(rate) => self.filled(rate) as usize,
        }
    }

    fn filled(&self, rate: f64) -> f64 {
        let most = (rate / 10.0).max(1.0);
        (self.left + rate * self.looked.elapsed().as_secs_f64()).min(most)
    }

    /// So many were taken.
    pub(crate) fn took(&mut self, count: usize) {
        if let Some(rate) = self.rate {
            self.left = self.filled(rate) - count as f64;
            self.looked = Instant::now();
        }
    }

    /// How long until one more may be taken, where that is what is waited for.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let rate = self.rate?;
        let missing = 1.0 - self.filled(rate);
        (missing > 0.0).then(|| Duration::from_secs_f64(missing / rate))
    }
}
