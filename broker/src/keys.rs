//! The keys of an ordered lane: which are busy, and what waits behind them (GUARANTEES 14).
//!
//! A key is **busy** while one of its deliveries is under way: in the air, parked, or about to be
//! sent again. What is taken of a busy key meanwhile is **held**: it waits here in the order of its
//! offset until the one before it has ended. Other keys don't notice. A key is known only while it
//! is busy or blocked, so a quiet lane costs nothing.
//!
//! Where the terms say `blockedKey: deadLetter`, a key whose delivery ended in the dead letters is
//! **blocked**: what comes of it later ends there too, until that first event is delivered by a
//! redrive, or its letter is discarded or sent elsewhere.
//!
//! Nothing of this is on disk but which keys are blocked ([`crate::records::held`]). What is held
//! is owed, and a restart takes what is owed in its order again; what is parked is read first, so
//! that its keys are busy before anything behind them is taken.
//!
//! Keys are compared byte by byte, so two never stand for one.

#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use event::EventRef;
use journal::Offset;
use triggers::{BlockedKey, Ordering};

/// The longest key that is kept whole, in bytes. Of a longer one its beginning and its length are
/// kept: those that agree in both share their place in the order, which may make one wait for the
/// other and never lets one pass.
pub const KEY_BYTES_MAX: usize = 1024;

/// For how many busy keys a lane that has none keeps room.
const KEYS_SPARE: usize = 256;

/// A key: the attribute's value in its canonical string form.
pub type Key = Arc<[u8]>;

/// The key of an event: its attribute `by`; `None` when it has none, and so no order.
pub fn key_of(event: &EventRef<'_>, by: &str) -> Option<Key> {
    let value = event.attribute(by)?;
    Some(key(value.text().as_bytes()))
}

pub(crate) fn key(value: &[u8]) -> Key {
    match value.get(..KEY_BYTES_MAX) {
        Some(start) if start.len() < value.len() => {
            let mut key = start.to_vec();
            key.extend_from_slice(&(value.len() as u64).to_le_bytes());
            key.into()
        }
        _ => value.into(),
    }
}

/// What becomes of a delivery whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It goes; its key is busy until [`Keys::ended`].
    Go,
    /// It waits behind its key, and comes back from [`Keys::ended`].
    Held,
    /// Its key is blocked. It is under way until it ends, as it does at once.
    Blocked,
}

/// A lane's keys.
#[derive(Debug)]
pub struct Keys {
    ordering: Ordering,
    busy: HashMap<Key, Busy>,
    /// The key of each delivery that is under way.
    under_way: HashMap<Offset, Key>,
    /// Blocked keys, each with the event whose dead letter blocks it.
    blocked: HashMap<Key, Offset>,
    /// The same by event.
    blockers: HashMap<Offset, Key>,
    /// Deliveries that were parked before their keys were known.
    unread: BTreeSet<Offset>,
    held: u64,
    held_max: u64,
    blocked_max: u64,
    failing: u64,
}

#[derive(Debug, Default)]
struct Busy {
    /// One, but for what was parked before the lane was ordered.
    under_way: u32,
    failing: bool,
    behind: VecDeque<Offset>,
}

impl Keys {
    /// Keys of which some are blocked; the keys of `unread`, which are parked, come by
    /// [`Keys::adopt`].
    pub fn new(
        ordering: Ordering,
        blocked: impl IntoIterator<Item = (Key, Offset)>,
        unread: impl IntoIterator<Item = Offset>,
    ) -> Self {
        let blocked: HashMap<Key, Offset> = blocked.into_iter().collect();
        let blockers = blocked.iter().map(|(key, by)| (*by, Arc::clone(key)));
        Self {
            ordering,
            busy: HashMap::new(),
            under_way: HashMap::new(),
            blockers: blockers.collect(),
            blocked,
            unread: unread.into_iter().collect(),
            held: 0,
            held_max: u64::MAX,
            blocked_max: u64::MAX,
            failing: 0,
        }
    }

    /// The attribute that is the key.
    pub fn by(&self) -> &str {
        &self.ordering.by
    }

    /// Whether a key is blocked when one of its deliveries dies.
    pub fn block_on_death(&self) -> bool {
        self.ordering.blocked_key == BlockedKey::DeadLetter
    }

    /// What becomes of blocked keys from now on.
    pub fn set_blocked_key(&mut self, blocked_key: BlockedKey) {
        self.ordering.blocked_key = blocked_key;
    }

    /// A delivery of this key is to be sent.
    pub fn claim(&mut self, key: Key, offset: Offset) -> Claim {
        if !self.under_way.contains_key(&offset) {
            match self.busy.entry(Arc::clone(&key)) {
                Entry::Occupied(busy) => {
                    let behind = &mut busy.into_mut().behind;
                    let at = behind.partition_point(|before| *before <= offset);
                    behind.insert(at, offset);
                    self.held += 1;
                    return Claim::Held;
                }
                Entry::Vacant(vacant) => {
                    vacant.insert(Busy {
                        under_way: 1,
                        ..Busy::default()
                    });
                    self.under_way.insert(offset, Arc::clone(&key));
                }
            }
        }
        match self.blocked.get(&key) {
            // One that came before may still be under way: what expired overtook it.
            Some(by) if *by < offset => Claim::Blocked,
            _ => Claim::Go,
        }
    }

    /// A delivery is parked after a failed attempt: its key stays busy, and counts as failing.
    pub fn adopt(&mut self, offset: Offset, read_key: impl FnOnce() -> Option<Key>) {
        self.unread.remove(&offset);
        let key = match self.under_way.get(&offset) {
            Some(known) => Arc::clone(known),
            None => {
                let Some(key) = read_key() else { return };
                self.under_way.insert(offset, Arc::clone(&key));
                self.busy.entry(Arc::clone(&key)).or_default().under_way += 1;
                key
            }
        };
        if let Some(busy) = self.busy.get_mut(&key)
            && !busy.failing
        {
            busy.failing = true;
            self.failing += 1;
        }
    }

    /// A delivery has ended, or will never be made. The one that was held behind it, now to be
    /// sent: it is under way.
    pub fn ended(&mut self, offset: Offset) -> Option<Offset> {
        self.unread.remove(&offset);
        let key = self.under_way.remove(&offset)?;
        let busy = self.busy.get_mut(&key)?;
        busy.under_way -= 1;
        if busy.under_way > 0 {
            return None;
        }
        if std::mem::take(&mut busy.failing) {
            self.failing -= 1;
        }
        let Some(next) = busy.behind.pop_front() else {
            self.busy.remove(&key);
            self.shrink();
            return None;
        };
        busy.under_way = 1;
        self.held -= 1;
        self.under_way.insert(next, key);
        Some(next)
    }

    /// Whether the key of a delivery is known, since it is under way.
    pub fn knows(&self, offset: Offset) -> bool {
        self.under_way.contains_key(&offset)
    }

    /// A delivery is about to end in the dead letters: its key, `read` where it isn't known, is
    /// blocked by it. The key, unless one before it has blocked it or the delivery has none.
    pub fn block(&mut self, offset: Offset, read: Option<Key>) -> Option<Key> {
        let key = Arc::clone(self.under_way.get(&offset).or(read.as_ref())?);
        match self.blocked.get(&key) {
            Some(by) if *by <= offset => return None,
            Some(by) => drop(self.blockers.remove(by)),
            None => {}
        }
        self.blocked.insert(Arc::clone(&key), offset);
        self.blockers.insert(offset, Arc::clone(&key));
        Some(key)
    }

    /// The event that blocks a key was delivered after all, or its letter is no more. The key,
    /// if this event blocked one.
    pub fn let_go(&mut self, offset: Offset) -> Option<Key> {
        let key = self.blockers.remove(&offset)?;
        self.blocked.remove(&key);
        Some(key)
    }

    /// Lets all blocked keys go, and names them.
    pub fn let_all_go(&mut self) -> Vec<Key> {
        self.blockers.clear();
        let mut keys: Vec<Key> = self.blocked.drain().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }

    /// Blocked keys, each with the event that blocks it.
    pub fn blocked(&self) -> impl Iterator<Item = (&Key, Offset)> {
        self.blocked.iter().map(|(key, by)| (key, *by))
    }

    /// A parked delivery whose key is to be read before anything is sent.
    pub fn unread(&self) -> Option<Offset> {
        self.unread.first().copied()
    }

    /// Sets how many events may be held, and how many keys blocked by dead letters.
    pub fn set_bounds(&mut self, held_max: u64, blocked_max: u64) {
        (self.held_max, self.blocked_max) = (held_max, blocked_max);
    }

    /// Whether one of the bounds is reached: nothing new is taken.
    pub fn is_full(&self) -> bool {
        self.holds_all() || self.blocks_all()
    }

    /// Whether as many are held as may be: nothing is taken.
    pub fn holds_all(&self) -> bool {
        self.held >= self.held_max
    }

    /// Whether as many keys are blocked as may be: nothing is taken for the first time.
    pub fn blocks_all(&self) -> bool {
        self.blocked.len() as u64 >= self.blocked_max
    }

    /// Whether what is owed again is taken: always what may let a key go; the rest, which may block
    /// another, up to twice the bound.
    pub fn takes_again(&self, next: Offset) -> bool {
        let blocked = self.blocked.len() as u64;
        blocked < self.blocked_max.saturating_mul(2) || self.blockers.contains_key(&next)
    }

    /// How many are held.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// How many keys wait for a delivery that fails, or are blocked.
    pub fn keys_blocked(&self) -> u64 {
        self.failing + self.blocked.len() as u64
    }

    /// All that is held, in the order of its offset.
    pub fn held_offsets(&self) -> Vec<Offset> {
        let behind = self.busy.values().flat_map(|busy| &busy.behind);
        let mut offsets: Vec<Offset> = behind.copied().collect();
        offsets.sort_unstable();
        offsets
    }

    /// Forgets held deliveries before `before`, at most `places` of them, and gives them.
    pub fn drop_held(&mut self, before: Offset, places: usize) -> Vec<Offset> {
        let mut dropped = Vec::new();
        for busy in self.busy.values_mut() {
            while dropped.len() < places && busy.behind.front().is_some_and(|next| *next < before) {
                dropped.extend(busy.behind.pop_front());
            }
        }
        self.held -= dropped.len() as u64;
        dropped
    }

    /// Gives memory back after many keys were busy at once.
    fn shrink(&mut self) {
        if self.busy.is_empty() && self.busy.capacity() > KEYS_SPARE {
            self.busy.shrink_to(KEYS_SPARE);
            self.under_way.shrink_to(KEYS_SPARE);
        }
    }
}
