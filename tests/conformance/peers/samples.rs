//! The events that each peer sends and is sent: what peers differ in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::ce::{Ce, Request};

/// How a sender sends.
pub(crate) const MODES: [&str; 2] = ["binary", "structured"];

/// How an event goes through to a function.
pub(crate) struct Way {
    /// As the page calls it.
    pub(crate) name: &'static str,
    /// The mode that it is sent in.
    pub(crate) sent: &'static str,
    /// What its trigger's `delivery` has besides.
    pub(crate) delivery: &'static str,
}

/// As it came, in either mode, and with what a function may be helped by.
pub(crate) const WAYS: [Way; 3] = [
    Way {
        name: "binary",
        sent: "binary",
        delivery: "",
    },
    Way {
        name: "structured",
        sent: "structured",
        delivery: "",
    },
    Way {
        name: "json",
        sent: "binary",
        delivery: ", format: json",
    },
];

/// The attribute that says in which of [`MODES`] or [`WAYS`] an event goes; triggers tell them apart by it.
pub(crate) const WAY: &str = "way";

/// One event.
pub(crate) struct Sample {
    /// What it tries.
    pub(crate) name: &'static str,
    /// As it must arrive.
    pub(crate) ce: Ce,
    /// Extensions that aren't text: name, kind in a peer's line, value in JSON.
    typed: Vec<(&'static str, &'static str, Value)>,
    data: Data,
}

/// Data as its sender thinks of it.
enum Data {
    Nothing,
    Json(&'static str),
    Text(&'static str),
    Bytes(Vec<u8>),
}

/// All of them, in one mode: ids tell the modes apart.
pub(crate) fn samples(mode: &str) -> Vec<Sample> {
    let json = "application/json";
    let octets = "application/octet-stream";
    let sample = |name: &'static str, content_type: &str, data: Data| {
        let id = format!("{name}-{mode}");
        let mut ce = Ce::new(&id, "peer.event", "/weft/peers").with(WAY, mode);
        ce = ce.with("note", "plain").without("datacontenttype");
        if !content_type.is_empty() {
            ce = ce.with("datacontenttype", content_type);
        }
        ce.data = match &data {
            Data::Nothing => Vec::new(),
            Data::Json(text) | Data::Text(text) => text.as_bytes().to_vec(),
            Data::Bytes(bytes) => bytes.clone(),
        };
        Sample {
            name,
            ce,
            typed: Vec::new(),
            data,
        }
    };
    let noted = |name, value: &str| {
        let mut sample = sample(name, json, Data::Json(r#"{"a":1}"#));
        sample.ce = sample.ce.with("subject", value).with("note", value);
        sample
    };
    let mut types = sample("types", json, Data::Json(r#"{"a":1}"#));
    types.typed = vec![
        ("exbool", "bool", json!(true)),
        ("exint", "int", json!(-2_147_483_648)),
        ("exbytes", "bytes", json!("AAEC/w==")),
        ("exuri", "uri", json!("https://example.com/a?b=c#d")),
        ("exref", "uri", json!("../a/b")),
        ("extime", "time", json!("2020-03-21T12:34:56Z")),
    ];
    for (name, _, value) in &types.typed {
        let text = value.as_str().map_or(value.to_string(), str::to_owned);
        types.ce = types.ce.with(name, &text);
    }
    let mut optional = sample(
        "json",
        json,
        Data::Json("{\"b\": [1, 2 ],\n \"a\":\"\\u00fc\"}"),
    );
    optional.ce = optional
        .ce
        .with("subject", "orders/1")
        .with("time", "2020-03-21T12:34:56.78Z")
        .with("dataschema", "https://example.com/schema");
    vec![
        optional,
        types,
        noted("percent", r#"100% "a b" %41"#),
        noted("unicode", "Grüße 世界 €😀"),
        sample("nothing", "", Data::Nothing),
        sample("empty", "text/plain", Data::Text("")),
        sample("null", json, Data::Json("null")),
        sample(
            "numbers",
            json,
            Data::Json(r#"{"big":12345678901234567890,"exact":1.50}"#),
        ),
        sample("text", "text/plain; charset=utf-8", Data::Text("Grüße\n€")),
        sample("xml", "application/xml", Data::Text("<a b=\"c\">ü</a>")),
        sample("bytes", octets, Data::Bytes((0..=255).collect())),
        sample("mebibyte", octets, Data::Bytes(mebibyte())),
    ]
}

/// As many bytes, of which no run repeats soon.
fn mebibyte() -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..1 << 20).map(|_| next()).collect()
}

impl Sample {
    /// The line that a sending peer reads.
    pub(crate) fn line(&self) -> String {
        let mut line = json!({"extensions": {}});
        for (name, value) in &self.ce.attributes {
            match name.as_str() {
                "specversion" => {}
                "id" | "type" | "source" | "subject" | "time" | "dataschema"
                | "datacontenttype" => line[name] = json!(value),
                name => {
                    let typed = self.typed.iter().find(|(typed, ..)| *typed == name);
                    line["extensions"][name] = match typed {
                        Some((_, kind, value)) => json!({"t": kind, "v": value}),
                        None => json!({"t": "string", "v": value}),
                    };
                }
            }
        }
        line["data"] = match &self.data {
            Data::Nothing => Value::Null,
            Data::Json(text) => json!({"json": text}),
            Data::Text(text) => json!({"text": text}),
            Data::Bytes(bytes) => json!({"base64": STANDARD.encode(bytes)}),
        };
        line.to_string()
    }

    /// The request that carries it in a mode.
    pub(crate) fn request(&self, mode: &str) -> Request {
        match mode {
            "binary" => self.ce.binary(),
            _ => self.structured(),
        }
    }

    /// In structured mode, with the types that JSON has.
    fn structured(&self) -> Request {
        let attributes = self.ce.attributes.iter().map(|(name, value)| {
            let typed = self.typed.iter().find(|(typed, ..)| typed == name);
            let value = typed.map_or(json!(value), |(.., value)| value.clone());
            format!("\"{name}\":{value}")
        });
        let mut members: Vec<String> = attributes.collect();
        match &self.data {
            Data::Nothing => {}
            Data::Json(text) => members.push(format!("\"data\":{text}")),
            Data::Text(text) => members.push(format!("\"data\":{}", json!(text))),
            Data::Bytes(bytes) => {
                members.push(format!("\"data_base64\":\"{}\"", STANDARD.encode(bytes)));
            }
        }
        let headers = vec![(
            "content-type".to_owned(),
            "application/cloudevents+json".to_owned(),
        )];
        (headers, format!("{{{}}}", members.join(",")).into_bytes())
    }
}
