//! Who writes changes of the resources into the log, one at a time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use journal::{Group, Record, mutant};
use tokio::sync::watch;
use triggers::{Change, Filter, Lowered, Problem, Resource, ResourceKey, TriggerName, lower};

use crate::ad_hoc::{AdHoc, AdHocLane};
use crate::limits::Limits;
use crate::log::{Log, Stopped};
use crate::records::Number;
use crate::records::trigger_set::{self, Kind, Op};
use crate::registry::{Applied, Registry, Undeletable};

/// Plans changes against the last one planned, and notes them in order.
///
/// The plan is taken in before its records are noted: a segment that opens in between begins
/// with a snapshot that already holds the change, and never one that lacks a change that stands
/// before it.
pub(crate) struct Registrar {
    log: Log,
    limits: Limits,
    planned: Arc<Mutex<Registry>>,
    /// One change at a time, so that parts of two never mix.
    turn: tokio::sync::Mutex<()>,
    in_force: watch::Receiver<u64>,
    /// Ad hoc lanes that a job of this process may still owe something to.
    used: Mutex<HashSet<Number>>,
}

impl Registrar {
    pub(crate) fn new(
        log: Log,
        limits: Limits,
        registry: Registry,
        in_force: watch::Receiver<u64>,
    ) -> Self {
        let planned = Arc::new(Mutex::new(registry));
        let turn = tokio::sync::Mutex::new(());
        Self {
            log,
            limits,
            planned,
            turn,
            in_force,
            used: Mutex::default(),
        }
    }

    /// Has the journal begin each segment with all that is in force, and `more`.
    pub(crate) fn open_segments(&self, more: impl Fn() -> Vec<Record> + Send + Sync + 'static) {
        let planned = Arc::clone(&self.planned);
        self.log.journal().set_opening(Arc::new(move || {
            let registry = planned.lock().unwrap_or_else(PoisonError::into_inner);
            let (revision, next) = (registry.revision, registry.next_number());
            if mutant::is("open-segments-without-triggers") {
                return Vec::new();
            }
            trigger_set::records(revision, true, next, &registry.snapshot())
                .into_iter()
                .chain(more())
                .map(Group::one)
                .collect()
        }));
    }

    /// What is in force as of the last change, of what people write.
    pub(crate) fn resources(&self) -> Vec<Arc<Resource>> {
        self.locked(|registry| {
            registry
                .entries()
                .filter(|entry| entry.kind != Kind::AdHoc)
                .map(|entry| Arc::clone(&entry.resource))
                .collect()
        })
    }

    /// Those of them that aren't detached.
    pub(crate) fn attached(&self) -> Vec<Arc<Resource>> {
        self.locked(|registry| {
            registry
                .entries()
                .filter(|entry| entry.kind != Kind::AdHoc && entry.detached.is_none())
                .map(|entry| Arc::clone(&entry.resource))
                .collect()
        })
    }

    /// The number of a trigger, as of the last change.
    pub(crate) fn trigger_number(&self, name: &TriggerName) -> Option<Number> {
        self.locked(|registry| registry.trigger_number(name))
    }

    /// The number of a resource, as of the last change.
    pub(crate) fn number(&self, key: &ResourceKey) -> Option<Number> {
        self.locked(|registry| registry.number(key))
    }

    /// The filter of a trigger, as of the last change; `None` where there is no such trigger.
    pub(crate) fn filter_of(&self, number: Number) -> Option<Filter> {
        let name = self.locked(|registry| {
            let entry = registry.get(number)?;
            (entry.kind == Kind::Trigger).then(|| entry.trigger_name())
        })?;
        let (mut lowered, _) = self.lowered();
        lowered.triggers.remove(&name).map(|trigger| trigger.filter)
    }

    /// An ad hoc lane of before a restart is used again; `None` when there is none of that number.
    pub(crate) fn use_ad_hoc(self: &Arc<Self>, number: Number) -> Option<AdHocLane> {
        let is_one = self.locked(|registry| {
            let entry = registry.get(number);
            entry.is_some_and(|entry| entry.kind == Kind::AdHoc)
        });
        is_one.then(|| {
            self.used().insert(number);
            AdHocLane::new(number, Arc::clone(self))
        })
    }

    /// What is in force as of the last change, as it runs.
    pub(crate) fn lowered(&self) -> (Lowered, Vec<Problem>) {
        let resources = self.resources();
        lower(
            &resources
                .iter()
                .map(|resource| &**resource)
                .collect::<Vec<_>>(),
        )
    }

    /// Writes a change, and returns when the router has put it in force.
    pub(crate) async fn apply(&self, change: &Change) -> Result<Applied, Stopped> {
        let _turn = self.turn.lock().await;
        let now = self.log.clock().wall();
        let (ops, applied) = self.locked(|registry| registry.plan(change, now));
        self.write(ops).await?;
        Ok(applied)
    }

    /// The number of a resource that may be deleted.
    pub(crate) fn deletable(&self, key: &ResourceKey) -> Result<Number, Undeletable> {
        self.locked(|registry| registry.deletable(key))
    }

    /// Deletes a resource whose file is gone, and returns when that is in force.
    pub(crate) async fn delete(
        &self,
        key: &ResourceKey,
    ) -> Result<Result<(), Undeletable>, Stopped> {
        let _turn = self.turn.lock().await;
        match self.locked(|registry| registry.plan_delete(key)) {
            Ok(ops) => Ok(Ok(self.write(ops).await?)),
            Err(undeletable) => Ok(Err(undeletable)),
        }
    }

    /// Ends what has been detached for long enough. Doesn't wait until that is in force.
    pub(crate) async fn expire(&self) -> Result<(), Stopped> {
        let Ok(_turn) = self.turn.try_lock() else {
            return Ok(());
        };
        // Asked at each tick of the router, so that a step of the clock is seen soon.
        if !self.log.may_delete() {
            return Ok(());
        }
        let now = self.log.clock().wall();
        let ops = self.locked(|registry| registry.plan_expiry(now, self.limits.detached_for));
        self.note(ops).await.map(drop)
    }

    /// Makes an ad hoc lane, and returns when it is durable and in force.
    pub(crate) async fn make_ad_hoc(
        self: &Arc<Self>,
        ad_hoc: &AdHoc,
    ) -> Result<AdHocLane, Stopped> {
        let _turn = self.turn.lock().await;
        let (number, ops) = self.locked(|registry| registry.plan_ad_hoc(ad_hoc));
        self.used().insert(number);
        let lane = AdHocLane::new(number, Arc::clone(self));
        self.write(ops).await?;
        Ok(lane)
    }

    /// Whether the trigger with this number is in force.
    pub(crate) fn is_trigger(&self, number: Number) -> bool {
        self.locked(|registry| {
            let entry = registry.get(number);
            entry.is_some_and(|entry| entry.kind == Kind::Trigger)
        })
    }

    /// The name of the trigger with this number, where it is in force.
    pub(crate) fn trigger_name(&self, number: Number) -> Option<TriggerName> {
        self.locked(|registry| {
            let entry = registry.get(number);
            let trigger = entry.filter(|entry| entry.kind == Kind::Trigger);
            trigger.map(|entry| entry.trigger_name())
        })
    }

    /// The job that made an ad hoc lane owes it nothing more.
    pub(crate) fn no_longer_used(&self, number: Number) {
        self.used().remove(&number);
    }

    /// Deletes those of these ad hoc lanes, to which nothing is owed, that no job uses. Doesn't wait
    /// until that is in force.
    pub(crate) async fn end_ad_hoc(&self, mut idle: Vec<Number>) -> Result<(), Stopped> {
        {
            let used = self.used();
            idle.retain(|number| !used.contains(number));
        }
        if idle.is_empty() {
            return Ok(());
        }
        let Ok(_turn) = self.turn.try_lock() else {
            return Ok(());
        };
        let ops = self.locked(|registry| registry.plan_ad_hoc_end(&idle));
        self.note(ops).await.map(drop)
    }

    fn used(&self) -> std::sync::MutexGuard<'_, HashSet<Number>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the last change planned is in force.
    pub(crate) async fn caught_up(&self) -> Result<(), Stopped> {
        let revision = self.locked(|registry| registry.revision);
        self.until(revision).await
    }

    async fn until(&self, revision: u64) -> Result<(), Stopped> {
        let mut in_force = self.in_force.clone();
        in_force
            .wait_for(|reached| *reached >= revision)
            .await
            .map(drop)
            .map_err(|_| Stopped)
    }

    async fn write(&self, ops: Vec<Op>) -> Result<(), Stopped> {
        let Some(revision) = self.note(ops).await? else {
            return Ok(());
        };
        self.log.flush().await?;
        self.until(revision).await
    }

    async fn note(&self, ops: Vec<Op>) -> Result<Option<u64>, Stopped> {
        if ops.is_empty() {
            return Ok(None);
        }
        let (revision, next) = self.locked(|registry| (registry.revision, registry.next_number()));
        self.log
            .note(trigger_set::records(revision, false, next, &ops))
            .await?;
        Ok(Some(revision))
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Registry) -> T) -> T {
        act(&mut self.planned.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
