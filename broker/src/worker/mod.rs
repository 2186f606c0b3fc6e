//! A worker: one core's lanes and destinations, and everything in the air between them.
//!
//! It runs on one thread, so a destination's caps and a lane's list need no locks. Its loop
//! takes in what is owed (from the router), what came back (from its sink) and what is due
//! (from its timers), turns the ready lanes by deficit round robin, and notes what ended. All
//! that it decides about a delivery is in [`crate::next_step`]; this file carries it out.

mod alarms;
mod dropping;
mod ends;
mod flight;
mod giving_way;
mod inbox;
mod landing;
mod order;
mod put_off;
mod still_owed;
mod timers;
mod trial;
mod waiting;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use journal::{Group, Offset, WallTime};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub(crate) use self::dropping::Whose;
pub(crate) use self::inbox::{LaneState, ToWorker};

use self::alarms::Alarms;
use self::flight::{Airborne, Landing};
use self::timers::Timers;
use self::trial::HURRIED_NOTES;
use crate::Fault;
use crate::careful::Careful;
use crate::destination::Destination;
use crate::lane::{Delivery, Lane, Tally, Turn};
use crate::limits::Limits;
use crate::log::Log;
use crate::records::dead::Dead;
use crate::records::settled::Settled;
use crate::records::{FORWARD, Number, envelope};
use crate::rng::Rng;
use crate::sink::Sink;
use crate::store::{Store, StoreReader};
use crate::trace::Spans;

/// How many requests a lane sends in one turn while there are places for all.
const TURN_REQUESTS_MAX: usize = 16;

/// Bytes of events that a turn adds to what its lane may send.
const TURN_BYTES: i32 = 64 * 1024;

/// How many messages and answers are taken in before lanes are turned again.
const TAKE_IN_MAX: usize = 256;

/// Bytes of records that are collected before they are noted, at the most.
const NOTES_BYTES_TARGET: usize = 256 * 1024;

/// One core's share of the engine, ready to run on any thread.
pub struct Worker(Parts);

impl Worker {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(parts)
    }

    /// Works, on one thread, until it is drained or the log stops.
    ///
    /// # Errors
    ///
    /// [`Fault::LogStopped`]: nothing can be settled any more, so the node must end.
    pub async fn run(self, sink: impl Sink) -> Result<(), Fault> {
        AtWork::new(self.0).run(Rc::new(sink)).await
    }
}

/// A worker on its thread.
pub(crate) struct AtWork {
    pub(crate) log: Log,
    pub(crate) reader: StoreReader,
    pub(crate) limits: Limits,
    pub(crate) spans: Arc<dyn Spans>,
    pub(crate) rng: Rng,
    pub(crate) inbox: mpsc::Receiver<ToWorker>,
    /// All workers' inboxes, for answers whose lane has moved.
    pub(crate) peers: Vec<mpsc::Sender<ToWorker>>,
    lanes: Vec<Option<Lane>>,
    free_slots: Vec<u32>,
    slots: HashMap<Number, u32>,
    /// Where lanes went that have answers outstanding here.
    moved: HashMap<Number, usize>,
    /// What landed for lanes that are on their way here.
    arriving: HashMap<Number, Vec<Landing>>,
    destinations: Vec<Option<Destination>>,
    destination_slots: HashMap<Arc<str>, u32>,
    free_destinations: Vec<u32>,
    ready: VecDeque<u32>,
    timers: Timers,
    alarms: Alarms,
    /// Lanes that have deliveries which are parked or due.
    lanes_parked: u32,
    lanes_holding: u32,
    airborne: Airborne,
    /// Deliveries whose reply is being stored.
    storing: Vec<(Number, Offset)>,
    flights: FuturesUnordered<LocalBoxFuture<'static, Landing>>,
    bytes_in_flight: usize,
    /// Of these, bytes of replies that are being stored.
    bytes_storing: usize,
    settled: Settled,
    notes: Vec<Group>,
    notes_bytes: usize,
    /// Answers that wait until what was written down before them is noted.
    once_noted: Vec<Box<dyn FnOnce()>>,
    pub(crate) careful: Arc<Careful>,
    turns: watch::Receiver<u64>,
    /// Lanes whose next delivery waits for a turn of the careful node.
    suspended: Vec<u32>,
    hurried_notes: u32,
    unread: put_off::PutOff,
    /// What lanes counted that are no more, so that totals never go back.
    retired: Tally,
    draining: Option<tokio::sync::oneshot::Sender<()>>,
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) log: Log,
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) spans: Arc<dyn Spans>,
    pub(crate) seed: u64,
    pub(crate) inbox: mpsc::Receiver<ToWorker>,
    pub(crate) peers: Vec<mpsc::Sender<ToWorker>>,
    pub(crate) careful: Arc<Careful>,
}

impl AtWork {
    fn new(parts: Parts) -> Self {
        let Parts {
            log,
            store,
            limits,
            spans,
            seed,
            inbox,
            peers,
            careful,
        } = parts;
        let hurried_notes = u32::from(careful.is_hurried()) * HURRIED_NOTES;
        Self {
            reader: store.reader(),
            log,
            limits,
            spans,
            rng: Rng::new(seed),
            inbox,
            peers,
            lanes: Vec::new(),
            free_slots: Vec::new(),
            slots: HashMap::new(),
            moved: HashMap::new(),
            arriving: HashMap::new(),
            destinations: Vec::new(),
            destination_slots: HashMap::new(),
            free_destinations: Vec::new(),
            ready: VecDeque::new(),
            timers: Timers::default(),
            alarms: Alarms::default(),
            lanes_parked: 0,
            lanes_holding: 0,
            airborne: Airborne::default(),
            storing: Vec::new(),
            flights: FuturesUnordered::new(),
            bytes_in_flight: 0,
            bytes_storing: 0,
            settled: Settled::default(),
            notes: Vec::new(),
            notes_bytes: 0,
            once_noted: Vec::new(),
            turns: careful.turns(),
            careful,
            suspended: Vec::new(),
            hurried_notes,
            unread: put_off::PutOff::default(),
            retired: Tally::default(),
            draining: None,
        }
    }

    async fn run(mut self, sink: Rc<dyn Sink>) -> Result<(), Fault> {
        loop {
            let more = self.send_ready(&sink);
            self.write_down().await?;
            if self.is_drained() {
                return Ok(());
            }
            // `more`: the turn ended for its length, not for want of places.
            if !more && !self.wait().await? {
                return Ok(());
            }
            // While answers come faster than they are taken in there is always something to do,
            // and this loop would never be pending: whoever else is on this thread, as the door,
            // gets a turn in each round. What came meanwhile is then taken in together.
            tokio::task::yield_now().await;
            self.take_in_more()?;
            let now = Instant::now();
            self.wake_due(now);
            self.ring(now);
        }
    }

    /// Waits for the first of an answer, a message or a timer. `false` when the engine is gone.
    async fn wait(&mut self) -> Result<bool, Fault> {
        let due = [self.timers.next(), self.alarms.next()];
        let due = due.into_iter().flatten().min();
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(landing) = self.flights.next(), if !self.flights.is_empty() => {
                self.land(landing)?;
            }
            message = self.inbox.recv() => match message {
                Some(message) => self.take_in(message)?,
                None => return Ok(false),
            },
            () = timer => {}
            // The sender lives as long as this worker does.
            _ = self.turns.changed(), if !self.suspended.is_empty() => {
                self.ask_again();
            }
        }
        Ok(true)
    }

    /// Takes in what else has come, without waiting.
    fn take_in_more(&mut self) -> Result<(), Fault> {
        for _ in 0..TAKE_IN_MAX {
            match self.flights.next().now_or_never() {
                Some(Some(landing)) => self.land(landing)?,
                _ => break,
            }
        }
        for _ in 0..TAKE_IN_MAX {
            match self.inbox.try_recv() {
                Ok(message) => self.take_in(message)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Turns ready lanes while there are places. `true` when it stopped for its own length.
    fn send_ready(&mut self, sink: &Rc<dyn Sink>) -> bool {
        if self.draining.is_some() {
            return false;
        }
        while self.notes_bytes < NOTES_BYTES_TARGET {
            if self.is_full() {
                self.send_beside_replies(sink);
                return false;
            }
            let Some(slot) = self.ready.pop_front() else {
                return false;
            };
            let free = self.limits.in_flight_max - self.flights.len();
            // Each ready lane gets a place before any gets its second.
            let requests = (free / (self.ready.len() + 1)).clamp(1, TURN_REQUESTS_MAX);
            self.turn(slot, requests, sink);
        }
        true
    }

    /// Whether nothing more may be in the air.
    fn is_full(&self) -> bool {
        self.limits.in_flight_max <= self.flights.len()
            || self.limits.in_flight_bytes_max <= self.bytes_in_flight
    }

    /// Turns ready lanes that have nothing in the air, one delivery each, where it is replies that
    /// wait to be stored which take the places or the bytes. What those wait for is room in the
    /// log, and that comes from deliveries that end: were none sent, each would wait for the other.
    fn send_beside_replies(&mut self, sink: &Rc<dyn Sink>) {
        for _ in 0..self.ready.len() {
            let requests = self.flights.len() - self.storing.len();
            let bytes = self.bytes_in_flight - self.bytes_storing;
            if self.limits.in_flight_max <= requests || self.limits.in_flight_bytes_max <= bytes {
                return;
            }
            let Some(slot) = self.ready.pop_front() else {
                return;
            };
            match &self.lanes[slot as usize] {
                // Its turn ends with the first that it sends.
                Some(lane) if lane.in_flight == 0 => self.turn(slot, TURN_REQUESTS_MAX, sink),
                Some(_) => self.ready.push_back(slot),
                None => {}
            }
        }
    }

    /// One lane's turn: at most `requests` of its deliveries, and none more when nothing more may be
    /// in the air.
    fn turn(&mut self, slot: u32, requests: usize, sink: &Rc<dyn Sink>) {
        let parked_max = self.parked_share();
        let now = Instant::now();
        let mut destination = None;
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.deficit = (lane.deficit + TURN_BYTES).min(TURN_BYTES);
            destination = Some(lane.destination);
        }
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.queued = false;
        }
        for _ in 0..requests {
            let Some(lane) = &mut self.lanes[slot as usize] else {
                return;
            };
            let turn = lane.turn(parked_max);
            if turn == Turn::Rest || lane.queued {
                lane.deficit = 0;
                self.take_back_intent(slot);
                break;
            }
            if lane.deficit <= 0 {
                break;
            }
            if lane.keys.is_some() && self.read_keys(slot) {
                continue;
            }
            let wish = self.wish(slot, turn);
            if !self.may_send(slot, wish, now) {
                // It waits, or only its retries do: then what is new is asked for next.
                self.take_back_intent(slot);
                continue;
            }
            let Some(delivery) = self.take(slot) else {
                break;
            };
            let Some(delivery) = self.leave(slot, delivery) else {
                break;
            };
            let before = self.bytes_in_flight;
            self.send(slot, delivery, wish, sink);
            let sent = self.bytes_in_flight.saturating_sub(before);
            if let Some(lane) = &mut self.lanes[slot as usize] {
                let sent = i32::try_from(sent).unwrap_or(i32::MAX);
                lane.deficit = lane.deficit.saturating_sub(sent);
            }
            if self.is_full() {
                break;
            }
        }
        self.wake(slot);
        if let Some(destination) = destination {
            self.rouse(destination, now);
        }
    }

    /// Takes what a lane may send.
    fn take(&mut self, slot: u32) -> Option<Delivery> {
        let lane = self.lanes[slot as usize].as_mut()?;
        lane.take()
    }

    /// Puts a lane that can send in the ready queue. `false`: it has nothing to send, or waits
    /// for its turn already.
    fn wake(&mut self, slot: u32) -> bool {
        if let Some(lane) = &mut self.lanes[slot as usize] {
            let holds = lane.holding() > 0;
            let before = std::mem::replace(&mut lane.counted_as_parked, holds);
            self.lanes_parked += u32::from(lane.counted_as_parked);
            self.lanes_parked -= u32::from(before);
        }
        let parked_max = self.parked_share();
        if let Some(lane) = &mut self.lanes[slot as usize]
            && !lane.queued
            && lane.turn(parked_max) != Turn::Rest
        {
            lane.queued = true;
            self.ready.push_back(slot);
            return true;
        }
        false
    }

    /// Each lane's share of the deliveries that are parked or due.
    fn parked_share(&self) -> u32 {
        self.limits.parked_max / self.lanes_parked.max(1)
    }

    /// Moves deliveries whose time has come to their lanes.
    fn wake_due(&mut self, now: Instant) {
        while let Some((number, mut delivery)) = self.timers.take_due(now) {
            let Some(&slot) = self.slots.get(&number) else {
                continue;
            };
            let clock = self.patience_clock(slot, now);
            delivery.is_due_at(clock);
            if let Some(lane) = &mut self.lanes[slot as usize] {
                lane.parked -= 1;
                lane.due.push_back(delivery);
            }
            self.wake(slot);
            self.watch_last_due(slot, now);
        }
    }

    fn note(&mut self, group: impl Into<Group>) {
        let group = group.into();
        self.notes_bytes += group.bytes();
        self.notes.push(group);
    }

    /// Notes what ended and what was parked, in order; waits while the log has no room.
    async fn write_down(&mut self) -> Result<(), Fault> {
        if let Some(settled) = self.settled.take() {
            self.notes.push(settled.into());
        }
        if !self.notes.is_empty() {
            self.notes_bytes = 0;
            let notes = std::mem::take(&mut self.notes);
            self.log.note(notes).await.map_err(|_| Fault::LogStopped)?;
            self.hurry().await?;
        }
        self.once_noted.drain(..).for_each(|answer| answer());
        Ok(())
    }

    fn is_drained(&mut self) -> bool {
        if self.draining.is_none() || !self.flights.is_empty() {
            return false;
        }
        if let Some(done) = self.draining.take()
            && done.send(()).is_err()
        {
            tracing::debug!("drained after the engine's grace was over");
        }
        true
    }

    pub(crate) fn each_lane(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().flatten()
    }

    pub(crate) fn each_destination(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.iter().flatten()
    }

    /// What lanes counted that are no more.
    pub(crate) fn retired(&self) -> Tally {
        self.retired
    }

    /// Each lane's oldest offset that has not ended, wherever it is; what waits to be delivered
    /// again was young once already and doesn't count.
    pub(crate) fn oldest_offsets(&self) -> HashMap<Number, Offset> {
        let mut oldest: HashMap<Number, Offset> = HashMap::new();
        let mut see = |number: Number, offset: Offset| {
            oldest
                .entry(number)
                .and_modify(|old| *old = offset.min(*old))
                .or_insert(offset);
        };
        for lane in self.each_lane() {
            let due = lane.due.iter().filter(|delivery| delivery.since.is_none());
            let due = due.map(|delivery| delivery.offset);
            lane.owed
                .peek()
                .into_iter()
                .chain(due)
                .for_each(|offset| see(lane.facts.number, offset));
        }
        self.timers
            .iter()
            .filter(|(_, delivery)| delivery.since.is_none())
            .for_each(|(number, delivery)| see(number, delivery.offset));
        self.airborne
            .iter()
            .for_each(|(number, offset)| see(number, offset));
        oldest
    }

    /// When what a lane owes arrived.
    pub(crate) fn arrival(&mut self, number: Number, offset: Offset) -> Option<WallTime> {
        let stored = self.reader.get(offset).ok()??;
        if number & FORWARD == 0 {
            return envelope::arrival(&stored).ok();
        }
        Dead::read(&stored).ok().map(|dead| dead.at)
    }
}
