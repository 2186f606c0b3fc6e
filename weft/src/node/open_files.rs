//! How many files a node may have open: each request in flight has a socket, each segment that is read
//! a file, and the usual soft limit of 1,024 is less than the limits allow. The soft limit is there for
//! programs that use `select`; the hard one is what the machine allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. A node that may not goes on with what it has.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if limit == wanted {
        return;
    }
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => tracing::debug!(before = limit.current, now = limit.maximum, "open files"),
        Err(error) => tracing::warn!(
            %error,
            soft = limit.current,
            hard = limit.maximum,
            "the limit of open files can't be raised; deliveries wait where it is reached"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let low = Rlimit {
            current: Some(256),
            ..before
        };
        setrlimit(Resource::Nofile, low).unwrap();
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
