//! From an event to the triggers that want it, without asking each of them.
//!
//! Each trigger is filed under its **anchor**: the condition of its filter that the fewest
//! triggers share, of those an event can be looked up by. An event's attributes lead to the
//! triggers filed under them, whose remaining conditions are then evaluated. In the order of
//! preference: exact (`type` and `source`), any other exact, longest prefix, longest suffix,
//! presence. An `any` is filed under an anchor of each alternative. What has no anchor (`not`
//! alone) stands in a list that is evaluated last, for every event of its broker.
//!
//! The result is that of [`Filter::matches`] on every trigger; `tests/index.rs` holds them
//! against each other.

mod affix;
mod anchor;
mod hash;

use std::collections::HashMap;

use crate::attributes::Attributes;
use crate::run::filter::{Attribute, Filter};
use crate::run::name::BrokerName;
use affix::Affixes;
use anchor::{AFFIX_BYTES_MAX, Anchor, Census};
use hash::BuildFold;

/// A broker of an index, looked up once and then used for every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerId(u32);

/// Finds the triggers that want an event. Immutable: a change of triggers builds another.
#[derive(Debug, Default)]
pub struct Index {
    ids: HashMap<BrokerName, BrokerId>,
    brokers: Vec<Shelf>,
}

/// The triggers of one broker.
#[derive(Debug, Default)]
struct Shelf {
    /// Everything-filters: wanted whatever the event is.
    always: Vec<u32>,
    by_type: Attributed,
    by_source: Attributed,
    by_type_and_source: HashMap<Box<str>, Map<Filed>, BuildFold>,
    by_other: Vec<(Box<str>, Attributed)>,
    /// Without an anchor.
    rest: Vec<Candidate>,
}

type Map<V> = HashMap<Box<str>, V, BuildFold>;
type Filed = Vec<Candidate>;

/// What is filed under one attribute.
#[derive(Debug, Default)]
struct Attributed {
    exact: Map<Filed>,
    prefix: Affixes<Filed>,
    suffix: Affixes<Filed>,
    present: Filed,
}

/// A trigger that wants the event if its remaining conditions hold.
#[derive(Clone, Debug)]
struct Candidate {
    number: u32,
    /// `None`: its anchor was all that it asked.
    remaining: Option<Box<Filter>>,
}

impl Index {
    /// Files `triggers`: each with its number, its broker and its filter. Numbers are distinct.
    pub fn build(triggers: impl IntoIterator<Item = (u32, BrokerName, Filter)>) -> Index {
        let mut index = Index::default();
        let mut by_broker: Vec<Vec<(u32, Filter)>> = Vec::new();
        for (number, broker, filter) in triggers {
            let next = BrokerId(u32::try_from(by_broker.len()).expect("fewer brokers than 2^32"));
            let id = *index.ids.entry(broker).or_insert(next);
            if id == next {
                by_broker.push(Vec::new());
            }
            by_broker[id.0 as usize].push((number, filter));
        }
        index.brokers = by_broker.into_iter().map(Shelf::build).collect();
        index
    }

    /// The broker's id in this index; `None` when no trigger names it.
    pub fn broker(&self, name: &BrokerName) -> Option<BrokerId> {
        self.ids.get(name).copied()
    }

    /// Puts the numbers of the triggers of `broker` that want `event` into `out`, which is
    /// emptied first: ascending, each once. Allocates nothing but what `out` grows by.
    pub fn matching(&self, broker: &BrokerName, event: &impl Attributes, out: &mut Vec<u32>) {
        match self.broker(broker) {
            Some(id) => self.matching_of(id, event, out),
            None => out.clear(),
        }
    }

    /// As [`Index::matching`], for a broker that was looked up in this same index.
    pub fn matching_of(&self, broker: BrokerId, event: &impl Attributes, out: &mut Vec<u32>) {
        out.clear();
        if let Some(shelf) = self.brokers.get(broker.0 as usize) {
            shelf.matching(event, out);
            // Several runs, each ascending, and an `any` may have been found twice.
            if !out.is_sorted_by(|a, b| a < b) {
                out.sort_unstable();
                out.dedup();
            }
        }
    }
}

impl Shelf {
    fn build(mut triggers: Vec<(u32, Filter)>) -> Shelf {
        triggers.sort_unstable_by_key(|(number, _)| *number);
        let census = Census::of(triggers.iter().map(|(_, filter)| filter));
        let mut shelf = Shelf::default();
        for (number, filter) in triggers {
            match census.choose(filter) {
                anchor::Choice::Always => shelf.always.push(number),
                anchor::Choice::Rest(filter) => shelf.rest.push(Candidate::new(number, filter)),
                anchor::Choice::Under(anchors, remaining) => {
                    for anchor in anchors {
                        shelf
                            .filed(anchor)
                            .push(Candidate::new(number, remaining.clone()));
                    }
                }
            }
        }
        shelf.by_type.seal();
        shelf.by_source.seal();
        shelf
            .by_other
            .iter_mut()
            .for_each(|(_, attributed)| attributed.seal());
        shelf
    }

    fn filed(&mut self, anchor: Anchor) -> &mut Filed {
        match anchor {
            Anchor::TypeAndSource(ty, source) => self
                .by_type_and_source
                .entry(ty)
                .or_default()
                .entry(source)
                .or_default(),
            Anchor::Exact(attribute, text) => {
                self.attributed(attribute).exact.entry(text).or_default()
            }
            Anchor::Prefix(attribute, text) => self
                .attributed(attribute)
                .prefix
                .entry(text.as_bytes().into()),
            Anchor::Suffix(attribute, text) => {
                self.attributed(attribute).suffix.entry(reversed(&text))
            }
            Anchor::Present(attribute) => &mut self.attributed(attribute).present,
        }
    }

    fn attributed(&mut self, attribute: Attribute) -> &mut Attributed {
        match attribute {
            Attribute::Type => &mut self.by_type,
            Attribute::Source => &mut self.by_source,
            Attribute::Other(name) => {
                let position = self.by_other.iter().position(|(other, _)| *other == name);
                let position = position.unwrap_or_else(|| {
                    self.by_other.push((name, Attributed::default()));
                    self.by_other.len() - 1
                });
                &mut self.by_other[position].1
            }
        }
    }

    fn matching(&self, event: &impl Attributes, out: &mut Vec<u32>) {
        out.extend_from_slice(&self.always);
        let (ty, source) = (event.ty(), event.source());
        if !self.by_type_and_source.is_empty()
            && let Some(filed) = self
                .by_type_and_source
                .get(ty)
                .and_then(|by| by.get(source))
        {
            take(filed, event, out);
        }
        self.by_type.matching(ty, event, out);
        self.by_source.matching(source, event, out);
        for (name, attributed) in &self.by_other {
            if let Some(text) = event.attribute(name) {
                attributed.matching(&text, event, out);
            }
        }
        take(&self.rest, event, out);
    }
}

impl Attributed {
    fn seal(&mut self) {
        self.prefix.seal();
        self.suffix.seal();
    }

    fn matching(&self, text: &str, event: &impl Attributes, out: &mut Vec<u32>) {
        if !self.exact.is_empty()
            && let Some(filed) = self.exact.get(text)
        {
            take(filed, event, out);
        }
        if !self.prefix.is_empty() {
            self.prefix
                .each(text.as_bytes(), |filed| take(filed, event, out));
        }
        if !self.suffix.is_empty() {
            let mut backwards = [0; AFFIX_BYTES_MAX];
            let end = &text.as_bytes()[text.len().saturating_sub(AFFIX_BYTES_MAX)..];
            for (to, from) in backwards.iter_mut().zip(end.iter().rev()) {
                *to = *from;
            }
            self.suffix
                .each(&backwards[..end.len()], |filed| take(filed, event, out));
        }
        if !text.is_empty() {
            take(&self.present, event, out);
        }
    }
}

impl Candidate {
    fn new(number: u32, remaining: Filter) -> Candidate {
        let remaining = match remaining {
            Filter::Everything => None,
            filter => Some(Box::new(filter)),
        };
        Candidate { number, remaining }
    }
}

fn take(filed: &[Candidate], event: &impl Attributes, out: &mut Vec<u32>) {
    for candidate in filed {
        if candidate
            .remaining
            .as_ref()
            .is_none_or(|filter| filter.matches(event))
        {
            out.push(candidate.number);
        }
    }
}

/// A suffix read backwards is a prefix of the text read backwards.
fn reversed(text: &str) -> Box<[u8]> {
    text.bytes().rev().collect()
}
