//! The journal against the obvious slow version of itself, on a disk that loses power.
//!
//! One binary: `play` (operations and the ledger of what is owed), `crash` (every point at which
//! the power may fail), `sequences` (proptest), `faults` (failed writes, full disks), `damage`
//! (flipped bits, missing files), `handles` (what each call promises), `power` (that fails in the middle of something), `repack` (padding given
//! back), `room` (who may use which), `os` (a real disk).
//! A failure prints a line like `SEED=8841 cargo test -p journal --test model`, which replays it.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "model/crash.rs"]
mod crash;
#[path = "model/damage.rs"]
mod damage;
#[path = "model/disk.rs"]
mod disk;
#[path = "model/faults.rs"]
mod faults;
#[path = "model/handles.rs"]
mod handles;
#[path = "model/os.rs"]
mod os;
#[path = "model/play.rs"]
mod play;
#[path = "model/power.rs"]
mod power;
#[path = "model/repack.rs"]
mod repack;
#[path = "model/room.rs"]
mod room;
#[path = "model/sequences.rs"]
mod sequences;
