//! Tasks and threads by name and with a fate, so that none can die unseen.
//!
//! The node's vital parts report their end here, whether they returned, failed or panicked;
//! [`Tasks::supervise`] names the first one that the node can't do without.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};

/// Ends that may wait to be seen. The first one stops the node, so more are only counted out.
const ENDS_MAX: usize = 256;

/// What the end of a task means for the node, whether it returned or panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnEnd {
    /// Without it the node cannot keep its promises: drain, then exit non-zero.
    StopNode,
    /// Its end is logged and changes nothing else.
    Log,
}

/// A part that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its name.
    pub(crate) name: String,
    /// How.
    pub(crate) how: How,
}

/// How a part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// It returned.
    Returned,
    /// It returned an error.
    Failed(String),
    /// It panicked.
    Panicked(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, how } = self;
        match how {
            How::Returned => write!(f, "{name} ended"),
            How::Failed(why) => write!(f, "{name} failed: {why}"),
            How::Panicked(why) => write!(f, "{name} panicked: {why}"),
        }
    }
}

/// The node's parts.
#[derive(Debug)]
pub(crate) struct Tasks {
    running: JoinSet<Result<(), String>>,
    names: HashMap<Id, (&'static str, OnEnd)>,
    reporter: Reporter,
    ends: mpsc::Receiver<(Ended, OnEnd)>,
}

/// Reports the ends of threads, and of tasks on other runtimes.
#[derive(Debug, Clone)]
pub(crate) struct Reporter(mpsc::Sender<(Ended, OnEnd)>);

impl Tasks {
    /// No parts yet.
    pub(crate) fn new() -> Self {
        let (reporter, ends) = mpsc::channel(ENDS_MAX);
        Self {
            running: JoinSet::new(),
            names: HashMap::new(),
            reporter: Reporter(reporter),
            ends,
        }
    }

    /// Runs a task on this runtime.
    pub(crate) fn spawn<F>(&mut self, name: &'static str, on_end: OnEnd, task: F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), (name, on_end));
    }

    /// For vital parts on other threads.
    pub(crate) fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Waits until a part that the node cannot do without has ended, and names it.
    ///
    /// # Cancel safety
    ///
    /// No end is lost by dropping the future.
    pub(crate) async fn supervise(&mut self) -> Ended {
        loop {
            let (ended, on_end) = tokio::select! {
                Some(ended) = self.ends.recv() => ended,
                Some(joined) = self.running.join_next_with_id() => {
                    let (id, how) = match joined {
                        Ok((id, Ok(()))) => (id, How::Returned),
                        Ok((id, Err(why))) => (id, How::Failed(why)),
                        Err(error) => (error.id(), How::Panicked(panicked(error))),
                    };
                    let Some((name, on_end)) = self.names.remove(&id) else { continue };
                    (Ended { name: name.into(), how }, on_end)
                }
            };
            match on_end {
                OnEnd::StopNode => return ended,
                OnEnd::Log => tracing::warn!("{ended}"),
            }
        }
    }
}

impl Reporter {
    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// When the system can't start one.
    pub(crate) fn thread(
        &self,
        name: String,
        on_end: OnEnd,
        work: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> io::Result<std::thread::JoinHandle<()>> {
        let reporter = self.clone();
        std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                let how = match catch_unwind(AssertUnwindSafe(work)) {
                    Ok(Ok(())) => How::Returned,
                    Ok(Err(why)) => How::Failed(why),
                    Err(panic) => How::Panicked(words(&*panic)),
                };
                reporter.report(Ended { name, how }, on_end);
            })
    }

    /// Reports a vital task of another runtime, joined.
    pub(crate) fn joined<E: fmt::Display>(
        &self,
        name: String,
        joined: Result<Result<(), E>, JoinError>,
    ) {
        let how = match joined {
            Ok(Ok(())) => How::Returned,
            Ok(Err(why)) => How::Failed(why.to_string()),
            Err(error) => How::Panicked(panicked(error)),
        };
        self.report(Ended { name, how }, OnEnd::StopNode);
    }

    fn report(&self, ended: Ended, on_end: OnEnd) {
        // When so many ends wait, the node is stopping because of the first.
        if let Err(error) = self.0.try_send((ended, on_end)) {
            tracing::debug!(%error, "an end was not reported");
        }
    }
}

fn panicked(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => words(&*panic),
        Err(_) => "cancelled".into(),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_vital_task_is_named_and_others_are_not() {
        let mut tasks = Tasks::new();
        tasks.spawn("idle", OnEnd::StopNode, std::future::pending());
        tasks.spawn("visitor", OnEnd::Log, async { Err("gone".into()) });
        tasks.spawn("watcher", OnEnd::StopNode, async { panic!("oh no") });
        assert_eq!(
            tasks.supervise().await.to_string(),
            "watcher panicked: oh no"
        );
    }

    #[tokio::test]
    async fn the_end_of_a_vital_thread_is_named() {
        let mut tasks = Tasks::new();
        let reporter = tasks.reporter();
        reporter
            .thread("spans".into(), OnEnd::Log, || Ok(()))
            .unwrap()
            .join()
            .unwrap();
        let vital = OnEnd::StopNode;
        reporter
            .thread("worker-1".into(), vital, || Err("no runtime".into()))
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(
            tasks.supervise().await.to_string(),
            "worker-1 failed: no runtime"
        );
        reporter
            .thread("worker-2".into(), vital, || panic!("{}", 7))
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(tasks.supervise().await.to_string(), "worker-2 panicked: 7");
    }
}
