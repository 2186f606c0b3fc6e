//! A scrape of a made-up report, as a whole.

use std::time::Duration;

use broker::books::Book;
use broker::dedup::DedupReport;
use broker::keeper::SpaceReport;
use broker::lane::Tally;
use broker::report::{BrokerReport, LaneReport, LogReport};
use expect_test::expect;
use journal::{Offset, WallTime};
use triggers::{BrokerName, TriggerName};

use broker::histogram::Histogram;

use super::*;

fn trigger() -> TriggerReport {
    let mut dead = [0; 9];
    dead[0] = 2;
    TriggerReport {
        name: TriggerName::new("shop", "billing"),
        number: 2,
        uid: [0; 16],
        broker: BrokerName::new("shop", "default"),
        subscriber: "http://f/".into(),
        destination: "http://127.0.0.1:8081/".into(),
        dead_letter_sink: None,
        not_ready: None,
        detached: None,
        book: Book {
            matched: 10,
            delivered: 7,
            dead,
            cancelled: 0,
            owed: 1,
        },
        forward: None,
        lane: LaneReport {
            number: 2,
            tally: Tally {
                attempts: 9,
                failed: 2,
                ..Tally::default()
            },
            waiting: 0,
            in_flight: 1,
            parked: 0,
            held: 0,
            keys_blocked: 0,
            keys_full: false,
            oldest: Some(WallTime(8_000)),
        },
        held_bytes: 1 << 20,
        dead_letters: 2,
        suspects: 0,
        paused: None,
    }
}

#[test]
fn a_scrape_has_the_series_of_what_has_traffic() {
    let mut seconds = Histogram::default();
    seconds.record(Duration::from_millis(2));
    seconds.record(Duration::from_secs(1_000));
    let destination = DestinationReport {
        key: "http://f/".into(),
        in_flight: 1,
        lanes: 1,
        attempt_seconds: seconds.clone(),
        end_to_end_seconds: seconds,
        answers: [7, 0, 0, 2, 0, 0],
        ..DestinationReport::default()
    };
    let report = Report {
        space: SpaceReport {
            share: 2 << 20,
            ..SpaceReport::default()
        },
        brokers: vec![BrokerReport {
            name: BrokerName::new("shop", "default"),
            number: 1,
            detached: None,
            triggers: 1,
            stored: 10,
            deduplicated: 3,
        }],
        triggers: vec![trigger()],
        destinations: vec![destination.clone()],
        books: trigger().book,
        forwards: Book::default(),
        retired: Tally::default(),
        log: LogReport {
            end: Offset(20),
            ..LogReport::default()
        },
        dedup: DedupReport {
            entries: 7,
            bytes: 300,
            forgotten: 1,
        },
        suspects: 4,
        panics: [0, 0, 0, 2],
    };
    let scrape = Scrape {
        triggers: vec![trigger()],
        destinations: vec![destination],
        sources: Vec::new(),
        stats: Stats {
            repacks: 3,
            repacked_bytes: 4096,
            ..Stats::default()
        },
        usage: Usage {
            bytes_used: 1,
            bytes_spare: 0,
            bytes_max: 2,
            disk_free: None,
            disk_room: None,
            held: false,
        },
        segments: 1,
        padding_bytes: 5,
        ready: true,
        dead_letters: 2,
        spans_dropped: Some(0),
        now: WallTime(10_500),
        uptime_seconds: 1.5,
        report,
    };
    let text = encode(scrape).unwrap();
    let series = |line: &&str| !line.starts_with('#') && !line.contains("_bucket");
    let shown: Vec<&str> = text.lines().filter(series).collect();
    expect![[r#"
        weft_build{version="0.1.0"} 1.0
        weft_ready 1.0
        weft_uptime_seconds 1.5
        weft_triggers 1.0
        weft_brokers 1.0
        weft_books_balanced 1.0
        weft_panics_total{where="index"} 0
        weft_panics_total{where="filter"} 0
        weft_panics_total{where="load"} 0
        weft_panics_total{where="send"} 2
        weft_spans_dropped_total 0
        weft_ingest_events_total{result="stored"} 0
        weft_ingest_bytes_total 0
        weft_ingest_requests_total{code="2xx"} 0
        weft_ingest_requests_total{code="4xx"} 0
        weft_ingest_requests_total{code="5xx"} 0
        weft_stored_events_total{broker="shop/default"} 10
        weft_ingest_deduplicated_total{broker="shop/default"} 3
        weft_dedup_entries 7.0
        weft_dedup_forgotten_total 1
        weft_poison_suspects 4.0
        weft_log_frames_total 0
        weft_log_records_total 0
        weft_log_written_bytes_total 0
        weft_log_sync_seconds_sum 0.0
        weft_log_sync_seconds_count 0
        weft_log_segments 1.0
        weft_log_padding_bytes 5.0
        weft_log_repacked_segments_total 3
        weft_log_repacked_bytes_total 4096
        weft_log_repack_failures_total 0
        weft_log_used_bytes 1.0
        weft_log_max_bytes 2.0
        weft_log_offset{which="start"} 0.0
        weft_log_offset{which="end"} 20.0
        weft_log_offset{which="routed"} 0.0
        weft_matched_total{trigger="shop/billing"} 10
        weft_delivered_total{trigger="shop/billing"} 7
        weft_cancelled_total{trigger="shop/billing"} 0
        weft_dead_total{trigger="shop/billing",cause="exhausted"} 2
        weft_owed{trigger="shop/billing"} 1.0
        weft_oldest_owed_seconds{trigger="shop/billing"} 2.5
        weft_inflight{trigger="shop/billing"} 1.0
        weft_parked{trigger="shop/billing"} 0.0
        weft_held{trigger="shop/billing"} 0.0
        weft_keys_blocked{trigger="shop/billing"} 0.0
        weft_delivery_attempts_total{trigger="shop/billing",outcome="succeeded"} 7
        weft_delivery_attempts_total{trigger="shop/billing",outcome="failed"} 2
        weft_replies_total{trigger="shop/billing"} 0
        weft_replies_ignored_total{trigger="shop/billing"} 0
        weft_delivery_nack_total{trigger="shop/billing"} 0
        weft_events_expired_total{trigger="shop/billing"} 0
        weft_expirytime_unreadable_total{trigger="shop/billing"} 0
        weft_quota_used_ratio{trigger="shop/billing"} 0.5
        weft_dead_letters 2.0
        weft_dead_letters_expired_total{why="retention"} 0
        weft_storage_bytes{part="log"} 0.0
        weft_storage_bytes{part="kept"} 0.0
        weft_storage_bytes{part="view"} 0.0
        weft_storage_held_ratio 0.0
        weft_quota_discarded_total{what="payload"} 0
        weft_quota_discarded_total{what="delivery"} 0
        weft_quota_discarded_total{what="letter"} 0
        weft_segments_reclaimed_total{part="log"} 0
        weft_kept_copied_bytes_total{part="kept"} 0
        weft_delivery_duration_seconds_sum{destination="http://f/"} 1000.002
        weft_delivery_duration_seconds_count{destination="http://f/"} 2
        weft_end_to_end_seconds_sum{destination="http://f/"} 1000.002
        weft_end_to_end_seconds_count{destination="http://f/"} 2
        weft_destination_answers_total{destination="http://f/",class="2xx"} 7
        weft_destination_answers_total{destination="http://f/",class="5xx"} 2
        weft_destination_inflight{destination="http://f/"} 1.0
        weft_concurrency_limit{destination="http://f/"} 0.0"#]]
    .assert_eq(&shown.join("\n"));
    let last = text
        .lines()
        .rfind(|line| line.contains("end_to_end_seconds_bucket"));
    let last = last.unwrap();
    assert!(
        last.contains(r#"le="+Inf""#) && last.ends_with(" 2"),
        "{last}"
    );
    assert!(text.ends_with("# EOF\n"));
}
