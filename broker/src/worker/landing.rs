//! What came back: each answer becomes one step of its delivery, and a record of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::Event;
use journal::{AppendError, Group, Offset, WallTime, mutant};
use tokio::time::Instant;
use triggers::{Replies, Terms};

use super::AtWork;
use super::flight::{Answered, Landing, Sent};
use crate::Fault;
use crate::answer::{ANSWER_BODY_KEPT_BYTES, Answer, Attempted, Reply};
use crate::dapr;
use crate::lane::{Delivery, Expires, LaneFacts};
use crate::next_step::{Before, Next, asked_for, next_step};
use crate::records::attempt::{self, Attempt, MIDDLE_BODY_KEPT_BYTES, Verdict};
use crate::records::dead::Dead;
use crate::records::envelope::{self, Context};
use crate::records::parked::Parked;
use crate::records::settled::{Settled, Settlement};
use crate::records::{Cause, Number, Outcome, Why};
use crate::trace::AttemptSpan;

/// A reply and its settlement, stored as one group or refused for good.
pub(crate) struct Stored {
    number: Number,
    delivery: Delivery,
    attempt: Attempt,
    reply: Event,
    sent: Sent,
    end: Result<std::ops::Range<Offset>, AppendError>,
}

impl AtWork {
    pub(super) fn land(&mut self, landing: Landing) -> Result<(), Fault> {
        match &landing {
            Landing::Answered(answered) => self.free(answered),
            Landing::Stored(stored) => {
                let bytes = stored.reply.stored().len();
                self.bytes_in_flight -= bytes;
                self.bytes_storing -= bytes;
                let delivery = (stored.number, stored.delivery.offset);
                self.storing.retain(|storing| *storing != delivery);
            }
            Landing::Intended(intended) => self.airborne.land(intended.airborne),
            Landing::Forwarded => {}
        }
        self.go_on(landing)
    }

    /// Takes what landed to its lane, wherever that is by now: here, at another worker, or on its
    /// way here.
    pub(super) fn go_on(&mut self, landing: Landing) -> Result<(), Fault> {
        let number = match &landing {
            Landing::Answered(answered) => answered.number,
            Landing::Stored(stored) => stored.number,
            Landing::Intended(intended) => intended.number,
            Landing::Forwarded => return Ok(()),
        };
        if let Some(early) = self.arriving.get_mut(&number) {
            early.push(landing);
            return Ok(());
        }
        if let Some(&to) = self.moved.get(&number) {
            self.send_after(landing, to);
            return Ok(());
        }
        match landing {
            Landing::Answered(answered) => self.answered(*answered),
            Landing::Stored(stored) => self.stored(*stored)?,
            Landing::Intended(intended) => self.intended(*intended)?,
            Landing::Forwarded => {}
        }
        Ok(())
    }

    /// Gives back what the request held: its place, its bytes, its share of the destination.
    fn free(&mut self, answered: &Answered) {
        self.airborne.land(answered.sent.airborne);
        self.bytes_in_flight -= answered.sent.bytes;
        let slot = answered.sent.destination;
        let now = self.now();
        let answer = &answered.attempted.answer;
        let chance = self.rng.chance();
        let mut change = None;
        if let Some(destination) = &mut self.destinations[slot as usize] {
            if let Some(error) = error(answer) {
                destination.last_error = Some((now.wall, error));
            }
            let flown = answered.sent.flown;
            change = destination.land(flown, answer, answered.latency, now.instant, chance);
            if let Some(wait) = pushback(answer, answered.sent.retry_after_max) {
                destination.push_back(wait, now.instant);
            }
        }
        if let Some(change) = change {
            self.breaker_changed(slot, change, now);
        }
        self.rouse(slot, now.instant);
        self.forget_if_idle(slot);
    }

    /// Sends what landed after its lane. In the air like any request, so that two workers never
    /// wait for each other's inbox.
    fn send_after(&mut self, landing: Landing, to: usize) {
        let peer = self.peers[to].clone();
        self.flights.push(Box::pin(async move {
            // A closed inbox is a node that is ending: the delivery stays owed in the log.
            drop(peer.send(super::ToWorker::Landed(landing)).await);
            Landing::Forwarded
        }));
    }

    /// One step of a delivery whose answer is in.
    fn answered(&mut self, answered: Answered) {
        let Answered {
            number,
            mut delivery,
            sent,
            mut attempted,
            latency,
        } = answered;
        // The trigger was deleted meanwhile: what was owed is cancelled, whatever came back.
        let Some(&slot) = self.slots.get(&number) else {
            return;
        };
        let Some(lane) = &self.lanes[slot as usize] else {
            return;
        };
        let facts = Arc::clone(&lane.facts);
        let now = self.log.clock().wall();
        let attempt = delivery.attempt();
        if facts.terms.replies == Replies::Dapr
            && let Some(answer) = dapr::answer(&attempted)
        {
            attempted.answer = answer;
        }
        if facts.is_forward()
            && let Answer::Took(Reply::TooLarge { status, .. }) = attempted.answer
        {
            // What a dead letter sink answers is no reply.
            attempted.answer = Answer::Took(Reply::None { status });
        }
        // As of now: its trigger may have been paused while it was in the air.
        let deadline =
            delivery
                .lifespan
                .and_then(|lifespan| match self.expires(&facts, lifespan) {
                    Expires::At(at) => Some(at),
                    Expires::Never => None,
                });
        let deadline = match &attempted.answer {
            Answer::Declined { .. } => self.nack_deadline(&facts, &sent, deadline),
            _ => deadline,
        };
        let before = Before {
            attempt,
            nacks: delivery.nacks,
            left: deadline
                .filter(|_| self.log.may_delete())
                .map(|deadline| deadline.since(now)),
        };
        let chance = self.rng.chance();
        let next = next_step(&facts.terms, before, &attempted.answer, chance);
        self.trace_attempt(&facts, &sent, attempt, latency, &attempted.answer, next);
        let record = record(
            &attempted,
            &sent,
            latency,
            &delivery,
            matches!(next, Next::GiveUp(_)),
        );
        match next {
            Next::Settle => match reply(attempted.answer) {
                Some(reply) if !facts.is_forward() => {
                    return self.take_reply(&facts, delivery, record, reply, sent);
                }
                ignored_or_none => {
                    drop(ignored_or_none);
                    self.settle(&facts, &delivery, &record, &sent);
                }
            },
            Next::RetryAfter(wait) => {
                self.lane_failed(slot);
                let due = now.after(wait);
                let parked = Parked {
                    number,
                    offset: delivery.offset,
                    attempt,
                    due,
                    failed: record.clone(),
                };
                // A careful node waits for what comes of a suspect.
                if !self.log.is_short() || self.careful.is_on() {
                    self.note(parked.record());
                }
                attempt::push(delivery.history.get_or_insert_default(), record);
                self.key_failed(slot, delivery.offset, &sent.event.as_ref());
                self.park(slot, delivery, wait);
            }
            Next::AgainAfter(wait) => {
                // No attempt is burnt and nothing is written: after a restart it is made again.
                self.lane_declined(slot);
                // It came down, and the process lives.
                self.came_down(number, &delivery);
                delivery.nacks += 1;
                self.park(slot, delivery, wait);
            }
            Next::Drop => {
                self.lane_declined(slot);
                let mut settlement = self.settlement(number, &delivery, &record);
                settlement.outcome = Outcome::Cancelled(Why::Dropped);
                self.settled.push(settlement);
                if let Some(lane) = &mut self.lanes[slot as usize] {
                    lane.in_flight -= 1;
                }
                self.key_let_go(slot, delivery.offset);
                self.key_ended(slot, delivery.offset);
            }
            Next::GiveUp(cause) => {
                self.lane_failed(slot);
                attempt::push(delivery.history.get_or_insert_default(), record);
                return self.bury(&facts, delivery, cause, None);
            }
        }
        self.wake(slot);
    }

    /// Until when a delivery that is declined may be asked for again. A nack uses up neither retries
    /// nor patience, so where `retry` is written and no age, the default age is its end.
    fn nack_deadline(
        &self,
        facts: &LaneFacts,
        sent: &Sent,
        deadline: Option<WallTime>,
    ) -> Option<WallTime> {
        if facts.terms.event_age_max.is_some() {
            return deadline;
        }
        let aged = self.aged(facts, sent.born, Terms::EVENT_AGE_MAX);
        Some(deadline.map_or(aged, |deadline| deadline.min(aged)))
    }

    fn lane_failed(&mut self, slot: u32) {
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.tally.failed += 1;
        }
    }

    fn lane_declined(&mut self, slot: u32) {
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.tally.nacks += 1;
        }
    }

    pub(super) fn park(&mut self, slot: u32, delivery: Delivery, wait: Duration) {
        let Some(lane) = &mut self.lanes[slot as usize] else {
            return;
        };
        lane.in_flight -= 1;
        lane.parked += 1;
        self.timers
            .park(lane.facts.number, delivery, Instant::now() + wait);
    }

    /// Writes down a delivery that its destination took.
    fn settle(&mut self, facts: &LaneFacts, delivery: &Delivery, attempt: &Attempt, sent: &Sent) {
        let settlement = self.settlement(facts.number, delivery, attempt);
        self.settled.push(settlement);
        self.landed(facts.number, delivery.offset, sent, |tally| {
            tally.delivered += 1;
            if attempt.verdict == Verdict::NotAnEvent {
                tally.replies_ignored += 1;
            }
        });
    }

    fn settlement(&self, number: Number, delivery: &Delivery, attempt: &Attempt) -> Settlement {
        Settlement {
            number,
            offset: delivery.offset,
            outcome: Outcome::Delivered,
            attempt: delivery.attempt(),
            status: attempt.status.unwrap_or(0),
            latency_ms: attempt.latency_ms,
            at: self.log.clock().wall(),
        }
    }

    /// Counts a delivery that arrived.
    fn landed(
        &mut self,
        number: Number,
        offset: Offset,
        sent: &Sent,
        count: impl FnOnce(&mut crate::lane::Tally),
    ) {
        let end_to_end = self.log.clock().wall().since(sent.born);
        let Some(&slot) = self.slots.get(&number) else {
            return;
        };
        let Some(lane) = &mut self.lanes[slot as usize] else {
            return;
        };
        lane.in_flight -= 1;
        count(&mut lane.tally);
        if let Some(destination) = &mut self.destinations[lane.destination as usize] {
            destination.end_to_end_seconds.record(end_to_end);
        }
        self.key_let_go(slot, offset);
        self.key_ended(slot, offset);
    }

    /// Passes a reply to ingress of the same broker, together with its settlement (contract §2).
    fn take_reply(
        &mut self,
        facts: &Arc<LaneFacts>,
        mut delivery: Delivery,
        attempt: Attempt,
        reply: Event,
        sent: Sent,
    ) {
        // A reply may have come through another Knative broker, which counts them too.
        let elsewhere = reply
            .hops_left()
            .map(|left| self.limits.hops_max.saturating_sub(left));
        let hops = sent.hops.saturating_add(1).max(elsewhere.unwrap_or(0));
        let refused = if hops > self.limits.hops_max {
            Some(Cause::Loop)
        } else if reply.as_ref().wire_len() > facts.event_bytes_max {
            Some(Cause::Reply)
        } else {
            None
        };
        if let Some(cause) = refused {
            attempt::push(delivery.history.get_or_insert_default(), attempt);
            return self.bury(facts, delivery, cause, Some(reply));
        }
        let context = Context {
            hops,
            traceparent: Some(sent.trace),
            ..Context::default()
        };
        let now = self.log.clock().wall();
        let event = envelope::record(facts.broker_number, now, &context, &reply);
        let mut settled = Settled::default();
        settled.push(self.settlement(facts.number, &delivery, &attempt));
        let Some(settled) = settled.take() else {
            return;
        };
        self.bytes_in_flight += reply.stored().len();
        self.bytes_storing += reply.stored().len();
        self.storing.push((facts.number, delivery.offset));
        let (log, number) = (self.log.clone(), facts.number);
        self.flights.push(Box::pin(async move {
            let end = log.append_reply(event, settled).await;
            Landing::Stored(Box::new(Stored {
                number,
                delivery,
                attempt,
                reply,
                sent,
                end,
            }))
        }));
    }

    /// A reply was stored with its settlement, or can't be.
    fn stored(&mut self, stored: Stored) -> Result<(), Fault> {
        let Stored {
            number,
            mut delivery,
            attempt,
            reply,
            sent,
            end,
        } = stored;
        let Some(&slot) = self.slots.get(&number) else {
            return Ok(());
        };
        let Some(lane) = &self.lanes[slot as usize] else {
            return Ok(());
        };
        let facts = Arc::clone(&lane.facts);
        match end {
            Ok(_) => {
                self.landed(number, delivery.offset, &sent, |tally| {
                    tally.delivered += 1;
                    tally.replies += 1;
                });
                self.wake(slot);
                Ok(())
            }
            Err(AppendError::TooLarge { .. }) => {
                attempt::push(delivery.history.get_or_insert_default(), attempt);
                self.bury(&facts, delivery, Cause::Reply, Some(reply));
                Ok(())
            }
            Err(_) => Err(Fault::LogStopped),
        }
    }

    /// Ends a delivery in the dead letters. In a forwarding lane it only ends: its letter is
    /// already kept (contract §3).
    pub(super) fn bury(
        &mut self,
        facts: &Arc<LaneFacts>,
        delivery: Delivery,
        cause: Cause,
        reply: Option<Event>,
    ) {
        let now = self.log.clock().wall();
        let attempts = delivery.history.as_deref().cloned().unwrap_or_default();
        let slot = self.slots.get(&facts.number).copied();
        if facts.is_forward() {
            let last = attempts.last();
            self.settled.push(Settlement {
                number: facts.number,
                offset: delivery.offset,
                outcome: Outcome::Dead(cause),
                attempt: attempt::count(&attempts),
                status: last.and_then(|attempt| attempt.status).unwrap_or(0),
                latency_ms: last.map_or(0, |attempt| attempt.latency_ms),
                at: now,
            });
        } else {
            let dead = Dead {
                number: facts.number,
                uid: facts.uid,
                offset: delivery.offset,
                cause,
                // What ends for the quota ends so that its event can go.
                forwarded: facts.forwards && cause != Cause::Quota,
                at: now,
                namespace: facts.trigger.namespace().to_owned(),
                name: facts.trigger.name().to_owned(),
                broker: facts.broker.to_string(),
                destination: facts.destination.uri().to_owned(),
                attempts,
                reply: reply.map(|reply| reply.stored().clone()),
            };
            let held = slot.and_then(|slot| self.key_died(slot, delivery.offset));
            if mutant::is("dead-letter-apart-from-its-key") {
                held.into_iter().for_each(|held| self.note(held));
                self.note(dead.record());
            } else {
                let records = held.into_iter().chain([dead.record()]);
                self.note(Group::new(records.collect()));
            }
        }
        if let Some(slot) = slot {
            if let Some(lane) = &mut self.lanes[slot as usize] {
                lane.in_flight -= 1;
                lane.tally.count_dead(cause);
            }
            self.key_ended(slot, delivery.offset);
            self.wake(slot);
        }
    }

    fn trace_attempt(
        &self,
        facts: &LaneFacts,
        sent: &Sent,
        attempt: u32,
        latency: Duration,
        answer: &Answer,
        next: Next,
    ) {
        if !self.spans.wanted() || !sent.trace.sampled() {
            return;
        }
        let event = sent.event.as_ref();
        self.spans.ended(AttemptSpan {
            span: sent.trace,
            parent: sent.trace_parent,
            started: sent.started,
            ended: sent.started.after(latency),
            trigger: facts.trigger.to_string().into(),
            destination: facts.destination.uri().into(),
            event_id: event.id().to_owned(),
            event_source: event.source().to_owned(),
            event_type: event.ty().to_owned(),
            attempt,
            status: match answer {
                Answer::TimedOut | Answer::Unreachable(_) => None,
                answered => Some(answered.code()),
            },
            delivered: next == Next::Settle,
        });
    }
}

/// What a person should know of a failure of the destination, in a line.
fn error(answer: &Answer) -> Option<Box<str>> {
    let error = match answer {
        Answer::TimedOut => "timed out".to_owned(),
        Answer::Unreachable(why) => why.clone(),
        Answer::Said { status, .. } => format!("answered {status}"),
        Answer::Garbled { why, .. } => why.clone(),
        Answer::Took(_) | Answer::Declined { .. } => return None,
    };
    Some(error.into())
}

/// How long an answer asks everybody to stay away.
fn pushback(answer: &Answer, most: Duration) -> Option<Duration> {
    let Answer::Said {
        status,
        retry_after,
    } = answer
    else {
        return None;
    };
    let wait = asked_for(*status, *retry_after)?.min(most);
    (!wait.is_zero()).then_some(wait)
}

/// The event that a success carried.
fn reply(answer: Answer) -> Option<Event> {
    match answer {
        Answer::Took(Reply::Event { event, .. }) => Some(event),
        _ => None,
    }
}

/// What is kept of an attempt. The first and the last keep more of the body.
fn record(
    attempted: &Attempted,
    sent: &Sent,
    latency: Duration,
    delivery: &Delivery,
    last: bool,
) -> Attempt {
    let answer = &attempted.answer;
    let (verdict, text): (Verdict, Box<str>) = match answer {
        Answer::Took(Reply::Ignored { .. }) => (Verdict::NotAnEvent, Box::default()),
        Answer::Took(Reply::TooLarge { why, .. }) => (Verdict::Garbled, why.as_str().into()),
        Answer::Took(_) => (Verdict::Took, Box::default()),
        Answer::Garbled { why, .. } => (Verdict::Garbled, why.as_str().into()),
        Answer::Said { .. } | Answer::Declined { .. } => (Verdict::Said, Box::default()),
        Answer::TimedOut => (Verdict::TimedOut, Box::default()),
        Answer::Unreachable(why) => (Verdict::Unreachable, why.as_str().into()),
    };
    let status = match answer {
        Answer::TimedOut | Answer::Unreachable(_) => None,
        answered => Some(answered.code()),
    };
    let kept = if last || delivery.history.is_none() {
        ANSWER_BODY_KEPT_BYTES
    } else {
        MIDDLE_BODY_KEPT_BYTES
    };
    let body = &attempted.body[..attempted.body.len().min(kept)];
    let before = delivery.history.as_ref().and_then(|history| history.last());
    let body = match before {
        // Failing functions mostly say the same thing: the same bytes are kept once.
        Some(before) if before.body == body => before.body.clone(),
        _ => Bytes::copy_from_slice(body),
    };
    let latency_ms = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
    Attempt {
        started: sent.started,
        latency_ms,
        verdict,
        status,
        text,
        body,
        left_out: 0,
    }
}
