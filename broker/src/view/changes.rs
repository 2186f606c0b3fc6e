//! What changed in the view since its last commit.

use std::collections::BTreeMap;

use journal::Offset;

use crate::dead_letters::Row;

/// What lies in kept. As a byte it is part of a key of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A record of the log, under its own offset.
    Copy = 1,
    /// The state of what is owed of an offset.
    Owed = 2,
    /// The state of a dead letter, under its id.
    Letter = 3,
    /// A part of the small state, under the part's number.
    Standing = 4,
}

/// Where in kept something lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptAt {
    /// The record's offset in kept.
    pub(crate) offset: Offset,
    /// Bytes it takes there.
    pub(crate) bytes: u32,
}

impl KeptAt {
    pub(super) fn new((offset, bytes): (u64, u32)) -> Self {
        Self {
            offset: Offset(offset),
            bytes,
        }
    }
}

/// Rows and places that are not committed yet; none where there is nothing any more. Bounded by
/// [`crate::keeper::CHANGES_MAX`]: at it the keeper commits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    pub(crate) letters: BTreeMap<Offset, Option<Row>>,
    pub(crate) kept: BTreeMap<(What, Offset), Option<KeptAt>>,
}

impl Changes {
    pub(super) fn len(&self) -> usize {
        self.letters.len() + self.kept.len()
    }
}
