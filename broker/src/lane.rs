//! A lane: a trigger at work. A row of data, not a task: it is asked, and answers with what to
//! do. It never sleeps, sends or reads a clock; its worker does.
//!
//! A delivery is in one of four places: **owed** (in the list of offsets), **in the air** (its
//! worker has sent it), **parked** (after a failed attempt, with its worker's timer), or **due**
//! (parked, and its time has come).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use journal::{Offset, WallTime};
use tokio::time::Instant;
use triggers::{BrokerName, Destination, Ordering, Terms, TriggerName};

use crate::again::AgainList;
use crate::keys::Keys;
use crate::owed::OwedList;
use crate::pauses::Pauses;
use crate::records::attempt::{self, Attempt};
use crate::records::{Cause, FORWARD, Number};

/// What a lane works for. Replaced whole when the trigger is written differently.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneFacts {
    /// The trigger's number; with [`FORWARD`] set in the lane that forwards its dead letters.
    pub number: Number,
    /// The trigger's UID.
    pub uid: [u8; 16],
    /// The trigger's name.
    pub trigger: TriggerName,
    /// The trigger's namespace, for `Kn-Namespace`.
    pub namespace: Arc<str>,
    /// Its broker.
    pub broker: BrokerName,
    /// Its broker's number, under which replies are stored.
    pub broker_number: Number,
    /// The largest reply its broker takes, in bytes.
    pub event_bytes_max: usize,
    /// Where its events go: the subscriber, or the dead letter sink.
    pub destination: Destination,
    /// Whether a dead letter of this lane is forwarded to a sink.
    pub forwards: bool,
    /// On what terms.
    pub terms: Terms,
    /// When it is, and was, paused: nothing is sent, and no age or patience runs.
    pub pauses: Pauses,
}

impl LaneFacts {
    /// Whether this lane forwards dead letters, and so makes none of its own.
    pub fn is_forward(&self) -> bool {
        self.number & FORWARD != 0
    }

    /// How its events are ordered, if they are. Dead letters are forwarded in no order.
    pub fn ordering(&self) -> Option<&Ordering> {
        let ordering = self.terms.ordering.as_ref();
        ordering.filter(|_| !self.is_forward())
    }
}

/// One event on its way through a lane.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// What is owed: an event's offset, or a Dead record's in a forwarding lane.
    pub offset: Offset,
    /// The attempts already made, those in the middle left out where they are many; boxed, since most deliveries need only one.
    pub history: Option<Box<Vec<Attempt>>>,
    /// When it was owed again, by redrive or replay: its age counts from then, not from the event's
    /// arrival.
    pub since: Option<WallTime>,
    /// How often it was declined by `Weft-Nack`, which counts as no attempt.
    pub nacks: u32,
    /// How long its destination's breaker held it when it was due before, in ms.
    held_ms: u32,
    /// The destination's clock of patience when it became due, in ms.
    due_clock_ms: u64,
    /// What says when it expires, once that has been read.
    pub(crate) lifespan: Option<Lifespan>,
}

/// What says when a delivery expires, but for its trigger's terms and pauses: those may change
/// while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifespan {
    /// When it began: its age counts from then.
    pub(crate) since: WallTime,
    /// The end that its event's sender wrote.
    pub(crate) own_end: Option<WallTime>,
}

/// When a delivery expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expires {
    /// At this time, unless a pause from now on puts it off.
    At(WallTime),
    /// Never.
    Never,
}

impl Delivery {
    /// A delivery not attempted yet.
    pub fn first(offset: Offset) -> Self {
        Self {
            offset,
            history: None,
            since: None,
            nacks: 0,
            held_ms: 0,
            due_clock_ms: 0,
            lifespan: None,
        }
    }

    /// A new delivery of something that was owed before.
    pub fn again(offset: Offset, since: WallTime) -> Self {
        Self {
            since: Some(since),
            ..Self::first(offset)
        }
    }

    /// A delivery with attempts behind it, as a restart finds it.
    pub fn attempted(offset: Offset, history: Vec<Attempt>) -> Self {
        Self {
            history: Some(Box::new(history)),
            ..Self::first(offset)
        }
    }

    /// Whether no attempt is behind it.
    pub fn is_new(&self) -> bool {
        self.history
            .as_ref()
            .is_none_or(|history| history.is_empty())
    }

    /// How many attempts are behind it.
    pub fn attempts(&self) -> u32 {
        self.attempt() - 1
    }

    /// It is due, at this time of its destination's clock of patience.
    pub(crate) fn is_due_at(&mut self, clock: Duration) {
        self.due_clock_ms = ms(clock);
    }

    /// How long the breaker has held it, while it was due, when that clock says so.
    pub(crate) fn held(&self, clock: Duration) -> Duration {
        let now = ms(clock).saturating_sub(self.due_clock_ms);
        Duration::from_millis(u64::from(self.held_ms) + now)
    }

    /// It has been held this long before its first attempt.
    pub(crate) fn was_held(&mut self, held: Duration, clock: Duration) {
        self.held_ms = u32::try_from(ms(held)).unwrap_or(u32::MAX);
        self.due_clock_ms = ms(clock);
    }

    /// It is due no more, or its clock stops: what it was held is kept.
    pub(crate) fn keep_held(&mut self, clock: Duration) {
        self.held_ms = u32::try_from(self.held(clock).as_millis()).unwrap_or(u32::MAX);
        self.due_clock_ms = ms(clock);
    }

    /// The number of the next attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.history
            .as_ref()
            .map_or(1, |history| attempt::count(history) + 1)
    }
}

/// Counts since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that reached the network.
    pub attempts: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Deliveries that the destination took.
    pub delivered: u64,
    /// Answers whose body was not an event and was ignored.
    pub replies_ignored: u64,
    /// Answers whose event went back through ingress.
    pub replies: u64,
    /// Answers that declined an event by `Weft-Nack`.
    pub nacks: u64,
    /// Events whose `expirytime` couldn't be read and was ignored.
    pub expiry_unreadable: u64,
    /// Deliveries that ended in the dead letters, by cause.
    pub dead: [u64; 9],
}

impl Tally {
    /// Counts one dead letter.
    pub fn count_dead(&mut self, cause: Cause) {
        self.dead[cause as usize] += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.failed += other.failed;
        self.delivered += other.delivered;
        self.replies_ignored += other.replies_ignored;
        self.replies += other.replies;
        self.nacks += other.nacks;
        self.expiry_unreadable += other.expiry_unreadable;
        for (mine, theirs) in self.dead.iter_mut().zip(other.dead) {
            *mine += theirs;
        }
    }
}

/// A trigger at work.
#[derive(Debug)]
pub struct Lane {
    /// What it works for.
    pub facts: Arc<LaneFacts>,
    /// Its destination's slot in the worker.
    pub(crate) destination: u32,
    pub(crate) owed: OwedList,
    /// What it is owed again; `None` mostly.
    pub(crate) again: Option<Box<AgainList>>,
    pub(crate) due: VecDeque<Delivery>,
    /// How many the worker has sent and not heard of.
    pub in_flight: u32,
    /// How many wait for their time.
    pub parked: u32,
    /// Whether it stands in the worker's ready queue or waits for its destination.
    pub(crate) queued: bool,
    /// Whether its retries wait for the destination's budget; what is new goes meanwhile.
    pub(crate) awaits_budget: bool,
    /// Whether its worker counts it among the lanes with parked or due deliveries.
    pub(crate) counted_as_parked: bool,
    /// Whether its destination's breaker holds it.
    pub(crate) held: bool,
    /// When its worker looks whether something of it has ended while it waits.
    pub(crate) alarm: Option<Instant>,
    /// Whether anything was taken since that alarm was set: what is oldest is another now.
    pub(crate) moved_on: bool,
    /// Bytes it may still send in its turn; what a large event took too much is missing in the
    /// next (deficit round robin: Shreedhar and Varghese, 1995).
    pub(crate) deficit: i32,
    /// The keys of an ordered lane, and what it holds behind them.
    pub(crate) keys: Option<Box<Keys>>,
    /// Counts since start.
    pub tally: Tally,
}

/// What a lane can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has something new to send.
    First,
    /// It has something to send again.
    Again,
    /// Nothing until an event, an answer or a timer comes.
    Rest,
}

impl Lane {
    /// An idle lane.
    pub fn new(facts: Arc<LaneFacts>, destination: u32) -> Self {
        Self {
            facts,
            destination,
            owed: OwedList::default(),
            again: None,
            due: VecDeque::new(),
            in_flight: 0,
            parked: 0,
            queued: false,
            awaits_budget: false,
            counted_as_parked: false,
            held: true,
            alarm: None,
            moved_on: false,
            deficit: 0,
            keys: None,
            tally: Tally::default(),
        }
    }

    /// What it can do now. `parked_max` is its share of the worker's parked deliveries: at the
    /// bound it only retries, and takes new ones as places become free. So does an ordered lane
    /// that holds all it may; one that blocks as many keys as it may also takes what it is owed
    /// again.
    pub fn turn(&self, parked_max: u32) -> Turn {
        if self.facts.pauses.is_paused() || self.in_flight >= self.facts.terms.max_in_flight {
            return Turn::Rest;
        }
        let keys = self.keys.as_deref();
        if keys.is_some_and(|keys| keys.unread().is_some()) {
            return Turn::First;
        }
        let holds_all = keys.is_some_and(Keys::holds_all);
        let waits = self.takes_again() || (!self.owed.is_empty() && !self.blocks_all());
        let takes_new = waits && self.holding() < parked_max && !holds_all;
        match self.due.front() {
            Some(due) if due.is_new() => Turn::First,
            Some(_) if !self.awaits_budget => Turn::Again,
            _ if takes_new => Turn::First,
            _ => Turn::Rest,
        }
    }

    /// Takes what [`Lane::turn`] said: one that is due before one that is new, and those before
    /// one that is owed again, but for every [`crate::again::TURN_SHARE`]th.
    pub fn take(&mut self) -> Option<Delivery> {
        let first = self.due.front().is_some_and(Delivery::is_new);
        let due = match first || !self.awaits_budget {
            true => self.due.pop_front(),
            false => None,
        };
        let delivery = match due {
            Some(due) => self.remembered(due),
            None => match self.take_again() {
                Some(again) => again,
                None if self.blocks_all() => return None,
                None => Delivery::first(self.owed.pop()?),
            },
        };
        self.in_flight += 1;
        self.moved_on = true;
        Some(delivery)
    }

    /// How many deliveries it holds in memory that are not in the air: parked or due.
    pub fn holding(&self) -> u32 {
        let due = u32::try_from(self.due.len()).unwrap_or(u32::MAX);
        self.parked.saturating_add(due)
    }

    fn blocks_all(&self) -> bool {
        self.keys.as_deref().is_some_and(Keys::blocks_all)
    }

    fn takes_again(&self) -> bool {
        let next = self.again.as_ref().and_then(|again| again.peek());
        let keys = self.keys.as_deref();
        next.is_some_and(|(next, _)| keys.is_none_or(|keys| keys.takes_again(next)))
    }

    fn take_again(&mut self) -> Option<Delivery> {
        if !self.takes_again() {
            return None;
        }
        let new_waits = !self.owed.is_empty() && !self.blocks_all();
        let again = self.again.as_mut()?;
        let taken = again.take(new_waits);
        if again.is_empty() {
            self.again = None;
        }
        taken
    }

    /// What was held behind its key comes back as an offset: with when it was owed again.
    fn remembered(&mut self, due: Delivery) -> Delivery {
        let Some(again) = &mut self.again else {
            return due;
        };
        let since = due.since.or_else(|| again.let_go(due.offset));
        if again.is_empty() {
            self.again = None;
        }
        Delivery { since, ..due }
    }

    /// Its retries wait for the destination's budget: what is due for the first time goes before.
    pub(crate) fn await_budget(&mut self) {
        self.awaits_budget = true;
        // Only behind a key is anything due for the first time.
        if self.keys.is_some() {
            self.due.make_contiguous().sort_by_key(|due| !due.is_new());
        }
    }

    /// A delivery that was taken waits behind its key.
    pub(crate) fn hold_again(&mut self, delivery: &Delivery) {
        if let Some(since) = delivery.since {
            let again = self.again.get_or_insert_default();
            again.hold(delivery.offset, since);
        }
    }

    /// Owes something again.
    pub(crate) fn owe_again(&mut self, offset: Offset, since: WallTime) {
        self.again.get_or_insert_default().push(offset, since);
    }

    /// How many deliveries have not ended.
    pub fn backlog(&self) -> u64 {
        let held = self.keys.as_deref().map_or(0, Keys::held);
        let again = self.again.as_ref().map_or(0, |again| again.len());
        let waiting = self.owed.len() + again as u64 + self.due.len() as u64 + held;
        waiting + u64::from(self.parked) + u64::from(self.in_flight)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

// DESIGN §3: a lane is a row of at most 320 bytes.
const _: () = assert!(std::mem::size_of::<Lane>() <= 320);
