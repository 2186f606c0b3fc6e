//! `weft completion`: the script that lets a shell complete commands and flags.

use crate::cli::{self, CompletionArgs};
use crate::exit::Failure;
use crate::out;

/// Prints the script.
pub(crate) fn run(args: &CompletionArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "weft", &mut script);
    out::bytes(&script);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        use clap_complete::Shell;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::command(), "weft", &mut script);
            assert!(
                String::from_utf8(script).unwrap().contains("dead-letters"),
                "{shell}"
            );
        }
    }
}
