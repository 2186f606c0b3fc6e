//! What the source needs of the broker: its one door. A trait, so that tests can ask what each
//! refusal becomes over HTTP without filling a disk.

use std::future::Future;
use std::sync::Arc;

use broker::admission::BrokerFacts;
use broker::records::envelope::Context;
use broker::{Ingress, Refusal};
use event::Batch;
use triggers::BrokerName;

/// The way into a broker. [`broker::Ingress`] is the one that ships.
pub trait Door: Clone + 'static {
    /// What is known of a broker before its event has been read.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchBroker`].
    fn broker(&self, name: &BrokerName) -> Result<Arc<BrokerFacts>, Refusal>;

    /// Stores `batch` and returns once it would survive a power cut.
    ///
    /// # Errors
    ///
    /// After an error the broker owes nothing; the sender must be told so.
    fn publish(
        &self,
        to: &BrokerFacts,
        context: &Context,
        batch: &Batch,
    ) -> impl Future<Output = Result<(), Refusal>>;
}

impl Door for Ingress {
    fn broker(&self, name: &BrokerName) -> Result<Arc<BrokerFacts>, Refusal> {
        Ingress::broker(self, name)
    }

    async fn publish(
        &self,
        to: &BrokerFacts,
        context: &Context,
        batch: &Batch,
    ) -> Result<(), Refusal> {
        Ingress::publish(self, to, context, batch)
            .await
            .map(|_receipt| ())
    }
}
