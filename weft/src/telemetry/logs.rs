//! Logs: to stderr, for people or as JSON, filtered as `--log`, else `RUST_LOG`, says.
//!
//! Logs mark changes of state, never traffic, and hold no event data.

use tracing_subscriber::EnvFilter;

use crate::cli::{LogArgs, LogFormat};
use crate::exit::{Exit, Failure};
use crate::out;

/// What is logged when nobody says otherwise: what a node does, and not what its libraries do.
const FILTER: &str = "info,opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=warn";

/// Begins to log, once a process.
///
/// # Errors
///
/// A usage failure for a filter that can't be read.
pub(crate) fn start(args: &LogArgs) -> Result<(), Failure> {
    let text = match &args.filter {
        Some(text) => text.clone(),
        None => std::env::var("RUST_LOG").unwrap_or_else(|_| FILTER.into()),
    };
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("the log filter \"{text}\" can't be read: {error}"),
        )
        .cure("write a level, or parts and levels: --log info, --log weft=debug,journal=info")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder
            .with_ansi(out::stderr_is_terminal())
            .with_target(false)
            .compact()
            .init(),
    }
    Ok(())
}
