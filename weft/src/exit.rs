//! How the program ends: one exit code for each kind of end, chosen once, and the message that
//! goes with it.
//!
//! Scripts and service managers rely on these numbers, so a number never changes its meaning.
//! A [`Failure`] says what is so, and on its second line what to do about it.

use std::fmt;

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It did what it was asked.
    Ok = 0,
    /// A fault of ours or of the machine: a poisoned log, a task that ended.
    Fault = 1,
    /// The command line doesn't make sense; clap's own code.
    Usage = 2,
    /// The YAML has problems; nothing was started.
    Config = 3,
    /// An address can't be listened on.
    Address = 4,
    /// Another process uses the data folder.
    Locked = 5,
    /// The data folder can't be made, read or written.
    Unwritable = 6,
    /// The log is of an unknown version, or damaged in a way that this version won't open.
    Log = 7,
    /// A folder of YAML doesn't exist, isn't a folder or holds no YAML.
    Folder = 8,
    /// Nothing answers at the address that a command talks to.
    Unreachable = 9,
    /// The broker refused an event, or the admin API a request.
    Refused = 10,
    /// There is no such trigger or dead letter.
    NotFound = 11,
    /// Of what was redriven and waited for, some is dead again.
    DeadAgain = 12,
    /// A second signal came while stopping; what was in the air is sent again after a restart.
    Interrupted = 130,
}

/// The table that `weft run --help` ends with.
pub(crate) const TABLE: &str = "\
Exit codes:
    0  stopped as asked, or done
    1  a fault: the log stopped after a failed write, or a vital task ended
    2  the command line doesn't make sense
    3  the YAML has problems, nothing was started
    4  an address can't be listened on
    5  another process uses the data folder
    6  the data folder can't be made, read or written
    7  the log is of an unknown version or damaged beyond what this version opens
    8  a folder of YAML doesn't exist or holds none
    9  nothing answers at the address (send, get, describe, dead-letters)
   10  the broker or the admin API said no, or refused some of it (send, get, describe, dead-letters)
   11  no such trigger or dead letter (describe, dead-letters show)
   12  some of what was redriven is dead again (dead-letters redrive --wait)
  130  a second signal came while stopping";

/// Why a command didn't do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the process exits with.
    pub(crate) exit: Exit,
    /// What is so. Empty when everything was already said.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) cure: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            cure: None,
        }
    }

    /// A fault of ours or of the machine.
    pub(crate) fn fault(message: impl fmt::Display) -> Self {
        Self::new(Exit::Fault, message)
    }

    /// A failure that has already been printed.
    pub(crate) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn cure(mut self, cure: impl fmt::Display) -> Self {
        self.cure = Some(cure.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.cure {
            Some(cure) => write!(f, "\n  {}", cure.replace('\n', "\n  ")),
            None => Ok(()),
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_code_once() {
        let listed: Vec<u8> = TABLE
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        let codes = [
            Exit::Ok,
            Exit::Fault,
            Exit::Usage,
            Exit::Config,
            Exit::Address,
            Exit::Locked,
            Exit::Unwritable,
            Exit::Log,
            Exit::Folder,
            Exit::Unreachable,
            Exit::Refused,
            Exit::NotFound,
            Exit::DeadAgain,
            Exit::Interrupted,
        ];
        assert_eq!(listed, codes.map(|exit| exit as u8));
    }

    #[test]
    fn a_failure_says_what_is_so_and_what_to_do() {
        let failure = Failure::new(Exit::Locked, "the folder is locked").cure("stop the other one");
        assert_eq!(
            failure.to_string(),
            "error: the folder is locked\n  stop the other one"
        );
    }
}
