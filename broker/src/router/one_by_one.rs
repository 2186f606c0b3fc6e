//! Matching after a panic: each filter by itself, so that one that panics on an event costs no other
//! trigger its delivery.
//!
//! The trigger whose filter panics is owed the event, since nobody knows whether it wants it, and
//! the delivery ends as poison at once: kept, listed, counted, and there to be redriven once the
//! filter is mended. It is never sent.

use event::EventRef;
use journal::Stored;
use triggers::Filter;

use super::Router;
use crate::guarded::{Caught, Panics};
use crate::records::Number;
use crate::records::trigger_set::Kind;
use crate::registry::Entry;

impl Router {
    /// Matches one event by each of its broker's filters, in place of the index, which panicked.
    pub(super) fn match_one_by_one(&mut self, stored: &Stored, event: &EventRef<'_>, why: &str) {
        tracing::error!(
            offset = stored.offset.0,
            why,
            "matching panicked; each filter is tried by itself"
        );
        let (lowered, _) = self.registry.lowered();
        let Some(broker) = self.registry.get(stored.tag).map(Entry::broker_name) else {
            return;
        };
        let triggers = self.registry.entries();
        let triggers = triggers.filter(|entry| entry.kind == Kind::Trigger);
        let ready: Vec<(Number, &Filter)> = triggers
            .filter_map(|entry| {
                let trigger = lowered.triggers.get(&entry.trigger_name())?;
                let ready = trigger.not_ready.is_none() && trigger.broker == broker;
                ready.then_some((entry.number, &trigger.filter))
            })
            .collect();
        let (matching, panicked) =
            judge(&ready, &self.careful.panics, |filter| filter.matches(event));
        for (number, why) in panicked {
            let why = format!("its trigger's filter panicked: {why}");
            self.careful.condemn((number, stored.offset), &why);
        }
        self.matching = matching;
    }
}

/// Who is owed the event, in ascending order, and of those whose filter panicked, what it said.
fn judge(
    filters: &[(Number, &Filter)],
    panics: &Panics,
    matches: impl Fn(&Filter) -> bool,
) -> (Vec<Number>, Vec<(Number, String)>) {
    let (mut owed, mut panicked) = (Vec::new(), Vec::new());
    for (number, filter) in filters {
        match panics.guarded(Caught::Filter, || matches(filter)) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(why) => panicked.push((*number, why)),
        }
        owed.push(*number);
    }
    owed.sort_unstable();
    (owed, panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_panics_costs_no_other_its_delivery() {
        let not = |filter| Filter::Not(Box::new(filter));
        let (all, none) = (Filter::Everything, not(Filter::Everything));
        let bad = not(not(Filter::Everything));
        let filters = [(9, &all), (4, &bad), (3, &none), (2, &all)];
        let panics = Panics::default();
        let (owed, panicked) = judge(&filters, &panics, |filter| {
            assert!(*filter != bad, "a bug");
            *filter == all
        });
        assert_eq!(owed, [2, 4, 9]);
        assert_eq!(panicked, [(4, "a bug".to_owned())]);
        assert_eq!(panics.counts(), [0, 1, 0, 0]);
    }
}
