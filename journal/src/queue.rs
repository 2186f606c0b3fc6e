//! What waits for the committer, and how it is told.
//!
//! One queue for everything, so that groups are stored in the order in which they were handed in.
//! Bounds: appended groups up to `queue_bytes_max`, past which an append waits for room; noted ones
//! up to `note_bytes_max`, past which `note` gives the group back. Bytes leave the count when their
//! frame is durable, or when they are refused.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use crate::appended::{AppendError, Desk, Finished, Slot};
use crate::clock::Clock;
use crate::lock::lock;
use crate::options::Options;
use crate::record::Group;

/// A group that `note` did not take, given back, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Full {
    /// The group, as it was handed in.
    pub group: Group,
    /// Whether to try again, and when.
    pub why: Why,
}

/// Why `note` did not take a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Wait for `Journal::noted_room`.
    #[error("{waiting} bytes of notes wait for the disk, of at most {limit}")]
    Full { waiting: usize, limit: usize },
    /// It will never be taken, or not any more.
    #[error(transparent)]
    Refused(#[from] AppendError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Append,
    /// An append that may use a share of the reserve.
    Reserved,
    Note,
    /// Holds no records: resolves when all before it is durable.
    Flush,
    /// The last group of all.
    Close,
    /// First in its segment; the committer's own.
    Opening,
}

impl Work {
    /// Whether somebody waits for it, so that it isn't delayed.
    pub(crate) fn is_awaited(self) -> bool {
        matches!(
            self,
            Self::Append | Self::Reserved | Self::Flush | Self::Close
        )
    }

    /// Whether its bytes count in `queue_bytes_max`.
    pub(crate) fn is_append(self) -> bool {
        matches!(self, Self::Append | Self::Reserved)
    }
}

/// One thing to do. Of a flush, `group` is none; of a note, `slot`.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) work: Work,
    pub(crate) group: Option<Group>,
    pub(crate) bytes: usize,
    pub(crate) slot: Option<Arc<Slot>>,
}

pub(crate) enum Pushed {
    Waiting(Arc<Slot>),
    Refused(AppendError),
    NoRoom(Option<Group>, Option<Arc<Desk>>),
}

/// What the handles and the committer share.
pub(crate) struct Shared {
    clock: Arc<dyn Clock>,
    group_bytes_max: usize,
    queue_bytes_max: usize,
    note_bytes_max: usize,
    /// Notes of so many bytes are worth a frame before their delay is over.
    note_wake_bytes: usize,
    queue: Mutex<Queue>,
    thread: Condvar,
    task: Notify,
    note_room: Notify,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    append_bytes: usize,
    note_bytes: usize,
    room: Vec<Waker>,
    ended: Option<AppendError>,
    /// There is news that the committer must look at now.
    nudged: bool,
    /// A porter will announce what waits, once its thread has done what it can do now.
    promised: bool,
    /// A frame is being written.
    writing: bool,
    /// The committer knows of notes already and wakes by itself.
    armed: bool,
    first_note: Option<Duration>,
}

/// What the committer found in the queue.
pub(crate) struct Drained {
    pub(crate) entries: VecDeque<Entry>,
    /// When the oldest note among them was handed in.
    pub(crate) first_note: Option<Duration>,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>, options: &Options) -> Self {
        Self {
            clock,
            group_bytes_max: options.group_bytes_max,
            queue_bytes_max: options.queue_bytes_max,
            note_bytes_max: options.note_bytes_max,
            note_wake_bytes: options.frame_bytes_target.min(options.note_bytes_max / 2),
            queue: Mutex::default(),
            thread: Condvar::new(),
            task: Notify::new(),
            note_room: Notify::new(),
        }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Queues work that somebody waits for. Without room, `waker` is woken when there may be some.
    pub(crate) fn push(
        &self,
        work: Work,
        group: Option<Group>,
        desk: Option<Arc<Desk>>,
        waker: Option<&Waker>,
    ) -> Pushed {
        let bytes = group.as_ref().map_or(0, Group::bytes);
        if let Some(error) = self.too_large(bytes) {
            return Pushed::Refused(error);
        }
        let mut queue = lock(&self.queue);
        if let Some(error) = &queue.ended {
            return Pushed::Refused(error.clone());
        }
        if work.is_append() {
            // Whoever waits already goes first.
            let taken = if queue.room.is_empty() || waker.is_some() {
                queue.append_bytes + bytes
            } else {
                usize::MAX
            };
            if self.queue_bytes_max < taken {
                queue.room.extend(waker.cloned());
                return Pushed::NoRoom(group, desk);
            }
            queue.append_bytes += bytes;
        }
        let slot = Slot::new(desk);
        let promised = work.is_append() && slot.is_promised();
        queue.entries.push_back(Entry {
            work,
            group,
            bytes,
            slot: Some(Arc::clone(&slot)),
        });
        if work == Work::Close {
            queue.ended = Some(AppendError::Closed);
        }
        if promised {
            queue.promised = true;
        } else {
            self.nudge_locked(queue);
        }
        Pushed::Waiting(slot)
    }

    /// Queues a note, or gives it back.
    pub(crate) fn note(&self, group: Group) -> Result<(), Full> {
        let bytes = group.bytes();
        if let Some(error) = self.too_large(bytes) {
            let why = error.into();
            return Err(Full { group, why });
        }
        let mut queue = lock(&self.queue);
        if let Some(error) = &queue.ended {
            let why = error.clone().into();
            return Err(Full { group, why });
        }
        if self.note_bytes_max < queue.note_bytes + bytes {
            let why = Why::Full {
                waiting: queue.note_bytes,
                limit: self.note_bytes_max,
            };
            return Err(Full { group, why });
        }
        let enough = self.note_wake_bytes;
        let now_enough = queue.note_bytes < enough && enough <= queue.note_bytes + bytes;
        queue.note_bytes += bytes;
        queue.entries.push_back(Entry {
            work: Work::Note,
            group: Some(group),
            bytes,
            slot: None,
        });
        let news = queue.first_note.is_none() && !queue.armed && !queue.promised;
        if queue.first_note.is_none() {
            queue.first_note = Some(self.clock.monotonic());
        }
        if news || now_enough {
            self.nudge_locked(queue);
        }
        Ok(())
    }

    /// Whether notes of so many bytes are worth a frame of their own.
    pub(crate) fn enough_notes(&self, bytes: usize) -> bool {
        self.note_wake_bytes <= bytes
    }

    /// Returns once notes have room again, or none will ever be taken.
    pub(crate) async fn noted_room(&self) {
        loop {
            let mut told = std::pin::pin!(self.note_room.notified());
            // Registered before looking, so that what happens in between isn't missed.
            told.as_mut().enable();
            {
                let queue = lock(&self.queue);
                if queue.ended.is_some() || queue.note_bytes <= self.note_bytes_max / 2 {
                    return;
                }
            }
            told.await;
        }
    }

    fn too_large(&self, got: usize) -> Option<AppendError> {
        let limit = self.group_bytes_max;
        (limit < got).then_some(AppendError::TooLarge { got, limit })
    }

    /// Wakes the committer to look again.
    pub(crate) fn nudge(&self) {
        self.nudge_locked(lock(&self.queue));
    }

    /// A porter's thread has done what it could. While a frame is being written that isn't yet so:
    /// its waiters are still to be told, and will add to the next.
    pub(crate) fn announce(&self) {
        let queue = lock(&self.queue);
        if queue.promised && !queue.writing {
            self.nudge_locked(queue);
        }
    }

    pub(crate) fn begin_write(&self) {
        lock(&self.queue).writing = true;
    }

    fn nudge_locked(&self, mut queue: std::sync::MutexGuard<'_, Queue>) {
        if !std::mem::replace(&mut queue.nudged, true) {
            drop(queue);
            self.thread.notify_one();
            self.task.notify_one();
        }
    }

    /// Takes all that waits. `armed` says that notes taken earlier are still to be written.
    pub(crate) fn drain(&self, armed: bool) -> Drained {
        let mut queue = lock(&self.queue);
        if queue.promised && !queue.nudged {
            queue.armed = armed;
            return Drained {
                entries: VecDeque::new(),
                first_note: None,
            };
        }
        queue.nudged = false;
        queue.promised = false;
        let first_note = queue.first_note.take();
        queue.armed = armed || first_note.is_some();
        Drained {
            entries: std::mem::take(&mut queue.entries),
            first_note,
        }
    }

    /// A frame was written: its bytes no longer wait. Wakes those who wait for their room. `told`
    /// says that a porter is about to wake some of its waiters, and will announce what they add.
    pub(crate) fn wrote(&self, append_bytes: usize, note_bytes: usize, told: bool) {
        let mut queue = lock(&self.queue);
        queue.writing = false;
        if queue.promised && !told {
            queue.nudged = true;
        }
        self.release_locked(queue, append_bytes, note_bytes);
    }

    /// Bytes that no longer wait, since they were refused.
    pub(crate) fn release(&self, append_bytes: usize, note_bytes: usize) {
        self.release_locked(lock(&self.queue), append_bytes, note_bytes);
    }

    fn release_locked(
        &self,
        mut queue: std::sync::MutexGuard<'_, Queue>,
        append_bytes: usize,
        note_bytes: usize,
    ) {
        queue.append_bytes -= append_bytes;
        queue.note_bytes -= note_bytes;
        let room = if append_bytes != 0 {
            std::mem::take(&mut queue.room)
        } else {
            Vec::new()
        };
        let note_room = note_bytes != 0 && queue.note_bytes <= self.note_bytes_max / 2;
        drop(queue);
        room.into_iter().for_each(Waker::wake);
        if note_room {
            self.note_room.notify_waiters();
        }
    }

    /// Ends it all: what waits here, and all that comes later, is answered with `error`. An earlier
    /// end stays in force.
    pub(crate) fn end(&self, error: AppendError) {
        let mut queue = lock(&self.queue);
        let entries = std::mem::take(&mut queue.entries);
        let room = std::mem::take(&mut queue.room);
        // A fault after `close` was queued is still a fault.
        if queue.ended != Some(AppendError::Stopped) {
            queue.ended = Some(error.clone());
        }
        drop(queue);
        let mut finished = Finished::default();
        for slot in entries.into_iter().filter_map(|entry| entry.slot) {
            finished.put(slot, Err(error.clone()));
        }
        finished.wake();
        room.into_iter().for_each(Waker::wake);
        self.note_room.notify_waiters();
    }

    /// Sleeps until nudged, or until `until` on the clock.
    pub(crate) fn sleep(&self, until: Option<Duration>) {
        let mut queue = lock(&self.queue);
        while !queue.nudged {
            let Some(until) = until else {
                queue = self
                    .thread
                    .wait(queue)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return;
            }
            (queue, _) = self
                .thread
                .wait_timeout(queue, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// The same for a task. Leaves the time it sleeps to tokio, whose clock a test may have paused.
    /// Returns whether the time was up.
    pub(crate) async fn rest(&self, until: Option<Duration>) -> bool {
        let Some(until) = until else {
            self.task.notified().await;
            return false;
        };
        let left = until.saturating_sub(self.clock.monotonic());
        tokio::time::timeout(left, self.task.notified())
            .await
            .is_err()
    }
}
