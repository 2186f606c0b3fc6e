//! Results for programs: JSON or YAML of a serializable value, and times as text.

use journal::WallTime;
use serde::Serialize;

use crate::cli::Output;
use crate::exit::Failure;
use crate::{json, out};

/// Prints `value` as JSON or YAML. Tables are made by each command for itself.
///
/// # Errors
///
/// A fault, when the value can't be written.
pub(crate) fn print(format: Output, value: &impl Serialize) -> Result<(), Failure> {
    if format == Output::Yaml {
        let text = serde_saphyr::to_string(value).map_err(Failure::fault)?;
        out::text(if text.ends_with('\n') {
            text
        } else {
            text + "\n"
        });
        return Ok(());
    }
    let text = serde_json::to_string(value).map_err(Failure::fault)?;
    out::line(json::indent(text.as_bytes()).unwrap_or(text));
    Ok(())
}

/// A time as RFC 3339, to the millisecond, in UTC.
pub(crate) fn rfc3339(time: WallTime) -> String {
    let millis = i64::try_from(time.0).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        // Past year 9999.
        Err(_) => format!("{}ms", time.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(WallTime(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            rfc3339(WallTime(1_700_000_000_123)),
            "2023-11-14T22:13:20.123Z"
        );
    }
}
