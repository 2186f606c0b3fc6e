//! The router: the only one who matches.
//!
//! It reads each durable batch once, in order. Events are matched by the index in force at their
//! offset; what is owed to whom is noted as a Routed record and handed to the workers, one
//! message a worker and batch. TriggerSet records swap the index; Settled and Dead records keep
//! the books, so that the books say what a restart would find.

pub(crate) mod again;
pub(crate) mod fence;
mod lanes;
mod one_by_one;
mod replays;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use event::EventRef;
use journal::{Offset, Stored, WallTime, mutant};
use roaring::RoaringTreemap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use triggers::Index;
use triggers::index::BrokerId;

use self::again::{AgainBook, Discard, OweAgain};
use self::fence::Fence;
use self::lanes::Placed;
use crate::Fault;
use crate::admission::Admission;
use crate::books::Books;
use crate::careful::Careful;
use crate::dedup::{Dedup, DedupReport};
use crate::fold::{Fold, ParkedThen};
use crate::guarded::Caught;
use crate::lane::Delivery;
use crate::log::Log;
use crate::pausing::Pausing;
use crate::records::dead::Dead;
use crate::records::parked::Parked;
use crate::records::routed::Routed;
use crate::records::started::Started;
use crate::records::{
    DEAD, EVENT, FORWARD, Number, PARKED, SETTLED, TRIGGER_SET, envelope, settled, trigger_set,
};
use crate::registrar::Registrar;
use crate::registry::Registry;
use crate::replay::Replays;
use crate::report::LogReport;
use crate::view::{View, ViewError};
use crate::worker::{LaneState, ToWorker};

/// Bytes of records that are routed before other tasks of the thread get their turn.
const BATCH_BYTES: usize = 1 << 20;

/// A Routed record's size at which it is closed and the next begins, so that events that match
/// thousands of triggers stay within the journal's group cap.
const ROUTED_BYTES_TARGET: usize = 256 * 1024;

/// Offsets that may pass without a Routed record while nobody wants their events: what a restart
/// matches again, at the most.
const UNROUTED_OFFSETS_MAX: u64 = 16 * 1024;

/// How often detached triggers and the log's space are looked at.
const TICK: Duration = Duration::from_millis(250);

/// Asks the router.
pub(crate) enum ToRouter {
    /// How are things.
    Report(oneshot::Sender<RouterReport>),
    /// Who is paused has changed: tell the lanes.
    PausesChanged(oneshot::Sender<()>),
    /// Answer when all before this offset is matched and handed to the lanes.
    Reached(Offset, oneshot::Sender<()>),
    /// Owe a lane something again.
    OweAgain(OweAgain),
    /// Dead letters aren't needed any more.
    Discard(Discard),
    /// The dead letters of these lanes' events block their keys no longer.
    LetKeysGo(Vec<(Number, Offset)>),
    /// Note how far routing is, also where nobody wanted anything: the keeper waits for it.
    NoteRouted,
    /// This lane's oldest deliveries, so many, end for its trigger's quota.
    GiveWay { number: Number, count: u64 },
    /// Route nothing more. What is stored from now on is routed at the next start.
    Stop,
}

/// What the router says.
pub(crate) struct RouterReport {
    pub(crate) registry: Registry,
    pub(crate) books: Books,
    pub(crate) log: LogReport,
    pub(crate) stored: HashMap<Number, u64>,
    pub(crate) deduplicated: HashMap<Number, u64>,
    pub(crate) dedup: DedupReport,
}

/// Matches what is stored, and says who is owed what.
pub struct Router {
    pub(crate) log: Log,
    /// The largest event that any broker takes.
    pub(crate) event_bytes_max: usize,
    /// How long a dead letter is kept, and so its forwarding tried.
    pub(crate) retention_dead_letters: Duration,
    pub(crate) admission: Arc<Admission>,
    pub(crate) workers: Vec<mpsc::Sender<ToWorker>>,
    pub(crate) questions: mpsc::Receiver<ToRouter>,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) in_force: watch::Sender<u64>,
    pub(crate) pausing: Arc<Pausing>,
    pub(crate) replays: Arc<Replays>,
    registry: Registry,
    index: Index,
    /// Brokers by number, as the index knows them.
    brokers: HashMap<Number, Option<BrokerId>>,
    lanes: HashMap<Number, Placed>,
    books: Books,
    /// The first offset that has not been routed.
    next: Offset,
    /// Where the next Routed record begins: what is before it has been noted.
    routed_from: Offset,
    /// Records before this were folded when the log was opened.
    folded_to: Offset,
    seen: HashSet<(Number, Offset)>,
    /// What lanes start with, until they are made.
    backlog: HashMap<Number, LaneState>,
    /// Events stored since start, by broker.
    stored: HashMap<Number, u64>,
    /// What this start writes down, until it has.
    started: Option<Started>,
    careful: Arc<Careful>,
    dedup: Dedup,
    /// Of those stored, how many had been seen.
    deduplicated: HashMap<Number, u64>,
    /// What has been matched and not been noted.
    routed: Routed,
    matching: Vec<Number>,
    outgoing: Vec<Vec<(Number, Offset)>>,
    /// Who waits for routing to come so far.
    waiting: Vec<(Offset, oneshot::Sender<()>)>,
    /// What is owed again.
    again: AgainBook,
}

/// What a router is made of, beside the fold.
pub(crate) struct Parts {
    pub(crate) log: Log,
    pub(crate) event_bytes_max: usize,
    pub(crate) retention_dead_letters: Duration,
    pub(crate) admission: Arc<Admission>,
    pub(crate) workers: Vec<mpsc::Sender<ToWorker>>,
    pub(crate) questions: mpsc::Receiver<ToRouter>,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) in_force: watch::Sender<u64>,
    pub(crate) pausing: Arc<Pausing>,
    pub(crate) replays: Arc<Replays>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) dedup: Dedup,
    pub(crate) started: Started,
    pub(crate) careful: Arc<Careful>,
}

impl Router {
    /// Goes on where routing stopped, as `fold` and the view say.
    pub(crate) fn new(parts: Parts, fold: &Fold, view: &View) -> Result<Self, ViewError> {
        let Parts {
            log,
            event_bytes_max,
            retention_dead_letters,
            admission,
            workers,
            questions,
            registrar,
            in_force,
            pausing,
            replays,
            fence,
            dedup,
            started,
            careful,
        } = parts;
        let now = log.clock().wall();
        let again = &fold.again;
        let again_book = AgainBook::restore(again.keys().copied(), fence);
        let mut backlog = HashMap::new();
        for (number, offsets) in fold.owed.iter() {
            // Read for one number at a time: most have nothing parked.
            let mut parked = view.parked_of(number)?;
            if mutant::is("forget-parked-on-restart") {
                parked.clear();
            }
            let since = |offset| again.get(&(number, offset)).copied();
            backlog.insert(number, lane_state(offsets, parked, since, now));
        }
        for ((number, key), by) in &fold.blocked {
            if mutant::is("forget-blocked-keys-on-restart") {
                break;
            }
            let state: &mut LaneState = backlog.entry(*number).or_default();
            state.blocked.push((Arc::clone(key), *by));
        }
        let outgoing = workers.iter().map(|_| Vec::new()).collect();
        let registry = match mutant::is("route-by-todays-filter") {
            true => &fold.registry,
            false => &fold.registry_then,
        };
        Ok(Self {
            log,
            event_bytes_max,
            retention_dead_letters,
            admission,
            workers,
            questions,
            registrar,
            in_force,
            pausing,
            replays,
            registry: registry.clone(),
            index: Index::default(),
            brokers: HashMap::new(),
            lanes: HashMap::new(),
            books: fold.books.clone(),
            next: fold.routed_to,
            routed_from: fold.routed_to,
            routed: Routed::default(),
            folded_to: fold.end,
            seen: fold.seen.clone(),
            backlog,
            stored: HashMap::new(),
            started: Some(started),
            careful,
            dedup,
            deduplicated: HashMap::new(),
            matching: Vec::new(),
            outgoing,
            waiting: Vec::new(),
            again: again_book,
        })
    }

    /// Routes until the log stops or the engine is gone.
    ///
    /// # Errors
    ///
    /// [`Fault`]: nothing can be matched any more, so the node must end.
    pub async fn run(mut self) -> Result<(), Fault> {
        self.write_start().await?;
        self.take_over(HashSet::new()).await?;
        self.pausing
            .note_found()
            .await
            .map_err(|_| Fault::LogStopped)?;
        let mut caught_up = self.folded_to <= self.next;
        if caught_up {
            self.let_laneless_go();
            self.cancel_unforwarded().await?;
        }
        let mut durable = self.log.journal().durable();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let end = *durable.borrow_and_update();
            if self.next < end {
                self.route_batch().await?;
                tokio::task::yield_now().await;
            }
            if !caught_up && self.folded_to <= self.next {
                caught_up = true;
                self.take_over(HashSet::new()).await?;
                self.let_laneless_go();
                self.cancel_unforwarded().await?;
            }
            self.say_reached();
            let behind = self.next < end;
            tokio::select! {
                biased;
                question = self.questions.recv() => match question {
                    Some(ToRouter::Report(to)) => drop(to.send(self.report())),
                    Some(ToRouter::PausesChanged(done)) => {
                        self.take_over(HashSet::new()).await?;
                        said(done, ());
                    }
                    Some(ToRouter::Reached(offset, done)) => self.waiting.push((offset, done)),
                    Some(ToRouter::OweAgain(asked)) => self.owe_again(asked).await?,
                    Some(ToRouter::Discard(asked)) => self.discard(asked).await?,
                    Some(ToRouter::LetKeysGo(events)) => self.let_keys_go(events).await?,
                    Some(ToRouter::NoteRouted) => self.note_routed().await?,
                    Some(ToRouter::GiveWay { number, count }) => self.give_way(number, count).await?,
                    Some(ToRouter::Stop) | None => return Ok(()),
                },
                _ = tick.tick() => {
                    let expired = self.registrar.expire().await;
                    expired.map_err(|_| Fault::LogStopped)?;
                    self.end_ad_hoc().await?;
                }
                changed = durable.changed(), if !behind => {
                    changed.map_err(|_| Fault::LogStopped)?;
                }
                () = std::future::ready(()), if behind => {}
            }
        }
    }

    /// Suspects nothing of triggers that have no lane. Only once all is read that was in the log:
    /// where the view was made anew, what was in force comes with the records.
    fn let_laneless_go(&self) {
        self.careful.only(|number| self.lanes.contains_key(&number));
    }

    /// Writes this start down, before the first attempt is made.
    async fn write_start(&mut self) -> Result<(), Fault> {
        if let Some(started) = self.started.take() {
            let noted = self.log.note([started.record()]).await;
            noted.map_err(|_| Fault::LogStopped)?;
            self.log.flush().await.map_err(|_| Fault::LogStopped)?;
        }
        Ok(())
    }

    /// Reads and routes what is durable, at most [`BATCH_BYTES`] of it.
    async fn route_batch(&mut self) -> Result<(), Fault> {
        let reading = match self.log.journal().read(self.next, BATCH_BYTES) {
            Ok(reading) => reading,
            Err(error) => {
                tracing::error!(%error, offset = self.next.0, "the log can't be read");
                return Err(Fault::LogUnreadable);
            }
        };
        for stored in &reading.records {
            if self.next < stored.offset {
                self.say_lost(stored.offset);
            }
            let live = self.folded_to <= stored.offset;
            match stored.kind {
                EVENT => self.route(stored),
                TRIGGER_SET => {
                    // Behind this record other filters hold, and other lanes exist: what was
                    // matched by the old ones goes out first.
                    self.send_owed().await?;
                    self.take_part(stored).await?;
                }
                SETTLED if live => self.settle(stored)?,
                DEAD if live => self.bury(stored).await?,
                PARKED if live && self.careful.is_on() => {
                    let parked = Parked::read(stored).map_err(Fault::Malformed)?;
                    self.careful.landed((parked.number, parked.offset));
                }
                _ => {}
            }
            self.next = Offset(stored.offset.0 + 1);
            if self.routed.bytes() > ROUTED_BYTES_TARGET {
                self.send_owed().await?;
            }
        }
        if self.next < reading.next {
            self.say_lost(reading.next);
            self.next = reading.next;
        }
        self.send_owed().await
    }

    /// Notes what was matched, then tells the workers: in that order, so that in the log no
    /// settlement precedes its routing.
    async fn send_owed(&mut self) -> Result<(), Fault> {
        let unnoted = self.next.0 - self.routed_from.0;
        if !self.routed.is_empty() || unnoted >= UNROUTED_OFFSETS_MAX {
            self.note_routed().await?;
            // What was stored before a crash and is matched again must be known to be owed if it
            // is what ends the process.
            if self.careful.is_hurried() && self.routed_from <= self.folded_to {
                self.log.flush().await.map_err(|_| Fault::LogStopped)?;
            }
        }
        for (worker, owed) in self.workers.iter().zip(&mut self.outgoing) {
            if !owed.is_empty() {
                let owed = std::mem::take(owed);
                worker
                    .send(ToWorker::Owed(owed))
                    .await
                    .map_err(|_| Fault::WorkerGone)?;
            }
        }
        Ok(())
    }

    async fn note_routed(&mut self) -> Result<(), Fault> {
        if self.routed_from == self.next {
            return Ok(());
        }
        let routed = std::mem::take(&mut self.routed);
        let record = routed.record(self.routed_from, self.next);
        self.routed_from = self.next;
        let noted = self.log.note([record]).await;
        noted.map_err(|_| Fault::LogStopped)
    }

    /// Matches one event.
    fn route(&mut self, stored: &Stored) {
        *self.stored.entry(stored.tag).or_default() += u64::from(self.folded_to <= stored.offset);
        let bytes = match envelope::stored_event(stored) {
            Ok(bytes) => bytes,
            Err(error) => return tracing::error!(%error, "a stored event doesn't read"),
        };
        let event = match EventRef::from_stored(bytes) {
            Ok(event) => event,
            Err(error) => {
                return tracing::error!(%error, offset = stored.offset.0, "a stored event doesn't read");
            }
        };
        self.matching.clear();
        if self.dedup.is_on() && self.is_duplicate(stored, &event) {
            return;
        }
        if let Some(&Some(broker)) = self.brokers.get(&stored.tag) {
            let (index, matching) = (&self.index, &mut self.matching);
            let found = || index.matching_of(broker, &event, matching);
            if let Err(why) = self.careful.panics.guarded(Caught::Index, found) {
                self.match_one_by_one(stored, &event, &why);
            }
        }
        if !self.seen.is_empty() {
            let seen = &self.seen;
            self.matching
                .retain(|number| !seen.contains(&(*number, stored.offset)));
        }
        if self.matching.is_empty() {
            return;
        }
        self.routed
            .push(self.routed_from, stored.offset, &self.matching);
        for number in &self.matching {
            self.books.matched(*number);
            if let Some(placed) = self.lanes.get(number) {
                self.outgoing[placed.worker].push((*number, stored.offset));
            }
        }
    }

    /// Whether its broker has seen this event: then it is owed to nobody.
    fn is_duplicate(&mut self, stored: &Stored, event: &EventRef<'_>) -> bool {
        let duplicate = envelope::arrival(stored)
            .is_ok_and(|arrival| self.dedup.judge(stored.tag, event, arrival));
        // What is judged again after a restart was counted before it.
        let counts = duplicate && self.folded_to <= stored.offset;
        *self.deduplicated.entry(stored.tag).or_default() += u64::from(counts);
        duplicate
    }

    fn settle(&mut self, stored: &Stored) -> Result<(), Fault> {
        let (books, again) = (&mut self.books, &mut self.again);
        let careful = &self.careful;
        settled::read(stored, |settlement| {
            careful.landed((settlement.number, settlement.offset));
            books.ended(settlement.number, settlement.outcome);
            again.end(settlement.number, settlement.offset, settlement.outcome);
        })
        .map_err(Fault::Malformed)
    }

    /// A dead letter is durable: it is owed to its sink.
    async fn bury(&mut self, stored: &Stored) -> Result<(), Fault> {
        let dead = Dead::read(stored).map_err(Fault::Malformed)?;
        let outcome = crate::records::Outcome::Dead(dead.cause);
        self.books.ended(dead.number, outcome);
        self.again.end(dead.number, dead.offset, outcome);
        self.careful.landed((dead.number, dead.offset));
        let number = dead.number | FORWARD;
        if !dead.forwarded || !self.lanes.contains_key(&dead.number) {
            return Ok(());
        }
        self.books.matched(number);
        match self.lanes.get(&number) {
            Some(placed) => self.outgoing[placed.worker].push((number, stored.offset)),
            // The sink went in the moment in which this was written.
            None => self.cancel_forwards(number, &[stored.offset]).await?,
        }
        Ok(())
    }

    async fn take_part(&mut self, stored: &Stored) -> Result<(), Fault> {
        let part = trigger_set::read(stored).map_err(Fault::Malformed)?;
        let (revision, last) = (part.revision, part.last);
        let news = revision != self.registry.revision;
        let new_from = self.registry.next_number();
        let deleted = self.registry.take(part).map_err(Fault::Unreadable)?;
        // A segment's opening snapshot mostly says what is known already.
        if last && (news || deleted.as_ref().is_some_and(|deleted| !deleted.is_empty())) {
            let deleted: HashSet<Number> = deleted.unwrap_or_default().into_iter().collect();
            {
                let mut board = self.replays.board();
                deleted.iter().for_each(|number| board.book.forget(*number));
            }
            self.begin_starts(new_from, stored.offset).await?;
            self.take_over(deleted).await?;
        }
        Ok(())
    }

    /// Answers who waits for routing to come so far.
    fn say_reached(&mut self) {
        let next = self.next;
        for (_, done) in self.waiting.extract_if(.., |(offset, _)| *offset <= next) {
            said(done, ());
        }
    }

    fn say_lost(&self, until: Offset) {
        tracing::error!(
            from = self.next.0,
            until = until.0,
            "records of the log are damaged and were not routed; `weft log verify` names them"
        );
    }

    fn report(&self) -> RouterReport {
        RouterReport {
            registry: self.registry.clone(),
            books: self.books.clone(),
            log: LogReport {
                start: self.log.journal().start(),
                end: self.log.end(),
                routed_to: self.next,
                events: self.stored.values().sum(),
                held_from: None,
                revision: self.registry.revision,
            },
            stored: self.stored.clone(),
            deduplicated: self.deduplicated.clone(),
            dedup: self.dedup.report(),
        }
    }
}

/// Answers who asked. They may have gone, with the engine or their request.
fn said<T>(to: oneshot::Sender<T>, answer: T) {
    if to.send(answer).is_err() {
        tracing::debug!("who asked the router has gone");
    }
}

/// What a lane begins with after a restart.
fn lane_state(
    offsets: &RoaringTreemap,
    mut parked: HashMap<Offset, ParkedThen>,
    again: impl Fn(Offset) -> Option<WallTime>,
    now: WallTime,
) -> LaneState {
    let mut state = LaneState::default();
    for offset in offsets.iter().map(Offset) {
        let since = again(offset);
        let Some(ParkedThen { due, history }) = parked.remove(&offset) else {
            match since {
                None => state.owed.push(offset),
                Some(since) => state.again.get_or_insert_default().push(offset, since),
            }
            continue;
        };
        // Never earlier than due; and a clock that was set back doesn't make it wait longer than
        // it was told to.
        let told = history.last().map(|last| due.since(last.started));
        let wait = due.since(now).min(told.unwrap_or_default());
        let mut delivery = Delivery::attempted(offset, history);
        delivery.since = since;
        state.parked.push((Instant::now() + wait, delivery));
    }
    state
}
