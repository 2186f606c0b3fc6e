//! Paths to broker names, remembered, so that a request allocates none.

use std::collections::HashMap;

use triggers::BrokerName;

/// How many paths a worker remembers; when full, all are forgotten and learnt anew.
const NAMES_KEPT_MAX: usize = 1024;

/// A request path that could be a broker's, as its two names.
pub(super) fn split(path: &str) -> Option<(&str, &str)> {
    if path == "/" {
        return Some(("default", "default"));
    }
    let rest = path.strip_prefix('/')?;
    let (namespace, name) = rest.strip_suffix('/').unwrap_or(rest).split_once('/')?;
    (is_name(namespace) && is_name(name)).then_some((namespace, name))
}

/// Kubernetes names: what can't be one needs no look-up, and isn't echoed in messages.
fn is_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (1..=253).contains(&text.len()) && text.bytes().all(legal)
}

/// The names of brokers that exist, by the path that was asked for.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_path: HashMap<Box<str>, BrokerName>,
}

impl Names {
    /// The name that `path` was found to mean before.
    pub(super) fn known(&self, path: &str) -> Option<&BrokerName> {
        self.by_path.get(path)
    }

    /// Remembers a path whose broker exists; others are not kept, so that strangers can't fill
    /// the table.
    pub(super) fn remember(&mut self, path: &str, name: BrokerName) {
        if self.by_path.len() == NAMES_KEPT_MAX {
            self.by_path.clear();
        }
        self.by_path.insert(path.into(), name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_broker_or_nothing() {
        let yes = [
            ("/", ("default", "default")),
            ("/shop/orders", ("shop", "orders")),
            ("/shop/orders/", ("shop", "orders")),
            ("/s-1/o.2", ("s-1", "o.2")),
        ];
        for (path, names) in yes {
            assert_eq!(split(path), Some(names), "{path}");
        }
        let no = [
            "", "//", "/shop", "/shop/", "/a/b/c", "/a/b//", "//b", "/Shop/x", "/a%2fb/c", "*",
        ];
        for path in no {
            assert_eq!(split(path), None, "{path}");
        }
    }
}
