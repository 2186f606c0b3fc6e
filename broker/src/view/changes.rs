//! What changed in the view since its last commit.

use std::collections::BTreeMap;

use journal::Offset;

use crate::dead_letters::Row;
use crate::records::wire::{Short, Take};

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
    /// Its bytes: the offset u64, then how many bytes it takes u32.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = self.offset.0.to_le_bytes().to_vec();
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out
    }

    /// Reads it back.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Short> {
        let mut take = Take::new(bytes);
        Ok(Self {
            offset: Offset(u64::from_le_bytes(take.array("offset in kept")?)),
            bytes: u32::from_le_bytes(take.array("bytes in kept")?),
        })
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
