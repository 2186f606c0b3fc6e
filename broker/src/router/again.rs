//! Owing again: a redriven dead letter, a replayed event. Each is a new delivery.
//!
//! The router is the one place where two of them meet, so it is here that a letter is redriven
//! once, and that one lane never owes the same event twice at a time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::{Offset, Record, WallTime};
use tokio::sync::{Notify, oneshot};

use super::Router;
use super::fence::{Claim, Fence};
use crate::Fault;
use crate::records::redriven::{Action, Redriven};
use crate::records::{Number, Outcome};
use crate::worker::ToWorker;

/// Asks to owe a lane something again.
pub(crate) struct OweAgain {
    /// Whose lane.
    pub(crate) number: Number,
    /// When: what the new deliveries' age counts from.
    pub(crate) since: WallTime,
    pub(crate) offers: Vec<Offer>,
    /// Makes the records that say so, of the offers that are taken. They are noted before the
    /// lane's worker hears of them: in that order, as for what is matched.
    pub(crate) records: Records,
    /// Who is told how they end.
    pub(crate) tracker: Arc<Tracker>,
    /// What became of each offer.
    pub(crate) answer: oneshot::Sender<Vec<Fate>>,
}

/// Makes the records of what is owed again.
pub(crate) type Records = Box<dyn FnOnce(&[Offer]) -> Vec<Record> + Send>;

/// Asks to discard dead letters.
pub(crate) struct Discard {
    pub(crate) letters: Vec<Offset>,
    pub(crate) at: WallTime,
    /// What became of each.
    pub(crate) answer: oneshot::Sender<Vec<Fate>>,
}

/// One event to be owed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The event.
    pub(crate) offset: Offset,
    /// The dead letter that it comes from, which must be redriven only once.
    pub(crate) letter: Option<Offset>,
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was taken.
    Taken,
    /// The lane still owes that event from another redrive or replay.
    StillOwed,
    /// Its trigger is not in force.
    NoLane,
    /// The letter was redriven or discarded meanwhile.
    Handled,
    /// Its segment of the log was reclaimed; or its letter's event gave way to a quota.
    Gone,
}

/// How the deliveries ended that a job began. Shared by the job and the router.
#[derive(Debug, Default)]
pub struct Tracker {
    begun: AtomicU64,
    delivered: AtomicU64,
    dead: AtomicU64,
    cancelled: AtomicU64,
    changed: Notify,
    /// What counts this one's too.
    whole: Option<Arc<Tracker>>,
}

impl Tracker {
    /// One whose counts `whole` counts too.
    pub fn part_of(whole: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            whole: Some(Arc::clone(whole)),
            ..Self::default()
        })
    }

    /// How many began.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// How many arrived.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// How many ended in the dead letters again.
    pub fn dead(&self) -> u64 {
        self.dead.load(Ordering::Relaxed)
    }

    /// How many were cancelled.
    pub fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// How many have not ended.
    pub fn outstanding(&self) -> u64 {
        let ended = self.delivered() + self.dead() + self.cancelled();
        self.begun().saturating_sub(ended)
    }

    /// Returns when one has ended since the last call; at once when that was before.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn begin(&self, count: u64) {
        self.begun.fetch_add(count, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.begin(count);
        }
    }

    fn end(&self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Delivered => &self.delivered,
            Outcome::Dead(_) => &self.dead,
            Outcome::Cancelled(_) => &self.cancelled,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
        if let Some(whole) = &self.whole {
            whole.end(outcome);
        }
    }
}

/// What the router knows of what is owed again.
#[derive(Default)]
pub(super) struct AgainBook {
    /// What has not ended, and whose job began it: none of this process, for what a restart found.
    /// Bounded by what jobs look ahead.
    owed: HashMap<(Number, Offset), Option<Arc<Tracker>>>,
    /// Of those, what replays of this process owe.
    replayed: HashSet<(Number, Offset)>,
    fence: Arc<Fence>,
}

impl AgainBook {
    /// What a restart found.
    pub(super) fn restore(
        owed: impl IntoIterator<Item = (Number, Offset)>,
        fence: Arc<Fence>,
    ) -> Self {
        Self {
            owed: owed.into_iter().map(|key| (key, None)).collect(),
            replayed: HashSet::new(),
            fence,
        }
    }

    /// Whether what is offered may be owed.
    fn claim(&mut self, number: Number, offer: Offer) -> Fate {
        match offer.letter.map(|letter| self.fence.redrive(letter)) {
            Some(Claim::Taken) => Fate::Taken,
            Some(Claim::Handled) => Fate::Handled,
            Some(Claim::GaveWay) => Fate::Gone,
            None if self.fence.begin(offer.offset) => {
                self.replayed.insert((number, offer.offset));
                Fate::Taken
            }
            None => Fate::Gone,
        }
    }

    /// A delivery ended.
    pub(super) fn end(&mut self, number: Number, offset: Offset, outcome: Outcome) {
        if self.owed.is_empty() {
            return;
        }
        if self.replayed.remove(&(number, offset)) {
            self.fence.end(offset);
        }
        if let Some(Some(tracker)) = self.owed.remove(&(number, offset)) {
            tracker.end(outcome);
        }
    }

    /// A lane ended, and with it all that it owed.
    pub(super) fn close(&mut self, closed: Number) {
        let fence = &self.fence;
        self.replayed.retain(|(number, offset)| {
            if *number == closed {
                fence.end(*offset);
            }
            *number != closed
        });
        self.owed.retain(|(number, _), tracker| {
            if *number == closed
                && let Some(tracker) = tracker
            {
                tracker.end(Outcome::Cancelled(crate::records::Why::Deleted));
            }
            *number != closed
        });
    }
}

impl Router {
    /// Owes a lane what can be owed again of what is offered: notes it, then tells the worker.
    pub(super) async fn owe_again(&mut self, asked: OweAgain) -> Result<(), Fault> {
        let OweAgain {
            number,
            since,
            offers,
            records,
            tracker,
            answer,
        } = asked;
        let Some(worker) = self.lanes.get(&number).map(|placed| placed.worker) else {
            drop(answer.send(vec![Fate::NoLane; offers.len()]));
            return Ok(());
        };
        // A letter's delivery has ended; an event of the log may be owed for the first time still.
        let unsure = offers.iter().filter(|offer| offer.letter.is_none());
        let unsure = unsure.map(|offer| offer.offset).collect();
        let still = self.still_owed(number, unsure).await?;
        let mut taken = Vec::with_capacity(offers.len());
        let mut fates = Vec::with_capacity(offers.len());
        for offer in offers {
            let again = &mut self.again;
            let key = (number, offer.offset);
            let fate = if again.owed.contains_key(&key) || still.contains(&offer.offset) {
                Fate::StillOwed
            } else {
                again.claim(number, offer)
            };
            if fate == Fate::Taken {
                again.owed.insert(key, Some(Arc::clone(&tracker)));
                taken.push(offer);
            }
            fates.push(fate);
        }
        if !taken.is_empty() {
            tracker.begin(taken.len() as u64);
            for _ in &taken {
                self.books.matched(number);
            }
            self.log
                .note(records(&taken))
                .await
                .map_err(|_| Fault::LogStopped)?;
            let offsets = taken.iter().map(|offer| offer.offset).collect();
            let owed = ToWorker::OwedAgain {
                number,
                offsets,
                since,
            };
            self.workers[worker]
                .send(owed)
                .await
                .map_err(|_| Fault::WorkerGone)?;
        }
        drop(answer.send(fates));
        Ok(())
    }

    /// Ends ad hoc lanes that nothing is owed to; the registrar keeps those that a job uses.
    pub(super) async fn end_ad_hoc(&self) -> Result<(), Fault> {
        let ad_hoc = self.registry.ad_hoc_numbers();
        let idle = ad_hoc.filter(|number| self.books.of(*number).owed == 0);
        let ended = self.registrar.end_ad_hoc(idle.collect()).await;
        ended.map_err(|_| Fault::LogStopped)
    }

    /// Notes that these letters aren't needed any more.
    pub(super) async fn discard(&mut self, asked: Discard) -> Result<(), Fault> {
        let Discard {
            letters,
            at,
            answer,
        } = asked;
        let mut fates = Vec::with_capacity(letters.len());
        let mut records = Vec::with_capacity(letters.len());
        for letter in letters {
            if self.again.fence.discard(letter) {
                let action = Action::Discarded;
                records.push(Redriven { letter, at, action }.record());
                fates.push(Fate::Taken);
            } else {
                fates.push(Fate::Handled);
            }
        }
        self.log
            .note(records)
            .await
            .map_err(|_| Fault::LogStopped)?;
        drop(answer.send(fates));
        Ok(())
    }
}
