//! The end of dead letters that have been kept for as long as they are to be.

use std::collections::HashSet;
use std::ops::ControlFlow;

use journal::Offset;

use super::{Keeper, fault};
use crate::Fault;
use crate::dead_letters::State;
use crate::fold::OpenError;
use crate::router::ToRouter;

/// Letters that expire in one look, at the most; the rest in those that follow at once.
const EXPIRE_AT_ONCE_MAX: usize = 4096;

impl Keeper {
    /// Lets dead letters go that are older than their retention, unless the clock can't be
    /// believed, and with them the keys that they block. Whether there are more. Nothing is written
    /// down: a view that is made anew finds them again, and lets them go again.
    pub(super) fn expire(&mut self) -> Result<bool, Fault> {
        if !self.parts.log.may_delete() {
            return Ok(false);
        }
        let now = self.parts.log.clock().wall();
        let retention = self.parts.retention_dead_letters;
        let mut expired = Vec::new();
        let listed = self.view.letters_upwards(None, Offset(0), |row| {
            if now.since(row.at) < retention || expired.len() >= EXPIRE_AT_ONCE_MAX {
                return ControlFlow::Break(());
            }
            expired.push(row);
            ControlFlow::Continue(())
        });
        listed.map_err(|error| fault(OpenError::View(error)))?;
        let more = expired.len() >= EXPIRE_AT_ONCE_MAX;
        let kept = expired.iter().filter(|row| row.state == State::Kept);
        let blocking: HashSet<_> = kept.map(|row| (row.number, row.event)).collect();
        // A router that is too busy to listen is asked again.
        let told = blocking.is_empty()
            || (self.parts.router)
                .try_send(ToRouter::LetKeysGo(blocking.iter().copied().collect()))
                .is_ok();
        if !told {
            return Ok(true);
        }
        self.fold.unblock(&blocking);
        for mut row in expired {
            self.counts.letters_expired += 1;
            let id = row.id;
            // Its dead letter sink may still be owed it.
            let is_owed = row.forwarding;
            row.let_go = true;
            let set = self.fold.set_letter(id, is_owed.then_some(row));
            set.map_err(|error| fault(OpenError::View(error)))?;
        }
        self.changed.look_at(&self.view);
        Ok(more)
    }
}
