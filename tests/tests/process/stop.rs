//! An orderly stop (GUARANTEES 22), and what is carried through the program from end to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::http::Function;
use tests::node::{PATIENCE, until};

use crate::{Folders, trigger};

/// What is in the air may finish, and is written down: the next start repeats nothing.
#[test]
fn a_sigterm_lets_what_is_in_the_air_finish() {
    let go_on = Arc::new(AtomicBool::new(false));
    let may = Arc::clone(&go_on);
    let function = Function::start(move |_| {
        until("allowed", PATIENCE, || {
            may.load(Ordering::Relaxed).then_some(())
        });
        200
    });
    let folders = Folders::new();
    folders.write("t.yaml", &trigger("t", "[]", &function.uri("/"), "{}"));
    let weft = folders.start().run();
    for n in 0..20 {
        weft.publish(&format!("o-{n}"), "red");
    }
    until("in the air", PATIENCE, || {
        (function.count() == 20).then_some(())
    });
    weft.terminate();
    weft.until_said("draining");
    let refused =
        tests::http::Client::connect(weft.ingress).map(|mut client| client.publish("late", "red"));
    assert!(
        !matches!(&refused, Ok(Ok(answer)) if answer.status() == 202),
        "intake has stopped"
    );
    go_on.store(true, Ordering::Relaxed);
    let (code, said) = weft.wait();
    assert_eq!(code, 0, "{said}");

    let weft = folders.start().run();
    let said = weft.output();
    assert!(said.contains("stopped cleanly"), "{said}");
    weft.until_settled();
    assert_eq!(
        (function.count(), weft.books("delivered")),
        (20, 20),
        "nothing is sent again"
    );
}

/// Stop and start under load again and again: nothing lost, nothing sent twice.
#[test]
fn restarts_under_load_repeat_nothing() {
    let function = Function::start(|_| 200);
    let folders = Folders::new();
    folders.write("t.yaml", &trigger("t", "[]", &function.uri("/"), "{}"));
    let mut published = 0;
    for _ in 0..4 {
        let weft = folders.start().run();
        let mut client = weft.client();
        for n in 0..200 {
            published += usize::from(
                client
                    .publish(&format!("o-{published}-{n}"), "red")
                    .unwrap()
                    .status()
                    == 202,
            );
        }
        weft.terminate();
        assert_eq!(weft.wait().0, 0);
    }
    let weft = folders.start().run();
    weft.until_settled();
    assert_eq!(function.count(), published);
}

/// A second signal doesn't wait.
#[test]
fn a_second_signal_stops_at_once() {
    let function = Function::start(|_| {
        std::thread::park_timeout(Duration::from_secs(60));
        200
    });
    let folders = Folders::new();
    folders.write("t.yaml", &trigger("t", "[]", &function.uri("/"), "{}"));
    let weft = folders.start().run();
    weft.publish("o-1", "red");
    until("in the air", PATIENCE, || {
        (function.count() == 1).then_some(())
    });
    weft.terminate();
    weft.until_said("draining");
    weft.terminate();
    assert_eq!(weft.wait().0, 130);
}

/// One trace from the sender to the function: the same trace, the sender's span as the parent of
/// each attempt's own; `tracestate`, `x-request-id` and `knative-*` go along.
#[test]
fn a_trace_goes_from_the_sender_to_the_function() {
    let function = Function::start(|request| {
        if request.header("weft-attempt") == "1" {
            503
        } else {
            200
        }
    });
    let folders = Folders::new();
    let delivery = "{retry: 2, backoffDelay: PT0.05S, backoffPolicy: linear}";
    folders.write("t.yaml", &trigger("t", "[]", &function.uri("/"), delivery));
    let weft = folders.start().run();
    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let further = [
        ("traceparent", sent),
        ("tracestate", "vendor=1"),
        ("x-request-id", "r-1"),
        ("knative-hint", "h"),
        ("authorization", "Bearer secret"),
        (
            "ce-traceparent",
            "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01",
        ),
    ];
    let answer = weft.client().publish_with("o-1", "red", &further).unwrap();
    assert_eq!(answer.status(), 202, "{}", answer.text());
    weft.until_settled();

    let received = function.received();
    assert_eq!(received.len(), 2);
    let mut spans = Vec::new();
    for one in &received {
        let trace = one.request.header("traceparent");
        assert_eq!(&trace[..36], &sent[..36], "the trace is the sender's");
        assert_eq!(&trace[52..], "-01");
        spans.push(trace[36..52].to_owned());
        assert_eq!(one.request.header("tracestate"), "vendor=1");
        assert_eq!(one.request.header("x-request-id"), "r-1");
        assert_eq!(one.request.header("knative-hint"), "h");
        assert_eq!(
            one.request.header("authorization"),
            "",
            "a credential isn't passed on"
        );
        assert_eq!(one.request.header("prefer"), "reply");
        assert_eq!(one.request.header("kn-namespace"), "default");
        assert!(
            one.request.header("ce-traceparent").contains("aaaa"),
            "an attribute stays"
        );
        assert_eq!(one.request.body, br#"{"amount": 10}"#);
    }
    assert!(
        spans[0] != spans[1] && !sent.contains(&spans[0]),
        "a span for each attempt: {spans:?}"
    );
}
