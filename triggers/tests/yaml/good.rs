//! Good YAML, and what it becomes.

use super::*;

#[track_caller]
fn lowered(text: &str, expect: Expect) {
    let mut catalog = Catalog::default();
    let change = catalog.reload(vec![file("a.yaml", text)]);
    let in_force: Vec<_> = catalog.in_force().collect();
    let (lowered, further) = lower(&in_force);
    assert_eq!((change.problems, further), (vec![], vec![]));
    let mut lines = Vec::new();
    for broker in lowered.brokers.values() {
        let dead = broker.dead_letter.as_ref().map_or("-", |sink| sink.uri());
        lines.push(format!(
            "broker {} declared={} dead={dead}",
            broker.name, broker.declared
        ));
    }
    for t in lowered.triggers.values() {
        let dead = t.dead_letter.as_ref().map_or("-", |sink| sink.uri());
        lines.push(format!(
            "trigger {} of {} -> {} dead={dead}",
            t.name, t.broker, t.subscriber
        ));
        lines.push(format!("  {:?}", t.filter));
        lines.push(format!("  {:?}", t.terms));
    }
    expect.assert_eq(&lines.join("\n"));
}

#[test]
fn everything_is_defaulted() {
    lowered(
        &trigger("billing", "filter: {}\nfilters: []"),
        expect![[r#"
            broker default/default declared=false dead=-
            trigger default/billing of default/default -> http://127.0.0.1:8081/ dead=-
              Everything
              Terms { retry: None, backoff: Backoff { policy: Exponential, delay: 200ms, max: 300s, jitter: true }, timeout: 30s, retry_after_max: 300s, event_age_max: Some(86400s), max_in_flight: 100, replies: Lenient, classify: Classify { retry_on: [], retry_never: [] }, ordering: None, paused: false, on_quota: DiscardOldest, format: AsItCame }"#]],
    );
}

#[test]
fn the_designs_example_without_what_comes_later() {
    lowered(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: billing\n  namespace: shop\nspec:\n  \
             broker: default\n  filters:\n    - exact: {type: com.example.order.placed}\n    - not: {suffix: {subject: \
             .tmp}}\n  subscriber: {uri: http://127.0.0.1:8081/}\n  delivery: {retry: 5, backoffPolicy: exponential, \
             backoffDelay: PT0.5S}\n",
        expect![[r#"
            broker shop/default declared=false dead=-
            trigger shop/billing of shop/default -> http://127.0.0.1:8081/ dead=-
              All([Exact(Type, "com.example.order.placed"), Not(Suffix(Other("subject"), ".tmp"))])
              Terms { retry: Some(5), backoff: Backoff { policy: Exponential, delay: 500ms, max: 300s, jitter: true }, timeout: 30s, retry_after_max: 300s, event_age_max: None, max_in_flight: 100, replies: Lenient, classify: Classify { retry_on: [], retry_never: [] }, ordering: None, paused: false, on_quota: DiscardOldest, format: AsItCame }"#]],
    );
}

/// Contract §3: the trigger's values, gaps from the broker, then the defaults; each field
/// alone; the broker's sink even when the trigger sets other fields.
#[test]
fn a_triggers_terms_win_over_its_brokers_field_by_field() {
    let broker = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: default\n  annotations: \
                      {weft.dev/replies: strict, weft.dev/max-in-flight: \"7\"}\nspec:\n  delivery: {retry: 3, \
                      backoffPolicy: linear, timeout: PT5S, format: json, deadLetterSink: {uri: http://dead/}}\n---\n";
    let silent = trigger("silent", "");
    let outspoken = trigger(
        "outspoken",
        "delivery: {backoffDelay: PT1S, retryAfterMax: PT0S, deadLetterSink: {uri: http://mine/}}",
    )
    .replace(
        "metadata:\n",
        "metadata:\n  annotations: {weft.dev/jitter: \"off\", weft.dev/replies: lenient}\n",
    );
    lowered(
        &format!("{broker}{silent}---\n{outspoken}"),
        expect![[r#"
            broker default/default declared=true dead=http://dead/
            trigger default/outspoken of default/default -> http://127.0.0.1:8081/ dead=http://mine/
              Everything
              Terms { retry: Some(3), backoff: Backoff { policy: Linear, delay: 1s, max: 300s, jitter: false }, timeout: 5s, retry_after_max: 0ns, event_age_max: None, max_in_flight: 7, replies: Lenient, classify: Classify { retry_on: [], retry_never: [] }, ordering: None, paused: false, on_quota: DiscardOldest, format: Json }
            trigger default/silent of default/default -> http://127.0.0.1:8081/ dead=http://dead/
              Everything
              Terms { retry: Some(3), backoff: Backoff { policy: Linear, delay: 200ms, max: 300s, jitter: true }, timeout: 5s, retry_after_max: 300s, event_age_max: None, max_in_flight: 7, replies: Strict, classify: Classify { retry_on: [], retry_never: [] }, ordering: None, paused: false, on_quota: DiscardOldest, format: Json }"#]],
    );
}

#[test]
fn filters_replace_filter_unless_empty() {
    lowered(
        &trigger(
            "a",
            "filter: {attributes: {type: a, region: \"\"}}\nfilters:\n- prefix: {type: b}",
        ),
        expect![[r#"
            broker default/default declared=false dead=-
            trigger default/a of default/default -> http://127.0.0.1:8081/ dead=-
              Prefix(Type, "b")
              Terms { retry: None, backoff: Backoff { policy: Exponential, delay: 200ms, max: 300s, jitter: true }, timeout: 30s, retry_after_max: 300s, event_age_max: Some(86400s), max_in_flight: 100, replies: Lenient, classify: Classify { retry_on: [], retry_never: [] }, ordering: None, paused: false, on_quota: DiscardOldest, format: AsItCame }"#]],
    );
    lowered(
        &trigger(
            "a",
            "filter: {attributes: {type: a, region: \"\"}}\nfilters: []",
        ),
        expect![[r#"
            broker default/default declared=false dead=-
            trigger default/a of default/default -> http://127.0.0.1:8081/ dead=-
              All([Present(Other("region")), Exact(Type, "a")])
              Terms { retry: None, backoff: Backoff { policy: Exponential, delay: 200ms, max: 300s, jitter: true }, timeout: 30s, retry_after_max: 300s, event_age_max: Some(86400s), max_in_flight: 100, replies: Lenient, classify: Classify { retry_on: [], retry_never: [] }, ordering: None, paused: false, on_quota: DiscardOldest, format: AsItCame }"#]],
    );
}

#[test]
fn what_kubectl_writes_is_accepted_and_not_kept() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: eventing.knative.dev/v1\n  kind: Broker\n  metadata:\n    \
                    name: a\n    uid: 9e\n    resourceVersion: \"7\"\n    generation: 2\n    creationTimestamp: \
                    2026-01-01T00:00:00Z\n    managedFields: [{manager: kubectl}]\n    finalizers: [x]\n    labels: {a: \
                    b}\n    annotations:\n      eventing.knative.dev/broker.class: Weft\n      \
                    kubectl.kubernetes.io/last-applied-configuration: \"{}\"\n  spec:\n    delivery: {retry: 0}\n  \
                    status: {conditions: [{type: Ready}]}\n";
    let mut catalog = Catalog::default();
    let change = catalog.reload(vec![file("a.yaml", text)]);
    assert_eq!(change.problems, []);
    let canonical = change.put[0].canonical();
    expect![[r#"{"apiVersion":"eventing.knative.dev/v1","kind":"Broker","metadata":{"name":"a","namespace":"default","annotations":{"eventing.knative.dev/broker.class":"Weft"},"labels":{"a":"b"}},"spec":{"delivery":{"retry":0}}}"#]].assert_eq(&canonical);
    let again = triggers::Resource::from_canonical(&canonical).unwrap();
    assert_eq!(again, *change.put[0]);
    assert_eq!(again.canonical(), canonical);
}

#[test]
fn every_field_survives_the_log() {
    let node = "apiVersion: weft.dev/v1alpha1\nkind: Node\nmetadata: {name: n}\nspec:\n  listeners: {ingress: \
                    0.0.0.0:8080}\n  storage: {kind: memory, maxBytes: 1Gi, minFree: 0, segmentBytes: 16Mi, path: /x, \
                    retention: {events: P1D}}\n  telemetry: {otlpEndpoint: http://c:4318/, serviceName: x}\n  limits: \
                    {eventBytes: 65536, batchBytes: 1Mi, batchEvents: 10, hops: 3, inFlight: 9, destinationInFlight: 4}\n  \
                    shutdownGrace: PT1S\n---\n";
    let rich = trigger(
        "a",
        "filters:\n- all: [{exact: {type: a}}, {any: [{prefix: {a: é}}, {not: {suffix: {b: '\"'}}}]}]\nfilter: \
             {attributes: {a: ''}}\ndelivery: {retry: 1, timeout: PT1S, backoffPolicy: linear, backoffDelay: PT1S, \
             backoffMax: PT2S, retryAfterMax: PT0S, format: binary, deadLetterSink: {uri: http://d/}}",
    );
    let mut catalog = Catalog::default();
    let change = catalog.reload(vec![file("a.yaml", &format!("{node}{rich}"))]);
    assert_eq!(change.problems, []);
    assert_eq!(change.put.len(), 2);
    for resource in &change.put {
        let text = resource.canonical();
        assert!(!text.contains('\n'));
        assert_eq!(
            triggers::Resource::from_canonical(&text).unwrap(),
            **resource,
            "{text}"
        );
    }
    let (lowered, _) = lower(&change.put.iter().map(|put| &**put).collect::<Vec<_>>());
    expect![[r#"
        Node {
            ingress: 0.0.0.0:8080,
            admin: 127.0.0.1:8090,
            storage: Storage {
                kind: Memory,
                path: "/x",
                bytes_max: 1073741824,
                free_min: 0,
                segment_bytes: 16777216,
                retention: 86400s,
                retention_dead_letters: 1209600s,
            },
            telemetry: Telemetry {
                otlp_endpoint: Some(
                    "http://c:4318/",
                ),
                service_name: "x",
            },
            limits: Limits {
                event_bytes: 65536,
                batch_bytes: 1048576,
                batch_events: 10,
                hops: 3,
                in_flight: 9,
                destination_in_flight: 4,
                quarantine_after: 2,
                dedup_entries: 1000000,
            },
            shutdown_grace: 1s,
        }
    "#]]
    .assert_debug_eq(&lowered.node);
}

#[test]
fn yaml_is_read_in_all_its_spellings() {
    let text = format!(
        "\u{feff}# a comment\r\n{}...\n---\n# nothing but a comment\n--- \n{{apiVersion: eventing.knative.dev/v1, \
             kind: Broker, metadata: &m {{name: &n b, labels: {{x: *n}}}}}}\n---\n---\n",
        trigger("a", "").replace('\n', "\r\n")
    );
    lowered(
        &text,
        expect![[r#"
            broker default/b declared=true dead=-
            broker default/default declared=false dead=-
            trigger default/a of default/default -> http://127.0.0.1:8081/ dead=-
              Everything
              Terms { retry: None, backoff: Backoff { policy: Exponential, delay: 200ms, max: 300s, jitter: true }, timeout: 30s, retry_after_max: 300s, event_age_max: Some(86400s), max_in_flight: 100, replies: Lenient, classify: Classify { retry_on: [], retry_never: [] }, ordering: None, paused: false, on_quota: DiscardOldest, format: AsItCame }"#]],
    );
}

/// What Knative's schema has no field for.
#[test]
fn annotations() {
    let broker = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: default\n  annotations: \
                      {weft.dev/dedup-window: PT10M}\n---\n";
    let text = |name: &str, annotations: &str| {
        let annotations = format!("metadata:\n  annotations: {{{annotations}}}\n");
        trigger(name, "").replace("metadata:\n", &annotations)
    };
    let mut catalog = Catalog::default();
    let triggers = [
        text("a", "weft.dev/start: earliest, weft.dev/paused: 'true'"),
        text("b", "weft.dev/start: 2026-11-21T09:00:00+01:00"),
        text(
            "c",
            "weft.dev/start: latest, weft.dev/paused: 'false', weft.dev/replies: dapr",
        ),
    ];
    let change = catalog.reload(vec![file(
        "a.yaml",
        &format!("{broker}{}", triggers.join("---\n")),
    )]);
    assert_eq!(change.problems, []);
    let (lowered, _) = lower(&catalog.in_force().collect::<Vec<_>>());
    let mut lines: Vec<String> = lowered
        .triggers
        .values()
        .map(|t| {
            format!(
                "{} {:?} {} {:?}",
                t.name, t.start, t.terms.paused, t.terms.replies
            )
        })
        .collect();
    lines.extend(
        lowered
            .brokers
            .values()
            .map(|broker| format!("{:?}", broker.dedup)),
    );
    expect![[r#"
        default/a Earliest true Lenient
        default/b At(1795248000000) false Lenient
        default/c Latest false Dapr
        Some(Dedup { window: 600s, entries_max: 1000000 })"#]]
    .assert_eq(&lines.join("\n"));
}
