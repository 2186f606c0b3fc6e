//! Whether what was damaged is all that is lost, whether it is said, and whether what was only looked at
//! stays as it was.

use std::collections::BTreeSet;
use std::ops::Range;

use journal::{Cause, Disk, Verified, cat_disk, verify_disk};
use tests::beside::{Beside, KEPT_PREFIX};
use tests::data::{Files, disk_of, files_of};

use super::folder::{Came, In, Placed, goes_on, offsets_of_events, records_of};
use super::harm::Harmed;

/// A data folder that isn't damaged, and what comes of it.
pub(crate) struct Whole {
    pub(crate) files: Files,
    pub(crate) records: Vec<Placed>,
    came: Came,
    /// Stopped in order: then there is no last frame that a crash may have torn.
    clean: bool,
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
}

impl Whole {
    pub(crate) async fn new(files: &Files, clean: bool) -> Whole {
        let opened = goes_on(disk_of(files)).await.expect("it opens");
        assert_eq!(opened.clean, clean);
        assert!(!opened.said && !opened.view_anew, "{opened:?}");
        assert!(opened.came.taken.len() > 40, "{:?}", opened.came);
        assert!(opened.came.letters.len() > 10, "{:?}", opened.came);
        let records = records_of(files);
        Whole {
            files: files.clone(),
            records,
            came: opened.came,
            clean,
        }
    }

    fn is_in_last_frame(&self, placed: &Placed) -> bool {
        let mut same = self
            .records
            .iter()
            .filter(|one| one.journal == placed.journal);
        let last = same.rfind(|one| one.record.flags & 8 != 0);
        last.is_some_and(|last| last.record.offset <= placed.record.offset)
    }

    /// Opens what the disk gave back, and says what is wrong with what comes of it.
    pub(crate) async fn judge(&self, harmed: &Harmed) -> Result<Verdict, String> {
        let disk = disk_of(&harmed.files);
        let hit: Vec<&Placed> = self.records.iter().filter(|one| harmed.hits(one)).collect();
        let last_frame = !self.clean && hit.iter().any(|one| self.is_in_last_frame(one));
        let log = looked_at(disk.clone(), self, In::Log)?;
        let kept = looked_at(Beside::new(&disk, KEPT_PREFIX), self, In::Kept)?;
        if files_of(&disk) != harmed.files {
            return Err("looking at it changed it".into());
        }
        let opened = match goes_on(disk.clone()).await {
            Ok(opened) => opened,
            Err(_) if segments(&files_of(&disk)) != segments(&harmed.files) => {
                return Err("it was refused, and changed all the same".into());
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
        // What the log's offsets are that somebody named, of themselves or of what is kept of them.
        let mut said = opened.lost.clone();
        for placed in &self.records {
            let journal = match placed.journal {
                In::Log => &log,
                In::Kept => &kept,
            };
            let is_hit = hit.iter().any(|one| std::ptr::eq(*one, placed));
            let is_excused = last_frame && (is_hit || self.is_in_last_frame(placed));
            if named(placed) || is_excused {
                said.extend(placed.about);
            }
            if journal.readable.contains(&placed.record.offset) {
                continue;
            }
            let what = format!("record {} of {}", placed.record.offset, placed.path);
            // There, groups that aren't whole don't count.
            let is_torn = last_frame && self.is_in_last_frame(placed);
            if !is_hit && !is_torn {
                return Err(format!("{what} is lost and wasn't damaged"));
            }
            match named(placed) {
                true => verdict.named += 1,
                false if last_frame => {}
                // As if it had been reclaimed; whoever needs something of it will say so.
                false if placed.record.offset < journal.start => {}
                // The mark of a stop in order: that it isn't there is said by how it is opened.
                false if self.clean && self.is_in_last_frame(placed) && !opened.clean => {}
                false => return Err(format!("{what} is lost and isn't named")),
            }
        }
        self.check_deliveries(&opened.came, &said)?;
        // The mark of nothing is the mark of a crash there.
        verdict.harmless = !verdict.detected && !last_frame;
        if verdict.harmless && opened.came != self.came {
            return Err("nobody said anything, and something else came of it".into());
        }
        Ok(verdict)
    }

    /// Nothing that held records is removed, cut, or written over.
    fn check_files(&self, harmed: &Harmed, now: &Files) -> Result<(), String> {
        for (path, before) in &harmed.files {
            if !path.ends_with(".seg") || path.starts_with("kept/") {
                continue;
            }
            let Some(bytes) = now.get(path) else {
                return Err(format!("{path} was removed"));
            };
            let mut records = self.records.iter().filter(|one| one.path == *path);
            let end = records.next_back().map_or(0, |last| last.record.end());
            let end = end.min(before.len()).min(bytes.len());
            if bytes.len() < before.len() || bytes[..end] != before[..end] {
                return Err(format!("{path} was written over"));
            }
        }
        Ok(())
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
