//! DeliveryPolicies: what they may say, and which of several says wins.

use super::*;

/// A policy with this `spec`, whose lines begin on line 5.
fn policy(name: &str, lines: &str) -> String {
    let mut text = format!(
        "apiVersion: weft.dev/v1alpha1\nkind: DeliveryPolicy\nmetadata: {{name: {name}}}\nspec:\n"
    );
    for line in lines.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

fn broker(annotations: &str, delivery: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: default\n  annotations: \
         {{{annotations}}}\nspec:\n  delivery: {{{delivery}}}\n"
    )
}

fn annotated(annotations: &str, lines: &str) -> String {
    let metadata = format!("metadata:\n  annotations: {{{annotations}}}\n");
    trigger("billing", lines).replace("metadata:\n", &metadata)
}

fn lowered(documents: &[&str]) -> triggers::Lowered {
    let mut catalog = Catalog::default();
    let change = catalog.reload(vec![file("a.yaml", &documents.join("---\n"))]);
    let (lowered, further) = lower(&catalog.in_force().collect::<Vec<_>>());
    assert_eq!((change.problems, further), (vec![], vec![]));
    lowered
}

fn terms(documents: &[&str]) -> triggers::Terms {
    let lowered = lowered(documents);
    let [trigger] = &lowered.triggers.into_values().collect::<Vec<_>>()[..] else {
        panic!("one trigger")
    };
    trigger.terms.clone()
}

const EVERYTHING: &str = "maxEventAge: PT2H\nmaxInFlight: 20\njitter: off\nreplies: dapr\nordering: {by: \
                          partitionkey, blockedKey: deadLetter}\nretry: {on: [422, 400, 422], never: [500]}\nonQuota: \
                          refuse\ndedup: {window: PT10M, maxEntries: 5000}";

#[test]
fn everything_that_a_policy_says_is_run() {
    let policy = policy("careful", EVERYTHING);
    let found = terms(&[&policy, &annotated("weft.dev/policy: careful", "")]);
    expect![[r#"
        Terms {
            retry: None,
            backoff: Backoff {
                policy: Exponential,
                delay: 200ms,
                max: 300s,
                jitter: false,
            },
            timeout: 30s,
            retry_after_max: 300s,
            event_age_max: Some(
                7200s,
            ),
            max_in_flight: 20,
            replies: Dapr,
            classify: Classify {
                retry_on: [
                    400,
                    422,
                ],
                retry_never: [
                    500,
                ],
            },
            ordering: Some(
                Ordering {
                    by: "partitionkey",
                    blocked_key: DeadLetter,
                },
            ),
            paused: false,
            on_quota: Refuse,
            format: AsItCame,
        }
    "#]]
    .assert_debug_eq(&found);
    let unnamed = terms(&[&policy, &trigger("billing", "")]);
    assert_eq!(unnamed, triggers::Terms::default());
    let lowered = lowered(&[&policy, &broker("weft.dev/policy: careful", "")]);
    let dedup: Vec<_> = lowered
        .brokers
        .values()
        .map(|broker| broker.dedup)
        .collect();
    expect!["[Some(Dedup { window: 600s, entries_max: 5000 })]"].assert_eq(&format!("{dedup:?}"));
}

/// Contract §3: trigger's delivery and annotations, its policy, broker's delivery and
/// annotations, broker's policy, default. Each row takes the strongest voice away.
#[test]
fn which_voice_wins() {
    let says = |age: u32, in_flight: u32| {
        format!(
            "maxEventAge: PT{age}H\nmaxInFlight: {in_flight}\nreplies: strict\nordering: {{by: k{age}}}"
        )
    };
    let of_trigger = policy("mine", &says(1, 11));
    let of_broker = policy("theirs", &says(2, 22));
    let broker_own = broker(
        "weft.dev/policy: theirs, weft.dev/max-in-flight: '33', weft.dev/replies: dapr",
        "timeout: PT3S",
    );
    let broker_policy = broker("weft.dev/policy: theirs", "");
    let broker_silent = broker("", "");
    let own = annotated(
        "weft.dev/policy: mine, weft.dev/max-in-flight: '44', weft.dev/replies: lenient",
        "delivery: {timeout: PT4S}",
    );
    let own_policy = annotated("weft.dev/policy: mine", "");
    let silent = annotated("", "");
    let rows = [
        ("trigger, its policy, broker, its policy", &own, &broker_own),
        (
            "         its policy, broker, its policy",
            &own_policy,
            &broker_own,
        ),
        (
            "                     broker, its policy",
            &silent,
            &broker_own,
        ),
        (
            "                             its policy",
            &silent,
            &broker_policy,
        ),
        (
            "                                defaults",
            &silent,
            &broker_silent,
        ),
    ];
    let lines: Vec<String> = rows
        .iter()
        .map(|(voices, trigger, broker)| {
            let terms = terms(&[&of_trigger, &of_broker, broker, trigger]);
            format!(
                "{voices:<40} in flight {:>3}  timeout {:>3?}  replies {:<7}  age {:>5}  ordered by {}",
                terms.max_in_flight,
                terms.timeout,
                format!("{:?}", terms.replies),
                terms.event_age_max.map_or(0, |age| age.as_secs()),
                terms.ordering.map_or("-".into(), |ordering| ordering.by),
            )
        })
        .collect();
    expect![[r#"
        trigger, its policy, broker, its policy  in flight  44  timeout  4s  replies Lenient  age  3600  ordered by k1
                 its policy, broker, its policy  in flight  11  timeout  3s  replies Strict   age  3600  ordered by k1
                             broker, its policy  in flight  33  timeout  3s  replies Dapr     age  7200  ordered by k2
                                     its policy  in flight  22  timeout 30s  replies Strict   age  7200  ordered by k2
                                        defaults in flight 100  timeout 30s  replies Lenient  age 86400  ordered by -"#]].assert_eq(&lines.join("\n"));
}

/// Contract §2: who writes `retry` has its schedule as the limit, and an age only where one is
/// written.
#[test]
fn an_age_holds_beside_retry_where_it_is_written() {
    let policy = policy("careful", "maxEventAge: PT1H");
    let retry = "delivery: {retry: 10}";
    let rows = [
        ("nothing", trigger("billing", "")),
        ("retry", trigger("billing", retry)),
        ("age", annotated("weft.dev/policy: careful", "")),
        (
            "retry and age",
            annotated("weft.dev/policy: careful", retry),
        ),
    ];
    let lines: Vec<String> = rows
        .iter()
        .map(|(written, trigger)| {
            let terms = terms(&[&policy, trigger]);
            format!(
                "{written}: age {:?}, patience {:?}",
                terms.event_age_max,
                terms.patience()
            )
        })
        .collect();
    expect![[r#"
        nothing: age Some(86400s), patience None
        retry: age None, patience Some(204.6s)
        age: age Some(3600s), patience None
        retry and age: age Some(3600s), patience Some(204.6s)"#]]
    .assert_eq(&lines.join("\n"));
}

/// The annotation is the broker's own word, the policy's entries go with either window.
#[test]
fn deduplication_is_a_brokers() {
    let with = |annotations: &str, dedup: &str| {
        let policy = policy("p", &format!("dedup: {{{dedup}}}"));
        let lowered = lowered(&[&policy, &broker(annotations, "")]);
        let dedup = lowered
            .brokers
            .values()
            .next()
            .and_then(|broker| broker.dedup);
        dedup.map_or("off".to_owned(), |dedup| {
            format!("{:?} {}", dedup.window, dedup.entries_max)
        })
    };
    let lines = [
        with("", "window: PT5M"),
        with("weft.dev/policy: p", ""),
        with("weft.dev/policy: p", "window: PT5M"),
        with("weft.dev/policy: p", "window: PT5M, maxEntries: 7"),
        with(
            "weft.dev/policy: p, weft.dev/dedup-window: PT1M",
            "window: PT5M, maxEntries: 7",
        ),
        with(
            "weft.dev/policy: p, weft.dev/dedup-window: PT0S",
            "window: PT5M",
        ),
        with("weft.dev/dedup-window: PT1M", "window: PT5M"),
    ];
    expect![[r#"
        off
        off
        300s 1000000
        300s 7
        60s 7
        off
        60s 1000000"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn mistakes() {
    check(
        &policy(
            "a",
            "maxEventAge: 2h\nmaxInFlight: 0\njitter: no\nreplies: strikt\nordering: {by: Partition-Key, blockedKey: \
             wait}\nretry: {on: [200, 404, 503.5], never: [404, 600]}\nonQuota: drop\ndedup: {window: P8D, maxEntries: 0}",
        ),
        expect![[r#"
            a.yaml:5:16  spec.maxEventAge is "2h", write an ISO 8601 duration such as PT2H
            a.yaml:6:16  spec.maxInFlight is 0, it must be a whole number from 1 to 4096
            a.yaml:7:11  spec.jitter is "no", write off or on
            a.yaml:8:12  spec.replies is "strikt", write lenient, strict or dapr
            a.yaml:9:18  spec.ordering.by is "Partition-Key", name an attribute: lower-case letters and digits, beginning with a letter, such as partitionkey
            a.yaml:9:45  spec.ordering.blockedKey is "wait", write retry or deadLetter
            a.yaml:10:26  spec.retry.on[2] is the number 503.5, it must be a whole number
            a.yaml:10:34  spec.retry.never has 404, which is in on too, a status is either tried again or never: remove it from one of them
            a.yaml:10:47  spec.retry.never[1] is 600, it must be a status from 400 to 599: only failures can be judged otherwise
            a.yaml:11:12  spec.onQuota is "drop", write discardOldest or refuse
            a.yaml:12:19  spec.dedup.window is P8D, it must be at most P7D
            a.yaml:12:36  spec.dedup.maxEntries is 0, it must be a whole number from 1 to 100000000"#]],
    );
    check(
        &policy(
            "a",
            "maxEventAge: PT0S\nordering: {blockedKey: retry}\nretry: {on: [200, 302, 503], never: [503]}",
        ),
        expect![[r#"
            a.yaml:5:16  spec.maxEventAge is PT0S, it must be at least PT1S
            a.yaml:6:3  spec.ordering.by is missing, name the attribute that is the key, such as by: partitionkey
            a.yaml:7:16  spec.retry.on[0] is 200, it must be a status from 400 to 599: only failures can be judged otherwise
            a.yaml:7:21  spec.retry.on[1] is 302, it must be a status from 400 to 599: only failures can be judged otherwise
            a.yaml:7:32  spec.retry.never has 503, which is in on too, a status is either tried again or never: remove it from one of them"#]],
    );
    check(
        &policy("a", "retry: 5\nmaxEventAg: PT1H\ndedup: PT10M"),
        expect![[r#"
            a.yaml:5:10  spec.retry is the number 5, it must be a map of fields
            a.yaml:6:3  spec.maxEventAg is not a known field, did you mean maxEventAge?
            a.yaml:7:10  spec.dedup is "PT10M", it must be a map of fields"#]],
    );
    check(
        &policy("a", "{}").replace(
            "{name: a}",
            "{name: a, annotations: {weft.dev/jitter: \"off\"}}",
        ),
        expect![[
            r#"a.yaml:3:52  metadata.annotations."weft.dev/jitter" means nothing here, it belongs on a Broker or Trigger"#
        ]],
    );
}

#[test]
fn a_policy_that_is_not_there() {
    let there = policy("careful", "{}");
    let named = annotated("weft.dev/policy: carefull", "");
    let broker = broker("weft.dev/policy: gone", "");
    check(
        &format!("{there}---\n{named}---\n{broker}"),
        expect![[r#"
        a.yaml:16:1  Broker default/default names the DeliveryPolicy default/gone, which does not exist (PolicyDoesNotExist), declare a DeliveryPolicy gone in the namespace default
        a.yaml:7:1  Trigger default/billing names the DeliveryPolicy default/carefull, which does not exist (PolicyDoesNotExist), did you mean careful? Otherwise declare a DeliveryPolicy carefull in the namespace default"#]],
    );
    let mut catalog = Catalog::default();
    catalog.reload(vec![file(
        "a.yaml",
        &format!("{there}---\n{named}---\n{broker}"),
    )]);
    let (lowered, _) = lower(&catalog.in_force().collect::<Vec<_>>());
    let billing = lowered.triggers.values().next().unwrap();
    assert_eq!(
        (
            billing.not_ready.map(|why| why.reason()),
            billing.terms.paused
        ),
        (Some("PolicyDoesNotExist"), true),
        "never silently the defaults"
    );
}

/// GUARANTEES 50: the last good version stays in force.
#[test]
fn a_trigger_that_comes_to_name_no_policy_keeps_its_last_version() {
    let careful = policy("careful", "maxInFlight: 5");
    let good = annotated("weft.dev/policy: careful", "");
    let bad = annotated("weft.dev/policy: carful", "filter: {attributes: {type: x}}");
    let mut catalog = Catalog::default();
    let steps: [&[(&str, &str)]; 5] = [
        &[("p.yaml", &careful), ("t.yaml", &good)],
        &[("p.yaml", &careful), ("t.yaml", &bad)],
        &[
            ("p.yaml", &careful.replace("careful", "carful")),
            ("t.yaml", &bad),
        ],
        &[("t.yaml", &bad)],
        &[
            ("p.yaml", &policy("carful", "maxInFlight: 6")),
            ("t.yaml", &bad),
        ],
    ];
    let mut lines = Vec::new();
    for files in steps {
        let files = files.iter().map(|(path, text)| file(path, text)).collect();
        let change = catalog.reload(files);
        let (lowered, further) = lower(&catalog.in_force().collect::<Vec<_>>());
        lines.extend(change.put.iter().map(|put| format!("put {}", put.key())));
        lines.extend(change.gone.iter().map(|key| format!("gone {key}")));
        lines.extend(
            change
                .problems
                .iter()
                .chain(&further)
                .map(ToString::to_string),
        );
        for trigger in lowered.triggers.values() {
            lines.push(format!(
                "{} {:?} in flight {} {:?}",
                trigger.name, trigger.filter, trigger.terms.max_in_flight, trigger.not_ready
            ));
        }
        lines.push("--".to_owned());
    }
    expect![[r#"
        put Trigger default/billing
        put DeliveryPolicy default/careful
        default/billing Everything in flight 5 None
        --
        t.yaml:1:1  Trigger default/billing names the DeliveryPolicy default/carful, which does not exist (PolicyDoesNotExist), did you mean careful? Otherwise declare a DeliveryPolicy carful in the namespace default; its last version stays in force
        default/billing Everything in flight 5 None
        --
        put Trigger default/billing
        put DeliveryPolicy default/carful
        gone DeliveryPolicy default/careful
        default/billing Exact(Type, "x") in flight 5 None
        --
        gone DeliveryPolicy default/carful
        t.yaml:1:1  Trigger default/billing names the DeliveryPolicy default/carful, which does not exist (PolicyDoesNotExist), declare a DeliveryPolicy carful in the namespace default
        default/billing Exact(Type, "x") in flight 100 Some(PolicyDoesNotExist)
        --
        put DeliveryPolicy default/carful
        default/billing Exact(Type, "x") in flight 6 None
        --"#]].assert_eq(&lines.join("\n"));
}
