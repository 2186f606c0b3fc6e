//! What single steps cost, in this process on one core: no HTTP, no second process.
//!
//! Each step runs in rounds until its time is up. The median round is printed, with the fastest
//! and the slowest beside it, so that a disturbance shows there and not in the number.

use std::fs;
use std::hint::black_box;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::http::{Limits, Out};
use event::{Event, EventRef};
use http::{HeaderMap, HeaderName, HeaderValue};
use journal::{Group, Journal, LocalJournal, OsClock, Record};
use triggers::{BrokerName, Catalog, Filter, Index};

use crate::folder::{self, Wanted};
use crate::gates::median;
use crate::trial::DATA_BYTES;
use crate::{all, out, process, wire};

/// Records that are stored together, or in the air at once.
const TOGETHER: usize = 64;
/// Records of one round.
const RECORDS_A_ROUND: usize = 64 * 1024;
/// Calls of one round of a step that only computes.
const CALLS_A_ROUND: u32 = 20_000;
/// Triggers in the index, of which three match.
const TRIGGERS: [usize; 3] = [1_000, 10_000, 100_000];
const MATCHING: usize = 3;

/// What `micro` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where the journal's files go; on a real disk. Default: `bench-data` in the target folder.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Seconds for each step.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
}

/// Runs all steps and prints a line for each.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let data_dir = all::data_dir(options.data_dir.as_deref())?;
    let place = data_dir.join(format!("micro-{}", std::process::id()));
    fs::create_dir_all(&place)?;
    if let Some((core, _)) = process::cores()? {
        process::pin(core)?;
    }
    let span = Duration::from_secs(options.seconds.max(1));
    out::line(&format!("load average {}", process::load_average()));
    if cfg!(debug_assertions) {
        out::line("THIS IS A DEBUG BUILD: use --release");
    }
    let event = events(span)?;
    for triggers in TRIGGERS {
        matching(
            span,
            triggers,
            &event,
            &place.join(format!("yaml-{triggers}")),
        )?;
    }
    journal(span, &place.join("log"))?;
    fs::remove_dir_all(&place)?;
    out::line(&format!("load average {}", process::load_average()));
    Ok(())
}

/// Decoding and encoding; returns the event that was decoded.
fn events(span: Duration) -> io::Result<Event> {
    let (head, body) = message();
    let limits = Limits::default();
    let decode = |head: &HeaderMap, body: &Bytes| {
        let mut batch =
            event::http::decode(head, body.clone(), &limits).map_err(io::Error::other)?;
        batch
            .events
            .pop()
            .ok_or_else(|| io::Error::other("the message holds no event"))
    };
    let binary = decode(&head, &body)?;
    step(span, "decode, binary", || decode(&head, &body).is_ok());
    let structured = event::http::encode(&binary.as_ref(), Out::Json, &[], &[]);
    let whole = decode(&structured.headers, &structured.body)?;
    step(span, "decode, structured", || {
        decode(&structured.headers, &structured.body).is_ok()
    });
    step(span, "view of a stored event", || {
        EventRef::from_stored(black_box(binary.stored())).is_ok_and(|event| event.id() == "e-1")
    });
    let encode = |event: &Event, add: &[(&str, &str)]| {
        event::http::encode(&event.as_ref(), Out::AsItCame, add, &[])
            .body
            .len()
    };
    step(span, "encode as it came, binary", || encode(&binary, &[]));
    step(span, "encode as it came, structured", || {
        encode(&whole, &[])
    });
    step(span, "encode, structured and one attribute added", || {
        encode(&whole, &[("knativearrivaltime", "2026-01-01T00:00:00Z")])
    });
    Ok(binary)
}

/// An event as the end-to-end driver sends it.
fn message() -> (HeaderMap, Bytes) {
    let mut head = HeaderMap::new();
    let kind = wire::type_of(0);
    for (name, value) in [
        ("host", "127.0.0.1:8080"),
        ("ce-specversion", "1.0"),
        ("ce-source", "/weft/bench"),
        ("ce-type", &kind),
        ("ce-id", "e-1"),
        ("ce-weftbenchat", "12345678901234567890"),
        ("content-type", "application/json"),
    ] {
        let value = HeaderValue::from_str(value).expect("the text above is plain ASCII");
        head.insert(HeaderName::from_static(name), value);
    }
    (head, wire::json(DATA_BYTES).into())
}

/// Reading a folder of triggers, and finding the three that match.
fn matching(span: Duration, count: usize, event: &Event, yaml: &Path) -> io::Result<()> {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let wanted = || Wanted {
        function: 0,
        subscriber: nowhere,
    };
    let wanted: Vec<Wanted> = (0..MATCHING).map(|_| wanted()).collect();
    folder::write(yaml, &wanted, count - MATCHING, nowhere)?;
    let began = Instant::now();
    let filed = filters(yaml)?;
    let read = began.elapsed();
    if filed.len() != count {
        return Err(io::Error::other(format!(
            "{} of {count} triggers were read",
            filed.len()
        )));
    }
    let began = Instant::now();
    let index = Index::build(filed);
    let built = began.elapsed();
    out::line(&format!(
        "{count} triggers: YAML read in {read:.0?}, index built in {built:.0?}"
    ));

    let broker = BrokerName::new("default", "default");
    let mut found = Vec::new();
    index.matching(&broker, &event.as_ref(), &mut found);
    if found.len() != MATCHING {
        return Err(io::Error::other(format!(
            "{} triggers match, not {MATCHING}",
            found.len()
        )));
    }
    step(
        span,
        &format!("match, {count} triggers, {MATCHING} match"),
        || {
            let event = EventRef::from_stored(event.stored()).ok();
            event
                .inspect(|event| index.matching(&broker, event, &mut found))
                .is_some()
        },
    );
    Ok(())
}

fn filters(yaml: &Path) -> io::Result<Vec<(u32, BrokerName, Filter)>> {
    let files = triggers::files::read(&[yaml]).map_err(io::Error::other)?;
    let mut catalog = Catalog::default();
    let change = catalog.reload(files);
    let resources: Vec<_> = catalog.in_force().collect();
    let (lowered, problems) = triggers::lower(&resources);
    if let Some(problem) = change.problems.first().or(problems.first()) {
        return Err(io::Error::other(problem.to_string()));
    }
    let triggers = lowered.triggers.into_values();
    Ok((0..)
        .zip(triggers)
        .map(|(number, t)| (number, t.broker, t.filter))
        .collect())
}

/// Appending, in groups and one by one, each until it is on disk.
fn journal(span: Duration, folder: &Path) -> io::Result<()> {
    let opened = Journal::open_folder(
        folder,
        Arc::new(OsClock::new()),
        journal::Options::default(),
    );
    let (journal, driver, _) = opened.map_err(io::Error::other)?;
    let committing = driver.spawn_thread();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    out::line(&format!("journal: {}", journal.facts().class));
    runtime.block_on(async {
        let (local, porter) = journal.local();
        let mut porting = tokio::task::JoinSet::new();
        porting.spawn(porter);
        let what = format!("append, one group of {TOGETHER} at a time");
        rounds(span, &what, &journal, || one_at_a_time(&journal)).await?;
        let what = format!("append, {TOGETHER} groups of one in the air");
        rounds(span, &what, &journal, || in_the_air(&local)).await?;
        porting.shutdown().await;
        journal
            .close(Group::one(record()))
            .await
            .map_err(io::Error::other)
    })?;
    let ended = committing
        .join()
        .map_err(|_| io::Error::other("the journal's thread panicked"))?;
    ended.map_err(io::Error::other)
}

fn record() -> Record {
    static BODY: [u8; DATA_BYTES] = [b'x'; DATA_BYTES];
    Record {
        kind: 1,
        version: 1,
        tag: 0,
        body: Bytes::from_static(&BODY),
    }
}

async fn one_at_a_time(journal: &Journal) -> io::Result<()> {
    for _ in 0..RECORDS_A_ROUND / TOGETHER {
        let group = Group::new(vec![record(); TOGETHER]);
        journal.append(group).await.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn in_the_air(journal: &LocalJournal) -> io::Result<()> {
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..TOGETHER {
        let journal = journal.clone();
        callers.spawn(async move {
            for _ in 0..RECORDS_A_ROUND / TOGETHER {
                journal.append(Group::one(record())).await?;
            }
            Ok::<_, journal::AppendError>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
    Ok(())
}

/// Rounds of appends until `span` is over; segments are reused as a node's are.
async fn rounds<F>(
    span: Duration,
    what: &str,
    journal: &Journal,
    mut round: impl FnMut() -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    let this = rustix::process::getpid();
    let (began, cpu, stats) = (Instant::now(), process::cpu(this)?, journal.stats());
    let mut seconds = Vec::new();
    while began.elapsed() < span {
        let start = Instant::now();
        round().await?;
        seconds.push(start.elapsed().as_secs_f64());
        let end = *journal.durable().borrow();
        journal.reclaim(end);
    }
    let records = (seconds.len() * RECORDS_A_ROUND) as f64;
    let cpu = (process::cpu(this)? - cpu).as_secs_f64() * 1e9 / records;
    let frames = journal.stats().frames - stats.frames;
    let rate = RECORDS_A_ROUND as f64 / median(&seconds).unwrap_or(f64::INFINITY);
    let fastest = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let best = RECORDS_A_ROUND as f64 / fastest;
    out::line(&format!(
        "{what:<46} {rate:>9.0} records/s (at best {best:.0})  {cpu:.0} ns CPU a record  \
         {:.0} records a frame",
        records / frames as f64
    ));
    Ok(())
}

/// Times a step that only computes.
fn step<T>(span: Duration, what: &str, mut call: impl FnMut() -> T) {
    let began = Instant::now();
    let mut nanoseconds = Vec::new();
    while began.elapsed() < span {
        let start = Instant::now();
        for _ in 0..CALLS_A_ROUND {
            black_box(call());
        }
        nanoseconds.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS_A_ROUND));
    }
    let fastest = nanoseconds.iter().copied().fold(f64::INFINITY, f64::min);
    let slowest = nanoseconds.iter().copied().fold(0.0, f64::max);
    let middle = median(&nanoseconds).unwrap_or_default();
    out::line(&format!(
        "{what:<46} {middle:>9.0} ns  ({fastest:.0} to {slowest:.0})"
    ));
}
