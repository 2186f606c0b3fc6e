//! The commands, a file each. A command returns when it has done what it was asked, or a
//! [`Failure`] that says why not.

pub(crate) mod api;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod confirm;
pub(crate) mod dead_letters;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod get;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod named;
pub(crate) mod pause;
pub(crate) mod receive;
pub(crate) mod replay;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod send;

use std::future::Future;

use crate::exit::Failure;

/// Runs a client command's future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(Failure::fault)?.block_on(future)
}
