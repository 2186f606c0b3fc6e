//! Building what is missing of a running log's sidecars.

use std::collections::HashSet;
use std::time::Duration;

use super::{BuildError, Sidecars};

/// How long to wait after each segment: building gives way to what the disk and the cores are for.
const BUILD_EVERY: Duration = Duration::from_secs(1);

impl Sidecars {
    /// Builds the sidecar of each segment when it is sealed, and of those that have none, the newest
    /// first, until the log is closed. Blocks on the disk, so it wants a thread of its own. Nothing
    /// waits for it, and nothing is lost without it but time.
    pub async fn tend(self) {
        let durable = self.journal.durable();
        let mut failed = HashSet::new();
        while durable.has_changed().is_ok() {
            if let Err(error) = self.build_one(&failed) {
                let segment = error.segment();
                tracing::warn!(%error, segment, "a segment has no sidecar; it is read instead");
                // After the next start it is tried again.
                failed.insert(segment);
            }
            tokio::time::sleep(BUILD_EVERY).await;
        }
    }
}

impl BuildError {
    /// The segment's sequence.
    pub fn segment(&self) -> u64 {
        match self {
            Self::Read { segment, .. }
            | Self::Malformed { segment, .. }
            | Self::Write { segment, .. } => *segment,
        }
    }
}
