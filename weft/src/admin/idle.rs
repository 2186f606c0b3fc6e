//! Which series `/metrics` shows: they appear with traffic and leave after ten idle minutes, so
//! that ten thousand idle triggers cost a scrape nothing.

use std::collections::HashMap;
use std::time::Duration;

/// How long a series stays without a change.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// What was seen of each series when it was last scraped.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    seen: HashMap<String, (u64, Duration)>,
}

impl Idle {
    /// Whether a series is shown at `now`. `activity` grows with traffic; `busy` says that there
    /// is something to see even without any, as a backlog.
    pub(crate) fn shows(&mut self, name: &str, activity: u64, busy: bool, now: Duration) -> bool {
        if activity == 0 && !busy {
            self.seen.remove(name);
            return false;
        }
        match self.seen.get_mut(name) {
            None => {
                self.seen.insert(name.to_owned(), (activity, now));
                true
            }
            Some((before, since)) => {
                if *before != activity || busy {
                    (*before, *since) = (activity, now);
                }
                now.saturating_sub(*since) < IDLE_MAX
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_comes_with_traffic_and_leaves_after_ten_idle_minutes() {
        let mut idle = Idle::default();
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert!(!idle.shows("t", 0, false, minutes(0)));
        assert!(idle.shows("t", 1, false, minutes(1)));
        assert!(idle.shows("t", 1, false, minutes(10)));
        assert!(!idle.shows("t", 1, false, minutes(11)));
        assert!(idle.shows("t", 2, false, minutes(30)));
        assert!(idle.shows("t", 2, true, minutes(90)));
        assert!(idle.shows("t", 2, false, minutes(99)));
    }
}
