//! Whether what was damaged is all that is lost, whether it is said, and whether what was only looked at
//! stays as it was.

use std::collections::BTreeSet;
use std::ops::Range;

use journal::{Cause, Disk, Verified, cat_disk, verify_disk};
use tests::beside::{Beside, KEPT_PREFIX};
use tests::data::{Files, disk_of, files_of};

use super::folder::{In, Placed, offsets_of_events, records_of};
use super::harm::Harmed;
use super::node::{Came, goes_on};

/// A data folder that isn't damaged, and what comes of it.
pub(crate) struct Whole {
    pub(crate) files: Files,
    pub(crate) records: Vec<Placed>,
    came: Came,
    /// Stopped in order: then there is no last frame that a crash may have torn.
    clean: bool,
    /// Segments that held records, and go because nothing in them is needed any more.
    went: BTreeSet<String>,
    /// The segments of the log whose side files can be read.
    sides: BTreeSet<u64>,
}

/// What came of a damaged one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Somebody said that something is wrong.
    pub(crate) detected: bool,
    /// Nothing is missing, and nobody need say anything.
    pub(crate) harmless: bool,
    /// It was refused to go on, with everything as it was.
    pub(crate) refused: bool,
    /// It took the last frame before a crash, which may be what the crash did.
    pub(crate) last_frame: bool,
    /// Records that were hit, are lost, and are named.
    pub(crate) named: u64,
    /// Records that were hit, are lost, and are named by nobody: they lay in the first files of a
    /// journal, which are gone, as if they had been reclaimed. Who needs something of them says so.
    pub(crate) before_start: u64,
}

impl Whole {
    pub(crate) async fn new(files: &Files, clean: bool) -> Whole {
        let opened = goes_on(disk_of(files), true).await.expect("it opens");
        assert_eq!(opened.clean, clean);
        assert!(!opened.said && !opened.view_anew, "{opened:?}");
        assert!(opened.came.taken.len() > 40, "{:?}", opened.came);
        assert!(opened.came.letters.len() > 10, "{:?}", opened.came);
        assert!(opened.came.replayed.len() > 5, "{:?}", opened.came);
        assert!(opened.sides.len() > 2, "{:?}", opened.sides);
        let mut whole = Whole {
            files: files.clone(),
            records: records_of(files),
            came: opened.came,
            clean,
            went: BTreeSet::new(),
            sides: opened.sides,
        };
        let changed = whole.changed(files, &opened.files);
        whole.went = changed.into_iter().map(|(path, _)| path).collect();
        assert!(whole.went.iter().all(|path| path.starts_with("kept/")));
        whole
    }

    /// Whether a node may refuse to start on it. For a journal that held something nothing is left, or
    /// no segment with a header; or its last one has lost both headers and every record, so that nobody
    /// knows where it began.
    fn may_be_refused(&self, harmed: &Harmed) -> bool {
        ["log/", "kept/"].into_iter().any(|folder| {
            let present = |path: &&String| path.starts_with(folder) && path.ends_with(".seg");
            let held = self.files.keys().any(|path| present(&path));
            let mut left = harmed.files.keys().filter(present);
            let none_has_a_header = left.clone().all(|path| harmed.hits_headers(path));
            let is_lost = left.next_back().is_some_and(|last| {
                let mut records = self.records.iter().filter(|one| one.path == *last);
                harmed.hits_headers(last) && records.all(|one| harmed.hits(one))
            });
            held && (none_has_a_header || is_lost)
        })
    }

    fn of_journal(&self, journal: In) -> impl DoubleEndedIterator<Item = &Placed> {
        let records = self.records.iter();
        records.filter(move |one| one.journal == journal)
    }

    /// Where the last frame of a journal begins of which the beginning can be read: what a crash tore
    /// lies there or behind it.
    fn last_frame(&self, journal: In, harmed: &Harmed) -> u64 {
        let mut frames = self.of_journal(journal);
        let last = frames.rfind(|one| one.record.flags & 8 != 0 && !harmed.hits(one));
        last.map_or(0, |last| last.record.offset)
    }

    /// Whether a record of its group was hit, itself or another.
    fn group_is_hit(&self, placed: &Placed, harmed: &Harmed) -> bool {
        let mut is_hit = false;
        for one in self.of_journal(placed.journal) {
            if one.record.flags & 1 != 0 {
                is_hit = false;
            }
            is_hit |= harmed.hits(one);
            if one.record.flags & 2 != 0 && placed.record.offset <= one.record.offset {
                break;
            }
        }
        is_hit
    }

    /// Opens what the disk gave back, and says what is wrong with what comes of it.
    pub(crate) async fn judge(&self, harmed: &Harmed) -> Result<Verdict, String> {
        let disk = disk_of(&harmed.files);
        let hit: Vec<&Placed> = self.records.iter().filter(|one| harmed.hits(one)).collect();
        let last_frames = [In::Log, In::Kept].map(|journal| self.last_frame(journal, harmed));
        let is_in_last_frame = |placed: &Placed| {
            let last = last_frames[usize::from(placed.journal == In::Kept)];
            last <= placed.record.offset
        };
        let last_frame = !self.clean && hit.iter().any(|one| is_in_last_frame(one));
        let log = looked_at(disk.clone(), self, In::Log)?;
        let kept = looked_at(Beside::new(&disk, KEPT_PREFIX), self, In::Kept)?;
        if files_of(&disk) != harmed.files {
            return Err("looking at it changed it".into());
        }
        let opened = match goes_on(disk.clone(), harmed.spares_segments()).await {
            Ok(opened) => opened,
            Err(_) if segments(&files_of(&disk)) != segments(&harmed.files) => {
                return Err("it was refused, and changed all the same".into());
            }
            Err(why) if !self.may_be_refused(harmed) => {
                return Err(format!("it was refused: {why}"));
            }
            Err(why) => {
                eprintln!("{}: refused: {why}", harmed.what);
                return Ok(Verdict {
                    detected: true,
                    refused: true,
                    ..Verdict::default()
                });
            }
        };
        if log.refused || kept.refused {
            return Err("it is opened, and can't be looked at".into());
        }
        self.check_files(harmed, &opened.files)?;
        let named = |placed: &Placed| match placed.journal {
            In::Log => log.names(placed) || opened.lost.contains(&placed.record.offset),
            In::Kept => kept.names(placed) || opened.kept_lost.contains(&placed.record.offset),
        };
        let mut verdict = Verdict {
            detected: log.said || kept.said || opened.said || opened.view_anew,
            last_frame,
            ..Verdict::default()
        };
        verdict.detected |= !opened.lost.is_empty() || !opened.kept_lost.is_empty();
        verdict.detected |= opened.clean != self.clean;
        verdict.detected |= !self.sides.is_subset(&opened.sides);
        // What the log's offsets are that somebody named, of themselves or of what is kept of them.
        let mut said = opened.lost.clone();
        let mut as_reclaimed = BTreeSet::new();
        for placed in &self.records {
            let journal = match placed.journal {
                In::Log => &log,
                In::Kept => &kept,
            };
            let is_hit = hit.iter().any(|one| std::ptr::eq(*one, placed));
            // There, groups that aren't whole don't count. So too where the mark of a stop in order
            // is gone, and with it all behind some frame; but then that is said.
            let may_be_torn = last_frame || (self.clean && !opened.clean);
            let is_torn =
                may_be_torn && is_in_last_frame(placed) && self.group_is_hit(placed, harmed);
            let is_excused = last_frame && (is_hit || is_torn);
            if named(placed) || is_excused {
                said.extend(placed.about);
            }
            if journal.readable.contains(&placed.record.offset) {
                continue;
            }
            let what = format!("record {} of {}", placed.record.offset, placed.path);
            if !is_hit && !is_torn {
                return Err(format!("{what} is lost and wasn't damaged"));
            }
            match named(placed) {
                true => verdict.named += 1,
                false if last_frame => {}
                false
                    if placed.record.offset < journal.start
                        && !harmed.files.contains_key(&placed.path) =>
                {
                    verdict.before_start += 1;
                    as_reclaimed.extend(placed.about);
                }
                // The mark of a stop in order: that it isn't there is said by how it is opened.
                false if self.clean && placed.record.flags & 4 != 0 && !opened.clean => {}
                false => return Err(format!("{what} is lost and isn't named")),
            }
        }
        self.check_deliveries(&opened.came, &said)?;
        said.append(&mut as_reclaimed);
        self.check_replay(&opened.came, &said)?;
        // The mark of nothing is the mark of a crash there.
        verdict.harmless = !verdict.detected && !last_frame;
        if verdict.harmless && opened.came != self.came {
            return Err("nobody said anything, and something else came of it".into());
        }
        Ok(verdict)
    }

    /// Nothing that held records is removed, cut, or written over, but for what goes of the whole
    /// folder too.
    fn check_files(&self, harmed: &Harmed, now: &Files) -> Result<(), String> {
        // What is lost in kept is needed by nobody any more once that was said.
        let is_done_with = |path: &String, how: &str| {
            let may_go = path.starts_with("kept/") && how == "removed";
            may_go && harmed.places.contains_key(path)
        };
        let mut changed = self.changed(&harmed.files, now).into_iter();
        match changed.find(|(path, how)| !self.went.contains(path) && !is_done_with(path, how)) {
            Some((path, how)) => Err(format!("{path} was {how}")),
            None => Ok(()),
        }
    }

    /// The segments of which not all is there any more that held records.
    fn changed(&self, before: &Files, now: &Files) -> Vec<(String, &'static str)> {
        let segments = before.iter().filter(|(path, _)| path.ends_with(".seg"));
        let changed = segments.filter_map(|(path, before)| {
            let Some(bytes) = now.get(path) else {
                return Some((path.clone(), "removed"));
            };
            let mut records = self.records.iter().filter(|one| one.path == *path);
            let end = records.next_back().map_or(0, |last| last.record.end());
            let end = end.min(before.len()).min(bytes.len());
            let is_less = bytes.len() < before.len() || bytes[..end] != before[..end];
            is_less.then(|| (path.clone(), "written over"))
        });
        changed.collect()
    }

    /// A replay brings what it brought, but for what is `said` to be lost or went with the first files.
    fn check_replay(&self, came: &Came, said: &BTreeSet<u64>) -> Result<(), String> {
        let offsets = offsets_of_events(&self.files, &self.records);
        let mut missing = self.came.replayed.difference(&came.replayed);
        let is_said = |id: &String| offsets.get(id).is_some_and(|at| !at.is_disjoint(said));
        match missing.find(|id| !is_said(id)) {
            Some(id) => Err(format!("the replay left {id} out, and nobody says why")),
            None => Ok(()),
        }
    }

    /// What came of the whole folder comes of the damaged one, but for what is `said` to be lost;
    /// more may come, since what says that a delivery ended may be lost.
    fn check_deliveries(&self, came: &Came, said: &BTreeSet<u64>) -> Result<(), String> {
        let offsets = offsets_of_events(&self.files, &self.records);
        let is_said = |id: &str| {
            let of = |id: &str| offsets.get(id).is_some_and(|at| !at.is_disjoint(said));
            // A reply hangs on the event that it answers.
            of(id) || of(id.trim_end_matches('\''))
        };
        // What a dead letter's sink is owed hangs on the letter's record.
        let is_letter_said = |id: &str| {
            let letters = self.came.letters.iter();
            let mut said = letters.filter(|(letter, _)| said.contains(letter));
            said.any(|(_, (_, event))| event.as_ref().is_ok_and(|event| event == id))
        };
        for (whose, id) in self.came.taken.difference(&came.taken) {
            let forwarded = whose.ends_with("#dead") && is_letter_said(id);
            if !is_said(id) && !forwarded {
                return Err(format!("{whose} didn't get {id}, and nobody says why"));
            }
        }
        for (letter, (whose, event)) in &self.came.letters {
            let now = came.letters.get(letter);
            let id = event.as_ref().map_or("", |id| id);
            // One that can't be shown says that.
            let shows = now.is_some_and(|(_, event)| event.as_ref().map_or(true, |now| now == id));
            if !shows && !said.contains(letter) {
                return Err(format!(
                    "letter {letter} of {whose} for {id} is now {now:?}"
                ));
            }
        }
        Ok(())
    }
}

/// What holds records; the view is a cache, and opening it writes to it.
fn segments(files: &Files) -> Vec<(&String, &Vec<u8>)> {
    let is_segment = |(path, _): &(&String, &Vec<u8>)| path.ends_with(".seg");
    files.iter().filter(is_segment).collect()
}

/// What looking at a journal without opening it says.
struct Looked {
    refused: bool,
    /// Something is wrong with it.
    said: bool,
    named: BTreeSet<u64>,
    /// Files, and where in them, of which is said that it isn't known what they held.
    unknown: Vec<(String, Range<usize>)>,
    readable: BTreeSet<u64>,
    /// The offset of the first record.
    start: u64,
}

impl Looked {
    /// Whether it is said that this record is lost.
    fn names(&self, placed: &Placed) -> bool {
        let record = &placed.record;
        let is_in = |(name, range): &(String, Range<usize>)| {
            let in_range = range.start < record.body.end && record.position < range.end;
            placed.path.ends_with(name.as_str()) && in_range
        };
        self.named.contains(&record.offset) || self.unknown.iter().any(is_in)
    }
}

fn looked_at(disk: impl Disk + Clone, whole: &Whole, journal: In) -> Result<Looked, String> {
    let verified: Verified = match verify_disk(disk.clone()) {
        Ok(verified) => verified,
        Err(_) => {
            return Ok(Looked {
                refused: true,
                said: true,
                named: BTreeSet::new(),
                unknown: Vec::new(),
                readable: BTreeSet::new(),
                start: 0,
            });
        }
    };
    let named = verified.damage.iter();
    let named = named.flat_map(|damage| damage.offsets.start.0..damage.offsets.end.0);
    let records = cat_disk(disk, journal::Offset(0)).map_err(|error| error.to_string())?;
    let mut readable = BTreeSet::new();
    let mut pristine = whole.records.iter().filter(|one| one.journal == journal);
    for stored in records {
        let stored = stored.map_err(|error| error.to_string())?;
        let placed = pristine.find(|one| one.record.offset == stored.offset.0);
        let placed = placed.ok_or_else(|| format!("record {} was never there", stored.offset))?;
        let body = &whole.files[&placed.path][placed.record.body.clone()];
        let same = (stored.kind, stored.tag, &stored.body[..])
            == (placed.record.kind, placed.record.tag, body);
        if !same {
            return Err(format!("record {} isn't what was stored", stored.offset));
        }
        readable.insert(stored.offset.0);
    }
    let of_files = [Cause::Header, Cause::Segment, Cause::Short, Cause::Foreign];
    let unknown = verified.damage.iter();
    let unknown =
        unknown.filter(|damage| damage.records() == 0 && of_files.contains(&damage.cause));
    let unknown = unknown.map(|damage| {
        let end = match damage.cause {
            Cause::Header => damage.position + damage.bytes,
            _ => u64::from(u32::MAX),
        };
        let name = format!("/{:012}.seg", damage.segment);
        (name, damage.position as usize..end as usize)
    });
    Ok(Looked {
        refused: false,
        unknown: unknown.collect(),
        said: !verified.damage.is_empty(),
        named: named.collect(),
        readable,
        start: verified.recovered.start.0,
    })
}
