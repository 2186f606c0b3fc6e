//! The help says how to begin, and every example in it is one.

use expect_test::expect;

use super::*;

#[test]
fn the_definitions_agree() {
    command().debug_assert();
}

#[test]
fn the_help_begins_with_how_to_begin() {
    let help = command().term_width(100).render_long_help().to_string();
    // clap indents empty lines.
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let help = help.join("\n");
    expect![[r#"
        Weft takes CloudEvents over HTTP, stores each on disk before it says yes, matches it against YAML
        triggers, and delivers it to every function that wants it, with retries, until the function accepts
        or the trigger's terms say stop.

        Usage: weft [OPTIONS] <COMMAND>

        Commands:
          run           Start a node: read YAML, take events in, deliver them
          check         Check YAML as `run` would, without starting
          send          Send events to a broker
          receive       Be a function: print each event that arrives
          get           List triggers, destinations and whatever else a running node has
          describe      Show one thing of a running node in full
          dead-letters  List, show, redrive, discard and export deliveries that failed for good [alias: dl]
          replay        Deliver a range of the log again
          jobs          List and stop what a node does on request: redrives, replays
          pause         Hold back what a trigger or a destination is owed
          resume        Let a paused trigger or destination go on
          delete        Delete a trigger, or another resource, whose file is gone
          backup        Back up a running node
          restore       Make a data folder of a backup
          log           Look into a data folder, also of a node that runs or crashed
          completion    Print a completion script for a shell
          help          Print this message or the help of the given subcommand(s)

        Options:
          -h, --help
                  Print help (see a summary with '-h')

          -V, --version
                  Print version

        Logging:
              --log <FILTER>
                  What is logged, as `info`, `debug` or `weft=debug,journal=info`; RUST_LOG does the same

                  [env: WEFT_LOG]

              --log-format <FORMAT>
                  How it is logged, to stderr

                  Possible values:
                  - text: For people; coloured on a terminal
                  - json: One JSON object a line

                  [default: text]

        Five minutes to a delivered event:
          weft receive                             a function to try things with, on 127.0.0.1:8081
          weft run examples/quickstart             the broker, in another terminal
          weft send --type com.example.order.placed --data '{"amount": 10}'
          weft get triggers                        what is owed, delivered, dead

        `weft COMMAND --help` shows each command's flags and examples."#]].assert_eq(&help);
}

#[test]
fn every_commands_help_has_examples() {
    fn check(command: &mut clap::Command, path: &str) {
        if command.has_subcommands() {
            for inner in command.get_subcommands_mut() {
                let path = format!("{path} {}", inner.get_name());
                check(inner, &path);
            }
            return;
        }
        let help = command.render_long_help().to_string();
        assert!(help.contains("Examples:"), "{path} has no examples");
        let commands: Vec<&str> = help
            .lines()
            .filter(|line| line.starts_with("  weft "))
            .collect();
        assert!(!commands.is_empty(), "{path}'s examples don't run weft");
    }
    check(&mut command(), "weft");
}

#[test]
fn every_example_is_a_command_line_that_parses() {
    fn examples(command: &mut clap::Command, found: &mut Vec<String>) {
        let help = command.render_long_help().to_string();
        let lines = help.lines().filter_map(|line| line.strip_prefix("  weft "));
        // Comments stand behind several spaces, pipes and redirections behind the command.
        let bare = lines.map(|line| line.split("   ").next().unwrap_or(line));
        let bare = bare.map(|line| line.split(['|', '>', '&']).next().unwrap_or(line).trim());
        found.extend(bare.map(str::to_owned));
        command
            .get_subcommands_mut()
            .for_each(|inner| examples(inner, found));
    }
    let mut found = Vec::new();
    examples(&mut command(), &mut found);
    assert!(found.len() > 30, "{found:?}");
    for example in found {
        let words = words(&example);
        let parsed =
            command().try_get_matches_from(std::iter::once("weft".to_owned()).chain(words));
        assert!(parsed.is_ok(), "weft {example}: {}", parsed.unwrap_err());
    }
}

/// Splits as a shell does, as far as the examples need it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for char in line.chars() {
        match char {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
