//! What the node says about itself beside metrics: logs to stderr, spans by OTLP.

pub(crate) mod logs;
pub(crate) mod otlp;
