//! Group commit, as a state machine without I/O.
//!
//! There is no timer for appends: whatever waits when a commit has ended goes into the next frame,
//! one write and one sync, and then all its waiters are answered. So the frames grow with the load
//! by themselves. Only notes wait, up to `note_delay`, for an append to ride with. The driver asks
//! [`Committer::next`], does what it says, and reports back; nothing here touches a disk or sleeps,
//! so a test can stand where the driver stands.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::appended::{AppendError, Finished, Outcome, Slot};
use crate::buffers::Buffers;
use crate::clock::WallTime;
use crate::disk::File;
use crate::driver::Fault;
use crate::frame::Encoder;
use crate::layout::{DATA_START, SegmentHeader, blocks};
use crate::lock::lock;
use crate::mutant;
use crate::options::Options;
use crate::queue::{Entry, Shared, Work};
use crate::record::{Group, Offset};
use crate::segment::{Mark, Segment, SegmentFixed, Segments};
use crate::stats::Stats;
use crate::tail::{Frame, Tail};

/// How long notes that no segment takes wait before the disk is asked again.
const STALL_RETRY: Duration = Duration::from_secs(1);

/// How long a note waits for others while no further segment may be opened for appends, unless
/// `note_delay` is longer. What is left must last for all endings, and a lone settlement takes a
/// whole block of it.
const NOTE_DELAY_SHORT: Duration = Duration::from_secs(1);

/// Makes the groups that open each segment.
pub(crate) type Opening = Arc<dyn Fn() -> Vec<Group> + Send + Sync>;

/// What the driver does next.
pub(crate) enum Next {
    /// Nothing, until there is news or the clock says so.
    Rest { until: Option<Duration> },
    /// Open another segment with this header, then call `rolled` or `roll_refused`. Not at the
    /// price of having less than `keep_free` bytes left on the disk.
    Roll {
        header: SegmentHeader,
        keep_free: u64,
    },
    /// Write and sync, then call `committed`.
    Write {
        file: Arc<dyn File>,
        position: u64,
        frame: Bytes,
    },
    /// Stop: closed in order, or not.
    End(Result<(), Fault>),
}

/// What room there is for segments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes of the segments in use.
    pub(crate) used: u64,
    /// At most so many.
    pub(crate) max: u64,
}

/// Where the log goes on.
pub(crate) struct Continue {
    pub(crate) log_id: u64,
    pub(crate) next: u64,
    /// Sequence and generation of the last segment, if there is one.
    pub(crate) last: Option<(u64, u64)>,
    /// The last segment, if it was closed in order and may be written on.
    pub(crate) active: Option<(Arc<Segment>, Arc<dyn File>)>,
    /// The upper half of each generation of a log that has no segment yet.
    pub(crate) generation_base: u64,
}

/// What the committer shares with the handles.
pub(crate) struct Outlets {
    pub(crate) shared: Arc<Shared>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) stats: Arc<Mutex<Stats>>,
    pub(crate) opening: Arc<Mutex<Option<Opening>>>,
    pub(crate) durable: watch::Sender<Offset>,
}

pub(crate) struct Committer {
    outlets: Outlets,
    options: Options,
    log_id: u64,
    next_offset: u64,
    last: Option<(u64, u64)>,
    generation_base: u64,
    active: Option<Active>,
    backlog: Backlog,
    in_air: Option<InAir>,
    /// What frames are laid into.
    buffers: Arc<Buffers>,
    /// The disk had no room for a segment of appends; the driver asks it again.
    disk_short: bool,
    stall: Option<Stall>,
    ending: Option<Result<(), Fault>>,
}

struct Active {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    position: u64,
}

impl Active {
    fn takes(&self, bytes: usize) -> bool {
        self.position + blocks(bytes) as u64 <= self.segment.bytes
    }
}

/// Not even notes find a segment.
#[derive(Clone, Copy)]
struct Stall {
    until: Duration,
    /// Less than this in use means that something was reclaimed, so it is over.
    used: u64,
}

/// Drained from the queue and not yet in a frame.
#[derive(Default)]
struct Backlog {
    entries: VecDeque<Entry>,
    appends: usize,
    /// Appends that may use the reserve; not among `appends`.
    reserved: usize,
    /// Entries that somebody waits for, appends among them.
    awaited: usize,
    note_bytes: usize,
    note_since: Option<Duration>,
}

/// A frame being written.
struct InAir {
    frame: Frame,
    position: u64,
    waiters: Vec<(Arc<Slot>, Range<u64>)>,
    append_bytes: usize,
    note_bytes: usize,
    /// Bytes of its records, without its padding.
    record_bytes: u64,
    closes: bool,
}

impl Committer {
    pub(crate) fn new(outlets: Outlets, options: Options, from: Continue) -> Self {
        let active = from.active.map(|(segment, file)| Active {
            position: segment.end_position(),
            segment,
            file,
        });
        Self {
            outlets,
            options,
            log_id: from.log_id,
            next_offset: from.next,
            last: from.last,
            generation_base: from.generation_base,
            active,
            backlog: Backlog::default(),
            in_air: None,
            buffers: Arc::default(),
            disk_short: false,
            stall: None,
            ending: None,
        }
    }

    /// Whether the disk lacked room for appends when last asked.
    pub(crate) fn is_disk_short(&self) -> bool {
        self.disk_short
    }

    pub(crate) fn disk_has_room(&mut self) {
        self.disk_short = false;
    }

    /// What to do at `now`, with so much room for segments.
    pub(crate) fn next(&mut self, now: Duration, wall: WallTime, room: Room) -> Next {
        let Room { used, max } = room;
        assert!(self.in_air.is_none(), "one frame at a time");
        let armed = self.backlog.note_since.is_some();
        self.backlog.take_in(self.outlets.shared.drain(armed));
        self.stall = self.stall.filter(|stall| stall.used <= used);
        loop {
            if let Some(end) = self.ending.take() {
                return Next::End(end);
            }
            self.answer_flushes();
            let Some(first) = self.backlog.entries.front() else {
                return Next::Rest { until: None };
            };
            if let Some(until) = self.rests_until(now, room) {
                return Next::Rest { until: Some(until) };
            }
            let rolls = !self.active.as_ref().is_some_and(|at| at.takes(first.bytes));
            let after = used + if rolls { self.options.segment_bytes } else { 0 };
            let over = |reserve: u64| max < after + reserve;
            let stalled = rolls && self.stall.is_some_and(|stall| now < stall.until);
            if 0 < self.backlog.appends
                && (over(self.options.reserve_bytes) || self.disk_short || stalled)
            {
                self.refuse(Work::Append, room);
            } else if 0 < self.backlog.reserved
                && (over(self.options.reserve_for_notes()) || stalled)
            {
                self.refuse(Work::Reserved, room);
            } else if rolls && max < after {
                self.begin_stall(now, room);
            } else if rolls {
                return self.roll(wall);
            } else {
                return self.write();
            }
        }
    }

    /// Until when there is no reason to write, if there is none now.
    fn rests_until(&self, now: Duration, room: Room) -> Option<Duration> {
        let stalled = self
            .stall
            .map(|stall| stall.until)
            .filter(|&until| now < until);
        if stalled.is_some() && self.backlog.appends + self.backlog.reserved == 0 {
            return stalled;
        }
        if 0 < self.backlog.awaited || self.outlets.shared.enough_notes(self.backlog.note_bytes) {
            return None;
        }
        let last = room.max < room.used + self.options.segment_bytes + self.options.reserve_bytes;
        let delay = match last {
            true => self.options.note_delay.max(NOTE_DELAY_SHORT),
            false => self.options.note_delay,
        };
        let due = self.backlog.note_since? + delay;
        (now < due).then_some(due)
    }

    /// A flush with nothing before it has what it waits for.
    fn answer_flushes(&mut self) {
        let mut finished = Finished::default();
        let end = Offset(self.next_offset);
        while let Some(slot) = self.backlog.pop_flush() {
            finished.put(slot, Ok(end..end));
        }
        finished.wake();
    }

    /// Answers all work of a kind with `NoSpace`.
    fn refuse(&mut self, work: Work, room: Room) {
        let error = no_space(room);
        let (refused, others): (VecDeque<_>, _) = std::mem::take(&mut self.backlog.entries)
            .into_iter()
            .partition(|entry: &Entry| entry.work == work);
        self.backlog.entries = others;
        self.backlog.awaited -= refused.len();
        match work {
            Work::Reserved => self.backlog.reserved = 0,
            _ => self.backlog.appends = 0,
        }
        let bytes = refused.iter().map(|entry| entry.bytes).sum();
        answer(refused, &Err(error));
        self.outlets.shared.release(bytes, 0);
    }

    /// No segment may be opened, not even for notes: they wait for one to be reclaimed. Whoever
    /// closes the journal can't wait for that.
    fn begin_stall(&mut self, now: Duration, room: Room) {
        self.stall = Some(Stall {
            until: now + STALL_RETRY,
            used: room.used,
        });
        let closes = self
            .backlog
            .entries
            .back()
            .is_some_and(|last| last.work == Work::Close);
        if closes {
            let error = no_space(room);
            answer(std::mem::take(&mut self.backlog.entries), &Err(error));
            self.ending = Some(Ok(()));
        }
    }

    fn roll(&self, wall: WallTime) -> Next {
        let sequence = self.last.map_or(1, |(sequence, _)| sequence + 1);
        let base = self
            .last
            .map_or(self.generation_base, |(_, generation)| generation);
        let before = self.outlets.segments.list().pop();
        let torn = before.as_ref().map(|segment| segment.torn_from);
        let life = match mutant::is("reuse-segment-without-generation") {
            true => 0,
            false => sequence,
        };
        let header = SegmentHeader {
            log_id: self.log_id,
            sequence,
            // Only the low half differs within a log: that makes the seeds of its generations
            // differ for certain, see `layout`.
            generation: (base & !u64::from(u32::MAX)) | (life & u64::from(u32::MAX)),
            first: self.next_offset,
            created_ms: wall.0,
            segment_bytes: self.options.segment_bytes,
            before_end: before.as_ref().map_or(0, |segment| segment.end_position()),
            before_torn: torn.filter(|&torn| torn != u64::MAX).unwrap_or(0),
            before_record_bytes: before
                .and_then(|segment| segment.record_bytes())
                .unwrap_or(0),
            repacked: None,
        };
        Next::Roll {
            header,
            keep_free: match (self.backlog.appends, self.backlog.reserved) {
                (0, 0) => 0,
                (0, _) => self.options.min_free / 2,
                _ => self.options.min_free,
            },
        }
    }

    /// The segment is in place, durably.
    pub(crate) fn rolled(&mut self, header: &SegmentHeader, file: Arc<dyn File>) {
        let fixed = SegmentFixed {
            sequence: header.sequence,
            generation: header.generation,
            first: header.first,
            created: WallTime(header.created_ms),
            bytes: header.segment_bytes,
            torn_from: u64::MAX,
            voids: Vec::new(),
            repacked: false,
        };
        let segment = Arc::new(Segment::new(fixed, header.first, DATA_START, false));
        segment.know_record_bytes(0);
        self.outlets
            .segments
            .push(Arc::clone(&segment), Arc::clone(&file));
        lock(&self.outlets.stats).rolls += 1;
        self.last = Some((header.sequence, header.generation));
        self.stall = None;
        self.active = Some(Active {
            segment,
            file,
            position: DATA_START,
        });
        self.open_segment();
    }

    /// Puts what opens each segment before everything that waits.
    fn open_segment(&mut self) {
        let Some(opening) = lock(&self.outlets.opening).clone() else {
            return;
        };
        let groups = opening();
        let got: usize = groups.iter().map(Group::bytes).sum();
        // Half is left for the largest group, or a roll would follow on a roll.
        let limit = self.options.segment_bytes / 2 - DATA_START;
        if limit < got as u64 {
            self.ending = Some(Err(Fault::Opening { got, limit }));
            return;
        }
        for group in groups.into_iter().rev() {
            self.backlog.entries.push_front(Entry {
                work: Work::Opening,
                // Nobody counted these when they were handed in.
                bytes: 0,
                group: Some(group),
                slot: None,
            });
        }
    }

    /// The disk has no room for another segment.
    pub(crate) fn roll_refused(&mut self, now: Duration, room: Room) {
        if 0 < self.backlog.appends {
            self.disk_short = true;
            self.refuse(Work::Append, room);
        } else if 0 < self.backlog.reserved {
            self.refuse(Work::Reserved, room);
        } else {
            self.begin_stall(now, room);
        }
    }

    /// Builds the next frame from what waits.
    fn write(&mut self) -> Next {
        self.outlets.shared.begin_write();
        let active = self.active.as_ref().expect("a segment was made sure of");
        let (file, position) = (Arc::clone(&active.file), active.position);
        let seed = active.segment.seed();
        let plan = self.plan(active);
        let mut frame = Encoder::new(
            seed,
            self.next_offset,
            plan.records,
            plan.bytes,
            &self.buffers,
        );
        let mut air = InAir {
            frame: Frame {
                first: self.next_offset,
                bytes: Bytes::new(),
                starts: Vec::new(),
            },
            position,
            waiters: Vec::with_capacity(plan.entries),
            append_bytes: 0,
            note_bytes: 0,
            record_bytes: plan.bytes as u64,
            closes: false,
        };
        for _ in 0..plan.entries {
            let entry = self.backlog.pop().expect("the plan counted it");
            let from = frame.offset;
            if let Some(group) = &entry.group {
                frame.add(group, entry.work == Work::Close);
            }
            match entry.work {
                Work::Append | Work::Reserved => air.append_bytes += entry.bytes,
                Work::Note => air.note_bytes += entry.bytes,
                Work::Close => air.closes = true,
                Work::Flush | Work::Opening => {}
            }
            if let Some(slot) = entry.slot {
                air.waiters.push((slot, from..frame.offset));
            }
        }
        (air.frame.bytes, air.frame.starts) = frame.finish();
        let frame = air.frame.bytes.clone();
        self.in_air = Some(air);
        Next::Write {
            file,
            position,
            frame,
        }
    }

    /// How much of the backlog makes the next frame: up to the targets, and what the segment takes.
    fn plan(&self, active: &Active) -> Plan {
        let mut plan = Plan::default();
        for entry in &self.backlog.entries {
            if let Some(group) = &entry.group {
                let (bytes, records) = (group.bytes(), group.records().len());
                let full = self.options.frame_bytes_target <= plan.bytes
                    || self.options.frame_records_target <= plan.records;
                // An opening is one frame, so that its padding can't outgrow the segment.
                let full = full && entry.work != Work::Opening;
                if plan.bytes != 0 && (full || !active.takes(plan.bytes + bytes)) {
                    break;
                }
                plan.bytes += bytes;
                plan.records += records;
            }
            plan.entries += 1;
        }
        plan
    }

    /// The frame is durable: shows it to readers, then answers those who wait.
    pub(crate) fn committed(&mut self, took: Duration) {
        let air = self.in_air.take().expect("a frame was being written");
        let active = self.active.as_mut().expect("it was written to a segment");
        let frame_bytes = air.frame.bytes.len() as u64;
        let (first, end) = (air.frame.first, air.frame.end());
        active.position = air.position + frame_bytes;
        let mark = Mark {
            offset: first,
            position: air.position,
        };
        active
            .segment
            .extend(end, active.position, mark, air.record_bytes);
        self.next_offset = end;
        {
            let mut stats = lock(&self.outlets.stats);
            stats.syncs += 1;
            stats.frames += 1;
            stats.records += end - first;
            stats.bytes += frame_bytes;
            stats.sync_seconds.record(took);
        }
        self.outlets.tail.push(air.frame);
        self.outlets.durable.send_replace(Offset(end));
        let mut finished = Finished::default();
        for (slot, range) in air.waiters {
            finished.put(slot, Ok(Offset(range.start)..Offset(range.end)));
        }
        self.outlets
            .shared
            .wrote(air.append_bytes, air.note_bytes, finished.has_desks());
        finished.wake();
        if air.closes {
            self.ending = Some(Ok(()));
        }
    }

    /// Answers everything that waits, and all that comes later, with `error`.
    pub(crate) fn end(&mut self, error: &AppendError) {
        // First the end, so that nobody who is answered finds the door still open.
        self.outlets.shared.end(error.clone());
        let mut finished = Finished::default();
        for (slot, _) in self.in_air.take().into_iter().flat_map(|air| air.waiters) {
            finished.put(slot, Err(error.clone()));
        }
        finished.wake();
        answer(
            std::mem::take(&mut self.backlog.entries),
            &Err(error.clone()),
        );
    }
}

fn no_space(room: Room) -> AppendError {
    AppendError::NoSpace {
        used: room.used,
        limit: room.max,
    }
}

fn answer(entries: impl IntoIterator<Item = Entry>, outcome: &Outcome) {
    let mut finished = Finished::default();
    for slot in entries.into_iter().filter_map(|entry| entry.slot) {
        finished.put(slot, outcome.clone());
    }
    finished.wake();
}

impl Backlog {
    fn take_in(&mut self, drained: crate::queue::Drained) {
        for entry in &drained.entries {
            self.appends += usize::from(entry.work == Work::Append);
            self.reserved += usize::from(entry.work == Work::Reserved);
            self.awaited += usize::from(entry.work.is_awaited());
            if entry.work == Work::Note {
                self.note_bytes += entry.bytes;
            }
        }
        self.note_since = self.note_since.or(drained.first_note);
        if self.entries.is_empty() {
            self.entries = drained.entries;
        } else {
            self.entries.extend(drained.entries);
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.appends -= usize::from(entry.work == Work::Append);
        self.reserved -= usize::from(entry.work == Work::Reserved);
        self.awaited -= usize::from(entry.work.is_awaited());
        if entry.work == Work::Note {
            self.note_bytes -= entry.bytes;
            if self.note_bytes == 0 {
                self.note_since = None;
            }
        }
        Some(entry)
    }

    fn pop_flush(&mut self) -> Option<Arc<Slot>> {
        if self.entries.front()?.work != Work::Flush {
            return None;
        }
        self.pop()?.slot
    }
}

#[derive(Default)]
struct Plan {
    entries: usize,
    bytes: usize,
    records: usize,
}
