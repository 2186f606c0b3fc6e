//! Filters as written against an event: what a filter wants is what its written form says, by itself and
//! found through the index; what makes no sense is refused, never widened.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::Event;
use serde_json::{Map, Value, json};
use triggers::files::File;
use triggers::{BrokerName, Catalog, Filter, Index, Resource, TriggerName, lower};

use super::Input;
use super::sound::texts;

pub(super) const WORDS: &[&str] = &[
    "type",
    "source",
    "com.example.",
    "order.placed",
    "\u{1f30e}",
];

const NAMES: [&str; 8] = [
    "type",
    "source",
    "subject",
    "specversion",
    "id",
    "region",
    "x1",
    "Upper",
];

/// Near misses of each other: shared beginnings, shared ends, one inside another.
const TEXTS: [&str; 10] = [
    "a", "ab", "abc", "b", "bc", "c", "com.a", "com.ab", "1.0", "",
];

const DEPTH_MAX: usize = 16;
const TRIGGERS_MAX: usize = 3;

/// A filter as somebody writes it.
enum Written {
    Exact(BTreeMap<String, String>),
    Prefix(BTreeMap<String, String>),
    Suffix(BTreeMap<String, String>),
    All(Vec<Written>),
    Any(Vec<Written>),
    Not(Box<Written>),
    /// What no version took: nothing at all, two dialects, one of a later version.
    Nonsense(Value),
}

pub(super) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let event = event(&mut input);
    let broker = BrokerName::new("shop", "default");
    let mut filed: Vec<(u32, Filter)> = Vec::new();
    for number in 1..=1 + input.below(TRIGGERS_MAX) {
        let filters: Vec<Written> = (0..input.below(4))
            .map(|_| written(&mut input, 0))
            .collect();
        let compiled = compile(&filters);
        let makes_sense = filters.iter().all(|filter| makes_sense(filter, 1));
        assert_eq!(compiled.is_some(), makes_sense, "{}", list(&filters));
        let (Some(filter), Some(event)) = (compiled, &event) else {
            continue;
        };
        let wanted = filters.iter().all(|filter| wants(filter, event));
        let view = event.as_ref();
        assert_eq!(filter.matches(&view), wanted, "{}", list(&filters));
        filed.push((number as u32, filter));
    }
    let Some(event) = event else { return };
    let entries = filed.iter().map(|(n, f)| (*n, broker.clone(), f.clone()));
    let index = Index::build(entries);
    let mut found = Vec::new();
    index.matching(&broker, &event.as_ref(), &mut found);
    let wanted = filed.iter().filter(|(_, f)| f.matches(&event.as_ref()));
    let wanted: Vec<u32> = wanted.map(|(number, _)| *number).collect();
    assert_eq!(found, wanted, "the index finds what asking each finds");
}

fn event(input: &mut Input<'_>) -> Option<Event> {
    let mut event = Event::build(&text(input), &text(input), &text(input));
    for name in ["subject", "region", "x1"] {
        if input.once_in(2) {
            event = event.attribute(name, &text(input));
        }
    }
    event.finish().ok()
}

fn text(input: &mut Input<'_>) -> String {
    match input.once_in(4) {
        true => input.text(),
        false => input.one_of(&TEXTS).to_owned(),
    }
}

fn written(input: &mut Input<'_>, depth: usize) -> Written {
    // An input ends, and with it the nesting; a little deeper than what is taken is deep enough.
    let choices = if input.is_empty() || DEPTH_MAX + 2 < depth {
        6
    } else {
        16
    };
    match input.below(choices) {
        0..=2 => Written::Exact(conditions(input)),
        3 | 4 => Written::Prefix(conditions(input)),
        5 | 6 => Written::Suffix(conditions(input)),
        7..=9 => Written::All(several(input, depth)),
        10..=12 => Written::Any(several(input, depth)),
        13 | 14 => Written::Not(Box::new(written(input, depth + 1))),
        _ => Written::Nonsense(nonsense(input)),
    }
}

fn nonsense(input: &mut Input<'_>) -> Value {
    match input.below(6) {
        0 => json!({}),
        1 => json!({"exact": {"type": "a"}, "prefix": {"type": "a"}}),
        2 => json!({"cesql": "TRUE"}),
        3 => json!({"exact": {}}),
        4 => json!({"all": []}),
        _ => json!({"any": []}),
    }
}

fn several(input: &mut Input<'_>, depth: usize) -> Vec<Written> {
    let count = 1 + input.below(3);
    (0..count).map(|_| written(input, depth + 1)).collect()
}

fn conditions(input: &mut Input<'_>) -> BTreeMap<String, String> {
    let count = 1 + input.below(3);
    let pair = |_| {
        let name = match input.once_in(8) {
            true => input.text(),
            false => input.one_of(&NAMES).to_owned(),
        };
        (name, text(input))
    };
    (0..count).map(pair).collect()
}

/// What the contract takes, said once more.
fn makes_sense(filter: &Written, depth: usize) -> bool {
    if DEPTH_MAX < depth {
        return false;
    }
    match filter {
        Written::Exact(map) | Written::Prefix(map) | Written::Suffix(map) => {
            map.iter().all(|(name, text)| {
                let mut letters = name.bytes();
                let first = letters.next().is_some_and(|byte| byte.is_ascii_lowercase());
                let rest = letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
                first && rest && !text.is_empty()
            })
        }
        Written::All(filters) | Written::Any(filters) => {
            filters.iter().all(|filter| makes_sense(filter, depth + 1))
        }
        Written::Not(filter) => makes_sense(filter, depth + 1),
        Written::Nonsense(_) => false,
    }
}

/// Whether it wants the event, from its written form alone.
fn wants(filter: &Written, event: &Event) -> bool {
    let event_texts = texts(&event.as_ref());
    let asked = |map: &BTreeMap<String, String>, holds: fn(&str, &str) -> bool| {
        map.iter().all(|(name, text)| {
            let found = event_texts.iter().find(|(attribute, _)| attribute == name);
            found.is_some_and(|(_, value)| holds(value, text))
        })
    };
    match filter {
        Written::Exact(map) => asked(map, |value, text| value == text),
        Written::Prefix(map) => asked(map, |value, text| value.starts_with(text)),
        Written::Suffix(map) => asked(map, |value, text| value.ends_with(text)),
        Written::All(filters) => filters.iter().all(|filter| wants(filter, event)),
        Written::Any(filters) => filters.iter().any(|filter| wants(filter, event)),
        Written::Not(filter) => !wants(filter, event),
        Written::Nonsense(_) => false,
    }
}

fn value(filter: &Written) -> Value {
    match filter {
        Written::Exact(map) => json!({ "exact": map }),
        Written::Prefix(map) => json!({ "prefix": map }),
        Written::Suffix(map) => json!({ "suffix": map }),
        Written::All(filters) => json!({ "all": list(filters) }),
        Written::Any(filters) => json!({ "any": list(filters) }),
        Written::Not(filter) => json!({ "not": value(filter) }),
        Written::Nonsense(value) => value.clone(),
    }
}

fn list(filters: &[Written]) -> Value {
    filters.iter().map(value).collect()
}

/// The filter of a trigger with these, as it lies in the log, and as it stands in a file.
fn compile(filters: &[Written]) -> Option<Filter> {
    let mut spec = Map::new();
    spec.insert("broker".to_owned(), json!("default"));
    spec.insert(
        "subscriber".to_owned(),
        json!({"uri": "http://127.0.0.1:1/"}),
    );
    spec.insert("filters".to_owned(), list(filters));
    let text = json!({
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": "billing", "namespace": "shop"},
        "spec": spec,
    });
    let text = text.to_string();
    let resource = Resource::from_canonical(&text);
    let resource = resource.unwrap_or_else(|error| panic!("{error}: {text}"));
    let (mut lowered, problems) = lower(&[&resource]);
    let name = TriggerName::new("shop", "billing");
    let filter = lowered.triggers.remove(&name).map(|trigger| trigger.filter);
    assert_eq!(filter.is_none(), !problems.is_empty(), "{problems:?}");
    // JSON is YAML, as long as it holds what YAML prints.
    if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        let mut catalog = Catalog::default();
        let file = File {
            path: Arc::from("a.yaml"),
            text: Ok(text.clone()),
        };
        let change = catalog.reload(vec![file]);
        assert_eq!(change.put.len(), usize::from(filter.is_some()), "{text}");
        assert_eq!(change.problems.is_empty(), filter.is_some(), "{text}");
    }
    filter
}
