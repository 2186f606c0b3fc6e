//! Filters as written to filters as run.
//!
//! A filter that is wrong is refused with its place. It never becomes one that matches
//! everything (contract §4; Knative fails open here).

use std::collections::BTreeMap;

use super::filter::{Attribute, Filter};
use crate::problem::{At, Faults};
use crate::written::{TriggerSpec, filter as written};

/// How deep `all`, `any` and `not` may nest. Deeper is refused: evaluation uses the stack.
pub(crate) const FILTER_DEPTH_MAX: usize = 16;

/// How many conditions a trigger's filter may have. More is refused: each is asked of events.
pub(crate) const FILTER_CONDITIONS_MAX: usize = 1024;

const DIALECTS: &str = "write one of exact, prefix, suffix, all, any and not";

/// The filter of a trigger: `filters` when not empty, else `filter`, else everything.
pub(crate) fn filter(spec: &TriggerSpec, at: At<'_>, faults: &mut Faults) -> Option<Filter> {
    let mut compiler = Compiler {
        conditions: 0,
        faults,
    };
    // Both are read, so that a mistake in the one that is replaced is told too.
    let legacy = match &spec.filter {
        Some(filter) => compiler.legacy(filter, at.key("filter")),
        None => Some(Filter::Everything),
    };
    let filter = match spec.filters.as_deref() {
        None | Some([]) => legacy,
        Some(filters) => {
            let all = compiler
                .list(filters, at.key("filters"), 1)
                .map(Filter::all);
            legacy.and(all)
        }
    };
    if FILTER_CONDITIONS_MAX < compiler.conditions {
        let found = format!("has {} conditions", compiler.conditions);
        let cure = format!("it may have at most {FILTER_CONDITIONS_MAX}: use several triggers");
        faults.add(at.key("filters"), found, cure);
        return None;
    }
    filter
}

struct Compiler<'a> {
    conditions: usize,
    faults: &'a mut Faults,
}

impl Compiler<'_> {
    fn legacy(&mut self, filter: &written::LegacyFilter, at: At<'_>) -> Option<Filter> {
        match &filter.attributes {
            None => Some(Filter::Everything),
            Some(attributes) => self.map(attributes, at.key("attributes"), |attribute, text| {
                Ok(match text {
                    "" => Filter::Present(attribute),
                    text => Filter::Exact(attribute, text.into()),
                })
            }),
        }
    }

    fn list(
        &mut self,
        filters: &[written::Filter],
        at: At<'_>,
        depth: usize,
    ) -> Option<Vec<Filter>> {
        // Not collected into an Option at once: every item's mistakes are wanted.
        let compiled: Vec<Option<Filter>> = (0..)
            .zip(filters)
            .map(|(index, filter)| self.dialect(filter, at.index(index), depth))
            .collect();
        compiled.into_iter().collect()
    }

    fn dialect(&mut self, filter: &written::Filter, at: At<'_>, depth: usize) -> Option<Filter> {
        if FILTER_DEPTH_MAX < depth {
            let cure = format!("all, any and not may nest at most {FILTER_DEPTH_MAX} deep");
            self.faults.add(at, "nests too deep", cure);
            return None;
        }
        let written::Filter {
            exact,
            prefix,
            suffix,
            all,
            any,
            not,
            cesql,
        } = filter;
        let named = [
            ("exact", exact.is_some()),
            ("prefix", prefix.is_some()),
            ("suffix", suffix.is_some()),
            ("all", all.is_some()),
            ("any", any.is_some()),
            ("not", not.is_some()),
            ("cesql", cesql.is_some()),
        ];
        let given: Vec<&str> = named
            .iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| *name)
            .collect();
        match given.as_slice() {
            [_] => {}
            [] => {
                let cure = format!(
                    "{DIALECTS}: an empty object is what Kubernetes leaves of a field it does not know, \
                     and must not match everything"
                );
                self.faults.add(at, "is empty", cure);
                return None;
            }
            several => {
                let found = format!("has {} dialects, {}", several.len(), several.join(" and "));
                self.faults.add(
                    at,
                    found,
                    "write one in each object: give each its own dash",
                );
                return None;
            }
        }
        if cesql.is_some() {
            self.faults.add(
                at.key("cesql"),
                "is not supported yet by this version",
                format!("{DIALECTS} instead"),
            );
            return None;
        }
        if let Some(attributes) = exact {
            return self.texts(attributes, at.key("exact"), Filter::Exact);
        }
        if let Some(attributes) = prefix {
            return self.texts(attributes, at.key("prefix"), Filter::Prefix);
        }
        if let Some(attributes) = suffix {
            return self.texts(attributes, at.key("suffix"), Filter::Suffix);
        }
        if let Some(filters) = all {
            return self.several(filters, at.key("all"), depth).map(Filter::all);
        }
        if let Some(filters) = any {
            return self.several(filters, at.key("any"), depth).map(Filter::Any);
        }
        let inner = self.dialect(not.as_deref()?, at.key("not"), depth + 1)?;
        Some(Filter::Not(Box::new(inner)))
    }

    fn several(
        &mut self,
        filters: &[written::Filter],
        at: At<'_>,
        depth: usize,
    ) -> Option<Vec<Filter>> {
        if filters.is_empty() {
            self.faults.add(
                at,
                "is an empty list",
                "write at least one filter in it, or remove it",
            );
            return None;
        }
        self.list(filters, at, depth + 1)
    }

    fn texts(
        &mut self,
        attributes: &BTreeMap<String, String>,
        at: At<'_>,
        condition: fn(Attribute, Box<str>) -> Filter,
    ) -> Option<Filter> {
        self.map(attributes, at, |attribute, text| match text {
            "" => Err(
                "write the text to compare with; to ask only that the attribute is present, \
                       use spec.filter.attributes with \"\"",
            ),
            text => Ok(condition(attribute, text.into())),
        })
    }

    fn map(
        &mut self,
        attributes: &BTreeMap<String, String>,
        at: At<'_>,
        condition: impl Fn(Attribute, &str) -> Result<Filter, &'static str>,
    ) -> Option<Filter> {
        if attributes.is_empty() {
            let cure = "write an attribute and its text in it, such as type: com.example.order.placed, or remove it";
            self.faults.add(at, "is an empty map", cure);
            return None;
        }
        self.conditions += attributes.len();
        let mut compiled = Vec::with_capacity(attributes.len());
        for (name, text) in attributes {
            if !is_attribute_name(name) {
                let cure =
                    "an attribute's name is lower-case letters and digits and begins with a letter";
                self.faults
                    .add(at.key(name), "does not name an attribute", cure);
                continue;
            }
            match condition(Attribute::named(name), text) {
                Ok(filter) => compiled.push(filter),
                Err(cure) => self.faults.add(at.key(name), "is an empty text", cure),
            }
        }
        (compiled.len() == attributes.len()).then(|| Filter::all(compiled))
    }
}

/// `^[a-z][a-z0-9]*$` (contract §4; stricter than what an event may carry).
/// Whether a CloudEvent's attribute can have that name.
pub(crate) fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract §6, "Filters".
    #[test]
    fn attribute_names_are_those_of_the_conformance_suite() {
        let valid = [
            "specversion",
            "type",
            "source",
            "subject",
            "id",
            "time",
            "dataschema",
            "datacontenttype",
            "a",
            "abc123",
            "partitionkey",
        ];
        let invalid = [
            "SOURCE",
            "Source",
            "souRce",
            "s pace s",
            "s_pace_s",
            "s-pace-s",
            "1source",
            "42",
            "\u{1f600}",
            "s!",
            "",
        ];
        for name in valid {
            assert!(is_attribute_name(name), "{name}");
        }
        for name in invalid {
            assert!(!is_attribute_name(name), "{name}");
        }
    }
}
