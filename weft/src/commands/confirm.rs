//! Asking before something is lost.

use std::io::{self, IsTerminal};

use crate::exit::{Exit, Failure};
use crate::out;

/// Asks a person whether to go on. Without a terminal nobody can be asked, and `--yes` must say so.
///
/// # Errors
///
/// Nobody was there to ask, or the answer was no: nothing was done.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            format!("{question}, and nobody is there to ask"),
        )
        .cure("add --yes to do it without being asked; nothing was done"));
    }
    out::note(format_args!("{question}. Go on? [y/N]"));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Failure::fault)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Refused, "nothing was done")),
    }
}
