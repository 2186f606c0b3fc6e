//! What may have been in the air when a process ended: what it owes, in the order in which its lanes
//! would have sent it, without what had to wait.

use std::collections::HashSet;

use journal::{Offset, WallTime};
use triggers::BlockedKey;

use crate::dead_letters::read_event;
use crate::fold::Fold;
use crate::keys::key_of;
use crate::records::started::Which;
use crate::records::{FORWARD, Number};
use crate::store::Store;
use crate::view::ViewError;

/// Events whose keys are read at a start after an end that wasn't in order, at the most. Beyond, what
/// ordered lanes owe counts as if each had a key of its own.
pub(crate) const KEYS_READ_MAX: usize = 10_000;

/// The deliveries of the fold that may have been in the air when the process ended, the first of
/// each lane before the second of any. What waits for a retry, or behind its key, was not.
///
/// # Errors
///
/// The view can't be read.
pub(crate) fn in_the_air(
    folded: &Fold,
    store: &Store,
    now: WallTime,
) -> Result<Vec<Which>, ViewError> {
    let (lowered, _) = folded.registry.lowered();
    let terms = |number: Number| {
        let entry = folded.registry.get(number & !FORWARD)?;
        let trigger = lowered.triggers.get(&entry.trigger_name())?;
        Some(&trigger.terms)
    };
    let mut reader = store.reader();
    let mut keys_read = 0;
    let mut ranked: Vec<(usize, Which)> = Vec::new();
    for (number, offsets) in folded.owed.iter() {
        let Some(terms) = terms(number) else {
            continue;
        };
        // Read for one number at a time: most have nothing parked.
        let parked = store.view().parked_of(number)?;
        let ordering = terms.ordering.as_ref();
        let ordering = ordering.filter(|_| number & FORWARD == 0);
        let mut busy = HashSet::new();
        let mut is_first_of_key = |offset: &u64| {
            let Some(ordering) = ordering.filter(|_| keys_read < KEYS_READ_MAX) else {
                return true;
            };
            keys_read += 1;
            let event = read_event(&mut reader, Offset(*offset));
            let key = event.ok();
            let key = key.and_then(|event| key_of(&event.event.as_ref(), &ordering.by));
            let Some(key) = key else {
                return true;
            };
            let by = match ordering.blocked_key {
                BlockedKey::DeadLetter => folded.blocked.get(&(number, key.clone())),
                BlockedKey::Retry => None,
            };
            let blocked = by.is_some_and(|by| by.0 != *offset);
            busy.insert(key) && !blocked
        };
        let is_due = |offset: &u64| {
            let parked = parked.get(&Offset(*offset));
            parked.is_none_or(|parked| parked.due <= now)
        };
        let cap = usize::try_from(terms.max_in_flight).unwrap_or(usize::MAX);
        let first = offsets.iter().filter(|offset| is_first_of_key(offset));
        let first = first.filter(is_due).take(cap);
        ranked.extend(first.map(|offset| (number, Offset(offset))).enumerate());
    }
    ranked.sort_unstable();
    Ok(ranked.into_iter().map(|(_, which)| which).collect())
}
