//! A guard that keeps segment files as they are, while a backup copies them.

use std::sync::Arc;

use crate::journal::Core;

/// While it lives no segment file of its journal is recycled, removed or replaced. It keeps the
/// journal's folder locked too.
#[must_use = "files are recycled again when it is dropped"]
pub struct Hold {
    core: Arc<Core>,
}

impl Hold {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        core.stock.hold();
        Self { core }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.core.stock.let_go();
        self.core.shared.nudge();
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
