//! YAML with places: text to trees whose every node knows its line and column, and trees to
//! types by serde.
//!
//! The parser is serde-saphyr's own. We build a tree from its events instead of going to
//! types directly for three reasons: a mistake in one document must not hide the next one,
//! all mistakes of a document are wanted and not only the first, and a value that parses but
//! makes no sense ("retry: -1") must still point at its line.

pub(crate) mod decode;
pub(crate) mod nearest;
pub(crate) mod node;
pub(crate) mod tree;
