//! Operations on a journal, and the ledger: what it has acknowledged, it must give back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::model_disk::{CrashRule, ModelDisk};
use journal::{
    Clock, Fault, Group, Journal, Offset, Options, Record, Recovered, Stored, WallTime, verify_disk,
};

/// A clock that stands still and moves on with tokio's.
pub(crate) struct PausedClock(tokio::time::Instant);

impl PausedClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for PausedClock {
    fn wall(&self) -> WallTime {
        WallTime(1_700_000_000_000)
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Small segments, so that a few dozen groups go through several.
pub(crate) fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        bytes_max: 64 << 20,
        reserve_bytes: 128 << 10,
        min_free: 0,
        frame_bytes_target: 8 << 10,
        frame_records_target: 16,
        group_bytes_max: 24 << 10,
        queue_bytes_max: 64 << 10,
        note_bytes_max: 32 << 10,
        tail_bytes: 16 << 10,
        ..Options::default()
    }
}

/// Of the paused clock, which moves on only when nothing else can happen.
const STUCK_AFTER: Duration = Duration::from_secs(3600);

/// What became of a run.
pub(crate) struct Ran<T> {
    pub(crate) recovered: Recovered,
    pub(crate) result: T,
    /// How the driver ended, if it did before the scenario.
    pub(crate) end: Option<Result<(), Fault>>,
}

/// Opens the log on `disk` and runs `scenario` beside its driver, with time paused. Whatever waits
/// when the scenario ends is left as it is.
pub(crate) fn run<T>(
    disk: &ModelDisk,
    options: Options,
    scenario: impl AsyncFnOnce(Journal) -> T,
) -> Ran<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (journal, driver, recovered) =
            Journal::open(disk.clone(), PausedClock::new(), options).unwrap();
        let mut driver = std::pin::pin!(driver.run());
        let scenario = tokio::time::timeout(STUCK_AFTER, scenario(journal));
        let mut scenario = std::pin::pin!(scenario);
        let mut end = None;
        let result = loop {
            tokio::select! {
                biased;
                result = &mut scenario => break result,
                ended = &mut driver, if end.is_none() => end = Some(ended),
            }
        };
        Ran {
            recovered,
            result: result.expect("the scenario waits for what will never happen"),
            end,
        }
    })
}

/// A record whose body says which group it belongs to, where in it, and how large that is.
pub(crate) fn record(group: u32, index: u16, of: u16, bytes: usize) -> Record {
    let mut body = Vec::with_capacity(8 + bytes);
    body.extend_from_slice(&group.to_le_bytes());
    body.extend_from_slice(&index.to_le_bytes());
    body.extend_from_slice(&of.to_le_bytes());
    body.extend((0..bytes).map(|at| (group as usize * 31 + at * 7) as u8));
    Record {
        kind: group as u8,
        version: index as u8,
        tag: group.rotate_left(7),
        body: Bytes::from(body),
    }
}

pub(crate) fn group(id: u32, sizes: &[u16]) -> Group {
    let of = sizes.len() as u16;
    let records = (0..).zip(sizes);
    Group::new(
        records
            .map(|(index, &bytes)| record(id, index, of, bytes.into()))
            .collect(),
    )
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// Groups appended at once, by their records' sizes.
    Append(Vec<Vec<u16>>),
    Note(Vec<u16>),
    /// Lets 60 ms pass.
    Wait,
    Flush,
    /// Reclaims before this many hundredths of the log.
    Reclaim(u8),
    /// Lays out anew what is mostly padding.
    Repack,
    /// Closes in order and opens again.
    Reopen,
    /// Loses power and opens again.
    Crash(CrashRule, u64),
}

/// What was handed in, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    groups: BTreeMap<u32, Handed>,
    /// The highest `before` ever reclaimed, by the change after which that may show.
    reclaims: Vec<(u64, u64)>,
    next_id: u32,
    /// How many segments were repacked.
    pub(crate) repacks: u64,
}

#[derive(Debug)]
struct Handed {
    sizes: Vec<u16>,
    /// Owed from this change of the disk on.
    owed_from: Option<u64>,
    /// Known from the acknowledgement, or from having been read.
    offsets: Option<Range<u64>>,
}

impl Ledger {
    fn hand_in(&mut self, sizes: &[u16]) -> (u32, Group) {
        let id = self.next_id;
        self.next_id += 1;
        let handed = Handed {
            sizes: sizes.to_vec(),
            owed_from: None,
            offsets: None,
        };
        self.groups.insert(id, handed);
        (id, group(id, sizes))
    }

    fn owe(&mut self, id: u32, change: u64, offsets: Option<Range<Offset>>) {
        let handed = self.groups.get_mut(&id).unwrap();
        handed.owed_from = handed.owed_from.or(Some(change));
        handed.offsets = offsets
            .map(|range| range.start.0..range.end.0)
            .or(handed.offsets.take());
    }

    /// Everything that was handed in and not yet owed becomes so: it was flushed.
    fn owe_all(&mut self, ids: &[u32], change: u64) {
        for &id in ids {
            self.owe(id, change, None);
        }
    }

    /// What is read after a crash stays: it may have been acted on.
    pub(crate) fn settle(&mut self, contents: &Contents) {
        for (&id, range) in &contents.groups {
            let handed = self.groups.get_mut(&id).unwrap();
            handed.owed_from = Some(0);
            handed.offsets = Some(range.clone());
        }
        let gone: Vec<u32> = self.groups.keys().copied().collect();
        for id in gone
            .into_iter()
            .filter(|id| !contents.groups.contains_key(id))
        {
            self.groups.remove(&id);
        }
        self.reclaims = vec![(0, contents.start)];
    }

    /// Compares what a log holds with what it must and may hold, had the power failed just before
    /// `change`.
    pub(crate) fn check(&self, contents: &Contents, change: u64) -> Result<(), String> {
        let reclaimed = self.reclaims.iter().filter(|(at, _)| *at <= change);
        let may_begin = reclaimed.map(|(_, before)| *before).max().unwrap_or(0);
        if may_begin < contents.start {
            return Err(format!(
                "the log begins at {} but only what is before {may_begin} was reclaimed",
                contents.start
            ));
        }
        for (id, handed) in &self.groups {
            let owed = handed.owed_from.is_some_and(|from| from <= change);
            let found = contents.groups.get(id);
            match (&handed.offsets, found) {
                (Some(range), Some(found)) if range != found => {
                    return Err(format!("group {id} moved from {range:?} to {found:?}"));
                }
                (Some(range), None) if owed && contents.start <= range.start => {
                    return Err(format!(
                        "group {id} at {range:?} was acknowledged and is lost"
                    ));
                }
                (None, None) if owed && contents.start == 0 => {
                    return Err(format!("group {id} was flushed and is lost"));
                }
                _ => {}
            }
        }
        for (id, range) in &contents.groups {
            let Some(handed) = self.groups.get(id) else {
                return Err(format!("group {id} at {range:?} came back from the dead"));
            };
            if contents.sizes[id] != handed.sizes {
                return Err(format!("group {id} at {range:?} isn't what was handed in"));
            }
        }
        Ok(())
    }
}

/// What a log holds, checked for being well formed.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) groups: BTreeMap<u32, Range<u64>>,
    pub(crate) sizes: BTreeMap<u32, Vec<u16>>,
}

/// Reads all of a log through `Journal::read`.
pub(crate) fn contents(journal: &Journal) -> Result<Contents, String> {
    let (start, end) = (journal.start(), *journal.durable().borrow());
    let mut at = start;
    let mut stored: Vec<Stored> = Vec::new();
    while at < end {
        let reading = journal.read(at, 4096).map_err(|error| error.to_string())?;
        if reading.next <= at {
            return Err(format!("reading stands still at {at} before {end}"));
        }
        if let Some(damage) = reading
            .damaged
            .iter()
            .find(|d| d.cause != journal::Cause::Torn)
        {
            return Err(format!("damage: {damage}"));
        }
        stored.extend(reading.records);
        at = reading.next;
    }
    if let Some(pair) = stored
        .windows(2)
        .find(|pair| pair[1].offset <= pair[0].offset)
    {
        return Err(format!("{} then {}", pair[0].offset, pair[1].offset));
    }
    let mut contents = Contents {
        start: start.0,
        end: end.0,
        groups: BTreeMap::new(),
        sizes: BTreeMap::new(),
    };
    contents.take_in(&stored)?;
    Ok(contents)
}

impl Contents {
    fn take_in(&mut self, stored: &[Stored]) -> Result<(), String> {
        let mut rest = stored;
        let mut highest = None;
        while let [first, ..] = rest {
            let id = u32::from_le_bytes(first.body[..4].try_into().unwrap());
            let of = u16::from_le_bytes(first.body[6..8].try_into().unwrap());
            if rest.len() < of.into() {
                return Err(format!("group {id} is cut short at {}", first.offset));
            }
            let (group, behind) = rest.split_at(of.into());
            for (index, record) in (0..).zip(group) {
                let expected = self::record(id, index, of, record.body.len() - 8);
                let found = Record {
                    kind: record.kind,
                    version: record.version,
                    tag: record.tag,
                    body: record.body.clone(),
                };
                if found != expected || record.offset.0 != first.offset.0 + u64::from(index) {
                    return Err(format!("group {id} is not whole at {}", record.offset));
                }
            }
            if highest.is_some_and(|highest| id <= highest) {
                return Err(format!("group {id} comes after {highest:?}"));
            }
            highest = Some(id);
            let range = first.offset.0..first.offset.0 + u64::from(of);
            let sizes = group.iter().map(|r| (r.body.len() - 8) as u16).collect();
            self.groups.insert(id, range);
            self.sizes.insert(id, sizes);
            rest = behind;
        }
        Ok(())
    }
}

/// Opens `disk`, reads it all, and closes nothing.
pub(crate) fn read_all(disk: &ModelDisk, options: Options) -> Result<Contents, String> {
    let ran = run(disk, options, async |journal| contents(&journal));
    let contents = ran.result?;
    if ran.recovered.end.0 != contents.end || !ran.recovered.damage.is_empty() {
        return Err(format!("first {}", ran.recovered));
    }
    let verified = verify_disk(disk.clone()).map_err(|error| error.to_string())?;
    if !verified.is_whole() {
        return Err(format!("{verified}"));
    }
    Ok(contents)
}

/// Plays operations up to the next that opens the log anew, and returns that with those behind it.
async fn play_opened<'a>(
    journal: Journal,
    disk: &ModelDisk,
    ops: &'a [Op],
    ledger: &mut Ledger,
) -> Result<Option<(&'a Op, &'a [Op])>, String> {
    let mut noted: Vec<u32> = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        match op {
            Op::Append(groups) => {
                let waiting: Vec<_> = groups
                    .iter()
                    .map(|sizes| {
                        let (id, group) = ledger.hand_in(sizes);
                        (id, journal.append(group))
                    })
                    .collect();
                for (id, appended) in waiting {
                    let range = appended.await.map_err(|error| format!("append: {error}"))?;
                    ledger.owe(id, disk.changes(), Some(range));
                }
                // Everything noted before was handed in before, and order is kept.
                ledger.owe_all(&std::mem::take(&mut noted), disk.changes());
            }
            Op::Note(sizes) => {
                let (id, group) = ledger.hand_in(sizes);
                let mut handed = journal.note(group);
                while let Err(full) = handed {
                    journal.noted_room().await;
                    handed = journal.note(full.group);
                }
                noted.push(id);
            }
            Op::Wait => {
                tokio::time::sleep(Duration::from_millis(60)).await;
                ledger.owe_all(&std::mem::take(&mut noted), disk.changes());
            }
            Op::Flush => {
                let flushed = journal.flush().await;
                flushed.map_err(|error| format!("flush: {error}"))?;
                ledger.owe_all(&std::mem::take(&mut noted), disk.changes());
            }
            Op::Reclaim(hundredths) => {
                let (start, end) = (journal.start().0, journal.durable().borrow().0);
                let before = start + (end - start) * u64::from(*hundredths) / 100;
                ledger.reclaims.push((disk.changes(), before));
                let reclaimed = journal.reclaim(Offset(before));
                if before < reclaimed.start.0 {
                    return Err(format!("reclaimed {reclaimed:?}, beyond {before}"));
                }
            }
            Op::Repack => {
                while journal
                    .repack()
                    .map_err(|error| format!("repack: {error}"))?
                    .is_some()
                {
                    ledger.repacks += 1;
                }
            }
            Op::Reopen => {
                let (id, group) = ledger.hand_in(&[0]);
                let range = journal
                    .close(group)
                    .await
                    .map_err(|error| format!("close: {error}"))?;
                ledger.owe(id, disk.changes(), Some(range));
                ledger.owe_all(&noted, disk.changes());
                return Ok(Some((op, &ops[index + 1..])));
            }
            Op::Crash(..) => return Ok(Some((op, &ops[index + 1..]))),
        }
        let found = contents(&journal)?;
        let change = disk.changes();
        let ledger: &Ledger = ledger;
        ledger
            .check(&found, change)
            .map_err(|what| format!("after {op:?}: {what}"))?;
    }
    Ok(None)
}

/// Plays all operations on `disk`, checking the ledger after each. Returns the disk as it is then:
/// another one, if there was a crash.
pub(crate) fn play(
    mut disk: ModelDisk,
    options: &Options,
    mut ops: &[Op],
    ledger: &mut Ledger,
) -> Result<ModelDisk, String> {
    loop {
        let ran = run(&disk, options.clone(), async |journal| {
            play_opened(journal, &disk, ops, ledger).await
        });
        if !ran.recovered.damage.is_empty() {
            return Err(format!("{}", ran.recovered));
        }
        match ran.result? {
            None => return Ok(disk),
            Some((Op::Crash(rule, seed), rest)) => {
                let change = disk.changes();
                disk = disk.crash(*rule, *seed);
                let found = read_all(&disk, options.clone())?;
                ledger.check(&found, change)?;
                ledger.settle(&found);
                ops = rest;
            }
            Some((_, rest)) => ops = rest,
        }
    }
}
