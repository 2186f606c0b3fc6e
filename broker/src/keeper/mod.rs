//! The keeper: it follows the log behind everybody else, and keeps what is needed of it.
//!
//! It folds each durable record with the code that a start folds with, so that it always holds what
//! a start would find. From that it alone writes the view, copies what is still owed or dead to
//! kept before a segment of the log goes, reclaims segments of both, and lets dead letters expire.
//! Nobody waits for it: how far it lags shows only in how much a start has to fold.

mod compact;
mod compare;
mod ends;
mod expire;
mod open;
mod quota;
mod reclaim;
mod space;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use journal::{AppendError, Journal, RECORD_HEADER_BYTES, Stored};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub use self::compare::differences;
pub use self::open::{OnProgress, Progress};
pub(crate) use self::open::{Standing, open};
pub use self::space::SpaceReport;

use crate::Fault;
use crate::admission::Admission;
use crate::fold::{Fold, OpenError};
use crate::kept::Kept;
use crate::log::Log;
use crate::records::dead::Dead;
use crate::records::{Cause, DEAD};
use crate::router::ToRouter;
use crate::router::fence::Fence;
use crate::view::{COMMIT_ROOM_BYTES, State, View, What};

/// Bytes of log that are folded before the view is written, at the most: what a start folds again.
pub const COMMIT_BYTES: u64 = 128 << 20;
/// How long what was folded waits to be written to the view, at the most.
pub const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// Letters' rows and places in kept that wait in memory to be written, at the most.
pub const CHANGES_MAX: usize = 8 * 1024;
/// Bytes of records that are folded before questions are answered.
const BATCH_BYTES: usize = 4 << 20;
/// How long records may wait to be folded, so that many are taken in together.
const FOLLOW_EVERY: Duration = Duration::from_millis(10);
/// How often dead letters are looked through for those that expire.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// How often space is looked at while records come, and while none do.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_EVERY_IDLE: Duration = Duration::from_secs(5);

/// Asks the keeper.
pub(crate) enum ToKeeper {
    /// How are things, once all that is durable by now is folded.
    Report(oneshot::Sender<SpaceReport>),
    /// The log is closed: fold the rest, write the view, close kept.
    Close(oneshot::Sender<()>),
}

/// What a keeper is made of, beside what opening found.
pub(crate) struct Parts {
    pub(crate) log: Log,
    pub(crate) questions: mpsc::Receiver<ToKeeper>,
    pub(crate) router: mpsc::Sender<ToRouter>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) admission: Arc<Admission>,
    /// How long history that nobody is owed is kept, at the most.
    pub(crate) retention: Duration,
    /// How long dead letters are kept.
    pub(crate) retention_dead_letters: Duration,
    /// Bytes that log, kept and view may take together.
    pub(crate) bytes_max: u64,
}

/// Follows the log and keeps what is needed of it. Must run; blocks on the disk, so it wants a
/// thread of its own.
pub struct Keeper {
    parts: Parts,
    view: Arc<View>,
    fold: Fold,
    kept: Kept,
    changed: Changed,
    counts: space::Counts,
    quotas: quota::Quotas,
    /// Parts of the small state that kept says, each with a hash of its record: not written again
    /// while they are the same. None when the process starts.
    standing_kept: BTreeMap<journal::Offset, u64>,
    /// When dead letters are next looked through for those that expire.
    expire_at: Instant,
    /// What the log may take where nothing else takes anything.
    log_bytes_max: u64,
}

impl Keeper {
    pub(crate) fn new(parts: Parts, standing: Standing) -> Self {
        let Standing {
            view, fold, kept, ..
        } = standing;
        Self {
            expire_at: Instant::now(),
            log_bytes_max: parts.log.journal().usage().bytes_max,
            parts,
            view,
            fold,
            kept,
            changed: Changed::default(),
            counts: space::Counts::default(),
            quotas: quota::Quotas::default(),
            standing_kept: BTreeMap::new(),
        }
    }

    /// Keeps until it is told to close, or the engine is gone.
    ///
    /// # Errors
    ///
    /// [`Fault`]: nothing can be kept or reclaimed any more, so the node must end.
    pub async fn run(mut self) -> Result<(), Fault> {
        let kept = self.turn().await;
        if matches!(kept, Err(Fault::NotKept(_))) {
            // Damaged, perhaps: the next start makes it anew, and doesn't end as this one.
            self.view.give_up();
        }
        kept
    }

    async fn turn(&mut self) -> Result<(), Fault> {
        let mut durable = self.parts.log.journal().durable();
        let mut looked = Instant::now();
        let mut looked_to = journal::Offset(u64::MAX);
        let mut log_ended = false;
        // When what has become durable is folded, many records at once.
        let mut follow_at = Instant::now();
        loop {
            if self.view.is_damaged() {
                // Nothing that follows from it may be kept or reclaimed.
                return Err(Fault::NotKept("the view is damaged".to_owned()));
            }
            let behind = self.fold.end < *durable.borrow_and_update();
            if behind && follow_at <= Instant::now() {
                if !self.is_stuck() {
                    self.follow()?;
                }
                follow_at = Instant::now() + FOLLOW_EVERY;
                tokio::task::yield_now().await;
            }
            self.commit_if_due()?;
            let behind = self.fold.end < *durable.borrow();
            let look_at = match self.fold.end == looked_to && !self.changed.any() {
                true => looked + LOOK_EVERY_IDLE,
                false => looked + LOOK_EVERY,
            };
            tokio::select! {
                biased;
                question = self.parts.questions.recv() => match question {
                    Some(ToKeeper::Report(to)) => {
                        self.follow_to_end()?;
                        drop(to.send(self.report()));
                    }
                    Some(ToKeeper::Close(done)) => {
                        self.close().await?;
                        if done.send(()).is_err() {
                            tracing::debug!("who closed the engine didn't wait for it");
                        }
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                () = tokio::time::sleep_until(look_at) => {
                    (looked, looked_to) = (Instant::now(), self.fold.end);
                    self.look_after().await?;
                }
                () = tokio::time::sleep_until(follow_at), if behind => {}
                // A closed log has an end, up to which the rest is folded when it is told to
                // close; one that failed ends the router and the workers.
                changed = durable.changed(), if !log_ended && !behind => log_ended = changed.is_err(),
            }
        }
    }

    /// Folds some of what is durable.
    fn follow(&mut self) -> Result<(), Fault> {
        let log = self.parts.log.journal();
        let reading = log.read(self.fold.end, BATCH_BYTES).map_err(|error| {
            tracing::error!(%error, offset = self.fold.end.0, "the log can't be read");
            Fault::LogUnreadable
        })?;
        debug_assert!(self.fold.end < reading.next, "there is something to follow");
        for stored in &reading.records {
            self.fold.take(stored).map_err(fault)?;
            self.changed.took(stored);
            let gave_way = stored.kind == DEAD && Dead::cause_of(stored) == Ok(Cause::Quota);
            self.counts.quota_deliveries += u64::from(gave_way);
        }
        self.fold.pass(reading.next);
        self.changed.look_at(&self.view);
        Ok(())
    }

    fn follow_to_end(&mut self) -> Result<(), Fault> {
        let end = self.parts.log.end();
        while self.fold.end < end && !self.is_stuck() {
            self.follow()?;
            self.commit_if_due()?;
        }
        Ok(())
    }

    async fn look_after(&mut self) -> Result<(), Fault> {
        if self.expire_at <= Instant::now() {
            let more = self.expire()?;
            self.expire_at = Instant::now() + if more { Duration::ZERO } else { EXPIRE_EVERY };
        }
        self.look_at_space();
        if self.is_disk_full() {
            // Each of them writes the view.
            return Ok(());
        }
        self.reclaim().await?;
        self.compact().await?;
        self.apply_quotas()
    }

    /// Others have filled the file system: a commit might not find room, and a database that could not
    /// grow is lost. What is folded waits in memory, and a start folds more.
    fn is_disk_full(&self) -> bool {
        let free = self.parts.log.journal().usage().disk_free;
        free.is_some_and(|free| free < COMMIT_ROOM_BYTES) && !self.view.has_room()
    }

    /// No more changes can be held in memory, and none written.
    fn is_stuck(&self) -> bool {
        self.changed.rows >= CHANGES_MAX && self.is_disk_full()
    }

    fn commit_if_due(&mut self) -> Result<(), Fault> {
        if !self.changed.is_due() || self.is_disk_full() {
            return Ok(());
        }
        let Self {
            parts,
            view,
            fold,
            kept,
            changed,
            ..
        } = self;
        let log = parts.log.journal();
        let done = changed.commit_if_due(|| commit(view, fold, kept, log, false));
        done.map_err(fault)
    }

    /// Writes the view as of now.
    fn commit(&mut self) -> Result<(), Fault> {
        let Self {
            parts,
            view,
            fold,
            kept,
            changed,
            ..
        } = self;
        *changed = Changed::default();
        commit(view, fold, kept, parts.log.journal(), false).map_err(fault)
    }

    async fn close(&mut self) -> Result<(), Fault> {
        self.follow_to_end()?;
        if self.view.is_damaged() {
            tracing::error!("the view is damaged: the next start makes it anew");
            self.view.give_up();
        } else if self.is_disk_full() {
            tracing::warn!("the disk is full: the next start folds what the view doesn't hold");
        } else {
            self.commit()?;
        }
        let now = self.parts.log.clock().wall();
        match self.kept.close(now).await {
            // Its last record only says that it was closed in order.
            Ok(()) | Err(AppendError::NoSpace { .. }) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "what is kept can't be closed");
                Err(Fault::LogStopped)
            }
        }
    }
}

/// What a keeper's error means for the node.
fn fault(error: OpenError) -> Fault {
    tracing::error!(%error, "the log can't be followed");
    match error {
        OpenError::Malformed(malformed) => Fault::Malformed(malformed),
        OpenError::Unreadable(unreadable) => Fault::Unreadable(unreadable),
        OpenError::Read(_) => Fault::LogUnreadable,
        error => Fault::NotKept(error.to_string()),
    }
}

/// How much changed since the view was written.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    bytes: u64,
    rows: usize,
    since: Option<Instant>,
}

impl Changed {
    pub(crate) fn took(&mut self, stored: &Stored) {
        self.bytes += (RECORD_HEADER_BYTES + stored.body.len()) as u64;
        self.since.get_or_insert_with(Instant::now);
    }

    fn any(&self) -> bool {
        self.since.is_some()
    }

    pub(crate) fn look_at(&mut self, view: &View) {
        self.rows = view.uncommitted();
        if self.rows > 0 {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    pub(crate) fn commit_if_due(
        &mut self,
        commit: impl FnOnce() -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        if !self.is_due() {
            return Ok(());
        }
        *self = Self::default();
        commit()
    }

    fn is_due(&self) -> bool {
        let waited = self.since.map(|since| since.elapsed());
        self.bytes >= COMMIT_BYTES
            || self.rows >= CHANGES_MAX
            || waited.is_some_and(|waited| waited >= COMMIT_EVERY)
    }
}

/// Writes the view, after forgetting what kept holds for nobody any more. `partial`: a start that
/// finds this view makes it anew.
pub(crate) fn commit(
    view: &View,
    fold: &mut Fold,
    kept: &mut Kept,
    log: &Journal,
    partial: bool,
) -> Result<(), OpenError> {
    let mut ended = fold.take_ended();
    ended.remove_range(fold.base.0..);
    for offset in view.without_letters(ended)? {
        let offset = journal::Offset(offset);
        if view.kept_at(What::Copy, offset)?.is_none() {
            continue;
        }
        match view.letter(offset)? {
            // A letter's own record stays as long as the letter.
            Some(row) if row.needs_record() => {}
            _ => kept.forget(What::Copy, offset)?,
        }
    }
    let state = State {
        partial,
        log_id: log.facts().log_id,
        kept_id: kept.journal().facts().log_id,
        kept_to: kept.to,
        kept_live: kept.live.clone(),
        ..fold.state()
    };
    Ok(view.commit(fold, state)?)
}
