//! What the node says about itself beside metrics: logs to stderr, spans by OTLP.

mod export;
pub(crate) mod logs;
pub(crate) mod otlp;
