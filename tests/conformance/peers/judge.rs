//! Whether what came is what was sent, and if not, in what it differs.

use serde_json::Value;

use crate::ce::Ce;

/// How much of a value is shown.
const SHOWN: usize = 60;

/// How the data came.
pub(crate) enum Data<'a> {
    /// As bytes.
    Bytes(&'a [u8]),
    /// As a value that an API made of JSON.
    Value(&'a Value),
}

/// Attributes that some add to an event that has none, and that say nothing else: when it was made or handed on.
const ADDED: [&str; 2] = ["time", "traceparent"];

/// In what an event differs from how it was sent, a phrase each; nothing if it doesn't.
///
/// Two ways to write one moment are no difference, nor is what [`ADDED`] names. Where an API takes JSON as a value (`as_values`), nor are two
/// ways to write one value.
pub(crate) fn differences(
    sent: &Ce,
    attributes: &[(String, String)],
    data: &Data<'_>,
    as_values: bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in &sent.attributes {
        match attributes.iter().find(|(known, _)| known == name) {
            None => found.push(format!("no `{name}`")),
            Some((_, came)) if came == value || moment(came) == moment(value) => {}
            Some((_, came)) => found.push(format!("`{name}` is {}", code(came))),
        }
    }
    for (name, value) in attributes {
        let known = name.starts_with("knative") || ADDED.contains(&name.as_str());
        if !known && !sent.attributes.contains_key(name) {
            found.push(format!("adds `{name}` {}", code(value)));
        }
    }
    found.extend(data_difference(sent, data, as_values));
    found
}

fn data_difference(sent: &Ce, data: &Data<'_>, as_values: bool) -> Option<String> {
    let value = || serde_json::from_slice::<Value>(&sent.data).ok();
    match data {
        Data::Bytes(bytes) if *bytes == sent.data => None,
        Data::Bytes(bytes) => {
            let same = serde_json::from_slice::<Value>(bytes).ok();
            let json = sent.get("datacontenttype").contains("json");
            if as_values && json && same.is_some() && same == value() {
                return None;
            }
            Some(match bytes.len() {
                0 => "no data".to_owned(),
                n if n > 1024 => format!("data is {n} other bytes"),
                _ => format!("data is {}", code(&String::from_utf8_lossy(bytes))),
            })
        }
        Data::Value(came) => match value() {
            Some(value) if value == **came => None,
            _ => Some(format!("data is the value {}", code(&came.to_string()))),
        },
    }
}

/// A moment in RFC 3339 without what may be left out: zeros at the end of its fraction.
fn moment(text: &str) -> String {
    let text = text.replace("+00:00", "Z");
    match text.split_once('.') {
        Some((before, fraction)) if text.ends_with('Z') => {
            let fraction = fraction.trim_end_matches('Z').trim_end_matches('0');
            let dot = if fraction.is_empty() { "" } else { "." };
            format!("{before}{dot}{fraction}Z")
        }
        _ => text,
    }
}

/// Text as Markdown's code, its start where it is long.
pub(crate) fn code(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| match c {
            c if c.is_control() => ' ',
            '`' => '\'',
            c => c,
        })
        .collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("`{}…`", &text[..at]),
        None if text.is_empty() => "empty".to_owned(),
        None => format!("`{text}`"),
    }
}
