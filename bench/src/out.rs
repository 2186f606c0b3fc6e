//! The one place that prints: lines and tables on standard output, progress and problems beside.

use std::io::{self, Write as _};

/// Prints a line on standard output at once, also into a pipe.
pub(crate) fn line(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody is left to be told when standard output is gone.
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Prints a line on standard error: progress, or what went wrong.
pub(crate) fn problem(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
