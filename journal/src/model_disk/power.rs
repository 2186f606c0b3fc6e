//! Power that fails in the middle of something: once so many more changes were made, nothing works any
//! more, until somebody takes what the disk holds then, or the power comes back.

use std::io;

use tokio::sync::watch;

use super::{ModelDisk, Operation};
use crate::lock::lock;

/// Whether there is power, and for how long.
#[derive(Debug, Clone, Default)]
pub(super) struct Power {
    /// How many changes are still made; none: nobody said.
    left: Option<u64>,
    /// Only of this kind; none: of all.
    of: Option<Operation>,
    off: watch::Sender<bool>,
}

impl Power {
    pub(super) fn is_off(&self) -> bool {
        *self.off.borrow()
    }

    /// A change is about to be made: it may be the one that isn't any more.
    pub(super) fn change(&mut self, operation: Operation) {
        let counts = self.of.is_none_or(|of| of == operation);
        match &mut self.left {
            None => {}
            Some(_) if !counts => {}
            Some(0) => drop(self.off.send_replace(true)),
            Some(left) => *left -= 1,
        }
    }

    /// What every operation says without power.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.is_off() {
            true => Err(io::Error::other("the power is off")),
            false => Ok(()),
        }
    }
}

impl ModelDisk {
    /// Lets so many more changes (writes, syncs, names) be made, and then fails every operation: the
    /// power is off. [`ModelDisk::crash`] makes the disk as it is found then.
    pub fn power_off_after(&self, changes: u64) {
        let power = &mut lock(&self.shared).power;
        (power.left, power.of) = (Some(changes), None);
    }

    /// The same, where only one kind of change is counted: after so many of them the next fails, and
    /// everything with it.
    ///
    /// # Panics
    ///
    /// If it changes nothing.
    pub fn power_off_at(&self, operation: Operation, nth: u64) {
        assert!(operation.changes(), "{operation:?} changes nothing");
        let power = &mut lock(&self.shared).power;
        (power.left, power.of) = (Some(nth), Some(operation));
    }

    /// The power is on and stays on. After a failure it is the process that ended, and the disk goes
    /// on with what it was told, durable or not.
    pub fn power_on(&self) {
        let mut model = lock(&self.shared);
        model.power.left = None;
        model.power.off.send_replace(false);
    }

    /// Whether the power has failed.
    pub fn is_off(&self) -> bool {
        lock(&self.shared).power.is_off()
    }

    /// Waits until it has.
    pub async fn until_off(&self) {
        let mut off = lock(&self.shared).power.off.subscribe();
        // An error would mean that the disk is gone, which this is a handle of.
        if off.wait_for(|off| *off).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether everything is durable now, so that a loss of power would leave the same by every rule.
    pub fn is_durable(&self) -> bool {
        lock(&self.shared).image.is_durable()
    }
}
