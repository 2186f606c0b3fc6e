//! Mistakes, and what is said about them.

use super::*;

#[test]
fn text_that_is_no_yaml() {
    check(
        "kind: Trigger\n\tspec: {}\n",
        expect![[
            r#"a.yaml:1:7  not valid YAML: while scanning a plain scalar, found a tab, indent with spaces"#
        ]],
    );
    check(
        "kind: Trigger\nspec: {a: b\n",
        expect![[
            r#"a.yaml:2:7  not valid YAML: unclosed bracket '{', close each bracket and brace once, and quote a text that has them"#
        ]],
    );
    check(
        "kind: \"Trigger\nspec:\n",
        expect![[
            r#"a.yaml:2:1  not valid YAML: invalid indentation in multiline quoted scalar, close the quotes"#
        ]],
    );
    check(
        "spec:\n  a: b: c\n",
        expect![[
            r#"a.yaml:2:7  not valid YAML: mapping values are not allowed in this context, quote a value that contains a colon and a space, and check the indentation"#
        ]],
    );
    check(
        "spec:\n    a: 1\n  b: 2\n",
        expect![[
            r#"a.yaml:3:3  not valid YAML: while parsing a block mapping, did not find expected key, begin all fields of a map in the same column"#
        ]],
    );
    check(
        "- a\n- b\n",
        expect![[
            r#"a.yaml:1:1  the document is not a map of fields, a resource begins with apiVersion, kind, metadata and spec"#
        ]],
    );
    check(
        "hello\n",
        expect![[
            r#"a.yaml:1:1  the document is not a map of fields, a resource begins with apiVersion, kind, metadata and spec"#
        ]],
    );
    check(
        "a: *nothing\n",
        expect![[
            r#"a.yaml:1:4  not valid YAML: while parsing node, found unknown anchor, write the value out, or define its anchor (&) above in the same document"#
        ]],
    );
    check(
        "? [a, b]\n: c\n",
        expect![[
            r#"a.yaml:1:3  a map or list stands where a field's name should be, write a name, then a colon; quote a value that begins with { or ["#
        ]],
    );
    check(
        "a: &x {b: *x}\n",
        expect![[
            r#"a.yaml:1:11  an alias (*) stands inside what it repeats, write out what is meant"#
        ]],
    );
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let one = format!("*a{}", level - 1);
        bomb.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            [one.as_str(); 9].join(", ")
        ));
    }
    check(
        &bomb,
        expect![[
            r#"a.yaml:7:10  the document has more than 1048576 values, split it into several documents, and do not repeat by aliases"#
        ]],
    );
    check(
        &format!("a: {}1{}\n", "[".repeat(70), "]".repeat(70)),
        expect![[
            r#"a.yaml:1:68  not valid YAML: recursion limit exceeded, maps and lists may nest at most 64 deep"#
        ]],
    );
}

#[test]
fn documents_of_the_wrong_kind() {
    check(
        "kind: Trigger\n",
        expect![[
            r#"a.yaml:1:1  apiVersion is missing, write apiVersion: eventing.knative.dev/v1"#
        ]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\n",
        expect![
            "a.yaml:1:1  kind is missing, write kind: Trigger, Broker, DeliveryPolicy, Sink or Node"
        ],
    );
    check(
        "apiVersion: eventing.knative.dev/v1beta1\nkind: Trigger\nmetadata: {name: a}\n",
        expect![[
            r#"a.yaml:1:13  apiVersion is "eventing.knative.dev/v1beta1", for a Trigger write eventing.knative.dev/v1"#
        ]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Triger\n",
        expect![[
            r#"a.yaml:2:7  kind is "Triger" of "eventing.knative.dev/v1", did you mean Trigger?"#
        ]],
    );
    check(
        "apiVersion: weft.dev/v1alpha1\nkind: Source\n",
        expect![
            "a.yaml:2:7  kind Source is not supported by this version, remove it: this version runs Broker, Trigger, DeliveryPolicy, Sink and Node"
        ],
    );
    check(
        "apiVersion: eventing.knative.dev/v1alpha1\nkind: EventPolicy\n",
        expect![
            "a.yaml:2:7  kind EventPolicy is not supported by this version, remove it: this version runs Broker, Trigger, DeliveryPolicy, Sink and Node"
        ],
    );
    check(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n",
        expect![[
            r#"a.yaml:2:7  kind is "Deployment" of "apps/v1", move it out of this folder: this version runs Broker, Trigger, DeliveryPolicy, Sink and Node"#
        ]],
    );
    check(
        "apiVersion: v1\nkind: Node\nmetadata: {name: worker-1}\n",
        expect![[r#"a.yaml:1:13  apiVersion is "v1", for a Node write weft.dev/v1alpha1"#]],
    );
}

#[test]
fn metadata() {
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\n",
        expect![[r#"a.yaml:1:1  metadata.name is missing, give the resource a name"#]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: My_Broker\n  namespace: a.b\n",
        expect![[r#"
                a.yaml:4:9  metadata.name is "My_Broker", use lower-case letters, digits and dashes, beginning and ending with a letter or digit
                a.yaml:5:14  metadata.namespace is "a.b", use lower-case letters, digits and dashes, beginning and ending with a letter or digit"#]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: 7, nmaespace: shop}\n",
        expect![[r#"
                a.yaml:3:18  metadata.name is the number 7, it must be a text: write "7" with quotes
                a.yaml:3:21  metadata.nmaespace is not a known field, did you mean namespace?"#]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: a\n  annotations:\n    \
             weft.dev/policy: careful\n    weft.dev/jiter: \"off\"\n    weft.dev/jitter: no\n    \
             weft.dev/replies: dapr\n    weft.dev/max-in-flight: 5\n    \
             eventing.knative.dev/broker.class: Kafka\n",
        expect![[r#"
            a.yaml:7:21  metadata.annotations."weft.dev/jiter" is not a known annotation, the annotations of a Broker are weft.dev/dedup-window, weft.dev/jitter, weft.dev/max-in-flight, weft.dev/policy and weft.dev/replies
            a.yaml:8:22  metadata.annotations."weft.dev/jitter" is "no", write off or on
            a.yaml:10:29  metadata.annotations."weft.dev/max-in-flight" is the number 5, it must be a text: write "5" with quotes
            a.yaml:11:40  metadata.annotations."eventing.knative.dev/broker.class" is "Kafka", this program runs brokers of class Weft: write Weft, or remove the annotation"#]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: a\n  annotations:\n    \
             weft.dev/max-in-flight: \"0\"\n",
        expect![[
            r#"a.yaml:6:29  metadata.annotations."weft.dev/max-in-flight" is "0", it must be a whole number from 1 to 4096, in quotes"#
        ]],
    );
}

#[test]
fn annotations_of_ours() {
    check(
        &trigger("a", "").replace(
            "metadata:\n",
            "metadata:\n  annotations:\n    weft.dev/start: yesterday\n    weft.dev/paused: yes\n    \
             weft.dev/policy: Careful\n    weft.dev/dedup-window: PT10M\n    weft.dev/filter: a > 1\n    \
             weft.dev/polic: careful\n    example.com/mine: x\n",
        ),
        expect![[r#"
            a.yaml:5:21  metadata.annotations."weft.dev/start" is "yesterday", write latest, earliest, or an RFC 3339 time such as "2026-11-21T09:00:00Z"
            a.yaml:6:22  metadata.annotations."weft.dev/paused" is "yes", write true or false
            a.yaml:7:22  metadata.annotations."weft.dev/policy" is "Careful", use lower-case letters, digits and dashes, beginning and ending with a letter or digit
            a.yaml:8:28  metadata.annotations."weft.dev/dedup-window" means nothing here, it belongs on a Broker
            a.yaml:9:22  metadata.annotations."weft.dev/filter" is not supported by this version, remove it
            a.yaml:10:21  metadata.annotations."weft.dev/polic" is not a known annotation, the annotations of a Trigger are weft.dev/jitter, weft.dev/max-in-flight, weft.dev/paused, weft.dev/policy, weft.dev/replies and weft.dev/start"#]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: a\n  annotations:\n    \
             weft.dev/dedup-window: 10m\n    weft.dev/paused: \"true\"\n    weft.dev/start: latest\n",
        expect![[r#"
            a.yaml:6:28  metadata.annotations."weft.dev/dedup-window" is "10m", write an ISO 8601 duration such as PT10M
            a.yaml:7:22  metadata.annotations."weft.dev/paused" means nothing here, it belongs on a Trigger or Sink
            a.yaml:8:21  metadata.annotations."weft.dev/start" means nothing here, it belongs on a Trigger"#]],
    );
}

#[test]
fn fields() {
    check_spec(
        "filtre: {}",
        expect![[r#"a.yaml:8:3  spec.filtre is not a known field, did you mean filter?"#]],
    );
    check_spec(
        "sink: {}",
        expect![[
            r#"a.yaml:8:3  spec.sink is not a known field, the fields here are broker, filter, filters, subscriber and delivery"#
        ]],
    );
    check_spec(
        "broker: other",
        expect![[
            r#"a.yaml:8:3  the field broker is given twice, it is on line 6 already: remove one of them"#
        ]],
    );
    check_spec(
        "<<: {a: b}",
        expect![[r#"a.yaml:8:3  a merge key (<<) stands here, write the fields out"#]],
    );
    check_spec(
        "filters: {exact: {type: a}}",
        expect![[
            r#"a.yaml:8:3  spec.filters is a map of fields, it must be a list: begin each item with a dash"#
        ]],
    );
    check_spec(
        "delivery: fast",
        expect![[r#"a.yaml:8:13  spec.delivery is "fast", it must be a map of fields"#]],
    );
    check_spec(
        "filter: !mine {}",
        expect![[r#"a.yaml:8:17  a YAML tag (!) stands here, remove it"#]],
    );
}

#[test]
fn a_trigger_without_its_parts() {
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: a}\n",
        expect![[r#"
                a.yaml:1:1  spec.broker is missing, write the broker's name, such as broker: default
                a.yaml:1:1  spec.subscriber is missing, say where events go, such as subscriber: {uri: http://127.0.0.1:8081/}"#]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: a}\nspec:\n  broker: default\n  \
             subscriber:\n",
        expect![[
            r#"a.yaml:6:3  spec.subscriber is missing, say where events go, such as subscriber: {uri: http://127.0.0.1:8081/}"#
        ]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: a}\nspec:\n  broker: Default\n  \
             subscriber:\n    url: http://127.0.0.1/\n",
        expect![[r#"
                a.yaml:5:11  spec.broker is "Default", use lower-case letters, digits and dashes, beginning and ending with a letter or digit
                a.yaml:7:5  spec.subscriber.url is not a known field, did you mean uri?"#]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: a}\nspec:\n  broker: default\n  \
             subscriber:\n    ref: {kind: Service, name: billing}\n",
        expect![[
            r#"a.yaml:7:5  spec.subscriber.ref is not supported by this version, without Kubernetes nothing resolves it: write the address, such as uri: http://127.0.0.1:8081/"#
        ]],
    );
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: a}\nspec:\n  broker: default\n  \
             subscriber:\n    uri: https://billing/\n    audience: me\n",
        expect![[r#"
                a.yaml:7:10  spec.subscriber.uri is "https://billing/", https is not supported yet by this version: write an http:// address
                a.yaml:8:5  spec.subscriber.audience is not supported by this version, remove it: TLS and identity come with a later version"#]],
    );
}

#[test]
fn a_broker_that_nobody_declared() {
    let orders =
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: orders}\n---\n";
    let lost = trigger("billing", "").replace("broker: default", "broker: order");
    check(
        &format!("{orders}{lost}"),
        expect![[
            r#"a.yaml:5:1  Trigger default/billing names the broker default/order, which does not exist (BrokerDoesNotExist), did you mean orders? Otherwise declare a Broker order, or write broker: default"#
        ]],
    );
    check(
        &lost,
        expect![[
            r#"a.yaml:1:1  Trigger default/billing names the broker default/order, which does not exist (BrokerDoesNotExist), declare a Broker order, or write broker: default"#
        ]],
    );
}

#[test]
fn filters() {
    check_spec(
        "filters:\n- {}",
        expect![[
            r#"a.yaml:9:5  spec.filters[0] is empty, write one of exact, prefix, suffix, all, any and not: an empty object is what Kubernetes leaves of a field it does not know, and must not match everything"#
        ]],
    );
    check_spec(
        "filters:\n- exact:\n    type: a\n-",
        expect![[
            r#"a.yaml:11:4  spec.filters[1] is empty, write its fields under it, or remove it"#
        ]],
    );
    check_spec(
        "filters:\n- exact: {}",
        expect![[
            r#"a.yaml:9:5  spec.filters[0].exact is an empty map, write an attribute and its text in it, such as type: com.example.order.placed, or remove it"#
        ]],
    );
    check_spec(
        "filters:\n- exact: {type: a}\n  prefix: {type: b}",
        expect![[
            r#"a.yaml:9:5  spec.filters[0] has 2 dialects, exact and prefix, write one in each object: give each its own dash"#
        ]],
    );
    check_spec(
        "filters:\n- any: []\n- not: {}",
        expect![[r#"
            a.yaml:9:5  spec.filters[0].any is an empty list, write at least one filter in it, or remove it
            a.yaml:10:5  spec.filters[1].not is empty, write one of exact, prefix, suffix, all, any and not: an empty object is what Kubernetes leaves of a field it does not know, and must not match everything"#]],
    );
    check_spec(
        "filters:\n- cesql: \"type = 'a'\"",
        expect![[
            r#"a.yaml:9:12  spec.filters[0].cesql is not supported yet by this version, write one of exact, prefix, suffix, all, any and not instead"#
        ]],
    );
    check_spec(
        "filters:\n- cel: data.amount > 100",
        expect![[
            r#"a.yaml:9:5  spec.filters[0].cel is not supported by this version, write one of exact, prefix, suffix, all, any and not: CEL comes with a later version"#
        ]],
    );
    check_spec(
        "filters:\n- exakt: {type: a}",
        expect![[r#"a.yaml:9:5  spec.filters[0].exakt is not a known field, did you mean exact?"#]],
    );
    check_spec(
        "filters:\n- regex: {type: a}",
        expect![[
            r#"a.yaml:9:5  spec.filters[0].regex is not a known field, the fields here are exact, prefix, suffix, all, any, not and cesql"#
        ]],
    );
    check_spec(
        "filters:\n- exact: {Type: a, my-attr: b, priority: 5, on: true}",
        expect![[r#"
                a.yaml:9:19  spec.filters[0].exact.Type does not name an attribute, an attribute's name is lower-case letters and digits and begins with a letter
                a.yaml:9:31  spec.filters[0].exact.my-attr does not name an attribute, an attribute's name is lower-case letters and digits and begins with a letter
                a.yaml:9:44  spec.filters[0].exact.priority is the number 5, it must be a text: write "5" with quotes
                a.yaml:9:51  spec.filters[0].exact.on is true, it must be a text: write "true" with quotes"#]],
    );
    check_spec(
        "filters:\n- prefix: {type: \"\"}",
        expect![[
            r#"a.yaml:9:20  spec.filters[0].prefix.type is an empty text, write the text to compare with; to ask only that the attribute is present, use spec.filter.attributes with """#
        ]],
    );
    check_spec(
        "filters:\n- suffix: {type: }",
        expect![[
            r#"a.yaml:9:14  spec.filters[0].suffix.type is empty, write a text here, or remove the field"#
        ]],
    );
    check_spec(
        "filters:\n- exact: type",
        expect![[r#"a.yaml:9:12  spec.filters[0].exact is "type", it must be a map of fields"#]],
    );
    check_spec(
        "filter: {attributes: {}}",
        expect![[
            r#"a.yaml:8:12  spec.filter.attributes is an empty map, write an attribute and its text in it, such as type: com.example.order.placed, or remove it"#
        ]],
    );
    check_spec(
        "filter: {exact: {type: a}}",
        expect![[
            r#"a.yaml:8:12  spec.filter.exact is in the wrong place, it belongs in the list filters beside filter: write filters, and under it - exact:"#
        ]],
    );
    check_spec(
        "filter: {type: a}",
        expect![[
            r#"a.yaml:8:12  spec.filter.type is in the wrong place, write attributes between: filter: {attributes: {type: ...}}"#
        ]],
    );
    let deep = format!(
        "filters:\n- {}exact: {{type: a}}{}",
        "not: {".repeat(17),
        "}".repeat(17)
    );
    check_spec(
        &deep,
        expect![[
            r#"a.yaml:9:95  spec.filters[0].not.not.not.not.not.not.not.not.not.not.not.not.not.not.not.not nests too deep, all, any and not may nest at most 16 deep"#
        ]],
    );
    let wide: String = (0..1025)
        .map(|n| format!("  - exact: {{type: t{n}}}\n"))
        .collect();
    check_spec(
        &format!("filters:\n- any:\n{wide}"),
        expect![[
            r#"a.yaml:8:3  spec.filters has 1025 conditions, it may have at most 1024: use several triggers"#
        ]],
    );
}

#[test]
fn delivery() {
    check_spec(
        "delivery: {retry: -1, backoffPolicy: expo, backoffDelay: 500ms}",
        expect![[r#"
                a.yaml:8:21  spec.delivery.retry is -1, it must be a whole number from 0 to 2147483647
                a.yaml:8:40  spec.delivery.backoffPolicy is "expo", write linear or exponential
                a.yaml:8:60  spec.delivery.backoffDelay is "500ms", write an ISO 8601 duration such as PT0.5S"#]],
    );
    check_spec(
        "delivery: {retry: \"5\", timeout: 30}",
        expect![[r#"
                a.yaml:8:21  spec.delivery.retry is "5", it must be a number: write 5 without quotes
                a.yaml:8:35  spec.delivery.timeout is "30", write an ISO 8601 duration such as PT30S"#]],
    );
    check_spec(
        "delivery: {retry: 1.5, format: xml, retryAfterMax: P1M}",
        expect![[r#"
                a.yaml:8:21  spec.delivery.retry is the number 1.5, it must be a whole number
                a.yaml:8:34  spec.delivery.format is "xml", write json or binary
                a.yaml:8:54  spec.delivery.retryAfterMax is "P1M", years and months have no fixed length: write days, such as P30D"#]],
    );
    check_spec(
        "delivery: {backoffDelay: PT0S}",
        expect![[
            r#"a.yaml:8:28  spec.delivery.backoffDelay is PT0S, it must be at least PT0.001S"#
        ]],
    );
    check_spec(
        "delivery: {backoffDelay: PT5S, backoffMax: PT1S}",
        expect![[
            r#"a.yaml:8:46  spec.delivery.backoffMax is PT1S, it must be at least backoffDelay, which is PT5S"#
        ]],
    );
    check_spec(
        "delivery:\n  deadLetterSink:\n    ref: {kind: Service, name: dead}",
        expect![[
            r#"a.yaml:10:7  spec.delivery.deadLetterSink.ref is not supported by this version, without Kubernetes nothing resolves it: write the address, such as uri: http://127.0.0.1:8081/"#
        ]],
    );
    check_spec(
        "delivery: {deadLetterSink: {uri: /dead}}",
        expect![[
            r#"a.yaml:8:36  spec.delivery.deadLetterSink.uri is "/dead", write the whole address, such as http://127.0.0.1:8081/path"#
        ]],
    );
    check_spec(
        "delivery: {deadLetterSink: http://dead/}",
        expect![[
            r#"a.yaml:8:30  spec.delivery.deadLetterSink is "http://dead/", write {uri: http://dead/}"#
        ]],
    );
    check_spec(
        "delivery: {retries: 5}",
        expect![[
            r#"a.yaml:8:14  spec.delivery.retries is not a known field, did you mean retry?"#
        ]],
    );
    check_spec(
        "delivery: {retry: 5, retry: 6}",
        expect![[
            r#"a.yaml:8:24  the field retry is given twice, it is on line 8 already: remove one of them"#
        ]],
    );
}

#[test]
fn the_node() {
    check_node(
        "storage:\n  segmentBytes: 7\n  retention: {events: 7 days}",
        expect![[r#"
                a.yaml:6:19  spec.storage.segmentBytes is 7, it must be at least 1Mi
                a.yaml:7:25  spec.storage.retention.events is "7 days", write an ISO 8601 duration such as P7D"#]],
    );
    check_node(
        "storage: {kind: kafka, maxBytes: 10GB, minFree: lots, path: \"\"}",
        expect![[r#"
                a.yaml:5:19  spec.storage.kind is "kafka", write embedded or memory
                a.yaml:5:36  spec.storage.maxBytes is "10GB", write 10Gi
                a.yaml:5:51  spec.storage.minFree is "lots", write a whole amount of bytes such as 10Gi, 512Mi or 65536
                a.yaml:5:63  spec.storage.path is an empty text, write a folder such as ./weft-data, or remove it"#]],
    );
    check_node(
        "storage: {maxBytes: 1Mi}",
        expect![[
            r#"a.yaml:5:23  spec.storage.maxBytes is 1Mi, it must be at least 256Mi, four times segmentBytes"#
        ]],
    );
    check_node(
        "storage: {segmentBytes: 5000001}",
        expect![[r#"
            a.yaml:5:27  spec.storage.segmentBytes is 5000001, it must be a multiple of 4Ki
            a.yaml:5:27  spec.storage.segmentBytes is 5000001, it must be at least twice limits.batchBytes, which is 4Mi"#]],
    );
    check_node(
        "listeners: {ingress: \":8080\", admin: localhost:8090}",
        expect![[r#"
                a.yaml:5:24  spec.listeners.ingress is ":8080", write 127.0.0.1:8080, or 0.0.0.0:8080 for every interface
                a.yaml:5:40  spec.listeners.admin is "localhost:8090", write 127.0.0.1:8090, or 0.0.0.0:8090 for every interface"#]],
    );
    check_node(
        "listeners: {ingress: 127.0.0.1:80, admin: 127.0.0.1:80}",
        expect![[
            r#"a.yaml:5:45  spec.listeners.admin is 127.0.0.1:80, which is ingress's too, give ingress and admin a port each, such as 8080 and 8090"#
        ]],
    );
    check_node(
        "limits: {eventBytes: 1Ki, batchEvents: 0, hops: 1000}",
        expect![[r#"
                a.yaml:5:24  spec.limits.eventBytes is 1Ki, it must be at least 64Ki
                a.yaml:5:42  spec.limits.batchEvents is 0, it must be a whole number from 1 to 10000
                a.yaml:5:51  spec.limits.hops is 1000, it must be a whole number from 1 to 255"#]],
    );
    check_node(
        "limits: {eventBytes: 8Mi, batchBytes: 4Mi}",
        expect![[
            r#"a.yaml:5:41  spec.limits.batchBytes is 4Mi, it must be at least 8Mi, which is eventBytes"#
        ]],
    );
    check_node(
        "shutdownGrace: 25s\ntelemetry: {otlpEndpoint: collector:4318}",
        expect![[r#"
                a.yaml:5:18  spec.shutdownGrace is "25s", write an ISO 8601 duration such as PT25S
                a.yaml:6:29  spec.telemetry.otlpEndpoint is "collector:4318", begin it with http://, such as http://collector:4318"#]],
    );
    check_node(
        "tls: {mode: strict}",
        expect![[
            r#"a.yaml:5:3  spec.tls is not a known field, the fields here are listeners, storage, telemetry, limits and shutdownGrace"#
        ]],
    );
    check(
        "apiVersion: weft.dev/v1alpha1\nkind: Node\nmetadata: {name: a}\n---\napiVersion: weft.dev/v1alpha1\n\
             kind: Node\nmetadata: {name: b, annotations: {weft.dev/jitter: \"off\"}}\n---\n\
             apiVersion: weft.dev/v1alpha1\nkind: Node\nmetadata: {name: c}\n",
        expect![[r#"
                a.yaml:7:52  metadata.annotations."weft.dev/jitter" means nothing here, it belongs on a Broker or Trigger
                a.yaml:9:1  the document is a second Node beside Node default/a at a.yaml:1:1, a node has one: remove one of them"#]],
    );
}

#[test]
fn two_of_one_name() {
    check(
        &format!("{}---\n{}", trigger("a", ""), trigger("a", "")),
        expect![[
            r#"a.yaml:9:1  Trigger default/a is here a second time, the one at a.yaml:1:1 counts: rename or remove one"#
        ]],
    );
}

#[test]
fn one_mistake_hides_no_other() {
    check(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: a}\nspec:\n  borker: default\n  \
             filters:\n  - exakt: {type: a}\n  - any:\n    - exact: {type: 5}\n    - {}\n  delivery:\n    \
             retry: many\n    timeout: 30s\n---\n: }\n---\nkind: Trigger\n",
        expect![[r#"
                a.yaml:4:1  spec.subscriber is missing, say where events go, such as subscriber: {uri: http://127.0.0.1:8081/}
                a.yaml:5:3  spec.borker is not a known field, did you mean broker?
                a.yaml:7:5  spec.filters[0].exakt is not a known field, did you mean exact?
                a.yaml:9:21  spec.filters[1].any[0].exact.type is the number 5, it must be a text: write "5" with quotes
                a.yaml:10:7  spec.filters[1].any[1] is empty, write one of exact, prefix, suffix, all, any and not: an empty object is what Kubernetes leaves of a field it does not know, and must not match everything
                a.yaml:12:12  spec.delivery.retry is "many", it must be a whole number
                a.yaml:13:14  spec.delivery.timeout is "30s", write an ISO 8601 duration such as PT30S
                a.yaml:15:3  not valid YAML: misplaced bracket, close each bracket and brace once, and quote a text that has them
                a.yaml:17:1  apiVersion is missing, write apiVersion: eventing.knative.dev/v1"#]],
    );
}
