//! Attributes to headers and back, with others put in and taken out; and headers of any kind.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use event::http::{Limits, Out, decode, encode, percent};
use event::{Event, Mode, SpecVersion, name};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Input;
use super::sound::{assert_sound, take, texts};

pub(super) const WORDS: &[&str] = &[
    "ce-id",
    "ce-specversion",
    "ce-source",
    "ce-type",
    "ce-time",
    "content-type",
    "ce-knativebrokerttl",
    "2018-04-05T17:31:00Z",
    "application/cloudevents+json",
    "application/json",
    "1.0",
    "0.3",
    "%",
    "%20",
    "%F0%9F%8C%8E",
    "\"",
    "\\\"",
    "\u{1f30e}",
];

/// Names that mean something, and some that don't.
const NAMES: [&str; 14] = [
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "schemaurl",
    "datacontentencoding",
    "comexample",
    "id",
    "source",
    "knativebrokerttl",
    "wefthops",
    "data",
    "Upper",
    "x1",
];

pub(super) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.once_in(2) {
        raw(&mut input);
    } else {
        built(&mut input);
    }
}

/// An event of these attributes: it comes back from its headers.
fn built(input: &mut Input<'_>) {
    let (id, source, ty) = (input.text(), input.text(), input.text());
    let mut event = Event::build(&id, &source, &ty);
    if input.once_in(3) {
        event = event.spec_version(SpecVersion::V03);
    }
    for _ in 0..input.below(8) {
        let name = attribute_name(input);
        let value = input.text();
        assert_coding(&value);
        event = event.attribute(&name, &value);
    }
    let add: Vec<(String, String)> = (0..input.below(3))
        .map(|_| (input.one_of(&NAMES[..7]).to_owned(), input.text()))
        .collect();
    let remove: Vec<&str> = (0..input.below(3)).map(|_| input.one_of(&NAMES)).collect();
    let Ok(event) = event.data(input.rest()).finish() else {
        return;
    };
    assert_sound(&event);
    assert_changed(&event, &add, &remove);
}

fn attribute_name(input: &mut Input<'_>) -> String {
    match input.once_in(4) {
        true => input.text(),
        false => input.one_of(&NAMES).to_owned(),
    }
}

/// A value is written in visible characters, and read as it was.
fn assert_coding(text: &str) {
    let coded = percent::encode(text);
    assert!(coded.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
    assert_eq!(percent::decode(coded.as_bytes()).as_deref(), Ok(text));
}

/// What leaves with `add` and without `remove` says so, in each mode, and nothing else changes.
fn assert_changed(event: &Event, add: &[(String, String)], remove: &[&str]) {
    let event = event.as_ref();
    // What is no event any more isn't ours to send: the caller adds what is right.
    let wrong = |name: &str, value: &str| match name {
        "time" | "dataschema" | "schemaurl" | "datacontentencoding" => true,
        "datacontenttype" => value.bytes().any(|byte| byte < 0x20 || byte == 0x7f),
        _ => value.bytes().any(|byte| byte < 0x20 || byte == 0x7f),
    };
    if add.iter().any(|(name, value)| wrong(name, value)) {
        return;
    }
    let pairs: Vec<(&str, &str)> = add.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let old = event.spec_version() == SpecVersion::V03;
    let mut expected: BTreeMap<String, String> = texts(&event).into_iter().collect();
    expected.retain(|name, _| {
        let required = matches!(name.as_str(), "specversion" | "id" | "source" | "type");
        required || !remove.contains(&name.as_str())
    });
    expected.extend(add.iter().cloned());
    for out in [Out::AsItCame, Out::Json, Out::Binary] {
        let taken = take(encode(&event, out, &pairs, remove));
        let taken = taken.as_ref();
        let mut found: BTreeMap<String, String> = texts(&taken).into_iter().collect();
        let mut expected = expected.clone();
        if old {
            // It speaks of how the data is written, and goes with the form.
            found.remove("datacontentencoding");
            expected.remove("datacontentencoding");
        }
        assert_eq!(found, expected, "{out:?} with {add:?} without {remove:?}");
    }
}

/// Headers as anybody may send them.
fn raw(input: &mut Input<'_>) {
    let mut headers = HeaderMap::new();
    let good = input.once_in(2);
    if good {
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    for _ in 0..input.below(8) {
        let name = match input.once_in(2) {
            true => format!("ce-{}", attribute_name(input)),
            false => input.text(),
        };
        let value = input.piece();
        if let Ok(text) = percent::decode(value) {
            assert_coding(&text);
        }
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()),
            HeaderValue::from_bytes(value),
        ) {
            headers.append(name, value);
        }
    }
    let body = Bytes::copy_from_slice(input.rest());
    match decode(&headers, body.clone(), &Limits::default()) {
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() < 1024, "{text}");
        }
        Ok(batch) => {
            for event in &batch.events {
                assert_sound(event);
                let event = event.as_ref();
                if event.mode() == Mode::Binary {
                    assert_eq!(event.data_bytes(), &body[..], "data leaves as it came");
                    assert_said(&event, &headers);
                }
            }
        }
    }
}

/// Each header that is an attribute is one of the event's, and the event has no others.
fn assert_said(event: &event::EventRef<'_>, headers: &HeaderMap) {
    let mut count = 0;
    for (header, value) in headers {
        let attribute = match header.as_str() {
            "content-type" => "datacontenttype",
            other => match other.strip_prefix("ce-") {
                Some(name) if !name::is_reserved(name) => name,
                _ => continue,
            },
        };
        count += 1;
        let found = event
            .attribute(attribute)
            .expect("a header is an attribute");
        let expected = match attribute {
            "datacontenttype" => std::str::from_utf8(value.as_bytes())
                .map(str::to_owned)
                .ok(),
            _ => percent::decode(value.as_bytes()).map(Cow::into_owned).ok(),
        };
        assert_eq!(Some(found.text().into_owned()), expected, "{attribute}");
    }
    assert_eq!(event.attributes().count(), count);
}
