//! "Side file" and "Sidecar".

use super::cursor::Cursor;

/// Reads a side file of that log and segment, and says in a line what its content is.
///
/// # Errors
///
/// What isn't as the document says.
pub fn side(file: &[u8], log_id: u64, sequence: u64) -> Result<String, String> {
    if !file.len().is_multiple_of(4096) {
        return Err("its length isn't a multiple of 4096".into());
    }
    let mut cursor = Cursor::new(file);
    if cursor.take(8)? != b"jrnlside" || cursor.u32()? != 1 {
        return Err("magic and version".into());
    }
    let crc = cursor.u32()?;
    if (cursor.u64()?, cursor.u64()?) != (log_id, sequence) {
        return Err("log id and sequence".into());
    }
    let length = usize::try_from(cursor.u64()?).map_err(|_| "a length")?;
    let content = cursor.take(length)?;
    if crc32c::crc32c(&file[16..40 + length]) != crc {
        return Err("its checksum".into());
    }
    if cursor.rest().iter().any(|&byte| byte != 0) {
        return Err("its padding isn't zeros".into());
    }
    let mut cursor = Cursor::new(content);
    if cursor.u64()? != 1 {
        return Err("the layout".into());
    }
    let (first, end, from, to) = (cursor.u64()?, cursor.u64()?, cursor.u64()?, cursor.u64()?);
    let (events, brokers) = (cursor.u64()?, cursor.u64()?);
    let brokers: Vec<u32> = (0..brokers)
        .map(|_| cursor.u32())
        .collect::<Result<_, _>>()?;
    let hashes: Vec<u64> = (0..events)
        .map(|_| cursor.u64())
        .collect::<Result<_, _>>()?;
    cursor.end()?;
    if !brokers.is_sorted() || !hashes.is_sorted() {
        return Err("brokers and hashes aren't ascending".into());
    }
    Ok(format!(
        "offsets {first} to {end}, arrived {from} to {to}, brokers {brokers:?}, {events} events, hashes {hashes:x?}"
    ))
}

/// An event's hash.
pub fn hash(source: &str, id: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in source.bytes().chain([0xff]).chain(id.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
