//! What is in the view once: the positions that it is as of, and small state, as one blob.
//!
//! Its bytes are in `docs/format.md`, under View.

use std::collections::{BTreeMap, HashMap, HashSet};

use journal::{Offset, Record, WallTime};
use roaring::RoaringTreemap;

use super::letters::Counts;
use crate::books::Books;
use crate::fold::Sizes;
use crate::kept::records;
use crate::poison::Suspicion;
use crate::records::Number;
use crate::records::wire::{self, Short, Take};

/// Counted up with each change of the view's tables or of this blob: a view of another format is
/// folded anew.
const FORMAT: u8 = 4;

/// The blob.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Whether it is being made anew, and doesn't hold all yet.
    pub(crate) partial: bool,
    pub(crate) log_id: u64,
    pub(crate) kept_id: u64,
    /// Records of the log before this are in the view.
    pub(crate) folded_to: Offset,
    /// Records of kept before this are in the view.
    pub(crate) kept_to: Offset,
    pub(crate) routed_to: Offset,
    /// TriggerSet records from here on are not in the view's resources.
    pub(crate) resources_from: Offset,
    pub(crate) gap: bool,
    pub(crate) seen: HashSet<(Number, Offset)>,
    pub(crate) books: Books,
    pub(crate) letters: Counts,
    /// As [`crate::fold::Fold::standing`] gives it.
    pub(crate) standing: Vec<Record>,
    /// What is owed again, and since when.
    pub(crate) again: HashMap<(Number, Offset), WallTime>,
    /// How the process ended before, and what may have ended it.
    pub(crate) suspicion: Suspicion,
    /// How large events are.
    pub(crate) sizes: Sizes,
    /// As the fold's.
    pub(crate) touched: RoaringTreemap,
    /// As the fold's.
    pub(crate) touched_letters: RoaringTreemap,
    /// Bytes of each segment of kept, by its first offset, that somebody still needs.
    pub(crate) kept_live: BTreeMap<Offset, u64>,
}

impl State {
    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT, u8::from(self.partial)];
        out.extend_from_slice(&self.log_id.to_le_bytes());
        out.extend_from_slice(&self.kept_id.to_le_bytes());
        for offset in [
            self.folded_to,
            self.kept_to,
            self.routed_to,
            self.resources_from,
        ] {
            wire::put_varint(&mut out, offset.0);
        }
        out.push(u8::from(self.gap));
        wire::put_varint(&mut out, self.seen.len() as u64);
        for (number, offset) in &self.seen {
            wire::put_varint(&mut out, u64::from(*number));
            wire::put_varint(&mut out, offset.0);
        }
        self.books.put(&mut out);
        let Counts {
            kept,
            payloads,
            bytes,
            ..
        } = &self.letters;
        for counts in [kept, payloads, bytes] {
            wire::put_varint(&mut out, counts.len() as u64);
            for (number, count) in counts {
                wire::put_varint(&mut out, u64::from(*number));
                wire::put_varint(&mut out, *count);
            }
        }
        wire::put_varint(&mut out, self.letters.redriven);
        wire::put_varint(&mut out, self.letters.discarded);
        wire::put_varint(&mut out, self.kept_live.len() as u64);
        for (first, bytes) in &self.kept_live {
            wire::put_varint(&mut out, first.0);
            wire::put_varint(&mut out, *bytes);
        }
        records::put_standing(&mut out, &self.standing);
        wire::put_varint(&mut out, self.again.len() as u64);
        for ((number, offset), since) in &self.again {
            wire::put_varint(&mut out, u64::from(*number));
            wire::put_varint(&mut out, offset.0);
            wire::put_varint(&mut out, since.0);
        }
        self.suspicion.put(&mut out);
        self.sizes.put(&mut out);
        put_set(&mut out, &self.touched);
        put_set(&mut out, &self.touched_letters);
        out
    }

    /// Reads it back; none of another format.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Self>, Short> {
        let mut take = Take::new(bytes);
        if take.byte("format")? != FORMAT {
            return Ok(None);
        }
        let partial = take.byte("partial")? != 0;
        let log_id = u64::from_le_bytes(take.array("log's id")?);
        let kept_id = u64::from_le_bytes(take.array("kept's id")?);
        let [folded_to, kept_to, routed_to, resources_from] = [
            Offset(take.varint("folded to")?),
            Offset(take.varint("kept to")?),
            Offset(take.varint("routed to")?),
            Offset(take.varint("resources from")?),
        ];
        let gap = take.byte("gap")? != 0;
        let mut seen = HashSet::new();
        for _ in 0..take.varint("seen")? {
            seen.insert((take.number("seen number")?, Offset(take.varint("seen")?)));
        }
        let books = Books::take(&mut take)?;
        let mut letters = Counts::default();
        for counts in [&mut letters.kept, &mut letters.payloads, &mut letters.bytes] {
            for _ in 0..take.varint("letters")? {
                let number = take.number("letters' number")?;
                counts.insert(number, take.varint("letters")?);
            }
        }
        letters.redriven = take.varint("redriven")?;
        letters.discarded = take.varint("discarded")?;
        let mut kept_live = BTreeMap::new();
        for _ in 0..take.varint("kept segments")? {
            kept_live.insert(Offset(take.varint("segment")?), take.varint("bytes")?);
        }
        let standing = records::take_standing(&mut take)?;
        let mut again = HashMap::new();
        for _ in 0..take.varint("again")? {
            let key = (take.number("again")?, Offset(take.varint("again")?));
            again.insert(key, WallTime(take.varint("again")?));
        }
        let suspicion = Suspicion::take(&mut take)?;
        let sizes = Sizes::take(&mut take)?;
        let (touched, touched_letters) = (take_set(&mut take)?, take_set(&mut take)?);
        Ok(Some(Self {
            partial,
            log_id,
            kept_id,
            folded_to,
            kept_to,
            routed_to,
            resources_from,
            gap,
            seen,
            books,
            letters,
            kept_live,
            standing,
            again,
            suspicion,
            sizes,
            touched,
            touched_letters,
        }))
    }
}

/// A set of offsets as a roaring treemap in its portable form, behind its length.
fn put_set(out: &mut Vec<u8>, set: &RoaringTreemap) {
    wire::put_varint(out, set.serialized_size() as u64);
    // Writing to memory doesn't fail.
    if let Err(error) = set.serialize_into(&mut *out) {
        debug_assert!(false, "{error}");
    }
}

fn take_set(take: &mut Take<'_>) -> Result<RoaringTreemap, Short> {
    let bytes = take.bytes("set of offsets")?;
    RoaringTreemap::deserialize_from(bytes).map_err(|_| Short("set of offsets"))
}
