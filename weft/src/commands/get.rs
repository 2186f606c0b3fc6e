//! `weft get`: tables of what a node has.

use std::collections::BTreeMap;

use crate::admin::named::{PolicyView, SinkView};
use crate::admin::views::{
    BookView, BrokerView, DestinationView, List, Status, StorageView, TriggerView,
};
use crate::cli::{GetArgs, What};
use crate::commands::api::ask;
use crate::commands::named;
use crate::exit::Failure;
use crate::table::Align::{Left, Right};
use crate::table::{Table, count, many, size, span};

/// Lists what was asked for.
pub(crate) fn run(args: &GetArgs) -> Result<(), Failure> {
    let (admin, format) = (&args.admin, args.admin.output);
    match args.what {
        What::Triggers => ask::<List<TriggerView>>(admin, "/api/v1/triggers")?
            .print(format, |list| triggers(&list.items)),
        What::Brokers => ask::<List<BrokerView>>(admin, "/api/v1/brokers")?
            .print(format, |list| brokers(&list.items)),
        What::Destinations => ask::<List<DestinationView>>(admin, "/api/v1/destinations")?
            .print(format, |list| destinations(&list.items)),
        What::Sinks => ask::<List<SinkView>>(admin, "/api/v1/sinks")?
            .print(format, |list| named::sinks(&list.items)),
        What::Policies => ask::<List<PolicyView>>(admin, "/api/v1/policies")?
            .print(format, |list| named::policies(&list.items)),
        What::Status => ask::<Status>(admin, "/api/v1/status")?.print(format, status),
    }
}

fn triggers(triggers: &[TriggerView]) -> String {
    let mut table = Table::new(&[
        ("NAMESPACE", Left),
        ("NAME", Left),
        ("BROKER", Left),
        ("STATE", Left),
        ("OWED", Right),
        ("OLDEST", Right),
        ("DELIVERED", Right),
        ("DEAD", Right),
        ("SUBSCRIBER", Left),
    ]);
    for trigger in triggers {
        table.row([
            trigger.namespace.clone(),
            trigger.name.clone(),
            trigger.broker.rsplit('/').next().unwrap_or_default().into(),
            state(trigger),
            count(trigger.books.owed),
            trigger.oldest_owed_seconds.map_or("-".into(), span),
            count(trigger.books.delivered),
            count(dead(&trigger.books)),
            trigger.subscriber.clone(),
        ]);
    }
    or(
        &table,
        "no triggers; put a Trigger into the folder that `weft run` watches",
    )
}

/// A trigger's state in a word or two.
pub(crate) fn state(trigger: &TriggerView) -> String {
    if trigger.detached.is_some() {
        return "detached".into();
    }
    // One that isn't ready sends nothing either; the reason says more.
    match (&trigger.reason, &trigger.paused) {
        (Some(reason), _) => reason.clone(),
        (None, Some(_)) => "paused".into(),
        (None, None) => trigger.spared.clone().unwrap_or_else(|| "ready".into()),
    }
}

/// All dead, whatever the cause.
pub(crate) fn dead(books: &BookView) -> u64 {
    books.dead.values().sum()
}

fn brokers(brokers: &[BrokerView]) -> String {
    let mut table = Table::new(&[
        ("NAMESPACE", Left),
        ("NAME", Left),
        ("STATE", Left),
        ("TRIGGERS", Right),
        ("STORED", Right),
        ("URL", Left),
    ]);
    for broker in brokers {
        table.row([
            broker.namespace.clone(),
            broker.name.clone(),
            if broker.detached.is_some() {
                "detached".into()
            } else {
                "ready".into()
            },
            count(broker.triggers as u64),
            count(broker.stored),
            broker.url.clone(),
        ]);
    }
    or(
        &table,
        "no brokers; `default` comes with the first trigger that names it",
    )
}

fn destinations(destinations: &[DestinationView]) -> String {
    let mut table = Table::new(&[
        ("ADDRESS", Left),
        ("STATE", Left),
        ("TRIGGERS", Right),
        ("IN FLIGHT", Right),
        ("WAITING", Right),
        ("ATTEMPTS", Right),
        ("ANSWERS", Left),
        ("P50", Right),
        ("P99", Right),
        ("LAST ERROR", Left),
    ]);
    for destination in destinations {
        table.row([
            destination.address.clone(),
            health(destination),
            count(u64::from(destination.triggers)),
            count(u64::from(destination.in_flight)),
            count(destination.waiting as u64),
            count(destination.attempts),
            answers(&destination.answers),
            latency(destination.p50_seconds),
            latency(destination.p99_seconds),
            last_error(destination),
        ]);
    }
    or(&table, "no destinations yet; they come with triggers")
}

/// How many answers of each class there were, and how many never came.
fn answers(answers: &BTreeMap<String, u64>) -> String {
    let classes: Vec<String> = answers
        .iter()
        .map(|(class, number)| match &**class {
            "none" => format!("{} unanswered", count(*number)),
            class => format!("{} {class}", count(*number)),
        })
        .collect();
    match classes.is_empty() {
        true => "-".into(),
        false => classes.join(", "),
    }
}

/// What failed last, and how long ago: one that is well again keeps it.
fn last_error(destination: &DestinationView) -> String {
    match (&destination.last_error, destination.last_error_seconds) {
        (None, _) => "-".into(),
        (Some(error), None) => error.clone(),
        (Some(error), Some(seconds)) => format!("{} ago: {error}", span(seconds)),
    }
}

/// Whether calls flow, in a word or two.
pub(crate) fn health(destination: &DestinationView) -> String {
    if destination.paused.is_some() {
        return "paused".into();
    }
    match (&*destination.breaker, destination.open_seconds) {
        ("open" | "half-open", Some(since)) => {
            format!("{} for {}", destination.breaker, span(since))
        }
        _ if destination.pushed_back_until.is_some() => "pushed back".into(),
        _ if destination.share < 1.0 => format!("warming up, {:.0} %", destination.share * 100.0),
        _ => "ok".into(),
    }
}

/// A bucket's bound as `<= 5 ms`.
fn latency(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(seconds) if seconds < 1.0 => format!("<={}ms", seconds * 1e3),
        Some(seconds) => format!("<={seconds}s"),
    }
}

fn status(status: &Status) -> String {
    let log = &status.log;
    let mut rows = vec![
        ("version", status.version.clone()),
        (
            "ready",
            status
                .reason
                .clone()
                .map_or("yes".into(), |why| format!("no: {why}")),
        ),
        (
            "started",
            format!("{} ({} ago)", status.started, span(status.uptime_seconds)),
        ),
        ("ingress", status.ingress.clone()),
        ("admin", status.admin.clone()),
        (
            "data",
            status
                .data
                .clone()
                .unwrap_or_else(|| "in memory, nothing survives".into()),
        ),
        ("durability", status.durability.clone()),
        ("workers", status.workers.to_string()),
        ("brokers", count(status.brokers as u64)),
        ("triggers", count(status.triggers as u64)),
        (
            "log",
            format!(
                "offsets {} to {}, {} segments, {} of {}",
                count(log.start),
                count(log.end),
                log.segments,
                size(log.bytes_used),
                size(log.bytes_max)
            ),
        ),
        ("storage", storage(&status.storage)),
        ("books", books(&status.books)),
        ("dead letters", count(status.dead_letters)),
    ];
    if status.suspects > 0 {
        let goes = many(status.suspects, "suspect goes", "suspects go");
        rows.push(("careful", format!("{goes} one at a time")));
    }
    if let Some(free) = log.disk_free {
        rows.push(("disk free", size(free)));
    }
    let mut text = fields(&rows, "");
    for problem in &status.problems {
        text.push_str(&format!("problem       {problem}\n"));
    }
    text
}

/// What lies on disk, and how far back a replay reaches.
fn storage(storage: &StorageView) -> String {
    let StorageView {
        bytes_max,
        log_bytes,
        kept_bytes,
        view_bytes,
        held_ratio,
        replay_since,
        refusing,
    } = storage;
    let mut text = format!(
        "{} of {} (kept {}, view {}), {:.0} % of it owed or dead",
        size(log_bytes + kept_bytes + view_bytes),
        size(*bytes_max),
        size(*kept_bytes),
        size(*view_bytes),
        held_ratio * 100.0
    );
    if let Some(since) = replay_since {
        text.push_str(&format!("; replay reaches back to {since}"));
    }
    for broker in refusing {
        text.push_str(&format!(
            "; BROKER {broker} REFUSES EVENTS, a trigger is over its share"
        ));
    }
    text
}

/// The books on one line.
pub(crate) fn books(books: &BookView) -> String {
    let BookView {
        matched,
        delivered,
        cancelled,
        owed,
        balanced,
        ..
    } = books;
    format!(
        "{} matched = {} delivered + {} dead + {} cancelled + {} owed{}",
        count(*matched),
        count(*delivered),
        count(dead(books)),
        count(*cancelled),
        count(*owed),
        if *balanced { "" } else { "  OUT OF BALANCE" }
    )
}

/// Names and values in two columns.
pub(crate) fn fields(rows: &[(&str, String)], margin: &str) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| format!("{margin}{name:<width$}  {value}\n"))
        .collect()
}

/// The table, or what to do when it is empty.
pub(crate) fn or(table: &Table, empty: &str) -> String {
    if table.is_empty() {
        format!("{empty}\n")
    } else {
        table.render()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::expect;

    use super::*;
    use crate::admin::views::PausedState;

    pub(crate) fn trigger(name: &str) -> TriggerView {
        TriggerView {
            namespace: "shop".into(),
            name: name.into(),
            uid: "1c0ffee0-0000-4000-8000-000000000000".into(),
            broker: "shop/default".into(),
            ready: true,
            reason: None,
            message: None,
            spared: None,
            detached: None,
            subscriber: "http://127.0.0.1:8081/".into(),
            dead_letter_sink: None,
            books: BookView {
                matched: 1_203,
                delivered: 1_190,
                dead: BTreeMap::from([("exhausted".into(), 2), ("refused".into(), 1)]),
                cancelled: 0,
                owed: 10,
                balanced: true,
            },
            forward_books: None,
            waiting: 9,
            in_flight: 1,
            parked: 0,
            held: 0,
            keys_blocked: 0,
            oldest_owed_seconds: Some(75.2),
            attempts: 1_200,
            attempts_failed: 7,
            replies: 0,
            replies_ignored: 3,
            dead_letters: 3,
            paused: None,
            suspects: 0,
        }
    }

    #[test]
    fn triggers_are_a_table() {
        let mut gone = trigger("audit");
        (gone.detached, gone.oldest_owed_seconds) = (Some("2026-01-01T00:00:00.000Z".into()), None);
        let mut stray = trigger("stray");
        stray.reason = Some("BrokerDoesNotExist".into());
        let mut held = trigger("held");
        held.paused = Some(PausedState {
            since: "2026-01-01T00:00:00.000Z".into(),
            by: "command".into(),
            destination: None,
        });
        let mut ill = trigger("ill");
        ill.spared = Some("breaker open".into());
        expect![[r#"
            NAMESPACE  NAME     BROKER   STATE               OWED  OLDEST  DELIVERED  DEAD  SUBSCRIBER
            shop       billing  default  ready                 10  1m 15s      1,190     3  http://127.0.0.1:8081/
            shop       audit    default  detached              10       -      1,190     3  http://127.0.0.1:8081/
            shop       stray    default  BrokerDoesNotExist    10  1m 15s      1,190     3  http://127.0.0.1:8081/
            shop       held     default  paused                10  1m 15s      1,190     3  http://127.0.0.1:8081/
            shop       ill      default  breaker open          10  1m 15s      1,190     3  http://127.0.0.1:8081/
        "#]].assert_eq(&triggers(&[trigger("billing"), gone, stray, held, ill]));
        expect![[r#"
            no triggers; put a Trigger into the folder that `weft run` watches
        "#]]
        .assert_eq(&triggers(&[]));
    }

    pub(crate) fn destination() -> DestinationView {
        DestinationView {
            address: "http://127.0.0.1:8081/".into(),
            triggers: 2,
            in_flight: 1,
            attempts: 1_207,
            answers: BTreeMap::from([("2xx".into(), 1_200), ("5xx".into(), 5), ("none".into(), 2)]),
            p50_seconds: Some(0.0025),
            p99_seconds: Some(2.5),
            breaker: "closed".into(),
            open_since: None,
            open_seconds: None,
            next_probe: None,
            pushed_back_until: None,
            waiting: 0,
            max_in_flight: 256,
            share: 1.0,
            retry_budget: Some(100.0),
            deferred: BTreeMap::new(),
            last_error: None,
            last_error_at: None,
            last_error_seconds: None,
            paused: None,
        }
    }

    #[test]
    fn destinations_and_brokers_are_tables() {
        let mut ill = destination();
        ill.breaker = "open".into();
        ill.open_seconds = Some(125.0);
        ill.waiting = 2;
        ill.last_error = Some("connection refused".into());
        ill.last_error_seconds = Some(3.0);
        expect![[r#"
            ADDRESS                 STATE           TRIGGERS  IN FLIGHT  WAITING  ATTEMPTS  ANSWERS                             P50     P99  LAST ERROR
            http://127.0.0.1:8081/  ok                     2          1        0     1,207  1,200 2xx, 5 5xx, 2 unanswered  <=2.5ms  <=2.5s  -
            http://127.0.0.1:8081/  open for 2m 5s         2          1        2     1,207  1,200 2xx, 5 5xx, 2 unanswered  <=2.5ms  <=2.5s  3.0s ago: connection refused
        "#]].assert_eq(&destinations(&[destination(), ill]));
        let broker = BrokerView {
            namespace: "shop".into(),
            name: "default".into(),
            url: "http://127.0.0.1:8080/shop/default".into(),
            triggers: 2,
            stored: 12_345,
            deduplicated: 0,
            detached: None,
        };
        expect![[r#"
            NAMESPACE  NAME     STATE  TRIGGERS  STORED  URL
            shop       default  ready         2  12,345  http://127.0.0.1:8080/shop/default
        "#]]
        .assert_eq(&brokers(&[broker]));
    }
}
