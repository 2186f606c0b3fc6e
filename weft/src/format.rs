//! Results for programs: JSON or YAML of a serializable value, and times as text.

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
