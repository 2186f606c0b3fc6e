//! Contract §1: what a sender may rely on.

use std::time::Duration;

use adapters_http::source::{Readiness, Reason, Settings};
use broker::Refusal;
use expect_test::{Expect, expect};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::Instant;
use triggers::BrokerName;

use crate::harness::*;

const STRUCTURED: &str = r#"{"specversion":"1.0","id":"2","source":"/s","type":"t","data":1e400}"#;

fn structured(kind: &str, body: &str) -> String {
    format!(
        "POST /shop/orders HTTP/1.1\r\nHost: weft\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Status, problem type and attribute of the answers to each of `requests`.
#[track_caller]
fn check(requests: &[(&str, String)], expect: Expect) {
    let mut lines = String::new();
    run(async {
        let served = serve_default();
        for (name, request) in requests {
            let answer = served.ask(request).await;
            let detail = answer
                .text()
                .split("\"detail\":")
                .nth(1)
                .unwrap_or("-")
                .trim_end();
            lines += &format!("{name}: {} {detail}\n", answer.status());
        }
    });
    expect.assert_eq(&lines);
}

#[test]
fn an_event_is_answered_202_after_it_went_through_the_door() {
    run(async {
        let served = serve_default();
        for path in [
            "/shop/orders",
            "/shop/orders/",
            "/shop/orders?x=/y&z",
            "/shop/orders/?x",
            "/",
        ] {
            let answer = served.ask(post(path, "", "hello")).await;
            assert_eq!((answer.status(), answer.body.len()), (202, 0), "{path}");
        }
        assert_eq!(served.published().len(), 5);
        assert_eq!(served.published()[0].as_ref().id(), "1");
        assert_eq!(&*served.published()[0].as_ref().data_bytes(), b"hello");
        assert_eq!(served.stats.counts().events, 5);
        assert_eq!(served.stats.counts().by_class[2], 5);
    });
}

#[test]
fn modes_are_taken() {
    run(async {
        let served = serve_default();
        let answers = [
            served
                .ask(structured("application/cloudevents+json", STRUCTURED))
                .await,
            served
                .ask(structured(
                    "Application/CloudEvents+JSON; charset=UTF-8",
                    STRUCTURED,
                ))
                .await,
            served
                .ask(structured(
                    "application/cloudevents-batch+json",
                    &format!("[{STRUCTURED},{STRUCTURED}]"),
                ))
                .await,
            served
                .ask(structured("application/cloudevents-batch+json", "[]"))
                .await,
        ];
        assert!(
            answers.iter().all(|answer| answer.status() == 202),
            "{answers:?}"
        );
        let published = served.published();
        assert_eq!(published.len(), 4);
        assert!(
            published
                .iter()
                .all(|e| e.as_ref().document() == Some(STRUCTURED.as_bytes()))
        );
    });
}

#[test]
fn a_chunked_body_and_one_in_many_pieces_are_the_same_event() {
    run(async {
        let served = serve_default();
        let head = "POST /shop/orders HTTP/1.1\r\nHost: x\r\nce-specversion: 1.0\r\nce-id: 1\r\n\
                    ce-source: /s\r\nce-type: t\r\n";
        let mut client = served.client().await;
        client
            .say(format!(
                "{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3;x=y\r\ndef\r\n0\r\n\r\n"
            ))
            .await;
        assert_eq!(client.hear().await.status(), 202);
        for piece in [head, "Content-Le", "ngth: 6\r\n\r\n", "ab", "cd", "ef"] {
            client.say(piece).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.hear().await.status(), 202);
        for event in served.published() {
            assert_eq!(&*event.as_ref().data_bytes(), b"abcdef");
        }
        assert_eq!(served.published().len(), 2);
    });
}

#[test]
fn bad_events_are_told_what_is_wrong() {
    let without = |header: &str| post("/shop/orders", "", "x").replace(header, "x-nothing");
    check(
        &[
            ("no specversion", without("ce-specversion")),
            ("no id", without("ce-id")),
            ("no source", without("ce-source")),
            ("no type", without("ce-type")),
            (
                "version",
                post("/shop/orders", "", "x").replace(": 1.0", ": 9000.1"),
            ),
            ("twice", post("/shop/orders", "ce-id: 2\r\n", "x")),
            ("name", post("/shop/orders", "ce-a_b: 2\r\n", "x")),
            ("format", structured("application/cloudevents+avro", "x")),
            ("json", structured("application/cloudevents+json", "{")),
            (
                "encoding",
                post("/shop/orders", "Content-Encoding: gzip\r\n", "x"),
            ),
        ],
        expect![[r#"
            no specversion: 400 "header ce-specversion is missing, send ce-specversion: 1.0 and the other attributes as ce- headers, or the whole event as JSON with content-type: application/cloudevents+json","attribute":"specversion"}
            no id: 400 "header ce-id is missing, send ce-id: A234-1234-1234","attribute":"id"}
            no source: 400 "header ce-source is missing, send ce-source: /sensors/tn-1234567","attribute":"source"}
            no type: 400 "header ce-type is missing, send ce-type: com.example.order.placed","attribute":"type"}
            version: 400 "header ce-specversion is \"9000.1\", this broker takes \"1.0\" and \"0.3\"","attribute":"specversion"}
            twice: 400 "header ce-id is given twice, send it once","attribute":"id"}
            name: 400 "header ce-a_b is not a valid name, an attribute is named by lower-case letters and digits only, such as \"comexamplename\"","attribute":"a_b"}
            format: 415 "content type \"application/cloudevents+avro\" is an event format that this broker does not speak, send application/cloudevents+json, application/cloudevents-batch+json or binary mode"}
            json: 400 "the JSON is malformed at byte 1: expected the name of a member in double quotes"}
            encoding: 415 "content encoding \"gzip\" is not supported, send the body as it is"}
        "#]],
    );
}

#[test]
fn what_is_not_for_us_says_what_would_be() {
    check(
        &[
            ("unknown broker", post("/shop/none", "", "x")),
            ("no broker", post("/shop", "", "x")),
            ("deep", post("/a/b/c", "", "x")),
            (
                "get",
                "GET /shop/orders HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            ),
            ("put", post("/shop/orders", "", "x").replace("POST", "PUT")),
            (
                "options",
                "OPTIONS /shop/none HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            ),
        ],
        expect![[r#"
            unknown broker: 404 "there is no broker shop/none; declare it, or name it `default` and let a trigger use it"}
            no broker: 404 "nothing is at this path, events go to /<namespace>/<broker>"}
            deep: 404 "nothing is at this path, events go to /<namespace>/<broker>"}
            get: 405 "GET is not for events, send them by POST"}
            put: 405 "PUT is not for events, send them by POST"}
            options: 404 "there is no broker shop/none; declare it, or name it `default` and let a trigger use it"}
        "#]],
    );
    run(async {
        let answer = serve_default()
            .ask("DELETE /shop/orders HTTP/1.1\r\nHost: x\r\n\r\n")
            .await;
        assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    });
}

#[test]
fn an_unknown_broker_is_said_before_the_body_is_sent() {
    run(async {
        let served = serve_default();
        let mut client = served.client().await;
        client
            .say("POST /shop/none HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
            .await;
        assert_eq!(client.hear().await.status(), 404);
        let mut client = served.client().await;
        client
            .say(post("/shop/orders", "Expect: 100-continue\r\n", "ab").trim_end_matches("ab"))
            .await;
        assert_eq!(client.hear().await.status(), 100);
        client.say("ab").await;
        assert_eq!(client.hear().await.status(), 202);
    });
}

#[test]
fn options_and_the_web_hook_handshake() {
    run(async {
        let served = serve_default();
        let answer = served
            .ask("OPTIONS /shop/orders HTTP/1.1\r\nHost: x\r\n\r\n")
            .await;
        assert_eq!(
            (answer.status(), answer.header("allow")),
            (200, Some("POST, OPTIONS"))
        );
        assert_eq!(answer.header("webhook-allowed-origin"), None);
        let answer = served
            .ask(
                "OPTIONS / HTTP/1.1\r\nHost: x\r\nWebHook-Request-Origin: eventgrid.example\r\n\
                 WebHook-Request-Rate: 120\r\n\r\n",
            )
            .await;
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.header("webhook-allowed-origin"),
            Some("eventgrid.example")
        );
        assert_eq!(answer.header("webhook-allowed-rate"), Some("*"));
    });
}

#[test]
fn probes() {
    run(async {
        let served = serve_default();
        let get = |path: &str, header: &str| {
            served.ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n"))
        };
        let kube = "User-Agent: kube-probe/1.33\r\n";
        assert_eq!(get("/healthz", "").await.status(), 200);
        assert_eq!(get("/readyz", "").await.status(), 200);
        assert_eq!(get("/", kube).await.status(), 200);
        let probe = get("/", "K-Network-Probe: probe\r\nK-Network-Hash: abc\r\n").await;
        assert_eq!(
            (probe.status(), probe.header("k-network-hash")),
            (200, Some("abc"))
        );

        *served.readiness.lock().unwrap() = Readiness::NotReady("the log has stopped".to_owned());
        let answer = get("/readyz", kube).await;
        assert_eq!(
            (answer.status(), answer.text()),
            (503, "not ready: the log has stopped\n")
        );
        assert_eq!(get("/healthz", "").await.status(), 200);

        *served.readiness.lock().unwrap() = Readiness::Draining;
        assert_eq!(get("/", kube).await.status(), 503);
        assert_eq!(get("/readyz", "").await.status(), 503);
    });
}

#[test]
fn a_refusal_of_the_broker_becomes_its_status() {
    run(async {
        let served = serve_default();
        let broker = BrokerName::new("shop", "orders");
        let refusals = [
            (
                Refusal::TooLarge {
                    broker: broker.clone(),
                    got: 2,
                    limit: 1,
                },
                413,
                None,
            ),
            (Refusal::BatchTooLarge { got: 2, limit: 1 }, 413, None),
            (Refusal::NoSuchBroker(broker), 404, None),
            (Refusal::NoSpace, 503, Some("5")),
            (Refusal::Stopped, 503, Some("5")),
        ];
        let mut client = served.client().await;
        for (refusal, status, retry_after) in refusals {
            let words = refusal.to_string();
            *served.door.refuse_next.borrow_mut() = Some(refusal);
            client.say(post("/shop/orders", "", "x")).await;
            let answer = client.hear().await;
            assert_eq!(
                (answer.status(), answer.header("retry-after")),
                (status, retry_after)
            );
            assert!(answer.text().contains(&words), "{}", answer.text());
        }
        let refused = served.stats.counts().refused;
        assert!(refused.contains(&(Reason::TooLarge, 2)), "{refused:?}");
        assert!(refused.contains(&(Reason::NoSpace, 1)), "{refused:?}");
    });
}

#[test]
fn an_event_of_64_kib_passes_however_it_is_spread() {
    run(async {
        let served = serve_default();
        let mut headers: String = (0..400)
            .map(|n| format!("ce-a{n}: {}\r\n", "x".repeat(150)))
            .collect();
        assert_eq!(
            served
                .ask(post("/shop/small", &headers, "x"))
                .await
                .status(),
            202
        );
        headers = format!("ce-a: {}\r\n", "x".repeat(64 * 1024));
        assert_eq!(
            served
                .ask(post("/shop/small", &headers, "x"))
                .await
                .status(),
            202
        );
        let answer = served
            .ask(post("/shop/small", "", &"x".repeat(64 * 1024)))
            .await;
        assert_eq!(answer.status(), 202);
    });
}

#[test]
fn a_body_over_the_limit_is_refused_while_it_is_read() {
    run(async {
        let served = serve_default();
        // Announced: refused before any of it came.
        let mut client = served.client().await;
        let whole = post("/shop/small", "", &"x".repeat(SMALL + 1));
        client.say(&whole[..whole.len() - SMALL]).await;
        let answer = client.hear().await;
        assert_eq!(
            (answer.status(), answer.header("connection")),
            (413, Some("close"))
        );
        assert!(
            answer.text().contains(&format!("{} bytes", SMALL + 1)),
            "{}",
            answer.text()
        );

        // Not announced, and without an end.
        let mut client = served.client().await;
        let head = post("/shop/small", "Transfer-Encoding: chunked\r\n", "")
            .replace("Content-Length: 0\r\n", "");
        client.say(head).await;
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        for _ in 0..=SMALL / 0x1000 {
            client.say(&chunk).await;
        }
        assert_eq!(client.hear().await.status(), 413);
        // It is not read for ever either.
        while client.try_say(&chunk).await {}
        assert!(served.published().is_empty());
    });
}

#[test]
fn a_sender_that_writes_before_it_reads_still_learns_why() {
    run(async {
        let served = serve_default();
        let answer = served
            .ask(post("/shop/small", "", &"x".repeat(4 * 1024 * 1024)))
            .await;
        assert_eq!(answer.status(), 413);
    });
}

#[test]
fn too_many_bytes_in_the_air_are_refused_with_503() {
    run(async {
        let served = serve(Settings::default(), 10);
        let slow_disk = std::rc::Rc::new(tokio::sync::Notify::new());
        *served.door.held.borrow_mut() = Some(slow_disk.clone());
        let mut first = served.client().await;
        first.say(post("/shop/orders", "", "12345678")).await;
        while served.door.waiting.get() == 0 {
            tokio::task::yield_now().await;
        }
        let answer = served.ask(post("/shop/orders", "", "12345678")).await;
        assert_eq!(
            (answer.status(), answer.header("retry-after")),
            (503, Some("1"))
        );
        slow_disk.notify_one();
        assert_eq!(first.hear().await.status(), 202);
        *served.door.held.borrow_mut() = None;
        assert_eq!(
            served
                .ask(post("/shop/orders", "", "12345678"))
                .await
                .status(),
            202
        );
    });
}

#[test]
fn the_senders_trace_and_request_id_come_through() {
    run(async {
        let served = serve_default();
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = format!(
            "traceparent: {trace}\r\ntracestate: a=1\r\nX-Request-Id: r\r\nKnative-X: k\r\n\
             Authorization: secret\r\n"
        );
        assert_eq!(served.ask(post("/", &headers, "x")).await.status(), 202);
        let published = served.door.published.borrow();
        let context = &published[0].0;
        assert_eq!(
            context.traceparent.map(|t| t.to_string()).as_deref(),
            Some(trace)
        );
        assert_eq!(context.tracestate.as_deref(), Some("a=1"));
        let names: Vec<&str> = context
            .forwarded
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["x-request-id", "knative-x"]);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    run(async {
        let served = serve_default();
        let mut client = served.client().await;
        let good = post("/shop/orders", "", "a\nb");
        let bad = post("/shop/none", "", "x");
        client.say(format!("{good}{bad}{good}")).await;
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(client.hear().await.status());
        }
        assert_eq!(statuses, [202, 404, 202]);
    });
}

#[test]
fn http2_with_prior_knowledge_is_spoken_on_the_same_port() {
    run(async {
        let served = serve_default();
        let stream = TcpStream::connect(served.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        let connection = tokio::task::spawn_local(connection);
        for (path, status) in [("/shop/orders", 202), ("/shop/none", 404)] {
            let request = http::Request::post(format!("http://weft{path}"))
                .header("ce-specversion", "1.0")
                .header("ce-id", "1")
                .header("ce-source", "/s")
                .header("ce-type", "t")
                .body(Full::new(bytes::Bytes::from_static(b"hello")))
                .unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), status);
            answer.into_body().collect().await.unwrap();
        }
        assert_eq!(&*served.published()[0].as_ref().data_bytes(), b"hello");
        // A drain ends the connection, in order.
        served
            .stop
            .send(Some(Instant::now() + Duration::from_secs(5)))
            .unwrap();
        connection.await.unwrap().unwrap();
        assert_eq!(served.serving.await.unwrap(), 0);
    });
}

#[test]
fn a_drain_finishes_what_is_in_the_air_and_takes_nothing_new() {
    run(async {
        let served = serve_default();
        let slow_disk = std::rc::Rc::new(tokio::sync::Notify::new());
        *served.door.held.borrow_mut() = Some(slow_disk.clone());
        let (mut idle, mut busy) = (served.client().await, served.client().await);
        *served.readiness.lock().unwrap() = Readiness::Draining;
        idle.say("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(idle.hear().await.status(), 200);
        busy.say(post("/shop/orders", "", "x")).await;
        while served.door.waiting.get() == 0 {
            tokio::task::yield_now().await;
        }
        served
            .stop
            .send(Some(Instant::now() + Duration::from_secs(5)))
            .unwrap();
        idle.until_closed().await;
        while TcpStream::connect(served.address).await.is_ok() {}
        slow_disk.notify_one();
        let answer = busy.hear().await;
        assert_eq!(
            (answer.status(), answer.header("connection")),
            (202, Some("close"))
        );
        busy.until_closed().await;
        assert_eq!(served.serving.await.unwrap(), 0);
    });
}

#[test]
fn a_drain_is_over_at_its_deadline() {
    run(async {
        let served = serve_default();
        *served.door.held.borrow_mut() = Some(std::rc::Rc::default());
        let mut stuck = served.client().await;
        stuck.say(post("/shop/orders", "", "x")).await;
        while served.door.waiting.get() == 0 {
            tokio::task::yield_now().await;
        }
        served
            .stop
            .send(Some(Instant::now() + Duration::from_millis(20)))
            .unwrap();
        assert_eq!(served.serving.await.unwrap(), 1);
        stuck.until_closed().await;
    });
}
