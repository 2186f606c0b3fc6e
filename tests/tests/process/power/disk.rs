//! A disk that writes down all that is done to it, in order, and fails where it is told to.
//!
//! It does one thing at a time. So its log is exact: what stands before a flush had been written when that
//! flush began, what stands behind it had not, and a number of entries is a moment at which the power could
//! have failed.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::blocks::Blocks;

/// What was done to the disk.
#[derive(Clone)]
pub(crate) enum Done {
    /// Written: durable with the next flush, not before.
    Write { at: u64, bytes: Arc<[u8]> },
    /// Everything before it is durable.
    Flush,
}

/// How the disk fails; with a mark, once something that has it in it is written.
#[derive(Clone)]
pub(crate) enum Fault {
    /// That write fails, and so does every other to the same place.
    Write(&'static [u8]),
    /// The flushes after it fail. What was written since the last that didn't is gone, and later ones say
    /// that all is well.
    Flush(&'static [u8]),
    /// Every write to these places fails.
    At(Vec<Range<u64>>),
}

/// How many flushes fail. More than one, since the file system has some of its own, and what they are told
/// doesn't reach the file that lost its data.
const FLUSHES_FAILING: u32 = 3;

/// A read, a write or a flush that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

pub(crate) struct Disk {
    state: Mutex<State>,
    flush_takes: Duration,
}

struct State {
    /// As of the log's beginning.
    base: Blocks,
    now: Blocks,
    log: Vec<Done>,
    fault: Option<Fault>,
    bad: Vec<Range<u64>>,
    flushes_failing: u32,
    failed: Option<Instant>,
}

impl Disk {
    /// A disk that holds this, and whose flushes take at least so long.
    pub(crate) fn new(holds: Blocks, flush_takes: Duration) -> Arc<Disk> {
        let state = State {
            base: holds.clone(),
            now: holds,
            log: Vec::new(),
            fault: None,
            bad: Vec::new(),
            flushes_failing: 0,
            failed: None,
        };
        Arc::new(Disk {
            state: Mutex::new(state),
            flush_takes,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the disk")
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        self.state().now.bytes()
    }

    /// How long the log is: the present moment.
    pub(crate) fn position(&self) -> usize {
        self.state().log.len()
    }

    /// What the disk holds now, flushed or not.
    pub(crate) fn holds(&self) -> Blocks {
        self.state().now.clone()
    }

    /// Begins the log anew.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.base = state.now.clone();
        state.log.clear();
    }

    /// What the disk held when the log began, and all that was done since.
    pub(crate) fn log(&self) -> (Blocks, Vec<Done>) {
        let state = self.state();
        (state.base.clone(), state.log.clone())
    }

    /// Fails from now on, in this way.
    pub(crate) fn fail(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// When something failed first.
    pub(crate) fn failed(&self) -> Option<Instant> {
        self.state().failed
    }

    /// Reads; short at the end.
    pub(crate) fn read(&self, at: u64, bytes: usize) -> Vec<u8> {
        self.state().now.read(at, bytes)
    }

    /// Writes.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Failed> {
        let mut state = self.state();
        let range = at..at + bytes.len() as u64;
        match state.fault.take() {
            Some(Fault::Write(mark)) if contains(bytes, mark) => state.bad = vec![range.clone()],
            Some(Fault::Flush(mark)) if contains(bytes, mark) => {
                state.flushes_failing = FLUSHES_FAILING;
            }
            Some(Fault::At(places)) => state.bad = places,
            fault => state.fault = fault,
        }
        let hits = |bad: &Range<u64>| bad.start < range.end && range.start < bad.end;
        if state.bad.iter().any(hits) {
            state.failed.get_or_insert_with(Instant::now);
            return Err(Failed);
        }
        state.now.write(at, bytes);
        let bytes = bytes.into();
        state.log.push(Done::Write { at, bytes });
        Ok(())
    }

    /// Makes durable what was written.
    pub(crate) fn flush(&self) -> Result<(), Failed> {
        std::thread::sleep(self.flush_takes);
        let mut state = self.state();
        if state.flushes_failing == 0 {
            state.log.push(Done::Flush);
            return Ok(());
        }
        state.flushes_failing -= 1;
        state.failed.get_or_insert_with(Instant::now);
        state.lose_unflushed();
        Err(Failed)
    }
}

impl State {
    /// Goes back to what the last flush left.
    fn lose_unflushed(&mut self) {
        let is_flush = |done: &Done| matches!(done, Done::Flush);
        let durable = self.log.iter().rposition(is_flush).map_or(0, |at| at + 1);
        self.log.truncate(durable);
        self.now = self.base.clone();
        for done in &self.log {
            if let Done::Write { at, bytes } = done {
                self.now.write(*at, bytes);
            }
        }
    }
}

/// Whether `bytes` has `mark` in it.
pub(crate) fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark)
}
