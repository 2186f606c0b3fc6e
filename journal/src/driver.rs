//! Drives the committer: does its writes and syncs, and stops at the first that fails.
//!
//! In production on a thread of its own; under tokio's paused clock as a task that does the disk's
//! work inline, since a real thread and a paused clock don't mix.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::appended::AppendError;
use crate::committer::{Committer, Next};
use crate::disk::File;
use crate::journal::Core;
use crate::layout::SegmentHeader;
use crate::mutant;
use crate::segment::segment_name;
use crate::stock::Spare;

/// Why the journal stopped. What the disk holds is unknown from then on: the process should end,
/// and the next one recovers.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A frame could not be written.
    #[error("writing {bytes} bytes to {name} at byte {position}")]
    Write {
        name: String,
        position: u64,
        bytes: usize,
        #[source]
        source: io::Error,
    },
    /// A frame could not be synced. It isn't tried again: Linux reports such an error once, and
    /// then says yes with the data gone.
    #[error("syncing {name}")]
    Sync {
        name: String,
        #[source]
        source: io::Error,
    },
    /// The next segment could not be put in place.
    #[error("opening segment {name}")]
    Roll {
        name: String,
        #[source]
        source: io::Error,
    },
    /// A spare file could not be made.
    #[error("preparing {name}")]
    Prepare {
        name: String,
        #[source]
        source: io::Error,
    },
    /// A reclaimed segment could not be taken out of use.
    #[error("reclaiming segment {name}")]
    Reclaim {
        name: String,
        #[source]
        source: io::Error,
    },
    /// What opens each segment has grown too large for one.
    #[error("the opening of a segment is {got} bytes, at most {limit} fit")]
    Opening { got: usize, limit: u64 },
}

/// Does the journal's writing. Nothing is stored until it runs; dropping it stops the journal.
#[must_use = "nothing is written until the driver runs"]
pub struct Driver {
    core: Arc<Core>,
    committer: Committer,
    finished: bool,
}

/// What came of one step.
enum Step {
    Worked,
    /// A frame is on disk, written and synced in so long. Nobody has been told.
    Wrote(Duration),
    Rest(Option<Duration>),
}

impl Driver {
    pub(crate) fn new(core: Arc<Core>, committer: Committer) -> Self {
        Self {
            core,
            committer,
            finished: false,
        }
    }

    /// Runs on a thread of its own, with a second one that prepares segments, until the journal is
    /// closed or fails. By the time it ends everybody who waited has been answered.
    ///
    /// # Panics
    ///
    /// If the system can start no thread.
    pub fn spawn_thread(self) -> JoinHandle<Result<(), Fault>> {
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || self.run_on_thread())
            .expect("the system can start a thread")
    }

    fn run_on_thread(mut self) -> Result<(), Fault> {
        let core = Arc::clone(&self.core);
        let helper = std::thread::Builder::new()
            .name("journal-stock".into())
            .spawn(move || {
                let repack = || crate::repack::tend(&core);
                core.stock.tend_until_ended(|| core.shared.nudge(), repack);
            })
            .map_err(|source| Fault::Prepare {
                name: "the helper thread".into(),
                source,
            })?;
        let end = loop {
            let now = self.core.shared.clock().monotonic();
            match self.step(now) {
                Ok(Some(Step::Worked)) => {}
                Ok(Some(Step::Wrote(took))) => self.committer.committed(took),
                Ok(Some(Step::Rest(until))) => self.core.shared.sleep(until),
                Ok(None) => break Ok(()),
                Err(fault) => break Err(fault),
            }
        };
        self.core.stock.end();
        let end = self.finish(end);
        if let Err(panic) = helper.join() {
            std::panic::resume_unwind(panic);
        }
        end
    }

    /// Runs as a task, until the journal is closed or fails. The disk's work is done inline, so
    /// this is for disks in memory: a real one would stall every other task of the runtime.
    ///
    /// # Errors
    ///
    /// The fault that stopped it.
    pub async fn run(mut self) -> Result<(), Fault> {
        let mut now = self.core.shared.clock().monotonic();
        let end = loop {
            if self.core.stock.has_reclaimed()
                && let Err(fault) = self.core.stock.tend()
            {
                break Err(fault);
            }
            match self.step(now) {
                Ok(Some(Step::Worked)) => {
                    self.wait_for_disk().await;
                    yield_now().await;
                }
                Ok(Some(Step::Wrote(took))) => {
                    let waited = self.wait_for_disk().await;
                    self.committer.committed(took + waited);
                    // The others get to see this frame, and to add to the next.
                    yield_now().await;
                }
                Ok(Some(Step::Rest(until))) => {
                    if self.core.shared.rest(until).await {
                        // A test's clock may stand still while tokio's moves on.
                        now = now.max(until.unwrap_or(now));
                        continue;
                    }
                }
                Ok(None) => break Ok(()),
                Err(fault) => break Err(fault),
            }
            now = now.max(self.core.shared.clock().monotonic());
        };
        self.finish(end)
    }

    /// Does the next thing there is to do; none once the journal has been closed.
    fn step(&mut self, now: Duration) -> Result<Option<Step>, Fault> {
        let stock = &self.core.stock;
        if let Some(fault) = stock.fault() {
            return Err(fault);
        }
        if self.committer.is_disk_short() && stock.has_room() {
            self.committer.disk_has_room();
        }
        let wall = self.core.shared.clock().wall();
        match self.committer.next(now, wall, stock.room()) {
            Next::Rest { until } => return Ok(Some(Step::Rest(until))),
            Next::End(end) => return end.map(|()| None),
            Next::Roll { header, keep_free } => match stock.take(keep_free)? {
                None => self.committer.roll_refused(now, stock.room()),
                Some(spare) => {
                    let file = self.put_in_place(&header, spare)?;
                    stock.used_up();
                    self.committer.rolled(&header, file);
                }
            },
            Next::Write {
                file,
                position,
                frame,
            } => {
                let began = self.core.shared.clock().monotonic();
                self.write(file.as_ref(), position, &frame)?;
                if mutant::is("ack-before-sync") {
                    self.committer.committed(Duration::ZERO);
                    self.sync(file.as_ref())?;
                } else {
                    self.sync(file.as_ref())?;
                    let now = self.core.shared.clock().monotonic();
                    return Ok(Some(Step::Wrote(now.saturating_sub(began))));
                }
            }
        }
        Ok(Some(Step::Worked))
    }

    /// Lets the time pass that a disk in memory says it would have taken.
    async fn wait_for_disk(&self) -> Duration {
        let delay = self.core.disk.delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        delay
    }

    fn write(&self, file: &dyn File, position: u64, frame: &[u8]) -> Result<(), Fault> {
        file.write_at(position, frame)
            .map_err(|source| Fault::Write {
                name: self.name(),
                position,
                bytes: frame.len(),
                source,
            })
    }

    fn sync(&self, file: &dyn File) -> Result<(), Fault> {
        if mutant::is("skip-sync") {
            return Ok(());
        }
        let synced = file.sync().or_else(|error| {
            let again = mutant::is("retry-failed-sync");
            if again { file.sync() } else { Err(error) }
        });
        synced.map_err(|source| Fault::Sync {
            name: self.name(),
            source,
        })
    }

    /// The segment that is being written.
    fn name(&self) -> String {
        let last = self.core.segments.list().pop();
        segment_name(last.map_or(0, |segment| segment.sequence))
    }

    /// Gives a spare its header, and then, when that is durable, its name. Until then a crash
    /// leaves a spare; from then on a segment whose header is whole.
    fn put_in_place(&self, header: &SegmentHeader, spare: Spare) -> Result<Arc<dyn File>, Fault> {
        let name = segment_name(header.sequence);
        let mut block = crate::disk::AlignedBytes::with_capacity(crate::layout::BLOCK_BYTES);
        block.extend(&header.encode());
        let put = || {
            spare.file.write_at(0, block.as_ref())?;
            if !mutant::is("name-before-header-is-synced") {
                spare.file.sync()?;
            }
            self.core.disk.rename(&spare.name, &name)?;
            if mutant::is("skip-directory-sync") {
                return Ok(());
            }
            self.core.disk.sync()
        };
        put().map_err(|source| Fault::Roll { name, source })?;
        Ok(spare.file)
    }

    fn finish(&mut self, end: Result<(), Fault>) -> Result<(), Fault> {
        self.finished = true;
        self.committer.end(match end {
            Ok(()) => &AppendError::Closed,
            Err(_) => &AppendError::Stopped,
        });
        // What was reclaimed before the close doesn't come back with the next open.
        end.and_then(|()| self.core.stock.tend())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Nobody waits for ever, whatever ended the driver: a panic, or the end of its runtime.
        if !self.finished {
            self.committer.end(&AppendError::Stopped);
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
