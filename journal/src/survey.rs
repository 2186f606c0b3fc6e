//! What a folder holds: all headers read, and the last segment walked through.
//!
//! Only the last segment is, since the others end where the next one's header says. In the last
//! frame of a log that wasn't closed only whole groups count; which those are is found out here, in
//! the same way at every open. A segment whose own header can't be read is found again by `rebuild`.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::clock::WallTime;
use crate::disk::{Disk, File};
use crate::headers::{Headers, read_headers};
use crate::layout::{BLOCK_BYTES, DATA_START, Seed, SegmentHeader};
use crate::mutant;
use crate::record::Offset;
use crate::recovery::{OpenError, Recovered, Torn};
use crate::scan::{Cause, Damage, Extent, Found, Order, Scan};
use crate::segment::{Segment, SegmentFixed, segment_name, segment_sequence, spare_number};
use crate::walk::{Groups, Walked};

/// Whether the log is this process's to go on with, or is only looked at, perhaps while a running
/// node writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Owner,
    Visitor,
}

/// What a folder holds.
pub(crate) struct Survey {
    pub(crate) table: VecDeque<Arc<Segment>>,
    pub(crate) recovered: Recovered,
    pub(crate) log_id: Option<u64>,
    pub(crate) last_file: Option<Arc<dyn File>>,
    /// Number, name and bytes of each spare.
    pub(crate) spares: Vec<(u64, String, u64)>,
    /// A visitor may look at what its owner would not be let open.
    pub(crate) refused: bool,
}

/// A segment file whose header was read.
pub(crate) struct Headed {
    pub(crate) header: SegmentHeader,
    /// How long its file is.
    pub(crate) length: u64,
    /// Its header can't be read; what stands here was found out otherwise.
    pub(crate) rebuilt: bool,
    /// Of one whose first offset follows from its own records alone: where the first of them lies.
    pub(crate) found_from: u64,
}

impl Headed {
    /// Bytes of the blocks that the file has, the last of which may be cut.
    pub(crate) fn bytes(&self) -> u64 {
        self.length.next_multiple_of(BLOCK_BYTES as u64)
    }

    /// `position`, or the end of the block where the file ends: behind it nothing can be read.
    fn within(&self, position: u64) -> u64 {
        position.min(self.bytes() + BLOCK_BYTES as u64)
    }

    /// All of it, with nothing known about where it ends but what a repacked one says of itself.
    pub(crate) fn extent(&self) -> Extent {
        Extent {
            segment: self.header.sequence,
            seed: Seed::of(self.header.generation),
            position: DATA_START,
            offset: self.header.first,
            end_position: match self.header.repacked {
                Some(end) => self.within(end.end_position),
                None => self.bytes(),
            },
            end_offset: None,
            torn_from: u64::MAX,
            voids: Vec::new(),
            first: self.header.first,
            order: Arc::default(),
        }
    }

    fn fixed(&self, torn_from: u64, voids: Vec<Range<u64>>) -> SegmentFixed {
        SegmentFixed {
            sequence: self.header.sequence,
            generation: self.header.generation,
            first: self.header.first,
            created: WallTime(self.header.created_ms),
            bytes: self.bytes(),
            torn_from,
            voids,
            repacked: self.header.repacked.is_some(),
        }
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.header.sequence)
    }
}

/// Reads all headers, and walks through the last segment.
pub(crate) fn survey(disk: &Arc<dyn Disk>, access: Access) -> Result<Survey, OpenError> {
    let entries = disk.list().map_err(|source| OpenError::Io {
        doing: "listing the folder".into(),
        source,
    })?;
    let mut names: Vec<(u64, u64)> = Vec::new();
    let mut spares = Vec::new();
    for entry in entries {
        if let Some(sequence) = segment_sequence(&entry.name) {
            names.push((sequence, entry.bytes));
        } else if let Some(number) = spare_number(&entry.name) {
            spares.push((number, entry.name, entry.bytes));
        }
    }
    names.sort_unstable();
    let Headers { headed, strays } = read_headers(disk, &names, access)?;
    let refused = !strays.is_empty();
    let mut survey = Survey {
        table: VecDeque::new(),
        recovered: Recovered {
            start: Offset(headed.first().map_or(0, |first| first.header.first)),
            end: Offset(0),
            clean: names.is_empty(),
            torn: None,
            damage: strays,
            segments: headed.len(),
            bytes_scanned: (names.len() * BLOCK_BYTES) as u64,
        },
        log_id: headed.first().map(|first| first.header.log_id),
        last_file: None,
        spares,
        refused,
    };
    if let (Some(&(sequence, _)), Some(first)) = (names.first(), headed.first())
        && sequence != first.header.sequence
    {
        // What it held is before anything else that can be read, so no offset names it.
        let at = first.header.first;
        survey.lose_segments(sequence, at..at);
    }
    for pair in headed.windows(2) {
        survey
            .add_sealed(disk, &pair[0], &pair[1].header)
            .map_err(reading(&pair[0]))?;
    }
    if let Some(last) = headed.last() {
        survey.add_last(disk, last, access).map_err(reading(last))?;
    }
    Ok(survey)
}

fn reading(headed: &Headed) -> impl FnOnce(io::Error) -> OpenError {
    let doing = format!("reading {}", headed.name());
    move |source| OpenError::Io { doing, source }
}

impl Survey {
    /// Notes that segment `sequence`, and perhaps some behind it, can't be read at all.
    fn lose_segments(&mut self, sequence: u64, offsets: Range<u64>) {
        self.recovered.damage.push(Damage {
            segment: sequence,
            position: 0,
            bytes: 0,
            offsets: Offset(offsets.start)..Offset(offsets.end),
            cause: Cause::Segment,
        });
    }

    /// Notes that a file ends before what it held does, if it does: a segment never shrinks.
    fn say_short(&mut self, headed: &Headed, end: u64, next: u64) {
        if headed.length < end {
            self.recovered.damage.push(Damage {
                segment: headed.header.sequence,
                position: headed.length,
                bytes: end - headed.length,
                offsets: Offset(next)..Offset(next),
                cause: Cause::Short,
            });
        }
    }

    fn say_rebuilt(&mut self, headed: &Headed) {
        if !headed.rebuilt {
            return;
        }
        let at = Offset(headed.header.first);
        let mut say = |position: u64, end: u64, cause| {
            self.recovered.damage.push(Damage {
                segment: headed.header.sequence,
                position,
                bytes: end - position,
                offsets: at..at,
                cause,
            });
        };
        say(0, DATA_START, Cause::SegmentHeader);
        if DATA_START < headed.found_from {
            // What lay there came before anything that can be read, so no offset names it.
            say(DATA_START, headed.found_from, Cause::Header);
        }
    }

    /// Adds a segment that has another behind it, which says where it ends.
    fn add_sealed(
        &mut self,
        disk: &Arc<dyn Disk>,
        headed: &Headed,
        next: &SegmentHeader,
    ) -> io::Result<()> {
        self.say_rebuilt(headed);
        let mut extent = headed.extent();
        let mut record_bytes = None;
        if next.sequence != headed.header.sequence + 1 {
            // The one that knew where this one ends is missing, so it is walked through.
            let file = disk.open(&headed.name())?;
            let mut walked = Walked::through(file.as_ref(), extent.clone())?;
            self.recovered.bytes_scanned += walked.bytes_read;
            let end = walked.end.min(next.first);
            self.lose_segments(headed.header.sequence + 1, end..next.first);
            if let Some(torn) = walked.torn() {
                (extent.torn_from, extent.voids) = (torn.from, torn.voids);
            }
        } else if let Some(end) = headed.header.repacked {
            // The next one's header speaks of the layout it had before. All in it is whole.
            self.say_short(headed, end.end_position, next.first);
            record_bytes = Some(end.record_bytes);
        } else {
            self.say_short(headed, next.before_end, next.first);
            extent.end_position = headed.within(next.before_end);
            record_bytes = Some(next.before_record_bytes).filter(|&bytes| bytes != 0);
            if next.before_torn != 0 {
                extent.torn_from = next.before_torn;
                extent.position = next.before_torn.min(extent.end_position);
                extent.end_offset = Some(next.first);
                extent.voids = self.torn_groups(disk, headed, extent.clone())?;
            }
        }
        let fixed = headed.fixed(extent.torn_from, extent.voids);
        let segment = Segment::new(fixed, next.first, extent.end_position, true);
        if let Some(bytes) = record_bytes {
            segment.know_record_bytes(bytes);
        }
        self.table.push_back(Arc::new(segment));
        Ok(())
    }

    /// The records of groups that aren't whole, in the last frame of a segment that was left
    /// without being closed.
    fn torn_groups(
        &mut self,
        disk: &Arc<dyn Disk>,
        headed: &Headed,
        mut zone: Extent,
    ) -> io::Result<Vec<Range<u64>>> {
        // It begins somewhere in the middle, which is no reason to look through all that comes before.
        zone.order = Arc::new(OnceLock::from(Order::Grows));
        let file = disk.open(&headed.name())?;
        let mut scan = Scan::new(file.as_ref(), zone);
        let mut groups = Groups::default();
        while let Some(found) = scan.next()? {
            if let Found::Record(placed) = found {
                groups.take(placed.stored.offset.0, placed.flags, placed.position);
            }
        }
        self.recovered.bytes_scanned += scan.bytes_read();
        Ok(groups.voids())
    }

    /// Walks through the last segment to find where the log ends, and how.
    fn add_last(
        &mut self,
        disk: &Arc<dyn Disk>,
        headed: &Headed,
        access: Access,
    ) -> io::Result<()> {
        let file = disk.open(&headed.name())?;
        if access == Access::Owner {
            // What is read must be what the disk holds. A killed process leaves bytes that are only
            // in memory: they are written out. A failed sync leaves bytes that memory shows and the
            // disk hasn't got: they are forgotten.
            if !mutant::is("open-without-sync") {
                file.sync()?;
            }
            if !mutant::is("believe-memory") {
                file.forget_cached()?;
            }
        }
        self.say_rebuilt(headed);
        let mut walked = Walked::through(file.as_ref(), headed.extent())?;
        if headed.header.repacked.is_some() {
            walked.seal();
        }
        // What its header says can't be written anew, so nothing is written behind it either.
        walked.closed &= !headed.rebuilt;
        let torn = walked.torn();
        self.recovered.bytes_scanned += walked.bytes_read;
        self.recovered.end = Offset(walked.end);
        self.recovered.clean = walked.closed;
        self.recovered.damage.extend(walked.damage);
        // A backup of a running log has of its last segment what was durable, and no more.
        if !walked.closed && headed.length != walked.end_position {
            let own = headed.header.repacked.map(|end| end.end_position);
            self.say_short(
                headed,
                own.unwrap_or(headed.header.segment_bytes),
                walked.end,
            );
        }
        let (mut torn_from, mut voids) = (u64::MAX, Vec::new());
        if let Some(torn) = torn {
            if torn.records != 0 {
                self.recovered.torn = Some(Torn {
                    segment: headed.header.sequence,
                    position: torn.from,
                    records: torn.records,
                });
            }
            (torn_from, voids) = (torn.from, torn.voids);
        }
        let fixed = headed.fixed(torn_from, voids);
        let segment = Segment::new(fixed, walked.end, walked.end_position, !walked.closed);
        segment.know_record_bytes(walked.record_bytes);
        walked
            .marks
            .into_iter()
            .for_each(|mark| segment.learn_mark(mark));
        self.table.push_back(Arc::new(segment));
        self.last_file = Some(file);
        Ok(())
    }
}
