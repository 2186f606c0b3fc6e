//! The index finds what asking every trigger finds.
//!
//! Texts are drawn from few, overlapping words, so that most conditions nearly hold and many
//! do: a test of filters that never match would pass with an empty index.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use triggers::run::filter::Attribute;
use triggers::{BrokerName, Filter, Index};

type Event<'a> = BTreeMap<&'a str, &'a str>;

/// Near misses of each other: shared beginnings, shared ends, one inside another.
const TEXTS: [&str; 14] = [
    "a", "ab", "abc", "abd", "b", "bc", "c", "com.", "com.a", "com.ab", "x.a", "x.ab", "é", "1.0",
];
const NAMES: [&str; 6] = [
    "type",
    "source",
    "subject",
    "region",
    "priority",
    "specversion",
];

fn text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&TEXTS[..])
}

fn attribute() -> impl Strategy<Value = Attribute> {
    // Types and sources more often, as people write them.
    prop_oneof![
        3 => Just(Attribute::Type),
        2 => Just(Attribute::Source),
        4 => prop::sample::select(&NAMES[..]).prop_map(Attribute::named),
    ]
}

fn condition() -> impl Strategy<Value = Filter> {
    prop_oneof![
        5 => (attribute(), text()).prop_map(|(a, t)| Filter::Exact(a, t.into())),
        3 => (attribute(), text()).prop_map(|(a, t)| Filter::Prefix(a, t.into())),
        3 => (attribute(), text()).prop_map(|(a, t)| Filter::Suffix(a, t.into())),
        1 => attribute().prop_map(Filter::Present),
        1 => Just(Filter::Everything),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    condition().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::All),
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::Any),
            1 => inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

fn event() -> impl Strategy<Value = Event<'static>> {
    let optional = || prop::option::of(prop_oneof![9 => text(), 1 => Just("")]);
    (text(), text(), optional(), optional(), optional()).prop_map(
        |(ty, source, subject, region, priority)| {
            let mut event = Event::from([("type", ty), ("source", source), ("specversion", "1.0")]);
            for (name, text) in [
                ("subject", subject),
                ("region", region),
                ("priority", priority),
            ] {
                event.extend(text.map(|text| (name, text)));
            }
            event
        },
    )
}

const TRIGGERS: usize = 150;
const EVENTS: usize = 150;
const CASES: u32 = 200;
/// The number, so that nobody lowers one of the above without noticing.
const _: () = assert!(1_000_000 <= TRIGGERS * EVENTS * CASES as usize);

#[test]
fn the_index_finds_what_the_naive_evaluator_finds() {
    let brokers = ["a", "b"].map(|name| BrokerName::new("shop", name));
    let triggers = prop::collection::vec((filter(), prop::bool::weighted(0.9)), TRIGGERS);
    let events = prop::collection::vec(event(), EVENTS);
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        ..Config::default()
    });
    let counts = std::cell::Cell::new((0u64, 0u64));
    runner
        .run(&(triggers, events), |(triggers, events)| {
            let numbered: Vec<(u32, &BrokerName, &Filter)> = (0..)
                .map(|n: u32| n * 7 + 3)
                .zip(&triggers)
                .map(|(n, (filter, first))| (n, &brokers[usize::from(!first)], filter))
                .collect();
            let index = Index::build(
                numbered
                    .iter()
                    .map(|(n, broker, filter)| (*n, (*broker).clone(), (*filter).clone())),
            );
            let mut found = vec![99];
            for event in &events {
                for broker in &brokers {
                    let wanted: Vec<u32> = numbered
                        .iter()
                        .filter(|(_, of, filter)| *of == broker && filter.matches(event))
                        .map(|(n, ..)| *n)
                        .collect();
                    index.matching(broker, event, &mut found);
                    prop_assert_eq!(&found, &wanted, "{:?}", event);
                    let (pairs, matches) = counts.get();
                    counts.set((pairs, matches + wanted.len() as u64));
                }
                let (pairs, matches) = counts.get();
                counts.set((pairs + triggers.len() as u64, matches));
            }
            Ok(())
        })
        .unwrap();
    let (pairs, matches) = counts.get();
    assert!(1_000_000 <= pairs, "{pairs}");
    // Neither nearly nothing nor nearly everything matches.
    assert!(
        (pairs / 20..pairs / 2).contains(&matches),
        "{matches} of {pairs}"
    );
}

/// Longer than what the index files a prefix or suffix under.
#[test]
fn long_prefixes_and_suffixes_are_asked_in_full() {
    let broker = BrokerName::new("shop", "a");
    let common = "é".repeat(200);
    let (early, late) = (format!("{common}x"), format!("y{common}"));
    let filters = [
        Filter::Prefix(Attribute::Type, early.as_str().into()),
        Filter::Suffix(Attribute::Type, late.as_str().into()),
        Filter::Prefix(Attribute::Type, "é".into()),
        Filter::Suffix(Attribute::Type, "é".into()),
        Filter::All(vec![
            Filter::Prefix(Attribute::Type, early.as_str().into()),
            Filter::Not(Box::new(Filter::Exact(Attribute::Source, "z".into()))),
        ]),
    ];
    let index = Index::build(
        (0..)
            .zip(filters)
            .map(|(n, filter)| (n, broker.clone(), filter)),
    );
    let mut found = Vec::new();
    let texts = [
        early.clone(),
        late.clone(),
        common.clone(),
        format!("{early}{late}"),
    ];
    let expected: [&[u32]; 4] = [&[0, 2, 4], &[1, 3], &[2, 3], &[0, 1, 2, 3, 4]];
    for (text, expected) in texts.iter().zip(expected) {
        let event = Event::from([("type", text.as_str()), ("source", "s")]);
        index.matching(&broker, &event, &mut found);
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn a_broker_that_no_trigger_names_has_no_matches() {
    let index = Index::build([(1, BrokerName::new("shop", "a"), Filter::Everything)]);
    let event = Event::from([("type", "t"), ("source", "s")]);
    let mut found = vec![7];
    index.matching(&BrokerName::new("shop", "b"), &event, &mut found);
    assert!(found.is_empty());
    index.matching(&BrokerName::new("shop", "a"), &event, &mut found);
    assert_eq!(found, [1]);
}
