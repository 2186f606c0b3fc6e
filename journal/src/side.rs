//! A file beside a sealed segment, for what its owner derives from it.
//!
//! The journal knows nothing of the content but its checksum. A side file is worth nothing by
//! itself: it is written without ceremony, one that is missing, cut short or damaged reads as none,
//! and it goes before its segment does. Opening and verifying a log pass it over.

use std::io;

use bytes::Bytes;

use crate::disk::AlignedBytes;
use crate::journal::Core;
use crate::layout::blocks;

const SIDE_SUFFIX: &str = ".side";
const SIDE_MAGIC: [u8; 8] = *b"jrnlside";
const SIDE_VERSION: u32 = 1;
/// Magic, version, checksum, log id, sequence, length of the content.
const HEADER_BYTES: usize = 40;
/// What the checksum covers begins here.
const CHECKED_FROM: usize = 16;

pub(crate) fn side_name(sequence: u64) -> String {
    let segment = crate::segment::segment_name(sequence);
    let digits = segment.split('.').next().unwrap_or_default();
    format!("{digits}{SIDE_SUFFIX}")
}

/// Writes the side file of a sealed segment anew. `false` if there is no such segment.
pub(crate) fn write(core: &Core, sequence: u64, content: &[u8]) -> io::Result<bool> {
    let mut file = Vec::with_capacity(HEADER_BYTES + content.len());
    file.extend_from_slice(&SIDE_MAGIC);
    file.extend_from_slice(&SIDE_VERSION.to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&core.facts.log_id.to_le_bytes());
    file.extend_from_slice(&sequence.to_le_bytes());
    file.extend_from_slice(&(content.len() as u64).to_le_bytes());
    file.extend_from_slice(content);
    let crc = crc32c::crc32c(&file[CHECKED_FROM..]);
    file[12..16].copy_from_slice(&crc.to_le_bytes());
    let mut aligned = AlignedBytes::with_capacity(blocks(file.len()));
    aligned.extend(&file);
    aligned.pad_to(blocks(file.len()));
    let name = side_name(sequence);
    // No segment goes meanwhile, and leaves this behind.
    core.stock.undisturbed(|| {
        let segments = core.segments.list();
        let sealed = |segment: &std::sync::Arc<crate::segment::Segment>| {
            segment.sequence == sequence && segment.is_sealed()
        };
        if !segments.iter().any(sealed) {
            return Ok(false);
        }
        if core.disk.open(&name).is_ok() {
            core.disk.remove(&name)?;
        }
        let file = core.disk.create(&name)?;
        file.write_at(0, aligned.as_ref())?;
        file.sync()?;
        Ok(true)
    })
}

/// The content of a segment's side file; none if it is missing or isn't whole.
pub(crate) fn read(core: &Core, sequence: u64) -> io::Result<Option<Bytes>> {
    let file = match core.disk.open(&side_name(sequence)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let bytes = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let bytes = file.read_at(0, blocks(bytes))?;
    Ok(check(&bytes, core.facts.log_id, sequence).map(|content| bytes.slice(content)))
}

/// Where the content lies, if the file is whole and this segment's.
fn check(bytes: &[u8], log_id: u64, sequence: u64) -> Option<std::ops::Range<usize>> {
    let u64_at = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let end = HEADER_BYTES.checked_add(usize::try_from(u64_at(32)?).ok()?)?;
    let known = bytes.get(..8)? == SIDE_MAGIC
        && u32_at(8)? == SIDE_VERSION
        && u64_at(16)? == log_id
        && u64_at(24)? == sequence
        && crc32c::crc32c(bytes.get(CHECKED_FROM..end)?) == u32_at(12)?;
    known.then_some(HEADER_BYTES..end)
}
