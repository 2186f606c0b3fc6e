//! What remains when the program or the power goes: the real `weft`, killed under load, and on a real file
//! system whose disk is ours, so that every write and flush of it is known and can fail.
//!
//! | file | what |
//! |---|---|
//! | `kills.rs` | `kill -9` again and again |
//! | `flushed.rs` | a flush of the disk lies between an event's write and its 202 |
//! | `replays.rs` | what a loss of power leaves, after every flush and with any part of what wasn't flushed |
//! | `eio.rs` | a write or a flush that fails |
//! | `load.rs` | publishers that write down what was answered 202, and when |
//! | `recorded.rs` | a node under load on our disk |
//! | `blocks.rs`, `disk.rs`, `fuse.rs`, `drive.rs` | the disk: its content, its log, as a file, with a file system |
//!
//! The disk is served by the test itself over FUSE, below a loop device and ext4. That takes no package and
//! no kernel module that isn't there anyway, and the log is exact: it is written where the disk does things one at
//! a time. Where FUSE, loop devices or mounts aren't allowed, the tests say loudly that they checked nothing,
//! and report their row as skipped.

mod blocks;
mod disk;
mod drive;
mod eio;
mod flushed;
mod fuse;
mod kills;
mod load;
mod recorded;
mod replays;
