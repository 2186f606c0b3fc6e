//! What is on the model disk, what of it is durable, and what a loss of power leaves of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{CrashRule, SECTOR_BYTES};

/// Everything on the disk at one moment, and what of it is durable.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) files: Vec<Contents>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    pub(super) pending_names: Vec<Renaming>,
}

/// One change of the folder, atomic by itself.
#[derive(Debug, Clone)]
pub(super) struct Renaming {
    pub(super) removed: Option<String>,
    pub(super) added: Option<(String, usize)>,
}

impl Renaming {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(name) = &self.removed {
            names.remove(name);
        }
        if let Some((name, file)) = &self.added {
            names.insert(name.clone(), *file);
        }
    }
}

/// A file's durable bytes, and over them what isn't.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    pub(super) durable: Arc<Vec<u8>>,
    /// The length as it is read; that of `durable` is what survives.
    pub(super) bytes: usize,
    /// Unsynced sectors of 512 bytes, in the order they were written. Those of a block of 4096 follow
    /// each other.
    written: Arc<Vec<(usize, Bytes)>>,
    /// Sectors a failed sync lost, still readable.
    lost: BTreeMap<usize, Bytes>,
}

impl Contents {
    pub(super) fn read(&self, from: usize, to: usize) -> Vec<u8> {
        let to = to.min(self.bytes);
        let mut out = vec![0; to.saturating_sub(from)];
        let durable = self.durable.get(from..to.min(self.durable.len()));
        if let Some(durable) = durable {
            out[..durable.len()].copy_from_slice(durable);
        }
        let over = self.lost.iter().map(|(sector, bytes)| (*sector, bytes));
        for (sector, bytes) in over.chain(self.written.iter().map(|(s, b)| (*s, b))) {
            let at = sector * SECTOR_BYTES;
            if from <= at && at + SECTOR_BYTES <= to {
                out[at - from..at - from + SECTOR_BYTES].copy_from_slice(bytes);
            }
        }
        out
    }

    pub(super) fn write(&mut self, at: usize, blocks: &[u8]) {
        self.bytes = self.bytes.max(at + blocks.len());
        let written = Arc::make_mut(&mut self.written);
        let blocks = Bytes::copy_from_slice(blocks);
        for start in (0..blocks.len()).step_by(SECTOR_BYTES) {
            let sector = (at + start) / SECTOR_BYTES;
            self.lost.remove(&sector);
            written.push((sector, blocks.slice(start..start + SECTOR_BYTES)));
        }
    }

    fn make_durable<'a>(&mut self, sectors: impl IntoIterator<Item = &'a (usize, Bytes)>) {
        let durable = Arc::make_mut(&mut self.durable);
        durable.resize(self.bytes, 0);
        for (sector, bytes) in sectors {
            let at = sector * SECTOR_BYTES;
            durable[at..at + SECTOR_BYTES].copy_from_slice(bytes);
        }
    }

    pub(super) fn sync(&mut self) {
        let written = std::mem::take(&mut self.written);
        if !written.is_empty() || self.durable.len() != self.bytes {
            self.make_durable(written.iter());
        }
    }

    pub(super) fn lose(&mut self) {
        let written = std::mem::take(&mut self.written);
        self.lost.extend(written.iter().cloned());
    }

    pub(super) fn forget(&mut self) {
        self.lost.clear();
    }

    fn is_durable(&self) -> bool {
        self.written.is_empty() && self.bytes == self.durable.len()
    }

    /// What a loss of power leaves.
    fn crash(&mut self, rule: CrashRule, mut dice: Dice, sector_bytes: usize) {
        self.lost.clear();
        if self.is_durable() {
            return;
        }
        let written = std::mem::take(&mut self.written);
        let sectors: Vec<&[(usize, Bytes)]> = written.chunks(sector_bytes / SECTOR_BYTES).collect();
        let grown = self.bytes != self.durable.len();
        let kept = dice.survivors(rule, sectors.len() + usize::from(grown));
        // The new length is one more thing that survives or not.
        if grown && !kept[sectors.len()] {
            self.bytes = self.durable.len();
        }
        let limit = self.bytes;
        let survived: Vec<_> = sectors
            .into_iter()
            .zip(kept)
            .filter(|(_, kept)| *kept)
            .flat_map(|(sectors, _)| sectors)
            .filter(|(sector, _)| (sector + 1) * SECTOR_BYTES <= limit)
            .collect();
        if !survived.is_empty() || limit != self.durable.len() {
            self.make_durable(survived);
        }
    }
}

/// A small generator: the disk needs dice that roll the same again, and no more.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % (bound as u64)).expect("below a usize")
    }

    /// Which of `count` things in a row survive.
    fn survivors(&mut self, rule: CrashRule, count: usize) -> Vec<bool> {
        let cut = self.below(count + 1);
        (0..count)
            .map(|index| match rule {
                CrashRule::Nothing => false,
                CrashRule::Everything => true,
                CrashRule::Torn => index < cut,
                CrashRule::Reordered => cut <= index,
                CrashRule::Subset => self.roll().is_multiple_of(2),
            })
            .collect()
    }
}

impl Image {
    /// Whether a loss of power would change nothing.
    pub(super) fn is_durable(&self) -> bool {
        let mut files = self.files.iter();
        self.pending_names.is_empty() && files.all(Contents::is_durable)
    }

    /// What a loss of power leaves. Each file has dice of its own, so that what becomes of one
    /// doesn't hang on how much was written to another.
    pub(super) fn crash(&self, rule: CrashRule, seed: u64, sector_bytes: usize) -> Self {
        let mut dice = Dice(seed);
        let mut names = self.durable_names.clone();
        let kept = dice.survivors(rule, self.pending_names.len());
        for (renaming, _) in self
            .pending_names
            .iter()
            .zip(kept)
            .filter(|(_, kept)| *kept)
        {
            renaming.apply(&mut names);
        }
        let mut files = self.files.clone();
        for (index, file) in files.iter_mut().enumerate() {
            let dice = Dice(seed ^ Dice(index as u64).roll());
            file.crash(rule, dice, sector_bytes);
        }
        Self {
            files,
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
        }
    }
}
