//! What the engine says of itself when asked. Plain values; `weft` gives them their outer form.

use std::sync::Arc;

use journal::{Offset, WallTime};
use tokio::time::Instant;
use triggers::{BrokerName, NotReady, TriggerName};

use crate::books::Book;
use crate::dedup::DedupReport;
use crate::destination::breaker::{State, Trip};
use crate::destination::{ANSWER_CLASSES, Deferral, Destination, Now};
use crate::guarded::Caught;
use crate::histogram::Histogram;
use crate::keeper::SpaceReport;
use crate::keys::Keys;
use crate::lane::{Lane, Tally};
use crate::pauses::{PauseBook, What};
use crate::records::{FORWARD, Number};
use crate::worker::AtWork;

/// All of it, as of now.
#[derive(Debug, Clone)]
pub struct Report {
    /// Brokers in force, by name.
    pub brokers: Vec<BrokerReport>,
    /// Triggers in force, by name.
    pub triggers: Vec<TriggerReport>,
    /// Destinations with at least one lane.
    pub destinations: Vec<DestinationReport>,
    /// All triggers' books together, with those that are no more.
    pub books: Book,
    /// The books of forwarding to dead letter sinks.
    pub forwards: Book,
    /// What lanes counted since start that are no more.
    pub retired: Tally,
    /// Where routing is.
    pub log: LogReport,
    /// What storage holds.
    pub space: SpaceReport,
    /// What deduplication remembers.
    pub dedup: DedupReport,
    /// Deliveries that may have ended the process before, and go one at a time.
    pub suspects: u64,
    /// Panics that were caught since start, in the order of [`Caught::ALL`].
    pub panics: [u64; Caught::ALL.len()],
}

/// One broker.
#[derive(Debug, Clone)]
pub struct BrokerReport {
    /// Its name.
    pub name: BrokerName,
    /// Its number in the log.
    pub number: Number,
    /// Since when its file is gone.
    pub detached: Option<WallTime>,
    /// How many triggers name it.
    pub triggers: usize,
    /// Events stored for it since start.
    pub stored: u64,
    /// Of those, how many had been seen and are owed to nobody.
    pub deduplicated: u64,
}

/// One trigger.
#[derive(Debug, Clone)]
pub struct TriggerReport {
    /// Its name.
    pub name: TriggerName,
    /// Its number in the log.
    pub number: Number,
    /// Its UID.
    pub uid: [u8; 16],
    /// Its broker.
    pub broker: BrokerName,
    /// Where its events go.
    pub subscriber: String,
    /// The key of that destination, among [`Report::destinations`].
    pub destination: Arc<str>,
    /// Where its dead letters go.
    pub dead_letter_sink: Option<String>,
    /// What keeps it from matching events, if anything.
    pub not_ready: Option<NotReady>,
    /// Since when its file is gone.
    pub detached: Option<WallTime>,
    /// Its books.
    pub book: Book,
    /// The books of its dead letter lane.
    pub forward: Option<Book>,
    /// Its lane's counts and places.
    pub lane: LaneReport,
    /// Dead letters kept of it.
    pub dead_letters: u64,
    /// About how many bytes of the storage it holds.
    pub held_bytes: u64,
    /// Who keeps it from sending, if anybody does.
    pub paused: Option<PausedReport>,
    /// Deliveries of it, forwarded ones too, that may have ended the process before, and go one at
    /// a time.
    pub suspects: u64,
}

/// A pause that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PausedReport {
    /// Since when.
    pub since: WallTime,
    /// The destination's key, where that is what is paused and not the trigger.
    pub destination: Option<Arc<str>>,
    /// Whether a command paused it.
    pub command: bool,
    /// Whether the YAML does.
    pub annotation: bool,
}

impl PausedReport {
    /// The trigger's own pause, else its destination's.
    pub(crate) fn of(book: &PauseBook, number: Number, destination: &str) -> Option<Self> {
        let own = Self::standing(book, What::Trigger(number), None);
        own.or_else(|| Self::of_destination(book, &destination.into()))
    }

    /// A destination's, by its key.
    pub(crate) fn of_destination(book: &PauseBook, key: &Arc<str>) -> Option<Self> {
        let what = What::Destination(Arc::clone(key));
        Self::standing(book, what, Some(Arc::clone(key)))
    }

    fn standing(book: &PauseBook, what: What, destination: Option<Arc<str>>) -> Option<Self> {
        let standing = book.get(&what)?;
        Some(Self {
            since: standing.since?,
            destination,
            command: standing.command,
            annotation: standing.annotation,
        })
    }
}

/// One lane's places.
#[derive(Debug, Clone, Default)]
pub struct LaneReport {
    /// Whose.
    pub number: Number,
    /// Counts since start.
    pub tally: Tally,
    /// Not attempted yet, or due again.
    pub waiting: u64,
    /// Sent and not answered.
    pub in_flight: u32,
    /// Waiting for their time to be tried again.
    pub parked: u32,
    /// Of those not attempted yet, how many wait behind another of their key.
    pub held: u64,
    /// Keys that wait for a delivery that fails, or that a dead letter blocks.
    pub keys_blocked: u64,
    /// Whether as many events wait behind their keys, or as many keys are blocked, as may be.
    pub keys_full: bool,
    /// When the oldest delivery that has not ended arrived.
    pub oldest: Option<WallTime>,
}

/// One destination, of all workers.
#[derive(Debug, Clone, Default)]
pub struct DestinationReport {
    /// Scheme, authority and path.
    pub key: Arc<str>,
    /// Sent and not answered.
    pub in_flight: u32,
    /// How many lanes send there.
    pub lanes: u32,
    /// How long attempts took.
    pub attempt_seconds: Histogram,
    /// From arrival to delivery.
    pub end_to_end_seconds: Histogram,
    /// Answers by class, in the order of [`ANSWER_CLASSES`].
    pub answers: [u64; ANSWER_CLASSES.len()],
    /// Its breaker.
    pub breaker: BreakerReport,
    /// Lanes that wait there with all they have.
    pub waiting: usize,
    /// How often a lane was held back, in the order of [`Deferral::ALL`].
    pub deferred: [u64; Deferral::ALL.len()],
    /// How long `Retry-After` kept everybody away, in all.
    pub pushback: std::time::Duration,
    /// Until when it does now.
    pub pushed_back_until: Option<WallTime>,
    /// Tokens left in its retry budget, unless retries aren't limited.
    pub retry_budget: Option<f64>,
    /// Requests that may be in the air at full speed.
    pub cap: u32,
    /// The share of it that may be used now, while it warms up.
    pub share: f64,
    /// What failed last, and when.
    pub last_error: Option<(WallTime, Box<str>)>,
    /// Who keeps everybody from sending to it, if anybody does.
    pub paused: Option<PausedReport>,
}

/// How a destination's breaker is.
#[derive(Debug, Clone, Default)]
pub struct BreakerReport {
    /// Where it is.
    pub state: BreakerState,
    /// Since when calls don't flow.
    pub since: Option<WallTime>,
    /// When the next probe may leave.
    pub next_probe: Option<WallTime>,
    /// How often it opened, in the order of [`Trip::ALL`].
    pub trips: [u64; Trip::ALL.len()],
}

/// Where a breaker is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// There is none: it was switched off.
    #[default]
    Off,
    /// Calls flow.
    Closed,
    /// Calls don't flow, and one is in the air as a probe.
    Probing,
    /// Calls don't flow.
    Open,
}

impl BreakerState {
    /// The word that commands and metrics use.
    pub fn word(self) -> &'static str {
        match self {
            BreakerState::Off => "off",
            BreakerState::Closed => "closed",
            BreakerState::Probing => "half-open",
            BreakerState::Open => "open",
        }
    }
}

impl BreakerReport {
    fn of(destination: &Destination, now: Now) -> Self {
        let Some(breaker) = destination.breaker() else {
            return Self::default();
        };
        let (state, until) = match breaker.state() {
            State::Closed => (BreakerState::Closed, None),
            State::Probing => (BreakerState::Probing, None),
            State::Open { until } => (BreakerState::Open, Some(until)),
        };
        let ahead = |until: Instant| now.wall.after(until.saturating_duration_since(now.instant));
        Self {
            state,
            since: destination.opened().map(|opened| opened.at.wall),
            next_probe: until.map(ahead),
            trips: breaker.trips(),
        }
    }
}

/// Where the log and its router are.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogReport {
    /// The first offset that is kept.
    pub start: Offset,
    /// The first offset that is not durable yet.
    pub end: Offset,
    /// The first offset that has not been routed.
    pub routed_to: Offset,
    /// Events stored since the process started.
    pub events: u64,
    /// The oldest record anybody is owed or that is kept as a dead letter.
    pub held_from: Option<Offset>,
    /// The revision of the resources in force.
    pub revision: u64,
}

/// What one worker says.
#[derive(Debug, Default)]
pub(crate) struct WorkerReport {
    pub(crate) lanes: Vec<LaneReport>,
    pub(crate) destinations: Vec<DestinationReport>,
    pub(crate) retired: Tally,
}

impl LaneReport {
    fn of(lane: &Lane) -> Self {
        let backlog = lane.backlog();
        Self {
            number: lane.facts.number,
            tally: lane.tally,
            waiting: backlog - u64::from(lane.in_flight) - u64::from(lane.parked),
            in_flight: lane.in_flight,
            parked: lane.parked,
            held: lane.keys.as_deref().map_or(0, Keys::held),
            keys_blocked: lane.keys.as_deref().map_or(0, Keys::keys_blocked),
            keys_full: lane.keys.as_deref().is_some_and(Keys::is_full),
            oldest: None,
        }
    }
}

impl TriggerReport {
    /// The trigger's number with the forwarding bit: its dead letter lane's.
    pub fn forward_number(&self) -> Number {
        self.number | FORWARD
    }
}

impl AtWork {
    pub(crate) fn report(&mut self) -> WorkerReport {
        let mut lanes: Vec<LaneReport> = self.each_lane().map(LaneReport::of).collect();
        let oldest = self.oldest_offsets();
        for lane in &mut lanes {
            let Some(&offset) = oldest.get(&lane.number) else {
                continue;
            };
            lane.oldest = self.arrival(lane.number, offset);
        }
        let now = self.now();
        let destinations = self
            .each_destination()
            .map(|destination| DestinationReport {
                key: Arc::clone(&destination.key),
                in_flight: destination.in_flight,
                lanes: destination.lanes,
                attempt_seconds: destination.attempt_seconds.clone(),
                end_to_end_seconds: destination.end_to_end_seconds.clone(),
                answers: destination.answers,
                breaker: BreakerReport::of(destination, now),
                waiting: destination.waiting.lanes(),
                deferred: destination.deferred,
                pushback: destination.pushback,
                pushed_back_until: destination
                    .pushed_back(now.instant)
                    .map(|until| now.wall.after(until.saturating_duration_since(now.instant))),
                retry_budget: destination.budget_balance(),
                cap: destination.cap(),
                share: destination.share(now.instant),
                last_error: destination.last_error.clone(),
                // Pauses are not a worker's to know.
                paused: None,
            })
            .collect();
        WorkerReport {
            lanes,
            destinations,
            retired: self.retired(),
        }
    }
}
