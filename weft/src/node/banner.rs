//! What `weft run` prints at its start: where it listens, where data lies, what was recovered
//! and loaded, and a line to paste that sends the first event.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;

use broker::engine::Found;
use journal::{Offset, Recovered};
use triggers::run::filter::Attribute;
use triggers::{Filter, Lowered, Report};

use crate::table::{count, many, size};

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
    pub(crate) kept_recovered: &'a Recovered,
    pub(crate) found: &'a Found,
    pub(crate) report: &'a Report,
    pub(crate) lowered: &'a Lowered,
    pub(crate) spans: Option<&'a str>,
    /// How this program was called, so that the line to paste finds it: see [`program`].
    pub(crate) program: String,
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
                    "{} ({}, at most {})",
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
        for text in damage_of(self.kept_recovered, &self.found.kept_lost) {
            row("kept", text);
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
        let mut held = vec![format!(
            "{} owed",
            many(found.owed, "delivery", "deliveries")
        )];
        if found.parked > 0 {
            held.push(format!("{} of them to be tried again", count(found.parked)));
        }
        if found.dead_letters > 0 {
            held.push(many(found.dead_letters, "dead letter", "dead letters"));
        }
        lines.push(held.join(", "));
        if found.suspects > 0 {
            lines.push(format!(
                "CAREFUL: the process ended repeatedly with the same deliveries under way; {} one at a time",
                many(found.suspects, "suspect goes", "suspects go")
            ));
        }
        lines.extend(damage_of(recovered, &found.lost));
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
        let mut send = format!("{} send --to {to} --type {ty}", self.program);
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

/// What of a journal isn't there any more.
fn damage_of(recovered: &Recovered, lost: &[Range<Offset>]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(torn) = &recovered.torn {
        lines.push(format!(
            "the last frame was torn or lost: {} records, none of them acknowledged if it was the crash",
            torn.records
        ));
    }
    let damage = recovered.damage.iter();
    lines.extend(damage.map(|damage| format!("DAMAGE {damage}")));
    let lost = lost
        .iter()
        .map(|range| format!("LOST offsets {} to {}", range.start.0, range.end.0 - 1));
    lines.extend(lost);
    lines
}

/// How to call this program from the folder it was called in: as it was called, without the
/// folder's own path; `weft` where the search path found it.
pub(crate) fn program() -> String {
    let called = std::env::args_os()
        .next()
        .map(std::path::PathBuf::from)
        .unwrap_or_default();
    if called.components().count() < 2 {
        return "weft".into();
    }
    let here = std::env::current_dir().unwrap_or_default();
    let path = called
        .strip_prefix(&here)
        .unwrap_or(&called)
        .display()
        .to_string();
    if path.contains(' ') {
        format!("'{path}'")
    } else {
        path
    }
}

/// The problems of YAML, with what is in force all the same.
pub(crate) fn problems(report: &Report) -> String {
    format!("{report}\n  what is wrong there keeps its last good version in force")
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};
    use journal::{Cause, Damage, Torn};
    use triggers::Catalog;
    use triggers::files::File;

    use super::*;
    use crate::node::files::lowered;

    const TRIGGER: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: billing, namespace: shop}
spec:
  broker: default
  filters: [{exact: {type: order.placed}}, {prefix: {source: /shop/}}, {exact: {region: eu}}]
  subscriber: {uri: http://127.0.0.1:8081/}
";

    #[track_caller]
    fn check(
        yaml: &str,
        change: impl FnOnce(&mut Recovered, &mut Found),
        memory: bool,
        expect: Expect,
    ) {
        let mut catalog = Catalog::default();
        let file = File {
            path: Arc::from("conf/a.yaml"),
            text: Ok(yaml.to_owned()),
        };
        let change_of_files = catalog.reload(vec![file]);
        let (lowered, further) = lowered(&catalog);
        let mut recovered = Recovered {
            start: Offset(0),
            end: Offset(0),
            clean: true,
            torn: None,
            damage: Vec::new(),
            segments: 0,
            bytes_scanned: 0,
        };
        let kept_recovered = recovered.clone();
        let mut found = Found::default();
        change(&mut recovered, &mut found);
        let banner = Banner {
            program: "weft".into(),
            ingress: "127.0.0.1:8080".parse().unwrap(),
            admin: "127.0.0.1:8090".parse().unwrap(),
            data: (!memory).then_some(Path::new("weft-data")),
            class: "direct+fdatasync",
            bytes_max: 10 << 30,
            workers: 2,
            recovered: &recovered,
            kept_recovered: &kept_recovered,
            found: &found,
            report: &change_of_files.report(further),
            lowered: &lowered,
            spans: None,
        };
        expect.assert_eq(&banner.render());
    }

    #[test]
    fn a_first_start_says_where_things_are_and_how_to_send() {
        check(
            TRIGGER,
            |_, _| {},
            false,
            expect![[r#"
            weft 0.1.0
              ingress  http://127.0.0.1:8080
              admin    http://127.0.0.1:8090
              data     weft-data (direct+fdatasync, at most 10.0 GiB)
              loaded   0 brokers, 1 trigger, 0 nodes from 1 file
              workers  2

            Send an event that trigger shop/billing wants:
              weft send --to http://127.0.0.1:8080/shop/default --type order.placed --source /shop/example --attr region=eu --data '{"hello": "weft"}'
              curl -i http://127.0.0.1:8080/shop/default -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /shop/example' -H 'ce-type: order.placed' -H 'ce-region: eu' -H 'content-type: application/json' -d '{"hello": "weft"}'"#]],
        );
    }

    #[test]
    fn memory_is_said_loudly_and_a_folder_without_a_ready_trigger_says_what_is_missing() {
        let orphan = TRIGGER.replace("broker: default", "broker: typo");
        check(
            &orphan,
            |_, _| {},
            true,
            expect![[r#"
                weft 0.1.0
                  ingress  http://127.0.0.1:8080
                  admin    http://127.0.0.1:8090
                  data     IN MEMORY: NOTHING SURVIVES THE END OF THIS PROCESS (at most 10.0 GiB)
                  loaded   0 brokers, 1 trigger, 0 nodes from 1 file
                  workers  2

                1 problem in 1 file; in order: 0 brokers, 1 trigger, 0 nodes from 1 file
                  conf/a.yaml:1:1  Trigger shop/billing names the broker shop/typo, which does not exist (BrokerDoesNotExist), declare a Broker typo, or write broker: default
                  what is wrong there keeps its last good version in force

                No trigger is ready yet: add one to the folder, it takes effect within a second."#]],
        );
    }

    #[test]
    fn a_start_after_a_crash_says_what_was_found() {
        let crash = |recovered: &mut Recovered, found: &mut Found| {
            (recovered.end, recovered.clean) = (Offset(900), false);
            recovered.torn = Some(Torn {
                segment: 3,
                position: 8192,
                records: 12,
            });
            recovered.damage.push(Damage {
                segment: 2,
                position: 4096,
                bytes: 64,
                offsets: Offset(400)..Offset(401),
                cause: Cause::Body,
            });
            (found.owed, found.parked, found.dead_letters) = (1_200, 7, 1);
            found.suspects = 3;
            found.lost.push(Offset(400)..Offset(401));
            found.kept_lost.push(Offset(7)..Offset(9));
        };
        check(
            TRIGGER,
            crash,
            false,
            expect![[r#"
                weft 0.1.0
                  ingress  http://127.0.0.1:8080
                  admin    http://127.0.0.1:8090
                  data     weft-data (direct+fdatasync, at most 10.0 GiB)
                  log      recovered after a crash
                  log      1,200 deliveries owed, 7 of them to be tried again, 1 dead letter
                  log      CAREFUL: the process ended repeatedly with the same deliveries under way; 3 suspects go one at a time
                  log      the last frame was torn or lost: 12 records, none of them acknowledged if it was the crash
                  log      DAMAGE segment 2 at byte 4096: body damaged, 64 bytes, 1 record (offset 400)
                  log      LOST offsets 400 to 400
                  kept     LOST offsets 7 to 8
                  loaded   0 brokers, 1 trigger, 0 nodes from 1 file
                  workers  2

                Send an event that trigger shop/billing wants:
                  weft send --to http://127.0.0.1:8080/shop/default --type order.placed --source /shop/example --attr region=eu --data '{"hello": "weft"}'
                  curl -i http://127.0.0.1:8080/shop/default -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /shop/example' -H 'ce-type: order.placed' -H 'ce-region: eu' -H 'content-type: application/json' -d '{"hello": "weft"}'"#]],
        );
    }
}
