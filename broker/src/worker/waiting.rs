//! Holding lanes back and rousing them: what a [`Destination`] permits, carried out.
//!
//! A lane that may not send waits in its destination's list and costs nothing there. Whoever is
//! roused takes its turn, and at its end rouses the next, so one alarm or one answer is enough to
//! get all going for whom there is room.

use journal::Offset;
use tokio::time::Instant;

use super::AtWork;
use super::alarms::Whom;
use crate::destination::breaker::Change;
use crate::destination::{Deferral, Now, Opened, Permit, Wish};
use crate::lane::Turn;

impl AtWork {
    /// Now, by both clocks.
    pub(crate) fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            wall: self.log.clock().wall(),
        }
    }

    /// Asks for a place for the lane in `slot`. If there is none, the lane waits; `false` also
    /// when only its retries do.
    pub(super) fn may_send(&mut self, slot: u32, wish: Wish, now: Instant) -> bool {
        let Some(lane) = &mut self.lanes[slot as usize] else {
            return false;
        };
        let at = lane.destination;
        let Some(destination) = &mut self.destinations[at as usize] else {
            return false;
        };
        let why = match destination.permit(now, wish) {
            Permit::Go => return true,
            Permit::NotBefore(_, why) | Permit::WaitForLanding(why) => why,
        };
        destination.deferred[why as usize] += 1;
        match why {
            Deferral::RetryBudget => {
                lane.await_budget();
                destination.waiting.budget.push_back(slot);
            }
            Deferral::Breaker => {
                lane.queued = true;
                destination.waiting.probe.push_back(slot);
            }
            Deferral::Pushback | Deferral::Concurrency | Deferral::Warmup => {
                lane.queued = true;
                destination.waiting.place.push_back(slot);
            }
        }
        self.look_later(at, now);
        self.watch(slot, now);
        false
    }

    /// Rouses the next who waits at a destination and may go.
    pub(super) fn rouse(&mut self, at: u32, now: Instant) {
        while let Some(destination) = &mut self.destinations[at as usize] {
            let Some((slot, for_budget)) = destination.rouse(now) else {
                return self.look_later(at, now);
            };
            if let Some(lane) = &mut self.lanes[slot as usize] {
                if for_budget {
                    lane.awaits_budget = false;
                } else {
                    lane.queued = false;
                }
            }
            // One that has nothing to send any more makes room for the next.
            if self.wake(slot) {
                return;
            }
        }
    }

    /// Sets the alarm of a destination where somebody waits for a time to come.
    fn look_later(&mut self, at: u32, now: Instant) {
        let Some(destination) = &mut self.destinations[at as usize] else {
            return;
        };
        let Some(next) = destination.next_look(now) else {
            return;
        };
        if destination.alarm.is_none_or(|alarm| next < alarm) {
            destination.alarm = Some(next);
            self.alarms.set(next, Whom::Destination(at));
        }
    }

    /// Looks at those whose alarm has come.
    pub(super) fn ring(&mut self, now: Instant) {
        while let Some((at, whom)) = self.alarms.take_due(now) {
            match whom {
                Whom::Destination(slot) => {
                    if let Some(destination) = &mut self.destinations[slot as usize]
                        && destination.alarm == Some(at)
                    {
                        destination.alarm = None;
                        self.rouse(slot, now);
                    }
                }
                Whom::Unread(number) => self.read_again(number, at),
                Whom::Lane(number) => {
                    let Some(&slot) = self.slots.get(&number) else {
                        continue;
                    };
                    if let Some(lane) = &mut self.lanes[slot as usize]
                        && lane.alarm == Some(at)
                    {
                        lane.alarm = None;
                        self.end_what_waited(slot);
                    }
                }
            }
        }
    }

    /// A destination's breaker has changed.
    pub(super) fn breaker_changed(&mut self, at: u32, change: Change, now: Now) {
        let end: Offset = self.log.end();
        let Some(destination) = &mut self.destinations[at as usize] else {
            return;
        };
        match change {
            Change::Opened => {
                destination.has_opened(Opened { at: now, end });
                // Patience runs now.
                for lane in self.lanes.iter_mut().flatten() {
                    lane.moved_on |= lane.destination == at;
                }
                let error = destination.last_error.as_ref().map(|(_, error)| &**error);
                tracing::warn!(destination = %destination.key, error, "breaker open: deliveries wait");
            }
            Change::StaysOpen => {}
            Change::Closed => {
                tracing::info!(destination = %destination.key, "breaker closed: deliveries go on");
            }
        }
    }

    /// The clock of patience of a lane's destination.
    pub(super) fn patience_clock(&self, slot: u32, now: Instant) -> std::time::Duration {
        let destination = self.lanes[slot as usize]
            .as_ref()
            .and_then(|lane| self.destinations[lane.destination as usize].as_ref());
        destination.map_or_else(Default::default, |it| it.patience_clock(now))
    }

    /// Whether the clocks of a lane stand: it or its destination is paused.
    pub(super) fn is_paused(&self, slot: u32) -> bool {
        let lane = self.lanes[slot as usize].as_ref();
        lane.is_some_and(|lane| lane.facts.pauses.is_paused())
    }

    /// Keeps how long what is due has been held, before its clock changes.
    pub(super) fn stop_clocks(&mut self, slot: u32, now: Instant) {
        if self.is_paused(slot) {
            return;
        }
        let clock = self.patience_clock(slot, now);
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.due.iter_mut().for_each(|due| due.keep_held(clock));
        }
    }

    /// Goes on by the clock that holds now.
    pub(super) fn start_clocks(&mut self, slot: u32, now: Instant) {
        let clock = self.patience_clock(slot, now);
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.due.iter_mut().for_each(|due| due.is_due_at(clock));
        }
    }

    /// What a lane asks for in this turn.
    pub(super) fn wish(&self, slot: u32, turn: Turn) -> Wish {
        let held = self.lanes[slot as usize]
            .as_ref()
            .is_none_or(|lane| lane.held);
        Wish {
            retry: turn == Turn::Again,
            held,
        }
    }
}
