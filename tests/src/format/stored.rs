//! "The stored event".

use super::cursor::{Cursor, Wrong};

/// Names that the table has codes for, from 1.
const NAMES: [&str; 10] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "schemaurl",
    "datacontentencoding",
];

/// An event in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `structured` or `binary`.
    pub mode: &'static str,
    /// Names and values, in the order of the table.
    pub attributes: Vec<(String, String)>,
    /// Which of them is the id.
    pub id: String,
    /// Which is the source.
    pub source: String,
    /// What its data is: `no data`, `data`, `JSON` or `base64`.
    pub data_is: &'static str,
    /// Whether its document has attribute members that are null.
    pub nulls: bool,
    /// Its data, as it came; base64 is not decoded.
    pub data: Vec<u8>,
}

/// Reads it.
///
/// # Errors
///
/// What isn't as the document says.
pub fn stored(bytes: &[u8]) -> Result<Stored, Wrong> {
    let mut cursor = Cursor::new(bytes);
    let (version, flags, data_kind, reserved) =
        (cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?);
    if version != 1 || flags & !7 != 0 || data_kind > 3 || reserved != 0 {
        return Err(format!(
            "version {version}, flags {flags}, data {data_kind}"
        ));
    }
    let count = cursor.u32()? as usize;
    let required = [cursor.u32()?, cursor.u32()?, cursor.u32()?];
    let text_length = cursor.u32()? as usize;
    let (data_at, data_length) = (cursor.u32()? as usize, cursor.u32()? as usize);
    let text_at = 32 + 12 * count;
    let text = bytes
        .get(text_at..text_at + text_length)
        .ok_or("the text")?;
    let part = |at: usize, length: usize| -> Result<String, Wrong> {
        let part = text.get(at..at + length).ok_or("beyond the text")?;
        String::from_utf8(part.to_vec()).map_err(|error| error.to_string())
    };
    let mut attributes = Vec::new();
    for _ in 0..count {
        let (code, kind) = (cursor.u8()?, cursor.u8()?);
        let name_length = usize::from(u16::from_le_bytes([cursor.u8()?, cursor.u8()?]));
        let (at, length) = (cursor.u32()? as usize, cursor.u32()? as usize);
        if kind > 2 || (code != 0 && name_length != 0) {
            return Err("an attribute".into());
        }
        let name = match code {
            0 => part(at.checked_sub(name_length).ok_or("a name")?, name_length)?,
            code => (*NAMES.get(usize::from(code) - 1).ok_or("a name's code")?).to_owned(),
        };
        attributes.push((name, part(at, length)?));
    }
    let [id, source, ty] = required.map(|index| attributes.get(index as usize).cloned());
    let named = |found: Option<(String, String)>, name: &str| -> Result<String, Wrong> {
        let (is, value) = found.ok_or("an index beyond the table")?;
        match is == name {
            true => Ok(value),
            false => Err(format!("{is} where {name} should be")),
        }
    };
    named(ty, "type")?;
    let data = bytes
        .get(data_at..data_at + data_length)
        .ok_or("the data")?;
    let is_03 = attributes.contains(&("specversion".to_owned(), "0.3".to_owned()));
    if is_03 != (flags & 2 != 0) {
        return Err("its specversion and its flag differ".into());
    }
    if (data_kind == 0) != (data_at == 0) {
        return Err("where there is no data its offset is 0".into());
    }
    Ok(Stored {
        mode: match flags & 1 {
            0 => "binary",
            _ => "structured",
        },
        data_is: ["no data", "data", "JSON", "base64"][usize::from(data_kind)],
        nulls: flags & 4 != 0,
        id: named(id, "id")?,
        source: named(source, "source")?,
        attributes,
        data: data.to_vec(),
    })
}
