//! An event as a test writes it and as a function got it, in either mode.
//!
//! Written from the CloudEvents HTTP and JSON bindings without the crate under test, so that a mistake of it
//! can't hide in ours.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tests::http::Message;

/// Headers and a body.
pub(crate) type Request = (Vec<(String, String)>, Vec<u8>);

/// An event: its attributes as canonical text, and its data as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ce {
    /// Without `datacontenttype`'s header form; with `specversion`.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The bytes; none where there are none.
    pub(crate) data: Vec<u8>,
}

impl Ce {
    /// With the required attributes and a small JSON body.
    pub(crate) fn new(id: &str, ty: &str, source: &str) -> Ce {
        let attributes = [
            ("specversion", "1.0"),
            ("id", id),
            ("type", ty),
            ("source", source),
            ("datacontenttype", "application/json"),
        ];
        Ce {
            attributes: attributes
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            data: format!("{{\"msg\": \"{id}\"}}").into_bytes(),
        }
    }

    /// With another attribute, or another value of one.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Ce {
        self.attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Without an attribute.
    pub(crate) fn without(mut self, name: &str) -> Ce {
        self.attributes.remove(name);
        self
    }

    /// With other data.
    pub(crate) fn data(mut self, content_type: &str, data: impl Into<Vec<u8>>) -> Ce {
        self.data = data.into();
        self.with("datacontenttype", content_type)
    }

    /// An attribute, empty when it is absent.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// In binary mode.
    pub(crate) fn binary(&self) -> Request {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.attributes {
            match name.as_str() {
                "datacontenttype" => headers.push(("content-type".to_owned(), value.clone())),
                name => headers.push((format!("ce-{name}"), encoded(value))),
            }
        }
        (headers, self.data.clone())
    }

    /// In structured mode: data as JSON where its type says so, as base64 elsewhere.
    pub(crate) fn structured(&self) -> Request {
        let attributes = self.attributes.iter();
        let mut members: Vec<String> = attributes
            .map(|(name, value)| format!("\"{name}\":{}", Value::from(value.as_str())))
            .collect();
        let json = self.get("datacontenttype").contains("json");
        match (self.data.is_empty(), json) {
            (true, _) => {}
            (false, true) => {
                members.push(format!("\"data\":{}", String::from_utf8_lossy(&self.data)));
            }
            (false, false) => {
                members.push(format!(
                    "\"data_base64\":\"{}\"",
                    STANDARD.encode(&self.data)
                ));
            }
        }
        let document = format!("{{{}}}", members.join(","));
        let headers = vec![(
            "content-type".to_owned(),
            "application/cloudevents+json".to_owned(),
        )];
        (headers, document.into_bytes())
    }

    /// Whether a message is in structured mode.
    pub(crate) fn is_structured(message: &Message) -> bool {
        message
            .header("content-type")
            .starts_with("application/cloudevents+json")
    }

    /// What a message holds.
    ///
    /// # Errors
    ///
    /// It isn't an event, and why.
    pub(crate) fn read(message: &Message) -> Result<Ce, String> {
        match Ce::is_structured(message) {
            true => read_structured(&message.body),
            false => read_binary(message),
        }
    }
}

fn read_binary(message: &Message) -> Result<Ce, String> {
    let mut attributes = BTreeMap::new();
    for (name, value) in &message.headers {
        let name = match name.as_str() {
            "content-type" => "datacontenttype",
            name => match name.strip_prefix("ce-") {
                Some(name) => name,
                None => continue,
            },
        };
        if attributes
            .insert(name.to_owned(), decoded(value)?)
            .is_some()
        {
            return Err(format!("{name} came twice"));
        }
    }
    for name in ["specversion", "id", "type", "source"] {
        if !attributes.contains_key(name) {
            return Err(format!("{name} is missing in {:?}", message.headers));
        }
    }
    Ok(Ce {
        attributes,
        data: message.body.clone(),
    })
}

fn read_structured(body: &[u8]) -> Result<Ce, String> {
    let members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let whole: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let json = whole
        .get("datacontenttype")
        .and_then(Value::as_str)
        .is_none_or(|media| media.contains("json"));
    let mut event = Ce {
        attributes: BTreeMap::new(),
        data: Vec::new(),
    };
    for (name, value) in &whole {
        match (name.as_str(), value) {
            ("data", Value::String(text)) if !json => event.data = text.clone().into_bytes(),
            ("data", _) => event.data = members[name].get().as_bytes().to_vec(),
            ("data_base64", Value::String(text)) => {
                event.data = STANDARD.decode(text).map_err(|error| error.to_string())?;
            }
            (_, Value::Null) => {}
            (_, Value::String(text)) => {
                event.attributes.insert(name.clone(), text.clone());
            }
            (_, other) => {
                event.attributes.insert(name.clone(), other.to_string());
            }
        }
    }
    Ok(event)
}

/// As the HTTP binding encodes a header's value (§3.1.3.2).
pub(crate) fn encoded(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => text += &format!("%{byte:02X}"),
            0x21..=0x7e => text.push(char::from(byte)),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

/// And as it decodes it.
fn decoded(value: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = (byte == b'%').then(|| after.get(..2)).flatten();
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("{value:?} decodes to no UTF-8"))
}
