//! The one door into the broker.
//!
//! HTTP now, Kafka and NATS later, and replies from functions all come through here, so what
//! the broker promises about an accepted event is decided in this file.

use std::sync::Arc;
use std::time::Duration;

use event::{Batch, Event};
use journal::{AppendError, Group, Offset, mutant};
use triggers::{BrokerName, TriggerName};

use crate::admission::{Admission, BrokerFacts};
use crate::log::Log;
use crate::records::envelope::{self, Context};

/// How long a publisher is asked to wait when storage can't take its event, in seconds
/// (`Retry-After`).
pub const RETRY_AFTER_NO_SPACE: Duration = Duration::from_secs(5);

/// Why the broker did not take an event. A refusal is an answer, not a fault.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nobody declared this broker. A publisher may try again: it may be on its way.
    #[error("there is no broker {0}; declare it, or name it `default` and let a trigger use it")]
    NoSuchBroker(BrokerName),
    /// One event is over its broker's limit.
    #[error("event is {got} bytes, broker {broker} takes at most {limit}")]
    TooLarge {
        /// The broker that was asked.
        broker: BrokerName,
        /// The event's size in bytes.
        got: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The events of one request are more than can be stored all or none.
    #[error("the batch is {got} bytes as stored, at most {limit} can be stored as one")]
    BatchTooLarge {
        /// The batch's size in bytes, as stored.
        got: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The space is used up by events that are still owed or kept.
    #[error("storage is full of events that are still owed or kept; try again later")]
    NoSpace,
    /// A trigger of this broker is over its share of the storage, and its policy says `onQuota: refuse`.
    #[error(
        "broker {broker} takes no events while trigger {trigger} is over its share of the storage; try again later"
    )]
    Quota {
        /// The broker that was asked.
        broker: BrokerName,
        /// Who is over its share.
        trigger: TriggerName,
    },
    /// The log has stopped after a failed write or sync, or because the node is closing.
    #[error("the broker cannot store events right now")]
    Stopped,
}

/// What was stored: the offsets of the batch's events, in order.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Empty for an empty batch.
    pub positions: std::ops::Range<Offset>,
}

/// The one door into the broker. Cheap to clone.
#[derive(Clone)]
pub struct Ingress {
    admission: Arc<Admission>,
    log: Log,
    hops_max: u8,
}

impl Ingress {
    pub(crate) fn new(admission: Arc<Admission>, log: Log, hops_max: u8) -> Self {
        Self {
            admission,
            log,
            hops_max,
        }
    }

    /// What is known of a broker before its event has been read: whether it exists, and how
    /// large an event may be, so that an adapter can stop reading early.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchBroker`].
    pub fn broker(&self, name: &BrokerName) -> Result<Arc<BrokerFacts>, Refusal> {
        self.admission.broker(name)
    }

    /// Stores `batch` and returns once it would survive a power cut.
    ///
    /// All of the batch is stored or none of it. After `Ok` the broker owes a delivery to
    /// every matching trigger. After `Err` it owes nothing, and the caller says so to its
    /// own sender: an HTTP status, an uncommitted Kafka offset, a NATS nak. It may still
    /// deliver: a write that failed can turn out to have reached the disk.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not take the events back: they may still be stored.
    pub async fn publish(
        &self,
        to: &BrokerFacts,
        context: &Context,
        batch: &Batch,
    ) -> Result<Receipt, Refusal> {
        self.admission.admit(to, batch)?;
        if mutant::is("dedup-at-the-door") && batch.events.iter().all(|event| self.saw(to, event)) {
            let end = self.log.end();
            return Ok(Receipt {
                positions: end..end,
            });
        }
        let arrival = self.log.clock().wall();
        let records = batch
            .events
            .iter()
            .map(|event: &Event| match event.hops_left() {
                None => envelope::record(to.number, arrival, context, event),
                Some(left) => {
                    let hops = self.hops_max.saturating_sub(left);
                    let context = Context {
                        hops: context.hops.max(hops),
                        ..context.clone()
                    };
                    envelope::record(to.number, arrival, &context, event)
                }
            })
            .collect::<Vec<_>>();
        if records.is_empty() {
            let end = self.log.end();
            return Ok(Receipt {
                positions: end..end,
            });
        }
        let positions = self
            .log
            .append(Group::new(records))
            .await
            .map_err(refusal)?;
        Ok(Receipt { positions })
    }

    /// Whether a mutant saw this event before: without it, never.
    fn saw(&self, to: &BrokerFacts, event: &Event) -> bool {
        let (door, event) = (Arc::as_ptr(&self.admission), event.as_ref());
        mutant::has_seen((door, to.number, event.source(), event.id()))
    }
}

/// A failed append in a publisher's words.
pub(crate) fn refusal(error: AppendError) -> Refusal {
    match error {
        AppendError::NoSpace { .. } => Refusal::NoSpace,
        AppendError::TooLarge { got, limit } => Refusal::BatchTooLarge { got, limit },
        AppendError::Stopped | AppendError::Closed => Refusal::Stopped,
    }
}
