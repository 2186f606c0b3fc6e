//! What outsiders hand us, as functions that take any bytes and must not be shaken by them.
//!
//! Each [`Target`] is a plain function of bytes that asserts what holds whatever they are: not only
//! that nothing panics, but that what was taken is sound, that what was refused is refused by a second,
//! slower reading too, and that what survives is served. The same functions are run by `cargo test` on
//! the seeds and past finds of `tests/fuzz/` with mutations of them ([`drive`]), and by libFuzzer for
//! as long as asked (`make fuzz`).

mod answers;
mod documents;
pub mod drive;
mod filters;
mod folder;
mod format;
mod frames;
mod headers;
mod ingress;
mod input;
mod mutate;
mod resources;
mod served;
mod sound;
mod wire;

use input::Input;

/// One way in.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also the name of its seeds' folder and of its libFuzzer program.
    pub name: &'static str,
    /// What comes in and what is asserted about it: panics if that doesn't hold.
    pub run: fn(&[u8]),
    /// Longer inputs find nothing that shorter ones don't, and take longer.
    pub bytes_max: usize,
    /// Pieces of what it reads, for mutations to put in.
    pub words: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "ingress",
        run: ingress::run,
        bytes_max: 8 << 10,
        words: ingress::WORDS,
    },
    Target {
        name: "answers",
        run: answers::run,
        bytes_max: 8 << 10,
        words: answers::WORDS,
    },
    Target {
        name: "documents",
        run: documents::run,
        bytes_max: 4 << 10,
        words: documents::WORDS,
    },
    Target {
        name: "headers",
        run: headers::run,
        bytes_max: 4 << 10,
        words: headers::WORDS,
    },
    Target {
        name: "frames",
        run: frames::run,
        bytes_max: 4 << 10,
        words: &[],
    },
    Target {
        name: "folder",
        run: folder::run,
        bytes_max: 2 << 10,
        words: folder::WORDS,
    },
    Target {
        name: "resources",
        run: resources::run,
        bytes_max: 4 << 10,
        words: resources::WORDS,
    },
    Target {
        name: "filters",
        run: filters::run,
        bytes_max: 1 << 10,
        words: filters::WORDS,
    },
];

/// Runs the target of this name on `bytes`.
///
/// # Panics
///
/// If what the target asserts doesn't hold, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("the targets are those of the list");
    (target.run)(&bytes[..bytes.len().min(target.bytes_max)]);
}
