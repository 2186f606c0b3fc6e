//! The arrows of ARCHITECTURE.md: which crate may use which, and which outside crates have a home.
//!
//! Two absences carry the design: the journal doesn't know events, and the broker knows no
//! protocol. That is what lets the engine run under simulation.

use crate::assert_none;
use crate::graph::Graph;

/// Who may use whom among our own crates. `adapters-*` stands for every adapter.
const MAY_USE: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("journal", &[]),
    ("triggers", &["event"]),
    ("broker", &["triggers", "journal", "event"]),
    ("adapters-*", &["broker", "event", "triggers"]),
    ("controller", &["triggers"]),
    (
        "weft",
        &[
            "controller",
            "adapters-*",
            "broker",
            "triggers",
            "journal",
            "event",
        ],
    ),
    // These ship nothing, and look at everything.
    ("tests", &["*"]),
    ("bench", &["*"]),
];

/// The crates that must run under simulation, so they open no socket.
const CORE: &[&str] = &["event", "journal", "triggers", "broker"];

/// Crates that speak a protocol or open a socket. The type crate `http` does neither.
const PROTOCOLS: &[&str] = &[
    "async-nats",
    "axum",
    "h2",
    "hyper",
    "hyper-util",
    "kube",
    "rdkafka",
    "reqwest",
    "tonic",
    "tower-http",
    "ureq",
];

/// Outside crates that only some of ours may declare, so that what is heavy or unpleasant about
/// them stays in one place.
const HOMES: &[(&str, &[&str])] = &[
    ("axum", &["weft", "tests"]),
    ("hyper", &["adapters-*", "weft", "tests", "bench"]),
    ("rdkafka", &["adapters-kafka", "tests"]),
    ("async-nats", &["adapters-nats", "tests"]),
    ("kube", &["controller", "tests"]),
    ("anyhow", &["weft", "tests", "bench"]),
    ("redb", &["broker"]),
    ("roaring", &["broker"]),
    ("serde-saphyr", &["triggers", "weft"]),
];

/// Crates that must not be there at all, and why.
const NOWHERE: &[(&str, &str)] = &[(
    "ring",
    "aws-lc-rs is the only crypto provider; with two, rustls panics at run time",
)];

/// Our crates that use one of ours they may not use.
fn wrong_arrows(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for (user, declared) in &graph.members {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| covers(name, user)) else {
            problems.push(format!(
                "{user} is a new crate: say in MAY_USE what it may use"
            ));
            continue;
        };
        let ours = declared
            .iter()
            .filter(|used| graph.members.contains_key(&used.name));
        let wrong = ours.filter(|used| !allowed.iter().any(|name| covers(name, &used.name)));
        problems.extend(wrong.map(|used| format!("{user} must not use {}", used.name)));
    }
    problems
}

/// Crates of the core that link a protocol, or ask tokio for sockets.
fn sockets_in_the_core(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for core in CORE {
        let chains = PROTOCOLS
            .iter()
            .filter_map(|protocol| graph.chain(core, protocol));
        problems
            .extend(chains.map(|chain| format!("{core} links a protocol: {}", chain.join(" -> "))));
        let tokio = graph.members[*core]
            .iter()
            .filter(|used| used.name == "tokio" && !used.dev);
        let features = tokio.flat_map(|used| &used.features);
        let wrong = features.filter(|feature| ["net", "full"].contains(&feature.as_str()));
        problems.extend(
            wrong.map(|feature| format!("{core} asks tokio for `{feature}`: it opens no socket")),
        );
    }
    problems
}

/// Outside crates declared away from home.
fn away_from_home(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for (outside, homes) in HOMES {
        for (user, declared) in &graph.members {
            let at_home = homes.iter().any(|home| covers(home, user));
            if !at_home && declared.iter().any(|used| used.name == *outside) {
                problems.push(format!(
                    "{user} uses {outside}, whose home is {}",
                    homes.join(", ")
                ));
            }
        }
    }
    problems
}

/// Crates that must not be in the graph, with who brought them in.
fn unwanted(graph: &Graph) -> Vec<String> {
    let mut problems = Vec::new();
    for (unwanted, why) in NOWHERE {
        let users = graph
            .linked
            .iter()
            .filter(|(_, uses)| uses.contains(*unwanted));
        problems.extend(users.map(|(user, _)| format!("{user} brings in {unwanted}: {why}")));
    }
    problems
}

/// The byte-preserving event must not meet a JSON library that would rewrite what it reads.
fn json_library_under_the_event(graph: &Graph) -> Vec<String> {
    let linked = graph.chain("event", "serde_json");
    let declared = graph.members["event"]
        .iter()
        .any(|used| used.name == "serde_json");
    let chain = linked.or(declared.then(|| vec!["event".to_owned(), "serde_json".to_owned()]));
    chain
        .iter()
        .map(|chain| format!("event links a JSON library: {}", chain.join(" -> ")))
        .collect()
}

/// Whether the name, or the pattern ending in `*`, stands for this crate.
fn covers(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |start| name.starts_with(start))
}

#[test]
fn each_crate_uses_only_those_below_it() {
    assert_none(&wrong_arrows(&Graph::of_the_repository()));
}

#[test]
fn the_core_opens_no_socket() {
    assert_none(&sockets_in_the_core(&Graph::of_the_repository()));
}

#[test]
fn a_dependency_stays_at_home() {
    assert_none(&away_from_home(&Graph::of_the_repository()));
}

#[test]
fn there_is_one_crypto_provider() {
    assert_none(&unwanted(&Graph::of_the_repository()));
}

#[test]
fn the_event_links_no_json_library() {
    assert_none(&json_library_under_the_event(&Graph::of_the_repository()));
}

mod planted {
    use super::*;

    #[test]
    fn a_journal_that_knows_events_is_found() {
        let graph = Graph::planted(&[("event", &["bytes"]), ("journal", &["bytes", "event"])]);
        assert_eq!(wrong_arrows(&graph), ["journal must not use event"]);
    }

    #[test]
    fn an_adapter_that_uses_another_is_found() {
        let crates: &[(&str, &[&str])] = &[
            ("broker", &[]),
            ("adapters-http", &["broker", "adapters-kafka"]),
            ("adapters-kafka", &["broker"]),
            ("weft", &["adapters-http", "adapters-kafka"]),
        ];
        let graph = Graph::planted(crates);
        assert_eq!(
            wrong_arrows(&graph),
            ["adapters-http must not use adapters-kafka"]
        );
    }

    #[test]
    fn a_crate_nobody_has_placed_is_found() {
        let problems = wrong_arrows(&Graph::planted(&[("common", &[])]));
        assert_eq!(
            problems,
            ["common is a new crate: say in MAY_USE what it may use"]
        );
    }

    #[test]
    fn a_protocol_far_below_the_broker_is_found() {
        let crates: &[(&str, &[&str])] = &[
            ("event", &[]),
            ("journal", &["tokio+sync net"]),
            ("triggers", &[]),
            ("broker", &["metrics"]),
            ("metrics", &["hyper"]),
        ];
        let expected = [
            "journal asks tokio for `net`: it opens no socket",
            "broker links a protocol: broker -> metrics -> hyper",
        ];
        assert_eq!(sockets_in_the_core(&Graph::planted(crates)), expected);
    }

    #[test]
    fn a_dependency_away_from_home_is_found() {
        let graph = Graph::planted(&[("adapters-http", &["hyper"]), ("triggers", &["hyper"])]);
        let expected = ["triggers uses hyper, whose home is adapters-*, weft, tests, bench"];
        assert_eq!(away_from_home(&graph), expected);
    }

    #[test]
    fn a_second_crypto_provider_is_found() {
        let graph = Graph::planted(&[("rustls", &["ring"]), ("weft", &["rustls"])]);
        assert_eq!(unwanted(&graph).len(), 1);
        assert!(unwanted(&graph)[0].starts_with("rustls brings in ring"));
    }

    #[test]
    fn a_json_library_under_the_event_is_found() {
        let graph = Graph::planted(&[("event", &["helper"]), ("helper", &["serde_json"])]);
        let expected = ["event links a JSON library: event -> helper -> serde_json"];
        assert_eq!(json_library_under_the_event(&graph), expected);
    }
}
