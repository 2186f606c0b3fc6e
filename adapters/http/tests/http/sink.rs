//! Contract §2: what is sent, and what an answer means.

use std::time::Duration;

use broker::{Answer, Attempted, Reply, Sink as _};
use expect_test::{Expect, expect};

use crate::harness::*;

/// One line for each answer.
#[track_caller]
fn check(answers: &[(&str, String)], expect: Expect) {
    let mut lines = String::new();
    run(async {
        for (name, answer) in answers {
            lines += &format!("{name}: {}\n", shown(&attempt(answer).await));
        }
    });
    expect.assert_eq(&lines);
}

fn shown(attempted: &Attempted) -> String {
    let answer = match &attempted.answer {
        Answer::Took(Reply::Event { status, event }) => {
            format!("{status} replies with {}", event.as_ref().id())
        }
        Answer::Took(Reply::None { status }) => format!("{status} took it"),
        Answer::Took(Reply::Ignored { status }) => format!("{status} took it, body ignored"),
        Answer::Took(Reply::TooLarge { status, why }) => format!("{status} is too large: {why}"),
        other => format!("{other:?}"),
    };
    match attempted.body.len() {
        0..40 => format!("{answer} {:?}", String::from_utf8_lossy(&attempted.body)),
        len => format!("{answer} ({len} bytes kept)"),
    }
}

const EVENT: &str = "ce-specversion: 1.0\r\nce-id: r\r\nce-source: /f\r\nce-type: reply\r\n";
const JSON: &str = "Content-Type: application/cloudevents+json\r\n";

/// GUARANTEES 7: on an answer of any status, also one that could be a reply.
#[test]
fn a_nack_is_heard_on_any_answer() {
    let nack = |status: &str, headers: &str| answer(status, headers, "");
    let reply = format!("Weft-Nack: retry\r\n{EVENT}");
    check(
        &[
            ("retry", nack("200 OK", "Weft-Nack: retry\r\n")),
            ("as a reply", nack("200 OK", &reply)),
            (
                "asks",
                nack("200 OK", "weft-nack: Retry\r\nRetry-After: 7\r\n"),
            ),
            ("drop", nack("503 Busy", "Weft-Nack: drop\r\n")),
            (
                "unknown word",
                nack("204 No Content", "Weft-Nack: maybe\r\n"),
            ),
        ],
        expect![[r#"
            retry: Declined { status: 200, nack: Retry { after: None } } ""
            as a reply: Declined { status: 200, nack: Retry { after: None } } ""
            asks: Declined { status: 200, nack: Retry { after: Some(7s) } } ""
            drop: Declined { status: 503, nack: Drop } ""
            unknown word: 204 took it ""
        "#]],
    );
}

#[test]
fn a_request_says_what_the_contract_says() {
    run(async {
        let (server, sink) = (Server::start().await, sink());
        let (attempted, (_peer, message)) = tokio::join!(
            sink.send(server.request()),
            server.answer_one(answer("200 OK", "", ""))
        );
        assert!(matches!(
            attempted.answer,
            Answer::Took(Reply::None { status: 200 })
        ));
        let host = server.address.to_string();
        let lines = message
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        let mut lines: Vec<String> = lines.map(|line| line.replace(&host, "HOST")).collect();
        lines.sort();
        lines.insert(0, message.first_line.clone());
        lines.push(message.text().to_owned());
        expect![[r#"
            POST /in?x=1 HTTP/1.1
            ce-id: 1
            ce-knativearrivaltime: 2026-11-21T09:00:00Z
            ce-source: /s
            ce-specversion: 1.0
            ce-type: t
            content-length: 8
            content-type: application/json
            host: HOST
            kn-namespace: shop
            prefer: reply
            traceparent: 00-abababababababababababababababab-cdcdcdcdcdcdcdcd-01
            tracestate: a=1
            user-agent: weft/0.1.0
            weft-attempt: 1
            weft-deadline: 2023-11-14T22:13:20.123Z
            x-request-id: r-1
            {"a": 1}"#]]
        .assert_eq(&lines.join("\n"));
    });
}

#[test]
fn a_success_is_taken_whatever_it_says_unless_it_claims_to_be_an_event() {
    let document = r#"{"specversion":"1.0","id":"d","source":"/f","type":"reply"}"#;
    check(
        &[
            ("empty", answer("200 OK", "", "")),
            ("no content", "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
            (
                "runtime",
                answer("200 OK", "Content-Type: text/plain\r\n", "OK"),
            ),
            (
                "json",
                answer(
                    "201 Created",
                    "Content-Type: application/json\r\n",
                    "{\"ok\":true}",
                ),
            ),
            (
                "until close",
                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
            ),
            (
                "three of four",
                answer("200 OK", &EVENT.replace("ce-type: reply\r\n", ""), "x"),
            ),
            ("empty json event", answer("200 OK", JSON, "")),
            ("202 with an event", answer("202 Accepted", EVENT, "x")),
            (
                "202 with a document",
                answer("202 Accepted", JSON, document),
            ),
            ("binary reply", answer("200 OK", EVENT, "x")),
            ("structured reply", answer("201 Created", JSON, document)),
            (
                "chunked reply",
                format!(
                    "HTTP/1.1 200 OK\r\n{EVENT}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
                ),
            ),
        ],
        expect![[r#"
            empty: 200 took it ""
            no content: 204 took it ""
            runtime: 200 took it, body ignored "OK"
            json: 201 took it, body ignored "{\"ok\":true}"
            until close: 200 took it ""
            three of four: 200 took it, body ignored "x"
            empty json event: 200 took it ""
            202 with an event: 202 took it "x"
            202 with a document: 202 took it (59 bytes kept)
            binary reply: 200 replies with r "x"
            structured reply: 201 replies with d (59 bytes kept)
            chunked reply: 200 replies with r "x"
        "#]],
    );
}

#[test]
fn a_success_that_claims_to_be_an_event_and_is_none_is_garbled() {
    check(
        &[
            ("not json", answer("200 OK", JSON, "OK")),
            (
                "empty id",
                answer("200 OK", &EVENT.replace("ce-id: r", "ce-id:"), "x"),
            ),
            ("version", answer("200 OK", &EVENT.replace("1.0", "7"), "x")),
        ],
        expect![[r#"
            not json: Garbled { status: 200, why: "the JSON is malformed at byte 0: an event is a JSON object, which begins with {" } "OK"
            empty id: Garbled { status: 200, why: "header ce-id is empty, send ce-id: A234-1234-1234" } "x"
            version: Garbled { status: 200, why: "header ce-specversion is \"7\", this broker takes \"1.0\" and \"0.3\"" } "x"
        "#]],
    );
}

/// Another try would bring as much again: contract §2 has it end as dead{reply}.
#[test]
fn a_reply_over_the_limit_is_too_large_and_its_start_is_kept() {
    let over = "x".repeat(1024 * 1024 + 1);
    check(
        &[
            ("announced", answer("200 OK", EVENT, &over)),
            (
                "chunked",
                format!(
                    "HTTP/1.1 200 OK\r\n{EVENT}Transfer-Encoding: chunked\r\n\r\n100001\r\n{over}\r\n0\r\n\r\n"
                ),
            ),
        ],
        expect![[r#"
            announced: 200 is too large: the reply is larger than 1048576 bytes (4096 bytes kept)
            chunked: 200 is too large: the reply is larger than 1048576 bytes (4096 bytes kept)
        "#]],
    );
}

#[test]
fn every_other_status_is_said() {
    let no_body = |status: &str| answer(status, "", "");
    check(
        &[
            (
                "redirect",
                answer("302 Found", "Location: http://127.0.0.1:1/\r\n", "there"),
            ),
            ("bad", no_body("400 Bad Request")),
            ("gone", no_body("410 Gone")),
            (
                "early hints",
                format!(
                    "HTTP/1.1 103 Early Hints\r\n\r\n{}",
                    no_body("404 Not Found")
                ),
            ),
            ("odd", no_body("999 Odd")),
            ("error", answer("500 No", "", "stack trace")),
            ("seconds", answer("429 Slow", "Retry-After: 7\r\n", "")),
            (
                "date",
                answer(
                    "503 Busy",
                    "Retry-After: Sun, 06 Nov 1994 08:50:00 GMT\r\n",
                    "later",
                ),
            ),
            ("not for 500", answer("500 No", "Retry-After: 7\r\n", "")),
            ("10 MB", answer("500 No", "", &"x".repeat(10_000_000))),
            (
                "broken body",
                "HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nabc".to_owned(),
            ),
        ],
        expect![[r#"
            redirect: Said { status: 302, retry_after: None } "there"
            bad: Said { status: 400, retry_after: None } ""
            gone: Said { status: 410, retry_after: None } ""
            early hints: Said { status: 404, retry_after: None } ""
            odd: Said { status: 999, retry_after: None } ""
            error: Said { status: 500, retry_after: None } "stack trace"
            seconds: Said { status: 429, retry_after: Some(7s) } ""
            date: Said { status: 503, retry_after: Some(23s) } "later"
            not for 500: Said { status: 500, retry_after: None } ""
            10 MB: Said { status: 500, retry_after: None } (4096 bytes kept)
            broken body: Said { status: 500, retry_after: None } "abc"
        "#]],
    );
}

#[test]
fn what_is_no_answer_is_unreachable() {
    check(
        &[
            ("closed", String::new()),
            ("half a head", "HTTP/1.1 200 OK\r\nConte".to_owned()),
            ("not http", "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned()),
            (
                "half a reply",
                format!("HTTP/1.1 200 OK\r\n{EVENT}Content-Length: 9\r\n\r\nabc"),
            ),
        ],
        expect![[r#"
            closed: Unreachable("connection closed before an answer") ""
            half a head: Unreachable("connection broke in the middle of the answer") ""
            not http: Unreachable("the answer is not HTTP: invalid HTTP version parsed") ""
            half a reply: Unreachable("connection broke in the middle of the answer") ""
        "#]],
    );
}

#[test]
fn a_status_is_heard_though_its_body_never_ends() {
    run(async {
        let (server, sink) = (Server::start().await, sink());
        let (attempted, mut peer) = tokio::join!(sink.send(server.request()), async {
            let (mut peer, _) = server.answer_one("HTTP/1.1 503 No\r\n\r\nwait").await;
            // Closed by the sink.
            peer.until_closed().await;
            peer
        });
        assert_eq!(
            shown(&attempted),
            r#"Said { status: 503, retry_after: None } "wait""#
        );
        peer.until_closed().await;
    });
}

#[test]
fn formats_are_sent_as_asked() {
    run(async {
        let (server, sink) = (Server::start().await, sink());
        let mut request = server.request();
        request.format = triggers::Format::Json;
        request.attempt = 12;
        let (_, (_peer, message)) = tokio::join!(
            sink.send(request),
            server.answer_one(answer("200 OK", "", ""))
        );
        assert_eq!(
            message.header("content-type"),
            Some("application/cloudevents+json")
        );
        assert_eq!(message.header("ce-id"), None);
        assert_eq!(message.header("weft-attempt"), Some("12"));
        assert!(
            message.text().contains("knativearrivaltime"),
            "{}",
            message.text()
        );
    });
}

#[test]
fn a_large_head_of_an_answer_is_read() {
    let headers: String = (0..500)
        .map(|n| format!("x-{n}: {}\r\n", "y".repeat(200)))
        .collect();
    run(async {
        let attempted = attempt(answer("200 OK", &headers, "")).await;
        assert_eq!(shown(&attempted), "200 took it \"\"");
    });
}

#[test]
fn a_dropped_attempt_closes_its_connection() {
    run(async {
        let (server, sink) = (Server::start().await, sink());
        let mut sending = sink.send(server.request());
        let mut peer = tokio::select! {
            _ = &mut sending => panic!("nobody answered"),
            peer = async { let mut peer = server.accept().await; peer.hear().await; peer } => peer,
        };
        drop(sending);
        peer.until_closed().await;
        assert_eq!(sink.idle(), 0);
    });
}

#[test]
fn a_dead_address_is_named() {
    run(async {
        let sink = sink();
        let closed = {
            let server = Server::start().await;
            server.address
        };
        let attempted = sink.send(request(&format!("http://{closed}/"))).await;
        assert_eq!(
            shown(&attempted),
            format!("Unreachable(\"connection refused by {closed}\") \"\"")
        );
        let attempted = sink
            .send(request(&format!("http://localhost:{}/", closed.port())))
            .await;
        let expected = format!("connection refused by localhost:{} (", closed.port());
        assert!(shown(&attempted).contains(&expected), "{attempted:?}");
        let attempted = sink.send(request("http://nowhere.invalid/")).await;
        assert!(
            shown(&attempted).contains("cannot resolve host nowhere.invalid"),
            "{attempted:?}"
        );
    });
}

#[test]
fn a_silent_address_is_given_up_after_the_connect_time() {
    run(async {
        // A listener whose queue is full: the kernel drops what else knocks.
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut knocking = Vec::new();
        for _ in 0..4 {
            let one =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            one.set_nonblocking(true).unwrap();
            // In progress; it stays so.
            assert!(one.connect(&address.into()).is_err());
            knocking.push(one);
        }
        let connect_time_max = Duration::from_millis(100);
        let sink = sink_with(adapters_http::sink::Settings {
            connect_time_max,
            ..Default::default()
        });
        let attempted = sink.send(request(&format!("http://{address}/"))).await;
        let expected =
            format!("Unreachable(\"connecting to {address} timed out after 100ms\") \"\"");
        assert_eq!(shown(&attempted), expected);
    });
}
