//! The Event record: an event's stored form with what the broker keeps beside it, never inside
//! it: when it came, how many hops its chain of replies has, whose it is, the sender's trace and
//! forwarded headers. The record's tag is its broker's number.
//!
//! Body: arrival u64 (ms since 1970) | context length u32 | hops u8 | context | stored event.
//! Context: entries of {tag u8, value behind a varint length}: 1 traceparent (16 bytes trace id,
//! 8 span id, 1 flags), 2 tracestate, 3 principal, 4 a forwarded header (name behind a varint
//! length, then its value).

use bytes::Bytes;
use event::Event;
use journal::{Offset, Record, Stored, WallTime};

use super::wire::{self, Short, Take};
use super::{EVENT, Malformed, Number, VERSION};
use crate::trace::TraceParent;

const FIXED_BYTES: usize = 8 + 4 + 1;

const TRACEPARENT: u8 = 1;
const TRACESTATE: u8 = 2;
const PRINCIPAL: u8 = 3;
const HEADER: u8 = 4;

/// What came with an event and isn't part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The sender's span.
    pub traceparent: Option<TraceParent>,
    /// The sender's `tracestate`.
    pub tracestate: Option<String>,
    /// Who was authenticated; `source` proves nothing (GUARANTEES 38).
    pub principal: Option<String>,
    /// How many replies lead here: 0 for an event that a publisher sent.
    pub hops: u8,
    /// `x-request-id` and `knative-*` headers, to be sent on (contract §2).
    pub forwarded: Vec<(String, Vec<u8>)>,
}

/// An Event record, read.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Where it stands.
    pub offset: Offset,
    /// Its broker's number.
    pub broker: Number,
    /// When it was stored.
    pub arrival: WallTime,
    /// How many replies lead here.
    pub hops: u8,
    context: Bytes,
    /// The event.
    pub event: Event,
}

/// Makes the record of `event`.
pub fn record(broker: Number, arrival: WallTime, context: &Context, event: &Event) -> Record {
    let stored = event.stored();
    let mut body = Vec::with_capacity(FIXED_BYTES + 96 + stored.len());
    body.extend_from_slice(&arrival.0.to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body.push(context.hops);
    put_context(&mut body, context);
    let context_len = (body.len() - FIXED_BYTES) as u32;
    body[8..12].copy_from_slice(&context_len.to_le_bytes());
    body.extend_from_slice(stored);
    Record {
        kind: EVENT,
        version: VERSION,
        tag: broker,
        body: body.into(),
    }
}

fn put_context(body: &mut Vec<u8>, context: &Context) {
    if let Some(trace) = &context.traceparent {
        body.push(TRACEPARENT);
        wire::put_varint(body, 25);
        body.extend_from_slice(&trace.trace_id);
        body.extend_from_slice(&trace.span_id);
        body.push(trace.flags);
    }
    for (tag, text) in [
        (TRACESTATE, &context.tracestate),
        (PRINCIPAL, &context.principal),
    ] {
        if let Some(text) = text {
            body.push(tag);
            wire::put_bytes(body, text.as_bytes());
        }
    }
    for (name, value) in &context.forwarded {
        let mut entry = Vec::with_capacity(name.len() + value.len() + 2);
        wire::put_bytes(&mut entry, name.as_bytes());
        entry.extend_from_slice(value);
        body.push(HEADER);
        wire::put_bytes(body, &entry);
    }
}

impl Envelope {
    /// Reads an Event record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the body isn't of this layout.
    pub fn read(stored: &Stored) -> Result<Self, Malformed> {
        let malformed = Malformed::at(stored.offset, EVENT);
        let (arrival, hops, context_end) = fixed(&stored.body).map_err(&malformed)?;
        let event = Event::from_stored(stored.body.slice(context_end..))
            .map_err(|_| malformed(Short("stored event")))?;
        Ok(Self {
            offset: stored.offset,
            broker: stored.tag,
            arrival,
            hops,
            context: stored.body.slice(FIXED_BYTES..context_end),
            event,
        })
    }

    /// What came with the event.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the context isn't of this layout.
    pub fn context(&self) -> Result<Context, Malformed> {
        let mut context = Context {
            hops: self.hops,
            ..Context::default()
        };
        read_context(&self.context, &mut context).map_err(Malformed::at(self.offset, EVENT))?;
        Ok(context)
    }
}

/// The stored event's bytes inside an Event record's body, for who only wants to match it.
pub(crate) fn stored_event(stored: &Stored) -> Result<&[u8], Malformed> {
    let (_, _, end) = fixed(&stored.body).map_err(Malformed::at(stored.offset, EVENT))?;
    Ok(&stored.body[end..])
}

/// When the event of an Event record was stored.
pub(crate) fn arrival(stored: &Stored) -> Result<WallTime, Malformed> {
    let (arrival, _, _) = fixed(&stored.body).map_err(Malformed::at(stored.offset, EVENT))?;
    Ok(arrival)
}

fn fixed(body: &[u8]) -> Result<(WallTime, u8, usize), Short> {
    let mut take = Take::new(body);
    let arrival = u64::from_le_bytes(take.array("arrival")?);
    let context_len = u32::from_le_bytes(take.array("context length")?) as usize;
    let hops = take.byte("hops")?;
    take.slice(context_len, "context")?;
    Ok((WallTime(arrival), hops, FIXED_BYTES + context_len))
}

fn read_context(bytes: &[u8], context: &mut Context) -> Result<(), Short> {
    let mut take = Take::new(bytes);
    while !take.is_empty() {
        let tag = take.byte("context tag")?;
        let value = take.bytes("context value")?;
        let text = || String::from_utf8(value.to_vec()).map_err(|_| Short("context text"));
        match tag {
            TRACEPARENT => {
                let mut take = Take::new(value);
                context.traceparent = Some(TraceParent {
                    trace_id: take.array("trace id")?,
                    span_id: take.array("span id")?,
                    flags: take.byte("trace flags")?,
                });
            }
            TRACESTATE => context.tracestate = Some(text()?),
            PRINCIPAL => context.principal = Some(text()?),
            HEADER => {
                let mut take = Take::new(value);
                let name = take.text("header name")?.to_owned();
                context.forwarded.push((name, take.rest().to_vec()));
            }
            _ => return Err(Short("context tag")),
        }
    }
    Ok(())
}
