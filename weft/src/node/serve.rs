//! A node from its start to its end. Stopping is the start read backwards.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use adapters_http::source::{BindError, IngestBudget, Readiness, bind};
use broker::trace::{NoSpans, Spans};
use journal::Driver;
use tokio::sync::watch;
use tokio::time::Instant;
use triggers::Catalog;
use triggers::files::File;

use crate::admin::{self, Admin};
use crate::exit::{Exit, Failure};
use crate::node::banner::{Banner, program};
use crate::node::files::lowered;
use crate::node::health::Health;
use crate::node::open::{self, Node};
use crate::node::settings::Settings;
use crate::node::watch::{Look, Problems, Watch, apply};
use crate::node::workers::{Door, Workers, start_keeper, start_sidecars};
use crate::out;
use crate::signals::Stop;
use crate::table::many;
use crate::tasks::{Ended, OnEnd, Tasks};
use crate::telemetry::otlp;

/// Bytes of bodies that may be on their way in at once, in the whole node; more is 503.
const INGEST_BYTES_MAX: usize = 64 << 20;
/// How long a node whose log has stopped still answers: nothing can be saved any more.
const FAULT_GRACE: Duration = Duration::from_millis(300);
/// The name of the committer's thread in messages.
const THE_LOG: &str = "the log";
/// How long the cause of a fault is waited for, once its consequence has been seen.
const CAUSE_TIMEOUT: Duration = Duration::from_millis(50);
/// How long a stopping node asks itself what is owed.
const REPORT_TIMEOUT: Duration = Duration::from_millis(200);
/// How long threads may take to end after the log was closed.
const JOIN_GRACE: Duration = Duration::from_secs(2);

/// Runs a node until it is told to stop, or can't go on.
pub(crate) async fn serve(settings: Settings, files: Vec<File>) -> Result<(), Failure> {
    let mut signals = Stop::listen().map_err(Failure::fault)?;
    let variable = |name: &str| std::env::var(name).ok();
    let target = otlp::target(variable, settings.node.telemetry.otlp_endpoint.as_deref())
        .map_err(|error| Failure::new(Exit::Config, error))?;
    let health = Arc::new(Health::starting());
    let mut tasks = Tasks::new();
    // Addresses first: a port that is taken leaves the data folder untouched.
    let mut listeners =
        bind(settings.ingress, settings.workers).map_err(|error| taken(&error, "--listen"))?;
    let mut admin_listener = bind(settings.admin, 1).map_err(|error| taken(&error, "--admin"))?;
    let ingress = local(&listeners)?;
    let admin_address = local(&admin_listener)?;
    let exporter = otlp::start(
        &target,
        &settings.node.telemetry.service_name,
        &tasks.reporter(),
    )
    .map_err(|error| Failure::new(Exit::Config, error))?;
    let spans: Arc<dyn Spans> = match &exporter {
        Some(exporter) => exporter.spans(),
        None => Arc::new(NoSpans),
    };

    let Some(node) = open_unless_stopped(&settings, spans, &mut signals).await? else {
        return Ok(());
    };
    let Node {
        opened,
        driver,
        kept_driver,
        recovered,
        kept_recovered,
        facts,
        clock,
    } = node;
    let engine = opened.engine.clone();
    let journal = committer(driver, THE_LOG, &tasks)?;
    let kept = committer(kept_driver, "what is kept", &tasks)?;
    let keeper = start_keeper(opened.keeper, &tasks.reporter())?;
    let mut workers = Workers::start(
        opened.router,
        opened.workers,
        settings.sink(),
        &clock,
        &tasks.reporter(),
    )?;

    let replayer = opened.replayer;
    let replaying = async move { replayer.run().await.map_err(|fault| chain(&fault)) };
    tasks.spawn("replays", OnEnd::StopNode, replaying);

    start_sidecars(&engine, &tasks.reporter())?;

    // What is in force is what the log says, until the YAML is in force too.
    let seen = Look::at(&settings.dirs);
    let mut catalog = Catalog::restore(engine.attached());
    let change = catalog.reload(files);
    let (lowered, further) = lowered(&catalog);
    let report = change.report(further);
    apply(&engine, change).await.map_err(Failure::fault)?;
    // Brokers of the log are known at the door before it opens.
    engine.caught_up().await.map_err(Failure::fault)?;
    let problems = Arc::new(Problems::default());
    problems.set(&report);
    problems.set_places(&catalog);

    let (stop, stopped) = watch::channel(None);
    let admin = Admin {
        engine: engine.clone(),
        health: health.clone(),
        sources: workers.sources.clone(),
        problems: problems.clone(),
        spans: exporter.as_ref().map(otlp::Exporter::spans),
        clock: clock.clone(),
        started: clock.wall(),
        settings: settings.clone(),
        ingress,
        address: admin_address,
    };
    let admin_listener = admin_listener.remove(0);
    tasks.spawn(
        "the admin API",
        OnEnd::StopNode,
        admin::serve(admin_listener, admin, stopped.clone()),
    );
    let said = if report.is_clean() {
        String::new()
    } else {
        crate::node::banner::problems(&report)
    };
    let watch = Watch {
        dirs: settings.dirs.clone(),
        engine: engine.clone(),
        catalog,
        node: settings.node.clone(),
        problems,
        seen,
        said,
        said_of_node: String::new(),
    };
    tasks.spawn("the watch over the YAML", OnEnd::StopNode, watch.run());
    let door = Door {
        engine: engine.clone(),
        settings: settings.source(),
        budget: IngestBudget::new(INGEST_BYTES_MAX),
        health: health.clone(),
        stop: stopped,
    };
    workers.open(std::mem::take(&mut listeners), &door);
    health.set(Readiness::Ready);
    let banner = Banner {
        program: program(),
        ingress,
        admin: admin_address,
        data: (!settings.in_memory()).then_some(&settings.data),
        class: facts.class,
        bytes_max: settings.journal().bytes_max,
        workers: settings.workers,
        recovered: &recovered,
        kept_recovered: &kept_recovered,
        found: &opened.found,
        report: &report,
        lowered: &lowered,
        spans: exporter.as_ref().and(target.address()),
    };
    out::announce(banner.render());
    // Ten thousand triggers in a second form are megabytes that nobody needs from here on.
    drop((door, lowered, report, opened.found));

    let end = tokio::select! {
            signal = signals.next() => End::Asked(signal),
    ended = tasks.supervise() => End::Fault(cause(ended, &mut tasks).await.to_string()),
        };

    let grace = match &end {
        End::Asked(signal) => {
            out::announce(format_args!(
                "{signal}: draining, at most {:.0} s; a second signal stops at once",
                settings.node.shutdown_grace.as_secs_f64()
            ));
            health.set(Readiness::Draining);
            settings.node.shutdown_grace
        }
        End::Fault(why) => {
            tracing::error!(%why, "the node can't go on");
            health.set(Readiness::NotReady(why.clone()));
            FAULT_GRACE
        }
    };
    let stopping = async {
        let deadline = Instant::now() + grace;
        stop.send_replace(Some(deadline));
        // Asked before the workers end, so that it can be said what goes on at the next start.
        let report = tokio::time::timeout(REPORT_TIMEOUT, engine.report()).await;
        let owed = report
            .ok()
            .and_then(Result::ok)
            .map(|report| report.books.owed);
        engine.drain(grace).await;
        let closed = tokio::time::timeout(FAULT_GRACE.max(grace), engine.close()).await;
        let until = Instant::now() + JOIN_GRACE.min(grace);
        let threads = [journal, kept, keeper];
        let ended = || workers.ended() && threads.iter().all(JoinHandle::is_finished);
        while !ended() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (owed, matches!(closed, Ok(Ok(()))))
    };
    let (owed, closed) = tokio::select! {
        stopped = stopping => stopped,
        signal = signals.next() => {
            out::announce(format_args!("{signal} again: stopped at once"));
            std::process::exit(Exit::Interrupted as i32);
        }
    };
    if let Some(exporter) = exporter {
        exporter.stop();
    }
    match end {
        End::Asked(_) if closed => {
            match owed {
                _ if settings.in_memory() => out::announce("stopped; nothing was kept"),
                Some(owed) if owed > 0 => out::announce(format_args!(
                    "stopped; at most {} owed, for the next start",
                    many(owed, "delivery is", "deliveries are")
                )),
                _ => out::announce("stopped"),
            }
            Ok(())
        }
        End::Asked(_) => Err(Failure::fault("the log could not be closed in order")
            .cure("the next start recovers it; nothing acknowledged is lost by that")),
        End::Fault(why) => Err(Failure::fault(format!("stopped: {why}"))
            .cure("the next start recovers the log; nothing acknowledged is lost by that")),
    }
}

/// Runs a journal's committer in a thread of its own.
fn committer(driver: Driver, name: &'static str, tasks: &Tasks) -> Result<JoinHandle<()>, Failure> {
    let thread = driver.spawn_thread();
    let thread = tasks
        .reporter()
        .thread(name.into(), OnEnd::StopNode, move || match thread.join() {
            Ok(end) => end.map_err(|fault| chain(&fault)),
            Err(_) => Err("the committer panicked".into()),
        });
    thread.map_err(Failure::fault)
}

/// Why a node ends.
enum End {
    /// A signal asked for it.
    Asked(&'static str),
    /// A part that it can't do without has ended.
    Fault(String),
}

/// The end that caused the others: when the log stops, everybody who writes to it ends too, and
/// may be seen to end first.
async fn cause(first: Ended, tasks: &mut Tasks) -> Ended {
    let until = Instant::now() + CAUSE_TIMEOUT;
    while let Ok(next) = tokio::time::timeout_at(until, tasks.supervise()).await {
        if next.name == THE_LOG {
            return next;
        }
    }
    first
}

/// Opens the log on a thread of its own, so that a signal is heard meanwhile; `None` when one
/// came. Nothing has been written then.
async fn open_unless_stopped(
    settings: &Settings,
    spans: Arc<dyn Spans>,
    signals: &mut Stop,
) -> Result<Option<Node>, Failure> {
    let owned = settings.clone();
    let opening = tokio::task::spawn_blocking(move || open::open(&owned, spans));
    tokio::select! {
        opened = opening => opened.map_err(Failure::fault)?.map(Some),
        signal = signals.next() => {
            out::announce(format_args!("{signal} while opening the log: nothing was started"));
            std::process::exit(Exit::Ok as i32);
        }
    }
}

fn taken(error: &BindError, flag: &str) -> Failure {
    Failure::new(Exit::Address, error).cure(format!(
        "stop what listens there, or choose another with {flag} ADDR (port 0: a free one)"
    ))
}

fn local(listeners: &[std::net::TcpListener]) -> Result<std::net::SocketAddr, Failure> {
    let first = listeners
        .first()
        .ok_or_else(|| Failure::fault("no listener"))?;
    first.local_addr().map_err(Failure::fault)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
