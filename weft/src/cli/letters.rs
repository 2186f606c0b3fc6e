//! `weft dead-letters`, as clap reads it.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::AdminArgs;
use crate::span::Span;

#[derive(Debug, Args)]
#[command(
    about = "List, show, redrive, discard and export deliveries that failed for good",
    long_about = "A delivery that failed for good is kept as a dead letter, with its event and every \
                  attempt, also after a restart and after its trigger was deleted: until it is \
                  redriven or discarded, or its retention is over.",
    after_help = "Examples:
  weft dead-letters list --trigger shop/billing
  weft dead-letters show 1042
  weft dead-letters redrive --trigger shop/billing --status 503
  weft dead-letters discard 1042
  weft dead-letters export --to letters.ndjson"
)]
pub(crate) struct DeadLettersArgs {
    #[command(subcommand)]
    pub(crate) command: DeadLetters,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    List(ListArgs),
    Show(ShowArgs),
    Redrive(RedriveArgs),
    Discard(DiscardArgs),
    Export(ExportArgs),
    Stop(StopArgs),
}

/// Which letters.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Which letters")]
pub(crate) struct FilterArgs {
    /// Only this trigger's, NAME or NAMESPACE/NAME
    #[arg(short, long, value_name = "TRIGGER")]
    pub(crate) trigger: Option<String>,
    /// Only those that died of this: exhausted, refused, expired, loop, reply, poison, blocked,
    /// transform, quota; or rejected by a source, which could make no event of it
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// Only those whose last attempt was answered with this status
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(100..=999))]
    pub(crate) status: Option<u16>,
    /// Only those whose event is of this type; com.example.* for all that begin so
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) ty: Option<String>,
    /// Only those that died longer ago: 1h, PT1H
    #[arg(long, value_name = "TIME")]
    pub(crate) older_than: Option<Span>,
    /// Only those that died no longer ago: 1h, PT1H
    #[arg(long, value_name = "TIME")]
    pub(crate) newer_than: Option<Span>,
    /// Only those with this text in what an attempt came to: an answer's body, or why there was none;
    /// or in what a source rejected
    #[arg(long, value_name = "TEXT")]
    pub(crate) contains: Option<String>,
}

impl FilterArgs {
    /// Whether nothing is left out.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            trigger,
            reason,
            status,
            ty,
            older_than,
            newer_than,
            contains,
        } = self;
        let texts = [trigger, reason, ty, contains];
        let spans = [older_than, newer_than];
        texts.iter().all(|text| text.is_none())
            && spans.iter().all(|span| span.is_none())
            && status.is_none()
    }
}

/// What has become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LetterState {
    /// Waits for somebody
    Kept,
    /// Was redriven
    Redriven,
    /// Was discarded
    Discarded,
    /// Any of these
    All,
}

#[derive(Debug, Args)]
#[command(
    about = "List dead letters, newest first",
    after_help = "Examples:
  weft dead-letters list
  weft dead-letters list --trigger shop/billing --limit 20
  weft dead-letters list --status 503 --newer-than 1h
  weft dead-letters list --contains 'no such customer'
  weft dead-letters list --state redriven
  weft dead-letters list -o json | jq -r '.items[].id'"
)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Only those of which this has become
    #[arg(
        long,
        value_name = "STATE",
        default_value = "kept",
        help_heading = "Which letters"
    )]
    pub(crate) state: LetterState,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Only those older than this id; for the next page
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<u64>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(
    about = "Show a dead letter: event, payload, every attempt",
    after_help = "Examples:
  weft dead-letters show 1042
  weft dead-letters show 1042 --data > payload.bin
  weft dead-letters show 1042 -o yaml"
)]
pub(crate) struct ShowArgs {
    /// The id that `list` shows
    pub(crate) id: u64,
    /// Print the event's data alone, byte for byte
    #[arg(long)]
    pub(crate) data: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(
    about = "Deliver dead letters' events again",
    long_about = "Begins a new delivery for each letter that is chosen, by ids or by filters: to where \
                  its trigger says now, on its terms, from attempt 1 and as young as if it had just \
                  arrived; or to another destination with --to-uri. What fails again is a new dead \
                  letter. Live events go first.

Each letter is marked and not redriven again, so the same command goes on with those that are left, \
whether it was interrupted, the node crashed, or some were refused. Exits 10 when a letter was \
refused.",
    after_help = "Examples:
  weft dead-letters redrive 1042 1043
  weft dead-letters redrive --trigger shop/billing --wait
  weft dead-letters redrive --trigger shop/billing --status 503 --dry-run
  weft dead-letters redrive --trigger shop/billing --rate 100
  weft dead-letters redrive --newer-than 2h --to-uri http://127.0.0.1:9000/ --yes"
)]
pub(crate) struct RedriveArgs {
    /// Ids that `list` shows; none for all that the filters choose
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<u64>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// At most so many a second
    #[arg(long, value_name = "N", value_parser = per_second)]
    pub(crate) rate: Option<NonZeroU32>,
    /// Another destination than the triggers'
    #[arg(long, value_name = "URL")]
    pub(crate) to_uri: Option<String>,
    /// Only say what would be redriven
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until each has been delivered, or is dead again
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
    about = "Let go of dead letters that nobody needs",
    long_about = "Lets go of the letters that are chosen, by ids or by filters. Their events are no longer \
                  kept for their sake and they can't be redriven; how their deliveries ended stays in \
                  the books. Asks first.",
    after_help = "Examples:
  weft dead-letters discard 1042
  weft dead-letters discard --trigger shop/old --older-than 24h
  weft dead-letters discard --reason refused --dry-run"
)]
pub(crate) struct DiscardArgs {
    /// Ids that `list` shows; none for all that the filters choose
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<u64>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Only say what would be discarded
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
#[command(
    about = "Write dead letters as JSON lines, the oldest first",
    long_about = "Writes one JSON object a line for each letter: its id, reason, trigger, every attempt, and \
                  under `event` the event in CloudEvents' JSON format. The events alone can be sent \
                  again with `jq -c .event | weft send --file -`.",
    after_help = "Examples:
  weft dead-letters export > letters.ndjson
  weft dead-letters export --trigger shop/billing --to letters.ndjson
  weft dead-letters export --status 503 | jq -c .event | weft send --file -"
)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Only those of which this has become
    #[arg(
        long,
        value_name = "STATE",
        default_value = "kept",
        help_heading = "Which letters"
    )]
    pub(crate) state: LetterState,
    /// A file, which is replaced; - for stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

/// Which node, where there is only one way to print.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The node's admin API
    #[arg(long, value_name = "URL", default_value = super::ADMIN_URL, env = "WEFT_ADMIN")]
    pub(crate) admin_url: String,
    /// A file with the admin API's token
    #[arg(long, value_name = "FILE", env = "WEFT_ADMIN_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    about = "Stop a redrive that is under way",
    long_about = "Tells a redrive or discard to stop. What it began goes on; the same command as before goes \
                  on with the letters that are left.",
    after_help = "Examples:
  weft dead-letters stop 3"
)]
pub(crate) struct StopArgs {
    /// The job that `redrive` names
    pub(crate) job: u64,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// Reads `100` or `100/s`.
pub(super) fn per_second(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse()
        .map_err(|_| format!("\"{text}\" isn't a rate, write a count a second such as 100"))
}
