//! The parts in which small state goes to kept: state is small until a hundred thousand keys are
//! blocked, and a record has a largest size.

use journal::Offset;

use crate::pauses::What;
use crate::records::Number;

/// The part of all replays: of them the order counts.
pub(super) const REPLAYS: Offset = Offset(0);

/// Blocked keys of one lane go together when the events that block them lie this close: an event
/// blocks one key of a lane, so a part has at most 16 keys of at most 1 KiB.
const EVENTS_BITS: u32 = 4;

/// Pauses of destinations go into so many parts, by their keys.
const DESTINATION_PARTS: u64 = 1024;

/// The part of a key that is blocked. Numbers and events that lie very far apart may share one.
pub(super) fn of_held(number: Number, by: Offset) -> Offset {
    let lane = u64::from(number & 0x3F_FFFF) << 40;
    let events = (by.0 >> EVENTS_BITS) & 0xFF_FFFF_FFFF;
    Offset(1 << 62 | lane | events)
}

/// The part of a pause: a trigger's has its own.
pub(super) fn of_paused(what: &What) -> Offset {
    match what {
        What::Trigger(number) => Offset(1 << 61 | u64::from(*number)),
        What::Destination(key) => {
            // FNV-1a: the same in every process.
            let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
            Offset((1 << 60) | (hash % DESTINATION_PARTS))
        }
    }
}
