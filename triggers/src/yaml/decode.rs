//! Trees to types, by serde, with all mistakes of a document at once.
//!
//! Serde stops at the first mistake. So a mistake is noted with its path, struck out of the
//! tree, and decoding begins anew, until nothing is wrong; since every field may be missing,
//! striking one never makes another wrong.

use std::fmt;

use serde::Deserialize;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Visitor};

use super::nearest::nearest;
use super::node::{Key, Node, Value, is_null};
use crate::problem::{Fault, Step};

/// The most mistakes reported of one document. Fixing these shows the next ones.
const FAULTS_MAX: usize = 50;

/// A decoding mistake and where its document has it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) fault: Fault,
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// The path that the author probably meant, so that "it is missing" isn't said as well.
    pub(crate) meant: Vec<Step>,
}

/// Decodes `root`, which loses what is wrong with it. `None` when not even its shape is right.
pub(crate) fn decode<T: DeserializeOwned>(root: &mut Node, found: &mut Vec<Found>) -> Option<T> {
    for _ in 0..FAULTS_MAX {
        match T::deserialize(&*root) {
            Ok(value) => return Some(value),
            Err(mut error) => {
                error.steps.reverse();
                let (line, column) = root.locate(&error.steps, error.at_key);
                root.strike(&error.steps);
                let at_root = error.steps.is_empty();
                let mut meant = error.steps.clone();
                if let (Some(name), Some(last)) = (error.meant, meant.last_mut()) {
                    *last = Step::Key(name);
                }
                // What follows a struck item of a list has other numbers in the decoded list.
                if let Some(Step::Index(_)) = meant.last() {
                    meant.pop();
                }
                let fault = Fault {
                    steps: error.steps,
                    found: error.found,
                    cure: error.cure,
                };
                found.push(Found {
                    fault,
                    line,
                    column,
                    meant,
                });
                if at_root {
                    return None;
                }
            }
        }
    }
    None
}

/// Why decoding stopped. Steps are innermost first while the error travels outwards.
#[derive(Debug)]
pub(crate) struct Error {
    steps: Vec<Step>,
    at_key: bool,
    found: String,
    cure: String,
    meant: Option<String>,
}

impl Error {
    fn new(found: impl Into<String>, cure: impl Into<String>) -> Error {
        Error {
            steps: Vec::new(),
            at_key: false,
            found: found.into(),
            cure: cure.into(),
            meant: None,
        }
    }

    fn under(mut self, step: Step) -> Error {
        self.steps.push(step);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.found, self.cure)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Error {
        Error::new(message.to_string(), "")
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Error {
        let found = match found {
            de::Unexpected::Seq => "a list".to_owned(),
            de::Unexpected::Map => "a map of fields".to_owned(),
            de::Unexpected::Signed(number) => format!("the number {number}"),
            de::Unexpected::Float(number) => format!("the number {number}"),
            other => other.to_string(),
        };
        Error::new(format!("is {found}"), format!("it must be {expected}"))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Error {
        let mut error = match crate::written::misplaced(field, expected) {
            Some((found, cure)) => {
                let mut error = Error::new(found, cure);
                // An address by reference isn't a missing address as well.
                error.meant = (field == "ref").then(|| "uri".to_owned());
                error
            }
            None => match nearest(field, expected) {
                Some(meant) => {
                    let mut error =
                        Error::new("is not a known field", format!("did you mean {meant}?"));
                    error.meant = Some(meant.to_owned());
                    error
                }
                None => Error::new("is not a known field", alternatives(expected)),
            },
        };
        error.at_key = true;
        error
    }
}

fn alternatives(expected: &[&str]) -> String {
    match expected {
        [] => "nothing is expected here".to_owned(),
        [one] => format!("the only field here is {one}"),
        [most @ .., last] => format!("the fields here are {} and {last}", most.join(", ")),
    }
}

/// What a reader recognises a value by.
fn describe(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, plain: true } if is_null(text) => "empty".to_owned(),
        Value::Scalar { text, plain: true } => match scalar(text) {
            Plain::Text => format!("{text:?}"),
            Plain::Bool(_) => text.clone(),
            _ => format!("the number {text}"),
        },
        Value::Scalar { text, .. } => format!("{text:?}"),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map of fields".to_owned(),
        Value::Struck => "empty".to_owned(),
    }
}

/// What a plain scalar stands for (YAML 1.2 §10.3.2).
enum Plain {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text,
}

fn scalar(text: &str) -> Plain {
    if is_null(text) {
        return Plain::Null;
    }
    match text {
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return Plain::Text;
    }
    if let Ok(integer) = text.parse() {
        return Plain::Integer(integer);
    }
    match text.parse::<f64>() {
        Ok(float) if text.contains(|c: char| c.is_ascii_digit()) => Plain::Float(float),
        _ => Plain::Text,
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Scalar { text, plain: true } => match scalar(text) {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Integer(value) => visitor.visit_i64(value),
                Plain::Float(value) => visitor.visit_f64(value),
                Plain::Text => visitor.visit_borrowed_str(text),
            },
            Value::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
            Value::Struck => visitor.visit_unit(),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Scalar { text, plain } => match (plain, scalar(text)) {
                (false, _) | (true, Plain::Text) => visitor.visit_borrowed_str(text),
                (true, Plain::Null) => Err(Error::new(
                    "is empty",
                    "write a text here, or remove the field",
                )),
                _ => Err(Error::new(
                    format!("is {}", describe(self)),
                    format!("it must be a text: write \"{text}\" with quotes"),
                )),
            },
            _ => Err(Error::new(
                format!("is {}", describe(self)),
                "it must be a text",
            )),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let found = || format!("is {}", describe(self));
        match &self.value {
            Value::Scalar { text, plain: true } => match scalar(text) {
                Plain::Integer(value) => visitor.visit_i64(value),
                _ => Err(Error::new(found(), "it must be a whole number")),
            },
            Value::Scalar { text, .. } if text.parse::<i64>().is_ok() => Err(Error::new(
                found(),
                format!("it must be a number: write {text} without quotes"),
            )),
            _ => Err(Error::new(found(), "it must be a whole number")),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let found = || format!("is {}", describe(self));
        match &self.value {
            Value::Scalar { text, plain: true } => match scalar(text) {
                Plain::Integer(value) => visitor.visit_i64(value),
                Plain::Float(value) => visitor.visit_f64(value),
                _ => Err(Error::new(found(), "it must be a number")),
            },
            Value::Scalar { text, .. } if text.parse::<f64>().is_ok() => Err(Error::new(
                found(),
                format!("it must be a number: write {text} without quotes"),
            )),
            _ => Err(Error::new(found(), "it must be a number")),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Scalar { text, plain: true } => match scalar(text) {
                Plain::Bool(value) => visitor.visit_bool(value),
                _ => Err(Error::new(
                    format!("is {}", describe(self)),
                    "write true or false",
                )),
            },
            _ => Err(Error::new(
                format!("is {}", describe(self)),
                "write true or false, without quotes",
            )),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Struck => visitor.visit_none(),
            _ if self.is_null() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            _ if self.is_null() => Err(Error::new(
                "is empty",
                "write its items under it, each after a dash, or remove it",
            )),
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
            }),
            _ => Err(Error::new(
                format!("is {}", describe(self)),
                "it must be a list: begin each item with a dash",
            )),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            _ if self.is_null() => Err(Error::new(
                "is empty",
                "write its fields under it, or remove it",
            )),
            Value::Map(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                current: None,
            }),
            _ => Err(Error::new(
                format!("is {}", describe(self)),
                "it must be a map of fields",
            )),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.text() {
            Some(uri) if name == "Destination" => Err(Error::new(
                format!("is {}", describe(self)),
                format!("write {{uri: {uri}}}"),
            )),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf
        unit unit_struct tuple tuple_struct enum identifier
    }
}

struct Items<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let next = self
            .items
            .find(|(_, item)| !matches!(item.value, Value::Struck));
        next.map(|(index, item)| {
            seed.deserialize(item)
                .map_err(|error| error.under(Step::Index(index)))
        })
        .transpose()
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, (Key, Node)>,
    current: Option<&'de (Key, Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.current = self.entries.next();
        self.current
            .map(|(key, _)| {
                seed.deserialize(BorrowedStrDeserializer::new(&key.text))
                    .map_err(|error: Error| error.under(Step::Key(key.text.clone())))
            })
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = self
            .current
            .take()
            .ok_or_else(|| Error::new("has no value", ""))?;
        seed.deserialize(value)
            .map_err(|error| error.under(Step::Key(key.text.clone())))
    }
}

/// A quantity or duration as written: text, or a number whose digits are the text. What it
/// must look like is told when it is read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct TextOrNumber(pub String);

impl<'de> Deserialize<'de> for TextOrNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = TextOrNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a whole number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TextOrNumber, E> {
                Ok(TextOrNumber(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<TextOrNumber, E> {
                Ok(TextOrNumber(number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<TextOrNumber, E> {
                Ok(TextOrNumber(number.to_string()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A number with a fraction, as written. Two are equal when their bits are.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct Decimal(pub f64);

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Decimal {}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Decimal)
    }
}
