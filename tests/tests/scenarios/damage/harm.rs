//! What a disk may do to the files of a data folder, by the roll of dice.

use std::collections::BTreeMap;
use std::ops::Range;

use tests::Seed;
use tests::data::Files;
use tests::format::segment::{BLOCK, HEADER, RECORD_HEADER, SECOND_COPY};

use super::folder::{In, Made, Placed};

/// A data folder as the disk gave it back, and what of it is another.
#[derive(Debug)]
pub(crate) struct Harmed {
    pub(crate) files: Files,
    /// What was done, in words.
    pub(crate) what: String,
    /// The bytes that aren't what they were, by file; from a cut on, up to its old end.
    pub(crate) places: BTreeMap<String, Vec<Range<usize>>>,
}

impl Harmed {
    fn new(files: &Files, what: String) -> Harmed {
        Harmed {
            files: files.clone(),
            what,
            places: BTreeMap::new(),
        }
    }

    fn note(&mut self, path: &str, range: Range<usize>) {
        self.places.entry(path.to_owned()).or_default().push(range);
    }

    fn is_hit(&self, path: &str, bytes: Range<usize>) -> bool {
        let hit = self.places.get(path).into_iter().flatten();
        hit.into_iter()
            .any(|range| range.start < bytes.end && bytes.start < range.end)
    }

    /// Whether a record's bytes, its padding left out, are among those that were hit.
    pub(crate) fn hits(&self, placed: &Placed) -> bool {
        self.is_hit(&placed.path, placed.record.position..placed.record.body.end)
    }

    /// Whether both copies of a segment's header were hit.
    pub(crate) fn hits_headers(&self, path: &str) -> bool {
        let copies = [0, SECOND_COPY];
        let mut copies = copies.into_iter();
        copies.all(|at| self.is_hit(path, at..at + HEADER))
    }

    /// Whether no record can be lost: no segment was hit.
    pub(crate) fn spares_segments(&self) -> bool {
        let mut hit = self.places.keys();
        hit.all(|path| !path.ends_with(".seg"))
    }
}

/// Bytes of a side file before its content, by the document; where in them the content's length
/// stands, and where in the file the count of brokers.
const SIDE_HEADER: usize = 40;
const SIDE_LENGTH: usize = 32;
const SIDE_BROKERS: usize = SIDE_HEADER + 6 * 8;

/// Where the content of a side file ends.
fn side_end(bytes: &[u8]) -> Option<usize> {
    word(bytes, SIDE_LENGTH)?.checked_add(SIDE_HEADER)
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(word)).ok()
}

/// Regions of files that differ in what their loss means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Region {
    SegmentHeader,
    SecondHeader,
    RestOfHeaderBlock,
    FirstOfFrame,
    RecordHeader,
    Body,
    Padding,
    Tail,
    SideHeader,
    /// What a replay goes by.
    SideSummary,
    SideHashes,
    SidePadding,
    View,
    Other,
}

impl Region {
    /// Whether what is hit there is always found: nothing there is without a checksum.
    pub(crate) fn is_checked(self) -> bool {
        match self {
            Self::SegmentHeader
            | Self::SecondHeader
            | Self::FirstOfFrame
            | Self::RecordHeader
            | Self::Body
            | Self::SideHeader
            | Self::SideSummary
            | Self::SideHashes => true,
            // Of the view the pages in use are; where the others are only it knows.
            Self::View => false,
            Self::RestOfHeaderBlock
            | Self::Padding
            | Self::Tail
            | Self::SidePadding
            | Self::Other => false,
        }
    }
}

/// A region, of the log or of kept where it lies in a segment.
pub(crate) type Where = (Region, Option<In>);

/// Where each region lies: the file, and the bytes.
pub(crate) fn regions(
    files: &Files,
    records: &[Placed],
) -> BTreeMap<Where, Vec<(String, Range<usize>)>> {
    let mut all: BTreeMap<Where, Vec<(String, Range<usize>)>> = BTreeMap::new();
    let mut put = |region: Where, path: &str, range: Range<usize>| {
        if !range.is_empty() {
            let places = all.entry(region).or_default();
            places.push((path.to_owned(), range));
        }
    };
    for (path, bytes) in files {
        if path.ends_with(".side") {
            let brokers = word(bytes, SIDE_BROKERS).expect("a count of brokers");
            let hashes = SIDE_BROKERS + 8 + 4 * brokers;
            let end = side_end(bytes).expect("a side file");
            put((Region::SideHeader, None), path, 0..SIDE_HEADER);
            put((Region::SideSummary, None), path, SIDE_HEADER..hashes);
            put((Region::SideHashes, None), path, hashes..end);
            put((Region::SidePadding, None), path, end..bytes.len());
        } else if path.ends_with(".redb") {
            put((Region::View, None), path, 0..bytes.len());
        } else if !path.ends_with(".seg") {
            put((Region::Other, None), path, 0..bytes.len());
        } else {
            let journal = match path.starts_with("kept/") {
                true => In::Kept,
                false => In::Log,
            };
            let mut put = |region, range| put((region, Some(journal)), path, range);
            let second = SECOND_COPY + HEADER;
            put(Region::SegmentHeader, 0..HEADER);
            put(Region::RestOfHeaderBlock, HEADER..SECOND_COPY);
            put(Region::SecondHeader, SECOND_COPY..second);
            put(Region::RestOfHeaderBlock, second..BLOCK);
            let mut at = BLOCK;
            for placed in records.iter().filter(|placed| placed.path == *path) {
                let record = &placed.record;
                put(Region::Padding, at..record.position);
                let header = record.position..record.position + RECORD_HEADER;
                let region = match record.flags & 8 {
                    0 => Region::RecordHeader,
                    _ => Region::FirstOfFrame,
                };
                put(region, header);
                put(Region::Body, record.body.clone());
                at = record.body.end;
            }
            let end = at.next_multiple_of(BLOCK);
            put(Region::Padding, at..end);
            put(Region::Tail, end..bytes.len());
        }
    }
    all
}

fn of<'a, T>(seed: &mut Seed, all: &'a [T]) -> &'a T {
    let index = seed.within(0..all.len() as u64);
    &all[usize::try_from(index).expect("an index")]
}

fn within(seed: &mut Seed, range: Range<usize>) -> usize {
    let found = seed.within(range.start as u64..range.end as u64);
    usize::try_from(found).expect("within a usize")
}

/// Flips one bit, of each region as often.
pub(crate) fn flip(
    seed: &mut Seed,
    files: &Files,
    regions: &BTreeMap<Where, Vec<(String, Range<usize>)>>,
) -> (Where, Harmed) {
    let all: Vec<Where> = regions.keys().copied().collect();
    let region = *of(seed, &all);
    let (path, range) = of(seed, &regions[&region]).clone();
    let (byte, bit) = (within(seed, range), seed.within(0..8));
    let what = format!(
        "bit {bit} of byte {byte} of {path} flipped, in {:?}",
        region.0
    );
    let mut harmed = Harmed::new(files, what);
    if let Some(bytes) = harmed.files.get_mut(&path) {
        bytes[byte] ^= 1 << bit;
    }
    harmed.note(&path, byte..byte + 1);
    (region, harmed)
}

/// A segment of the log or of kept, twice as often as another file.
fn some_file(seed: &mut Seed, files: &Files) -> String {
    let is_segment = |path: &&String| path.ends_with(".seg");
    let only_segments = seed.within(0..2) == 0;
    let paths: Vec<&String> = files
        .keys()
        .filter(|path| !only_segments || is_segment(path))
        .collect();
    (*of(seed, &paths)).clone()
}

/// Kinds of damage beside flipped bits.
pub(crate) const OTHERS: [&str; 7] = [
    "cut",
    "zeroed",
    "swapped",
    "swapped between",
    "headers",
    "old",
    "gone",
];

/// Does one of [`OTHERS`].
pub(crate) fn other(seed: &mut Seed, kind: &str, made: &Made, files: &Files) -> Harmed {
    match kind {
        "cut" => cut(seed, files),
        "zeroed" => zeroed(seed, files),
        "swapped" => swapped(seed, files),
        "swapped between" => swapped_between(seed, files),
        "headers" => headers(seed, files),
        "old" => old(seed, made, files),
        _ => gone(seed, files),
    }
}

fn cut(seed: &mut Seed, files: &Files) -> Harmed {
    let path = some_file(seed, files);
    let length = files[&path].len();
    let at = match seed.within(0..4) {
        0 => 0,
        1 => within(seed, 0..length),
        _ => within(seed, 0..length) / 512 * 512,
    };
    let mut harmed = Harmed::new(files, format!("{path} cut at {at} of {length}"));
    if let Some(bytes) = harmed.files.get_mut(&path) {
        bytes.truncate(at);
    }
    harmed.note(&path, at..length);
    harmed
}

fn zeroed(seed: &mut Seed, files: &Files) -> Harmed {
    let path = some_file(seed, files);
    let blocks = files[&path].len() / BLOCK;
    let from = within(seed, 0..blocks);
    let count = within(seed, 1..5).min(blocks - from);
    let range = from * BLOCK..(from + count) * BLOCK;
    let mut harmed = Harmed::new(files, format!("{path} zeroed {range:?}"));
    if let Some(bytes) = harmed.files.get_mut(&path) {
        bytes[range.clone()].fill(0);
    }
    harmed.note(&path, range);
    harmed
}

fn swapped(seed: &mut Seed, files: &Files) -> Harmed {
    let path = some_file(seed, files);
    let blocks = files[&path].len() / BLOCK;
    let (a, b) = (
        within(seed, 0..blocks) * BLOCK,
        within(seed, 0..blocks) * BLOCK,
    );
    let mut harmed = Harmed::new(files, format!("{path}: blocks at {a} and {b} swapped"));
    let (low, high) = (a.min(b), a.max(b));
    if let Some(bytes) = harmed.files.get_mut(&path)
        && low != high
    {
        let (before, behind) = bytes.split_at_mut(high);
        before[low..low + BLOCK].swap_with_slice(&mut behind[..BLOCK]);
    }
    harmed.note(&path, a..a + BLOCK);
    harmed.note(&path, b..b + BLOCK);
    harmed
}

fn swapped_between(seed: &mut Seed, files: &Files) -> Harmed {
    let (first, second) = (some_file(seed, files), some_file(seed, files));
    let a = within(seed, 0..files[&first].len() / BLOCK) * BLOCK;
    let b = within(seed, 0..files[&second].len() / BLOCK) * BLOCK;
    exchanged(files, [&first, &second], [a, b])
}

/// The header blocks of two segments change places.
fn headers(seed: &mut Seed, files: &Files) -> Harmed {
    let all: Vec<&String> = files.keys().filter(|path| path.ends_with(".seg")).collect();
    let (first, second) = (*of(seed, &all), *of(seed, &all));
    exchanged(files, [first, second], [0, 0])
}

fn exchanged(files: &Files, [first, second]: [&String; 2], [a, b]: [usize; 2]) -> Harmed {
    let what = format!("the blocks at {a} of {first} and at {b} of {second} swapped");
    let mut harmed = Harmed::new(files, what);
    if first == second {
        return harmed;
    }
    for (to, at, from, from_at) in [(first, a, second, b), (second, b, first, a)] {
        let block = files[from][from_at..from_at + BLOCK].to_vec();
        if let Some(bytes) = harmed.files.get_mut(to) {
            bytes[at..at + BLOCK].copy_from_slice(&block);
        }
        harmed.note(to, at..at + BLOCK);
    }
    harmed
}

/// One file as it was at an earlier moment.
fn old(seed: &mut Seed, made: &Made, files: &Files) -> Harmed {
    let then = of(seed, &made.old);
    let changed: Vec<&String> = files
        .iter()
        .filter(|(path, bytes)| then.get(*path).is_some_and(|then| then != *bytes))
        .map(|(path, _)| path)
        .collect();
    let path = (*of(seed, &changed)).clone();
    let (was, is) = (&then[&path], &files[&path]);
    let mut harmed = Harmed::new(files, format!("{path} as it was before"));
    harmed.files.insert(path.clone(), was.clone());
    let longer = was.len().max(is.len());
    for at in (0..longer).step_by(BLOCK) {
        let block = |bytes: &[u8]| {
            bytes
                .get(at..(at + BLOCK).min(bytes.len()))
                .map(<[u8]>::to_vec)
        };
        if block(was) != block(is) {
            harmed.note(&path, at..at + BLOCK);
        }
    }
    harmed
}

/// A file, all of the log, or all of kept.
fn gone(seed: &mut Seed, files: &Files) -> Harmed {
    let folder = |folder: &str| -> Vec<String> {
        let paths = files.keys().filter(|path| path.starts_with(folder));
        paths.cloned().collect()
    };
    let paths = match seed.within(0..6) {
        0 => folder("log/"),
        1 => folder("kept/"),
        _ => vec![some_file(seed, files)],
    };
    let mut harmed = Harmed::new(files, format!("{} gone", paths.join(", ")));
    for path in paths {
        if let Some(bytes) = harmed.files.remove(&path) {
            harmed.note(&path, 0..bytes.len());
        }
    }
    harmed
}
