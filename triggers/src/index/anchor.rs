//! Chooses what each trigger is filed under: the condition that the fewest triggers share.

use std::collections::HashMap;

use crate::run::filter::{Attribute, Filter};

/// Something an event can be looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Anchor {
    TypeAndSource(Box<str>, Box<str>),
    Exact(Attribute, Box<str>),
    Prefix(Attribute, Box<str>),
    Suffix(Attribute, Box<str>),
    Present(Attribute),
}

/// How a trigger is filed.
pub(super) enum Choice {
    /// It wants every event.
    Always,
    /// Under each of these, with the conditions that remain to be evaluated.
    Under(Vec<Anchor>, Filter),
    /// Under nothing: it is evaluated for every event.
    Rest(Filter),
}

/// A longer prefix or suffix is filed under its first or last so many bytes, and asked in
/// full afterwards: the end of a value is turned around in a buffer of this size.
pub(super) const AFFIX_BYTES_MAX: usize = 128;

/// More alternatives than this aren't worth as many entries.
const ALTERNATIVES_MAX: usize = 64;

/// How many filters have each anchor.
pub(super) struct Census {
    counts: HashMap<Anchor, u64>,
}

/// Anchors and how many candidates they lead to, for comparing.
struct Offer {
    anchors: Vec<Anchor>,
    cost: u64,
    /// Position of the condition among those of the `all` that the anchor wholly stands for.
    covers: Covers,
}

#[derive(Clone, Copy)]
enum Covers {
    Nothing,
    One(usize),
    Two(usize, usize),
}

impl Census {
    pub(super) fn of<'a>(filters: impl Iterator<Item = &'a Filter>) -> Census {
        let mut census = Census {
            counts: HashMap::new(),
        };
        for filter in filters {
            census.count(filter);
        }
        census
    }

    fn count(&mut self, filter: &Filter) {
        match filter {
            Filter::All(filters) => {
                if let Some((ty, source)) = type_and_source(filters) {
                    self.one(pair(&filters[ty], &filters[source]));
                }
                filters.iter().for_each(|filter| self.count(filter));
            }
            Filter::Any(filters) => filters.iter().for_each(|filter| self.count(filter)),
            other => {
                if let Some(anchor) = single(other) {
                    self.one(anchor);
                }
            }
        }
    }

    fn one(&mut self, anchor: Anchor) {
        *self.counts.entry(anchor).or_default() += 1;
    }

    pub(super) fn choose(&self, filter: Filter) -> Choice {
        if filter == Filter::Everything {
            return Choice::Always;
        }
        match self.offer(&filter) {
            None => Choice::Rest(filter),
            Some(Offer {
                anchors, covers, ..
            }) => Choice::Under(anchors, without(filter, covers)),
        }
    }

    /// The cheapest anchors through which every event that the filter wants is found.
    fn offer(&self, filter: &Filter) -> Option<Offer> {
        match filter {
            Filter::Everything | Filter::Not(_) => None,
            Filter::Any(alternatives) => {
                let mut anchors = Vec::new();
                let mut cost = 0u64;
                for alternative in alternatives {
                    let offer = self.offer(alternative)?;
                    cost = cost.saturating_add(offer.cost);
                    anchors.extend(offer.anchors);
                    if ALTERNATIVES_MAX < anchors.len() {
                        return None;
                    }
                }
                // The same alternative written twice.
                let mut distinct = Vec::with_capacity(anchors.len());
                for anchor in anchors {
                    if !distinct.contains(&anchor) {
                        distinct.push(anchor);
                    }
                }
                Some(Offer {
                    anchors: distinct,
                    cost,
                    covers: Covers::Nothing,
                })
            }
            Filter::All(filters) => {
                let pair = type_and_source(filters).map(|(ty, source)| {
                    let anchor = pair(&filters[ty], &filters[source]);
                    Offer {
                        cost: self.cost(&anchor),
                        anchors: vec![anchor],
                        covers: Covers::Two(ty, source),
                    }
                });
                let singles = filters.iter().enumerate().filter_map(|(position, filter)| {
                    let mut offer = self.offer(filter)?;
                    // An anchor found deeper stands for a part of the condition only.
                    offer.covers = match single(filter) {
                        Some(_) if whole(filter) => Covers::One(position),
                        _ => Covers::Nothing,
                    };
                    Some(offer)
                });
                // The first of equals: the pair, then as written.
                pair.into_iter()
                    .chain(singles)
                    .min_by_key(|offer| offer.cost)
            }
            single_condition => {
                let anchor = single(single_condition)?;
                Some(Offer {
                    cost: self.cost(&anchor),
                    anchors: vec![anchor],
                    covers: if whole(single_condition) {
                        Covers::One(0)
                    } else {
                        Covers::Nothing
                    },
                })
            }
        }
    }

    /// How many triggers share the anchor, weighted by how many events it is likely to meet:
    /// a prefix is met by more events than an exact text, presence by most.
    fn cost(&self, anchor: &Anchor) -> u64 {
        let count = self.counts.get(anchor).copied().unwrap_or(1);
        match anchor {
            Anchor::TypeAndSource(..) => count * 8,
            // Every event has one of very few specversions.
            Anchor::Exact(Attribute::Other(name), _) if &**name == "specversion" => count * 64,
            Anchor::Exact(Attribute::Other(_), _) => count * 8 + 1,
            Anchor::Exact(..) => count * 8,
            Anchor::Prefix(_, text) | Anchor::Suffix(_, text) => {
                count * (16 + 64 / (text.len() as u64).max(1))
            }
            Anchor::Present(_) => count * 512,
        }
    }
}

fn single(filter: &Filter) -> Option<Anchor> {
    match filter {
        Filter::Exact(attribute, text) => Some(Anchor::Exact(attribute.clone(), text.clone())),
        Filter::Prefix(attribute, text) => {
            let text = &text[..text.floor_char_boundary(AFFIX_BYTES_MAX)];
            Some(Anchor::Prefix(attribute.clone(), text.into()))
        }
        Filter::Suffix(attribute, text) => {
            let cut = text.len().saturating_sub(AFFIX_BYTES_MAX);
            let text = &text[text.ceil_char_boundary(cut)..];
            Some(Anchor::Suffix(attribute.clone(), text.into()))
        }
        Filter::Present(attribute) => Some(Anchor::Present(attribute.clone())),
        _ => None,
    }
}

/// Whether the condition's anchor says all that it asks.
fn whole(condition: &Filter) -> bool {
    match condition {
        Filter::Prefix(_, text) | Filter::Suffix(_, text) => text.len() <= AFFIX_BYTES_MAX,
        _ => true,
    }
}

/// Where among `filters` an exact type and an exact source stand.
fn type_and_source(filters: &[Filter]) -> Option<(usize, usize)> {
    let of = |wanted: Attribute| {
        filters.iter().position(
            |filter| matches!(filter, Filter::Exact(attribute, _) if *attribute == wanted),
        )
    };
    Some((of(Attribute::Type)?, of(Attribute::Source)?))
}

fn pair(ty: &Filter, source: &Filter) -> Anchor {
    match (ty, source) {
        (Filter::Exact(_, ty), Filter::Exact(_, source)) => {
            Anchor::TypeAndSource(ty.clone(), source.clone())
        }
        _ => unreachable!("type_and_source finds exact conditions only"),
    }
}

/// What remains to be asked once the covered conditions are known to hold.
fn without(filter: Filter, covers: Covers) -> Filter {
    match (filter, covers) {
        (filter, Covers::Nothing) => filter,
        (Filter::All(filters), covers) => Filter::all(filters.into_iter().enumerate().filter_map(
            |(position, filter)| {
                let covered = match covers {
                    Covers::One(one) => one == position,
                    Covers::Two(one, two) => one == position || two == position,
                    Covers::Nothing => false,
                };
                (!covered).then_some(filter)
            },
        )),
        _ => Filter::Everything,
    }
}
