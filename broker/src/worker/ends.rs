//! Deliveries that end while they wait: their patience or their time is over, and nobody may send
//! them. Looked at by a lane's alarm, at what is due and at the oldest that is owed, a bounded
//! batch at a time: with a million behind an open breaker the rest isn't touched.

use std::sync::Arc;
use std::time::Duration;

use journal::{Offset, WallTime};
use tokio::time::Instant;

use super::AtWork;
use super::alarms::Whom;
use crate::dead_letters;
use crate::destination::Opened;
use crate::lane::{Delivery, Expires, LaneFacts, Lifespan};
use crate::patience;
use crate::records::Cause;
use crate::records::envelope::Envelope;
use crate::time::parse_rfc3339;

/// Deliveries that end in one look at a lane; the next look comes at once, after others had theirs.
const ENDS_MAX: usize = 256;

/// The attribute by which a sender says when an event is of no more use (CloudEvents extension
/// "expiry time").
const EXPIRY: &str = "expirytime";

/// How long a lane waits at the least until it is looked at again.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// How long a lane that waits isn't looked at, at the most: so late does something end that nobody
/// foresaw, and so long is an alarm remembered that was put forward.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// How soon a lane is looked at again, when what is oldest in it has become another.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// When a delivery that waits ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    cause: Cause,
    within: Duration,
}

impl AtWork {
    /// Sets the alarm of a lane that waits, for when the first of what it holds ends, or to look
    /// again for that. Whoever is held back often is read no event for each time: where an alarm
    /// is set and something else may end before it, it is only put forward.
    pub(super) fn watch(&mut self, slot: u32, now: Instant) {
        if self.is_paused(slot) {
            return;
        }
        let Some(lane) = &self.lanes[slot as usize] else {
            return;
        };
        if !lane.queued && !lane.awaits_budget {
            return;
        }
        if let Some(alarm) = lane.alarm {
            let soon = now + LOOK_AGAIN;
            if lane.moved_on && soon < alarm {
                self.look_at_lane(slot, soon);
            }
            return;
        }
        let due = self.lanes[slot as usize]
            .as_ref()
            .map_or(0, |lane| lane.due.len());
        let ends = (0..due).filter_map(|index| self.end_of_due(slot, index, now));
        let first = ends
            .map(|end| end.within)
            .collect::<Vec<_>>()
            .into_iter()
            .min();
        let owed = self.end_of_owed(slot, now).map(|end| end.within);
        let again = self.end_of_again(slot, now).map(|end| end.within);
        if let Some(within) = [first, owed, again].into_iter().flatten().min() {
            self.look_at_lane(slot, now + within.clamp(LOOK_MIN, LOOK_MAX));
        }
    }

    /// Sets the alarm of a lane that waits anew, since what is oldest in it is another now.
    pub(super) fn watch_anew(&mut self, slot: u32) {
        if let Some(lane) = &mut self.lanes[slot as usize]
            && lane.alarm.take().is_some()
        {
            self.watch(slot, Instant::now());
        }
    }

    /// Puts the alarm of a lane that waits forward, if what became due last ends before it.
    pub(super) fn watch_last_due(&mut self, slot: u32, now: Instant) {
        let Some(lane) = &self.lanes[slot as usize] else {
            return;
        };
        let (Some(alarm), Some(last)) = (lane.alarm, lane.due.len().checked_sub(1)) else {
            return;
        };
        if let Some(end) = self.end_of_due(slot, last, now)
            && now + end.within < alarm
        {
            self.look_at_lane(slot, now + end.within.max(LOOK_MIN));
        }
    }

    fn look_at_lane(&mut self, slot: u32, at: Instant) {
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.alarm = Some(at);
            lane.moved_on = false;
            self.alarms.set(at, Whom::Lane(lane.facts.number));
        }
    }

    /// Ends what has waited for too long, and sets the next alarm.
    pub(super) fn end_what_waited(&mut self, slot: u32) {
        let now = Instant::now();
        if self.is_paused(slot) {
            return;
        }
        if !self.log.may_delete() {
            let wait = self.log.unsure_for().unwrap_or(LOOK_MIN);
            return self.look_at_lane(slot, now + wait);
        }
        let Some(lane) = &self.lanes[slot as usize] else {
            return;
        };
        let facts = Arc::clone(&lane.facts);
        let mut left = ENDS_MAX;
        let mut index = 0;
        while left > 0
            && self.lanes[slot as usize]
                .as_ref()
                .is_some_and(|lane| index < lane.due.len())
        {
            match self.end_of_due(slot, index, now) {
                Some(End {
                    cause,
                    within: Duration::ZERO,
                }) => {
                    let ended = self.lanes[slot as usize]
                        .as_mut()
                        .and_then(|lane| lane.due.remove(index));
                    self.end(slot, &facts, ended, cause);
                    left -= 1;
                }
                _ => index += 1,
            }
        }
        while left > 0
            && let Some(End {
                cause,
                within: Duration::ZERO,
            }) = self.end_of_owed(slot, now)
        {
            let ended = self.lanes[slot as usize]
                .as_mut()
                .and_then(|lane| lane.owed.pop());
            self.end(slot, &facts, ended.map(Delivery::first), cause);
            left -= 1;
        }
        while left > 0
            && let Some(End {
                cause,
                within: Duration::ZERO,
            }) = self.end_of_again(slot, now)
        {
            let lane = self.lanes[slot as usize].as_mut();
            let ended = lane.and_then(|lane| lane.again.as_mut()?.pop());
            self.end(slot, &facts, ended, cause);
            left -= 1;
        }
        match left {
            0 => self.look_at_lane(slot, now),
            _ => self.watch(slot, now),
        }
    }

    pub(super) fn end(
        &mut self,
        slot: u32,
        facts: &Arc<LaneFacts>,
        ended: Option<Delivery>,
        cause: Cause,
    ) {
        let Some(ended) = ended else { return };
        if let Some(lane) = &mut self.lanes[slot as usize] {
            // As if it had been taken to be sent: burying gives its place back.
            lane.in_flight += 1;
        }
        self.bury(facts, ended, cause, None);
    }

    /// When one that is due ends.
    fn end_of_due(&mut self, slot: u32, index: usize, now: Instant) -> Option<End> {
        let lane = self.lanes[slot as usize].as_ref()?;
        let due = lane.due.get(index)?;
        if due.is_new() {
            return self.end_of_new(slot, due.offset, due.since, now);
        }
        let (held, facts) = (lane.held, Arc::clone(&lane.facts));
        let (attempts, offset, known) = (due.attempts(), due.offset, due.lifespan);
        let again = due.since;
        let clock = self.patience_clock(slot, now);
        let held_for = self.lanes[slot as usize]
            .as_ref()?
            .due
            .get(index)?
            .held(clock);
        // The breaker's clock stands while it is closed: then nobody's patience runs.
        let running = held && self.opened(slot).is_some();
        let patience = running
            .then(|| patience::left(&facts.terms, attempts, held_for))
            .flatten();
        let lifespan = match known {
            Some(lifespan) => lifespan,
            None => {
                let lifespan = self.read_lifespan(slot, offset, again)?;
                let lane = self.lanes[slot as usize].as_mut()?;
                lane.due.get_mut(index)?.lifespan = Some(lifespan);
                lifespan
            }
        };
        let expires = self.expires(&facts, lifespan);
        self.earlier(patience, expires)
    }

    /// When the oldest that is owed ends.
    fn end_of_owed(&mut self, slot: u32, now: Instant) -> Option<End> {
        let offset = self.lanes[slot as usize].as_ref()?.owed.peek()?;
        self.end_of_new(slot, offset, None, now)
    }

    /// When the next that is owed again ends.
    fn end_of_again(&mut self, slot: u32, now: Instant) -> Option<End> {
        let lane = self.lanes[slot as usize].as_ref()?;
        let (offset, since) = lane.again.as_ref()?.peek()?;
        self.end_of_new(slot, offset, Some(since), now)
    }

    /// When one ends that has not been attempted: its patience began when the breaker opened, or
    /// when it came if that was later; or was owed `again`.
    fn end_of_new(
        &mut self,
        slot: u32,
        offset: Offset,
        again: Option<WallTime>,
        now: Instant,
    ) -> Option<End> {
        let lane = self.lanes[slot as usize].as_ref()?;
        let (held, facts) = (lane.held, Arc::clone(&lane.facts));
        let opened = self
            .opened(slot)
            .filter(|_| held && facts.terms.retry.is_some());
        let wall = self.log.clock().wall();
        // What stood in the log before the breaker opened needn't be read to be judged.
        if let Some(opened) = opened.filter(|opened| again.is_none() && offset < opened.end) {
            let waited = self.waited(slot, opened, opened.at.wall, now, wall);
            if patience::left(&facts.terms, 0, waited) == Some(Duration::ZERO) {
                return Some(End {
                    cause: Cause::Exhausted,
                    within: Duration::ZERO,
                });
            }
        }
        let lifespan = self.read_lifespan(slot, offset, again)?;
        let patience = opened.and_then(|opened| {
            let waited = self.waited(slot, opened, lifespan.since.max(opened.at.wall), now, wall);
            patience::left(&facts.terms, 0, waited)
        });
        self.earlier(patience, self.expires(&facts, lifespan))
    }

    /// Keeps what a delivery that is being sent has used of its patience by waiting.
    pub(super) fn count_wait(
        &self,
        slot: u32,
        delivery: &mut Delivery,
        since: WallTime,
        now: Instant,
    ) {
        let clock = self.patience_clock(slot, now);
        if !delivery.is_new() {
            return delivery.keep_held(clock);
        }
        let waited = self.opened(slot).map(|opened| {
            let from = since.max(opened.at.wall);
            self.waited(slot, opened, from, now, self.log.clock().wall())
        });
        delivery.was_held(waited.unwrap_or_default(), clock);
    }

    fn waited(
        &self,
        slot: u32,
        opened: Opened,
        from: WallTime,
        now: Instant,
        wall: WallTime,
    ) -> Duration {
        let open = now.saturating_duration_since(opened.at.instant);
        let waited = match from == opened.at.wall {
            true => open,
            false => open.min(wall.since(from)),
        };
        let lane = self.lanes[slot as usize].as_ref();
        let paused = lane.map(|lane| lane.facts.pauses.paused_between(from, wall));
        waited.saturating_sub(paused.unwrap_or_default())
    }

    fn earlier(&self, patience: Option<Duration>, expires: Expires) -> Option<End> {
        let exhausted = patience.map(|within| End {
            cause: Cause::Exhausted,
            within,
        });
        let expired = match expires {
            Expires::Never => None,
            Expires::At(at) => Some(End {
                cause: Cause::Expired,
                within: at.since(self.log.clock().wall()),
            }),
        };
        [exhausted, expired]
            .into_iter()
            .flatten()
            .min_by_key(|end| end.within)
    }

    fn opened(&self, slot: u32) -> Option<Opened> {
        let lane = self.lanes[slot as usize].as_ref()?;
        self.destinations[lane.destination as usize]
            .as_ref()?
            .opened()
    }

    fn read_lifespan(
        &mut self,
        slot: u32,
        offset: Offset,
        again: Option<WallTime>,
    ) -> Option<Lifespan> {
        let facts = Arc::clone(&self.lanes[slot as usize].as_ref()?.facts);
        if facts.is_forward() {
            let since = dead_letters::read_dead(&mut self.reader, offset).ok()?.at;
            let own_end = None;
            return Some(Lifespan { since, own_end });
        }
        let envelope = dead_letters::read_event(&mut self.reader, offset).ok()?;
        let own_end = self.own_expiry(slot, &envelope);
        let since = again.unwrap_or(envelope.arrival);
        Some(Lifespan { since, own_end })
    }

    /// The time that an event's sender gave it. One that can't be read is ignored, and counted.
    pub(super) fn own_expiry(&mut self, slot: u32, envelope: &Envelope) -> Option<WallTime> {
        let event = envelope.event.as_ref();
        let written = event.attribute(EXPIRY)?.text().into_owned();
        let time = parse_rfc3339(&written);
        if time.is_none() {
            tracing::debug!(offset = envelope.offset.0, %written, "this expirytime is no time after 1970");
            if let Some(lane) = &mut self.lanes[slot as usize] {
                lane.tally.expiry_unreadable += 1;
            }
        }
        time
    }

    /// When a delivery expires: at the age that its trigger's terms give it, its pauses until now
    /// apart, or at its event's own time, whichever comes first.
    pub(super) fn expires(&self, facts: &LaneFacts, lifespan: Lifespan) -> Expires {
        let Lifespan { since, own_end } = lifespan;
        let aged = facts
            .terms
            .event_age_max
            .map(|age_max| self.aged(facts, since, age_max));
        match (own_end, aged) {
            (None, None) => Expires::Never,
            (Some(at), None) | (None, Some(at)) => Expires::At(at),
            (Some(own_end), Some(aged)) => Expires::At(own_end.min(aged)),
        }
    }

    /// When a delivery that began `since` is `age_max` old, its trigger's pauses apart.
    pub(super) fn aged(&self, facts: &LaneFacts, since: WallTime, age_max: Duration) -> WallTime {
        let paused = facts.pauses.paused_between(since, self.log.clock().wall());
        since.after(age_max).after(paused)
    }
}
