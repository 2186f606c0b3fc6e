//! Which events a trigger wants: a compiled filter, and its naive evaluation.
//!
//! [`Filter::matches`] is the definition of matching (contract §4). The index finds the same
//! triggers faster and is tested against it.

use std::fmt;

use crate::attributes::Attributes;

/// An attribute's name, with the two that every event has told apart so that they are asked
/// for without a search.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    Type,
    Source,
    Other(Box<str>),
}

impl Attribute {
    /// The attribute of that name.
    pub fn named(name: &str) -> Attribute {
        match name {
            "type" => Attribute::Type,
            "source" => Attribute::Source,
            other => Attribute::Other(other.into()),
        }
    }

    /// Asks `test` about this attribute's text; false when the event doesn't carry it.
    pub(crate) fn is(&self, event: &impl Attributes, test: impl FnOnce(&str) -> bool) -> bool {
        match self {
            Attribute::Type => test(event.ty()),
            Attribute::Source => test(event.source()),
            Attribute::Other(name) => event.attribute(name).is_some_and(|text| test(&text)),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Attribute::Type => "type",
            Attribute::Source => "source",
            Attribute::Other(name) => name,
        })
    }
}

/// A compiled filter. Texts compare with the canonical CloudEvents text of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Every event of the broker.
    Everything,
    /// The attribute is present and equals the text.
    Exact(Attribute, Box<str>),
    /// The attribute is present and begins with the text.
    Prefix(Attribute, Box<str>),
    /// The attribute is present and ends with the text.
    Suffix(Attribute, Box<str>),
    /// The attribute is present and not empty.
    Present(Attribute),
    /// Every one matches.
    All(Vec<Filter>),
    /// At least one matches.
    Any(Vec<Filter>),
    /// It doesn't match.
    Not(Box<Filter>),
}

impl Filter {
    /// Whether the event is wanted. Total: no filter can fail, and an absent attribute is
    /// simply not equal to anything.
    pub fn matches(&self, event: &impl Attributes) -> bool {
        match self {
            Filter::Everything => true,
            Filter::Exact(attribute, text) => attribute.is(event, |value| value == &**text),
            Filter::Prefix(attribute, text) => {
                attribute.is(event, |value| value.starts_with(&**text))
            }
            Filter::Suffix(attribute, text) => {
                attribute.is(event, |value| value.ends_with(&**text))
            }
            Filter::Present(attribute) => attribute.is(event, |value| !value.is_empty()),
            Filter::All(filters) => filters.iter().all(|filter| filter.matches(event)),
            Filter::Any(filters) => filters.iter().any(|filter| filter.matches(event)),
            Filter::Not(filter) => !filter.matches(event),
        }
    }

    /// All of `filters`, without needless nesting: `All`s are spliced in, one alone stands
    /// for itself, none at all is everything.
    pub(crate) fn all(filters: impl IntoIterator<Item = Filter>) -> Filter {
        let mut flat = Vec::new();
        for filter in filters {
            match filter {
                Filter::Everything => {}
                Filter::All(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Filter::Everything,
            1 => flat.remove(0),
            _ => Filter::All(flat),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use expect_test::expect;

    use super::*;

    fn attribute(name: &str) -> Attribute {
        Attribute::named(name)
    }

    /// Contract §4: an integer or boolean compares by its canonical text.
    #[test]
    fn an_event_is_asked_by_the_text_of_its_attributes() {
        let mut headers = http::HeaderMap::new();
        headers.insert(
            "content-type",
            "application/cloudevents+json".parse().unwrap(),
        );
        let body = Bytes::from_static(
            br#"{"specversion":"1.0","id":"1","source":"/shop","type":"com.example.order.placed",
                "subject":"","priority":5,"urgent":true,"region":"e\u0075","data":{"type":"x"}}"#,
        );
        let batch = event::http::decode(&headers, body, &event::http::Limits::default()).unwrap();
        let event = batch.events[0].as_ref();

        let exact = |name, text: &str| Filter::Exact(attribute(name), text.into());
        let prefix = |name, text: &str| Filter::Prefix(attribute(name), text.into());
        let suffix = |name, text: &str| Filter::Suffix(attribute(name), text.into());
        let not = |filter| Filter::Not(Box::new(filter));
        let asked = [
            exact("type", "com.example.order.placed"),
            exact("type", "x"),
            exact("priority", "5"),
            exact("priority", "05"),
            exact("urgent", "true"),
            exact("region", "eu"),
            exact("specversion", "1.0"),
            prefix("type", "com.example."),
            prefix("type", "com.example.order.placed.later"),
            suffix("source", "shop"),
            suffix("source", "Shop"),
            Filter::Present(attribute("region")),
            Filter::Present(attribute("subject")),
            Filter::Present(attribute("absent")),
            exact("absent", ""),
            prefix("absent", ""),
            not(exact("absent", "a")),
            not(not(exact("id", "1"))),
            Filter::All(vec![]),
            Filter::Any(vec![]),
            Filter::All(vec![exact("id", "1"), exact("id", "2")]),
            Filter::Any(vec![exact("id", "1"), exact("id", "2")]),
            Filter::Everything,
        ];
        let lines: Vec<String> = asked
            .iter()
            .map(|filter| format!("{} {filter:?}", filter.matches(&event)))
            .collect();
        expect![[r#"
            true Exact(Type, "com.example.order.placed")
            false Exact(Type, "x")
            true Exact(Other("priority"), "5")
            false Exact(Other("priority"), "05")
            true Exact(Other("urgent"), "true")
            true Exact(Other("region"), "eu")
            true Exact(Other("specversion"), "1.0")
            true Prefix(Type, "com.example.")
            false Prefix(Type, "com.example.order.placed.later")
            true Suffix(Source, "shop")
            false Suffix(Source, "Shop")
            true Present(Other("region"))
            false Present(Other("subject"))
            false Present(Other("absent"))
            false Exact(Other("absent"), "")
            false Prefix(Other("absent"), "")
            true Not(Exact(Other("absent"), "a"))
            true Not(Not(Exact(Other("id"), "1")))
            true All([])
            false Any([])
            false All([Exact(Other("id"), "1"), Exact(Other("id"), "2")])
            true Any([Exact(Other("id"), "1"), Exact(Other("id"), "2")])
            true Everything"#]]
        .assert_eq(&lines.join("\n"));
    }
}
