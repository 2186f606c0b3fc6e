//! Work on an event that must not end the process: a panic in it is caught and told.
//!
//! A panic ends the thread it happens on, and with it the node. Where it can be told which event it
//! was, that event bears the consequence instead: a filter that panics makes its delivery end as
//! poison, a sink that panics makes its attempt fail. The panic itself is a bug of ours, is logged as
//! an error, and counted.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does `work`; when it panics, what it said.
///
/// # Errors
///
/// The panic's message.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // Whatever the work was changing is dropped with it, or cleared before it is used again.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(&*panic))
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told() {
        let count = [1, 2].len() + 5;
        assert_eq!(guarded(|| count), Ok(7));
        let index: Result<u8, _> = guarded(|| [1, 2][count]);
        assert_eq!(
            index,
            Err("index out of bounds: the len is 2 but the index is 7".to_owned())
        );
        let text: Result<u8, _> = guarded(|| panic!("no"));
        assert_eq!(text, Err("no".to_owned()));
    }
}
