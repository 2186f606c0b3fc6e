//! DESIGN §9: what the edge refuses although, or because, parsers elsewhere take it. A few raw
//! requests of each kind.

use std::time::Duration;

use adapters_http::source::{IngestBudget, Settings};

use crate::harness::*;

/// Sends `request` and expects `status`, a closed connection, and nothing through the door.
#[track_caller]
fn refused(name: &str, request: String, status: u16) {
    run(async {
        let served = serve_default();
        let mut client = served.client().await;
        client.try_say(&request).await;
        let answer = client.try_hear().await.map(|answer| answer.status());
        assert_eq!(answer, Some(status), "{name}");
        client.until_closed().await;
        assert!(served.published().is_empty(), "{name}");
    });
}

fn with(header: &str) -> String {
    post("/shop/orders", header, "hello")
}

#[test]
fn two_framings_are_refused_in_either_order() {
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    let before = with("Transfer-Encoding: chunked\r\n").replace("\r\n\r\nhello", "\r\n\r\n");
    refused("te, cl", format!("{before}{chunked}"), 400);
    let after = with("").replace("\r\n\r\nhello", "\r\nTransfer-Encoding: chunked\r\n\r\n");
    refused("cl, te", format!("{after}{chunked}"), 400);
    refused("two lengths", with("Content-Length: 4\r\n"), 400);
    refused("length", with("Content-Length: +5\r\n"), 400);
    refused("coding", with("Transfer-Encoding: gzip\r\n"), 400);
}

#[test]
fn one_host_is_needed() {
    refused("none", with("").replace("Host: weft\r\n", ""), 400);
    refused("two", with("Host: other\r\n"), 400);
}

#[test]
fn heads_are_in_their_letters() {
    refused(
        "bare lf",
        with("").replace("Host: weft\r\n", "Host: weft\n"),
        400,
    );
    refused("obs-fold", with("X-A: b\r\n  c\r\n"), 400);
    refused("nul", with("X-A: b\0c\r\n"), 400);
    refused("cr", with("X-A: b\rc\r\n"), 400);
    refused("space", with("X-A : b\r\n"), 400);
}

#[test]
fn heads_are_bounded() {
    let many: String = (0..600).map(|n| format!("x-{n}: y\r\n")).collect();
    refused("600 headers", with(&many), 431);
    refused(
        "200 KiB",
        with(&format!("x-a: {}\r\n", "y".repeat(200 * 1024))),
        431,
    );
    run(async {
        let served = serve_default();
        let many: String = (0..500)
            .map(|n| format!("x-{n}: {}\r\n", "y".repeat(200)))
            .collect();
        assert_eq!(served.ask(with(&many)).await.status(), 202);
    });
}

#[test]
fn a_bad_head_behind_a_good_request_is_refused_alone() {
    run(async {
        let served = serve_default();
        let mut client = served.client().await;
        let bad = with("").replace("Host: weft\r\n", "Host: weft\n");
        client.say(format!("{}{bad}", with(""))).await;
        assert_eq!(client.hear().await.status(), 202);
        assert_eq!(client.hear().await.status(), 400);
        client.until_closed().await;
        assert_eq!(served.published().len(), 1);
    });
}

fn impatient() -> Settings {
    let moment = Duration::from_millis(30);
    Settings {
        head_time_max: moment,
        body_silence_max: moment,
        ..Settings::default()
    }
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    run(async {
        let served = serve(impatient(), IngestBudget::BYTES_MAX_DEFAULT);
        for start in [
            "P",
            "PRI * HTTP",
            "POST /shop/orders HTTP/1.1\r\nHost: x\r\n",
        ] {
            let mut client = served.client().await;
            client.say(start).await;
            client.until_closed().await;
        }
        // Also on a connection that was good before.
        let mut client = served.client().await;
        client.say(with("")).await;
        assert_eq!(client.hear().await.status(), 202);
        client.say("POST /shop").await;
        client.until_closed().await;
    });
}

#[test]
fn an_idle_connection_outlives_the_time_for_heads_and_is_closed_at_last() {
    run(async {
        let settings = Settings {
            idle_time_max: Duration::from_millis(120),
            ..impatient()
        };
        let served = serve(settings, IngestBudget::BYTES_MAX_DEFAULT);
        let mut client = served.client().await;
        client.say(with("")).await;
        assert_eq!(client.hear().await.status(), 202);
        let rested = tokio::time::Instant::now();
        client.until_closed().await;
        assert!(
            rested.elapsed() >= Duration::from_millis(100),
            "{:?}",
            rested.elapsed()
        );
    });
}

#[test]
fn a_body_that_stops_or_dribbles_is_answered_408() {
    run(async {
        let served = serve(impatient(), IngestBudget::BYTES_MAX_DEFAULT);
        let mut client = served.client().await;
        client.say(with("").trim_end_matches("lo")).await;
        let answer = client.hear().await;
        assert_eq!(
            (answer.status(), answer.header("connection")),
            (408, Some("close"))
        );

        // Never silent, but slower than the least rate.
        let settings = Settings {
            body_silence_max: Duration::from_millis(200),
            ..impatient()
        };
        let served = serve(settings, IngestBudget::BYTES_MAX_DEFAULT);
        let mut client = served.client().await;
        let body = post("/shop/orders", "", &"x".repeat(1000));
        client.say(&body[..body.len() - 1000]).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let answer = loop {
            tokio::select! {
                answer = client.hear() => break answer,
                _ = ticks.tick() => {}
            }
            if !client.try_say("x").await {
                break client.hear().await;
            }
        };
        assert_eq!(answer.status(), 408);
    });
}

#[test]
fn connections_over_the_bound_wait_their_turn() {
    run(async {
        let settings = Settings {
            connections_max: 1,
            ..Settings::default()
        };
        let served = serve(settings, IngestBudget::BYTES_MAX_DEFAULT);
        let mut first = served.client().await;
        first.say(with("")).await;
        assert_eq!(first.hear().await.status(), 202);
        let mut second = served.client().await;
        second.say(with("")).await;
        tokio::select! {
            biased;
            _ = second.hear() => panic!("two are served where one may be"),
            // The first still is.
            status = async { first.say(with("")).await; first.hear().await.status() } => {
                assert_eq!(status, 202);
            }
        }
        drop(first);
        assert_eq!(second.hear().await.status(), 202);
    });
}
