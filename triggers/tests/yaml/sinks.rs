//! Sinks: what they may say, and who refers to them.

use triggers::Kind;

use super::*;

/// A Sink with this `spec`, whose lines begin on line 5.
fn sink(name: &str, lines: &str) -> String {
    let mut text =
        format!("apiVersion: weft.dev/v1alpha1\nkind: Sink\nmetadata: {{name: {name}}}\nspec:\n");
    for line in lines.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

const REF: &str = "apiVersion: weft.dev/v1alpha1, kind: Sink, name: ";

/// A trigger whose subscriber is written so.
fn sends_to(subscriber: &str) -> String {
    trigger("billing", "").replace("{uri: http://127.0.0.1:8081/}", subscriber)
}

#[track_caller]
fn runs_as(lines: &str, expect: Expect) {
    let text = sink("erp", &format!("uri: http://erp/in?x=1\n{lines}"));
    let mut catalog = Catalog::default();
    let change = catalog.reload(vec![file("a.yaml", &text)]);
    let (lowered, further) = lower(&catalog.in_force().collect::<Vec<_>>());
    assert_eq!((change.problems, further), (vec![], vec![]));
    let sink = lowered.sinks.values().next().expect("a Sink is there");
    let canonical = change.put[0].canonical();
    let again = triggers::Resource::from_canonical(&canonical).expect("it reads what it wrote");
    assert_eq!(again, *change.put[0], "{canonical}");
    expect.assert_eq(&format!(
        "{} {} {:?}",
        sink,
        sink.key(),
        sink.health().expect("a Sink has its terms")
    ));
}

#[test]
fn a_sink_that_says_nothing_has_the_defaults() {
    runs_as(
        "",
        expect![
            "http://erp/in?x=1 sink:default/erp Health { breaker: Some(Breaker { consecutive_failures: 7, success_rate: SuccessRate { threshold: 0.8, window: 10s, min_requests: 5 }, min_penalty: 1s, max_penalty: 60s, jitter: 0.5 }), retry_budget: Some(RetryBudget { ratio: 0.2, min_per_second: 10, ttl: 10s }), max_in_flight: None, adaptive: None, warmup: Warmup { duration: 30s, min_percent: 10 }, paused: false }"
        ],
    );
}

#[test]
fn everything_that_a_sink_says_is_run() {
    runs_as(
        "breaker: {consecutiveFailures: 3, successRate: {threshold: 0.5, window: PT30S, minRequests: 10}, minPenalty: \
         PT2S, maxPenalty: PT5M, jitter: 1}\nretryBudget: {ratio: 0.25, minPerSecond: 0, ttl: \
         PT5S}\nmaxInFlight: 7\nconcurrency: {mode: adaptive, min: 1, max: 50}\nwarmup: {duration: PT0S, minPercent: \
         100}\npaused: true",
        expect![
            "http://erp/in?x=1 sink:default/erp Health { breaker: Some(Breaker { consecutive_failures: 3, success_rate: SuccessRate { threshold: 0.5, window: 30s, min_requests: 10 }, min_penalty: 2s, max_penalty: 300s, jitter: 1.0 }), retry_budget: Some(RetryBudget { ratio: 0.25, min_per_second: 0, ttl: 5s }), max_in_flight: Some(7), adaptive: Some(Adaptive { min: 1, max: 50 }), warmup: Warmup { duration: 0ns, min_percent: 100 }, paused: true }"
        ],
    );
    runs_as(
        "breaker: off\nretryBudget: off\nconcurrency: {mode: fixed}\npaused: false",
        expect![
            "http://erp/in?x=1 sink:default/erp Health { breaker: None, retry_budget: None, max_in_flight: None, adaptive: None, warmup: Warmup { duration: 30s, min_percent: 10 }, paused: false }"
        ],
    );
    // What isn't written of a map takes the default.
    runs_as(
        "breaker: {successRate: {threshold: 1}}\nretryBudget: {ratio: 0}\nconcurrency: {mode: adaptive}\nwarmup: \
         {minPercent: 50}",
        expect![
            "http://erp/in?x=1 sink:default/erp Health { breaker: Some(Breaker { consecutive_failures: 7, success_rate: SuccessRate { threshold: 1.0, window: 10s, min_requests: 5 }, min_penalty: 1s, max_penalty: 60s, jitter: 0.5 }), retry_budget: Some(RetryBudget { ratio: 0.0, min_per_second: 10, ttl: 10s }), max_in_flight: None, adaptive: Some(Adaptive { min: 3, max: 1000 }), warmup: Warmup { duration: 30s, min_percent: 50 }, paused: false }"
        ],
    );
}

#[test]
fn mistakes() {
    check(
        &sink(
            "erp",
            "uri: kafka://erp\nbreaker: on\nretryBudget: false\nmaxInFlight: 0\nconcurrency: {mode: auto, min: 0}\nwarmup: \
             {duration: 30s, minPercent: 0}\npaused: maybe",
        ),
        expect![[r#"
            a.yaml:5:8  spec.uri is "kafka://erp", kafka:// is not supported: write an http:// address
            a.yaml:6:12  spec.breaker is "on", write off, or fields under it
            a.yaml:7:16  spec.retryBudget is "false", write off, or fields under it
            a.yaml:8:16  spec.maxInFlight is 0, it must be a whole number from 1 to 65536
            a.yaml:9:23  spec.concurrency.mode is "auto", write fixed or adaptive
            a.yaml:10:22  spec.warmup.duration is "30s", write an ISO 8601 duration such as PT30S
            a.yaml:10:39  spec.warmup.minPercent is 0, it must be a whole number from 1 to 100
            a.yaml:11:11  spec.paused is "maybe", write true or false"#]],
    );
    check(
        &sink(
            "erp",
            "breaker: {consecutiveFailures: 0, successRate: {threshold: 0, window: PT0.5S, minRequests: many}, \
             minPenalty: PT0S, maxPenalty: P1D, jitter: 2, penalty: PT1S}\nretryBudget: {ratio: 11, minPerSecond: -1, \
             ttl: PT2M}",
        ),
        expect![[r#"
            a.yaml:4:1  spec.uri is missing, write an address such as uri: http://127.0.0.1:8081/
            a.yaml:5:34  spec.breaker.consecutiveFailures is 0, it must be a whole number from 1 to 10000
            a.yaml:5:62  spec.breaker.successRate.threshold is 0, it must be above 0 and at most 1, such as 0.8
            a.yaml:5:73  spec.breaker.successRate.window is PT0.5S, it must be at least PT1S
            a.yaml:5:94  spec.breaker.successRate.minRequests is "many", it must be a whole number
            a.yaml:5:113  spec.breaker.minPenalty is PT0S, it must be at least PT0.1S
            a.yaml:5:131  spec.breaker.maxPenalty is P1D, it must be at most PT1H
            a.yaml:5:144  spec.breaker.jitter is 2, it must be a number from 0 to 1
            a.yaml:5:147  spec.breaker.penalty is not a known field, the fields here are consecutiveFailures, successRate, minPenalty, maxPenalty and jitter
            a.yaml:6:24  spec.retryBudget.ratio is 11, it must be a number from 0 to 10
            a.yaml:6:42  spec.retryBudget.minPerSecond is -1, it must be a whole number from 0 to 100000
            a.yaml:6:51  spec.retryBudget.ttl is PT2M, it must be at most PT1M"#]],
    );
    check(
        &sink(
            "erp",
            "uri: http://erp/\nbreaker: {maxPenalty: PT0.5S, successRate: {threshold: \"0.5\"}, jitter: some}\n\
             retryBudget: {ratio: 0, minPerSecond: 0}\nconcurrency: {min: 5}\npaused: \"true\"",
        ),
        expect![[r#"
            a.yaml:6:25  spec.breaker.maxPenalty is PT0.5S, it must be at least minPenalty, which is PT1S
            a.yaml:6:58  spec.breaker.successRate.threshold is "0.5", it must be a number: write 0.5 without quotes
            a.yaml:6:74  spec.breaker.jitter is "some", it must be a number
            a.yaml:7:41  spec.retryBudget.minPerSecond is 0, with ratio 0 nothing would ever be retried: write at least 1
            a.yaml:8:22  spec.concurrency.min means nothing without mode: adaptive, write mode: adaptive beside it, or remove it; maxInFlight is the fixed cap
            a.yaml:9:11  spec.paused is "true", write true or false, without quotes"#]],
    );
    check(
        &sink(
            "erp",
            "uri: http://erp/\nbreaker: {minPenalty: PT2M}\nretryBudget: []\nconcurrency: {mode: adaptive, min: \
             2000}\nratio: 1",
        ),
        expect![[r#"
            a.yaml:6:25  spec.breaker.minPenalty is PT2M, it must be at most maxPenalty, which is PT1M
            a.yaml:7:3  spec.retryBudget is a list, it must be off, or fields under it
            a.yaml:8:38  spec.concurrency.min is 2000, it must be at most max, which is 1000
            a.yaml:9:3  spec.ratio is not a known field, the fields here are uri, breaker, retryBudget, maxInFlight, concurrency, warmup and paused"#]],
    );
    check(
        &sink(
            "erp",
            "uri: http://erp/\nconcurrency: {mode: adaptive, min: 9, max: 8}",
        )
        .replace(
            "{name: erp}",
            "{name: erp, annotations: {weft.dev/paused: yes, weft.dev/policy: p}}",
        ),
        expect![[r#"
            a.yaml:3:54  metadata.annotations."weft.dev/paused" is "yes", write true or false
            a.yaml:3:76  metadata.annotations."weft.dev/policy" means nothing here, it belongs on a Broker or Trigger
            a.yaml:6:46  spec.concurrency.max is 8, it must be at least min, which is 9"#]],
    );
}

#[test]
fn references() {
    check(
        &sends_to("{ref: {kind: Service, name: erp}}"),
        expect![
            "a.yaml:7:16  spec.subscriber.ref is not supported by this version, without Kubernetes nothing resolves it: write the address, such as uri: http://127.0.0.1:8081/"
        ],
    );
    check(
        &sends_to("{ref: {name: erp}}"),
        expect!["a.yaml:7:16  spec.subscriber.ref.kind is missing, write kind: Sink"],
    );
    check(
        &sends_to("{ref: {kind: Sink, apiVersion: v1}}"),
        expect![[r#"
            a.yaml:7:16  spec.subscriber.ref.name is missing, write the Sink's name
            a.yaml:7:46  spec.subscriber.ref.apiVersion is "v1", a Sink's is weft.dev/v1alpha1"#]],
    );
    check(
        &sends_to("{ref: {kind: Sink, name: E!, namespace: A}}"),
        expect![[r#"
            a.yaml:7:16  spec.subscriber.ref.apiVersion is missing, a Sink's is weft.dev/v1alpha1
            a.yaml:7:55  spec.subscriber.ref.namespace is "A", use lower-case letters, digits and dashes, beginning and ending with a letter or digit"#]],
    );
    check(
        &sends_to("{ref: erp}"),
        expect![[r#"a.yaml:7:21  spec.subscriber.ref is "erp", it must be a map of fields"#]],
    );
    check(
        &sends_to(&format!("{{uri: http://erp/in, ref: {{{REF}erp}}}}")),
        expect![[
            r#"a.yaml:7:21  spec.subscriber.uri is "http://erp/in", beside ref write only what follows the Sink's address, such as /orders, or remove ref"#
        ]],
    );
    check(
        &sends_to("{ref: {kind: Sink, nam: erp, apiVersion: weft.dev/v1alpha1}}"),
        expect!["a.yaml:7:34  spec.subscriber.ref.nam is not a known field, did you mean name?"],
    );
    check(
        &format!(
            "{}---\n{}",
            sink("erp", "uri: http://erp/"),
            sends_to(&format!("{{ref: {{{REF}epr}}}}"))
        ),
        expect![
            "a.yaml:7:1  Trigger default/billing names the Sink default/epr, which does not exist (SinkDoesNotExist), did you mean erp? Otherwise declare a Sink epr in the namespace default"
        ],
    );
    let dead = trigger(
        "billing",
        &format!("delivery: {{deadLetterSink: {{ref: {{{REF}dead, namespace: ops}}}}}}"),
    );
    check(
        &dead,
        expect![
            "a.yaml:1:1  Trigger default/billing names the Sink ops/dead, which does not exist (SinkDoesNotExist), declare a Sink dead in the namespace ops"
        ],
    );
}

/// `uri` beside `ref` is relative to the Sink's address; the health is the Sink's, wherever below it.
#[test]
fn an_address_below_a_sinks() {
    let below = |uri: &str| sends_to(&format!("{{ref: {{{REF}erp}}, uri: {uri}}}"));
    let written = |sink_uri: &str, uri: &str| {
        let mut catalog = Catalog::default();
        let sink = sink("erp", &format!("uri: {sink_uri}"));
        let text = format!("{sink}---\n{}", below(uri));
        let change = catalog.reload(vec![file("a.yaml", &text)]);
        assert_eq!(change.problems, vec![]);
        told(&catalog).join("\n")
    };
    expect!["default/billing -> http://erp/orders?fast=1 by sink:default/erp, dead -> -, ready, paused false"].assert_eq(&written("http://erp/in/new?x=1", "../orders?fast=1"));
    expect!["default/billing -> http://erp:8081/orders by sink:default/erp, dead -> -, ready, paused false"].assert_eq(&written("http://erp:8081", "/orders"));
    let long = |n| format!("/{}", "x".repeat(n));
    let parts = (long(5000), long(4000));
    let told = written(&format!("http://erp{}", parts.0), &format!(".{}", parts.1));
    assert!(
        told.contains("ready"),
        "only the last part is replaced: {told}"
    );
    expect![[r#"
        a.yaml:7:1  the address that Trigger default/billing makes of the Sink default/erp is 9012 bytes long, it may have at most 8192
        default/billing -> sink:default/erp by sink:default/erp, dead -> -, SubscriberDoesNotExist, paused true"#]].assert_eq(&written(
        &format!("http://erp{}/", parts.0),
        &format!(".{}", parts.1),
    ));
}

/// Where each trigger sends to, by which key its health hangs, and why it isn't ready.
fn told(catalog: &Catalog) -> Vec<String> {
    let (lowered, further) = lower(&catalog.in_force().collect::<Vec<_>>());
    let mut lines: Vec<String> = further.iter().map(ToString::to_string).collect();
    for t in lowered.triggers.values() {
        let dead = t
            .dead_letter
            .as_ref()
            .map_or("-", |dead| dead.key().as_str());
        let ready = t.not_ready.map_or("ready", |why| why.reason());
        lines.push(format!(
            "{} -> {} by {}, dead -> {dead}, {ready}, paused {}",
            t.name,
            t.subscriber,
            t.subscriber.key(),
            t.terms.paused
        ));
    }
    lines
}

/// A Sink's address and health are its triggers' at once; no other trigger changes. One that is
/// gone leaves its triggers not ready, and paused.
#[test]
fn who_refers_to_a_sink_follows_it() {
    let broker = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: default}}\nspec:\n  delivery: \
         {{deadLetterSink: {{ref: {{{REF}dead}}}}}}\n"
    );
    let by_ref = sends_to(&format!("{{ref: {{{REF}erp}}}}"));
    let by_uri = trigger("plain", "delivery: {deadLetterSink: {uri: http://mine/}}");
    let (erp, moved) = (
        sink("erp", "uri: http://erp/"),
        sink("erp", "uri: http://new/\nmaxInFlight: 3"),
    );
    let dead = sink("dead", "uri: http://dead/");
    let all = |sinks: &[&String]| {
        let mut files = vec![file(
            "t.yaml",
            &format!("{broker}---\n{by_ref}---\n{by_uri}"),
        )];
        files.extend(
            sinks
                .iter()
                .map(|text| file(&format!("{}.yaml", text.len()), text)),
        );
        files
    };
    let mut catalog = Catalog::default();
    let mut lines = Vec::new();
    for sinks in [
        &[&erp, &dead][..],
        &[&moved, &dead],
        &[&dead],
        &[&erp],
        &[&erp, &dead],
    ] {
        let change = catalog.reload(all(sinks));
        assert!(
            lines.is_empty() || change.put.iter().all(|put| put.kind() == Kind::Sink),
            "only Sinks are written differently"
        );
        lines.extend(change.gone.iter().map(|key| format!("gone {key}")));
        lines.extend(told(&catalog));
        lines.push(format!("-- {}", change.counts));
    }
    expect![[r#"
        default/billing -> http://erp/ by sink:default/erp, dead -> sink:default/dead, ready, paused false
        default/plain -> http://127.0.0.1:8081/ by http://127.0.0.1:8081/, dead -> http://mine/, ready, paused false
        -- 1 broker, 2 triggers, 2 sinks, 0 nodes from 3 files
        default/billing -> http://new/ by sink:default/erp, dead -> sink:default/dead, ready, paused false
        default/plain -> http://127.0.0.1:8081/ by http://127.0.0.1:8081/, dead -> http://mine/, ready, paused false
        -- 1 broker, 2 triggers, 2 sinks, 0 nodes from 3 files
        gone Sink default/erp
        t.yaml:7:1  Trigger default/billing names the Sink default/erp, which does not exist (SinkDoesNotExist), declare a Sink erp in the namespace default
        default/billing -> sink:default/erp by sink:default/erp, dead -> sink:default/dead, SubscriberDoesNotExist, paused true
        default/plain -> http://127.0.0.1:8081/ by http://127.0.0.1:8081/, dead -> http://mine/, ready, paused false
        -- 1 broker, 2 triggers, 1 sink, 0 nodes from 2 files
        gone Sink default/dead
        t.yaml:1:1  Broker default/default names the Sink default/dead, which does not exist (SinkDoesNotExist), declare a Sink dead in the namespace default
        default/billing -> http://erp/ by sink:default/erp, dead -> sink:default/dead, DeadLetterSinkDoesNotExist, paused true
        default/plain -> http://127.0.0.1:8081/ by http://127.0.0.1:8081/, dead -> http://mine/, ready, paused false
        -- 1 broker, 2 triggers, 1 sink, 0 nodes from 2 files
        default/billing -> http://erp/ by sink:default/erp, dead -> sink:default/dead, ready, paused false
        default/plain -> http://127.0.0.1:8081/ by http://127.0.0.1:8081/, dead -> http://mine/, ready, paused false
        -- 1 broker, 2 triggers, 2 sinks, 0 nodes from 3 files"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn ten_thousand_triggers_with_a_policy_and_a_sink_each_are_lowered_in_a_moment() {
    let mut documents = Vec::new();
    for n in 0..10_000 {
        documents.push(sink(&format!("s{n}"), "uri: http://erp/"));
        documents.push(format!(
            "apiVersion: weft.dev/v1alpha1\nkind: DeliveryPolicy\nmetadata: {{name: p{n}}}\nspec: {{maxInFlight: 5}}\n"
        ));
        // Every second names what isn't there.
        let named = if n % 2 == 0 { n } else { n + 20_000 };
        let trigger = sends_to(&format!("{{ref: {{{REF}s{named}}}}}")).replace(
            "name: billing",
            &format!("name: t{n}\n  annotations: {{weft.dev/policy: p{named}}}"),
        );
        documents.push(trigger);
    }
    let mut catalog = Catalog::default();
    let change = catalog.reload(vec![file("a.yaml", &documents.join("---\n"))]);
    assert_eq!(change.problems, []);
    let resources: Vec<_> = catalog.in_force().collect();
    let began = std::time::Instant::now();
    let (lowered, problems) = lower(&resources);
    let took = began.elapsed();
    assert_eq!((lowered.triggers.len(), problems.len()), (10_000, 10_000));
    // It takes under a second; comparing each with each would take minutes.
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}
