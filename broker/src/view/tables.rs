//! The view's tables. Their bytes are in `docs/format.md`. Each value ends with a checksum, those too
//! that would be nothing without: see [`super::checked`].

use redb::TableDefinition;

use super::checked::Table;

/// What is there once: see [`super::state`].
pub(super) const STATE: Table<&'static str> = TableDefinition::new("state");
/// (number, offset / 65,536) -> the offsets of that block that are owed, their lower 32 bits as a
/// roaring bitmap in its portable form.
pub(super) const OWED: Table<(u32, u64)> = TableDefinition::new("owed");
/// (number, offset) -> when it is due, and its attempts.
pub(super) const PARKED: Table<(u32, u64)> = TableDefinition::new("parked");
/// Dead letter's id -> its row.
pub(super) const LETTERS: Table<u64> = TableDefinition::new("letters");
/// (trigger as `namespace/name`, dead letter's id): the letters of a trigger, which outlive it.
pub(super) const LETTERS_OF: Table<(&'static str, u64)> =
    TableDefinition::new("letters of triggers");
/// (event's offset, dead letter's id): the letters that need an event.
pub(super) const LETTERS_ON: Table<(u64, u64)> = TableDefinition::new("letters on events");
/// (what, offset in the log) -> (offset in kept, bytes there).
pub(super) const KEPT: Table<(u8, u64)> = TableDefinition::new("kept");
/// Parts of the resources in force where routing stopped, each a TriggerSet record's body.
pub(super) const RESOURCES: Table<u32> = TableDefinition::new("resources");
