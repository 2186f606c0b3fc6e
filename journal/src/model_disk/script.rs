//! What a model disk was told to do wrong: which operation fails when and how, and how long each takes.

use std::io;
use std::time::Duration;

/// What can be made to fail, and to take time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// `File::write_at`
    Write,
    /// `File::sync`
    Sync,
    /// `File::zero_fill`
    Fill,
    /// `File::read_at`
    Read,
    /// `Disk::create`
    Create,
    /// `Disk::rename`
    Rename,
    /// `Disk::sync`
    SyncFolder,
    /// `Disk::list`
    List,
    /// `Disk::open`
    Open,
    /// `Disk::remove`
    Remove,
    /// `File::len`
    Length,
    /// `Disk::free_bytes`
    Free,
    /// `File::forget_cached`
    Forget,
}

const OPERATIONS: usize = Operation::ALL.len();

impl Operation {
    /// Each of them.
    pub const ALL: [Self; 13] = [
        Self::Write,
        Self::Sync,
        Self::Fill,
        Self::Read,
        Self::Create,
        Self::Rename,
        Self::SyncFolder,
        Self::List,
        Self::Open,
        Self::Remove,
        Self::Length,
        Self::Free,
        Self::Forget,
    ];

    /// Whether it changes what is on the disk, or what of it is durable.
    pub fn changes(self) -> bool {
        match self {
            Self::Write
            | Self::Sync
            | Self::Fill
            | Self::Create
            | Self::Rename
            | Self::SyncFolder
            | Self::Remove => true,
            Self::Read | Self::List | Self::Open | Self::Length | Self::Free | Self::Forget => {
                false
            }
        }
    }
}

/// How often it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// This one time.
    Once,
    /// From this time on.
    ForEver,
    /// This one time, and for a sync: what it was to make durable is lost, though it can still be
    /// read until it is forgotten, and the next sync says yes. So does Linux.
    OnceWithDataGone,
}

/// How often each thing was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    counts: [u64; OPERATIONS],
}

impl Counters {
    /// How often `operation` was asked for, failures included.
    pub fn of(&self, operation: Operation) -> u64 {
        self.counts[operation as usize]
    }
}

/// An error to come.
#[derive(Debug, Clone, Copy)]
struct Scripted {
    operation: Operation,
    /// Counted from 0 over the disk's life.
    nth: u64,
    lasting: Lasting,
    kind: io::ErrorKind,
}

/// All that goes wrong, and the counters that say when.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    errors: Vec<Scripted>,
    pub(super) counters: Counters,
    delays: [Duration; OPERATIONS],
    /// Time that operations would have taken and nobody has waited for yet.
    pub(super) delayed: Duration,
}

impl Script {
    /// The `nth` of `operation` from now fails.
    pub(super) fn fail(
        &mut self,
        operation: Operation,
        nth: u64,
        lasting: Lasting,
        kind: io::ErrorKind,
    ) {
        let nth = nth + self.counters.of(operation);
        self.errors.push(Scripted {
            operation,
            nth,
            lasting,
            kind,
        });
    }

    /// Each `operation` takes so long.
    pub(super) fn delay(&mut self, operation: Operation, delay: Duration) {
        self.delays[operation as usize] = delay;
    }

    /// Nothing goes wrong any more, and nothing takes time.
    pub(super) fn heal(&mut self) {
        self.errors.clear();
        self.delays = [Duration::ZERO; OPERATIONS];
    }

    /// Counts an operation, and fails it if its time has come.
    pub(super) fn begin(&mut self, operation: Operation) -> Result<(), (Lasting, io::Error)> {
        let nth = self.counters.of(operation);
        self.counters.counts[operation as usize] += 1;
        self.delayed += self.delays[operation as usize];
        let due = self.errors.iter().find(|error| {
            let now = match error.lasting {
                Lasting::ForEver => error.nth <= nth,
                Lasting::Once | Lasting::OnceWithDataGone => error.nth == nth,
            };
            error.operation == operation && now
        });
        match due {
            None => Ok(()),
            Some(error) => Err((error.lasting, error.kind.into())),
        }
    }
}
