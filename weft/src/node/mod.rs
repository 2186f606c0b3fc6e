//! A running node: settings from flags and YAML, the log opened, threads started, the folders
//! watched, and all of it stopped in the opposite order.

pub(crate) mod banner;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod open;
pub(crate) mod open_files;
pub(crate) mod serve;
pub(crate) mod settings;
pub(crate) mod watch;
pub(crate) mod workers;
