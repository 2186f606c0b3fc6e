//! The time of a test: tokio's, paused, so that a day passes in a moment and a wall clock and a
//! timer never disagree.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use broker::{Clock, WallTime};
use tokio::time::Instant;

/// When every world begins: 2026-01-01T00:00:00Z.
pub const BEGINNING: WallTime = WallTime(1_767_225_600_000);

/// A clock that follows tokio's. It outlives restarts of the engine.
#[derive(Debug)]
pub struct TestClock {
    began: Instant,
    /// By how much the wall clock was set, in ms.
    stepped: AtomicI64,
}

impl TestClock {
    /// A clock that stands at [`BEGINNING`]. Needs a runtime.
    pub fn new() -> TestClock {
        let began = Instant::now();
        let stepped = AtomicI64::new(0);
        TestClock { began, stepped }
    }

    /// Sets the wall clock, by so many seconds: ahead, or back.
    pub fn step(&self, seconds: i64) {
        self.stepped.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

impl Default for TestClock {
    fn default() -> TestClock {
        TestClock::new()
    }
}

impl Clock for TestClock {
    fn wall(&self) -> WallTime {
        let straight = BEGINNING.0 + self.began.elapsed().as_millis() as u64;
        WallTime(straight.saturating_add_signed(self.stepped.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}
