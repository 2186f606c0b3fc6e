//! Checksums of the view's values. The database has one for each page, but compares them only when all
//! of it is looked through at a start; what it reads later it believes. A disk may damage a page that
//! was whole then, and a row that isn't what was written is a letter that nobody redrives, or an event
//! that isn't found. So each value ends with a checksum of its own, over its table's name, its key and
//! itself, and is compared whenever it is read: neither a damaged value nor another key's passes.

use redb::{Key, TableDefinition, TableHandle};

use super::ViewError;

/// Bytes of a checksum: a CRC32C, little endian.
const CRC_BYTES: usize = 4;

/// A table whose values have checksums.
pub(super) type Table<K> = TableDefinition<'static, K, &'static [u8]>;

/// What is written for `value` under `key`.
pub(super) fn seal<K: Key>(table: Table<K>, key: &K::SelfType<'_>, value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(value.len() + CRC_BYTES);
    sealed.extend_from_slice(value);
    sealed.extend_from_slice(&crc(table, key, value).to_le_bytes());
    sealed
}

/// The value that was written so, if it is still that.
pub(super) fn value<'v, K: Key>(
    table: Table<K>,
    key: &K::SelfType<'_>,
    sealed: &'v [u8],
) -> Result<&'v [u8], ViewError> {
    match sealed.split_last_chunk::<CRC_BYTES>() {
        Some((value, written)) if crc(table, key, value) == u32::from_le_bytes(*written) => {
            Ok(value)
        }
        _ => Err(ViewError::Checksum(table.name().to_owned())),
    }
}

fn crc<K: Key>(table: Table<K>, key: &K::SelfType<'_>, value: &[u8]) -> u32 {
    let crc = crc32c::crc32c(table.name().as_bytes());
    let crc = crc32c::crc32c_append(crc, K::as_bytes(key).as_ref());
    crc32c::crc32c_append(crc, value)
}
