//! A world whose engine may end, or not start, because its disk fails: as a process that exits and is
//! started again by somebody.

use std::time::Duration;

use broker::report::Report;
use tokio::time::Instant;

use super::{GRACE, World};

/// How long an engine may take to say how it is.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

impl World {
    /// Whether there is an engine, and none of its parts has ended.
    pub fn is_well(&self) -> bool {
        self.running.is_some() && self.ends.borrow().is_empty()
    }

    /// When the engine failed, of the world's time: nothing became durable from then on.
    pub fn failed_at(&self) -> Option<Duration> {
        self.failed_at.get()
    }

    /// How the engine is; none where it has ended, or doesn't come to an answer while its disk is
    /// full.
    pub async fn try_report(&self) -> Option<Report> {
        let report = tokio::time::timeout(ANSWERS_WITHIN, self.engine().report());
        self.look(report).await.ok()?.ok()
    }

    /// Lets this much time pass, or less where the power fails meanwhile or the engine ends: a process
    /// that fails is gone at once. Whether it passed.
    pub async fn advance_while_well(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while self.is_well() {
            let passed = self
                .run(async {
                    tokio::select! {
                        biased;
                        () = self.disk.until_off() => false,
                        () = self.ended.notified() => false,
                        () = tokio::time::sleep_until(until) => true,
                    }
                })
                .await;
            // An end that was told of before is no news.
            if passed || self.disk.is_off() {
                return passed;
            }
        }
        false
    }

    /// Lets the engine work while `act` does, until one of its parts ends: as a process, which is gone
    /// then.
    ///
    /// # Errors
    ///
    /// How they ended.
    pub(super) async fn while_well<T>(&self, act: impl Future<Output = T>) -> Result<T, String> {
        let ended = async {
            while self.is_well() {
                self.ended.notified().await;
            }
        };
        self.run(async {
            tokio::select! {
                biased;
                done = act => Ok(done),
                () = ended => Err(format!("the engine ended: {:?}", self.ends())),
            }
        })
        .await
    }

    /// Ends the process and not the power: what was written and not synced can still be read.
    pub fn end_process(&mut self) {
        self.kill();
    }

    /// Stops in order, as far as that goes.
    ///
    /// # Errors
    ///
    /// It was no clean stop: why.
    pub async fn try_stop(&mut self) -> Result<(), String> {
        let engine = self.engine().clone();
        let closed = self
            .run(async {
                engine.drain(GRACE).await;
                engine.close().await
            })
            .await;
        drop(engine);
        self.kill();
        closed.map_err(|ended| ended.to_string())
    }

    /// Starts again, where that may fail.
    ///
    /// # Errors
    ///
    /// Why it doesn't start. It has ended then.
    pub async fn try_start_again(&mut self) -> Result<(), String> {
        self.kill();
        let opened = self.try_open().await;
        if opened.is_err() {
            self.kill();
        }
        opened
    }
}
