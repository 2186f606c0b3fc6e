//! Durable, ordered, opaque records on local disk.
//!
//! The journal is the ground everything else stands on: what it acknowledged survives a loss of
//! power. It knows no events; kind, version, tag and body of a record mean nothing to it.
//!
//! What it promises:
//! - a [`Group`] is stored all or none, its records at contiguous [`Offset`]s;
//! - once an append has resolved, its group is read back by every later open, in order;
//! - offsets count records, never change and never repeat, across crashes too;
//! - a failed write or sync stops it for good until it is opened, and recovered, again;
//! - recovery reports and keeps; it truncates nothing and deletes nothing.
//!
//! What it doesn't do: delete on its own account ([`Journal::reclaim`] is the caller's decision),
//! look anything up by content, or repair a record that the disk damaged.
//!
//! The bytes are in `docs/format.md`. Modules in reading order: `record` (what is stored), `layout`
//! (as bytes), `disk` with `os_disk` and [`model_disk`] (where), `queue` and `appended` (who waits),
//! `committer`, `frame` and `driver` (group commit), `stock` (spare segments), `repack` (padding given
//! back), `hold` (files kept as they are), `side` (what its owner derives from a segment), `segment`, `scan`, `tail` and
//! `reader` (reading back), `survey`, `walk`, `rebuild` and `recovery` (opening), `verify` (looking without opening). `mutant` is for the tests of
//! the tests.

mod appended;
mod buffers;
mod clock;
mod committer;
mod disk;
mod driver;
mod frame;
mod headers;
mod hold;
mod journal;
mod layout;
mod lock;
pub mod model_disk;
#[doc(hidden)]
pub mod mutant;
mod options;
mod os_disk;
mod queue;
mod reader;
mod rebuild;
mod record;
mod recovery;
mod repack;
mod scan;
mod segment;
mod side;
mod stats;
mod stock;
mod survey;
mod tail;
mod verify;
mod walk;

pub use appended::{AppendError, Appended, Porter};
pub use clock::{Clock, OsClock, WallTime};
pub use disk::{AlignedBytes, Disk, DiskFacts, Entry, File};
pub use driver::{Driver, Fault};
pub use hold::{HeldFile, Hold};
pub use journal::{Facts, Journal, LocalJournal, Reclaimed, SegmentFacts, Usage};
pub use layout::{BLOCK_BYTES, FORMAT_VERSION, RECORD_HEADER_BYTES};
pub use options::{Options, OptionsError};
pub use os_disk::{OsDisk, make_folder};
pub use queue::{Full, Why};
pub use reader::{ReadError, Reader, Reading};
pub use record::{Group, Offset, Record, Stored};
pub use recovery::{OpenError, Recovered, Torn};
pub use repack::{RepackError, Repacked};
pub use scan::{Cause, Damage};
pub use stats::{Histogram, Stats};
pub use verify::{Cat, Verified, VerifiedSegment, cat, cat_disk, verify, verify_disk};
