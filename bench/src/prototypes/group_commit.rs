//! A log of frames with group commit and no timer: one write and one sync for all that waits.
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

use bytes::Bytes;
use http::HeaderMap;
use rustix::fs::{Mode, OFlags};
use tokio::sync::{mpsc, oneshot};

/// The file's length. Reaching its end, the log starts over.
const FILE_BYTES: u64 = 256 * 1024 * 1024;
/// What O_DIRECT asks of position, length and memory.
const BLOCK_BYTES: usize = 4096;
/// The most one write carries; what waits beyond it goes into the next.
const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Batches on disk whose callers the worker hasn't told yet; at this many the committer waits.
const BATCHES_TOLD_MAX: usize = 16;

const _: () = assert!(FRAME_BYTES_MAX.is_multiple_of(BLOCK_BYTES));

/// An event as it came: its attributes and its data.
pub(super) struct Record {
    pub(super) head: HeaderMap,
    pub(super) body: Bytes,
}

/// The handle of the worker that appends.
pub(super) struct Log {
    shared: Arc<Shared>,
    direct: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Record, oneshot::Sender<()>)>,
    /// The committer has nothing to do, so the next append wakes it.
    idle: bool,
    /// The committer has ended after a failure.
    stopped: bool,
}

impl Log {
    /// Makes the file, fills it with zeros and starts the committer.
    ///
    /// Must be called within the runtime of the one worker, which gets a task that tells
    /// callers: one wake-up from the other thread for a whole batch.
    pub(super) fn create(path: &Path, sync_delay: Duration) -> io::Result<Self> {
        let zeros = vec![0; 1024 * 1024];
        let plain = File::create(path)?;
        for position in (0..FILE_BYTES).step_by(zeros.len()) {
            plain.write_all_at(&zeros, position)?;
        }
        plain.sync_all()?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let (file, direct) = match rustix::fs::open(path, flags | OFlags::DIRECT, Mode::empty()) {
            Ok(file) => (file, true),
            Err(_) => (rustix::fs::open(path, flags, Mode::empty())?, false),
        };
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
        });
        let (told, mut tell) = mpsc::channel::<Vec<oneshot::Sender<()>>>(BATCHES_TOLD_MAX);
        let committer = Committer {
            file: file.into(),
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
        super::serve::spawn(async move {
            while let Some(batch) = tell.recv().await {
                for caller in batch {
                    // A caller that has gone away needs no answer.
                    caller.send(()).ok();
                }
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

    /// Queues `record`; the receiver resolves once it is on disk, or fails with the committer.
    pub(super) fn append(&self, record: Record) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self
            .shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !queue.stopped {
            queue.waiting.push((record, sender));
            if mem::take(&mut queue.idle) {
                drop(queue);
                self.shared.work.notify_one();
            }
        }
        receiver
    }
}

impl Shared {
    fn take(&self, batch: &mut Vec<(Record, oneshot::Sender<()>)>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.waiting.is_empty() {
            queue.idle = true;
            queue = self
                .work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        queue.idle = false;
        mem::swap(&mut queue.waiting, batch);
    }

    fn stop(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.stopped = true;
        queue.waiting.clear();
    }
}

struct Committer {
    file: File,
    position: u64,
    told: mpsc::Sender<Vec<oneshot::Sender<()>>>,
    sync_delay: Duration,
}

impl Committer {
    /// Commits batch after batch, and returns the failure that ended it.
    fn run(mut self, shared: &Shared) -> io::Error {
        let mut buffer = vec![0; FRAME_BYTES_MAX + BLOCK_BYTES];
        let aligned = buffer.as_ptr().align_offset(BLOCK_BYTES);
        let frame = &mut buffer[aligned..aligned + FRAME_BYTES_MAX];
        let mut batch = Vec::new();
        loop {
            shared.take(&mut batch);
            let mut callers = Vec::with_capacity(batch.len());
            let mut used = 0;
            for (record, caller) in batch.drain(..) {
                if frame.len() - used < length(&record) {
                    if let Err(failure) = self.commit(frame, used) {
                        return failure;
                    }
                    used = 0;
                }
                used += write(&record, &mut frame[used..]);
                callers.push(caller);
            }
            if let Err(failure) = self.commit(frame, used) {
                return failure;
            }
            if self.told.blocking_send(callers).is_err() {
                return io::Error::other("the worker has ended");
            }
        }
    }

    fn commit(&mut self, frame: &mut [u8], used: usize) -> io::Result<()> {
        let padded = used.next_multiple_of(BLOCK_BYTES);
        frame[used..padded].fill(0);
        if FILE_BYTES < self.position + padded as u64 {
            self.position = 0;
        }
        self.file.write_all_at(&frame[..padded], self.position)?;
        self.file.sync_data()?;
        self.position += padded as u64;
        if !self.sync_delay.is_zero() {
            thread::sleep(self.sync_delay);
        }
        Ok(())
    }
}

/// Bytes that `record` takes in a frame: two lengths, then `name: value` lines, then the data.
fn length(record: &Record) -> usize {
    8 + head_length(&record.head) + record.body.len()
}

fn head_length(head: &HeaderMap) -> usize {
    head.iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 3)
        .sum()
}

fn write(record: &Record, out: &mut [u8]) -> usize {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&(head_length(&record.head) as u32).to_le_bytes());
    put(&(record.body.len() as u32).to_le_bytes());
    for (name, value) in &record.head {
        put(name.as_str().as_bytes());
        put(b": ");
        put(value.as_bytes());
        put(b"\n");
    }
    put(&record.body);
    at
}
