//! The resources in force, by number: what TriggerSet records add up to.
//!
//! Three keep one: the fold at start, the router (as of the record it has read, which is what an
//! event is judged by), and the registrar (as of the last change planned). A trigger's number
//! and UID are bound to its broker, namespace and name: the same name on another broker, or
//! again after deletion, is another trigger.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use journal::WallTime;
use triggers::run::refer::references;
use triggers::written::{BrokerSpec, Metadata, Spec};
use triggers::{BrokerName, Change, Lowered, Resource, ResourceKey, Trigger, TriggerName, lower};

use crate::ad_hoc::AdHoc;
use crate::records::trigger_set::{Kind, Op, Part};
use crate::records::{FORWARD, Number};

/// One resource in force.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number in the log.
    pub number: Number,
    /// Its UID: the log's id and its number.
    pub uid: [u8; 16],
    /// What it is.
    pub kind: Kind,
    /// As written.
    pub resource: Arc<Resource>,
    /// As written, one line of JSON: what tells whether it changed.
    pub canonical: Arc<str>,
    /// Since when its file is gone.
    pub detached: Option<WallTime>,
}

impl Entry {
    /// A broker's name.
    pub fn broker_name(&self) -> BrokerName {
        let metadata = &self.resource.metadata;
        BrokerName::new(&*metadata.namespace, &*metadata.name)
    }

    /// A trigger's name.
    pub fn trigger_name(&self) -> TriggerName {
        let metadata = &self.resource.metadata;
        TriggerName::new(&*metadata.namespace, &*metadata.name)
    }
}

/// A logged resource that this version can't read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("resource {number} in the log can't be read by this version: {why}")]
pub struct Unreadable {
    /// Its number.
    pub number: Number,
    /// What is wrong.
    pub why: String,
}

/// Why a resource isn't deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undeletable {
    /// There is none.
    #[error("there is no {0}")]
    Unknown(ResourceKey),
    /// A file declares it.
    #[error("{0} is declared by a file and would be back at once: remove it there")]
    Declared(ResourceKey),
    /// Others name it.
    #[error("{0} is named by others, which would run on terms that nobody wrote: change those")]
    Named(ResourceKey),
    /// Triggers that name it made it.
    #[error("{0} is there because triggers name it: remove those")]
    Implied(ResourceKey),
}

/// The resources in force.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    log_id: u64,
    /// Shared by all registries of an engine.
    pool: Pool,
    /// Grows by one a change.
    pub revision: u64,
    next_number: Number,
    entries: BTreeMap<Number, Entry>,
    by_key: HashMap<ResourceKey, Number>,
    /// Parts of a change whose last hasn't come.
    pending: Vec<Op>,
    pending_snapshot: bool,
}

/// Resources by number, parsed once for all registries: with ten thousand triggers the second
/// and third copy would be most of the process's memory.
#[derive(Debug, Clone, Default)]
struct Pool(Arc<Mutex<HashMap<Number, Parsed>>>);

type Parsed = (Arc<str>, Arc<Resource>);

impl Pool {
    fn get(&self, number: Number, canonical: &str) -> Result<Parsed, Unreadable> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parsed) = pool.get(&number)
            && *parsed.0 == *canonical
        {
            return Ok(parsed.clone());
        }
        let resource = Resource::from_canonical(canonical).map_err(|why| Unreadable {
            number,
            why: why.to_string(),
        })?;
        let parsed: Parsed = (canonical.into(), Arc::new(resource));
        pool.insert(number, parsed.clone());
        Ok(parsed)
    }

    /// Keeps one that is parsed already.
    fn put(&self, number: Number, canonical: &str, resource: &Arc<Resource>) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.insert(number, (canonical.into(), Arc::clone(resource)));
    }

    /// Forgets a resource that no registry has any more.
    fn drop_unused(&self, number: Number) {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pool
            .get(&number)
            .is_some_and(|(_, resource)| Arc::strong_count(resource) == 1)
        {
            pool.remove(&number);
        }
    }
}

/// What a change came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// New, or written differently.
    pub put: usize,
    /// Their file is gone; they stay in force for a while.
    pub detached: usize,
    /// Their file is back.
    pub attached: usize,
    /// Deleted, with what was owed to them.
    pub deleted: usize,
}

impl Registry {
    /// An empty registry of the log with that id.
    pub fn new(log_id: u64) -> Self {
        Self {
            log_id,
            next_number: 1,
            ..Self::default()
        }
    }

    /// All entries, by number.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entry of that number.
    pub fn get(&self, number: Number) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// The number of the resource of that name.
    pub fn number(&self, key: &ResourceKey) -> Option<Number> {
        self.by_key.get(key).copied()
    }

    /// The number of a trigger's broker.
    pub(crate) fn broker_of(&self, entry: &Entry) -> Option<Number> {
        let Spec::Trigger(spec) = &entry.resource.spec else {
            return None;
        };
        self.number(&ResourceKey {
            kind: triggers::Kind::Broker,
            namespace: entry.resource.metadata.namespace.clone(),
            name: spec.broker.clone()?,
        })
    }

    /// A trigger's number.
    pub fn trigger_number(&self, name: &TriggerName) -> Option<Number> {
        self.number(&ResourceKey {
            kind: triggers::Kind::Trigger,
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
        })
    }

    /// The resources as they run, without ad hoc lanes.
    pub fn lowered(&self) -> (Lowered, Vec<triggers::Problem>) {
        let written = self.entries().filter(|entry| entry.kind != Kind::AdHoc);
        let resources: Vec<&Resource> = written.map(|entry| &*entry.resource).collect();
        lower(&resources)
    }

    /// The brokers that drop what they have seen, and on what terms.
    pub(crate) fn dedup(&self) -> Vec<(Number, triggers::Dedup)> {
        let (lowered, _) = self.lowered();
        let brokers = self.entries().filter(|entry| entry.kind == Kind::Broker);
        brokers
            .filter_map(|entry| {
                let broker = lowered.brokers.get(&entry.broker_name())?;
                Some((entry.number, broker.dedup?))
            })
            .collect()
    }

    /// The ad hoc lanes' numbers.
    pub(crate) fn ad_hoc_numbers(&self) -> impl Iterator<Item = Number> + '_ {
        let lanes = self.entries().filter(|entry| entry.kind == Kind::AdHoc);
        lanes.map(|entry| entry.number)
    }

    /// The ad hoc lanes, as triggers that nothing is matched to. What they fail to deliver isn't
    /// forwarded to a dead letter sink; the kept copy is all.
    pub fn ad_hoc(&self) -> Vec<(&Entry, Trigger)> {
        if self.entries().all(|entry| entry.kind != Kind::AdHoc) {
            return Vec::new();
        }
        let not_triggers = self.entries().filter(|entry| entry.kind != Kind::Trigger);
        let resources: Vec<&Resource> = not_triggers.map(|entry| &*entry.resource).collect();
        let (mut lowered, _) = lower(&resources);
        let lanes = self.entries().filter(|entry| entry.kind == Kind::AdHoc);
        lanes
            .filter_map(|entry| {
                let mut trigger = lowered.triggers.remove(&entry.trigger_name())?;
                trigger.dead_letter = None;
                Some((entry, trigger))
            })
            .collect()
    }

    /// Takes in one part of a change. When it is the last, the change takes effect, and the
    /// numbers that were deleted are returned.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] when a resource was written by a version that knew more.
    pub fn take(&mut self, part: Part) -> Result<Option<Vec<Number>>, Unreadable> {
        if part.first {
            // What a crash cut off has no effect, also when its revision is used again.
            self.drop_unfinished();
            self.pending_snapshot = part.snapshot;
        }
        self.pending.extend(part.ops);
        if !part.last {
            return Ok(None);
        }
        let ops = std::mem::take(&mut self.pending);
        let mut deleted = Vec::new();
        if std::mem::take(&mut self.pending_snapshot) {
            let stays: std::collections::HashSet<Number> = ops
                .iter()
                .filter_map(|op| {
                    if let Op::Put { number, .. } = op {
                        Some(*number)
                    } else {
                        None
                    }
                })
                .collect();
            deleted.extend(self.entries.keys().filter(|number| !stays.contains(number)));
            for number in &deleted {
                self.remove(*number);
            }
        }
        for op in ops {
            deleted.extend(self.apply(op)?);
        }
        self.revision = part.revision;
        self.next_number = self.next_number.max(part.next_number);
        Ok(Some(deleted))
    }

    /// Forgets parts of a change that never came to its end.
    pub fn drop_unfinished(&mut self) {
        self.pending.clear();
        self.pending_snapshot = false;
    }

    fn apply(&mut self, op: Op) -> Result<Option<Number>, Unreadable> {
        match op {
            Op::Put {
                number,
                uid,
                kind,
                detached,
                resource: canonical,
            } => {
                let unchanged = self
                    .entries
                    .get(&number)
                    .is_some_and(|entry| *entry.canonical == *canonical);
                if unchanged {
                    if let Some(entry) = self.entries.get_mut(&number) {
                        entry.detached = detached;
                    }
                    return Ok(None);
                }
                let (canonical, resource) = self.pool.get(number, &canonical)?;
                // Nobody finds an ad hoc lane by its name, so that a trigger may have the same.
                if kind != Kind::AdHoc {
                    self.by_key.insert(resource.key(), number);
                }
                self.entries.insert(
                    number,
                    Entry {
                        number,
                        uid,
                        kind,
                        resource,
                        canonical,
                        detached,
                    },
                );
            }
            Op::Detach { number, since } => {
                if let Some(entry) = self.entries.get_mut(&number) {
                    entry.detached = Some(since);
                }
            }
            Op::Attach { number } => {
                if let Some(entry) = self.entries.get_mut(&number) {
                    entry.detached = None;
                }
            }
            Op::Delete { number } => {
                self.remove(number);
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    fn remove(&mut self, number: Number) {
        if let Some(entry) = self.entries.remove(&number) {
            let key = entry.resource.key();
            if self.by_key.get(&key) == Some(&number) {
                self.by_key.remove(&key);
            }
            drop(entry);
            self.pool.drop_unused(number);
        }
    }

    /// Plans a change: the steps that lead from here to there, and takes them in. Nothing when
    /// all is as it was.
    pub(crate) fn plan(&mut self, change: &Change, now: WallTime) -> (Vec<Op>, Applied) {
        let mut ops = Vec::new();
        let mut applied = Applied::default();
        for resource in &change.put {
            let Some(kind) = kind_of(resource) else {
                continue;
            };
            let canonical = resource.canonical();
            match self
                .number(&resource.key())
                .and_then(|number| self.entries.get(&number))
            {
                Some(entry) if *entry.canonical == *canonical => {
                    if entry.detached.is_some() {
                        ops.push(Op::Attach {
                            number: entry.number,
                        });
                        applied.attached += 1;
                    }
                }
                Some(entry) if same_identity(&entry.resource, resource) => {
                    let (number, uid) = (entry.number, entry.uid);
                    self.pool.put(number, &canonical, resource);
                    ops.push(Op::Put {
                        number,
                        uid,
                        kind,
                        detached: None,
                        resource: canonical,
                    });
                    applied.put += 1;
                }
                other => {
                    if let Some(entry) = other {
                        ops.push(Op::Delete {
                            number: entry.number,
                        });
                        applied.deleted += 1;
                    }
                    self.pool.put(self.next_number, &canonical, resource);
                    ops.push(self.put_new(kind, canonical));
                    applied.put += 1;
                }
            }
        }
        for key in &change.gone {
            let attached = self.number(key).filter(|number| {
                self.entries.get(number).is_some_and(|entry| {
                    entry.detached.is_none() && !self.stands_without_a_file(entry)
                })
            });
            if let Some(number) = attached {
                ops.push(Op::Detach { number, since: now });
                applied.detached += 1;
            }
        }
        self.take_planned(&mut ops);
        (ops, applied)
    }

    /// Plans the end of what has been detached for `detached_for`. A policy or a Sink stays, as it
    /// was last, while something that stays names it: without it that would have to run on terms
    /// that nobody wrote.
    pub(crate) fn plan_expiry(&mut self, now: WallTime, detached_for: Duration) -> Vec<Op> {
        let is_over = |entry: &Entry| {
            let since = entry.detached.map(|since| now.since(since));
            since.is_some_and(|gone_for| gone_for >= detached_for)
        };
        if !self.entries().any(is_over) {
            return Vec::new();
        }
        let named: HashSet<ResourceKey> = self
            .entries()
            .filter(|entry| !is_over(entry))
            .flat_map(|entry| references(&entry.resource))
            .collect();
        let mut ops: Vec<Op> = self
            .entries()
            .filter(|entry| is_over(entry) && !named.contains(&entry.resource.key()))
            .map(|entry| self.end_of(entry))
            .collect();
        self.take_planned(&mut ops);
        ops
    }

    /// Plans an ad hoc lane.
    pub(crate) fn plan_ad_hoc(&mut self, ad_hoc: &AdHoc) -> (Number, Vec<Op>) {
        let number = self.next_number;
        let like = ad_hoc.like.as_ref().and_then(|name| {
            let entries = self.entries.values();
            entries
                .filter(|entry| entry.kind == Kind::Trigger)
                .find(|entry| entry.trigger_name() == *name)
        });
        let resource = ad_hoc.resource(number, like.map(|entry| &*entry.resource));
        let mut ops = vec![self.put_new(Kind::AdHoc, resource.canonical())];
        self.take_planned(&mut ops);
        (number, ops)
    }

    /// Plans the end of ad hoc lanes.
    pub(crate) fn plan_ad_hoc_end(&mut self, ended: &[Number]) -> Vec<Op> {
        let in_force = ended.iter().filter(|number| {
            let entry = self.entries.get(number);
            entry.is_some_and(|entry| entry.kind == Kind::AdHoc)
        });
        let mut ops: Vec<Op> = in_force
            .map(|number| Op::Delete { number: *number })
            .collect();
        self.take_planned(&mut ops);
        ops
    }

    /// Plans the end of one resource whose file is gone, before its time.
    pub(crate) fn plan_delete(&mut self, key: &ResourceKey) -> Result<Vec<Op>, Undeletable> {
        let number = self.deletable(key)?;
        let entry = self.entries.get(&number);
        let mut ops: Vec<Op> = entry.map(|entry| self.end_of(entry)).into_iter().collect();
        self.take_planned(&mut ops);
        Ok(ops)
    }

    /// The number of a resource that may be deleted: its file is gone.
    pub(crate) fn deletable(&self, key: &ResourceKey) -> Result<Number, Undeletable> {
        let entry = self.number(key).and_then(|number| self.get(number));
        let entry = entry.ok_or_else(|| Undeletable::Unknown(key.clone()))?;
        let named = || {
            self.entries()
                .any(|other| references(&other.resource).contains(key))
        };
        match entry.detached {
            Some(_) if named() => Err(Undeletable::Named(key.clone())),
            Some(_) => Ok(entry.number),
            None if self.stands_without_a_file(entry) => Err(Undeletable::Implied(key.clone())),
            None => Err(Undeletable::Declared(key.clone())),
        }
    }

    fn end_of(&self, entry: &Entry) -> Op {
        match self.is_implied(entry) {
            // Its triggers go on using it, under the same number: events that are stored
            // meanwhile are tagged with it.
            true => Op::Put {
                number: entry.number,
                uid: entry.uid,
                kind: entry.kind,
                detached: None,
                resource: implied_broker(&entry.broker_name()).canonical(),
            },
            false => Op::Delete {
                number: entry.number,
            },
        }
    }

    /// Whether it is a broker that a trigger's naming it made: no file ever said so.
    fn stands_without_a_file(&self, entry: &Entry) -> bool {
        self.is_implied(entry)
            && *entry.canonical == *implied_broker(&entry.broker_name()).canonical()
    }

    /// Whether it is a broker that exists because a trigger names it: `default` of a namespace
    /// (DESIGN §5).
    fn is_implied(&self, entry: &Entry) -> bool {
        let metadata = &entry.resource.metadata;
        entry.kind == Kind::Broker
            && metadata.name == "default"
            && self.entries().any(|other| match &other.resource.spec {
                Spec::Trigger(spec) => {
                    spec.broker.as_deref() == Some("default")
                        && other.resource.metadata.namespace == metadata.namespace
                }
                _ => false,
            })
    }

    /// All that is in force, as one change: what opens a segment.
    pub(crate) fn snapshot(&self) -> Vec<Op> {
        self.entries()
            .map(|entry| Op::Put {
                number: entry.number,
                uid: entry.uid,
                kind: entry.kind,
                detached: entry.detached,
                resource: entry.canonical.to_string(),
            })
            .collect()
    }

    /// The number that the next new resource gets.
    pub(crate) fn next_number(&self) -> Number {
        self.next_number
    }

    fn put_new(&mut self, kind: Kind, resource: String) -> Op {
        let number = self.next_number;
        assert!(
            number < FORWARD,
            "2^31 resources were made over this log's life"
        );
        self.next_number += 1;
        let mut uid = [0; 16];
        uid[..8].copy_from_slice(&self.log_id.to_le_bytes());
        uid[8..12].copy_from_slice(&number.to_le_bytes());
        Op::Put {
            number,
            uid,
            kind,
            detached: None,
            resource,
        }
    }

    /// Applies planned steps, and adds the brokers that triggers now imply: `default` of a
    /// namespace is made when a trigger names it (DESIGN §5).
    fn take_planned(&mut self, ops: &mut Vec<Op>) {
        if ops.is_empty() {
            return;
        }
        self.revision += 1;
        for op in ops.iter() {
            self.apply_own(op.clone());
        }
        let (lowered, _) = self.lowered();
        for name in lowered.brokers.keys() {
            let implied = implied_broker(name);
            if self.number(&implied.key()).is_none() {
                let op = self.put_new(Kind::Broker, implied.canonical());
                self.apply_own(op.clone());
                ops.push(op);
            }
        }
    }

    fn apply_own(&mut self, op: Op) {
        // What was just lowered from a resource reads back: `triggers` tests the round trip.
        if let Err(unreadable) = self.apply(op) {
            tracing::error!(%unreadable, "a resource doesn't read back as it was written");
        }
    }
}

/// What the log keeps of a resource; a Node is the process's own affair.
fn kind_of(resource: &Resource) -> Option<Kind> {
    match resource.kind() {
        triggers::Kind::Broker => Some(Kind::Broker),
        triggers::Kind::Trigger => Some(Kind::Trigger),
        triggers::Kind::DeliveryPolicy => Some(Kind::DeliveryPolicy),
        triggers::Kind::Sink => Some(Kind::Sink),
        triggers::Kind::Node => None,
    }
}

/// Whether a resource that is written differently is still the same one: a trigger keeps its
/// broker for life (`spec.broker` is immutable).
fn same_identity(before: &Resource, after: &Resource) -> bool {
    match (&before.spec, &after.spec) {
        (Spec::Trigger(before), Spec::Trigger(after)) => before.broker == after.broker,
        _ => true,
    }
}

/// The broker that a trigger made by naming it.
fn implied_broker(name: &BrokerName) -> Resource {
    Resource {
        metadata: Metadata {
            name: name.name().to_owned(),
            namespace: name.namespace().to_owned(),
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
        },
        spec: Spec::Broker(BrokerSpec::default()),
        place: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, number: Number, last: bool) -> Part {
        let resource = implied_broker(&BrokerName::new("shop", name)).canonical();
        let put = Op::Put {
            number,
            uid: [0; 16],
            kind: Kind::Broker,
            detached: None,
            resource,
        };
        Part {
            revision: 1,
            first: true,
            last,
            snapshot: false,
            next_number: number + 1,
            ops: vec![put],
        }
    }

    #[test]
    fn a_change_that_a_crash_cut_off_does_not_join_the_next() {
        let mut registry = Registry::new(1);
        assert_eq!(registry.take(part("cut-off", 1, false)).unwrap(), None);
        registry.take(part("whole", 2, true)).unwrap();
        let names: Vec<String> = registry
            .entries()
            .map(|entry| entry.broker_name().to_string())
            .collect();
        assert_eq!(names, ["shop/whole"]);
    }
}
