//! `/metrics`: the engine's report, the log's and the sources' counters as OpenMetrics text.
//!
//! Nothing is kept for it beside what the engine keeps anyway: a scrape takes a report and
//! writes it out. Labels are names of triggers, brokers and destinations that were configured,
//! never values from events, so the number of series is bounded; see [`super::idle`].

use std::fmt;

use adapters_http::source::SourceCounts;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use broker::destination::breaker::Trip;
use broker::destination::{ANSWER_CLASSES, Deferral};
use broker::guarded::Caught;
use broker::records::Cause;
use broker::report::{BreakerState, DestinationReport, Report, TriggerReport};
use journal::{SegmentFacts, Stats, Usage};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::admin::State;
use crate::admin::api::report;
use crate::admin::convert::{dead, merged};
use crate::admin::series::{Encoder, counter, counters, gauge, gauges, histograms};
use crate::node::health::reason;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of what was counted for triggers that are no more. No name has brackets.
const GONE: &str = "(deleted)";

/// What one scrape shows.
#[derive(Debug)]
struct Scrape {
    report: Report,
    /// Those with traffic.
    triggers: Vec<TriggerReport>,
    destinations: Vec<DestinationReport>,
    sources: Vec<SourceCounts>,
    stats: Stats,
    usage: Usage,
    segments: usize,
    padding_bytes: u64,
    ready: bool,
    dead_letters: usize,
    spans_dropped: Option<u64>,
    now: broker::WallTime,
    uptime_seconds: f64,
}

/// Answers a scrape.
pub(crate) async fn scrape(Shared(state): Shared<State>) -> Response {
    let report = match report(&state).await {
        Ok(report) => report,
        Err(problem) => return problem.into_response(),
    };
    match encode(collect(&state, report)) {
        Ok(body) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        // Writing to a String doesn't fail.
        Err(error) => crate::admin::problem::Problem::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )
        .into_response(),
    }
}

fn encode(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut body = String::new();
    text::encode(&mut body, &registry)?;
    Ok(body)
}

/// What a sealed segment takes beyond its records, if that is known.
fn padding(segment: &SegmentFacts) -> u64 {
    let records = segment.record_bytes.filter(|_| segment.sealed);
    segment
        .bytes
        .saturating_sub(records.unwrap_or(segment.bytes))
}

fn collect(state: &State, report: Report) -> Scrape {
    let admin = &state.admin;
    let journal = admin.engine.journal();
    let now = admin.clock.monotonic();
    let mut idle = state
        .idle
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let shown = |trigger: &&TriggerReport| {
        let activity = trigger.book.matched + trigger.lane.tally.attempts;
        idle.shows(
            &trigger.name.to_string(),
            activity,
            trigger.book.owed > 0,
            now,
        )
    };
    let triggers = report.triggers.iter().filter(shown).cloned().collect();
    let mut destinations = merged(&report.destinations);
    destinations.retain(|destination| {
        let activity = destination.attempt_seconds.count();
        idle.shows(&destination.key, activity, destination.in_flight > 0, now)
    });
    drop(idle);
    let segments = journal.segments();
    Scrape {
        triggers,
        destinations,
        sources: admin
            .sources
            .all()
            .iter()
            .map(|stats| stats.counts())
            .collect(),
        stats: journal.stats(),
        usage: journal.usage(),
        segments: segments.len(),
        padding_bytes: segments.iter().map(padding).sum(),
        ready: reason(&admin.health.get()).is_none(),
        dead_letters: admin.engine.dead_letters().count(),
        spans_dropped: admin.spans.as_ref().map(|spans| spans.dropped()),
        now: admin.clock.wall(),
        uptime_seconds: admin.clock.wall().since(admin.started).as_secs_f64(),
        report,
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.node(&mut encoder)?;
        self.ingest(&mut encoder)?;
        self.log(&mut encoder)?;
        self.deliveries(&mut encoder)?;
        self.reached(&mut encoder)
    }
}

impl Scrape {
    fn node(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let version = [[("version", env!("CARGO_PKG_VERSION"))]];
        gauges(
            encoder,
            "weft_build",
            "The version that runs",
            version.map(|labels| (labels, 1.0)),
        )?;
        gauge(
            encoder,
            "weft_ready",
            "1 when the node can keep its promises",
            f64::from(u8::from(self.ready)),
        )?;
        gauge(
            encoder,
            "weft_uptime_seconds",
            "Since the process started",
            self.uptime_seconds,
        )?;
        gauge(
            encoder,
            "weft_triggers",
            "Triggers in force",
            self.report.triggers.len() as f64,
        )?;
        gauge(
            encoder,
            "weft_brokers",
            "Brokers in force",
            self.report.brokers.len() as f64,
        )?;
        let balanced = self.report.books.balances() && self.report.forwards.balances();
        let help = "1 when matched = delivered + dead + cancelled + owed";
        gauge(
            encoder,
            "weft_books_balanced",
            help,
            f64::from(u8::from(balanced)),
        )?;
        let panics = Caught::ALL.iter().zip(self.report.panics);
        let panics = panics.map(|(caught, count)| ([("where", caught.word())], count));
        let help = "Panics that were caught, so that one event bore them and not the node";
        counters(encoder, "weft_panics", help, panics)?;
        if let Some(dropped) = self.spans_dropped {
            let help = "Spans that were not exported since the collector didn't keep up";
            counter(encoder, "weft_spans_dropped", help, dropped)?;
        }
        Ok(())
    }

    fn ingest(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let sum = |of: fn(&SourceCounts) -> u64| self.sources.iter().map(of).sum::<u64>();
        let refused = |index: usize| {
            self.sources
                .iter()
                .map(|counts| counts.refused.get(index).map_or(0, |(_, count)| *count))
                .sum::<u64>()
        };
        let reasons = self
            .sources
            .first()
            .map_or(&[][..], |counts| &counts.refused);
        let stored = [([("result", "stored")], sum(|counts| counts.events))];
        counters(
            encoder,
            "weft_ingest_events",
            "Events answered with 202",
            stored,
        )?;
        let reasons = reasons
            .iter()
            .enumerate()
            .map(|(index, (reason, _))| ([("reason", reason.label())], refused(index)));
        counters(
            encoder,
            "weft_ingest_refused",
            "Requests refused, by reason",
            reasons.filter(|(_, count)| *count > 0),
        )?;
        counter(
            encoder,
            "weft_ingest_bytes",
            "Bytes of bodies of accepted requests",
            sum(|counts| counts.bytes),
        )?;
        let class = |digit: usize| {
            self.sources
                .iter()
                .map(|counts| counts.by_class[digit])
                .sum::<u64>()
        };
        let codes = [("2xx", class(2)), ("4xx", class(4)), ("5xx", class(5))];
        let codes = codes.map(|(code, count)| ([("code", code)], count));
        counters(
            encoder,
            "weft_ingest_requests",
            "Requests answered, by class of status",
            codes,
        )?;
        let brokers: Vec<(String, u64)> = self
            .report
            .brokers
            .iter()
            .map(|broker| (broker.name.to_string(), broker.stored))
            .collect();
        let brokers = brokers.iter().filter(|(_, stored)| *stored > 0);
        let brokers = brokers.map(|(name, stored)| ([("broker", name.as_str())], *stored));
        counters(
            encoder,
            "weft_stored_events",
            "Events stored, replies included",
            brokers,
        )?;
        self.dedup(encoder)?;
        let help = "Deliveries that may have ended the process before, and go one at a time";
        gauge(
            encoder,
            "weft_poison_suspects",
            help,
            self.report.suspects as f64,
        )
    }

    fn dedup(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let brokers: Vec<(String, u64)> = self
            .report
            .brokers
            .iter()
            .filter(|broker| broker.deduplicated > 0)
            .map(|broker| (broker.name.to_string(), broker.deduplicated))
            .collect();
        let brokers = brokers.iter();
        counters(
            encoder,
            "weft_ingest_deduplicated",
            "Events that their broker had seen, stored and owed to nobody",
            brokers.map(|(name, count)| ([("broker", name.as_str())], *count)),
        )?;
        let dedup = &self.report.dedup;
        gauge(
            encoder,
            "weft_dedup_entries",
            "Events that deduplication remembers",
            dedup.entries as f64,
        )?;
        counter(
            encoder,
            "weft_dedup_forgotten",
            "Events that deduplication forgot before their window was over",
            dedup.forgotten,
        )
    }

    fn log(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let Stats {
            frames,
            records,
            bytes,
            rolls: _,
            syncs: _,
            repacks,
            repacked_bytes,
            repack_failures,
            sync_seconds,
        } = &self.stats;
        counter(
            encoder,
            "weft_log_frames",
            "Frames written, a sync each",
            *frames,
        )?;
        counter(encoder, "weft_log_records", "Records written", *records)?;
        counter(
            encoder,
            "weft_log_written_bytes",
            "Bytes written, padding included",
            *bytes,
        )?;
        let buckets: Vec<(f64, u64)> = sync_seconds
            .buckets()
            .map(|(bound, count)| (bound.min(f64::MAX), count))
            .collect();
        let help = "How long each write and its sync took together";
        let mut metric = encoder.encode_descriptor(
            "weft_log_sync_seconds",
            help,
            None,
            MetricType::Histogram,
        )?;
        metric.encode_histogram::<[(&str, &str); 0]>(
            sync_seconds.sum().as_secs_f64(),
            sync_seconds.count(),
            &buckets,
            None,
        )?;
        gauge(
            encoder,
            "weft_log_segments",
            "Segments in use",
            self.segments as f64,
        )?;
        gauge(
            encoder,
            "weft_log_padding_bytes",
            "Bytes of sealed segments beyond their records",
            self.padding_bytes as f64,
        )?;
        let repacking = [
            (
                "weft_log_repacked_segments",
                "Segments written anew without padding",
                *repacks,
            ),
            (
                "weft_log_repacked_bytes",
                "Bytes that came free by it",
                *repacked_bytes,
            ),
            (
                "weft_log_repack_failures",
                "Segments that could not be, for a failure of the disk",
                *repack_failures,
            ),
        ];
        for (name, help, count) in repacking {
            counter(encoder, name, help, count)?;
        }
        gauge(
            encoder,
            "weft_log_used_bytes",
            "Bytes of the segments in use",
            self.usage.bytes_used as f64,
        )?;
        gauge(
            encoder,
            "weft_log_max_bytes",
            "Bytes that the log may take",
            self.usage.bytes_max as f64,
        )?;
        if let Some(free) = self.usage.disk_free {
            gauge(
                encoder,
                "weft_disk_free_bytes",
                "Bytes that the disk has left",
                free as f64,
            )?;
        }
        let log = &self.report.log;
        let offsets = [
            ("start", log.start.0),
            ("end", log.end.0),
            ("routed", log.routed_to.0),
        ];
        let offsets = offsets.map(|(which, offset)| ([("which", which)], offset as f64));
        gauges(
            encoder,
            "weft_log_offset",
            "Where the log begins, ends, and is routed to",
            offsets,
        )
    }

    fn deliveries(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let names: Vec<String> = self
            .triggers
            .iter()
            .map(|trigger| trigger.name.to_string())
            .collect();
        let all = || names.iter().map(String::as_str).zip(&self.triggers);
        let each = |of: fn(&TriggerReport) -> u64| {
            all().map(move |(name, trigger)| ([("trigger", name)], of(trigger)))
        };
        let level = |of: fn(&TriggerReport) -> f64| {
            all().map(move |(name, trigger)| ([("trigger", name)], of(trigger)))
        };
        counters(
            encoder,
            "weft_matched",
            "Deliveries begun: events that a trigger wants",
            each(|t| t.book.matched),
        )?;
        counters(
            encoder,
            "weft_delivered",
            "Deliveries that ended at their destination",
            each(|t| t.book.delivered),
        )?;
        counters(
            encoder,
            "weft_cancelled",
            "Deliveries that nobody wants any more",
            each(|t| t.book.cancelled),
        )?;
        let dead = all().flat_map(|(name, trigger)| {
            dead(&trigger.book.dead)
                .map(move |(cause, count)| ([("trigger", name), ("cause", cause)], count))
        });
        counters(
            encoder,
            "weft_dead",
            "Deliveries that ended in the dead letters, by cause",
            dead,
        )?;
        gauges(
            encoder,
            "weft_owed",
            "Deliveries that have not ended",
            level(|t| t.book.owed as f64),
        )?;
        let now = self.now;
        let oldest = all().filter_map(|(name, trigger)| {
            let oldest = trigger.lane.oldest?;
            Some(([("trigger", name)], now.since(oldest).as_secs_f64()))
        });
        let help = "Age of the oldest event of a delivery that has not ended";
        gauges(encoder, "weft_oldest_owed_seconds", help, oldest)?;
        gauges(
            encoder,
            "weft_inflight",
            "Requests sent and not answered",
            level(|t| f64::from(t.lane.in_flight)),
        )?;
        gauges(
            encoder,
            "weft_parked",
            "Deliveries waiting to be tried again",
            level(|t| f64::from(t.lane.parked)),
        )?;
        gauges(
            encoder,
            "weft_held",
            "Deliveries of ordered triggers that wait behind another of their key",
            level(|t| t.lane.held as f64),
        )?;
        gauges(
            encoder,
            "weft_keys_blocked",
            "Keys of ordered triggers that wait for a delivery that fails, or that a dead letter blocks",
            level(|t| t.lane.keys_blocked as f64),
        )?;
        // Lanes that are no more count on in a series of their own, so that sums never go back.
        let retired = (GONE, &self.report.retired);
        let retired = std::iter::once(retired).filter(|(_, tally)| tally.attempts > 0);
        let tallies = all()
            .map(|(name, trigger)| (name, &trigger.lane.tally))
            .chain(retired);
        let attempts = tallies.flat_map(|(name, tally)| {
            let succeeded = tally.attempts.saturating_sub(tally.failed);
            [("succeeded", succeeded), ("failed", tally.failed)]
                .map(|(outcome, count)| ([("trigger", name), ("outcome", outcome)], count))
        });
        counters(
            encoder,
            "weft_delivery_attempts",
            "Requests that reached the network",
            attempts,
        )?;
        counters(
            encoder,
            "weft_replies",
            "Answers whose event was stored",
            each(|t| t.lane.tally.replies),
        )?;
        let help = "Answers whose body was no event and was ignored";
        counters(
            encoder,
            "weft_replies_ignored",
            help,
            each(|t| t.lane.tally.replies_ignored),
        )?;
        let help = "Answers that declined an event by Weft-Nack";
        counters(
            encoder,
            "weft_delivery_nack",
            help,
            each(|t| t.lane.tally.nacks),
        )?;
        let help = "Deliveries that ended for their age or their event's expirytime";
        let expired = each(|t| t.book.dead[Cause::Expired as usize]);
        counters(encoder, "weft_events_expired", help, expired)?;
        let help = "Events whose expirytime could not be read and was ignored";
        let unreadable = each(|t| t.lane.tally.expiry_unreadable);
        counters(encoder, "weft_expirytime_unreadable", help, unreadable)?;
        let share = self.report.space.share.max(1) as f64;
        let used = all().map(|(name, trigger)| {
            let ratio = trigger.held_bytes as f64 / share;
            ([("trigger", name)], ratio)
        });
        let help =
            "What a trigger holds of its share of the storage; above 1 its onQuota may be applied";
        gauges(encoder, "weft_quota_used_ratio", help, used)?;
        gauge(
            encoder,
            "weft_dead_letters",
            "Dead letters kept",
            self.dead_letters as f64,
        )?;
        self.space(encoder)
    }

    /// What the storage holds, and who gives way.
    fn space(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let space = &self.report.space;
        if let Some(oldest) = space.letters_oldest {
            let help = "Age of the oldest dead letter";
            let age = self.now.since(oldest).as_secs_f64();
            gauge(encoder, "weft_dead_letter_oldest_seconds", help, age)?;
        }
        let help = "Dead letters whose retention was over";
        let expired = std::iter::once(([("why", "retention")], space.letters_expired));
        counters(encoder, "weft_dead_letters_expired", help, expired)?;
        let parts = [
            ("log", space.log_bytes),
            ("kept", space.kept_bytes),
            ("view", space.view_bytes),
        ];
        let parts = parts.map(|(part, bytes)| ([("part", part)], bytes as f64));
        gauges(encoder, "weft_storage_bytes", "Bytes on disk", parts)?;
        let help = "The share of storage.maxBytes that what is owed or dead takes";
        gauge(encoder, "weft_storage_held_ratio", help, space.held_ratio)?;
        let gave = [
            ("payload", space.quota_payloads),
            ("delivery", space.quota_deliveries),
            ("letter", space.quota_letters),
        ];
        let gave = gave.map(|(what, count)| ([("what", what)], count));
        let help = "What gave way to a quota";
        counters(encoder, "weft_quota_discarded", help, gave)?;
        if let Some(since) = space.replay_since {
            let help = "How far back a replay reaches";
            let reach = self.now.since(since).as_secs_f64();
            gauge(encoder, "weft_replay_reach_seconds", help, reach)?;
        }
        let help = "Segments of the log that were reclaimed";
        let reclaimed = std::iter::once(([("part", "log")], space.segments_reclaimed));
        counters(encoder, "weft_segments_reclaimed", help, reclaimed)?;
        let help = "Bytes that were copied to kept when their segment was reclaimed";
        let copied = std::iter::once(([("part", "kept")], space.bytes_kept));
        counters(encoder, "weft_kept_copied_bytes", help, copied)
    }

    fn reached(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let help = "How long attempts took";
        histograms(
            encoder,
            "weft_delivery_duration_seconds",
            help,
            &self.destinations,
            |d| &d.attempt_seconds,
        )?;
        let help = "From the arrival of an event to its delivery";
        histograms(
            encoder,
            "weft_end_to_end_seconds",
            help,
            &self.destinations,
            |d| &d.end_to_end_seconds,
        )?;
        let answers = self.destinations.iter().flat_map(|destination| {
            let classes = ANSWER_CLASSES
                .iter()
                .zip(destination.answers)
                .filter(|(_, count)| *count > 0);
            classes.map(|(class, count)| {
                (
                    [("destination", &*destination.key), ("class", *class)],
                    count,
                )
            })
        });
        counters(
            encoder,
            "weft_destination_answers",
            "Answers, by class of status",
            answers,
        )?;
        let inflight = self.destinations.iter().map(|destination| {
            (
                [("destination", &*destination.key)],
                f64::from(destination.in_flight),
            )
        });
        gauges(
            encoder,
            "weft_destination_inflight",
            "Requests sent and not answered",
            inflight,
        )?;
        self.health(encoder)
    }

    /// How ill destinations are, and what that holds back.
    fn health(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let all = || {
            let destinations = self.destinations.iter();
            destinations.map(|destination| (&*destination.key, destination))
        };
        let with_breaker = all().filter(|(_, d)| d.breaker.state != BreakerState::Off);
        let states = with_breaker.map(|(key, d)| {
            let state = match d.breaker.state {
                BreakerState::Off | BreakerState::Closed => 0.0,
                BreakerState::Probing => 1.0,
                BreakerState::Open => 2.0,
            };
            ([("destination", key)], state)
        });
        let help = "0 when calls flow, 1 while a probe is in the air, 2 when they don't";
        gauges(encoder, "weft_breaker_state", help, states)?;
        let trips = all().flat_map(|(key, d)| {
            let trips = Trip::ALL.iter().zip(d.breaker.trips);
            let trips = trips.filter(|(_, count)| *count > 0);
            trips.map(move |(why, count)| ([("destination", key), ("reason", why.word())], count))
        });
        counters(
            encoder,
            "weft_breaker_trips",
            "Breakers that opened, by reason",
            trips,
        )?;
        let deferred = all().flat_map(|(key, d)| {
            let deferred = Deferral::ALL.iter().zip(d.deferred);
            let deferred = deferred.filter(|(_, count)| *count > 0);
            deferred
                .map(move |(why, count)| ([("destination", key), ("reason", why.word())], count))
        });
        let help = "Times that a trigger had to wait for a destination, by reason";
        counters(encoder, "weft_delivery_deferred", help, deferred)?;
        let balances = all().filter_map(|(key, d)| Some(([("destination", key)], d.retry_budget?)));
        let help = "Retries that a destination may get at once";
        gauges(encoder, "weft_retry_budget_balance", help, balances)?;
        let pushed = all().filter(|(_, d)| !d.pushback.is_zero());
        let pushed = pushed.map(|(key, d)| ([("destination", key)], d.pushback.as_secs_f64()));
        let help = "For how long Retry-After kept all deliveries away, since start";
        gauges(encoder, "weft_delivery_pushback_seconds", help, pushed)?;
        let limits = all().map(|(key, d)| ([("destination", key)], f64::from(d.cap) * d.share));
        let help = "Requests that may be in flight, by caps, latency and slow start";
        gauges(encoder, "weft_concurrency_limit", help, limits)
    }
}

#[cfg(test)]
mod tests;
