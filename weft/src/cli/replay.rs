//! `weft replay` and `weft jobs`: their flags and every word of their help.

use std::num::NonZeroU32;

use clap::{ArgGroup, Args, Subcommand};

use super::AdminArgs;
use super::letters::per_second;

#[derive(Debug, Args)]
#[command(
    about = "Deliver a range of the log again",
    long_about = "Begins a new delivery for each event of a range of the log: to a trigger, of those that its \
                  filter wants, on its terms; or to another address with --to-uri. Each is as young as if it \
                  had just arrived, and carries the attribute `weftreplay`, the time of its replay. What \
                  is still owed to the trigger isn't owed twice: it is skipped and counted. Live events go \
                  first.

A point is `earliest`, an offset, a time (RFC 3339), or how long ago: 2h. The log reaches back as far as \
its retention, a --from before that is refused.

The work is a job at the node: it goes on when this command is interrupted, and over a restart of the \
node. `weft jobs stop` stops it.",
    after_help = "Examples:
  weft replay --trigger shop/billing --from 2h --dry-run
  weft replay --trigger shop/billing --from 2026-11-21T09:00:00Z --to 2026-11-21T10:00:00Z --wait
  weft replay --trigger billing --from earliest --filter type=com.example.order.placed --rate 100
  weft replay --trigger billing --from 1042 --to 2000 --yes
  weft replay --to-uri http://127.0.0.1:9000/ --broker shop/default --from 1h --filter '{prefix: {type: com.}}'",
    group = ArgGroup::new("who").required(true)
)]
pub(crate) struct ReplayArgs {
    /// Where it begins
    #[arg(long, value_name = "POINT", allow_hyphen_values = true)]
    pub(crate) from: String,
    /// Where it ends, that point not included [default: what is stored now]
    #[arg(long, value_name = "POINT", allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
    /// Only events for which this holds: NAME=VALUE, or one of a Trigger's filters in YAML; may be
    /// given several times, all must hold
    #[arg(long = "filter", value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    /// Who gets it: a trigger's NAME or NAMESPACE/NAME
    #[arg(long, value_name = "NAME", group = "who")]
    pub(crate) trigger: Option<String>,
    /// Who gets it: an address
    #[arg(long, value_name = "URL", group = "who")]
    pub(crate) to_uri: Option<String>,
    /// Whose events go to that address [default: default/default]
    #[arg(long, value_name = "NAME", requires = "to_uri")]
    pub(crate) broker: Option<String>,
    /// At most so many a second
    #[arg(long, value_name = "N", value_parser = per_second)]
    pub(crate) rate: Option<NonZeroU32>,
    /// Only say what would be replayed: how many, and the first ten offsets
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until each has been delivered, or is dead
    #[arg(long)]
    pub(crate) wait: bool,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(
    about = "List and stop what a node does on request: redrives, replays",
    long_about = "Lists and stops jobs: redrives, discards, replays, and the starts of new triggers that say \
                  `weft.dev/start: earliest` or a time."
)]
pub(crate) struct JobsArgs {
    #[command(subcommand)]
    pub(crate) command: JobsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs that are at work or ended lately
    #[command(after_help = "Examples:
  weft jobs list
  weft jobs list -o json")]
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Stop one; what it began goes on
    #[command(after_help = "Examples:
  weft jobs stop 3")]
    Stop {
        /// The id that `list` shows
        #[arg(value_name = "JOB")]
        job: u64,
        #[command(flatten)]
        admin: AdminArgs,
    },
}
