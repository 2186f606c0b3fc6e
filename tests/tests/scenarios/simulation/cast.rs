//! The world in which plans are played: one trigger of everything, and how functions answer in each mood.

use std::time::Duration;

use broker::Nack;
use tests::want::trigger_yaml;
use tests::world::Builder;
use tests::{
    Script, Terms, World, after, always, everything, garbles, hangs, refuses_connection, replies,
    resets, terms, times, ty,
};

use super::plan::{Mood, Plan, SINKS};

fn small(options: &mut journal::Options) {
    options.segment_bytes = 64 << 10;
    options.group_bytes_max = 16 << 10;
    options.queue_bytes_max = 64 << 10;
    options.note_bytes_max = 64 << 10;
    options.reserve_bytes = 256 << 10;
    options.bytes_max = 2 << 20;
    options.min_free = 256 << 10;
}

fn large(options: &mut journal::Options) {
    small(options);
    options.bytes_max = 64 << 20;
}

fn policy(name: &str, ordering: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1
kind: DeliveryPolicy
metadata: {{name: {name}}}
spec: {{ordering: {ordering}}}
"
    )
}

fn quick(terms: Terms) -> Terms {
    terms.backoff("linear", "PT0.3S").backoff_max("PT20S")
}

/// The trigger whose filter changes.
pub(super) fn shifty(filter: &str) -> String {
    let terms = quick(terms().timeout("PT2S")).retry(9);
    trigger_yaml("shifty", "default", filter, &terms)
}

/// The trigger that comes and goes.
pub(super) fn fleeting() -> String {
    trigger_yaml("fleeting", "default", &ty("order.placed"), &quick(terms()))
}

/// One of everything.
pub(super) fn of_everything(plan: &Plan) -> Builder {
    let journal = if plan.small_log { small } else { large };
    let mut builder = World::new()
        .journal(journal)
        .seed(plan.seed)
        .workers(plan.workers)
        .compares_views(plan.compares_views)
        .limits(|limits| limits.detached_for = Duration::from_secs(30))
        .broker("second", terms().dedup_window("PT10M"))
        .file(
            "ordered-policy.yaml",
            policy("ordered", "{by: partitionkey}"),
        )
        .file(
            "blocking-policy.yaml",
            policy("blocking", "{by: partitionkey, blockedKey: deadLetter}"),
        )
        .trigger(
            "billing",
            ty("order.placed"),
            quick(terms().timeout("PT3S")),
        )
        .trigger(
            "shipping",
            ty("order.billed"),
            quick(terms().timeout("PT2S")).retry(6),
        )
        .trigger(
            "fraud",
            ty("order.placed"),
            quick(terms()).retry(2).dead_letter("graveyard"),
        )
        .trigger("audit", everything(), quick(terms()).max_in_flight(5))
        .trigger("ordered", ty("step"), quick(terms()).policy("ordered"))
        .trigger(
            "blocking",
            ty("step"),
            quick(terms().timeout("PT1S")).retry(2).policy("blocking"),
        )
        .file("shifty.yaml", shifty("[]"))
        .file(
            "once.yaml",
            trigger_yaml("once", "second", "[]", &quick(terms())),
        )
        .sink(
            "graveyard",
            times(1, 503).then(after(Duration::from_millis(4))),
        )
        .sink("fleeting", 200);
    for sink in SINKS {
        builder = builder.sink(sink, script(sink, Mood::Takes(3)));
    }
    builder
}

/// How a function answers in this mood. That of billing replies when all is well.
pub(super) fn script(sink: &str, mood: Mood) -> Script {
    let ms = Duration::from_millis;
    let takes = || match sink {
        "billing" => replies("order.billed"),
        _ => always(200),
    };
    match mood {
        Mood::Takes(after) => takes().after(ms(after)),
        Mood::Fails(status) => always(status),
        Mood::Rejects => always(422).body("no"),
        Mood::Stumbles(count) => times(count, 503).then(takes().after(ms(2))),
        Mood::Stalls(after) => takes().after(ms(after)),
        Mood::Hangs => hangs(),
        Mood::PushesBack(seconds) => always(429).retry_after(Duration::from_secs(seconds)),
        Mood::Nacks => {
            let nack = Nack::Retry { after: None };
            always(503).nack(nack).times(4).then(takes())
        }
        Mood::Garbles => garbles(),
        Mood::Vanishes => refuses_connection(),
        Mood::Resets => resets(),
    }
}
