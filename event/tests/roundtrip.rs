//! Bytes are kept: for every mode an event can come in, every mode it can leave in and every
//! attribute added or taken, its data and the attributes that nobody touched are what they were.
//!
//! Inputs are made of what usually breaks: numbers no float holds, escapes, names that look like
//! attributes inside the data, characters beyond the BMP, odd white space. The documents are
//! judged by the text they were put together from, not by another parser.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use event::http::{self, Encoded, Limits, Out};
use event::{Data, Event, EventRef, Mode, Value};
use proptest::prelude::*;

/// An event as a test knows it: the text each attribute stands for, and the data.
#[derive(Clone, Debug)]
struct Plan {
    attributes: Vec<Written>,
    data: Payload,
    old: bool,
    spaces: Vec<&'static str>,
}

/// An attribute: its name, the text it stands for, and the JSON it is written as.
#[derive(Clone, Debug)]
struct Written {
    name: String,
    text: String,
    json: String,
}

/// A member of the document: white space, `"name" : `, its value, white space.
struct Piece {
    lead: &'static str,
    name: String,
    name_part: String,
    json: String,
    trail: &'static str,
}

#[derive(Clone, Debug)]
enum Payload {
    None,
    /// Raw JSON, with the media type of the event.
    Json(String, Option<&'static str>),
    /// Any bytes, under a type that is no JSON.
    Bytes(Vec<u8>),
}

impl Payload {
    fn media_type(&self) -> Option<&'static str> {
        match self {
            Payload::None => None,
            Payload::Json(_, media_type) => *media_type,
            Payload::Bytes(_) => Some("application/octet-stream"),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Payload::None => &[],
            Payload::Json(text, _) => text.as_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }
}

const SPACES: [&str; 5] = ["", "", " ", "\n  ", "\t\r\n "];

/// Raw JSON values, most of which no common model of values survives.
fn json_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1e400".to_owned()),
        Just("-0".to_owned()),
        Just("1.0".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        Just("0.1000000000000000055511151231257827".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just(r#""\ud800 \u0000 \/ \u00e9 é""#.to_owned()),
        Just("\"\u{1f30e}\\ud83c\\udf0e\"".to_owned()),
        "[a-z \u{e9}\u{1f600}]{0,12}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        // Names that are attributes elsewhere, given twice and with escapes.
        let name = prop::sample::select(vec![
            "id",
            "i\\u0064",
            "data",
            "source",
            "knativearrivaltime",
            "a",
            "",
        ]);
        let space = prop::sample::select(SPACES.to_vec());
        prop_oneof![
            (
                prop::collection::vec((name, inner.clone()), 0..4),
                space.clone()
            )
                .prop_map(|(members, space)| {
                    let members: Vec<String> = members
                        .iter()
                        .map(|(name, value)| format!("{space}\"{name}\":{space}{value}"))
                        .collect();
                    format!("{{{}{space}}}", members.join(","))
                }),
            (prop::collection::vec(inner, 0..4), space).prop_map(|(values, space)| format!(
                "[{space}{}]",
                values.join(&format!("{space},"))
            )),
        ]
    })
}

/// Text and one of the ways to write it in JSON.
fn text(pattern: &'static str) -> impl Strategy<Value = (String, String)> {
    (pattern, 0..3_u8).prop_map(|(text, how)| {
        let mut json = String::from("\"");
        for character in text.chars() {
            match (how, character) {
                (0, '"' | '\\') => json.extend(['\\', character]),
                (1, '/') => json.push_str("\\/"),
                (0 | 1, other) if other >= ' ' && other != '"' && other != '\\' => json.push(other),
                _ => {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        json.push_str(&format!("\\u{unit:04X}"));
                    }
                }
            }
        }
        json.push('"');
        (text, json)
    })
}

fn extension() -> impl Strategy<Value = Written> {
    // `x` in front keeps them apart from the attributes of the specification.
    let value = prop_oneof![
        4 => text("[ -~]{0,12}"),
        2 => text("[a-z%\"\\\\/ \n\u{e9}\u{20ac}\u{1f30e}]{0,12}"),
        1 => any::<i32>().prop_map(|number| (number.to_string(), number.to_string())),
        1 => any::<bool>().prop_map(|truth| (truth.to_string(), truth.to_string())),
    ];
    ("x[a-z0-9]{0,6}", value).prop_map(|(name, (text, json))| Written { name, text, json })
}

fn plan() -> impl Strategy<Value = Plan> {
    let media_type = prop::sample::select(vec![
        None,
        Some("application/json"),
        Some("application/vnd.x+json; charset=utf-8"),
    ]);
    let data = prop_oneof![
        1 => Just(Payload::None),
        5 => (json_value(), media_type).prop_map(|(text, media_type)| Payload::Json(text, media_type)),
        2 => prop::collection::vec(any::<u8>(), 1..40).prop_map(Payload::Bytes),
    ];
    let required = (
        text("[ -~\u{e9}\u{1f30e}]{1,12}"),
        text("/[a-z\u{e9}\u{1f30e}%?]{0,12}"),
        text("[a-z.%\"]{1,12}"),
    );
    let time = prop::option::of(prop::sample::select(vec![
        "2018-04-05T17:31:00Z",
        "1990-12-31t23:59:60.000100+05:45",
    ]));
    (
        required,
        time,
        prop::collection::vec(extension(), 0..6),
        data,
        any::<bool>(),
        prop::collection::vec(prop::sample::select(SPACES.to_vec()), 8),
        any::<prop::sample::Index>(),
    )
        .prop_map(
            |((id, source, ty), time, extensions, data, old, spaces, turn)| {
                let version = if old { "0.3" } else { "1.0" };
                let plain = |text: &str| (text.to_owned(), format!("\"{text}\""));
                let mut attributes = Vec::new();
                let mut push = |name: &str, (text, json): (String, String)| {
                    attributes.push(Written {
                        name: name.to_owned(),
                        text,
                        json,
                    });
                };
                push("specversion", plain(version));
                push("id", id);
                push("source", source);
                push("type", ty);
                if let Some(time) = time {
                    push("time", plain(time));
                }
                if let Some(media_type) = data.media_type() {
                    push("datacontenttype", plain(media_type));
                }
                for extension in extensions {
                    if attributes.iter().all(|other| other.name != extension.name) {
                        attributes.push(extension);
                    }
                }
                let turn = turn.index(attributes.len());
                attributes.rotate_left(turn);
                Plan {
                    attributes,
                    data,
                    old,
                    spaces,
                }
            },
        )
}

impl Plan {
    fn value(&self, name: &str) -> Option<&Written> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }

    fn binary(&self) -> Event {
        let mut headers = HeaderMap::new();
        for Written { name, text, .. } in &self.attributes {
            let (name, value) = match name.as_str() {
                "datacontenttype" => ("content-type".to_owned(), text.clone()),
                name => (
                    format!("ce-{name}"),
                    http::percent::encode(text).into_owned(),
                ),
            };
            headers.insert(
                HeaderName::try_from(name).unwrap(),
                HeaderValue::try_from(value).unwrap(),
            );
        }
        decode(&headers, Bytes::copy_from_slice(self.data.bytes()))
    }

    /// The members of the document in their order, the data among the attributes.
    fn members(&self) -> Vec<Piece> {
        let base64 = |bytes: &[u8]| {
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
        };
        let written = self.attributes.iter();
        let mut members: Vec<(String, String)> = written
            .map(|written| (written.name.clone(), written.json.clone()))
            .collect();
        let middle = members.len() / 2;
        let mut push = |name: &str, json: String| members.insert(middle, (name.to_owned(), json));
        match &self.data {
            Payload::None => {}
            Payload::Json(text, _) => push("data", text.clone()),
            Payload::Bytes(bytes) if self.old => {
                push("datacontentencoding", "\"base64\"".to_owned());
                push("data", format!("\"{}\"", base64(bytes)));
            }
            Payload::Bytes(bytes) => {
                push(
                    "data_base64",
                    format!("\"{}\"", base64(bytes).replace('/', "\\/")),
                );
            }
        }
        members.push(("xnull".to_owned(), "null".to_owned()));
        let space = |at: usize| self.spaces[at % self.spaces.len()];
        let piece = |(at, (name, json)): (usize, (String, String))| Piece {
            lead: space(at),
            name_part: format!("\"{name}\"{}:{}", space(at + 1), space(at + 2)),
            name,
            json,
            trail: space(at + 3),
        };
        members.into_iter().enumerate().map(piece).collect()
    }

    fn document(&self) -> String {
        self.changed_document(&[], &[])
    }

    /// The document as it must be after a change, put together from its pieces.
    fn changed_document(&self, add: &[(&str, &str)], remove: &[&str]) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\\\"").replace('\n', "\\n"));
        let pieces = self.members();
        let mut text = format!("{}{{", self.spaces[5]);
        for (name, value) in add
            .iter()
            .filter(|(name, _)| pieces.iter().all(|piece| piece.name != *name))
        {
            text += &format!("\"{name}\":{},", quoted(value));
        }
        text += pieces[0].lead;
        let mut first = true;
        for (at, piece) in pieces.iter().enumerate() {
            let new = add.iter().find(|(name, _)| *name == piece.name);
            if new.is_none() && remove.contains(&&*piece.name) && piece.name != "id" {
                continue;
            }
            if !first {
                text += &format!("{},{}", pieces[at - 1].trail, piece.lead);
            }
            first = false;
            let json = new.map_or(piece.json.clone(), |(_, value)| quoted(value));
            text += &format!("{}{json}", piece.name_part);
        }
        format!(
            "{text}{}}}{}",
            pieces[pieces.len() - 1].trail,
            self.spaces[6]
        )
    }

    fn structured(&self) -> Event {
        let headers = HeaderMap::from_iter([(
            ::http::header::CONTENT_TYPE,
            HeaderValue::from_static(http::JSON),
        )]);
        decode(&headers, Bytes::from(self.document()))
    }

    /// Inside a batch, among others and odd white space.
    fn batched(&self) -> Event {
        let other = r#"{"specversion":"1.0","id":"other","source":"/o","type":"o"}"#;
        let body = format!(" [ {other}\n,{} ,{other}]\n", self.document().trim());
        let headers = HeaderMap::from_iter([(
            ::http::header::CONTENT_TYPE,
            HeaderValue::from_static(http::BATCH_JSON),
        )]);
        let batch = http::decode(&headers, Bytes::from(body), &Limits::default()).unwrap();
        assert_eq!(batch.events.len(), 3);
        assert_eq!(
            batch.events[1].as_ref().document().unwrap(),
            self.document().trim().as_bytes()
        );
        batch.events[1].clone()
    }
}

fn decode(headers: &HeaderMap, body: Bytes) -> Event {
    let batch = http::decode(headers, body, &Limits::default()).unwrap();
    batch.events.into_iter().next().unwrap()
}

/// What holds of any form of the plan's event but for the attributes in `changed`.
fn check(plan: &Plan, event: &EventRef<'_>, changed: &[&str]) {
    for Written { name, text, .. } in &plan.attributes {
        if !changed.contains(&name.as_str()) {
            let found = event.attribute(name).map(|value| value.text().into_owned());
            assert_eq!(found.as_deref(), Some(text.as_str()), "attribute {name}");
        }
    }
    // Where the form itself gives the data a type or a coding, nothing else may have come in.
    for (name, _) in event.attributes() {
        let of_the_form = matches!(name, "datacontenttype" | "datacontentencoding");
        assert!(
            plan.value(name).is_some() || changed.contains(&name) || of_the_form,
            "{name} came from nowhere"
        );
    }
    match (&plan.data, event.data()) {
        (Payload::None, data) => assert_eq!(data, Data::None),
        (Payload::Json(text, _), Data::Json(found)) => assert_eq!(found, text.as_bytes()),
        (payload, _) => assert_eq!(&*event.data_bytes(), payload.bytes()),
    }
}

/// Sends the event out and takes it in again, as a peer would.
fn through(
    event: &EventRef<'_>,
    out: Out,
    add: &[(&str, &str)],
    remove: &[&str],
) -> (Encoded, Event) {
    let encoded = http::encode(event, out, add, remove);
    let back = decode(&encoded.headers, encoded.body.clone());
    (encoded, back)
}

type Additions = Vec<(String, String)>;

/// Attributes that a broker adds or takes, against those the event has.
fn changes(plan: &Plan) -> Vec<(Additions, Vec<String>)> {
    let mine = plan.attributes.iter().map(|written| written.name.clone());
    let extensions: Vec<String> = mine.filter(|name| name.starts_with('x')).collect();
    let mut changes = vec![
        (vec![], vec![]),
        (
            vec![(
                "knativearrivaltime".to_owned(),
                "2026-01-01T00:00:00Z".to_owned(),
            )],
            vec![],
        ),
        (
            vec![("xnull".to_owned(), "no \"longer\" \u{1f30e}".to_owned())],
            vec![],
        ),
        (vec![], vec!["absent".to_owned(), "id".to_owned()]),
        (vec![], extensions.clone()),
        (vec![], vec!["time".to_owned()]),
    ];
    if let Some(name) = extensions.first() {
        changes.push((
            vec![(name.clone(), "100% new\n".to_owned())],
            vec![name.clone()],
        ));
        changes.push((
            vec![("knativeerrorcode".to_owned(), "500".to_owned())],
            vec![name.clone()],
        ));
    }
    changes
}

fn round(plan: &Plan, event: &Event) {
    let event = event.as_ref();
    check(plan, &event, &[]);
    for out in [Out::AsItCame, Out::Json, Out::Binary] {
        for (add, remove) in changes(plan) {
            let add: Vec<(&str, &str)> = add
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let remove: Vec<&str> = remove.iter().map(String::as_str).collect();
            let (encoded, back) = through(&event, out, &add, &remove);
            let back = back.as_ref();
            let changed: Vec<&str> = add
                .iter()
                .map(|(name, _)| *name)
                .chain(remove.iter().copied())
                .collect();
            let changed: Vec<&str> = changed.into_iter().filter(|name| *name != "id").collect();
            check(plan, &back, &changed);
            for (name, value) in &add {
                assert_eq!(
                    back.attribute(name)
                        .map(|value| value.text().into_owned())
                        .as_deref(),
                    Some(*value)
                );
            }
            for name in &remove {
                let stays = *name == "id" || add.iter().any(|(added, _)| added == name);
                assert_eq!(back.attribute(name).is_some(), stays, "{name}");
            }
            assert_eq!(back.spec_version(), event.spec_version());
            let expected = match out {
                Out::AsItCame => event.mode(),
                Out::Json => Mode::Structured,
                Out::Binary => Mode::Binary,
            };
            assert_eq!(back.mode(), expected);
            if event.document().is_some() && back.document().is_some() {
                let expected = plan.changed_document(&add, &remove);
                let found = std::str::from_utf8(&encoded.body).unwrap();
                // A batch holds the document without the white space around it.
                assert_eq!(found.trim(), expected.trim());
            }
        }
    }
}

fn stored_form_is_the_event(event: &Event) {
    let again = Event::from_stored(event.stored().clone()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{event:?}"));
    assert_eq!(
        EventRef::from_stored(event.stored()).unwrap().data(),
        event.as_ref().data()
    );
}

/// Touches all there is to read, so that damage would show as a panic.
fn read_all(event: &EventRef<'_>) -> usize {
    let attributes: usize = event
        .attributes()
        .map(|(name, value)| name.len() + value.text().len())
        .sum();
    let known = [event.id(), event.source(), event.ty()]
        .map(str::len)
        .iter()
        .sum::<usize>();
    let optional = [event.subject(), event.time(), event.datacontenttype()];
    let named = event
        .attribute("x")
        .map_or(0, |value: Value<'_>| value.to_string().len());
    let mut bodies = 0;
    for out in [Out::AsItCame, Out::Json, Out::Binary] {
        for (add, remove) in [
            (&[] as &[_], &[] as &[_]),
            (&[("y", "z")], &[]),
            (&[("x", "z")], &["time"]),
        ] {
            bodies += http::encode(event, out, add, remove).body.len();
        }
    }
    attributes
        + known
        + optional.iter().flatten().count()
        + named
        + bodies
        + event.wire_len()
        + event.data_bytes().len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_binary_event_keeps_its_bytes(plan in plan()) {
        let event = plan.binary();
        round(&plan, &event);
        stored_form_is_the_event(&event);
    }

    #[test]
    fn a_structured_event_keeps_its_bytes(plan in plan()) {
        let event = plan.structured();
        let document = plan.document();
        prop_assert_eq!(event.as_ref().document().unwrap(), document.as_bytes());
        round(&plan, &event);
        stored_form_is_the_event(&event);
    }

    #[test]
    fn a_batched_event_keeps_its_bytes(plan in plan()) {
        round(&plan, &plan.batched());
    }

    #[test]
    fn reserved_attributes_leave_without_a_trace(plan in plan(), at in 0..5_usize) {
        let document = plan.document();
        let name = ["weftprincipal", "wefthops", "weftreplay", "weft\\u0068ops", "knativebrokerttl"][at];
        for spoiled in [
            document.replacen('{', &format!("{{\"{name}\":{{\"a\":[1,2]}},"), 1),
            format!("{},\"{name}\" : \"x\"}}{}", &document[..document.rfind('}').unwrap()], &document[document.rfind('}').unwrap() + 1..]),
        ] {
            let headers = HeaderMap::from_iter([(::http::header::CONTENT_TYPE, HeaderValue::from_static(http::JSON))]);
            let event = decode(&headers, Bytes::from(spoiled));
            let found = std::str::from_utf8(event.as_ref().document().unwrap()).unwrap().to_owned();
            prop_assert_eq!(found.split_whitespace().collect::<String>(), document.split_whitespace().collect::<String>());
            check(&plan, &event.as_ref(), &[]);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for version in [None, Some(1)] {
            let mut bytes = bytes.clone();
            if let (Some(version), Some(first)) = (version, bytes.first_mut()) {
                *first = version;
            }
            if let Ok(event) = Event::from_stored(Bytes::from(bytes)) {
                read_all(&event.as_ref());
            }
        }
    }

    #[test]
    fn a_damaged_stored_event_is_no_panic(
        plan in plan(),
        structured in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let event = if structured { plan.structured() } else { plan.binary() };
        let mut bytes = event.stored().to_vec();
        for (at, value) in flips {
            // Half of the flips hit the header and the table, where it matters most.
            let among = if value.is_multiple_of(2) { bytes.len() } else { bytes.len().min(120) };
            let at = at.index(among);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.first_mut().into_iter().for_each(|version| *version = 1);
        if let Ok(event) = Event::from_stored(Bytes::from(bytes)) {
            read_all(&event.as_ref());
        }
    }

    #[test]
    fn any_json_text_is_taken_or_refused(text in "[\\[\\]{}\":,0-9a-z\\\\ .eE+-]{0,60}") {
        let headers = HeaderMap::from_iter([(::http::header::CONTENT_TYPE, HeaderValue::from_static(http::JSON))]);
        let body = format!(r#"{{"specversion":"1.0","id":"1","source":"/","type":"t","data":{text}}}"#);
        if let Ok(batch) = http::decode(&headers, Bytes::from(body.clone()), &Limits::default()) {
            prop_assert_eq!(batch.events[0].as_ref().document().unwrap(), body.as_bytes());
        }
    }
}
