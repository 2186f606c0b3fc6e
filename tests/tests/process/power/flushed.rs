//! Between the write of an event and its 202 lies a flush of the disk, for every event: what the log of the
//! disk shows, and not what the program says.

use std::collections::BTreeMap;
use std::time::Duration;

use tests::proof;

use super::disk::Done;
use super::drive::Class;
use super::load::{BEGIN, END, ID_BYTES};
use super::recorded::Recorded;

const ROW: &str = "FLUSH before 202";

#[test]
fn a_flush_lies_between_each_events_write_and_its_202() {
    let events = usize::try_from(proof::size(600, 150)).expect("a small number");
    let recorded = match Recorded::run(Class::Direct, 1, 4, events, Duration::ZERO) {
        Ok(recorded) => recorded,
        Err(why) => return proof::skipped(ROW, &why),
    };
    let durable = durable(&recorded.log);
    let acknowledged = &recorded.came.acknowledged;
    let early: Vec<String> = acknowledged
        .iter()
        .filter_map(|event| {
            let durable = durable.get(&event.id);
            let shown = durable.is_some_and(|&durable| durable <= event.at);
            (!shown).then(|| format!("{}: 202 at {}, durable at {durable:?}", event.id, event.at))
        })
        .collect();
    let (all, early_count) = (acknowledged.len() as u64, early.len() as u64);
    proof::report(
        ROW,
        &[
            ("acknowledged", all),
            ("proven", all - early_count),
            ("flushes", recorded.flushes().len() as u64),
            ("lost", early_count),
        ],
    );
    assert!(
        early.is_empty(),
        "answered before it was durable: {early:?}"
    );
    assert_eq!(acknowledged.len(), 4 * events, "all were taken");
}

/// From which moment on each event is durable from its data's beginning to its end: behind the flush that
/// follows the write.
fn durable(log: &[Done]) -> BTreeMap<String, usize> {
    let mut durable = BTreeMap::new();
    let mut from = 0;
    for (at, done) in log.iter().enumerate() {
        if !matches!(done, Done::Flush) {
            continue;
        }
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        for run in runs(&log[from..at]) {
            begun.extend(marked(&run, BEGIN));
            ended.extend(marked(&run, END));
        }
        for id in begun.into_iter().filter(|id| ended.contains(id)) {
            // What is copied later counts by its first time.
            durable.entry(id).or_insert(at + 1);
        }
        from = at + 1;
    }
    durable
}

/// The bytes that were written, with what was split put together: a mark may lie across two writes.
fn runs(log: &[Done]) -> Vec<Vec<u8>> {
    let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
    for done in log {
        let Done::Write { at, bytes } = &done else {
            continue;
        };
        match runs.last_mut() {
            Some((from, run)) if *from + run.len() as u64 == *at => run.extend_from_slice(bytes),
            _ => runs.push((*at, bytes.to_vec())),
        }
    }
    runs.into_iter().map(|(_, run)| run).collect()
}

/// The ids that stand behind this mark.
fn marked(bytes: &[u8], mark: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'"') {
        let rest = &bytes[at..];
        if !rest.starts_with(mark.as_bytes()) {
            continue;
        }
        let id = &rest[mark.len()..];
        ids.extend(
            id.get(..ID_BYTES)
                .map(|id| String::from_utf8_lossy(id).into_owned()),
        );
    }
    ids
}
