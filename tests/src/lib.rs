//! What the tests of this package share. Each kind of test is one binary under `tests/`.
