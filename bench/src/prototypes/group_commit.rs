//! A log of frames with group commit and no timer: one write and one sync for all that waits.
//!
//! The worker writes records into the frame that is being filled; the committer takes that frame,
//! leaves an empty one in its place, writes, syncs, and hands the callers back to the worker, so
//! that a whole batch costs one wake-up and nothing is freed on another thread than its own. The
//! next frame goes once the worker has told them and taken in what was ready meanwhile: on the one
//! core that they share, a committer that helps itself would interrupt it for half a batch.
//!
//! The file is zero-filled beforehand and written round and round, so no sync has to write
//! metadata. Where the file system takes O_DIRECT it is used. There is no checksum, no header
//! and no recovery: the yardstick errs on the fast side.

use std::fs::File;
use std::io;
use std::mem;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use http::HeaderMap;
use rustix::fs::{Mode, OFlags};
use tokio::sync::{mpsc, oneshot};

/// The file's length. Reaching its end, the log starts over.
const FILE_BYTES: u64 = 256 * 1024 * 1024;
/// What O_DIRECT asks of position, length and memory.
const BLOCK_BYTES: usize = 4096;
/// The most that waits for one write; what comes beyond it is refused.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Batches on disk whose callers the worker hasn't told yet; at this many the committer waits.
const BATCHES_TOLD_MAX: usize = 16;

const _: () = assert!(FRAME_BYTES_MAX.is_multiple_of(BLOCK_BYTES));
// The file is filled a frame at a time.
const _: () = assert!(FILE_BYTES.is_multiple_of(FRAME_BYTES_MAX as u64));

/// The handle of the worker that appends.
pub(super) struct Log {
    shared: Arc<Shared>,
    direct: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
}

struct Queue {
    filling: Frame,
    /// The committer may take the frame.
    handed_over: bool,
    /// A frame is handed over, being written, or its callers are being told.
    busy: bool,
    /// The committer has ended after a failure.
    stopped: bool,
}

struct Frame {
    buffer: Vec<u8>,
    /// Where the first aligned byte is.
    start: usize,
    used: usize,
    callers: Vec<oneshot::Sender<()>>,
}

impl Log {
    /// Makes the file, fills it with zeros and starts the committer.
    ///
    /// Must be called within the runtime of the one worker, which gets a task that tells callers.
    pub(super) fn create(path: &Path, sync_delay: Duration) -> io::Result<Self> {
        File::create(path)?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let (file, direct) = match rustix::fs::open(path, flags | OFlags::DIRECT, Mode::empty()) {
            Ok(file) => (file, true),
            Err(_) => (rustix::fs::open(path, flags, Mode::empty())?, false),
        };
        let file = File::from(file);
        let zeros = Frame::new();
        let zeros = &zeros.buffer[zeros.start..zeros.start + FRAME_BYTES_MAX];
        for position in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(zeros, position)?;
        }
        file.sync_all()?;
        let queue = Queue {
            filling: Frame::new(),
            handed_over: false,
            busy: false,
            stopped: false,
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            work: Condvar::new(),
        });
        let (told, mut tell) = mpsc::channel::<Vec<oneshot::Sender<()>>>(BATCHES_TOLD_MAX);
        let committer = Committer {
            file,
            position: 0,
            told,
            sync_delay,
        };
        let for_thread = shared.clone();
        thread::Builder::new()
            .name("committer".into())
            .spawn(move || {
                let failure = committer.run(&for_thread);
                for_thread.stop();
                crate::out::problem(&format!("committer stopped: {failure}"));
            })?;
        let for_worker = shared.clone();
        super::serve::spawn(async move {
            while let Some(batch) = tell.recv().await {
                for caller in batch {
                    // A caller that has gone away needs no answer.
                    caller.send(()).ok();
                }
                tokio::task::yield_now().await;
                for_worker.hand_over();
            }
        });
        Ok(Self { shared, direct })
    }

    /// What a 202 rests on, in the words Weft's status uses.
    pub(super) fn class(&self) -> &'static str {
        if self.direct {
            "direct+fdatasync"
        } else {
            "buffered+fdatasync"
        }
    }

    /// Queues an event; the receiver resolves once it is on disk, or fails when it will not be.
    pub(super) fn append(&self, head: &HeaderMap, body: &[u8]) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self
            .shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !queue.stopped && queue.filling.put(head, body) {
            queue.filling.callers.push(sender);
            if !queue.busy {
                drop(queue);
                self.shared.hand_over();
            }
        }
        receiver
    }
}

impl Shared {
    /// Lets the committer take what waits, if anything does.
    fn hand_over(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.busy = !queue.filling.callers.is_empty();
        queue.handed_over = queue.busy;
        if queue.handed_over {
            self.work.notify_one();
        }
    }

    /// Waits until a frame is handed over and leaves `empty` in its place.
    fn take(&self, empty: Frame) -> Frame {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while !mem::take(&mut queue.handed_over) {
            queue = self
                .work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        mem::replace(&mut queue.filling, empty)
    }

    fn stop(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.stopped = true;
        queue.filling.callers.clear();
    }
}

impl Frame {
    fn new() -> Self {
        let buffer = vec![0; FRAME_BYTES_MAX + BLOCK_BYTES];
        let start = buffer.as_ptr().align_offset(BLOCK_BYTES);
        Self {
            buffer,
            start,
            used: 0,
            callers: Vec::new(),
        }
    }

    /// Adds a record: two lengths, `name: value` lines of the event's headers, its data.
    fn put(&mut self, head: &HeaderMap, body: &[u8]) -> bool {
        let kept = || head.iter().filter(|(name, _)| is_of_event(name.as_str()));
        let head_bytes: usize = kept()
            .map(|(name, value)| name.as_str().len() + value.len() + 3)
            .sum();
        if FRAME_BYTES_MAX - self.used < 8 + head_bytes + body.len() {
            return false;
        }
        let mut at = self.start + self.used;
        let mut put = |bytes: &[u8]| {
            self.buffer[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&(head_bytes as u32).to_le_bytes());
        put(&(body.len() as u32).to_le_bytes());
        for (name, value) in kept() {
            put(name.as_str().as_bytes());
            put(b": ");
            put(value.as_bytes());
            put(b"\n");
        }
        put(body);
        self.used = at - self.start;
        true
    }

    /// All records, and zeros up to the next block.
    fn padded(&mut self) -> &[u8] {
        let end = self.start + self.used.next_multiple_of(BLOCK_BYTES);
        self.buffer[self.start + self.used..end].fill(0);
        &self.buffer[self.start..end]
    }
}

/// Whether a header belongs to the event and not to the request that brought it.
fn is_of_event(name: &str) -> bool {
    name.starts_with("ce-") || name == "content-type"
}

struct Committer {
    file: File,
    position: u64,
    told: mpsc::Sender<Vec<oneshot::Sender<()>>>,
    sync_delay: Duration,
}

impl Committer {
    /// Commits frame after frame, and returns the failure that ended it.
    fn run(mut self, shared: &Shared) -> io::Error {
        let mut empty = Frame::new();
        loop {
            let mut frame = shared.take(empty);
            if let Err(failure) = self.commit(frame.padded()) {
                return failure;
            }
            if self
                .told
                .blocking_send(mem::take(&mut frame.callers))
                .is_err()
            {
                return io::Error::other("the worker has ended");
            }
            frame.used = 0;
            empty = frame;
        }
    }

    fn commit(&mut self, frame: &[u8]) -> io::Result<()> {
        if FILE_BYTES < self.position + frame.len() as u64 {
            self.position = 0;
        }
        self.file.write_all_at(frame, self.position)?;
        self.file.sync_data()?;
        self.position += frame.len() as u64;
        if !self.sync_delay.is_zero() {
            thread::sleep(self.sync_delay);
        }
        Ok(())
    }
}
