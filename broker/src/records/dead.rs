//! The Dead record: a delivery that ended in the dead letters, with every attempt. It names its
//! trigger and destination in full, since dead letters outlive their trigger.
//!
//! Body: number varint | uid 16 bytes | offset varint | cause u8 (an outcome's code) | flags u8
//! (1: forwarded to a dead letter sink, 2: a reply follows) | died varint (ms since 1970) |
//! trigger's namespace, its name, its broker, the destination's address: text behind varint
//! lengths | count varint | attempts ([`super::attempt`]) | the reply's stored form behind a
//! varint length, when flagged.

use bytes::Bytes;
use journal::{Offset, Record, Stored, WallTime};

use super::attempt::{self, Attempt};
use super::wire::{self, Short, Take};
use super::{Cause, DEAD, Malformed, Number, Outcome, VERSION};

const FORWARDED: u8 = 1;
const REPLY: u8 = 2;

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Whose delivery it was.
    pub number: Number,
    /// The trigger's UID.
    pub uid: [u8; 16],
    /// The event's offset.
    pub offset: Offset,
    /// Why it is here.
    pub cause: Cause,
    /// Whether its trigger had a dead letter sink, so that it is owed to that.
    pub forwarded: bool,
    /// When it came here.
    pub at: WallTime,
    /// The trigger's namespace.
    pub namespace: String,
    /// The trigger's name.
    pub name: String,
    /// The broker's name, `namespace/name`.
    pub broker: String,
    /// The destination's address, for `knativeerrordest`.
    pub destination: String,
    /// Every attempt, in order.
    pub attempts: Vec<Attempt>,
    /// The reply's stored form, where a reply is why it is here.
    pub reply: Option<Bytes>,
}

impl Dead {
    /// The record.
    pub fn record(&self) -> Record {
        let mut body = Vec::with_capacity(128);
        wire::put_varint(&mut body, u64::from(self.number));
        body.extend_from_slice(&self.uid);
        wire::put_varint(&mut body, self.offset.0);
        body.push(Outcome::Dead(self.cause).code());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        body.push(flag(self.forwarded, FORWARDED) | flag(self.reply.is_some(), REPLY));
        wire::put_varint(&mut body, self.at.0);
        for text in [&self.namespace, &self.name, &self.broker, &self.destination] {
            wire::put_bytes(&mut body, text.as_bytes());
        }
        wire::put_varint(&mut body, self.attempts.len() as u64);
        attempt::put_all(&mut body, &self.attempts);
        if let Some(reply) = &self.reply {
            wire::put_bytes(&mut body, reply);
        }
        Record {
            kind: DEAD,
            version: VERSION,
            tag: 0,
            body: body.into(),
        }
    }

    /// Why the delivery of a Dead record ended, without reading the rest.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when what lies before isn't of this layout.
    pub fn cause_of(stored: &Stored) -> Result<Cause, Malformed> {
        (|| -> Result<Cause, Short> {
            let mut take = Take::new(&stored.body);
            take.number::<Number>("number")?;
            take.array::<16>("uid")?;
            take.varint("offset")?;
            cause(&mut take)
        })()
        .map_err(Malformed::at(stored.offset, DEAD))
    }

    /// Reads a Dead record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the body isn't of this layout.
    pub fn read(stored: &Stored) -> Result<Self, Malformed> {
        (|| -> Result<Self, Short> {
            let mut take = Take::new(&stored.body);
            let number = take.number("number")?;
            let uid = take.array("uid")?;
            let offset = Offset(take.varint("offset")?);
            let cause = cause(&mut take)?;
            let flags = take.byte("flags")?;
            let at = WallTime(take.varint("died")?);
            let [namespace, name, broker, destination] = [
                take.text("namespace")?.to_owned(),
                take.text("name")?.to_owned(),
                take.text("broker")?.to_owned(),
                take.text("destination")?.to_owned(),
            ];
            let count: u32 = take.number("attempt count")?;
            let mut attempts = Vec::new();
            for _ in 0..count {
                let attempt = attempt::take(&mut take, &attempts)?;
                attempts.push(attempt);
            }
            let reply = match flags & REPLY {
                0 => None,
                _ => Some(Bytes::copy_from_slice(take.bytes("reply")?)),
            };
            let forwarded = flags & FORWARDED != 0;
            Ok(Self {
                number,
                uid,
                offset,
                cause,
                forwarded,
                at,
                namespace,
                name,
                broker,
                destination,
                attempts,
                reply,
            })
        })()
        .map_err(Malformed::at(stored.offset, DEAD))
    }
}

fn cause(take: &mut Take<'_>) -> Result<Cause, Short> {
    match Outcome::from_code(take.byte("cause")?) {
        Some(Outcome::Dead(cause)) => Ok(cause),
        _ => Err(Short("cause")),
    }
}
