//! The journal's bounds. Each has a name, a default beside it, and says what happens at it.

use std::time::Duration;

use crate::layout::{BLOCK_BYTES, DATA_START};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const SEGMENT_BYTES: u64 = 64 << 20;

/// What a journal runs with. Checked by `Journal::open`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a segment file; a multiple of 4096. 64 MiB.
    pub segment_bytes: u64,
    /// Bytes that all segment files may take together. Past it, less `reserve_bytes`, `append`
    /// answers `NoSpace` until `reclaim` has freed a segment. 10 GiB.
    pub bytes_max: u64,
    /// The part of `bytes_max` that appends may not use, so that settling, and with it reclaiming,
    /// goes on when events no longer fit. Reserved appends may use half of it, the other half is for
    /// notes alone; half of less than two segments is no segment, so reserved appends then get no
    /// more than what is left of one. While it is all that is left, notes wait up to a second for
    /// each other, since each frame takes a block. 2 segments.
    pub reserve_bytes: u64,
    /// Bytes that the file system must keep free for a new segment to be opened for appends; below
    /// it they get `NoSpace`. Reserved appends may use half of it, notes all. 1 GiB.
    pub min_free: u64,
    /// A frame is closed once it has this many bytes; what waits goes into the next. 1 MiB.
    pub frame_bytes_target: usize,
    /// A frame is closed once it has this many records. 1,024.
    pub frame_records_target: usize,
    /// The largest group, as `Group::bytes` counts. A larger one is refused with both numbers. 8 MiB.
    pub group_bytes_max: usize,
    /// Bytes of appended groups that may wait for a commit. Past it `append` waits for room. 32 MiB.
    pub queue_bytes_max: usize,
    /// Bytes of noted groups that may wait for a commit. Past it `note` answers `Full`. 16 MiB.
    pub note_bytes_max: usize,
    /// A note that found no frame to ride in gets one of its own after this long. 50 ms.
    pub note_delay: Duration,
    /// Bytes of the latest frames that are kept in memory for readers; the oldest go first. 32 MiB.
    pub tail_bytes: usize,
    /// Reclaimed segment files that are kept for reuse; further ones are removed. 2.
    pub spare_segments_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            bytes_max: 10 << 30,
            reserve_bytes: 2 * SEGMENT_BYTES,
            min_free: 1 << 30,
            frame_bytes_target: MIB,
            frame_records_target: 1024,
            group_bytes_max: 8 * MIB,
            queue_bytes_max: 32 * MIB,
            note_bytes_max: 16 * MIB,
            note_delay: Duration::from_millis(50),
            tail_bytes: 32 * MIB,
            spare_segments_max: 2,
        }
    }
}

/// Options that contradict each other; nothing was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not a multiple of a block, or too small to hold anything.
    #[error("segments of {got} bytes: they must be a multiple of 4096 and at least {least}")]
    Segment { got: u64, least: u64 },
    /// A group must fit in half a segment, so that what opens a segment fits beside it.
    #[error("groups of up to {got} bytes don't fit in half a segment, {limit} bytes")]
    Group { got: usize, limit: u64 },
    /// A queue that the largest group doesn't fit in would keep it waiting for ever.
    #[error("{name} is {got} bytes, less than the largest group, {least}")]
    Queue {
        name: &'static str,
        got: usize,
        least: usize,
    },
    /// Room for one segment of appends beside the reserve.
    #[error("bytes_max is {got}, less than the reserve and one segment, {least}")]
    Space { got: u64, least: u64 },
    /// A frame of nothing.
    #[error("{name} is 0, it must be at least 1")]
    Zero { name: &'static str },
}

const SEGMENT_BYTES_MIN: u64 = 16 * KIB as u64;
// Half of the smallest segment, less its header, must hold a block.
const _: () = assert!(DATA_START + BLOCK_BYTES as u64 <= SEGMENT_BYTES_MIN / 2);
// Body lengths are 32 bits on disk.
const SEGMENT_BYTES_MAX: u64 = 1 << 31;

impl Options {
    /// What a group may take of a segment of this size.
    fn group_limit(&self) -> u64 {
        self.segment_bytes / 2 - DATA_START
    }

    /// What reserved appends leave to notes.
    pub(crate) fn reserve_for_notes(&self) -> u64 {
        self.reserve_bytes / 2
    }

    /// The least that `bytes_max` may be: the reserve and one segment of appends.
    pub(crate) fn bytes_max_least(&self) -> u64 {
        self.reserve_bytes + self.segment_bytes
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let whole_blocks = self.segment_bytes.is_multiple_of(BLOCK_BYTES as u64);
        if !whole_blocks || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(OptionsError::Segment {
                got: self.segment_bytes,
                least: SEGMENT_BYTES_MIN,
            });
        }
        if self.group_limit() < self.group_bytes_max as u64 {
            return Err(OptionsError::Group {
                got: self.group_bytes_max,
                limit: self.group_limit(),
            });
        }
        for (name, got) in [
            ("queue_bytes_max", self.queue_bytes_max),
            ("note_bytes_max", self.note_bytes_max),
        ] {
            if got < self.group_bytes_max {
                let least = self.group_bytes_max;
                return Err(OptionsError::Queue { name, got, least });
            }
        }
        let least = self.bytes_max_least();
        if self.bytes_max < least {
            let got = self.bytes_max;
            return Err(OptionsError::Space { got, least });
        }
        for (name, got) in [
            ("frame_bytes_target", self.frame_bytes_target),
            ("frame_records_target", self.frame_records_target),
            ("group_bytes_max", self.group_bytes_max),
        ] {
            if got == 0 {
                return Err(OptionsError::Zero { name });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(Options::default().check(), Ok(()));
    }

    #[test]
    fn a_group_that_no_segment_holds_is_refused_at_once() {
        let options = Options {
            segment_bytes: 64 << 10,
            ..Options::default()
        };
        assert_eq!(
            options.check(),
            Err(OptionsError::Group {
                got: 8 << 20,
                limit: (32 << 10) - 4096
            })
        );
    }
}
