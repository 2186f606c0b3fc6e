//! `docs/peers.md`: a table of all peers, and what each gets wrong.
//!
//! `UPDATE_EXPECT=1` writes it anew, where all peers are installed. Elsewhere the parts of those that are, are
//! compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::list::{PEERS, Peer};
use super::play::{Outcome, Tally};
use super::samples::{MODES, samples};

const PAGE: &str = "../docs/peers.md";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)
}

/// Fails when the page says something else of this peer.
#[track_caller]
pub(crate) fn holds(peer: &Peer, outcome: &Outcome) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        return;
    }
    let page = std::fs::read_to_string(path()).unwrap_or_default();
    for part in [row(peer, outcome), section(peer, outcome)] {
        assert!(page.contains(&part), "docs/peers.md doesn't hold:\n{part}");
    }
}

/// Prints the table, and fails when the page isn't what all peers together make of it.
#[track_caller]
pub(crate) fn is_whole(outcomes: &BTreeMap<&'static str, Outcome>) {
    let here: Vec<&Peer> = PEERS
        .iter()
        .filter(|peer| outcomes.contains_key(peer.key))
        .collect();
    eprintln!("{}", table(&here, outcomes));
    if here.len() < PEERS.len() {
        eprintln!(
            "{} of {} peers are not here",
            PEERS.len() - here.len(),
            PEERS.len()
        );
        return;
    }
    expect_test::expect_file![path()].assert_eq(&page(outcomes));
}

fn page(outcomes: &BTreeMap<&'static str, Outcome>) -> String {
    let all: Vec<&Peer> = PEERS.iter().collect();
    let names: Vec<String> = samples(MODES[0])
        .iter()
        .map(|sample| format!("`{}`", sample.name))
        .collect();
    let mut page = HEAD
        .replace("{count}", &names.len().to_string())
        .replace("{names}", &names.join(", "))
        .replace("{table}", &table(&all, outcomes));
    for peer in &PEERS {
        page += "\n";
        page += &section(peer, &outcomes[peer.key]);
    }
    page
}

/// The page before what each peer gets wrong.
const HEAD: &str = "# Peers

What others use to send and to receive CloudEvents, and how it gets on with Weft: each a process of its own, in the
version that stands here. `make test` has every sender send {count} events in binary and in structured mode, and sends
them to every function in binary mode, in structured mode, and in binary mode to a Trigger with `delivery.format: json`;
what a function replies reaches a second Trigger. The programs are in [tests/peers](../tests/peers/README.md). This page
is written by `tests/conformance/peers`; a test fails when it isn't current.

{table}
A number is how many of those tried went as they should, attributes and bytes alike; where an API has values instead of
bytes, values. That some add a `time`, or a `traceparent` from the header, isn't counted as wrong.

The events: {names}. `json` has all optional attributes, and data with spaces; `types` an extension of each CloudEvents
type; `percent` has the attributes `100% \"a b\" %41`, `unicode` has `Grüße 世界 €😀`; `nothing` has no data, `empty` has a
content type and no bytes, `null` has JSON's null; `numbers` has an integer above 2^53; `bytes` has each byte once, and
`mebibyte` has 1,048,576 of them.

## What helps

- **A function sees `%20` and `%C3%BC` in attributes.** The CloudEvents HTTP binding percent-encodes header values, and
  most libraries don't decode them. Write `format: json` in the Trigger's `delivery`: in structured mode nothing is
  encoded. Filters always see the value that was meant.
- **A reply with such an attribute gets lost.** Many put the value into a header as it is, which HTTP doesn't allow, and
  answer 500 instead: the delivery is retried, then dead-lettered. Reply in structured mode, or with attributes in ASCII.
- **A sender's `%41` arrives as `A`.** It didn't encode the `%`, so what it sent says `A`. Send in structured mode.
- **A function refuses large events in structured mode.** Bytes grow by a third as base64. Leave such a Trigger as it is,
  or write `format: binary`.
- **Integers lose digits.** JavaScript's numbers have 53 bits. Weft never touches data; send such numbers as text.
- **A function that can't reply** is given the event by its framework and answers a plain `OK`, which counts as
  delivered. Use the framework's `http` signature to reply.

## What each gets wrong

In the pinned version, with the events that it happens with.
";

fn table(peers: &[&Peer], outcomes: &BTreeMap<&'static str, Outcome>) -> String {
    let mut table = String::from(
        "| language | library | version | sent | received | replied | remarks |\n|---|---|---|---|---|---|---|\n",
    );
    for peer in peers {
        table += &row(peer, &outcomes[peer.key]);
    }
    table
}

fn row(peer: &Peer, outcome: &Outcome) -> String {
    let cell = |tally: Option<Tally>| {
        tally.map_or("–".to_owned(), |tally| {
            format!("{} of {}", tally.good, tally.tried)
        })
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        peer.language,
        peer.library,
        peer.version,
        cell(outcome.sent),
        cell(outcome.received),
        cell(outcome.replied),
        peer.remarks
    )
}

fn section(peer: &Peer, outcome: &Outcome) -> String {
    let mut section = format!(
        "### {}, {} {}\n\n",
        peer.language, peer.library, peer.version
    );
    if outcome.wrong.is_empty() {
        section += "Nothing.\n";
    }
    for ((kind, mode, wrong), samples) in &outcome.wrong {
        let samples: Vec<String> = samples.iter().map(|name| format!("`{name}`")).collect();
        section += &format!("- {kind}, {mode}: {wrong}: {}\n", samples.join(", "));
    }
    section
}
