//! Faults put in on purpose, to see that a test notices each.
//!
//! A build with the feature `mutants`, which only `make mutants` asks for, breaks one promise at a
//! time: the one that `WEFT_MUTANT` names. `scripts/mutants.txt` lists them, with the tests that must
//! fail. Any other build has nothing of this: there [`is`] is the constant `false`, so each call
//! stands beside the right way of doing it and costs nothing.

/// Whether the process is to break this promise.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is(_name: &str) -> bool {
    false
}

/// Whether this was asked before with something equal. For the mutant that remembers what it
/// shouldn't.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub fn has_seen(_what: impl std::hash::Hash) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use chosen::{has_seen, is};

#[cfg(feature = "mutants")]
mod chosen {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
    use std::sync::{LazyLock, Mutex};

    use crate::lock::lock;

    const LIST: &str = include_str!("../../scripts/mutants.txt");
    const VARIABLE: &str = "WEFT_MUTANT";

    static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| {
        let name = std::env::var_os(VARIABLE)?;
        let name = name.to_string_lossy().into_owned();
        assert!(
            is_listed(&name),
            "{VARIABLE} is {name:?}, which scripts/mutants.txt doesn't list"
        );
        Some(name)
    });

    static SEEN: LazyLock<Mutex<HashSet<u64>>> = LazyLock::new(Mutex::default);

    fn is_listed(name: &str) -> bool {
        let names = LIST.lines().filter_map(|line| line.split_once('|'));
        names.into_iter().any(|(listed, _)| listed.trim() == name)
    }

    /// Whether the process is to break this promise.
    ///
    /// # Panics
    ///
    /// If `WEFT_MUTANT` names none that is listed: a run of it would say nothing.
    pub fn is(name: &str) -> bool {
        debug_assert!(is_listed(name), "{name:?} isn't listed");
        CHOSEN.as_deref() == Some(name)
    }

    /// Whether this was asked before with something equal.
    pub fn has_seen(what: impl Hash) -> bool {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(what);
        !lock(&SEEN).insert(hash)
    }
}
