//! The worker threads: a core each, every one a current-thread runtime that turns lanes, sends,
//! and accepts connections; the first one routes as well (DESIGN §3).

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use adapters_http::sink::{self, HttpSink};
use adapters_http::source::{IngestBudget, Source, SourceStats, Stop, serve};
use broker::{Clock, Engine, Keeper, Router, Worker};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::exit::Failure;
use crate::node::health::Health;
use crate::tasks::{OnEnd, Reporter};

/// What every worker needs to take events in.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) engine: Engine,
    pub(crate) settings: adapters_http::source::Settings,
    pub(crate) budget: Arc<IngestBudget>,
    pub(crate) health: Arc<Health>,
    pub(crate) stop: Stop,
}

/// The counters of all workers' sources.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<Vec<Arc<SourceStats>>>>);

impl Sources {
    fn add(&self, stats: Arc<SourceStats>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(stats);
    }

    /// Those of the workers whose doors are open.
    pub(crate) fn all(&self) -> Vec<Arc<SourceStats>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The running workers. Their doors are closed until [`Workers::open`].
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    doors: Vec<oneshot::Sender<(TcpListener, Door)>>,
    /// What their sources count.
    pub(crate) sources: Sources,
}

impl Workers {
    /// Starts a thread for each worker; they deliver what is owed at once.
    ///
    /// # Errors
    ///
    /// When the system can't start a thread.
    pub(crate) fn start(
        router: Router,
        workers: Vec<Worker>,
        sink: sink::Settings,
        clock: &Arc<dyn Clock>,
        reporter: &Reporter,
    ) -> Result<Self, Failure> {
        let sources = Sources::default();
        let (mut threads, mut doors) = (Vec::new(), Vec::new());
        let mut router = Some(router);
        for (index, worker) in workers.into_iter().enumerate() {
            let (door, opened) = oneshot::channel();
            let parts = Parts {
                index,
                worker,
                router: router.take(),
                sink: sink.clone(),
                clock: clock.clone(),
                opened,
                sources: sources.clone(),
                reporter: reporter.clone(),
            };
            let thread = reporter.thread(format!("worker-{index}"), OnEnd::StopNode, move || {
                work(parts)
            });
            threads.push(thread.map_err(|error| {
                Failure::fault(format!("thread worker-{index} can't be started: {error}"))
            })?);
            doors.push(door);
        }
        Ok(Self {
            threads,
            doors,
            sources,
        })
    }

    /// Begins to accept events, a listener each.
    pub(crate) fn open(&mut self, listeners: Vec<TcpListener>, door: &Door) {
        for (waiting, listener) in self.doors.drain(..).zip(listeners) {
            // A worker that is gone is reported by its thread.
            drop(waiting.send((listener, door.clone())));
        }
    }

    /// Whether all threads have ended.
    pub(crate) fn ended(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

/// Starts the thread that builds sidecars; nobody waits for its end.
///
/// # Errors
///
/// When the system can't start a thread.
pub(crate) fn start_sidecars(engine: &Engine, reporter: &Reporter) -> Result<(), Failure> {
    let sidecars = engine.sidecars().clone();
    let thread = reporter.thread("sidecars".into(), OnEnd::Log, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        runtime.block_on(sidecars.tend());
        Ok(())
    });
    thread
        .map(drop)
        .map_err(|error| Failure::fault(format!("thread sidecars can't be started: {error}")))
}

/// Starts the keeper's thread: it follows the log and blocks on the disk.
///
/// # Errors
///
/// When the system can't start a thread.
pub(crate) fn start_keeper(keeper: Keeper, reporter: &Reporter) -> Result<JoinHandle<()>, Failure> {
    let thread = reporter.thread("keeper".into(), OnEnd::StopNode, move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        let kept = runtime.block_on(keeper.run());
        kept.map_err(|fault| fault.to_string())
    });
    thread.map_err(|error| Failure::fault(format!("thread keeper can't be started: {error}")))
}

/// What one thread needs.
struct Parts {
    index: usize,
    worker: Worker,
    router: Option<Router>,
    sink: sink::Settings,
    clock: Arc<dyn Clock>,
    opened: oneshot::Receiver<(TcpListener, Door)>,
    sources: Sources,
    reporter: Reporter,
}

/// The thread's work: everything on one runtime, until all of it has ended.
fn work(parts: Parts) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    LocalSet::new().block_on(&runtime, turn(parts))
}

async fn turn(parts: Parts) -> Result<(), String> {
    let Parts {
        index,
        worker,
        router,
        sink,
        clock,
        opened,
        sources,
        reporter,
    } = parts;
    let sink = HttpSink::new(sink, clock);
    let lanes = tokio::task::spawn_local(worker.run(sink));
    let router = router.map(|router| tokio::task::spawn_local(router.run()));
    let ingress = tokio::task::spawn_local(async move {
        // Without a door the node stops before it has begun to listen.
        let Ok((listener, door)) = opened.await else {
            return Ok(());
        };
        accept(listener, door, &sources).await
    });
    let lanes = async { reporter.joined(format!("the lanes of worker-{index}"), lanes.await) };
    let router = async {
        if let Some(router) = router {
            reporter.joined("the router".into(), router.await);
        }
    };
    let ingress = async {
        reporter.joined::<String>(format!("the listener of worker-{index}"), ingress.await);
    };
    tokio::join!(lanes, router, ingress);
    Ok(())
}

async fn accept(listener: TcpListener, door: Door, sources: &Sources) -> Result<(), String> {
    let Door {
        engine,
        settings,
        budget,
        health,
        stop,
    } = door;
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(|error| error.to_string())?;
    // Publishers of this thread whose events one commit made durable are woken together.
    let (ingress, porter) = engine.local_ingress();
    let porter = tokio::task::spawn_local(porter);
    let source = Source::new(ingress, settings, budget, Arc::new(move || health.get()));
    sources.add(source.stats());
    let cut_off = serve(listener, source, stop).await;
    porter.abort();
    if cut_off > 0 {
        tracing::warn!(
            connections = cut_off,
            "connections were still open at the deadline"
        );
    }
    Ok(())
}
