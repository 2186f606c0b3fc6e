//! Redrive: dead letters' events are delivered again, each as a new delivery that is linked to its
//! letter; and discard: letters that nobody needs are let go.
//!
//! A redrive is a [job](crate::jobs). It goes through the letters of each trigger from the oldest
//! to the newest, up to those that were there when it began, and looks ahead by no more than
//! [`OUTSTANDING_MAX`] deliveries a lane: a destination that is still dead holds up its own letters
//! and no others. Each letter is marked by the record that begins its new delivery, so the same
//! request made again after a crash goes on with those that are left.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use journal::{Offset, WallTime};
use tokio::sync::{mpsc, oneshot};
use triggers::BrokerName;

use crate::ad_hoc::{AdHoc, AdHocLane};
use crate::again::OUTSTANDING_MAX;
use crate::dead_letters::{DeadLetters, Letter, Reason, Row, State as LetterState};
use crate::engine::Ended;
use crate::jobs::{Job, State, Tracker};
use crate::letter_query::{From, Query, StateIs};
use crate::log::Log;
use crate::pace::Pace;
use crate::records::Number;
use crate::records::redriven::{Action, Redriven};
use crate::registrar::Registrar;
use crate::router::ToRouter;
use crate::router::again::{Discard, Fate, Offer, OweAgain};
use crate::time::rfc3339;

/// Letters that are read and redriven together.
const PAGE: usize = 64;

/// Ids of what a job did that it tells by name.
const FIRST: usize = 10;

/// How often a job that waits looks again, whatever it waits for.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Which letters a job is about. In any case only those that wait for somebody.
#[derive(Debug, Clone)]
pub enum Which {
    /// These.
    Ids(Vec<Offset>),
    /// All that these filters want.
    All(Box<Query>),
}

/// What is to be done with the letters.
#[derive(Debug, Clone)]
pub enum What {
    /// Deliver their events again.
    Redrive {
        /// Where to; `None`: where their triggers say now.
        to: Option<String>,
        /// How many a second at the most.
        rate: Option<NonZeroU32>,
    },
    /// Let them go.
    Discard,
}

/// A job to be.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which letters.
    pub which: Which,
    /// What to do with them.
    pub what: What,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl What {
    /// The job's kind.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Redrive { .. } => "redrive",
            Self::Discard => "discard",
        }
    }
}

/// What a job works with.
pub(crate) struct Parts {
    pub(crate) log: Log,
    pub(crate) letters: DeadLetters,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) router: mpsc::Sender<ToRouter>,
}

/// Does what is asked, and says so in `job`.
pub(crate) async fn run(parts: Parts, asked: Asked, job: Arc<Job>) {
    let _ending = job.ending(parts.log.clone());
    let mut work = Work {
        pace: Pace::new(rate_of(&asked.what)),
        parts,
        what: asked.what,
        job: Arc::clone(&job),
        ad_hoc: HashMap::new(),
        trackers: HashMap::new(),
    };
    let end = match work.through(asked.which).await {
        Ok(end) => end,
        Err(Ended) => State::Failed("the engine has stopped".into()),
    };
    // What is said to be done survives.
    let end = match work.parts.log.flush().await {
        Ok(()) => end,
        Err(stopped) => State::Failed(stopped.to_string()),
    };
    job.end(end, work.parts.log.clock().wall());
}

struct Work {
    parts: Parts,
    what: What,
    job: Arc<Job>,
    pace: Pace,
    /// The lanes to another destination, by broker.
    ad_hoc: HashMap<BrokerName, AdHocLane>,
    /// What each lane has outstanding.
    trackers: HashMap<Number, Arc<Tracker>>,
}

/// The letters of one trigger, which all go to one lane.
struct Walk {
    /// Those that come again first: their event was still on its way for another letter.
    again: VecDeque<Offset>,
    next: Next,
    /// The lane, once it is known.
    lane: Option<Number>,
}

/// Which of them come next.
enum Next {
    Ids(VecDeque<Offset>),
    /// From this one on, before that one.
    Query(Box<Query>, Offset, Offset),
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It went on.
    On,
    /// It can't go on now: the lane has enough, or the rate is reached.
    Waits,
    /// There are no more.
    Done,
}

impl Work {
    async fn through(&mut self, which: Which) -> Result<State, Ended> {
        let mut walks = self.walks(which);
        while !walks.is_empty() {
            let mut waits = true;
            let mut still = Vec::with_capacity(walks.len());
            for mut walk in walks {
                if self.job.is_stopping() {
                    return Ok(State::Stopped);
                }
                match self.step(&mut walk).await? {
                    Step::Done => waits = false,
                    Step::On => {
                        waits = false;
                        still.push(walk);
                    }
                    Step::Waits => still.push(walk),
                }
                // The disk was read: others on this thread get their turn.
                tokio::task::yield_now().await;
            }
            walks = still;
            if waits && !walks.is_empty() {
                let wait = self.pace.wait().unwrap_or(LOOK_AGAIN);
                tokio::select! {
                    () = self.job.tracker.changed() => {}
                    () = self.job.stopped() => return Ok(State::Stopped),
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
        Ok(State::Done)
    }

    fn walks(&self, which: Which) -> Vec<Walk> {
        let next: Vec<Next> = match which {
            Which::Ids(ids) => {
                let mut by_number: BTreeMap<Number, VecDeque<Offset>> = BTreeMap::new();
                for id in ids {
                    match self.parts.letters.row(id).map(may) {
                        None => self.job.refuse(id.0, "there is no such dead letter"),
                        Some(Err(why)) => self.job.refuse(id.0, why),
                        Some(Ok(row)) => by_number.entry(row.number).or_default().push_back(id),
                    }
                }
                by_number.into_values().map(Next::Ids).collect()
            }
            Which::All(query) => {
                let end = self.parts.letters.end();
                let numbers = self.parts.letters.count_by_trigger().into_keys();
                let of = |number| {
                    // The letters of one that is no more are found among all.
                    let name = self.parts.registrar.trigger_name(number);
                    if let (Some(name), Some(wanted)) = (&name, &query.trigger)
                        && name != wanted
                    {
                        return None;
                    }
                    let query = Query {
                        number: Some(number),
                        trigger: name.or_else(|| query.trigger.clone()),
                        state: Some(StateIs::Kept),
                        ..(*query).clone()
                    };
                    Some(Next::Query(Box::new(query), Offset(0), end))
                };
                numbers.filter_map(of).collect()
            }
        };
        let walk = |next| Walk {
            again: VecDeque::new(),
            next,
            lane: None,
        };
        next.into_iter().map(walk).collect()
    }

    /// One trigger's next letters.
    async fn step(&mut self, walk: &mut Walk) -> Result<Step, Ended> {
        let limit = self.room(walk);
        if limit == 0 {
            return Ok(Step::Waits);
        }
        let letters = self.read(walk, limit);
        let end = match walk.is_done() {
            true => Step::Done,
            false => Step::On,
        };
        let mut good = Vec::with_capacity(letters.len());
        for letter in letters {
            match self.check(&letter) {
                Ok(()) => good.push(letter),
                Err(why) => self.job.refuse(letter.row.id.0, why),
            }
        }
        if good.is_empty() {
            return Ok(end);
        }
        if self.job.dry_run {
            self.did(good.iter().map(|letter| letter.row.id));
            return Ok(end);
        }
        let fates = match &self.what {
            What::Discard => self.discard(&good).await?,
            What::Redrive { .. } => {
                let lane = self.lane(walk, &good[0]).await?;
                self.owe(lane, &good).await?
            }
        };
        self.let_keys_go(walk.lane, &good, &fates).await?;
        for (letter, fate) in good.iter().zip(&fates) {
            match fate {
                Fate::Taken => self.did([letter.row.id]),
                Fate::StillOwed => walk.again.push_back(letter.row.id),
                Fate::NoLane => self.job.refuse(letter.row.id.0, no_trigger(letter)),
                // By another job, which says so.
                Fate::Handled => {}
                Fate::Gone => self.job.refuse(letter.row.id.0, GAVE_WAY),
            }
        }
        self.pace
            .took(fates.iter().filter(|fate| **fate == Fate::Taken).count());
        match walk.again.is_empty() {
            true => Ok(end),
            false => Ok(Step::Waits),
        }
    }

    /// How many letters may be taken now.
    fn room(&self, walk: &Walk) -> usize {
        if self.job.dry_run {
            return PAGE;
        }
        let outstanding = walk.lane.and_then(|lane| self.trackers.get(&lane));
        let outstanding = outstanding.map_or(0, |tracker| tracker.outstanding() as usize);
        let room = OUTSTANDING_MAX.saturating_sub(outstanding);
        room.min(PAGE).min(self.pace.allows())
    }

    /// Reads the next letters.
    fn read(&self, walk: &mut Walk, limit: usize) -> Vec<Letter> {
        let ids = match &mut walk.next {
            _ if !walk.again.is_empty() => &mut walk.again,
            Next::Ids(ids) => ids,
            Next::Query(query, from, end) => {
                let page = self.parts.letters.page(query, From::Oldest(*from), limit);
                self.job
                    .note(|progress| progress.looked_at += page.read as u64);
                let mut letters = page.letters;
                letters.retain(|letter| letter.row.id < *end);
                *from = page.next.unwrap_or(*end);
                return letters;
            }
        };
        let mut letters = Vec::new();
        for id in ids.drain(..limit.min(ids.len())) {
            match self.parts.letters.show(id) {
                Some(letter) => letters.push(letter),
                None => self.job.refuse(id.0, "its record can't be read"),
            }
        }
        self.job
            .note(|progress| progress.looked_at += letters.len() as u64);
        letters
    }

    /// Why a letter can't be redriven, if so.
    fn check(&self, letter: &Letter) -> Result<(), String> {
        let What::Redrive { to, .. } = &self.what else {
            return Ok(());
        };
        if letter.row.reason == Reason::Rejected {
            return Err(NOTHING_TO_DELIVER.to_owned());
        }
        if let Err(why) = &letter.event {
            return Err(format!("its event can't be read: {why}"));
        }
        match to {
            None if !self.parts.registrar.is_trigger(letter.row.number) => Err(no_trigger(letter)),
            _ => Ok(()),
        }
    }

    /// The lane that a trigger's letters go to.
    async fn lane(&mut self, walk: &mut Walk, letter: &Letter) -> Result<Number, Ended> {
        if let Some(lane) = walk.lane {
            return Ok(lane);
        }
        let What::Redrive { to: Some(uri), .. } = &self.what else {
            walk.lane = Some(letter.row.number);
            return Ok(letter.row.number);
        };
        let broker = letter.dead().map_or("", |dead| &*dead.broker);
        let (namespace, name) = broker.split_once('/').unwrap_or_default();
        let broker = BrokerName::new(namespace, name);
        let number = match self.ad_hoc.get(&broker) {
            Some(lane) => lane.number,
            None => {
                let ad_hoc = AdHoc {
                    purpose: "redrive",
                    broker: broker.clone(),
                    uri: uri.clone(),
                    like: None,
                };
                let lane = self.parts.registrar.make_ad_hoc(&ad_hoc).await?;
                let number = lane.number;
                self.ad_hoc.insert(broker, lane);
                number
            }
        };
        walk.lane = Some(number);
        Ok(number)
    }

    async fn owe(&mut self, number: Number, letters: &[Letter]) -> Result<Vec<Fate>, Ended> {
        let tracker = self.trackers.entry(number);
        let tracker = tracker.or_insert_with(|| Tracker::part_of(&self.job.tracker));
        let since = self.parts.log.clock().wall();
        let offer = |letter: &Letter| Offer {
            offset: letter.row.event,
            letter: Some(letter.row.id),
        };
        let (answer, fates) = oneshot::channel();
        let asked = OweAgain {
            number,
            since,
            offers: letters.iter().map(offer).collect(),
            records: Box::new(move |offers| {
                let offers = offers.iter();
                offers
                    .filter_map(|offer| redriven(number, offer, since))
                    .map(|redriven| redriven.record())
                    .collect()
            }),
            tracker: Arc::clone(tracker),
            answer,
        };
        let sent = self.parts.router.send(ToRouter::OweAgain(asked)).await;
        sent.map_err(|_| Ended)?;
        fates.await.map_err(|_| Ended)
    }

    async fn discard(&self, letters: &[Letter]) -> Result<Vec<Fate>, Ended> {
        let (answer, fates) = oneshot::channel();
        let asked = Discard {
            letters: letters.iter().map(|letter| letter.row.id).collect(),
            at: self.parts.log.clock().wall(),
            answer,
        };
        let sent = self.parts.router.send(ToRouter::Discard(asked)).await;
        sent.map_err(|_| Ended)?;
        fates.await.map_err(|_| Ended)
    }

    /// A letter that was discarded, or whose event went elsewhere, blocks its key no longer. One
    /// that is redriven to its own trigger does until it is delivered.
    async fn let_keys_go(
        &self,
        lane: Option<Number>,
        letters: &[Letter],
        fates: &[Fate],
    ) -> Result<(), Ended> {
        let discards = matches!(self.what, What::Discard);
        let events: Vec<(Number, Offset)> = letters
            .iter()
            .zip(fates)
            .filter(|(_, fate)| **fate == Fate::Taken)
            .map(|(letter, _)| (letter.row.number, letter.row.event))
            .filter(|(number, _)| discards || lane != Some(*number))
            .collect();
        if events.is_empty() {
            return Ok(());
        }
        let sent = self.parts.router.send(ToRouter::LetKeysGo(events)).await;
        sent.map_err(|_| Ended)
    }

    fn did(&self, ids: impl IntoIterator<Item = Offset>) {
        self.job.note(|progress| {
            for id in ids {
                progress.done += 1;
                if progress.first.len() < FIRST {
                    progress.first.push(id.0);
                }
            }
        });
    }
}

impl Walk {
    fn is_done(&self) -> bool {
        let none_left = match &self.next {
            Next::Ids(ids) => ids.is_empty(),
            Next::Query(_, from, end) => end <= from,
        };
        none_left && self.again.is_empty()
    }
}

fn redriven(number: Number, offer: &Offer, at: WallTime) -> Option<Redriven> {
    let offset = offer.offset;
    Some(Redriven {
        letter: offer.letter?,
        at,
        action: Action::Again { number, offset },
    })
}

/// Whether a letter waits for somebody.
fn may(row: Row) -> Result<Row, String> {
    match row.state {
        LetterState::Kept => Ok(row),
        LetterState::Redriven(at) => Err(format!("it was redriven at {}", rfc3339(at))),
        LetterState::Discarded(at) => Err(format!("it was discarded at {}", rfc3339(at))),
    }
}

/// Why what a source rejected can't be redriven.
const NOTHING_TO_DELIVER: &str = "its source could make no event of it, so there is none to deliver: \
     export it to see to it elsewhere, or discard it";

/// Why a letter can't be redriven whose event went while the job ran.
const GAVE_WAY: &str = "its event gave way to the storage quota";

fn no_trigger(letter: &Letter) -> String {
    format!(
        "its trigger {} was deleted; send it elsewhere with --to-uri URL",
        letter.row.trigger
    )
}

/// How many a second at the most; 0: as many as there are.
fn rate_of(what: &What) -> u32 {
    match what {
        What::Redrive { rate, .. } => rate.map_or(0, NonZeroU32::get),
        What::Discard => 0,
    }
}
