//! Whether log and kept still go as far as they did: a journal can't tell that its last records are
//! gone, with the file that held them or because an older copy took its place. The view can, since it
//! knows how far both had come when it was last written. Nor can kept tell that its oldest segments were
//! removed by somebody else than the keeper, who removes none that is needed: the view knows that, too.
//! Of the log's, each event that is owed and isn't there is found when it is to be sent.

use std::collections::BTreeMap;
use std::ops::Range;

use journal::{Journal, Offset};

use crate::fold::OpenError;
use crate::view::AsOf;

/// The records that were there and aren't any more, where some others still are.
#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) log: Vec<Range<Offset>>,
    pub(super) kept: Vec<Range<Offset>>,
}

/// Compares both with how far they are known to have come.
///
/// # Errors
///
/// [`OpenError::LogGone`] and [`OpenError::KeptGone`]: nothing is left of one, so going on would
/// mean to begin anew without anybody's wish.
pub(super) fn compare(
    log: &Journal,
    kept: &Journal,
    as_of: Option<&AsOf>,
) -> Result<Cut, OpenError> {
    let (log_end, kept_end) = (end(log), end(kept));
    let log_to = as_of.map_or(Offset(0), |as_of| as_of.log_to);
    let kept_to = as_of.map_or(Offset(0), |as_of| as_of.kept_to);
    // Only what a log once held is kept.
    if log_end == Offset(0) && (Offset(0) < log_to || Offset(0) < kept_end) {
        return Err(OpenError::LogGone);
    }
    if kept_end == Offset(0) && Offset(0) < kept_to {
        return Err(OpenError::KeptGone);
    }
    let Some(as_of) = as_of else {
        if kept_end == Offset(0) && Offset(0) < log.start() {
            // Nothing may have been needed of the segments that went. Only a view would know.
            tracing::warn!(
                "the log has let go of records and kept is empty, with no view to tell whether it held some: was its folder removed?"
            );
        }
        return Ok(Cut::default());
    };
    for (name, journal, id) in [("log", log, as_of.log_id), ("kept", kept, as_of.kept_id)] {
        if Offset(0) < end(journal) && journal.facts().log_id != id {
            tracing::error!(name, "the view is of another one: was the folder replaced?");
        }
    }
    let mut cut = Cut::default();
    if log.facts().log_id == as_of.log_id {
        cut.log.extend(behind(log_end, log_to));
    }
    if kept.facts().log_id == as_of.kept_id {
        cut.kept = needed_before(&as_of.kept_live, kept.start());
        cut.kept.extend(behind(kept_end, kept_to));
    }
    for (name, lost) in [("log", &cut.log), ("kept", &cut.kept)] {
        for Range { start, end } in lost {
            tracing::error!(
                name,
                from = start.0,
                until = end.0,
                "records that were stored are gone"
            );
        }
    }
    Ok(cut)
}

/// What is missing at the end.
fn behind(end: Offset, to: Offset) -> Option<Range<Offset>> {
    (end < to).then_some(end..to)
}

/// The segments that begin before `start` and held what is needed.
fn needed_before(live: &BTreeMap<Offset, u64>, start: Offset) -> Vec<Range<Offset>> {
    let gone = live.range(..start).filter(|(_, bytes)| 0 < **bytes);
    let ends = |first: &Offset| {
        let next = live.range(Offset(first.0 + 1)..).next();
        next.map_or(start, |(next, _)| start.min(*next))
    };
    gone.map(|(first, _)| *first..ends(first)).collect()
}

fn end(journal: &Journal) -> Offset {
    *journal.durable().borrow()
}
