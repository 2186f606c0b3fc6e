//! Opening: the view where it was written, and what came behind it from kept and the log; or all
//! of it anew.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use journal::{Journal, Offset};
use roaring::RoaringTreemap;

use super::{COMMIT_BYTES, Changed, commit};
use crate::fold::{Fold, OpenError, READ_BYTES};
use crate::kept::{Kept, records};
use crate::records::{EVENT, REJECTED};
use crate::view::{AsOf, Loaded, Place, View, ViewError, What};

/// How far opening has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Records taken in.
    pub done: u64,
    /// Of so many.
    pub all: u64,
    /// Whether the view is made anew, because it was missing or couldn't be used.
    pub anew: bool,
}

/// Is told how far opening has come.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// The state as of the end of the log.
pub(crate) struct Standing {
    pub(crate) view: Arc<View>,
    pub(crate) fold: Fold,
    pub(crate) kept: Kept,
    /// Whether the view was made anew.
    pub(crate) anew: bool,
}

/// Opens the view, and folds what it doesn't hold yet.
pub(crate) fn open(
    log: &Journal,
    kept: Journal,
    place: &Place,
    on_progress: &OnProgress,
) -> Result<Standing, OpenError> {
    let Seen { as_of, usable } = look(place, log, &kept);
    // Before anything is changed.
    let cut = super::ends::compare(log, &kept, as_of.as_ref())?;
    let (view, loaded) = match usable {
        Some((view, loaded)) => (view, Some(loaded)),
        None => (View::anew(place)?, None),
    };
    let view = Arc::new(view);
    let anew = loaded.is_none();
    let start = log.start();
    let (fold, kept) = match loaded {
        Some(loaded) => {
            let (to, live) = (loaded.state.kept_to, loaded.state.kept_live.clone());
            let fold = Fold::resume(loaded, Arc::clone(&view), log)?;
            (fold, Kept::new(kept, Arc::clone(&view), to, live))
        }
        None => {
            let fold = Fold::new(log.facts().log_id, start, Arc::clone(&view));
            let to = kept.start();
            let live = std::collections::BTreeMap::new();
            (fold, Kept::new(kept, Arc::clone(&view), to, live))
        }
    };
    let (mut fold, mut kept) = (fold, kept);
    fold.lost.extend(cut.log);
    kept.lost.extend(cut.kept);
    let mut opening = Opening {
        log,
        log_end: *log.durable().borrow(),
        kept_end: *kept.journal().durable().borrow(),
        begun: (fold.end, kept.to),
        standing: Standing {
            view,
            fold,
            kept,
            anew,
        },
        on_progress,
        changed: Changed::default(),
    };
    opening.take_kept()?;
    opening.take_log()?;
    Ok(opening.standing)
}

/// What was found of a view.
#[derive(Default)]
struct Seen {
    /// It is open only where it can be gone on from: otherwise its file is to be removed.
    usable: Option<(View, Loaded)>,
    /// Also of one that can't be used, as long as this can be read.
    as_of: Option<AsOf>,
}

/// Looks at the view that is there. One that panics where it is read is as good as none.
fn look(place: &Place, log: &Journal, kept: &Journal) -> Seen {
    let mut seen = Seen::default();
    let looked = catch_unwind(AssertUnwindSafe(|| {
        let mut view = View::open(place)?;
        seen.as_of = view.as_of()?;
        view.check()?;
        let loaded = view.load(log, kept)?;
        seen.usable = loaded.map(|loaded| (view, loaded));
        Ok(())
    }));
    if let Err(error) = looked.unwrap_or(Err(ViewError::Damaged("reading it panicked"))) {
        tracing::warn!(%error, ?place, "the view is made anew");
    }
    seen
}

struct Opening<'a> {
    log: &'a Journal,
    log_end: Offset,
    kept_end: Offset,
    begun: (Offset, Offset),
    standing: Standing,
    on_progress: &'a OnProgress,
    changed: Changed,
}

impl Opening<'_> {
    /// Where everything in kept lies; and, where the view is made anew, what it says.
    fn take_kept(&mut self) -> Result<(), OpenError> {
        let Standing {
            view,
            fold,
            kept,
            anew,
        } = &mut self.standing;
        let (changed, log) = (&mut self.changed, self.log);
        let anew = *anew;
        kept.catch_up(|kept| {
            changed.look_at(view);
            changed.commit_if_due(|| commit(view, fold, kept, log, anew))
        })?;
        let mut next = kept.journal().start();
        while anew && let Some(needed) = kept.needed_from(next)? {
            for (what, offset, stored) in needed.records {
                match what {
                    What::Copy => {
                        let copied = records::read_copy(&stored)?;
                        // What was done with it since is said by another record, which may lie
                        // before this one once this one was copied on.
                        let is_told = || view.kept_at(What::Letter, offset);
                        if copied.kind != EVENT && is_told()?.is_none() {
                            fold.take_kept_letter(&copied)?;
                        }
                    }
                    What::Standing => fold.take_standing(records::read_standing(&stored)?)?,
                    What::Owed => fold.take_kept(records::OwedThen::read(&stored)?),
                    What::Letter => fold.set_letter(offset, records::read_letter(&stored)?.1)?,
                }
                changed.took(&stored);
            }
            next = needed.next;
            changed.look_at(view);
            changed.commit_if_due(|| commit(view, fold, kept, log, anew))?;
        }
        if anew {
            // It is what kept says.
            fold.touched.clear();
            fold.touched_letters.clear();
        }
        Ok(())
    }

    /// What the log says behind the view.
    fn take_log(&mut self) -> Result<(), OpenError> {
        while self.standing.fold.end < self.log_end {
            let Standing {
                view,
                fold,
                kept,
                anew,
            } = &mut self.standing;
            let reading = self.log.read(fold.end, READ_BYTES)?;
            for stored in &reading.records {
                fold.take(stored)?;
                self.changed.took(stored);
            }
            fold.pass(reading.next);
            self.changed.look_at(view);
            let log = self.log;
            self.changed
                .commit_if_due(|| commit(view, fold, kept, log, *anew))?;
            self.say_progress();
        }
        let Standing {
            view,
            fold,
            kept,
            anew,
        } = &mut self.standing;
        // What a crash cut off stays so: the change was never whole.
        fold.registry.drop_unfinished();
        if *anew {
            fold.drop_unknown()?;
            commit(view, fold, kept, self.log, true)?;
            drop_unneeded(view, fold, kept)?;
        }
        commit(view, fold, kept, self.log, false)
    }

    fn say_progress(&self) {
        let (log_begun, kept_begun) = self.begun;
        let Standing {
            fold, kept, anew, ..
        } = &self.standing;
        let behind = |from: Offset, to: Offset| to.0.saturating_sub(from.0);
        (self.on_progress)(Progress {
            done: behind(log_begun, fold.end) + behind(kept_begun, kept.to),
            all: behind(log_begun, self.log_end) + behind(kept_begun, self.kept_end),
            anew: *anew,
        });
    }
}

/// Forgets events, and what was rejected, in kept that nobody is owed and no letter needs: only a view knows since when.
fn drop_unneeded(view: &View, fold: &Fold, kept: &mut Kept) -> Result<(), OpenError> {
    let mut events = RoaringTreemap::new();
    let mut next = kept.journal().start();
    while let Some(needed) = kept.needed_from(next)? {
        for (what, offset, stored) in needed.records {
            if what == What::Copy && matches!(records::read_copy(&stored)?.kind, EVENT | REJECTED) {
                events.insert(offset.0);
            }
        }
        next = needed.next;
    }
    for (_, owed) in fold.owed.iter() {
        events -= owed;
    }
    for event in view.without_letters(events)? {
        kept.forget(What::Copy, Offset(event))?;
    }
    Ok(())
}

// A commit while opening must not be larger than one while running.
const _: () = assert!(READ_BYTES as u64 <= COMMIT_BYTES);
