//! Segment files that aren't in use: made ahead of need, and taken back.
//!
//! A file that is already filled costs no metadata when it is written, so reclaimed segments are
//! kept and used again, and in production a thread of its own fills one ahead, so that opening a
//! segment doesn't stall a commit. A spare holds no record: its name says so, whatever its bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::committer::Room;
use crate::disk::{Disk, File};
use crate::driver::Fault;
use crate::lock::lock;
use crate::mutant;
use crate::options::Options;
use crate::segment::{Segment, segment_name, spare_name};
use crate::side::side_name;

pub(crate) struct Stock {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    /// Bytes that the segments may take; may change while it runs.
    bytes_max: AtomicU64,
    bytes_max_least: u64,
    reserve_bytes: u64,
    min_free: u64,
    spares_max: usize,
    /// Bytes of the segments in use.
    used: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while files are made or renamed, so that who needs one waits for the one being made.
    work: Mutex<()>,
}

#[derive(Default)]
struct State {
    spares: Vec<String>,
    next_number: u64,
    reclaimed: VecDeque<Arc<Segment>>,
    /// While there are any no file is recycled.
    holds: usize,
    /// A segment was opened, so another will be some day.
    wanted: bool,
    ended: bool,
    fault: Option<Fault>,
}

impl State {
    fn next_to_recycle(&mut self) -> Option<Arc<Segment>> {
        match self.holds {
            0 => self.reclaimed.pop_front(),
            _ => None,
        }
    }
}

/// A file to make a segment of.
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn File>,
}

impl Stock {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        options: &Options,
        used: u64,
        spares: Vec<String>,
        next_number: u64,
    ) -> Self {
        Self {
            disk,
            segment_bytes: options.segment_bytes,
            bytes_max: AtomicU64::new(options.bytes_max),
            bytes_max_least: options.bytes_max_least(),
            reserve_bytes: options.reserve_bytes,
            min_free: options.min_free,
            spares_max: options.spare_segments_max,
            used: AtomicU64::new(used),
            state: Mutex::new(State {
                spares,
                next_number,
                wanted: true,
                ..State::default()
            }),
            changed: Condvar::new(),
            work: Mutex::default(),
        }
    }

    /// Bytes of the segments in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    /// Used, and at most.
    pub(crate) fn room(&self) -> Room {
        Room {
            used: self.used(),
            max: self.bytes_max.load(Ordering::SeqCst),
        }
    }

    /// Changes how many bytes the segments may take. See `Journal::set_bytes_max`.
    pub(crate) fn set_bytes_max(&self, bytes: u64) -> u64 {
        let Room { used, max } = self.room();
        let kept = max.min(used + self.reserve_bytes);
        let now = bytes.max(kept).max(self.bytes_max_least);
        self.bytes_max.store(now, Ordering::SeqCst);
        now
    }

    /// A name for a file that isn't a segment yet.
    pub(crate) fn new_name(&self) -> String {
        let mut state = lock(&self.state);
        state.next_number += 1;
        spare_name(state.next_number - 1)
    }

    /// Whether a file of so many bytes may be made beside the segments, and leaves the disk room
    /// for a segment.
    pub(crate) fn takes_beside(&self, bytes: u64) -> bool {
        self.bytes() + bytes <= self.room().max && self.leaves_free(bytes)
    }

    /// Runs `swap`, which puts another file in the place of a segment's, while no file is held,
    /// made or renamed. `freed` bytes are no longer used then. None if files are held.
    pub(crate) fn swap<T>(
        &self,
        freed: u64,
        swap: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let _work = lock(&self.work);
        if lock(&self.state).holds != 0 {
            return Ok(None);
        }
        let swapped = swap()?;
        self.used.fetch_sub(freed, Ordering::SeqCst);
        Ok(Some(swapped))
    }

    /// Runs `work` while no file is made, renamed or removed here.
    pub(crate) fn undisturbed<T>(&self, work: impl FnOnce() -> T) -> T {
        let _work = lock(&self.work);
        work()
    }

    /// Bytes of all segment files.
    pub(crate) fn bytes(&self) -> u64 {
        let spares = lock(&self.state).spares.len() as u64;
        self.used() + spares * self.segment_bytes
    }

    /// Whether a segment of appends could be opened: without going below `min_free`, or of files that
    /// are there beside those for notes.
    pub(crate) fn has_room(&self) -> bool {
        let state = lock(&self.state);
        let reclaimed = match state.holds {
            0 => state.reclaimed.len(),
            _ => 0,
        };
        let ready = state.spares.len() + reclaimed;
        drop(state);
        self.notes_spares() < ready || self.leaves_free(self.min_free)
    }

    /// Files that only notes may take while the disk is short, since others may have filled it: what
    /// ends deliveries has room then, and lets segments go.
    fn notes_spares(&self) -> usize {
        usize::from(self.min_free > 0)
    }

    /// What of so many free bytes is beyond what must stay free.
    pub(crate) fn beyond_min_free(&self, free: u64) -> u64 {
        free.saturating_sub(self.min_free)
    }

    /// Whether a segment more would leave so many bytes on the disk.
    fn leaves_free(&self, bytes: u64) -> bool {
        self.disk
            .free_bytes()
            .is_ok_and(|free| bytes + self.segment_bytes <= free)
    }

    /// A file for the next segment, or none if the disk has no room, or would be left less than
    /// `keep_free` bytes and no file but those for notes is there.
    pub(crate) fn take(&self, keep_free: u64) -> Result<Option<Spare>, Fault> {
        let _work = lock(&self.work);
        self.recycle_all()?;
        let left = lock(&self.state).spares.len();
        if keep_free != 0 && left <= self.notes_spares() && !self.leaves_free(keep_free) {
            return Ok(None);
        }
        let spare = lock(&self.state).spares.pop();
        if let Some(name) = spare {
            let file = self.disk.open(&name).map_err(|source| Fault::Prepare {
                name: name.clone(),
                source,
            })?;
            return Ok(Some(Spare { name, file }));
        }
        self.make()
    }

    /// The spare has become a segment.
    pub(crate) fn used_up(&self) {
        self.used.fetch_add(self.segment_bytes, Ordering::SeqCst);
        lock(&self.state).wanted = true;
        self.changed.notify_all();
    }

    /// Hands back segments that are out of the table.
    pub(crate) fn give_back(&self, segments: Vec<Arc<Segment>>) {
        lock(&self.state).reclaimed.extend(segments);
        self.changed.notify_all();
    }

    /// Renames what was handed back, oldest first and each durably before the next, so that a crash
    /// leaves no gap between the segments that stay.
    fn recycle_all(&self) -> Result<(), Fault> {
        loop {
            let Some(segment) = lock(&self.state).next_to_recycle() else {
                return Ok(());
            };
            let name = segment_name(segment.sequence);
            self.recycle(&segment, &name)
                .map_err(|source| Fault::Reclaim { name, source })?;
        }
    }

    fn recycle(&self, segment: &Segment, name: &str) -> io::Result<()> {
        let spares = lock(&self.state).spares.len();
        let keep = spares < self.spares_max && segment.bytes == self.segment_bytes;
        let spare = self.new_name();
        // First, so that none is left behind without its segment.
        let side = side_name(segment.sequence);
        if self.disk.open(&side).is_ok() {
            self.disk.remove(&side)?;
        }
        if keep {
            self.disk.rename(name, &spare)?;
        } else {
            self.disk.remove(name)?;
        }
        if !mutant::is("recycle-without-directory-sync") {
            self.disk.sync()?;
        }
        if keep {
            lock(&self.state).spares.push(spare);
        }
        self.used.fetch_sub(segment.bytes, Ordering::SeqCst);
        Ok(())
    }

    fn make(&self) -> Result<Option<Spare>, Fault> {
        let name = self.new_name();
        let made = self.disk.create(&name).and_then(|file| {
            file.zero_fill(self.segment_bytes)?;
            file.sync()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(Some(Spare { name, file })),
            Err(error) if is_full(&error) => match self.disk.remove(&name) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    Err(Fault::Prepare { name, source })
                }
                _ => Ok(None),
            },
            Err(source) => Err(Fault::Prepare { name, source }),
        }
    }

    /// Does what waits, without making files ahead. For drivers that have no second thread.
    pub(crate) fn tend(&self) -> Result<(), Fault> {
        let _work = lock(&self.work);
        self.recycle_all()
    }

    /// Whether `tend` would do anything.
    pub(crate) fn has_reclaimed(&self) -> bool {
        let state = lock(&self.state);
        !state.reclaimed.is_empty() && state.holds == 0
    }

    /// From now on until `let_go` no segment file is recycled.
    pub(crate) fn hold(&self) {
        // What is being recycled comes to its end first.
        let _work = lock(&self.work);
        lock(&self.state).holds += 1;
    }

    /// Whether anybody holds the files.
    pub(crate) fn is_held(&self) -> bool {
        lock(&self.state).holds != 0
    }

    pub(crate) fn let_go(&self) {
        lock(&self.state).holds -= 1;
        self.changed.notify_all();
    }

    /// The helper thread: takes segments back and fills one ahead, until `end`; in between it does
    /// what there is to `repack`, a segment a time. `nudge` is called when space came free or
    /// something failed.
    pub(crate) fn tend_until_ended(&self, nudge: impl Fn(), mut repack: impl FnMut() -> bool) {
        while let Some(wanted) = self.wait_for_work() {
            let work = lock(&self.work);
            let done = self.recycle_all().and_then(|()| match wanted {
                true => self.make_ahead(),
                false => Ok(()),
            });
            drop(work);
            if let Err(fault) = done {
                lock(&self.state).fault = Some(fault);
                nudge();
                return;
            }
            nudge();
            while !self.has_work() && repack() {
                nudge();
            }
        }
    }

    fn has_work(&self) -> bool {
        let state = lock(&self.state);
        state.ended || state.wanted || (!state.reclaimed.is_empty() && state.holds == 0)
    }

    /// Whether a file is to be made ahead, or none once ended.
    fn wait_for_work(&self) -> Option<bool> {
        let mut state = lock(&self.state);
        loop {
            if state.ended {
                return None;
            }
            let rolled = std::mem::take(&mut state.wanted);
            let wanted = rolled && state.spares.is_empty();
            // A roll is also when there may be a segment to repack.
            if rolled || (!state.reclaimed.is_empty() && state.holds == 0) {
                return Some(wanted);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn make_ahead(&self) -> Result<(), Fault> {
        // Those for notes may go below `min_free`: it is there for them.
        let fits = self.bytes() + self.segment_bytes <= self.room().max;
        if !lock(&self.state).spares.is_empty() || !fits || !self.leaves_free(self.min_free / 2) {
            return Ok(());
        }
        if let Some(spare) = self.make()? {
            lock(&self.state).spares.push(spare.name);
        }
        Ok(())
    }

    /// What the helper thread failed with.
    pub(crate) fn fault(&self) -> Option<Fault> {
        lock(&self.state).fault.take()
    }

    pub(crate) fn end(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
    }
}

/// Whether an error means that there is no room, and nothing worse.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
