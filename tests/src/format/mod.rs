//! The bytes on disk, read by the document alone.
//!
//! Written from `docs/format.md`, with nothing of the journal's or the broker's code but the
//! library of the checksum's polynomial: where the two disagree, the document is wrong or the code
//! is. Strict: a byte that the document says is zero must be, what it says is equal must be, and a
//! body must be used up to its last byte. So it reads what isn't damaged, and nothing else; but for
//! [`walk`], which reads what a crash or a disk made of a segment, by the page's rules for that.

pub mod bodies;
mod cursor;
pub mod kept;
pub mod segment;
pub mod side;
pub mod stored;
pub mod walk;

pub use segment::{Header, Record, Segment};
