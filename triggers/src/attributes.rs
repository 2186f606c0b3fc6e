//! What a filter may ask of an event: its attributes, as canonical text.
//!
//! Filters and the index are written over this trait rather than over the event, so that a
//! test can match against a plain map. An integer or boolean attribute answers with its
//! canonical CloudEvents text, so `exact: {priority: "5"}` matches the integer 5 (contract §4).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// The context attributes of one event.
///
/// Asked once or more for each event that is routed, so an implementation should borrow its
/// text: a `Cow::Owned` is an allocation on the event's path.
pub trait Attributes {
    /// The canonical text of an attribute, or `None` when the event doesn't carry it.
    /// `specversion`, `id`, `source`, `type` and every other context attribute count.
    fn attribute(&self, name: &str) -> Option<Cow<'_, str>>;

    /// The `source` attribute, which every event has.
    fn source(&self) -> &str;

    /// The `type` attribute, which every event has.
    fn ty(&self) -> &str;
}

impl Attributes for event::EventRef<'_> {
    fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        event::EventRef::attribute(self, name).map(|value| value.text())
    }

    fn source(&self) -> &str {
        event::EventRef::source(self)
    }

    fn ty(&self) -> &str {
        event::EventRef::ty(self)
    }
}

macro_rules! attributes_of_a_map {
    ($map:ident, $text:ty) => {
        /// For tests and tools: an attribute that isn't in the map is absent, and a missing
        /// `source` or `type` reads as empty.
        impl Attributes for $map<$text, $text> {
            fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
                self.get(name).map(|value| Cow::Borrowed(value.as_ref()))
            }

            fn source(&self) -> &str {
                self.get("source").map_or("", AsRef::as_ref)
            }

            fn ty(&self) -> &str {
                self.get("type").map_or("", AsRef::as_ref)
            }
        }
    };
}

attributes_of_a_map!(HashMap, String);
attributes_of_a_map!(BTreeMap, String);
attributes_of_a_map!(BTreeMap, &str);
