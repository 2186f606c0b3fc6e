//! What `weft run` prints at its start: where it listens, where data lies, what was recovered
//! and loaded, and a line to paste that sends the first event.

use std::net::SocketAddr;
use std::path::Path;

use broker::engine::Found;
use journal::Recovered;
use triggers::run::filter::Attribute;
use triggers::{Filter, Lowered, Report};

use crate::table::{count, size};

/// What the banner tells.
pub(crate) struct Banner<'a> {
    pub(crate) ingress: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// `None` when nothing survives.
    pub(crate) data: Option<&'a Path>,
    pub(crate) class: &'a str,
    pub(crate) bytes_max: u64,
    pub(crate) workers: usize,
    pub(crate) recovered: &'a Recovered,
    pub(crate) found: &'a Found,
    pub(crate) report: &'a Report,
    pub(crate) lowered: &'a Lowered,
    pub(crate) spans: Option<&'a str>,
}

impl Banner<'_> {
    /// The lines.
    pub(crate) fn render(&self) -> String {
        let mut lines = vec![format!("weft {}", env!("CARGO_PKG_VERSION"))];
        let mut row = |name: &str, text: String| lines.push(format!("  {name:<9}{text}"));
        row("ingress", format!("http://{}", self.ingress));
        row("admin", format!("http://{}", self.admin));
        match self.data {
            Some(data) => row(
                "data",
                format!(
                    "{}  {}, at most {}",
                    data.display(),
                    self.class,
                    size(self.bytes_max)
                ),
            ),
            None => row(
                "data",
                format!(
                    "IN MEMORY: NOTHING SURVIVES THE END OF THIS PROCESS (at most {})",
                    size(self.bytes_max)
                ),
            ),
        }
        for text in self.recovery() {
            row("log", text);
        }
        row("loaded", self.report.counts.to_string());
        row("workers", self.workers.to_string());
        if let Some(spans) = self.spans {
            row("traces", spans.to_owned());
        }
        let mut text = lines.join("\n");
        if !self.report.problems.is_empty() {
            text.push_str(&format!("\n\n{}", problems(self.report)));
        }
        text.push_str(&self.first_event());
        text
    }

    /// What the log held; nothing for a new one.
    fn recovery(&self) -> Vec<String> {
        let (recovered, found) = (self.recovered, self.found);
        let mut lines = Vec::new();
        if recovered.end.0 == 0 {
            return lines;
        }
        lines.push(if recovered.clean {
            "stopped cleanly before".to_owned()
        } else {
            "recovered after a crash".to_owned()
        });
        let mut held = vec![format!("{} owed", count(found.owed))];
        if found.parked > 0 {
            held.push(format!(
                "{} of them wait to be tried again",
                count(found.parked)
            ));
        }
        if found.dead_letters > 0 {
            held.push(format!("{} dead letters", count(found.dead_letters)));
        }
        lines.push(held.join(", "));
        if let Some(torn) = &recovered.torn {
            lines.push(format!(
                "the last frame was torn or lost: {} records, none of them acknowledged if it was the crash",
                torn.records
            ));
        }
        lines.extend(
            recovered
                .damage
                .iter()
                .map(|damage| format!("DAMAGE {damage}")),
        );
        let lost = found
            .lost
            .iter()
            .map(|range| format!("LOST offsets {} to {}", range.start.0, range.end.0 - 1));
        lines.extend(lost);
        lines
    }

    /// Lines to paste, for a type that a trigger wants.
    fn first_event(&self) -> String {
        let Some(trigger) = self
            .lowered
            .triggers
            .values()
            .find(|trigger| trigger.not_ready.is_none())
        else {
            return "\n\nNo trigger is ready yet: add one to the folder, it takes effect within a second.".into();
        };
        let broker = &trigger.broker;
        let to = format!(
            "http://{}/{}/{}",
            self.ingress,
            broker.namespace(),
            broker.name()
        );
        let mut wants = Wants::default();
        wants.take(&trigger.filter);
        let ty = wants.ty.as_deref().unwrap_or("com.example.hello");
        let source = wants.source.as_deref().unwrap_or("/try");
        let mut send = format!("weft send --to {to} --type {ty}");
        let mut curl = format!(
            "curl -i {to} -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: {source}' -H 'ce-type: {ty}'"
        );
        if wants.source.is_some() {
            send.push_str(&format!(" --source {source}"));
        }
        for (name, value) in &wants.others {
            send.push_str(&format!(" --attr {name}={value}"));
            curl.push_str(&format!(" -H 'ce-{name}: {value}'"));
        }
        let data = r#"{"hello": "weft"}"#;
        format!(
            "\n\nSend an event that trigger {} wants:\n  {send} --data '{data}'\n  {curl} -H 'content-type: application/json' -d '{data}'",
            trigger.name
        )
    }
}

/// The problems of YAML, with what stays in force.
pub(crate) fn problems(report: &Report) -> String {
    format!("{report}\n  what was in force before stays in force")
}

/// What an event needs for a filter to let it through, as far as that can be told.
#[derive(Default)]
struct Wants {
    ty: Option<String>,
    source: Option<String>,
    others: Vec<(String, String)>,
}

impl Wants {
    fn take(&mut self, filter: &Filter) {
        match filter {
            Filter::Exact(attribute, text) => self.set(attribute, text.to_string()),
            Filter::Prefix(attribute, text) => self.set(attribute, format!("{text}example")),
            Filter::Suffix(attribute, text) => self.set(attribute, format!("example{text}")),
            Filter::Present(attribute) => self.set(attribute, "example".to_owned()),
            Filter::All(filters) => filters.iter().for_each(|filter| self.take(filter)),
            Filter::Any(filters) => filters.iter().take(1).for_each(|filter| self.take(filter)),
            Filter::Everything | Filter::Not(_) => {}
        }
    }

    fn set(&mut self, attribute: &Attribute, text: String) {
        match attribute {
            Attribute::Type => self.ty = Some(text),
            Attribute::Source => self.source = Some(text),
            Attribute::Other(name) => match &**name {
                // Both commands set these by themselves.
                "id" | "time" | "specversion" | "datacontenttype" => {}
                name => self.others.push((name.to_owned(), text)),
            },
        }
    }
}
