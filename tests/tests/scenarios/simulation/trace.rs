//! What a run did, step by step: two runs of a seed must come to the same.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use journal::model_disk::{ModelDisk, Seen};
use tests::World;

/// Every change of the disk, in order. Not what was written: a log draws its number by chance. Nor what
/// was read: which of several records is looked up first, and so whether its segment is open already, is
/// left to the order of a hash map.
#[derive(Default)]
pub(super) struct Trace {
    disk: Arc<Mutex<Vec<Seen>>>,
}

impl Trace {
    /// Follows the disk from now on, and what a loss of power makes of it.
    pub(super) fn watch(&self, disk: &ModelDisk) {
        let trace = Arc::clone(&self.disk);
        disk.watch(move |seen| {
            if !seen.operation.changes() {
                return;
            }
            trace
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(seen);
        });
    }

    /// The disk's operations, every call of a function with its times, and what the log says.
    pub(super) fn of(&self, world: &World) -> Traced {
        // Let go of at once: reading the log is traced too.
        let disk = self
            .disk
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut calls = Vec::new();
        world.sinks.each(|call| {
            let whose = (&call.sink, &call.whose, &call.key, call.attempt);
            calls.push(format!(
                "{whose:?} {:?} {:?} {}",
                call.began, call.ended, call.answer
            ));
        });
        let book = world.log();
        let events = book.events.iter().map(|event| format!("{event:?}"));
        let deliveries = book
            .deliveries
            .iter()
            .map(|delivery| format!("{delivery:?}"));
        let letters = book.letters.keys().map(|letter| format!("{letter:?}"));
        Traced {
            disk,
            calls,
            log: events.chain(deliveries).chain(letters).collect(),
        }
    }
}

/// What is compared.
pub(super) struct Traced {
    disk: Vec<Seen>,
    calls: Vec<String>,
    log: Vec<String>,
}

impl Traced {
    /// How much there is to compare.
    pub(super) fn len(&self) -> u64 {
        (self.calls.len() + self.log.len() + self.disk.len()) as u64
    }

    /// Where another run went another way first.
    pub(super) fn differs(&self, other: &Traced) -> Vec<String> {
        let differ = [
            first("call", &self.calls, &other.calls),
            first("of the log", &self.log, &other.log),
            first("change of the disk", &self.disk, &other.disk),
        ];
        differ.into_iter().flatten().collect()
    }
}

fn first<T: PartialEq + Debug>(what: &str, one: &[T], other: &[T]) -> Option<String> {
    let both = one.iter().zip(other);
    let same = both.take_while(|(one, other)| one == other).count();
    let (one, other) = (one.get(same), other.get(same));
    (one.is_some() || other.is_some()).then(|| format!("{what} {same}: {one:?} and {other:?}"))
}
