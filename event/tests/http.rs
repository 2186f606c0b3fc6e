//! The HTTP binding from outside: what is taken, what is refused and in which words, and the
//! samples and scenarios of the CloudEvents conformance project.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::PathBuf;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use event::http::{self, Limits, Out};
use event::{Data, DecodeError, Event, EventRef, Kind, Mode, SpecVersion, Value};
use expect_test::{Expect, expect};

const REQUIRED: &[(&str, &str)] = &[
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/s"),
    ("ce-type", "t"),
];

fn headers(pairs: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn small() -> Limits {
    Limits {
        event_bytes_max: 300,
        batch_events_max: 3,
        batch_bytes_max: 600,
        json_depth_max: 4,
    }
}

fn decode(pairs: &[(&str, &[u8])], body: &[u8]) -> Result<Vec<Event>, DecodeError> {
    let batch = http::decode(&headers(pairs), Bytes::copy_from_slice(body), &small())?;
    Ok(batch.events)
}

fn describe(event: &EventRef<'_>) -> String {
    let mut out = format!("{:?} {:?}", event.mode(), event.spec_version());
    for (name, value) in event.attributes() {
        let kind = match value {
            Value::String(_) => "",
            Value::Integer { .. } => "i",
            Value::Boolean(_) => "b",
        };
        write!(out, " {name}={kind}{:?}", value.text()).unwrap();
    }
    match event.data() {
        Data::None => out + " no data",
        Data::Bytes(bytes) => out + &format!(" bytes {:?}", String::from_utf8_lossy(bytes)),
        Data::Json(text) => out + &format!(" json {}", String::from_utf8_lossy(text)),
        Data::Base64(text) => out + &format!(" base64 {text}"),
    }
}

fn shown(result: Result<Vec<Event>, DecodeError>) -> String {
    match result {
        Ok(events) => {
            let lines: Vec<String> = events
                .iter()
                .map(|event| describe(&event.as_ref()))
                .collect();
            lines.join("\n")
        }
        Err(error) => {
            let status = match error.kind() {
                Kind::Invalid => 400,
                Kind::TooLarge => 413,
                Kind::Unsupported => 415,
            };
            format!("{status} {:?} {error}", error.attribute())
        }
    }
}

/// A binary message: the required headers, but for those that `changes` replaces, drops (no
/// value) or doubles (a name that begins with `+`).
#[track_caller]
fn binary(changes: &[(&str, Option<&[u8]>)], body: &str, expect: Expect) {
    let mut pairs: Vec<(&str, &[u8])> = REQUIRED
        .iter()
        .filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name))
        .map(|(name, value)| (*name, value.as_bytes()))
        .collect();
    let changed = changes
        .iter()
        .filter_map(|(name, value)| Some((name.trim_start_matches('+'), (*value)?)));
    pairs.extend(changed);
    expect.assert_eq(&shown(decode(&pairs, body.as_bytes())));
}

#[track_caller]
fn structured(document: &[u8], expect: Expect) {
    expect.assert_eq(&shown(decode(
        &[("content-type", http::JSON.as_bytes())],
        document,
    )));
}

/// A document with the required members and `more` behind them.
#[track_caller]
fn with(more: &str, expect: Expect) {
    let document = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{more}}}"#);
    structured(document.as_bytes(), expect);
}

#[track_caller]
fn batch(body: &str, expect: Expect) {
    expect.assert_eq(&shown(decode(
        &[("content-type", http::BATCH_JSON.as_bytes())],
        body.as_bytes(),
    )));
}

#[test]
fn binary_messages_are_taken() {
    binary(
        &[],
        "",
        expect![[r#"Binary V10 specversion="1.0" id="1" source="/s" type="t" no data"#]],
    );
    binary(
        &[
            ("ce-specversion", Some(b"0.3")),
            ("content-type", Some(b"text/xml; a=b")),
        ],
        "<a/>",
        expect![[
            r#"Binary V03 id="1" source="/s" type="t" specversion="0.3" datacontenttype="text/xml; a=b" bytes "<a/>""#
        ]],
    );
    binary(
        &[
            ("ce-id", Some(b"\"q%20\\\"\"")),
            ("ce-x1", Some(b"100% \xc3\xa9%E2%82%AC")),
            ("ce-wefthops", Some(b"0")),
            ("x-other", Some(b"-")),
        ],
        "{}",
        expect![[
            r#"Binary V10 specversion="1.0" source="/s" type="t" id="q \"" x1="100% é€" bytes "{}""#
        ]],
    );
    binary(
        &[
            ("ce-x", Some(b"line%0Abreak")),
            ("ce-subject", Some(b"")),
            ("content-type", Some(b"")),
        ],
        "",
        expect![[
            r#"Binary V10 specversion="1.0" id="1" source="/s" type="t" x="line\nbreak" subject="" datacontenttype="" no data"#
        ]],
    );
}

#[test]
fn binary_messages_are_refused_by_name() {
    expect![[r#"400 Some("specversion") header ce-specversion is missing, send ce-specversion: 1.0 and the other attributes as ce- headers, or the whole event as JSON with content-type: application/cloudevents+json"#]].assert_eq(&shown(decode(&[], b"{}")));
    for name in ["ce-id", "ce-source", "ce-type"] {
        let all = REQUIRED.iter().filter(|(other, _)| *other != name);
        let pairs: Vec<(&str, &[u8])> =
            all.map(|(name, value)| (*name, value.as_bytes())).collect();
        let error = decode(&pairs, b"").unwrap_err();
        assert_eq!(error.attribute(), name.strip_prefix("ce-"), "{error}");
    }
    binary(
        &[("ce-specversion", Some(b"9000.1"))],
        "",
        expect![[
            r#"400 Some("specversion") header ce-specversion is "9000.1", this broker takes "1.0" and "0.3""#
        ]],
    );
    binary(
        &[("ce-id", Some(b""))],
        "",
        expect![[r#"400 Some("id") header ce-id is empty, send ce-id: A234-1234-1234"#]],
    );
    binary(
        &[("+ce-id", Some(b"2"))],
        "",
        expect![[r#"400 Some("id") header ce-id is given twice, send it once"#]],
    );
    binary(
        &[("ce-x", Some(b"1")), ("+ce-x", Some(b"1"))],
        "",
        expect![[r#"400 Some("x") header ce-x is given twice, send it once"#]],
    );
    binary(
        &[
            ("content-type", Some(b"a/b")),
            ("+content-type", Some(b"a/b")),
        ],
        "",
        expect![[
            r#"400 Some("datacontenttype") header content-type is given twice, send it once"#
        ]],
    );
    binary(
        &[("ce-com-example", Some(b"1"))],
        "",
        expect![[
            r#"400 Some("com-example") header ce-com-example is not a valid name, an attribute is named by lower-case letters and digits only, such as "comexamplename""#
        ]],
    );
    binary(
        &[("ce-com_example", Some(b"1"))],
        "",
        expect![[
            r#"400 Some("com_example") header ce-com_example is not a valid name, an attribute is named by lower-case letters and digits only, such as "comexamplename""#
        ]],
    );
    binary(
        &[("ce-", Some(b"1"))],
        "",
        expect![[
            r#"400 Some("") header ce- is a name of no characters, an attribute is named by lower-case letters and digits only, such as "comexamplename""#
        ]],
    );
    binary(
        &[("ce-data", Some(b"1"))],
        "",
        expect![[
            r#"400 Some("data") header ce-data is reserved for the payload, an attribute is named by lower-case letters and digits only, such as "comexamplename""#
        ]],
    );
    binary(
        &[("ce-datacontenttype", Some(b"text/plain"))],
        "",
        expect![[
            r#"400 Some("datacontenttype") header ce-datacontenttype is not how binary mode gives the type of the data, send it as content-type"#
        ]],
    );
    binary(
        &[("ce-time", Some(b"yesterday"))],
        "",
        expect![[
            r#"400 Some("time") header ce-time is "yesterday", write an RFC 3339 time such as 2018-04-05T17:31:00Z"#
        ]],
    );
    binary(
        &[("ce-source", Some(b"/a%20b"))],
        "",
        expect![[
            r#"400 Some("source") header ce-source is "/a b", write a URI reference without spaces or control characters, such as /sensors/tn-1234567"#
        ]],
    );
    binary(
        &[("ce-dataschema", Some(b""))],
        "",
        expect![[
            r#"400 Some("dataschema") header ce-dataschema is "", write a URI reference without spaces or control characters, such as /sensors/tn-1234567"#
        ]],
    );
    binary(
        &[("ce-x", Some(b"ok%FF"))],
        "",
        expect![[
            r#"400 Some("x") header ce-x is not valid UTF-8, send UTF-8, percent-encoded in a header"#
        ]],
    );
    binary(
        &[("ce-subject", Some(b"\xff"))],
        "",
        expect![[
            r#"400 Some("subject") header ce-subject is not valid UTF-8, send UTF-8, percent-encoded in a header"#
        ]],
    );
    // Together they are UTF-8, and neither is by itself.
    binary(
        &[("ce-type", Some(b"t\xd4")), ("ce-subject", Some(b"\xa9b"))],
        "",
        expect![[
            r#"400 Some("type") header ce-type is not valid UTF-8, send UTF-8, percent-encoded in a header"#
        ]],
    );
    binary(
        &[("ce-id", Some(b"a%00"))],
        "",
        expect![[
            r#"400 Some("id") header ce-id holds the control character U+0000, leave it out"#
        ]],
    );
    binary(
        &[("ce-x", Some(b"a%1B"))],
        "",
        expect![[r#"400 Some("x") header ce-x holds the control character U+001B, leave it out"#]],
    );
    binary(
        &[("content-type", Some(b"application/cloudevents+avro"))],
        "",
        expect![[
            r#"415 None content type "application/cloudevents+avro" is an event format that this broker does not speak, send application/cloudevents+json, application/cloudevents-batch+json or binary mode"#
        ]],
    );
    binary(
        &[(
            "content-type",
            Some(b"application/cloudevents+json; charset=utf-16"),
        )],
        "",
        expect![[
            r#"415 None content type "application/cloudevents+json; charset=utf-16" has a charset that JSON does not have, send UTF-8"#
        ]],
    );
    binary(
        &[
            ("content-type", Some(b"application/cloudevents+json")),
            ("+content-type", Some(b"a/b")),
        ],
        "{}",
        expect![[
            r#"400 Some("datacontenttype") header content-type is given twice, send it once"#
        ]],
    );
    binary(
        &[],
        &"x".repeat(301),
        expect!["413 None event is 301 bytes, this broker takes at most 300"],
    );
    binary(
        &[],
        &"x".repeat(280),
        expect!["413 None event is 310 bytes, this broker takes at most 300"],
    );
}

#[test]
fn documents_are_taken() {
    with(
        "",
        expect![[r#"Structured V10 specversion="1.0" id="1" source="/s" type="t" no data"#]],
    );
    with(
        r#","time":"2018-04-05T17:31:00.10+02:00","n":-7,"zero":-0,"b":false,"gone":null,"x":"\u00e9\ud83c\udf0e\/""#,
        expect![[
            r#"Structured V10 specversion="1.0" id="1" source="/s" type="t" time="2018-04-05T17:31:00.10+02:00" n=i"-7" zero=i"0" b=b"false" x="é🌎/" no data"#
        ]],
    );
    with(
        r#","data":{"id":[1e400,"\ud800"]}"#,
        expect![[
            r#"Structured V10 specversion="1.0" id="1" source="/s" type="t" json {"id":[1e400,"\ud800"]}"#
        ]],
    );
    with(
        r#","data":null"#,
        expect![[r#"Structured V10 specversion="1.0" id="1" source="/s" type="t" json null"#]],
    );
    with(
        r#","data_base64":"AQ==","data_base64x":1"#,
        expect![[
            r#"400 Some("data_base64x") member "data_base64x" is not a valid name, an attribute is named by lower-case letters and digits only, such as "comexamplename""#
        ]],
    );
    with(
        r#","data_base64":"\/\/\/\u002F","datacontenttype":"a/b""#,
        expect![[
            r#"Structured V10 specversion="1.0" id="1" source="/s" type="t" datacontenttype="a/b" base64 ////"#
        ]],
    );
    with(
        r#","data":"AQ==","datacontentencoding":"base64""#,
        expect![[
            r#"Structured V10 specversion="1.0" id="1" source="/s" type="t" datacontentencoding="base64" json "AQ==""#
        ]],
    );
    with(
        r#","weftprincipal":{"a":1},"wefthops":null,"weftreplay":1e9"#,
        expect![[r#"Structured V10 specversion="1.0" id="1" source="/s" type="t" no data"#]],
    );
    structured(
        br#" {"source":"/s","type":"t","data":"AQ==","datacontentencoding":"Base64","id":"1","specversion":"0.3"} "#,
        expect![[r#"Structured V03 source="/s" type="t" datacontentencoding="Base64" id="1" specversion="0.3" base64 AQ=="#]],
    );
    structured(
        br#"{"source":"/s","type":"t","data":{"a":1},"datacontentencoding":"base64","id":"1","specversion":"0.3","schemaurl":"/x"}"#,
        expect![[r#"Structured V03 source="/s" type="t" datacontentencoding="base64" id="1" specversion="0.3" schemaurl="/x" json {"a":1}"#]],
    );
}

#[test]
fn documents_are_refused_by_place() {
    structured(
        b"",
        expect![
            "400 None the JSON is malformed at byte 0: the body is empty, an event is a JSON object"
        ],
    );
    structured(
        b"[]",
        expect![
            "400 None the JSON is malformed at byte 0: an event is a JSON object, which begins with {"
        ],
    );
    structured(
        b"{}",
        expect![[
            r#"400 Some("specversion") member "specversion" is missing, send "specversion": "1.0""#
        ]],
    );
    structured(
        br#"{"specversion":"1.0","id":"1","source":"/s"}"#,
        expect![[
            r#"400 Some("type") member "type" is missing, send "type": "com.example.order.placed""#
        ]],
    );
    structured(
        br#"{"specversion":"1.0","id":"1","source":"/s","type":null}"#,
        expect![[
            r#"400 Some("type") member "type" is missing, send "type": "com.example.order.placed""#
        ]],
    );
    structured(
        br#"{"specversion":1.0}"#,
        expect![[
            r#"400 Some("specversion") member "specversion" is 1.0, an integer attribute is within -2147483648 to 2147483647, write other numbers as a string"#
        ]],
    );
    structured(
        br#"{"specversion":"2.0"}"#,
        expect![[
            r#"400 Some("specversion") member "specversion" is "2.0", this broker takes "1.0" and "0.3""#
        ]],
    );
    structured(
        b"{\"specversion\":\"\xff\"}",
        expect!["400 None the JSON is not valid UTF-8 at byte 16, send UTF-8"],
    );
    structured(
        br#"{"specversion":"1.0","id":7,"source":"/s","type":"t"}"#,
        expect![[r#"400 Some("id") member "id" is 7, write it as a string, in double quotes"#]],
    );
    with(
        r#","i\u0064":"2""#,
        expect![[r#"400 Some("id") member "id" is given twice, send it once"#]],
    );
    with(
        r#","x":null,"x":"1""#,
        expect![[r#"400 Some("x") member "x" is given twice, send it once"#]],
    );
    with(
        r#","x":null,"x":null"#,
        expect![[r#"400 Some("x") member "x" is given twice, send it once"#]],
    );
    with(
        r#","data":1,"data":1"#,
        expect![[r#"400 Some("data") member "data" is given twice, send it once"#]],
    );
    with(
        r#","Upper":"1""#,
        expect![[
            r#"400 Some("Upper") member "Upper" is not a valid name, an attribute is named by lower-case letters and digits only, such as "comexamplename""#
        ]],
    );
    with(
        r#","":"1""#,
        expect![[
            r#"400 Some("") member "" is a name of no characters, an attribute is named by lower-case letters and digits only, such as "comexamplename""#
        ]],
    );
    with(
        r#","\ud800":"1""#,
        expect![[
            r#"400 Some("a name") member "a name" holds half a surrogate pair, write the character itself or both of its \u escapes"#
        ]],
    );
    with(
        r#","x":"\ud800""#,
        expect![[
            r#"400 Some("x") member "x" holds half a surrogate pair, write the character itself or both of its \u escapes"#
        ]],
    );
    with(
        r#","x":{}"#,
        expect![[
            r#"400 Some("x") member "x" is a JSON object, an attribute is a string, a boolean or an integer"#
        ]],
    );
    with(
        r#","x":[1]"#,
        expect![[
            r#"400 Some("x") member "x" is a JSON array, an attribute is a string, a boolean or an integer"#
        ]],
    );
    with(
        r#","x":1e400"#,
        expect![[
            r#"400 Some("x") member "x" is 1e400, an integer attribute is within -2147483648 to 2147483647, write other numbers as a string"#
        ]],
    );
    with(
        r#","x":1.0"#,
        expect![[
            r#"400 Some("x") member "x" is 1.0, an integer attribute is within -2147483648 to 2147483647, write other numbers as a string"#
        ]],
    );
    with(
        r#","x":123456789012345678901234567890"#,
        expect![[
            r#"400 Some("x") member "x" is 123456789012345678901234567890, an integer attribute is within -2147483648 to 2147483647, write other numbers as a string"#
        ]],
    );
    with(
        r#","x":2147483648"#,
        expect![[
            r#"400 Some("x") member "x" is 2147483648, an integer attribute is within -2147483648 to 2147483647, write other numbers as a string"#
        ]],
    );
    with(
        r#","time":1"#,
        expect![[r#"400 Some("time") member "time" is 1, write it as a string, in double quotes"#]],
    );
    with(
        r#","time":"""#,
        expect![[
            r#"400 Some("time") member "time" is "", write an RFC 3339 time such as 2018-04-05T17:31:00Z"#
        ]],
    );
    with(
        r#","id2":"a","subject":"\u0000""#,
        expect![[
            r#"400 Some("subject") member "subject" holds the control character U+0000, leave it out"#
        ]],
    );
    with(
        r#","data":1,"data_base64":"AQ==""#,
        expect![[r#"400 None members "data" and "data_base64" are both given, send one of them"#]],
    );
    with(
        r#","data_base64":"AQ""#,
        expect![[
            r#"400 None member "data_base64" is not valid base64, write standard base64 with padding, such as "aGVsbG8=""#
        ]],
    );
    with(
        r#","data_base64":7"#,
        expect![[
            r#"400 None member "data_base64" is not valid base64, write standard base64 with padding, such as "aGVsbG8=""#
        ]],
    );
    with(
        r#","data":[[[[1]]]]"#,
        expect![
            "400 None the JSON is nested deeper than 4 at byte 65, send deeper data as data_base64 or in binary mode"
        ],
    );
    with(
        r#","data":'x'"#,
        expect!["400 None the JSON is malformed at byte 62: expected a value"],
    );
    with(
        "}",
        expect!["400 None the JSON is malformed at byte 55: something follows the end of the JSON"],
    );
    structured(
        br#"{"specversion":"0.3","id":"1","source":"/s","type":"t","data_base64":"AQ=="}"#,
        expect![[
            r#"400 None member "data_base64" does not exist in a 0.3 event, send "data" with "datacontentencoding": "base64""#
        ]],
    );
    structured(br#"{"specversion":"0.3","id":"1","source":"/s","type":"t","datacontentencoding":"base64","data":"?"}"#, expect![[r#"400 None member "data" is not valid base64, write standard base64 with padding, such as "aGVsbG8=""#]]);
    structured(
        format!("{{\"x\":\"{}\"}}", "x".repeat(300)).as_bytes(),
        expect!["413 None event is 308 bytes, this broker takes at most 300"],
    );
}

#[test]
fn batches_are_taken_whole_or_not_at_all() {
    let one = |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"}}"#);
    batch("[]", expect![""]);
    batch(
        &format!(" [\n{} ,{}]", one("1"), one("2")),
        expect![[r#"
        Structured V10 specversion="1.0" id="1" source="/s" type="t" no data
        Structured V10 specversion="1.0" id="2" source="/s" type="t" no data"#]],
    );
    batch(
        &format!("[{},{}]", one("1"), one("")),
        expect![[
            r#"400 Some("id") event 1 of the batch, counted from 0: member "id" is empty, send "id": "A234-1234-1234""#
        ]],
    );
    batch(
        &format!("[{},7]", one("1")),
        expect![
            "400 None event 1 of the batch, counted from 0: the JSON is malformed at byte 0: an event is a JSON object, which begins with {"
        ],
    );
    batch(
        &format!("[{}", one("1")),
        expect!["400 None the JSON is malformed at byte 56: expected , or ] after an event"],
    );
    batch(
        &one("1"),
        expect!["400 None the batch holds one JSON object, it must be a JSON array of events"],
    );
    batch(
        "",
        expect!["400 None the batch holds nothing, it must be a JSON array of events"],
    );
    batch(
        "7",
        expect![
            "400 None the JSON is malformed at byte 0: a batch is a JSON array, which begins with ["
        ],
    );
    batch(
        &format!("[{}]", [one("1"), one("2"), one("3"), one("4")].join(",")),
        expect!["413 None batch holds more than 3 events, send several smaller ones"],
    );
    batch(
        &format!("[{}]", one(&"1".repeat(300))),
        expect![
            "413 None event 0 of the batch, counted from 0: event is 354 bytes, this broker takes at most 300"
        ],
    );
    batch(
        &" ".repeat(601),
        expect![
            "413 None batch is 601 bytes, this broker takes at most 600, send several smaller ones"
        ],
    );
    batch(
        r#"[{"a":[[[[1]]]]}]"#,
        expect![
            "400 None the JSON is nested deeper than 4 at byte 9, send deeper data as data_base64 or in binary mode"
        ],
    );
}

#[test]
fn many_extensions_are_checked_for_twins_too() {
    let mut members: Vec<String> = (0..5000).map(|n| format!("\"x{n}\":{n}")).collect();
    let document = |members: &[String]| {
        let all = members.join(",");
        Bytes::from(format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{all}}}"#
        ))
    };
    let headers = headers(&[("content-type", http::JSON.as_bytes())]);
    let batch = http::decode(&headers, document(&members), &Limits::default()).unwrap();
    assert_eq!(batch.events[0].as_ref().attributes().count(), 5004);
    members.push("\"x7\":0".to_owned());
    let error = http::decode(&headers, document(&members), &Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "member \"x7\" is given twice, send it once"
    );
}

// What leaves.

#[track_caller]
fn leaves(event: &EventRef<'_>, out: Out, add: &[(&str, &str)], remove: &[&str], expect: Expect) {
    let encoded = http::encode(event, out, add, remove);
    let mut text = String::new();
    for (name, value) in &encoded.headers {
        writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    expect.assert_eq(&(text + &String::from_utf8_lossy(&encoded.body)));
}

#[test]
fn a_binary_event_becomes_a_document() {
    let event = Event::build("1", "/s", "t")
        .attribute("x", "a\"b")
        .datacontenttype("application/json");
    let json = event.clone().data(" {\"n\":1e400}\n").finish().unwrap();
    leaves(
        &json.as_ref(),
        Out::Json,
        &[("y", "z")],
        &[],
        expect![[r#"
        content-type: application/cloudevents+json
        {"specversion":"1.0","id":"1","source":"/s","type":"t","x":"a\"b","datacontenttype":"application/json","y":"z","data": {"n":1e400}
        }"#]],
    );
    let broken = event.clone().data("{").finish().unwrap();
    leaves(
        &broken.as_ref(),
        Out::Json,
        &[("x", "new")],
        &[],
        expect![[r#"
            content-type: application/cloudevents+json
            {"specversion":"1.0","id":"1","source":"/s","type":"t","x":"new","datacontenttype":"application/json","data_base64":"ew=="}"#]],
    );
    let old = event
        .spec_version(SpecVersion::V03)
        .attribute("datacontentencoding", "base64");
    leaves(
        &old.clone().data("\u{1}").finish().unwrap().as_ref(),
        Out::Json,
        &[],
        &["x"],
        expect![[r#"
            content-type: application/cloudevents+json
            {"specversion":"0.3","id":"1","source":"/s","type":"t","datacontenttype":"application/json","datacontentencoding":"base64","data":"AQ=="}"#]],
    );
    leaves(
        &old.clone().data("5").finish().unwrap().as_ref(),
        Out::Json,
        &[],
        &[],
        expect![[r#"
            content-type: application/cloudevents+json
            {"specversion":"0.3","id":"1","source":"/s","type":"t","x":"a\"b","datacontenttype":"application/json","data":5}"#]],
    );
    leaves(
        &old.data("5").finish().unwrap().as_ref(),
        Out::AsItCame,
        &[],
        &[],
        expect![[r#"
            ce-specversion: 0.3
            ce-id: 1
            ce-source: /s
            ce-type: t
            ce-x: a%22b
            content-type: application/json
            ce-datacontentencoding: base64
            5"#]],
    );
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    let deep = Event::build("1", "/s", "t").data(deep).finish().unwrap();
    assert!(
        String::from_utf8_lossy(&http::encode(&deep.as_ref(), Out::Json, &[], &[]).body)
            .contains("data_base64")
    );
}

#[test]
fn a_document_becomes_a_binary_message() {
    let event = |more: &str| {
        let document = format!(
            r#"{{"specversion":"1.0","id":"é","source":"/s","type":"t","n":7,"b":true{more}}}"#
        );
        decode(
            &[("content-type", http::JSON.as_bytes())],
            document.as_bytes(),
        )
        .unwrap()
        .remove(0)
    };
    leaves(
        &event("").as_ref(),
        Out::Binary,
        &[],
        &[],
        expect![[r#"
        ce-specversion: 1.0
        ce-id: %C3%A9
        ce-source: /s
        ce-type: t
        ce-n: 7
        ce-b: true
    "#]],
    );
    leaves(
        &event(r#","data": "\u0041" "#).as_ref(),
        Out::Binary,
        &[("y", "1 2")],
        &["n"],
        expect![[r#"
            ce-specversion: 1.0
            ce-id: %C3%A9
            ce-source: /s
            ce-type: t
            ce-b: true
            ce-y: 1%202
            content-type: application/json
            "\u0041""#]],
    );
    leaves(
        &event(r#","data":"\u0041\n","datacontenttype":"text/plain""#).as_ref(),
        Out::Binary,
        &[],
        &[],
        expect![[r#"
            ce-specversion: 1.0
            ce-id: %C3%A9
            ce-source: /s
            ce-type: t
            ce-n: 7
            ce-b: true
            content-type: text/plain
            A
        "#]],
    );
    leaves(
        &event(r#","data":[1.0],"datacontenttype":"text/plain""#).as_ref(),
        Out::Binary,
        &[],
        &[],
        expect![[r#"
            ce-specversion: 1.0
            ce-id: %C3%A9
            ce-source: /s
            ce-type: t
            ce-n: 7
            ce-b: true
            content-type: text/plain
            [1.0]"#]],
    );
    leaves(
        &event(r#","data_base64":"aGk=""#).as_ref(),
        Out::Binary,
        &[],
        &[],
        expect![[r#"
            ce-specversion: 1.0
            ce-id: %C3%A9
            ce-source: /s
            ce-type: t
            ce-n: 7
            ce-b: true
            hi"#]],
    );
    // In a body the data is what it is, so nothing says that it was base64.
    let old = br#"{"specversion":"0.3","id":"1","source":"/s","type":"t","datacontentencoding":"base64","data":"aGk="}"#;
    let old = decode(&[("content-type", http::JSON.as_bytes())], old).unwrap();
    leaves(
        &old[0].as_ref(),
        Out::Binary,
        &[],
        &[],
        expect![[r#"
        ce-specversion: 0.3
        ce-id: 1
        ce-source: /s
        ce-type: t
        hi"#]],
    );
    // No text for half a surrogate pair, so it stays a document.
    leaves(
        &event(r#","data":"\ud800","datacontenttype":"text/plain""#).as_ref(),
        Out::Binary,
        &[],
        &[],
        expect![[r#"
            content-type: application/cloudevents+json
            {"specversion":"1.0","id":"é","source":"/s","type":"t","n":7,"b":true,"data":"\ud800","datacontenttype":"text/plain"}"#]],
    );
}

/// Its data would be read as the event: the message's content type says that it is structured.
#[test]
fn an_event_about_an_event_leaves_structured() {
    for media_type in [
        "application/cloudevents+json",
        "Application/CloudEvents+avro",
    ] {
        let event = Event::build("1", "/s", "t").datacontenttype(media_type);
        let event = event.data(b"{}").finish().unwrap();
        for out in [Out::AsItCame, Out::Binary, Out::Json] {
            let encoded = http::encode(&event.as_ref(), out, &[], &[]);
            let back = http::decode(&encoded.headers, encoded.body, &Limits::default()).unwrap();
            let back = back.events[0].as_ref();
            assert_eq!((back.id(), back.datacontenttype()), ("1", Some(media_type)));
            assert_eq!(&*back.data_bytes(), b"{}");
        }
    }
}

#[test]
fn an_event_too_big_for_headers_leaves_structured() {
    let mode = |event: &Event, out| {
        let encoded = http::encode(&event.as_ref(), out, &[], &[]);
        http::content_mode(&encoded.headers)
    };
    let long =
        |name: &str, bytes: usize| Event::build("1", "/s", "t").attribute(name, &"x".repeat(bytes));
    let many = |count: usize| {
        let all = 0..count;
        all.fold(Event::build("1", "/s", "t"), |event, n| {
            event.attribute(&format!("x{n}"), "")
        })
    };
    for out in [Out::AsItCame, Out::Binary] {
        let binary = http::ContentMode::Binary;
        assert_eq!(mode(&long("x", 7 << 10).finish().unwrap(), out), binary);
        assert_ne!(
            mode(&long("x", (7 << 10) + 1).finish().unwrap(), out),
            binary
        );
        assert_eq!(mode(&many(76).finish().unwrap(), out), binary);
        assert_ne!(mode(&many(77).finish().unwrap(), out), binary);
        let both = |bytes| {
            long("x", 7000)
                .attribute("y", &"y".repeat(bytes))
                .finish()
                .unwrap()
        };
        assert_eq!(mode(&both(5100), out), binary);
        assert_ne!(mode(&both(5300), out), binary);
    }
}

#[test]
fn what_is_not_changed_is_shared() {
    let binary = Event::build("1", "/s", "t")
        .data("payload")
        .finish()
        .unwrap();
    let encoded = http::encode(&binary.as_ref(), Out::AsItCame, &[("y", "z")], &[]);
    let range = |bytes: &[u8]| bytes.as_ptr_range();
    let within = |part: &[u8], whole: &[u8]| {
        range(whole).start <= range(part).start && range(part).end <= range(whole).end
    };
    assert!(within(&encoded.body, binary.stored()));
    assert!(within(
        encoded.headers["ce-source"].as_bytes(),
        binary.stored()
    ));
    assert!(!within(encoded.headers["ce-y"].as_bytes(), binary.stored()));
}

#[test]
fn a_batch_is_written_from_events_of_both_modes() {
    let binary = Event::build("1", "/s", "t").data("{}").finish().unwrap();
    let document = br#"{ "specversion":"1.0","id":"2","source":"/s","type":"t" }"#;
    let other = decode(&[("content-type", http::JSON.as_bytes())], document)
        .unwrap()
        .remove(0);
    let encoded = http::encode_batch(&[binary.as_ref(), other.as_ref()]);
    let batch = http::decode(&encoded.headers, encoded.body, &Limits::default()).unwrap();
    assert_eq!(batch.events.len(), 2);
    assert_eq!(batch.events[0].as_ref().data(), Data::Json(b"{}"));
    assert_eq!(batch.events[1], other);
}

// The samples and scenarios of github.com/cloudevents/conformance.

fn fixture(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cloudevents");
    std::fs::read_to_string(root.join(path)).unwrap()
}

#[derive(Debug, Default)]
struct Sample {
    attributes: Vec<(String, String)>,
    data: String,
}

/// Reads the few shapes of YAML that the samples are written in.
fn samples(yaml: &str) -> Vec<Sample> {
    yaml.split("\n---\n").map(sample).collect()
}

fn sample(yaml: &str) -> Sample {
    let mut sample = Sample::default();
    let mut in_context = false;
    let mut lines = yaml.lines().peekable();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let Some((key, value)) = line.trim().split_once(':') else {
            continue;
        };
        let (key, mut value) = (key.trim(), value.trim().trim_matches('"').to_owned());
        if value == "|" {
            value.clear();
            let deeper = |line: &&str| {
                line.len() - line.trim_start().len() > indent && !line.trim().is_empty()
            };
            while let Some(line) = lines.next_if(deeper) {
                value += line.trim();
                value.push('\n');
            }
        }
        match (indent, key) {
            (0, "ContextAttributes") => in_context = true,
            (0, "Data") => sample.data = value,
            (0, _) => in_context = false,
            (_, "Extensions") => {}
            _ if in_context => sample.attributes.push((key.to_owned(), value)),
            _ => {}
        }
    }
    sample
}

fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}

#[test]
fn all_samples_pass_in_both_modes_and_out_in_both() {
    let files = [
        "yaml/v1.yaml",
        "yaml/v03.yaml",
        "yaml/v1.0/v1_minimum.yaml",
        "yaml/v0.3/v03_minimum.yaml",
    ];
    let samples: Vec<Sample> = files
        .iter()
        .flat_map(|file| samples(&fixture(file)))
        .collect();
    assert_eq!(samples.len(), 15);
    for sample in &samples {
        assert!(
            sample.attributes.len() >= 5 && !sample.data.is_empty(),
            "{sample:?}"
        );
        let mut pairs = HeaderMap::new();
        let mut members = String::new();
        let mut media_type = "";
        for (name, value) in &sample.attributes {
            write!(members, "\"{name}\": {}, ", quoted(value)).unwrap();
            let header = if name == "datacontenttype" {
                "content-type".into()
            } else {
                format!("ce-{name}")
            };
            media_type = if name == "datacontenttype" {
                value
            } else {
                media_type
            };
            let coded = if name == "datacontenttype" {
                value.as_str().into()
            } else {
                http::percent::encode(value)
            };
            pairs.insert(
                HeaderName::try_from(header).unwrap(),
                HeaderValue::from_str(&coded).unwrap(),
            );
        }
        let is_json = media_type.is_empty() || media_type.starts_with("application/json");
        let data = if is_json {
            sample.data.clone()
        } else {
            quoted(&sample.data)
        };
        let document = format!("{{{members}\"data\": {data}}}");
        let structured = headers(&[(
            "content-type",
            b"application/cloudevents+json; charset=UTF-8",
        )]);
        for (pairs, body) in [(&pairs, &sample.data), (&structured, &document)] {
            let batch = http::decode(pairs, Bytes::from(body.clone()), &Limits::default()).unwrap();
            let event = batch.events[0].as_ref();
            for out in [Out::AsItCame, Out::Json, Out::Binary] {
                let encoded = http::encode(&event, out, &[], &[]);
                let back =
                    http::decode(&encoded.headers, encoded.body, &Limits::default()).unwrap();
                let back = back.events[0].as_ref();
                for (name, value) in &sample.attributes {
                    assert_eq!(back.attribute(name).unwrap().text(), value.as_str());
                }
                let found = String::from_utf8(back.data_bytes().into_owned()).unwrap();
                let trimmed = if is_json { found.trim() } else { &found };
                assert_eq!(
                    trimmed,
                    if is_json {
                        sample.data.trim()
                    } else {
                        &sample.data
                    }
                );
            }
        }
    }
}

/// One docstring (`"""`) behind a line that contains `after`.
fn docstring<'a>(scenario: &'a str, after: &str) -> &'a str {
    let rest = &scenario[scenario.find(after).unwrap()..];
    rest.split("\"\"\"").nth(1).unwrap()
}

fn table_rows(lines: &str) -> Vec<Vec<String>> {
    let rows = lines
        .lines()
        .skip_while(|line| !line.trim().starts_with('|'));
    rows.take_while(|line| line.trim().starts_with('|'))
        .map(|line| {
            line.trim()
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn all_scenarios_of_the_http_binding_pass() {
    let feature = fixture("features/http-protocol-binding.feature");
    let mut run = 0;
    for scenario in feature.split("Scenario Outline:").skip(1) {
        let examples = &scenario[scenario.find("Examples:").unwrap()..];
        for content_type in table_rows(examples).iter().skip(1).map(|row| &row[0]) {
            let request =
                docstring(scenario, "Given an HTTP request").replace("<contentType>", content_type);
            let lines: Vec<&str> = request.lines().map(str::trim).collect();
            let head = lines.iter().skip(2).take_while(|line| !line.is_empty());
            let pairs: Vec<(&str, &[u8])> = head
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.trim(), value.trim().as_bytes()))
                .collect();
            let body = request.split_once("\n\n").unwrap().1;
            let batch = http::decode(
                &headers(&pairs),
                Bytes::copy_from_slice(body.as_bytes()),
                &Limits::default(),
            );
            let batch = batch.unwrap();
            let event = batch.events[0].as_ref();
            let mut expected =
                table_rows(&scenario[scenario.find("the attributes are").unwrap()..]);
            for row in expected.drain(1..) {
                let value = row[1].replace("<contentType>", content_type);
                assert_eq!(event.attribute(&row[0]).unwrap().text(), value);
            }
            let dense = |text: &str| text.split_whitespace().collect::<String>();
            let found = String::from_utf8(event.data_bytes().into_owned()).unwrap();
            assert_eq!(dense(&found), dense(docstring(scenario, "following JSON")));
            run += 1;
        }
    }
    assert_eq!(run, 4);
}

#[test]
fn no_version_is_upgraded() {
    let pairs: Vec<(&str, &[u8])> = REQUIRED
        .iter()
        .map(|(name, value)| {
            (
                *name,
                if *name == "ce-specversion" {
                    b"0.3" as &[u8]
                } else {
                    value.as_bytes()
                },
            )
        })
        .collect();
    let event = decode(&pairs, b"").unwrap().remove(0);
    for (out, mode) in [
        (Out::AsItCame, Mode::Binary),
        (Out::Json, Mode::Structured),
        (Out::Binary, Mode::Binary),
    ] {
        let encoded = http::encode(&event.as_ref(), out, &[], &[]);
        let back = http::decode(&encoded.headers, encoded.body, &Limits::default()).unwrap();
        assert_eq!(
            (
                back.events[0].as_ref().spec_version(),
                back.events[0].as_ref().mode()
            ),
            (SpecVersion::V03, mode)
        );
    }
}

/// Contract §7: the hops that another Knative broker leaves an event are read, and go no further.
#[test]
fn a_broker_ttl_is_taken_for_hops_left_and_dropped() {
    let left = |headers: &[(&str, &str)], body: &str| {
        let pairs = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        let mut events = decode(&pairs.collect::<Vec<_>>(), body.as_bytes()).unwrap();
        let event = events.remove(0);
        assert_eq!(event.as_ref().attribute("knativebrokerttl"), None);
        event.hops_left()
    };
    for (written, expected) in [
        ("254", Some(254)),
        ("1000", Some(255)),
        ("-1", Some(0)),
        ("many", None),
    ] {
        let mut headers = REQUIRED.to_vec();
        assert_eq!(left(&headers, ""), None);
        headers.push(("ce-knativebrokerttl", written));
        assert_eq!(left(&headers, ""), expected, "{written}");
        let json = [("content-type", http::JSON)];
        let document = |value: &str| {
            format!(
                r#"{{"specversion":"1.0","knativebrokerttl":{value},"id":"1","source":"/s","type":"t"}}"#
            )
        };
        let text = document(&format!("{written:?}"));
        assert_eq!(left(&json, &text), expected, "{written}, as text");
        if expected.is_some() {
            assert_eq!(
                left(&json, &document(written)),
                expected,
                "{written}, as a number"
            );
        }
    }
}
