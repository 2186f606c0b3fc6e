//! Sending one delivery: its event is read, made a request, and put in the air.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use journal::{Offset, WallTime};
use tokio::time::Instant;

use super::AtWork;
use crate::answer::{Answer, Attempted};
use crate::dead_letters::{self, Unread};
use crate::destination::{Flown, Wish};
use crate::guarded::Caught;
use crate::keys::Claim;
use crate::lane::{Delivery, Expires, LaneFacts, Lifespan};
use crate::records::attempt::{self, Attempt, Verdict};
use crate::records::envelope::{Context, Envelope};
use crate::records::{Cause, Number};
use crate::sink::{Request, Sink};
use crate::time::rfc3339;
use crate::trace::TraceParent;

/// Something that was in the air and came down.
pub(crate) enum Landing {
    /// An attempt's answer.
    Answered(Box<Answered>),
    /// A reply and its settlement were stored, or never can be.
    Stored(Box<super::landing::Stored>),
    /// An intent is durable, or never can be.
    Intended(Box<super::trial::Intended>),
    /// An answer went after its lane, to another worker.
    Forwarded,
}

/// An attempt, ended.
pub(crate) struct Answered {
    pub(crate) number: Number,
    pub(crate) delivery: Delivery,
    pub(crate) sent: Sent,
    pub(crate) attempted: Attempted,
    pub(crate) latency: Duration,
}

/// What must be remembered of a request while it is in the air.
pub(crate) struct Sent {
    /// What its destination must remember of it.
    pub(crate) flown: Flown,
    /// How long a `Retry-After` of its answer counts.
    pub(crate) retry_after_max: Duration,
    /// Its place among the airborne.
    pub(crate) airborne: u32,
    /// The slot of the destination it went to.
    pub(crate) destination: u32,
    /// How many bytes it counts for.
    pub(crate) bytes: usize,
    pub(crate) started: WallTime,
    /// When its event arrived, or when it was owed again: what its age counts from.
    pub(crate) born: WallTime,
    pub(crate) hops: u8,
    pub(crate) trace: TraceParent,
    pub(crate) trace_parent: Option<[u8; 8]>,
    pub(crate) event: event::Event,
}

/// Whose deliveries are in the air, so that the oldest that is owed can be found.
#[derive(Debug, Default)]
pub(crate) struct Airborne {
    places: Vec<Option<(Number, Offset)>>,
    free: Vec<u32>,
}

impl Airborne {
    pub(super) fn take_off(&mut self, number: Number, offset: Offset) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = Some((number, offset));
                place
            }
            None => {
                self.places.push(Some((number, offset)));
                (self.places.len() - 1) as u32
            }
        }
    }

    pub(super) fn land(&mut self, place: u32) {
        self.places[place as usize] = None;
        self.free.push(place);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Number, Offset)> {
        self.places.iter().copied().flatten()
    }
}

/// What a lane is to send: the event, and what goes with it.
struct Load {
    /// When the delivery began: its event's arrival, or its dead letter's.
    since: WallTime,
    envelope: Envelope,
    context: Context,
    add: Vec<(&'static str, String)>,
}

impl AtWork {
    /// Sends one delivery of the lane in `slot`, which has counted it as in flight.
    pub(super) fn send(
        &mut self,
        slot: u32,
        mut delivery: Delivery,
        wish: Wish,
        sink: &Rc<dyn Sink>,
    ) {
        let Some(lane) = &self.lanes[slot as usize] else {
            return;
        };
        let facts = Arc::clone(&lane.facts);
        let destination = lane.destination;
        let careful = Arc::clone(&self.careful);
        let load = || self.load(&facts, &delivery);
        let load = match careful.panics.guarded(Caught::Load, load) {
            Ok(Ok(load)) => load,
            Ok(Err(Unread::Later(why))) => return self.put_off(slot, delivery, &why),
            Ok(Err(Unread::Never(why))) | Err(why) => {
                return self.bury_unreadable(&facts, delivery, &why);
            }
        };
        match self.claim(slot, delivery.offset, &load.envelope.event.as_ref()) {
            Claim::Go => {}
            Claim::Held => {
                if let Some(lane) = &mut self.lanes[slot as usize] {
                    lane.hold_again(&delivery);
                }
                return;
            }
            Claim::Blocked => return self.bury(&facts, delivery, Cause::Blocked, None),
        }
        let now = self.log.clock().wall();
        let own_end = match facts.is_forward() {
            // Its event may well have expired: that is then why it is a dead letter.
            true => None,
            false => self.own_expiry(slot, &load.envelope),
        };
        // An event may be owed again, by redrive or replay: it is as old as that.
        let since = delivery.since.unwrap_or(load.since);
        let lifespan = Lifespan { since, own_end };
        let deadline = match self.expires(&facts, lifespan) {
            Expires::At(at) => Some(at),
            Expires::Never => None,
        };
        if deadline.is_some_and(|deadline| deadline <= now) && self.log.may_delete() {
            return self.bury(&facts, delivery, Cause::Expired, None);
        }
        let instant = Instant::now();
        self.count_wait(slot, &mut delivery, since, instant);
        delivery.lifespan = Some(lifespan);
        let trace_parent = load.context.traceparent.map(|parent| parent.span_id);
        let trace = self.trace(&load.context, load.envelope.offset);
        let Some(to) = &mut self.destinations[destination as usize] else {
            return;
        };
        let flown = to.take_off(instant, wish);
        let sent = Sent {
            flown,
            retry_after_max: facts.terms.retry_after_max,
            airborne: self.airborne.take_off(facts.number, delivery.offset),
            destination,
            bytes: load.envelope.event.stored().len(),
            started: now,
            born: since,
            hops: load.envelope.hops,
            trace,
            trace_parent,
            event: load.envelope.event.clone(),
        };
        self.bytes_in_flight += sent.bytes;
        if let Some(lane) = &mut self.lanes[slot as usize] {
            lane.tally.attempts += 1;
        }
        let timeout = facts.terms.timeout;
        let request = Request {
            destination: facts.destination.clone(),
            event: load.envelope.event,
            format: facts.terms.format,
            add: load.add,
            namespace: Arc::clone(&facts.namespace),
            attempt: delivery.attempt(),
            deadline,
            trace,
            tracestate: load.context.tracestate,
            forwarded: load.context.forwarded,
            timeout,
        };
        let sink = Rc::clone(sink);
        let sending = AssertUnwindSafe(async move { sink.send(request).await }).catch_unwind();
        let number = facts.number;
        self.flights.push(Box::pin(async move {
            let began = Instant::now();
            let attempted = match tokio::time::timeout(timeout, sending).await {
                Ok(Ok(attempted)) => attempted,
                Ok(Err(panic)) => {
                    let why = careful.panics.count(Caught::Send, &*panic);
                    tracing::error!(
                        why,
                        "a panic while an event was sent; its attempt has failed"
                    );
                    Answer::Unreachable(format!("weft panicked while sending it: {why}")).into()
                }
                Err(_) => Answer::TimedOut.into(),
            };
            let latency = began.elapsed();
            Landing::Answered(Box::new(Answered {
                number,
                delivery,
                sent,
                attempted,
                latency,
            }))
        }));
    }

    /// Reads what is owed. In a forwarding lane that is a Dead record, which names the event.
    fn load(&mut self, facts: &LaneFacts, delivery: &Delivery) -> Result<Load, Unread> {
        let offset = delivery.offset;
        let mut add = Vec::new();
        let mut event_offset = offset;
        let mut since = None;
        if facts.is_forward() {
            let dead = dead_letters::read_dead(&mut self.reader, offset)?;
            event_offset = dead.offset;
            since = Some(dead.at);
            add = dead_letters::error_attributes(&dead);
        }
        let envelope = dead_letters::read_event(&mut self.reader, event_offset)?;
        let context = envelope
            .context()
            .map_err(|malformed| Unread::Never(malformed.to_string()))?;
        if envelope
            .event
            .as_ref()
            .attribute("knativearrivaltime")
            .is_none()
        {
            add.push(("knativearrivaltime", rfc3339(envelope.arrival)));
        }
        if let Some(since) = delivery.since {
            add.push(("weftreplay", rfc3339(since)));
        }
        Ok(Load {
            since: since.unwrap_or(envelope.arrival),
            envelope,
            context,
            add,
        })
    }

    /// The attempt's own span: a child of the sender's, or of a trace that all attempts of this
    /// event share.
    fn trace(&mut self, context: &Context, offset: Offset) -> TraceParent {
        let span_id = (self.rng.bits() | 1).to_le_bytes();
        match context.traceparent {
            Some(parent) => parent.child(span_id),
            None => {
                let mut trace_id = [0; 16];
                let log_id = self.log.journal().facts().log_id;
                trace_id[..8].copy_from_slice(&log_id.to_le_bytes());
                trace_id[8..].copy_from_slice(&(offset.0 + 1).to_le_bytes());
                let flags = u8::from(self.spans.wanted());
                TraceParent {
                    trace_id,
                    span_id,
                    flags,
                }
            }
        }
    }

    /// An event whose record is damaged can't be delivered: it is kept as a dead letter that
    /// says so, and a person is told.
    fn bury_unreadable(&mut self, facts: &Arc<LaneFacts>, delivery: Delivery, why: &str) {
        tracing::error!(trigger = %facts.trigger, offset = delivery.offset.0, why, "owed event can't be read");
        let attempt = Attempt {
            started: self.log.clock().wall(),
            latency_ms: 0,
            verdict: Verdict::Unreachable,
            status: None,
            text: why.into(),
            body: bytes::Bytes::new(),
            left_out: 0,
        };
        let mut delivery = delivery;
        attempt::push(delivery.history.get_or_insert_default(), attempt);
        self.bury(facts, delivery, Cause::Poison, None);
    }
}
