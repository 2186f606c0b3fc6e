//! `weft get sinks` and `weft get policies`: what triggers and brokers name, and who does.

use serde_json::Value;

use crate::admin::named::{PolicyView, SinkView};
use crate::commands::get::{health, or};
use crate::table::Align::{Left, Right};
use crate::table::{Table, count};

/// As many of those that use it are named in a cell; `-o json` names all.
const USERS_SHOWN: usize = 3;

pub(crate) fn sinks(sinks: &[SinkView]) -> String {
    let mut table = Table::new(&[
        ("NAMESPACE", Left),
        ("NAME", Left),
        ("STATE", Left),
        ("IN FLIGHT", Right),
        ("USED BY", Left),
        ("URI", Left),
    ]);
    for sink in sinks {
        let destination = sink.destination.as_ref();
        table.row([
            sink.namespace.clone(),
            sink.name.clone(),
            destination.map_or("-".into(), health),
            destination.map_or("-".into(), |there| count(u64::from(there.in_flight))),
            users(&sink.used_by),
            sink.uri.clone(),
        ]);
    }
    or(
        &table,
        "no Sinks; a trigger that writes its subscriber's uri needs none",
    )
}

pub(crate) fn policies(policies: &[PolicyView]) -> String {
    let mut table = Table::new(&[
        ("NAMESPACE", Left),
        ("NAME", Left),
        ("USED BY", Left),
        ("SAYS", Left),
    ]);
    for policy in policies {
        table.row([
            policy.namespace.clone(),
            policy.name.clone(),
            users(&policy.used_by),
            says(&policy.spec),
        ]);
    }
    or(
        &table,
        "no DeliveryPolicies; without one a trigger has the defaults, see `weft describe trigger NAME`",
    )
}

fn users(users: &[String]) -> String {
    if users.is_empty() {
        return "nobody".into();
    }
    let shown = &users[..users.len().min(USERS_SHOWN)];
    let mut text = shown.join(", ");
    if users.len() > shown.len() {
        text.push_str(&format!(" and {} more", users.len() - shown.len()));
    }
    text
}

/// The fields that are set, as YAML would write them on one line.
fn says(spec: &Value) -> String {
    match flow(spec) {
        empty if empty == "{}" => "nothing".into(),
        fields => match fields
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
        {
            Some(inner) => inner.to_owned(),
            None => fields,
        },
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}: {}", flow(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;
    use crate::commands::get::tests::destination;

    #[test]
    fn sinks_are_a_table() {
        let sink = |name: &str, users: &[&str]| SinkView {
            namespace: "shop".into(),
            name: name.into(),
            uri: format!("http://{name}/"),
            used_by: users.iter().map(|user| (*user).to_owned()).collect(),
            destination: None,
            spec: json!({}),
        };
        let mut ill = sink("erp", &["Broker shop/default", "Trigger shop/billing"]);
        let mut there = destination();
        there.breaker = "open".into();
        there.open_seconds = Some(125.0);
        ill.destination = Some(there);
        let popular = sink(
            "crm",
            &["Trigger a/a", "Trigger a/b", "Trigger a/c", "Trigger a/d"],
        );
        expect![[r#"
            NAMESPACE  NAME  STATE           IN FLIGHT  USED BY                                           URI
            shop       erp   open for 2m 5s          1  Broker shop/default, Trigger shop/billing         http://erp/
            shop       crm   -                       -  Trigger a/a, Trigger a/b, Trigger a/c and 1 more  http://crm/
            shop       old   -                       -  nobody                                            http://old/
        "#]].assert_eq(&sinks(&[ill, popular, sink("old", &[])]));
        expect![[r#"
            no Sinks; a trigger that writes its subscriber's uri needs none
        "#]]
        .assert_eq(&sinks(&[]));
    }

    #[test]
    fn policies_say_what_is_set() {
        let policy = |name: &str, spec: Value| PolicyView {
            namespace: "shop".into(),
            name: name.into(),
            used_by: vec!["Trigger shop/billing".into()],
            spec,
        };
        expect![[r#"
            NAMESPACE  NAME     USED BY               SAYS
            shop       careful  Trigger shop/billing  maxEventAge: PT1H, ordering: {by: partitionkey}, retry: {on: [422, 423]}
            shop       empty    Trigger shop/billing  nothing
        "#]].assert_eq(&policies(&[
            policy(
                "careful",
                json!({"maxEventAge": "PT1H", "ordering": {"by": "partitionkey"}, "retry": {"on": [422, 423]}}),
            ),
            policy("empty", json!({})),
        ]));
        expect![[r#"
            no DeliveryPolicies; without one a trigger has the defaults, see `weft describe trigger NAME`
        "#]].assert_eq(&policies(&[]));
    }
}
