//! A node of a YAML document: a value that knows where it stands.

use crate::problem::Step;

/// A value and where it stands. Lines and columns count from 1.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text as written. `plain` text, without quotes, may be a number, a boolean or null.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// Was here, was wrong, has been reported: decoding goes on as if it had not been written.
    Struck,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Node {
    /// Whether nothing is written here: `key:`, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if is_null(text))
    }

    /// The value of a field of this map.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// This scalar's text, unless it is null.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// The number of nodes under and with this one, and how deep they nest.
    pub(super) fn extent(&self) -> (usize, usize) {
        let sum = |children: &mut dyn Iterator<Item = &Node>| {
            children.fold((1, 1), |(nodes, depth), child| {
                let (n, d) = child.extent();
                (nodes + n, depth.max(d + 1))
            })
        };
        match &self.value {
            Value::Scalar { .. } | Value::Struck => (1, 0),
            Value::List(items) => sum(&mut items.iter()),
            Value::Map(entries) => sum(&mut entries.iter().map(|(_, value)| value)),
        }
    }

    /// The line and column to show for a field: a scalar's own, else its key's; of a field
    /// that isn't there, the nearest map that should hold it.
    pub(crate) fn locate(&self, steps: &[Step], at_key: bool) -> (u32, u32) {
        let mut node = self;
        let mut place = (self.line, self.column);
        for step in steps {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Map(entries)) => {
                    entries.iter().find(|(k, _)| k.text == *key).map(|(k, v)| {
                        place = (k.line, k.column);
                        v
                    })
                }
                (Step::Index(index), Value::List(items)) => items.get(*index).inspect(|item| {
                    place = (item.line, item.column);
                }),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return place,
            }
        }
        match &node.value {
            Value::Scalar { .. } if !at_key && !node.is_null() => (node.line, node.column),
            _ => place,
        }
    }

    /// Takes out what stands at `steps`. An item of a list leaves a gap, so that the items
    /// after it keep their numbers.
    pub(crate) fn strike(&mut self, steps: &[Step]) {
        let Some((last, before)) = steps.split_last() else {
            self.value = Value::Struck;
            return;
        };
        let mut node = self;
        for step in before {
            let next = match (step, &mut node.value) {
                (Step::Key(key), Value::Map(entries)) => entries
                    .iter_mut()
                    .find(|(k, _)| k.text == *key)
                    .map(|(_, v)| v),
                (Step::Index(index), Value::List(items)) => items.get_mut(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return,
            }
        }
        match (last, &mut node.value) {
            (Step::Key(key), Value::Map(entries)) => entries.retain(|(k, _)| k.text != *key),
            (Step::Index(index), Value::List(items)) => {
                if let Some(item) = items.get_mut(*index) {
                    item.value = Value::Struck;
                }
            }
            _ => {}
        }
    }
}

/// YAML's core schema (1.2 §10.3.2).
pub(crate) fn is_null(plain: &str) -> bool {
    matches!(plain, "" | "~" | "null" | "Null" | "NULL")
}
