//! Where a new trigger's start begins: at the record that makes it, so that what comes before is
//! replayed and what comes behind is matched, and no event is both.

use std::collections::HashSet;

use journal::Offset;
use tokio::sync::oneshot;

use super::Router;
use crate::Fault;
use crate::records::Number;
use crate::records::replayed::{Replayed, Spec};
use crate::records::trigger_set::Kind;
use crate::replay::start_of;
use crate::worker::ToWorker;

impl Router {
    /// Begins the starts of triggers that the change at `at` made: their numbers are `first` and
    /// above. Noted before anything behind that record is routed, and so begun once.
    pub(super) async fn begin_starts(&mut self, first: Number, at: Offset) -> Result<(), Fault> {
        let mut records = Vec::new();
        for entry in self.registry.entries() {
            if entry.number < first || entry.kind != Kind::Trigger {
                continue;
            }
            let Some(start) = start_of(&entry.resource) else {
                continue;
            };
            let Some(broker) = self.registry.broker_of(entry) else {
                continue;
            };
            let mut board = self.replays.board();
            if board.book.has_started(entry.number) {
                continue;
            }
            let begun = Replayed {
                id: board.book.next_id(),
                number: entry.number,
                at: self.log.clock().wall(),
                cursor: match start {
                    triggers::Start::At(_) => Offset(0),
                    _ => self.log.journal().start(),
                },
                ended: false,
                spec: Some(Spec {
                    start: true,
                    from: match start {
                        triggers::Start::At(time) => time,
                        _ => 0,
                    },
                    to: at,
                    broker,
                    rate: 0,
                    filters: String::new(),
                }),
                offsets: Vec::new(),
            };
            board.book.take(&begun);
            records.push(begun.record());
        }
        if !records.is_empty() {
            let noted = self.log.note(records).await;
            noted.map_err(|_| Fault::LogStopped)?;
            self.replays.changed.notify_one();
        }
        Ok(())
    }

    /// Which of these a lane still owes, wherever they are. When it answers, what has ended by
    /// then is noted.
    pub(super) async fn still_owed(
        &self,
        number: Number,
        offsets: Vec<Offset>,
    ) -> Result<HashSet<Offset>, Fault> {
        let mut still = HashSet::new();
        if offsets.is_empty() {
            return Ok(still);
        }
        for worker in &self.workers {
            let (owed, answer) = oneshot::channel();
            let ask = ToWorker::StillOwed {
                number,
                offsets: offsets.clone(),
                owed,
            };
            worker.send(ask).await.map_err(|_| Fault::WorkerGone)?;
            still.extend(answer.await.map_err(|_| Fault::WorkerGone)?);
        }
        Ok(still)
    }
}
