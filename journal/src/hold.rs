//! A guard that keeps segment files as they are, while a backup copies them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::journal::Core;
use crate::layout::DATA_START;
use crate::record::Offset;
use crate::segment::{Segment, segment_name};

/// Bytes copied at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// While it lives no segment file of its journal is recycled, removed or replaced. It keeps the
/// journal's folder locked too.
#[must_use = "files are recycled again when it is dropped"]
pub struct Hold {
    core: Arc<Core>,
    /// The segments in use when it began.
    at_first: Vec<Arc<Segment>>,
}

/// A file of a log, as far as it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFile {
    /// Its name.
    pub name: String,
    /// Its bytes that matter: up to the end of the last durable frame.
    pub bytes: u64,
    /// The offset of its first record.
    pub first: Offset,
    /// The offset behind the last record in it.
    pub end: Offset,
    sequence: u64,
}

impl Hold {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        core.stock.hold();
        let at_first = core.segments.list();
        Self { core, at_first }
    }

    /// The segment files in use now and those in use when the hold began, oldest first, with what is
    /// durable of each at this moment. Together they are a log that can be opened: what a crash at
    /// this moment would leave, but with nothing of it torn.
    pub fn files(&self) -> Vec<HeldFile> {
        let now = self.core.segments.list();
        let all = self.at_first.iter().chain(&now);
        // Of one that was repacked before the hold began, the layout of now.
        let all: BTreeMap<u64, &Arc<Segment>> =
            all.map(|segment| (segment.sequence, segment)).collect();
        let files = all.into_values().map(|segment| {
            let (end, bytes) = segment.durable();
            HeldFile {
                name: segment_name(segment.sequence),
                bytes: bytes.max(DATA_START),
                first: Offset(segment.first),
                end: Offset(end),
                sequence: segment.sequence,
            }
        });
        files.collect()
    }

    /// Copies one of `files` to the new file `to`, durably but for its name, and returns the copy's
    /// CRC32C. `progress` is told how many bytes each step has copied. Blocks on both disks.
    ///
    /// # Errors
    ///
    /// If the file can't be read whole, or the copy can't be written.
    pub fn copy(
        &self,
        file: &HeldFile,
        to: &Path,
        mut progress: impl FnMut(u64),
    ) -> io::Result<u32> {
        let source = self.core.disk.open(&segment_name(file.sequence))?;
        let mut target = std::fs::File::create_new(to)?;
        let (mut at, mut crc) = (0, 0);
        while at < file.bytes {
            let left = usize::try_from(file.bytes - at).unwrap_or(usize::MAX);
            let chunk = source.read_at(at, left.min(CHUNK_BYTES))?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            crc = crc32c::crc32c_append(crc, &chunk);
            target.write_all(&chunk)?;
            at += chunk.len() as u64;
            progress(chunk.len() as u64);
        }
        target.sync_all()?;
        Ok(crc)
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
