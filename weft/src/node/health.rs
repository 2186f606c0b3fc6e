//! Whether the node can keep its promises now: asked by probes on both ports.

use std::sync::{Mutex, PoisonError};

use adapters_http::source::Readiness;

/// The node's state, shared by whoever answers probes.
#[derive(Debug)]
pub(crate) struct Health(Mutex<Readiness>);

impl Health {
    /// Not ready: the log is being opened.
    pub(crate) fn starting() -> Self {
        Self(Mutex::new(Readiness::NotReady("starting".into())))
    }

    /// Changes the state.
    pub(crate) fn set(&self, readiness: Readiness) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = readiness;
    }

    /// The state now.
    pub(crate) fn get(&self) -> Readiness {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Why the node isn't ready; `None` when it is.
pub(crate) fn reason(readiness: &Readiness) -> Option<String> {
    match readiness {
        Readiness::Ready => None,
        Readiness::Draining => Some("draining".into()),
        Readiness::NotReady(why) => Some(why.clone()),
    }
}
