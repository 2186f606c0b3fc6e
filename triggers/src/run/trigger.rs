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
    /// Why it isn't ready; `None` when it is.
    pub not_ready: Option<NotReady>,
}

/// Why a good trigger gets no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// Its broker isn't declared, and only `default` exists without being declared. It becomes
    /// ready when the broker appears.
    BrokerDoesNotExist,
}

impl NotReady {
    /// The condition's reason, as Knative spells it.
    pub fn reason(self) -> &'static str {
        match self {
            NotReady::BrokerDoesNotExist => "BrokerDoesNotExist",
        }
    }
}
