//! The one place that prints to stdout, so that results are never mixed with logs (stderr) and a
//! closed pipe (`weft get triggers | head`) ends the command quietly instead of with a panic.

use std::fmt;
use std::io::{self, IsTerminal, Write};

/// Prints a line of a command's result.
///
/// A reader that went away ends the program with success: it has seen all it wanted.
pub(crate) fn line(text: impl fmt::Display) {
    written(writeln!(io::stdout().lock(), "{text}"));
}

/// Prints a line of what a node has to say.
///
/// A node goes on when nobody reads it any more: a closed pipe must not end it.
pub(crate) fn announce(text: impl fmt::Display) {
    writeln!(io::stdout().lock(), "{text}").unwrap_or(());
}

/// Prints text as it is, without an end of line.
pub(crate) fn text(text: impl fmt::Display) {
    let mut stdout = io::stdout().lock();
    written(write!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()));
}

/// Prints a line for the person at the terminal, beside the result: to stderr.
pub(crate) fn note(text: impl fmt::Display) {
    // Without a stderr there is nobody to tell.
    writeln!(io::stderr().lock(), "{text}").unwrap_or(());
}

/// Whether a person reads stderr, so that progress bars and colours make sense.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn written(result: io::Result<()>) {
    if result.is_err() {
        std::process::exit(0);
    }
}
