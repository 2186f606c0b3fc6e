//! Walking through a segment of which no header says where it ends: the last one, or one whose
//! neighbour's header can't be read. Where it ends, whether it was closed in order, and what of its last
//! frame doesn't count.

use std::io;
use std::ops::Range;

use crate::disk::File;
use crate::layout::{BLOCK_BYTES, FLAG_CLOSE, FLAG_FIRST, FLAG_FRAME, FLAG_LAST};
use crate::mutant;
use crate::scan::{Damage, Extent, Found, Scan};
use crate::segment::Mark;

/// What a walk through the last segment found.
pub(crate) struct Walked {
    /// The first readable record, if there is one.
    pub(crate) first: Option<Mark>,
    pub(crate) end: u64,
    pub(crate) end_position: u64,
    /// The last thing found is the mark of a close.
    pub(crate) closed: bool,
    /// Before the last frame: not a crash's doing.
    pub(crate) damage: Vec<Damage>,
    /// In the last frame whose beginning is readable, or behind it. Only one frame is ever written
    /// without being synced, and it is this one or the one behind it.
    pub(crate) last_frame_damage: Vec<Damage>,
    last_frame_groups: Groups,
    pub(crate) marks: Vec<Mark>,
    /// Of readable records.
    pub(crate) record_bytes: u64,
    pub(crate) bytes_read: u64,
}

impl Walked {
    pub(crate) fn through(file: &dyn File, extent: Extent) -> io::Result<Self> {
        let mut scan = Scan::new(file, extent);
        let mut walked = Self {
            first: None,
            end: 0,
            end_position: 0,
            closed: false,
            damage: Vec::new(),
            last_frame_damage: Vec::new(),
            last_frame_groups: Groups::default(),
            marks: Vec::new(),
            record_bytes: 0,
            bytes_read: 0,
        };
        while let Some(found) = scan.next()? {
            match found {
                Found::Hole(_) if mutant::is("truncate-at-first-bad-frame") => break,
                Found::Hole(hole) => {
                    walked.closed = false;
                    walked.last_frame_damage.push(hole);
                }
                Found::Record(placed) => {
                    let offset = placed.stored.offset.0;
                    let position = placed.position;
                    walked.first.get_or_insert(Mark { offset, position });
                    walked.record_bytes += placed.record_bytes();
                    if placed.flags & FLAG_FRAME != 0 {
                        walked.damage.append(&mut walked.last_frame_damage);
                        walked.last_frame_groups = Groups::default();
                        if placed.in_order {
                            walked.marks.push(Mark { offset, position });
                        }
                    }
                    let groups = &mut walked.last_frame_groups;
                    groups.take(offset, placed.flags, placed.position);
                    walked.closed = placed.flags & FLAG_CLOSE != 0;
                }
            }
        }
        // A mark whose frame isn't whole was never acknowledged, so nothing was closed.
        walked.closed &=
            walked.last_frame_damage.is_empty() && walked.last_frame_groups.all_whole();
        // Nor one behind which the padding isn't zero: the walk would have come to a boundary.
        walked.closed &= scan.position().is_multiple_of(BLOCK_BYTES as u64);
        walked.closed &= !scan.looks_up();
        walked.end = scan.offset();
        walked.end_position = scan.position().next_multiple_of(BLOCK_BYTES as u64);
        walked.bytes_read = scan.bytes_read();
        Ok(walked)
    }

    /// It was repacked, and is the last only where those behind it are missing. All in it was whole, and
    /// it says for ever where it ends: nothing is torn, and nothing may follow in it.
    pub(crate) fn seal(&mut self) {
        self.closed = false;
        self.damage.append(&mut self.last_frame_damage);
        self.last_frame_groups = Groups::default();
    }

    /// What the crash, if there was one, left of the last frame: none if all of it is there, or the
    /// segment was closed in order.
    pub(crate) fn torn(&mut self) -> Option<TornZone> {
        if self.closed {
            return None;
        }
        let voids = std::mem::take(&mut self.last_frame_groups).finish();
        let damage = &self.last_frame_damage;
        let positions = voids.iter().map(|void| void.position);
        let from = positions.chain(damage.iter().map(|damage| damage.position));
        let from = from.min()?;
        let void = |run: &Run| run.offsets.end - run.offsets.start;
        let records =
            voids.iter().map(void).sum::<u64>() + damage.iter().map(Damage::records).sum::<u64>();
        Some(TornZone {
            from,
            voids: voids.into_iter().map(|void| void.offsets).collect(),
            records,
        })
    }
}

/// What a crash left of a frame. All before it in the frame is whole, and counts like any other record.
pub(crate) struct TornZone {
    /// Where the first record lies that doesn't count, or isn't there.
    pub(crate) from: u64,
    /// Readable records that don't count.
    pub(crate) voids: Vec<Range<u64>>,
    /// How many records don't count, or can't be read.
    pub(crate) records: u64,
}

/// Records in a row of one group, and where the first of them lies.
#[derive(Debug)]
struct Run {
    offsets: Range<u64>,
    position: u64,
}

/// Finds the groups that aren't whole among the records of a frame.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    open: Option<Run>,
    voids: Vec<Run>,
}

impl Groups {
    pub(crate) fn take(&mut self, offset: u64, flags: u8, position: u64) {
        let continues = self
            .open
            .as_ref()
            .is_some_and(|open| open.offsets.end == offset);
        if flags & FLAG_FIRST != 0 || !continues {
            self.voids.extend(self.open.take());
        }
        let alone = Run {
            offsets: offset..offset + 1,
            position,
        };
        if flags & FLAG_FIRST != 0 {
            self.open = Some(alone);
        } else if let Some(open) = &mut self.open {
            open.offsets.end = offset + 1;
        } else {
            // Its group's first record is missing.
            self.voids.push(alone);
        }
        if flags & FLAG_LAST != 0 {
            self.open = None;
        }
    }

    fn all_whole(&self) -> bool {
        self.open.is_none() && self.voids.is_empty()
    }

    fn finish(mut self) -> Vec<Run> {
        if mutant::is("drop-group-tail") {
            return Vec::new();
        }
        self.voids.extend(self.open);
        self.voids
    }

    /// The records of groups that aren't whole.
    pub(crate) fn voids(self) -> Vec<Range<u64>> {
        let voids = self.finish().into_iter();
        voids.map(|void| void.offsets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Void ranges as pairs of first and end.
    #[track_caller]
    fn check(records: &[(u64, u8)], voids: &[(u64, u64)]) {
        let mut groups = Groups::default();
        for &(offset, flags) in records {
            groups.take(offset, flags, 0);
        }
        let found = groups.voids().into_iter();
        let found: Vec<_> = found.map(|void| (void.start, void.end)).collect();
        assert_eq!(found, voids);
    }

    const ONE: u8 = FLAG_FIRST | FLAG_LAST;

    #[test]
    fn whole_groups_count() {
        check(&[(0, ONE), (1, FLAG_FIRST), (2, 0), (3, FLAG_LAST)], &[]);
    }

    #[test]
    fn a_group_without_its_end_beginning_or_middle_is_void() {
        check(&[(0, FLAG_FIRST), (1, 0)], &[(0, 2)]);
        check(&[(1, 0), (2, FLAG_LAST), (3, ONE)], &[(1, 2), (2, 3)]);
        check(&[(0, FLAG_FIRST), (2, FLAG_LAST)], &[(0, 1), (2, 3)]);
        check(&[(0, FLAG_FIRST), (2, ONE)], &[(0, 1)]);
    }
}
