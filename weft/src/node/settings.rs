//! What a node runs with: the flags, else the Node in the YAML, else the defaults. Checked
//! before anything is opened.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use journal::Options;
use triggers::run::node::StorageKind;

use crate::cli::RunArgs;
use crate::exit::{Exit, Failure};

/// The largest group of records that fits where a batch of default size must (DESIGN §4).
const GROUP_BYTES_MIN: u64 = 8 << 20;
/// What the log adds to a batch of events: headers, context, padding.
const GROUP_OVERHEAD_BYTES: u64 = 1 << 20;
/// A group may take half a segment, less its first block.
const SEGMENT_HEADER_BYTES: u64 = 4096;
/// What a log in memory may take, whatever the Node says of disk space.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Segments in a log in memory; they are all allocated at once.
const MEMORY_SEGMENT_BYTES: u64 = 16 << 20;
/// A token shorter than this could be guessed.
const TOKEN_CHARS_MIN: usize = 16;

/// What a node runs with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The folders of YAML.
    pub(crate) dirs: Vec<PathBuf>,
    /// The data folder; without meaning for storage in memory.
    pub(crate) data: PathBuf,
    /// Where events come in.
    pub(crate) ingress: SocketAddr,
    /// Where operators look.
    pub(crate) admin: SocketAddr,
    /// What the admin API asks for.
    pub(crate) token: Option<String>,
    /// How many worker threads.
    pub(crate) workers: usize,
    /// The rest, as the Node says.
    pub(crate) node: triggers::Node,
}

impl Settings {
    /// Puts flags over the Node.
    ///
    /// # Errors
    ///
    /// An admin API that everyone could reach without a token; a token file that can't be used.
    pub(crate) fn new(args: &RunArgs, node: triggers::Node) -> Result<Self, Failure> {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let admin = args.admin.unwrap_or(node.admin);
        let token = args.admin_token_file.as_deref().map(token).transpose()?;
        if !admin.ip().is_loopback() && token.is_none() {
            return Err(Failure::new(
                Exit::Config,
                format!(
                    "the admin API would listen on {admin}, where others reach it, without a token"
                ),
            )
            .cure("give it one with --admin-token-file FILE, or listen on 127.0.0.1"));
        }
        Ok(Self {
            dirs: args.dirs.clone(),
            data: args
                .data
                .clone()
                .unwrap_or_else(|| node.storage.path.clone()),
            ingress: args.listen.unwrap_or(node.ingress),
            admin,
            token,
            workers: args.workers.map_or(cores, usize::from),
            node,
        })
    }

    /// Whether nothing survives the process.
    pub(crate) fn in_memory(&self) -> bool {
        self.node.storage.kind == StorageKind::Memory
    }

    /// The journal's options.
    pub(crate) fn journal(&self) -> Options {
        let storage = &self.node.storage;
        let (segment_bytes, bytes_max, min_free) = if self.in_memory() {
            (
                MEMORY_SEGMENT_BYTES,
                storage.bytes_max.min(MEMORY_BYTES_MAX),
                0,
            )
        } else {
            (storage.segment_bytes, storage.bytes_max, storage.free_min)
        };
        let wanted =
            GROUP_BYTES_MIN.max(self.node.limits.batch_bytes * 5 / 4 + GROUP_OVERHEAD_BYTES);
        let group_bytes_max = wanted.min(segment_bytes / 2 - SEGMENT_HEADER_BYTES) as usize;
        let default = Options::default();
        Options {
            segment_bytes,
            bytes_max,
            min_free,
            reserve_bytes: 2 * segment_bytes,
            group_bytes_max,
            queue_bytes_max: default.queue_bytes_max.max(2 * group_bytes_max),
            note_bytes_max: default.note_bytes_max.max(group_bytes_max),
            ..default
        }
    }

    /// The engine's bounds.
    pub(crate) fn limits(&self) -> broker::Limits {
        let limits = &self.node.limits;
        broker::Limits {
            event_bytes_max: usize::try_from(limits.event_bytes).unwrap_or(usize::MAX),
            in_flight_max: (limits.in_flight as usize).div_ceil(self.workers),
            destination_in_flight_max: limits.destination_in_flight,
            hops_max: u8::try_from(limits.hops).unwrap_or(u8::MAX),
            quarantine_after: limits.quarantine_after,
            dedup_entries_max: limits.dedup_entries,
            ..broker::Limits::default()
        }
    }

    /// The HTTP sink's bounds.
    pub(crate) fn sink(&self) -> adapters_http::sink::Settings {
        adapters_http::sink::Settings {
            // More than ingress takes, so that a reply over its broker's limit is known for what
            // it is and ends as dead{reply}, instead of as a garbled answer that another try may
            // mend.
            reply_bytes_max: usize::try_from(self.node.limits.batch_bytes).unwrap_or(usize::MAX),
            ..adapters_http::sink::Settings::default()
        }
    }

    /// The HTTP source's bounds.
    pub(crate) fn source(&self) -> adapters_http::source::Settings {
        let limits = &self.node.limits;
        adapters_http::source::Settings {
            batch_bytes_max: usize::try_from(limits.batch_bytes).unwrap_or(usize::MAX),
            batch_events_max: limits.batch_events as usize,
            ..adapters_http::source::Settings::default()
        }
    }
}

/// The names of what differs between two Nodes, as the YAML has them.
pub(crate) fn differing(old: &triggers::Node, new: &triggers::Node) -> Vec<&'static str> {
    let (a, b) = (old, new);
    let fields = [
        ("listeners.ingress", a.ingress != b.ingress),
        ("listeners.admin", a.admin != b.admin),
        ("storage", a.storage != b.storage),
        ("telemetry", a.telemetry != b.telemetry),
        ("limits", a.limits != b.limits),
        ("shutdownGrace", a.shutdown_grace != b.shutdown_grace),
    ];
    fields
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name)
        .collect()
}

/// The token in a file, without the spaces around it.
pub(crate) fn token(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(
            Exit::Config,
            format!("the token file {shown} can't be read: {error}"),
        )
    })?;
    let token = text.trim();
    if token.len() < TOKEN_CHARS_MIN || token.contains(char::is_whitespace) {
        return Err(Failure::new(
            Exit::Config,
            format!(
                "the token in {shown} has {} characters, it needs at least {TOKEN_CHARS_MIN} and no spaces",
                token.len()
            ),
        )
        .cure(format!("make one: head -c 32 /dev/urandom | base64 > {shown}")));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use expect_test::expect;

    use super::*;
    use crate::cli::{Cli, Command};

    fn settings(flags: &[&str], node: triggers::Node) -> Result<Settings, Failure> {
        let line = ["weft", "run", "conf"].iter().chain(flags);
        match Cli::parse_from(line).command {
            Command::Run(args) => Settings::new(&args, node),
            _ => unreachable!(),
        }
    }

    #[test]
    fn flags_win_over_the_node() {
        let mut node = triggers::Node::default();
        node.storage.path = "from-node".into();
        node.ingress = "127.0.0.1:1".parse().unwrap();
        let by_node = settings(&[], node.clone()).unwrap();
        assert_eq!(
            (by_node.data, by_node.ingress.port()),
            ("from-node".into(), 1)
        );
        let by_flags = settings(&["--data", "d", "--listen", "127.0.0.1:2"], node).unwrap();
        assert_eq!((by_flags.data, by_flags.ingress.port()), ("d".into(), 2));
    }

    #[test]
    fn an_admin_api_that_others_reach_needs_a_token() {
        let failure =
            settings(&["--admin", "0.0.0.0:8090"], triggers::Node::default()).unwrap_err();
        expect![[r#"
            error: the admin API would listen on 0.0.0.0:8090, where others reach it, without a token
              give it one with --admin-token-file FILE, or listen on 127.0.0.1"#]]
        .assert_eq(&failure.to_string());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let flags = [
            "--admin",
            "0.0.0.0:8090",
            "--admin-token-file",
            file.to_str().unwrap(),
        ];
        fs::write(&file, "short\n").unwrap();
        let failure = settings(&flags, triggers::Node::default()).unwrap_err();
        assert!(
            failure
                .message
                .contains("has 5 characters, it needs at least 16"),
            "{failure}"
        );
        fs::write(&file, "0123456789abcdef\n").unwrap();
        let token = settings(&flags, triggers::Node::default()).unwrap().token;
        assert_eq!(token.as_deref(), Some("0123456789abcdef"));
    }

    #[test]
    fn the_journals_options_agree_for_every_node_that_is_allowed() {
        for (segment, batch) in [(64 << 20, 4 << 20), (8 << 20, 4 << 20), (1 << 30, 64 << 20)] {
            let mut node = triggers::Node::default();
            (node.storage.segment_bytes, node.limits.batch_bytes) = (segment, batch);
            let options = settings(&[], node).unwrap().journal();
            let disk = journal::model_disk::ModelDisk::new();
            let clock = std::sync::Arc::new(journal::OsClock::new());
            let opened = journal::Journal::open(disk, clock, options);
            assert!(opened.is_ok(), "segments of {segment}, batches of {batch}");
        }
    }

    #[test]
    fn a_changed_node_is_told_by_the_fields_names() {
        let old = triggers::Node::default();
        let mut new = old.clone();
        new.limits.hops = 3;
        new.storage.bytes_max *= 2;
        assert_eq!(differing(&old, &new), ["storage", "limits"]);
    }
}
