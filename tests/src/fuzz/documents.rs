//! Structured and batch JSON: what we take, a JSON library takes too, and finds the same in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use event::http::{BATCH_JSON, JSON, Limits, decode, encode_batch};
use event::{Batch, Data, DecodeError, Event, Mode, SpecVersion, name};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::value::RawValue;

use super::Input;
use super::sound::{assert_same, assert_sound, assert_stored_is_judged};

pub(super) const WORDS: &[&str] = &[
    "\"specversion\":\"1.0\",",
    "\"specversion\":\"0.3\",",
    "\"id\":\"1\",",
    "\"source\":\"/s\",",
    "\"type\":\"t\",",
    "\"datacontenttype\":\"text/plain\",",
    "\"datacontenttype\":\"application/cloudevents+json\",",
    "\"datacontentencoding\":\"base64\",",
    "\"data\":",
    "\"data_base64\":\"aGk=\"",
    "\"knativebrokerttl\":\"5\",",
    "\"wefthops\":1,",
    "null",
    "-2147483648",
    "\\ud83c\\udf0e",
    "\\u0064",
    "{}",
    "[]",
    ",",
];

type Members<'a> = BTreeMap<String, &'a RawValue>;

pub(super) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let form = input.below(4);
    let body = input.rest();
    match form {
        0 => structured(body),
        1 => batch(body),
        2 => assert_stored_is_judged(body),
        _ => as_data(body),
    }
}

fn take(media_type: &'static str, body: &[u8]) -> Result<Batch, DecodeError> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))]);
    decode(&headers, Bytes::copy_from_slice(body), &Limits::default())
}

fn structured(body: &[u8]) {
    let taken = take(JSON, body);
    let Ok(text) = std::str::from_utf8(body) else {
        assert!(matches!(taken, Err(DecodeError::JsonNotUtf8 { .. })));
        return;
    };
    let members: Result<Members<'_>, _> = serde_json::from_str(text);
    match taken {
        Err(DecodeError::Json { at, .. }) => {
            assert!(at <= body.len());
            assert!(members.is_err(), "refused though it is JSON: {text}");
        }
        Err(DecodeError::TooDeep { at, .. }) => assert!(at <= body.len()),
        Err(error) => {
            let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
            assert!(is_json, "{error}, and yet no JSON: {text}");
            assert!(!error.to_string().is_empty());
        }
        Ok(batch) => {
            let [event] = &batch.events[..] else {
                panic!("one document is one event");
            };
            let members = members.unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_says(event, &members);
            assert_sound(event);
            if !members.keys().any(|name| name::is_reserved(name)) {
                assert_eq!(event.as_ref().document(), Some(body));
            }
        }
    }
}

/// Asserts that the event says what the library finds in its document.
fn assert_says(event: &Event, members: &Members<'_>) {
    let event = event.as_ref();
    assert_eq!(event.mode(), Mode::Structured);
    let is_attribute = |name: &str, value: &RawValue| {
        !matches!(name, "data" | "data_base64") && !name::is_reserved(name) && value.get() != "null"
    };
    let mut count = 0;
    for (name, value) in members {
        if !is_attribute(name, value) {
            continue;
        }
        count += 1;
        let expected = match serde_json::from_str(value.get()).expect("a member is JSON") {
            serde_json::Value::String(text) => text,
            serde_json::Value::Bool(value) => value.to_string(),
            serde_json::Value::Number(_) => {
                let number: i32 = value.get().parse().expect("an integer of 32 bits");
                number.to_string()
            }
            other => panic!("{name} was taken as {other}"),
        };
        let found = event.attribute(name).expect("a member is an attribute");
        assert_eq!(found.text(), expected, "{name}");
    }
    assert_eq!(event.attributes().count(), count);
    let text =
        |name: &str| -> Option<String> { serde_json::from_str(members.get(name)?.get()).ok() };
    let base64 = members.get("data_base64").filter(|v| v.get() != "null");
    match event.data() {
        Data::None => assert!(base64.is_none() && !members.contains_key("data")),
        Data::Json(json) => assert_eq!(json, members["data"].get().as_bytes()),
        Data::Base64(coded) => {
            let name = match event.spec_version() {
                SpecVersion::V03 => "data",
                SpecVersion::V10 => "data_base64",
            };
            assert_eq!(Some(coded), text(name).as_deref());
            let padding = coded.bytes().rev().take_while(|byte| *byte == b'=').count();
            assert_eq!(event.data_bytes().len(), coded.len() / 4 * 3 - padding);
        }
        Data::Bytes(_) => panic!("a document has no bytes of its own"),
    }
}

fn batch(body: &[u8]) {
    let limits = Limits::default();
    let taken = take(BATCH_JSON, body);
    let elements: Option<Vec<&RawValue>> = std::str::from_utf8(body)
        .ok()
        .and_then(|text| serde_json::from_str(text).ok());
    let alone: Option<Vec<Event>> = elements.and_then(|elements| {
        let each = elements.iter().map(|element| {
            let mut batch = take(JSON, element.get().as_bytes()).ok()?;
            batch.events.pop()
        });
        each.collect()
    });
    let alone = alone.filter(|events| events.len() <= limits.batch_events_max);
    let together = taken.map(|batch| batch.events).ok();
    assert_eq!(together, alone, "a batch is its events");
    let Some(events) = together else { return };
    for event in &events {
        assert_sound(event);
    }
    let views: Vec<_> = events.iter().map(Event::as_ref).collect();
    let message = encode_batch(&views);
    let again = decode(&message.headers, message.body, &limits).expect("we take what we send");
    let stored = |events: &[Event]| -> Vec<Bytes> {
        events.iter().map(|event| event.stored().clone()).collect()
    };
    assert_eq!(stored(&again.events), stored(&events));
}

/// Any bytes are data: they leave as JSON and come back as they were.
fn as_data(body: &[u8]) {
    let mut input = Input::new(body);
    let types = [
        "application/json",
        "application/x+json; charset=latin1",
        "text/plain",
        "application/cloudevents+json",
        "a",
    ];
    let (media_type, typed) = (input.one_of(&types), input.once_in(2));
    let old = input.once_in(3);
    let mut event = Event::build("1", "/s", "t");
    if typed {
        event = event.datacontenttype(media_type);
    }
    if old {
        event = event.spec_version(SpecVersion::V03);
    }
    let event = event.data(input.rest()).finish().expect("any data is good");
    assert_sound(&event);
    let shared = Event::from_stored(event.stored().clone()).expect("it was stored");
    assert_same(&event.as_ref(), &shared.as_ref());
}
