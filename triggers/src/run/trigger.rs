//! A trigger as run.

use super::destination::Destination;
use super::filter::Filter;
use super::name::{BrokerName, TriggerName};
use super::terms::Terms;

/// Who wants which events of a broker, and on what terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub name: TriggerName,
    pub broker: BrokerName,
    pub filter: Filter,
    pub subscriber: Destination,
    /// The trigger's own dead letter sink, else its broker's.
    pub dead_letter: Option<Destination>,
    /// Merged with its broker's (contract §3).
    pub terms: Terms,
    /// Which events it gets when it is new: the annotation `weft.dev/start`.
    pub start: Start,
    /// Why it isn't ready; `None` when it is.
    pub not_ready: Option<NotReady>,
}

/// Where a trigger begins that wasn't there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With events stored from now on.
    #[default]
    Latest,
    /// With the oldest event that the log still holds.
    Earliest,
    /// With events stored at or after this time, in ms since 1970-01-01T00:00:00Z.
    At(u64),
}

/// Why a good trigger gets no events. It becomes ready when what it names appears. Where it isn't
/// known where to or on what terms, what it is owed already waits as if it were paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// Its broker isn't declared, and only `default` exists without being declared.
    BrokerDoesNotExist,
    /// No DeliveryPolicy has the name that it or its broker gives.
    PolicyDoesNotExist,
    /// No Sink has the name that its subscriber gives.
    SubscriberDoesNotExist,
    /// No Sink has the name that its dead letter sink, or its broker's, gives.
    DeadLetterSinkDoesNotExist,
}

impl NotReady {
    /// The condition's reason, as Knative spells it.
    pub fn reason(self) -> &'static str {
        match self {
            NotReady::BrokerDoesNotExist => "BrokerDoesNotExist",
            NotReady::PolicyDoesNotExist => "PolicyDoesNotExist",
            NotReady::SubscriberDoesNotExist => "SubscriberDoesNotExist",
            NotReady::DeadLetterSinkDoesNotExist => "DeadLetterSinkDoesNotExist",
        }
    }

    /// What is missing, to be read after `nothing is sent until`.
    pub fn waits_for(self) -> &'static str {
        match self {
            NotReady::BrokerDoesNotExist => "its broker is declared",
            NotReady::PolicyDoesNotExist => {
                "the DeliveryPolicy is declared that it, or its broker, names"
            }
            NotReady::SubscriberDoesNotExist => "the Sink is declared that its subscriber names",
            NotReady::DeadLetterSinkDoesNotExist => {
                "the Sink is declared that its deadLetterSink, or its broker's, names"
            }
        }
    }
}
