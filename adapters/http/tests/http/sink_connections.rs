//! The sink's connections: used again, given up, and sent again on.

use std::time::Duration;

use adapters_http::sink::Settings;
use broker::{Answer, Sink as _};

use crate::harness::*;

fn ok() -> String {
    answer("200 OK", "", "")
}

/// A server and a sink that have one idle connection between them.
async fn acquainted() -> (Server, adapters_http::sink::HttpSink, Peer) {
    let (server, sink) = (Server::start().await, sink());
    let (_, (peer, _)) = tokio::join!(sink.send(server.request()), server.answer_one(ok()));
    assert_eq!(sink.idle(), 1);
    (server, sink, peer)
}

fn text(answer: &Answer) -> String {
    match answer {
        Answer::Unreachable(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_idle_connection_is_used_again() {
    run(async {
        let (server, sink, mut peer) = acquainted().await;
        for body in ["", "small", &"x".repeat(50_000)] {
            let (attempted, ()) = tokio::join!(sink.send(server.request()), async {
                peer.hear().await;
                peer.say(answer("500 No", "", body)).await;
            });
            assert!(
                matches!(attempted.answer, Answer::Said { status: 500, .. }),
                "{attempted:?}"
            );
            assert_eq!(sink.idle(), 1, "after a body of {}", body.len());
        }
    });
}

#[test]
fn a_connection_that_is_not_clean_is_not_used_again() {
    let dirty = [
        answer("200 OK", "Connection: close\r\n", ""),
        format!("{}HTTP/1.1 408 Unasked\r\n\r\n", ok()),
        answer("500 No", "", &"x".repeat(10_000_000)),
        "HTTP/1.0 200 OK\r\n\r\nuntil I close".to_owned(),
    ];
    for first in dirty {
        run(async {
            let (server, sink) = (Server::start().await, sink());
            let (_, (peer, _)) =
                tokio::join!(sink.send(server.request()), server.answer_one(&first));
            drop(peer);
            let (second, _) = tokio::join!(sink.send(server.request()), server.answer_one(ok()));
            assert!(
                matches!(second.answer, Answer::Took(_)),
                "{second:?} after {:.60}",
                first
            );
        });
    }
}

#[test]
fn a_connection_closed_while_idle_is_passed_over_for_an_older_one() {
    run(async {
        let (server, sink) = (Server::start().await, sink());
        let (_, _, (mut older, newer)) = tokio::join!(
            sink.send(server.request()),
            sink.send(server.request()),
            async {
                let mut peers = [server.accept().await, server.accept().await];
                for peer in &mut peers {
                    peer.hear().await;
                    peer.say(ok()).await;
                }
                let [older, newer] = peers;
                (older, newer)
            }
        );
        assert_eq!(sink.idle(), 2);
        drop(newer);
        // The runtime looks at its sockets between tasks.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let (attempted, message) = tokio::join!(sink.send(server.request()), async {
            let message = older.hear().await;
            older.say(ok()).await;
            message
        });
        assert!(matches!(attempted.answer, Answer::Took(_)), "{attempted:?}");
        assert_eq!(message.header("weft-attempt"), Some("1"));
    });
}

#[test]
fn a_reused_connection_that_breaks_before_an_answer_is_replaced_once() {
    run(async {
        let (server, sink, mut peer) = acquainted().await;
        let (attempted, (first, second)) = tokio::join!(sink.send(server.request()), async {
            // The server had decided to close when the request came.
            let first = peer.hear().await;
            drop(peer);
            let (_peer, second) = server.answer_one(ok()).await;
            (first, second)
        });
        assert!(matches!(attempted.answer, Answer::Took(_)), "{attempted:?}");
        assert_eq!(first.headers, second.headers);
        assert_eq!(first.body, second.body);
    });
}

#[test]
fn a_request_is_sent_again_no_more_than_once() {
    run(async {
        let (server, sink, mut peer) = acquainted().await;
        let (attempted, ()) = tokio::join!(sink.send(server.request()), async {
            peer.hear().await;
            drop(peer);
            let mut second = server.accept().await;
            second.hear().await;
        });
        assert_eq!(
            text(&attempted.answer),
            "connection closed before an answer"
        );
    });
}

#[test]
fn a_fresh_connection_that_breaks_is_an_attempt() {
    run(async {
        let (server, sink) = (Server::start().await, sink());
        let (attempted, ()) = tokio::join!(sink.send(server.request()), async {
            server.accept().await.hear().await;
        });
        assert_eq!(
            text(&attempted.answer),
            "connection closed before an answer"
        );
        // Nobody knocks again.
        tokio::select! {
            biased;
            _ = server.accept() => panic!("sent again"),
            () = tokio::task::yield_now() => {}
        }
    });
}

#[test]
fn once_a_byte_was_heard_nothing_is_sent_again() {
    run(async {
        let (server, sink, mut peer) = acquainted().await;
        let (attempted, ()) = tokio::join!(sink.send(server.request()), async {
            peer.hear().await;
            peer.say("HTTP/1.1 2").await;
            drop(peer);
        });
        assert_eq!(
            text(&attempted.answer),
            "connection broke in the middle of the answer"
        );
    });
}

#[test]
fn a_reset_is_called_so() {
    run(async {
        let (server, sink) = (Server::start().await, sink());
        let (attempted, ()) = tokio::join!(sink.send(server.request()), async {
            let (stream, _) = server.listener.accept().await.unwrap();
            stream.peek(&mut [0]).await.unwrap();
            // Closing without lingering resets.
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(stream);
        });
        assert_eq!(text(&attempted.answer), "connection reset before an answer");
    });
}

#[test]
fn idle_connections_are_bounded_in_number_and_age() {
    run(async {
        let settings = Settings {
            idle_per_authority_max: 2,
            idle_time_max: Duration::from_millis(50),
            ..Settings::default()
        };
        let (server, sink) = (Server::start().await, sink_with(settings));
        let three = || sink.send(server.request());
        let (_, _, _, mut peers) = tokio::join!(three(), three(), three(), async {
            let mut peers = [
                server.accept().await,
                server.accept().await,
                server.accept().await,
            ];
            for peer in &mut peers {
                peer.hear().await;
            }
            for peer in &mut peers {
                peer.say(ok()).await;
            }
            peers
        });
        assert_eq!(sink.idle(), 2);
        // Nobody uses the sink, and yet they are closed.
        for peer in &mut peers {
            peer.until_closed().await;
        }
        assert_eq!(sink.idle(), 0);
    });
}
