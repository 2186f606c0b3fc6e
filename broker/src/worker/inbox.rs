//! What the router tells a worker.

use std::sync::Arc;

use journal::{Offset, WallTime};
use tokio::sync::oneshot;
use tokio::time::Instant;
use triggers::Health;

use super::AtWork;
use super::dropping::Whose;
use super::flight::Landing;
use crate::Fault;
use crate::again::AgainList;
use crate::destination::{Destination, Now};
use crate::keys::{Key, Keys};
use crate::lane::{Delivery, Lane, LaneFacts, Tally};
use crate::owed::OwedList;
use crate::records::Number;
use crate::report::WorkerReport;

/// A message to a worker. Its inbox is bounded; the router waits when it is full.
pub(crate) enum ToWorker {
    /// These are owed, one message a batch of the log.
    Owed(Vec<(Number, Offset)>),
    /// These are owed again, each a new delivery whose age counts from `since`.
    OwedAgain {
        number: Number,
        offsets: Vec<Offset>,
        since: WallTime,
    },
    /// A lane begins here, or its trigger is written differently.
    Put(Arc<LaneFacts>, Option<Box<LaneState>>),
    /// A lane ends: its trigger was deleted, and what is owed is cancelled.
    Retire {
        number: Number,
        outstanding: oneshot::Sender<Vec<Offset>>,
    },
    /// A lane goes to another worker, since its destination changed.
    Release {
        number: Number,
        to: usize,
        state: oneshot::Sender<Option<Box<LaneState>>>,
    },
    /// The dead letter of this event blocks its key no longer.
    LetKeyGo(Number, Offset),
    /// A lane is about to come here from another worker: what lands for it waits until it does.
    Expect(Number),
    /// What landed elsewhere for a lane that has moved here.
    Landed(Landing),
    /// End, or count, what paused lanes owe before an offset. Answered when it is noted.
    Drop {
        whose: Whose,
        before: Offset,
        count_only: bool,
        done: oneshot::Sender<u64>,
    },
    /// Which of these does a lane still owe. Answered when what has ended is noted.
    StillOwed {
        number: Number,
        offsets: Vec<Offset>,
        owed: oneshot::Sender<Vec<Offset>>,
    },
    /// A lane's oldest deliveries, so many, end for its trigger's quota.
    GiveWay { number: Number, count: u64 },
    /// How are things.
    Report(oneshot::Sender<WorkerReport>),
    /// Start nothing more; answer when nothing is in the air.
    Drain(oneshot::Sender<()>),
}

/// What a lane carries when it starts with a backlog, or moves.
#[derive(Debug, Default)]
pub(crate) struct LaneState {
    pub(crate) owed: OwedList,
    pub(crate) again: Option<Box<AgainList>>,
    pub(crate) due: Vec<Delivery>,
    pub(crate) parked: Vec<(Instant, Delivery)>,
    pub(crate) in_flight: u32,
    pub(crate) tally: Tally,
    /// An ordered lane's keys, when it moves.
    pub(crate) keys: Option<Box<Keys>>,
    /// Which keys dead letters block, when it starts.
    pub(crate) blocked: Vec<(Key, Offset)>,
}

impl LaneState {
    /// All that it owes and that isn't in the air.
    pub(crate) fn offsets(self) -> impl Iterator<Item = Offset> {
        let mut owed = self.owed;
        let again: Vec<Offset> = match self.again {
            Some(again) => again.iter().map(|(offset, _)| offset).collect(),
            None => Vec::new(),
        };
        let due = self.due.into_iter().map(|delivery| delivery.offset);
        let parked = self.parked.into_iter().map(|(_, delivery)| delivery.offset);
        let held = self.keys.map(|keys| keys.held_offsets());
        std::iter::from_fn(move || owed.pop())
            .chain(again)
            .chain(due)
            .chain(parked)
            .chain(held.unwrap_or_default())
    }
}

impl AtWork {
    pub(super) fn take_in(&mut self, message: ToWorker) -> Result<(), Fault> {
        match message {
            ToWorker::Owed(owed) => self.owe(owed),
            ToWorker::OwedAgain {
                number,
                offsets,
                since,
            } => self.owe_again(number, offsets, since),
            ToWorker::Put(facts, state) => self.put(facts, state)?,
            ToWorker::Retire {
                number,
                outstanding,
            } => {
                drop(outstanding.send(self.retire(number)));
            }
            ToWorker::Release { number, to, state } => {
                // The router is gone only when the node is ending.
                drop(state.send(self.release(number, to)));
            }
            ToWorker::LetKeyGo(number, offset) => {
                if let Some(&slot) = self.slots.get(&number) {
                    self.key_let_go(slot, offset);
                    self.wake(slot);
                }
            }
            ToWorker::Expect(number) => drop(self.arriving.insert(number, Vec::new())),
            ToWorker::Landed(landing) => self.go_on(landing)?,
            ToWorker::Drop {
                whose,
                before,
                count_only,
                done,
            } => {
                let ended = self.drop_owed(&whose, before, count_only);
                self.once_noted.push(Box::new(move || {
                    if done.send(ended).is_err() {
                        tracing::debug!("who resumed has gone");
                    }
                }));
            }
            ToWorker::StillOwed {
                number,
                offsets,
                owed,
            } => {
                let still = self.still_owed(number, offsets);
                // The router is gone only when the node is ending.
                self.once_noted
                    .push(Box::new(move || drop(owed.send(still))));
            }
            ToWorker::GiveWay { number, count } => self.give_way(number, count),
            ToWorker::Report(to) => drop(to.send(self.report())),
            ToWorker::Drain(done) => self.draining = Some(done),
        }
        Ok(())
    }

    fn owe(&mut self, owed: Vec<(Number, Offset)>) {
        for (number, offset) in owed {
            let Some(&slot) = self.slots.get(&number) else {
                continue;
            };
            let mut is_oldest = false;
            if let Some(lane) = &mut self.lanes[slot as usize] {
                is_oldest = lane.owed.is_empty();
                if lane.owed.takes(offset) {
                    lane.owed.push(offset);
                } else {
                    // Matched again after its Routed record was lost to damage.
                    lane.due.push_back(Delivery::first(offset));
                }
            }
            self.wake(slot);
            if is_oldest {
                self.watch_anew(slot);
            }
        }
    }

    fn owe_again(&mut self, number: Number, offsets: Vec<Offset>, since: WallTime) {
        // Without a lane its trigger was deleted meanwhile, and what is owed was cancelled.
        let Some(&slot) = self.slots.get(&number) else {
            return;
        };
        if let Some(lane) = &mut self.lanes[slot as usize] {
            for offset in offsets {
                lane.owe_again(offset, since);
            }
        }
        self.wake(slot);
    }

    fn put(&mut self, facts: Arc<LaneFacts>, state: Option<Box<LaneState>>) -> Result<(), Fault> {
        let number = facts.number;
        let now = self.now();
        self.moved.remove(&number);
        let destination = self.destination_slot(&facts, now);
        // Before it leaves the one it had: that may be the same, and would be forgotten.
        if let Some(joined) = &mut self.destinations[destination as usize] {
            joined.lanes += 1;
        }
        let slot = match self.slots.get(&number) {
            Some(&slot) => {
                self.stop_clocks(slot, now.instant);
                let was_paused = self.is_paused(slot);
                let before = self.lanes[slot as usize].as_mut().map(|lane| {
                    lane.facts = facts;
                    std::mem::replace(&mut lane.destination, destination)
                });
                if let Some(before) = before {
                    self.leave_destination(before, slot);
                }
                self.start_clocks(slot, now.instant);
                if was_paused
                    && !self.is_paused(slot)
                    && let Some(joined) = &mut self.destinations[destination as usize]
                {
                    joined.resumed(now.instant);
                }
                slot
            }
            None => self.new_lane(Lane::new(facts, destination)),
        };
        self.know_terms(slot);
        // By other terms or after a pause, another may be the first to end, and earlier.
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.alarm = None;
        }
        let mut blocked = Vec::new();
        if let Some(mut state) = state {
            blocked = std::mem::take(&mut state.blocked);
            self.fill(slot, *state);
        }
        self.reorder(slot, blocked);
        self.wake(slot);
        let early = self.arriving.remove(&number).unwrap_or_default();
        early
            .into_iter()
            .try_for_each(|landing| self.go_on(landing))
    }

    fn new_lane(&mut self, lane: Lane) -> u32 {
        let number = lane.facts.number;
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.lanes[slot as usize] = Some(lane);
                slot
            }
            None => {
                self.lanes.push(Some(lane));
                (self.lanes.len() - 1) as u32
            }
        };
        self.slots.insert(number, slot);
        slot
    }

    /// Takes down what of a lane's terms is asked for often.
    fn know_terms(&mut self, slot: u32) {
        let Some(lane) = &mut self.lanes[slot as usize] else {
            return;
        };
        let destination = self.destinations[lane.destination as usize].as_ref();
        let patience = lane.facts.terms.patience();
        lane.held = destination.is_some_and(|destination| destination.holds(patience));
    }

    fn fill(&mut self, slot: u32, state: LaneState) {
        let clock = self.patience_clock(slot, Instant::now());
        let Some(lane) = &mut self.lanes[slot as usize] else {
            return;
        };
        debug_assert!(lane.owed.is_empty(), "a lane is filled when it begins here");
        lane.owed = state.owed;
        lane.again = state.again;
        lane.due = state.due.into();
        lane.due.iter_mut().for_each(|due| due.is_due_at(clock));
        lane.in_flight = state.in_flight;
        lane.parked = state.parked.len() as u32;
        lane.tally = state.tally;
        lane.keys = state.keys;
        if lane.keys.as_ref().is_some_and(|keys| keys.held() > 0) {
            self.lanes_holding += 1;
        }
        for (due, delivery) in state.parked {
            self.timers.park(lane.facts.number, delivery, due);
        }
    }

    /// The slot of a lane's destination, made when it is new.
    fn destination_slot(&mut self, facts: &LaneFacts, now: Now) -> u32 {
        let key = facts.destination.key().as_str();
        let health = facts
            .destination
            .health()
            .map_or_else(Default::default, |health| Health::clone(health));
        if let Some(&slot) = self.destination_slots.get(key) {
            if let Some(known) = &mut self.destinations[slot as usize] {
                known.configure(&health, now.instant);
            }
            self.rouse(slot, now.instant);
            return slot;
        }
        let key: Arc<str> = key.into();
        let default = self.limits.destination_in_flight_max;
        let destination = Some(Destination::new(
            Arc::clone(&key),
            health,
            default,
            now.instant,
        ));
        let slot = match self.free_destinations.pop() {
            Some(free) => {
                self.destinations[free as usize] = destination;
                free
            }
            None => {
                self.destinations.push(destination);
                (self.destinations.len() - 1) as u32
            }
        };
        self.destination_slots.insert(key, slot);
        slot
    }

    /// A lane no longer sends to a destination, which is forgotten when nobody does and nothing
    /// is in the air.
    fn leave_destination(&mut self, destination: u32, slot: u32) {
        if let Some(left) = &mut self.destinations[destination as usize] {
            left.lanes -= 1;
            let waited = left.waiting.remove(slot);
            if let Some(lane) = &mut self.lanes[slot as usize] {
                lane.queued &= !waited;
                lane.awaits_budget = false;
            }
        }
        // It may have been the one that was roused.
        self.rouse(destination, Instant::now());
        self.forget_if_idle(destination);
    }

    pub(super) fn forget_if_idle(&mut self, slot: u32) {
        if let Some(destination) = &self.destinations[slot as usize]
            && destination.lanes == 0
            && destination.in_flight == 0
        {
            self.destination_slots.remove(&destination.key);
            self.destinations[slot as usize] = None;
            self.free_destinations.push(slot);
        }
    }

    /// Ends a lane, and says what was owed. What is in the air may still arrive; its answer no
    /// longer matters.
    fn retire(&mut self, number: Number) -> Vec<Offset> {
        let in_the_air: Vec<Offset> = self
            .airborne
            .iter()
            .filter(|(whose, _)| *whose == number)
            .map(|(_, at)| at)
            .collect();
        let Some((lane, parked)) = self.take_lane(number) else {
            return in_the_air;
        };
        self.retired.add(&lane.tally);
        let state = LaneState {
            owed: lane.owed,
            again: lane.again,
            due: lane.due.into(),
            parked,
            keys: lane.keys,
            ..LaneState::default()
        };
        state.offsets().chain(in_the_air).collect()
    }

    fn release(&mut self, number: Number, to: usize) -> Option<Box<LaneState>> {
        let (lane, parked) = self.take_lane(number)?;
        if lane.in_flight > 0 {
            self.moved.insert(number, to);
        }
        Some(Box::new(LaneState {
            owed: lane.owed,
            again: lane.again,
            due: lane.due.into(),
            parked,
            in_flight: lane.in_flight,
            tally: lane.tally,
            keys: lane.keys,
            blocked: Vec::new(),
        }))
    }

    fn take_lane(&mut self, number: Number) -> Option<(Lane, Vec<(Instant, Delivery)>)> {
        let slot = self.slots.remove(&number)?;
        let lane = self.lanes[slot as usize].take()?;
        self.lanes_parked -= u32::from(lane.counted_as_parked);
        let parked = if lane.parked > 0 {
            self.timers.take_lane(number)
        } else {
            Vec::new()
        };
        if lane.keys.as_ref().is_some_and(|keys| keys.held() > 0) {
            self.lanes_holding -= 1;
        }
        self.unread.forget(number);
        if lane.queued {
            self.ready.retain(|ready| *ready != slot);
            self.ask_no_more(slot);
        }
        self.leave_destination(lane.destination, slot);
        self.free_slots.push(slot);
        Some((lane, parked))
    }
}
