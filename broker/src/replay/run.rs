//! Working on replays: through the log, page by page, as far ahead as the lane takes it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use event::EventRef;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use journal::{Offset, ReadError, Reading, WallTime};
use tokio::sync::{mpsc, oneshot};
use triggers::Filter;

use super::{Replays, Work, filters};
use crate::Fault;
use crate::again::OUTSTANDING_MAX;
use crate::dead_letters::chain;
use crate::engine::Ended;
use crate::jobs::{Jobs, State};
use crate::log::Log;
use crate::pace::Pace;
use crate::records::replayed::Replayed;
use crate::records::{EVENT, envelope};
use crate::registrar::Registrar;
use crate::router::ToRouter;
use crate::router::again::{Fate, Offer, OweAgain};
use crate::seek::offset_at;
use crate::sidecar::Sidecars;

/// Bytes of log that are read before others of the thread get their turn.
const READ_BYTES: usize = 256 << 10;

/// Events that are owed again together.
const PAGE: usize = 256;

/// Offsets that a replay passes without owing anything before it writes down how far it is.
const UNNOTED_OFFSETS_MAX: u64 = 64 * 1024;

/// Offsets that a job tells by name.
const FIRST: usize = 10;

/// How often a replay reads a place of the log that can't be read, [`LOOK_AGAIN`] apart, before it
/// fails: ten seconds.
const READS_MAX: u32 = 40;

/// How often a replay that waits looks again, whatever it waits for; and how often one that finds
/// no place among the jobs does.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Works on replays. Must run for them to go on; nothing else waits for it.
pub struct Replayer {
    pub(crate) log: Log,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) router: mpsc::Sender<ToRouter>,
    pub(crate) jobs: Jobs,
    pub(crate) replays: Arc<Replays>,
    pub(crate) sidecars: Sidecars,
}

impl Replayer {
    /// Works until the engine ends. What is unfinished then goes on at the next start.
    ///
    /// # Errors
    ///
    /// None so far: a replay that can't go on says so in its job, and stops nothing else.
    pub async fn run(self) -> Result<(), Fault> {
        let me = Arc::new(self);
        let mut at_work: HashSet<u64> = HashSet::new();
        let mut works: FuturesUnordered<BoxFuture<'static, Option<u64>>> = FuturesUnordered::new();
        loop {
            let left_over = me.take_on(&mut at_work, &mut works);
            tokio::select! {
                Some(ended) = works.next(), if !works.is_empty() => {
                    if let Some(id) = ended {
                        at_work.remove(&id);
                    }
                }
                () = me.replays.changed.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN), if left_over => {}
                () = me.router.closed() => return Ok(()),
            }
        }
    }

    /// Begins to work on what is new on the board. `true` when something found no place.
    fn take_on(
        self: &Arc<Self>,
        at_work: &mut HashSet<u64>,
        works: &mut FuturesUnordered<BoxFuture<'static, Option<u64>>>,
    ) -> bool {
        let mut begin = |work: Work| {
            at_work.extend(work.id);
            let me = Arc::clone(self);
            works.push(Box::pin(async move {
                let id = work.id;
                me.work(work).await;
                id
            }));
        };
        let (asked, going) = {
            let mut board = self.replays.board();
            let asked: Vec<Work> = board.asked.drain(..).collect();
            let going: Vec<_> = board
                .book
                .going()
                .map(|(id, going)| (id, going.clone()))
                .collect();
            (asked, going)
        };
        asked.into_iter().for_each(&mut begin);
        let mut left_over = false;
        for (id, going) in going {
            if at_work.contains(&id) {
                continue;
            }
            let kind = if going.spec.start { "start" } else { "replay" };
            let now = self.log.clock().wall();
            let Ok(job) = self.jobs.begin(kind, false, now) else {
                left_over = true;
                break;
            };
            let ad_hoc = self.registrar.use_ad_hoc(going.number);
            at_work.insert(id);
            let me = Arc::clone(self);
            works.push(Box::pin(async move {
                let work = Work {
                    id: Some(id),
                    number: going.number,
                    spec: going.spec,
                    cursor: going.cursor,
                    job,
                    ad_hoc,
                };
                me.work(work).await;
                Some(id)
            }));
        }
        left_over
    }

    async fn work(&self, mut work: Work) {
        let end = match self.through(&mut work).await {
            Ok(end) => end,
            // It goes on at the next start.
            Err(Ended) => {
                let why =
                    State::Failed("the engine has stopped; it goes on at the next start".into());
                return work.job.end(why, self.log.clock().wall());
            }
        };
        let end = match self.note(&work, true, Vec::new()).await {
            Ok(()) => end,
            Err(Ended) => State::Failed("the engine has stopped".into()),
        };
        work.job.end(end, self.log.clock().wall());
    }

    async fn through(&self, work: &mut Work) -> Result<State, Ended> {
        let own = match self.own_filter(work) {
            Ok(own) => own,
            Err(end) => return Ok(end),
        };
        let further = match filters::compile(&work.spec.filters) {
            Ok(further) => further,
            Err(why) => return Ok(State::Failed(why)),
        };
        // What is matched live must be owed before it can be told from what isn't.
        self.routed_to(work.spec.to).await?;
        if work.cursor == Offset(0) && work.spec.from > 0 {
            work.cursor = match offset_at(&self.log, WallTime(work.spec.from)).await {
                Ok(cursor) => cursor,
                Err(error) => return Ok(unreadable(&chain(&error))),
            };
        }
        let mut pace = Pace::new(work.spec.rate);
        let mut noted = work.cursor;
        let mut unread = 0;
        while work.cursor < work.spec.to {
            if work.job.is_stopping() {
                return Ok(State::Stopped);
            }
            let room = match work.id {
                None => PAGE,
                Some(_) => OUTSTANDING_MAX
                    .saturating_sub(work.job.tracker.outstanding() as usize)
                    .min(PAGE)
                    .min(pace.allows()),
            };
            if room == 0 {
                let wait = pace.wait().unwrap_or(LOOK_AGAIN);
                tokio::select! {
                    () = work.job.tracker.changed() => {}
                    () = work.job.stopped() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            }
            let (found, next) = match self.read(work, room, &own, &further) {
                Ok(read) => read,
                Err(why) => {
                    unread += 1;
                    if unread == READS_MAX {
                        return Ok(unreadable(&why));
                    }
                    tokio::select! {
                        () = work.job.stopped() => {}
                        () = tokio::time::sleep(LOOK_AGAIN) => {}
                    }
                    continue;
                }
            };
            unread = 0;
            work.cursor = next;
            if work.id.is_none() {
                did(work, &found);
            } else if !found.is_empty() {
                match self.owe(work, found).await? {
                    Some(taken) => pace.took(taken),
                    None => return Ok(State::Failed("its trigger was deleted".into())),
                }
                noted = next;
            } else if next.0 - noted.0 >= UNNOTED_OFFSETS_MAX {
                self.note(work, false, Vec::new()).await?;
                noted = next;
            }
            // The disk was read: others on this thread get their turn.
            tokio::task::yield_now().await;
        }
        Ok(State::Done)
    }

    /// The trigger's filter as it is now; that of a lane without a trigger wants everything.
    fn own_filter(&self, work: &Work) -> Result<Filter, State> {
        match self.registrar.filter_of(work.number) {
            Some(filter) => Ok(filter),
            None if work.id.is_none() || work.ad_hoc.is_some() => Ok(Filter::Everything),
            None => Err(State::Failed("its trigger was deleted".into())),
        }
    }

    /// Reads on: what is to be owed, at most `room`, and where to read on. An error is the disk's.
    fn read(
        &self,
        work: &Work,
        room: usize,
        own: &Filter,
        further: &Filter,
    ) -> Result<(Vec<Offset>, Offset), String> {
        let mut start = self.log.journal().start();
        let mut from = work.cursor;
        let reading: Reading = loop {
            if from < start {
                let why = format!("the log let go of {} records meanwhile", start.0 - from.0);
                work.job.refuse(from.0, why);
                from = start;
            }
            // What has no event of the broker isn't read.
            from = self.sidecars.next_with(from, work.spec.broker);
            if work.spec.to <= from {
                return Ok((Vec::new(), work.spec.to));
            }
            match self.log.journal().read(from, READ_BYTES) {
                Ok(reading) => break reading,
                // Since its beginning was looked at.
                Err(ReadError::Gone { first, .. }) => start = first,
                Err(error @ ReadError::Io { .. }) => return Err(chain(&error)),
            }
        };
        let (mut found, mut looked_at) = (Vec::new(), 0);
        let mut next = reading.next;
        for stored in &reading.records {
            if stored.offset >= work.spec.to {
                next = work.spec.to;
                break;
            }
            if found.len() == room {
                next = stored.offset;
                break;
            }
            if stored.kind != EVENT || stored.tag != work.spec.broker {
                continue;
            }
            looked_at += 1;
            let bytes = envelope::stored_event(stored).ok();
            let event = bytes.and_then(|bytes| EventRef::from_stored(bytes).ok());
            match event {
                Some(event) if own.matches(&event) && further.matches(&event) => {
                    found.push(stored.offset);
                }
                Some(_) => {}
                None => work.job.refuse(stored.offset.0, "the event doesn't read"),
            }
        }
        work.job.note(|progress| progress.looked_at += looked_at);
        // Only at the end of the log is nothing read.
        let next = if next == from { work.spec.to } else { next };
        Ok((found, next.min(work.spec.to)))
    }

    /// Owes a page. How many were taken; `None` when there is no lane any more.
    async fn owe(&self, work: &Work, found: Vec<Offset>) -> Result<Option<usize>, Ended> {
        let Some(id) = work.id else { return Ok(None) };
        let since = self.log.clock().wall();
        let offers: Vec<Offer> = found
            .iter()
            .map(|offset| Offer {
                offset: *offset,
                letter: None,
            })
            .collect();
        let (number, cursor) = (work.number, work.cursor);
        let replays = Arc::clone(&self.replays);
        let (answer, fates) = oneshot::channel();
        let asked = OweAgain {
            number,
            since,
            offers,
            records: Box::new(move |taken| {
                let replayed = Replayed {
                    id,
                    number,
                    at: since,
                    cursor,
                    ended: false,
                    spec: None,
                    offsets: taken.iter().map(|offer| offer.offset).collect(),
                };
                vec![replays.step(&replayed)]
            }),
            tracker: Arc::clone(&work.job.tracker),
            answer,
        };
        let sent = self.router.send(ToRouter::OweAgain(asked)).await;
        sent.map_err(|_| Ended)?;
        let fates = fates.await.map_err(|_| Ended)?;
        let mut taken = Vec::new();
        for (offset, fate) in found.iter().zip(fates) {
            match fate {
                Fate::Taken => taken.push(*offset),
                Fate::StillOwed => work.job.refuse(offset.0, "it is still owed"),
                Fate::NoLane => return Ok(None),
                Fate::Gone => work
                    .job
                    .refuse(offset.0, "its segment of the log was reclaimed"),
                Fate::Handled => {}
            }
        }
        did(work, &taken);
        Ok(Some(taken.len()))
    }

    /// Notes how far it is.
    async fn note(&self, work: &Work, ended: bool, offsets: Vec<Offset>) -> Result<(), Ended> {
        let Some(id) = work.id else { return Ok(()) };
        let replayed = Replayed {
            id,
            number: work.number,
            at: self.log.clock().wall(),
            cursor: work.cursor,
            ended,
            spec: None,
            offsets,
        };
        let record = self.replays.step(&replayed);
        self.log.note([record]).await?;
        if ended {
            self.log.flush().await?;
        }
        Ok(())
    }

    /// Returns when all before `offset` is matched.
    async fn routed_to(&self, offset: Offset) -> Result<(), Ended> {
        let (done, reached) = oneshot::channel();
        let asked = self.router.send(ToRouter::Reached(offset, done)).await;
        asked.map_err(|_| Ended)?;
        reached.await.map_err(|_| Ended)
    }
}

fn unreadable(why: &str) -> State {
    State::Failed(format!("the log can't be read: {why}"))
}

fn did(work: &Work, offsets: &[Offset]) {
    work.job.note(|progress| {
        progress.done += offsets.len() as u64;
        let room = FIRST.saturating_sub(progress.first.len());
        progress
            .first
            .extend(offsets.iter().take(room).map(|offset| offset.0));
    });
}
