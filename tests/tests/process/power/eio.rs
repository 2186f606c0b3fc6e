//! A write that fails, and a flush that fails once and then says that all is well with the data gone:
//! publishers get 503, the node ends, no file is synced a second time, and on a disk that works again all that
//! was acknowledged is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::node::{PATIENCE, Running, until};
use tests::proof;

use super::disk::Fault;
use super::drive::Class;
use super::load::BEGIN;
use super::recorded::{Files, Recording};
use super::replays::{Loss, replay};

const ROW: &str = "EIO on a block";

/// Whether a file is synced again wants `strace`, and so has a row of its own.
const TRACED: &str = "no second sync after EIO";

const PUBLISHERS: usize = 4;

/// How many are acknowledged before the disk fails.
const ACKNOWLEDGED: usize = 100;

/// From the disk's failure to the end of the process.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// What `weft` exits with after a fault.
const FAULT: i32 = 1;

#[test]
fn a_disk_that_fails_ends_the_node_at_once_and_costs_nothing_acknowledged() {
    // The next event's block, and the flush behind it.
    let mark = BEGIN.as_bytes();
    let faults = [
        ("write", Fails::Event(Fault::Write(mark))),
        ("flush", Fails::Event(Fault::Flush(mark))),
    ];
    let files = [Files::LogHeaders, Files::Kept, Files::View];
    let rounds = proof::size(10, 1);
    let mut all = Vec::new();
    for round in 0..rounds {
        for (name, fault) in &faults {
            for (how, traced) in [("timed", false), ("traced", true)] {
                let what = format!("a {name} that fails, {how}, round {round}");
                all.push((what, Class::Direct, fault.clone(), traced));
            }
            // Writing each block twice takes its time, so few of these.
            if round < 2 {
                let what = format!("a buffered {name} that fails, round {round}");
                all.push((what, Class::Buffered, fault.clone(), false));
            }
        }
        for of in files {
            let what = format!("a write to {of:?} that fails, round {round}");
            all.push((what, Class::Direct, Fails::Files(of), false));
        }
    }
    let mut total = Found::default();
    for (what, class, fault, traced) in &all {
        match fails(*class, fault, *traced, what) {
            Ok(found) => total.add(found),
            Err(why) if total.faults == 0 => {
                proof::skipped(TRACED, &why);
                return proof::skipped(ROW, &why);
            }
            // What was found until then counts.
            Err(why) => total.wrong.push(format!("{what}: it can't be made: {why}")),
        }
        if !total.wrong.is_empty() {
            break;
        }
    }
    total.report();
    assert!(total.wrong.is_empty(), "WRONG: {:#?}", total.wrong);
    assert_eq!(total.faults, all.len() as u64, "each of them was made");
}

/// What fails.
#[derive(Clone)]
enum Fails {
    /// Something of the next event's.
    Event(Fault),
    /// Every write to these files.
    Files(Files),
}

/// What came of one fault, or of several.
#[derive(Default)]
struct Found {
    faults: u64,
    acknowledged: u64,
    refused: u64,
    traced: u64,
    synced_again: u64,
    slowest_ms: u64,
    lost: u64,
    /// What must not be.
    wrong: Vec<String>,
    /// Why a trace couldn't be made.
    untraced: Option<String>,
}

impl Found {
    fn add(&mut self, other: Found) {
        self.faults += other.faults;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.traced += other.traced;
        self.synced_again += other.synced_again;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
        self.lost += other.lost;
        self.wrong.extend(other.wrong);
        self.untraced = self.untraced.take().or(other.untraced);
    }

    fn report(&self) {
        proof::report(
            ROW,
            &[
                ("faults", self.faults),
                ("acknowledged", self.acknowledged),
                ("refused", self.refused),
                ("ms to the end", self.slowest_ms),
                ("lost", self.lost),
            ],
        );
        match &self.untraced {
            Some(why) => proof::skipped(TRACED, why),
            None => proof::report(
                TRACED,
                &[
                    ("files traced", self.traced),
                    ("synced again", self.synced_again),
                ],
            ),
        }
    }
}

/// Lets the disk fail under load. The node's end is timed where no tracer slows it down.
fn fails(class: Class, fault: &Fails, traced: bool, what: &str) -> Result<Found, String> {
    let mut node = Recording::begin(class, PUBLISHERS, usize::MAX, Duration::ZERO)?;
    until("loaded", PATIENCE, || {
        (node.load.acknowledged() >= ACKNOWLEDGED).then_some(())
    });
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let trace = folder.path().join("trace");
    let pid = node.weft.pid().as_raw_nonzero().get();
    let tracer = traced.then(|| attach(pid, &trace));
    node.disk.fail(match fault {
        Fails::Event(fault) => fault.clone(),
        Fails::Files(of) => Fault::At(node.places(*of)?),
    });
    until("ended", PATIENCE, || node.weft.has_ended().then_some(()));
    let ended = Instant::now();
    let failed = node.disk.failed().expect("it ended since the disk failed");
    let took = ended - failed;
    let (code, said) = node.weft.ended();
    assert_eq!(code, FAULT, "{what}: {said}");
    assert!(
        traced || took <= ENDS_WITHIN,
        "{what}: it took {took:?} to end:\n{said}"
    );

    let holds = node.disk.holds();
    let recorded = node.end();
    let came = &recorded.came;
    // Not each: one that had its answer just before may find the door closed. And what comes is stored as
    // before while it is another file that fails.
    let stores = matches!(fault, Fails::Files(Files::Kept | Files::View));
    let is_told = stores || !came.refused.is_empty();
    assert!(is_told, "{what}: nobody got a 503");
    let at = recorded.log.len();
    let loss = Loss {
        is_at_flush: false,
        what: what.to_owned(),
        at: usize::MAX,
        holds,
    };
    let lost = replay(&loss, &recorded);
    eprintln!(
        "{what}: {} acknowledged, {} refused, ended {took:?} after the failure at {at}; {lost:#?}",
        came.acknowledged.len(),
        came.refused.len(),
    );
    let timed = if traced { 0 } else { took.as_millis() };
    let mut found = Found {
        faults: 1,
        acknowledged: came.acknowledged.len() as u64,
        refused: came.refused.len() as u64,
        slowest_ms: u64::try_from(timed).unwrap_or(u64::MAX),
        lost: lost.len() as u64,
        wrong: lost,
        ..Found::default()
    };
    match tracer {
        None => {}
        Some(Err(why)) => found.untraced = Some(why),
        Some(Ok(mut tracer)) => {
            tracer.ended();
            let text = std::fs::read_to_string(&trace).expect("strace wrote it");
            let (failed, again) = syncs_again(&text);
            assert!(!failed.is_empty(), "{what}: no file failed:\n{text}");
            eprintln!("{what}: failed {failed:?}, synced again {again:?}");
            found.traced = failed.len() as u64;
            found.synced_again = again.len() as u64;
            let again = again.iter().map(|file| {
                format!("{what}: {file} was synced again, after a sync of it that failed")
            });
            found.wrong.extend(again);
        }
    }
    Ok(found)
}

/// Writes down the process's writes and syncs from now on.
fn attach(pid: i32, to: &Path) -> Result<Running, String> {
    let strace = Command::new("strace").arg("-V").output();
    strace.map_err(|error| format!("strace: {error}"))?;
    let mut command = Command::new("strace");
    command
        .args(["-f", "-y", "-s", "0"])
        .args(["-e", "trace=pwrite64,fsync,fdatasync"])
        .arg("-o")
        .arg(to)
        .args(["-p", &pid.to_string()]);
    let tracer = Running::spawn(command);
    // The load goes on: once a sync of the log's is seen, its thread is followed.
    let mut refused = None;
    until("attached", PATIENCE, || {
        if tracer.output().contains("not permitted") {
            refused = Some(tracer.output());
            return Some(());
        }
        let trace = std::fs::read_to_string(to).unwrap_or_default();
        let sync = |line: &str| line.contains(" fdatasync(") && line.contains("/log/");
        trace.lines().any(sync).then_some(())
    });
    refused.map_or(Ok(tracer), Err)
}

/// Of strace's output: the files of which a write or sync failed, and those of them that were synced
/// afterwards.
fn syncs_again(trace: &str) -> (BTreeSet<String>, Vec<String>) {
    let (mut failed, mut again) = (BTreeSet::new(), Vec::new());
    let mut under_way: BTreeMap<&str, &str> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let call = call.trim_start();
        let file = match call.starts_with("<...") {
            true => under_way.remove(thread),
            false => call
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'))
                .map(|(file, _)| file),
        };
        let Some(file) = file else { continue };
        let begins = !call.starts_with("<...");
        let syncs = call.starts_with("fsync") || call.starts_with("fdatasync");
        if begins && syncs && failed.contains(file) {
            again.push(file.to_owned());
        }
        if call.ends_with("<unfinished ...>") {
            under_way.insert(thread, file);
        } else if call.contains("= -1 ") {
            failed.insert(file.to_owned());
        }
    }
    (failed, again)
}

#[test]
fn a_sync_after_one_that_failed_is_seen_in_a_trace() {
    let trace = "\
7 pwrite64(9</d/log/1.seg>, \"\"..., 4096, 0) = 4096
7 fdatasync(9</d/log/1.seg> <unfinished ...>
8 fdatasync(11</d/view.redb>) = 0
7 <... fdatasync resumed>)          = -1 EIO (Input/output error)
8 fdatasync(11</d/view.redb>) = 0
";
    let (failed, again) = syncs_again(trace);
    assert_eq!(failed, BTreeSet::from(["/d/log/1.seg".to_owned()]));
    assert!(again.is_empty(), "{again:?}");
    let trace = format!("{trace}7 fdatasync(9</d/log/1.seg>) = 0\n");
    assert_eq!(syncs_again(&trace).1, ["/d/log/1.seg"]);
}
