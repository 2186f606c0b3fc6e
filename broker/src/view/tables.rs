//! The view's tables. Their bytes are in `docs/format.md`.

use redb::TableDefinition;

/// What is there once: see [`super::state`].
pub(super) const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// (number, offset / 65,536) -> the offsets of that block that are owed, their lower 32 bits as a
/// roaring bitmap in its portable form.
pub(super) const OWED: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("owed");
/// (number, offset) -> when it is due, and its attempts.
pub(super) const PARKED: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("parked");
/// Dead letter's id -> its row.
pub(super) const LETTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("letters");
/// (trigger as `namespace/name`, dead letter's id): the letters of a trigger, which outlive it.
pub(super) const LETTERS_OF: TableDefinition<'_, (&str, u64), ()> =
    TableDefinition::new("letters of triggers");
/// (event's offset, dead letter's id): the letters that need an event.
pub(super) const LETTERS_ON: TableDefinition<'_, (u64, u64), ()> =
    TableDefinition::new("letters on events");
/// (what, offset in the log) -> (offset in kept, bytes there).
pub(super) const KEPT: TableDefinition<'_, (u8, u64), (u64, u32)> = TableDefinition::new("kept");
/// Parts of the resources in force where routing stopped, each a TriggerSet record's body.
pub(super) const RESOURCES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("resources");
