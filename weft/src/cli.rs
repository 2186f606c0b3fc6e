//! The command line, as clap reads it, and every word of its help.
//!
//! Each command's help ends with examples that can be pasted. Flags of `run` win over the Node
//! in the YAML; a flag's environment variable counts as the flag.

mod backup;
pub(crate) mod letters;
mod operate;
mod replay;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::backup::{BackupArgs, RestoreArgs};
pub(crate) use self::letters::DeadLettersArgs;
pub(crate) use self::operate::{DeleteArgs, Pausable, PauseArgs, ResumeArgs};
pub(crate) use self::replay::{JobsArgs, JobsCommand, ReplayArgs};
use crate::exit;
use crate::span::Span;

/// Where `send` sends, unless told otherwise.
pub(crate) const SEND_TO: &str = "http://127.0.0.1:8080/default/default";
/// Where the commands look for a node's admin API, unless told otherwise.
pub(crate) const ADMIN_URL: &str = "http://127.0.0.1:8090";

/// Weft, an event mesh broker for functions.
#[derive(Debug, Parser)]
#[command(
    name = "weft",
    version,
    about = "Weft: an event mesh broker for functions",
    long_about = "Weft takes CloudEvents over HTTP, stores each on disk before it says yes, matches \
                  it against YAML triggers, and delivers it to every function that wants it, with \
                  retries, until the function accepts or the trigger's terms say stop.",
    after_help = "Five minutes to a delivered event:
  weft receive                             a function to try things with, on 127.0.0.1:8081
  weft run examples/quickstart             the broker, in another terminal
  weft send --type com.example.order.placed --data '{\"amount\": 10}'
  weft get triggers                        what is owed, delivered, dead

`weft COMMAND --help` shows each command's flags and examples.",
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What goes to stderr, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LogArgs {
    /// What is logged, as `info`, `debug` or `weft=debug,journal=info`; RUST_LOG does the same
    #[arg(long = "log", global = true, value_name = "FILTER", env = "WEFT_LOG")]
    pub(crate) filter: Option<String>,
    /// How it is logged, to stderr
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "WEFT_LOG_FORMAT",
        default_value = "text",
        hide_env = true
    )]
    pub(crate) log_format: LogFormat,
}

/// How a line of log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people; coloured on a terminal
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Send(SendArgs),
    Receive(ReceiveArgs),
    Get(GetArgs),
    Describe(DescribeArgs),
    #[command(visible_alias = "dl")]
    DeadLetters(DeadLettersArgs),
    Replay(ReplayArgs),
    Jobs(JobsArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Delete(DeleteArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Log(LogCommandArgs),
    Completion(CompletionArgs),
}

#[derive(Debug, Args)]
#[command(
    about = "Start a node: read YAML, take events in, deliver them",
    long_about = "Starts a node.

Reads every .yaml and .yml file under the folders, opens (and recovers) the log in the data \
folder, and listens. The folders are watched: a changed file takes effect within a second, and a \
file with a mistake is reported while its last good version stays in force.

SIGTERM or Ctrl-C drains: no new events, attempts in the air may finish (up to shutdownGrace, \
PT25S), what is still owed stays on disk. A second signal stops at once."
)]
pub(crate) struct RunArgs {
    /// Folders of YAML
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// Where data lies [default: the Node's storage.path, else ./weft-data]
    #[arg(long, value_name = "DIR", env = "WEFT_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Where events come in; port 0 picks a free one [default: the Node's, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "WEFT_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where the admin API listens [default: the Node's, else 127.0.0.1:8090]
    #[arg(long, value_name = "ADDR", env = "WEFT_ADMIN_LISTEN")]
    pub(crate) admin: Option<SocketAddr>,
    /// A file with the token that the admin API asks for; needed when it isn't on loopback
    #[arg(long, value_name = "FILE", env = "WEFT_ADMIN_TOKEN_FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Worker threads [default: the Node's, else one a core]
    #[arg(long, value_name = "N", env = "WEFT_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: Option<u16>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  weft run examples/quickstart
  weft run conf/ more-conf/ --data /var/lib/weft --listen 0.0.0.0:8080
  weft run conf/ --listen 127.0.0.1:0 --admin 127.0.0.1:0    free ports, printed at start
  weft run conf/ --log debug --log-format json

Traces:
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 exports a span for each attempt
";

#[derive(Debug, Args)]
#[command(
    about = "Check YAML as `run` would, without starting",
    long_about = "Checks YAML as `weft run` would, without starting or opening anything. Prints \
                  every problem with file, line and column, and what to write instead; exits 3 \
                  when there is one, 8 when a folder doesn't exist or holds no YAML.",
    after_help = "Examples:
  weft check examples/quickstart
  weft check conf/ && git commit -am 'route orders to billing'"
)]
pub(crate) struct CheckArgs {
    /// Folders of YAML
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// How the result is printed
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: Output,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs; the admin API's answer
    Json,
    /// The same as YAML
    Yaml,
}

/// How an event is put into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Attributes as ce- headers, data as the body
    Binary,
    /// The whole event as JSON
    Structured,
    /// Several events in one request, stored all or none
    Batch,
}

#[derive(Debug, Args)]
#[command(
    about = "Send events to a broker",
    long_about = "Sends events to a broker and prints what it answered. Exits 10 when the broker \
                  refused any, 9 when nothing answers.

Without --file it makes an event from the flags: a fresh id and the time now, unless given. With \
--file it sends events written as JSON (one, an array, or one a line), byte for byte as they are.",
    after_help = "Examples:
  weft send --type com.example.order.placed --data '{\"amount\": 10}'
  weft send --type order.placed --source /shop --subject o-1 --attr region=eu -d @order.json
  weft send --to http://127.0.0.1:8080/shop/default --type hello --content-type text/plain -d hi
  weft send --file events.ndjson --rate 100
  cat event.json | weft send --file -
  weft send --type load.test --count 100000 --concurrency 32
  weft send --type load.test --count 1000 --mode batch --batch-size 100"
)]
pub(crate) struct SendArgs {
    /// The broker's address: http://HOST:PORT/NAMESPACE/BROKER
    #[arg(long, value_name = "URL", default_value = SEND_TO, env = "WEFT_TO")]
    pub(crate) to: String,
    /// The event's type
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    pub(crate) ty: Option<String>,
    /// The event's source, a URI or a path
    #[arg(long, value_name = "URI", default_value = "/weft/send")]
    pub(crate) source: String,
    /// The event's id [default: a fresh one]; with --count, -1, -2 and so on follow it
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// What in the source it is about
    #[arg(long, value_name = "TEXT")]
    pub(crate) subject: Option<String>,
    /// When it happened, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// The data: text, @FILE, or - for stdin
    #[arg(short, long, value_name = "DATA", allow_hyphen_values = true)]
    pub(crate) data: Option<String>,
    /// The data's media type [default: application/json when there is data]
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// A further attribute; may be given several times
    #[arg(short, long = "attr", value_name = "NAME=VALUE")]
    pub(crate) attributes: Vec<String>,
    /// A file of JSON events: one, an array, or one a line; - for stdin
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with_all = ["ty", "id", "subject", "time", "data", "content_type", "attributes", "count"]
    )]
    pub(crate) file: Option<PathBuf>,
    /// How events are put into requests [default: binary; structured with --file]
    #[arg(short, long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
    /// How many events
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,
    /// At most this many events a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rate: Option<u64>,
    /// How many requests at once; more than 1 gives up the order
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// Events in one request, with --mode batch
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) batch_size: u16,
}

#[derive(Debug, Args)]
#[command(
    about = "Be a function: print each event that arrives",
    long_about = "Listens as a function would and prints each event that arrives: attributes, \
                  data, and which attempt of the broker it is. It can also fail, take its time, \
                  or answer with an event of its own, to see what the broker makes of it.",
    after_help = "Examples:
  weft receive
  weft receive --listen 127.0.0.1:9000 --quiet
  weft receive --status 503                       fail, and watch the attempts
  weft receive --fail 3                           fail three times, then accept
  weft receive --delay 2s                         take two seconds for each
  weft receive --reply com.example.order.billed   answer with an event of that type"
)]
pub(crate) struct ReceiveArgs {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub(crate) listen: SocketAddr,
    /// Answer with this status
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(crate) status: Option<u16>,
    /// Answer 503 (or --status) to the first N attempts, then 200
    #[arg(long, value_name = "N")]
    pub(crate) fail: Option<u64>,
    /// Wait before answering: 2s, 500ms, PT2S
    #[arg(long, value_name = "TIME")]
    pub(crate) delay: Option<Span>,
    /// Ask to be left alone this long (Retry-After, whole seconds)
    #[arg(long, value_name = "TIME")]
    pub(crate) retry_after: Option<Span>,
    /// Answer with an event of this type
    #[arg(long, value_name = "TYPE", conflicts_with = "status")]
    pub(crate) reply: Option<String>,
    /// The data of that event
    #[arg(long, value_name = "DATA", requires = "reply")]
    pub(crate) reply_data: Option<String>,
    /// One line an event
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Which node the command talks to.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    /// The node's admin API
    #[arg(long, value_name = "URL", default_value = ADMIN_URL, env = "WEFT_ADMIN")]
    pub(crate) admin_url: String,
    /// A file with the admin API's token
    #[arg(long, value_name = "FILE", env = "WEFT_ADMIN_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// How the result is printed
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[command(
    about = "List triggers, destinations and whatever else a running node has",
    after_help = "Examples:
  weft get triggers
  weft get triggers -o json | jq '.items[] | select(.owed > 0) | .name'
  weft get destinations
  weft get status --admin-url http://10.0.0.7:8090 --token-file token"
)]
pub(crate) struct GetArgs {
    /// What to list
    #[arg(value_name = "WHAT")]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// What `get` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Who wants what, and what is owed to them
    #[value(alias = "trigger", alias = "t")]
    Triggers,
    /// Where events come in
    #[value(alias = "broker", alias = "b")]
    Brokers,
    /// Where events go
    #[value(alias = "destination", alias = "d")]
    Destinations,
    /// Destinations with a name: who uses them, and how they are
    #[value(alias = "sink")]
    Sinks,
    /// DeliveryPolicies: who uses them, and what they say
    #[value(alias = "policy", alias = "deliverypolicies", alias = "deliverypolicy")]
    Policies,
    /// The node itself: log, books, health
    #[value(alias = "node")]
    Status,
}

#[derive(Debug, Args)]
#[command(
    about = "Show one thing of a running node in full",
    after_help = "Examples:
  weft describe trigger billing
  weft describe trigger shop/billing
  weft describe trigger billing --namespace shop -o yaml"
)]
pub(crate) struct DescribeArgs {
    /// What it is
    #[arg(value_name = "KIND")]
    pub(crate) kind: Kind,
    /// Its name, or NAMESPACE/NAME
    pub(crate) name: String,
    /// Its namespace
    #[arg(short, long, default_value = "default")]
    pub(crate) namespace: String,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

/// What `describe` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A trigger
    Trigger,
}

#[derive(Debug, Args)]
#[command(
    about = "Look into a data folder, also of a node that runs or crashed",
    long_about = "Reads a data folder. Nothing is locked or changed, so it is safe beside a running \
                  node and on what a crash left behind."
)]
pub(crate) struct LogCommandArgs {
    #[command(subcommand)]
    pub(crate) command: LogCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Check every record's checksum and name every damage
    #[command(
        long_about = "Reads the whole log and what is kept of its segments that went, checks every \
                      record's checksum, and names every damage with segment, position and offsets. \
                      Exits 7 when there is any.",
        after_help = "Examples:
  weft log verify
  weft log verify /var/lib/weft"
    )]
    Verify {
        /// The data folder
        #[arg(value_name = "DIR", default_value = "weft-data", env = "WEFT_DATA")]
        dir: PathBuf,
        /// How the result is printed
        #[arg(short, long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
    /// Print the records
    #[command(after_help = "Examples:
  weft log cat | tail
  weft log cat /var/lib/weft --from 1000 --limit 50
  weft log cat --kind dead -o json | jq .body.cause")]
    Cat {
        /// The data folder
        #[arg(value_name = "DIR", default_value = "weft-data", env = "WEFT_DATA")]
        dir: PathBuf,
        /// The first offset
        #[arg(long, value_name = "OFFSET", default_value_t = 0)]
        from: u64,
        /// At most this many records
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Only this kind: event, routed, settled, parked, held, dead, trigger-set, mark
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// How records are printed; json is one object a line
        #[arg(short, long, default_value = "table", value_name = "FORMAT")]
        output: Output,
    },
}

#[derive(Debug, Args)]
#[command(
    about = "Print a completion script for a shell",
    after_help = "Examples:
  weft completion bash > ~/.local/share/bash-completion/completions/weft
  weft completion zsh > ~/.zfunc/_weft
  weft completion fish > ~/.config/fish/completions/weft.fish"
)]
pub(crate) struct CompletionArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// The command line with what can't be said in an attribute: the table of exit codes.
pub(crate) fn command() -> clap::Command {
    let command = <Cli as clap::CommandFactory>::command();
    without_values(command).mut_subcommand("run", |run| {
        run.after_help(format!("{RUN_EXAMPLES}\n{}", exit::TABLE))
    })
}

/// Helps name environment variables, and don't repeat what is in them.
fn without_values(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| argument.hide_env_values(true))
        .mut_subcommands(without_values)
}

#[cfg(test)]
mod tests;
