//! A YAML file as trees: one for each document, every node with its line and column.
//!
//! Documents are told apart by their `---` lines before anything is parsed (YAML 1.2 §9.1.2:
//! such a line ends a document wherever it stands), so each is read or refused on its own.
//! Aliases are expanded, within [`NODES_MAX`] and [`DEPTH_MAX`]; merge keys and tags are
//! refused.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use super::node::{Key, Node, Value};

/// The most nodes one document may have, aliases expanded. More is refused: it is an alias
/// bomb, or a document that should be several.
pub(crate) const NODES_MAX: usize = 1 << 20;

/// How deep maps and lists may nest. Deeper is refused: nothing that we read goes deeper
/// than 40, and decoding uses the stack.
pub(crate) const DEPTH_MAX: usize = 64;

/// Something wrong at a place of the file.
#[derive(Clone, Debug)]
pub(crate) struct Flaw {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) found: String,
    pub(crate) cure: String,
}

/// One document of a file.
#[derive(Debug)]
pub(crate) enum Document {
    /// A tree, and what is wrong with it though it can be read (a key given twice).
    Parsed { root: Node, flaws: Vec<Flaw> },
    /// Not YAML, or beyond a bound.
    Broken(Flaw),
}

/// All documents of a file that hold anything, each read when it is asked for: the trees of ten
/// thousand are tens of megabytes.
pub(crate) fn documents(text: &str) -> impl Iterator<Item = Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    chunks(text)
        .into_iter()
        .filter_map(
            |(lines_before, chunk)| match Builder::new(lines_before).build(chunk) {
                Ok(None) => None,
                Ok(Some((root, flaws))) => Some(Document::Parsed { root, flaws }),
                Err(flaw) => Some(Document::Broken(flaw)),
            },
        )
}

/// The file cut before each `---` line, with the number of lines before each piece.
fn chunks(text: &str) -> Vec<(u32, &str)> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let mut offset = 0;
    for (line, content) in (0..).zip(text.split_inclusive('\n')) {
        let marks = content
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marks && 0 < offset {
            chunks.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, line);
        }
        offset += content.len();
    }
    chunks.push((start_line, &text[start..]));
    chunks
}

/// A map or list that is still being read.
enum Open {
    List(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        /// Each key and its line.
        seen: HashMap<String, u32>,
        key: Option<Key>,
        /// The key waiting for its value was given before: its value is dropped.
        again: bool,
    },
}

struct Frame {
    line: u32,
    column: u32,
    anchor: usize,
    open: Open,
    depth: usize,
}

/// An anchored value that an alias may repeat.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

struct Builder {
    lines_before: u32,
    nodes: usize,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    flaws: Vec<Flaw>,
    root: Option<Node>,
}

impl Builder {
    fn new(lines_before: u32) -> Builder {
        Builder {
            lines_before,
            nodes: 0,
            frames: Vec::new(),
            anchors: HashMap::new(),
            flaws: Vec::new(),
            root: None,
        }
    }

    fn build(mut self, text: &str) -> Result<Option<(Node, Vec<Flaw>)>, Flaw> {
        let mut options = Options::default();
        options.flow_nesting_limit = DEPTH_MAX;
        options.block_nesting_limit = DEPTH_MAX;
        for next in Parser::new_from_str_with_options(text, options) {
            let (event, span) = next.map_err(|error| self.scan_flaw(&error))?;
            self.take(event, span)?;
        }
        let Builder { root, flaws, .. } = self;
        // A document of comments alone parses as null.
        Ok(root
            .filter(|root| !root.is_null())
            .map(|root| (root, flaws)))
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Flaw> {
        let (line, column) = self.place(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "str", line, column);
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let value = Value::Scalar {
                    text: text.into_owned(),
                    plain,
                };
                self.finish(
                    Node {
                        line,
                        column,
                        value,
                    },
                    anchor,
                    1,
                    0,
                )
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "seq", line, column);
                self.open(line, column, anchor, Open::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), "map", line, column);
                let open = Open::Map {
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    key: None,
                    again: false,
                };
                self.open(line, column, anchor, open)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.frames.pop() else {
                    return Ok(());
                };
                let value = match frame.open {
                    Open::List(items) => Value::List(items),
                    Open::Map { entries, .. } => Value::Map(entries),
                };
                let node = Node {
                    line: frame.line,
                    column: frame.column,
                    value,
                };
                let (nodes, depth) = if frame.anchor == 0 {
                    (1, 0)
                } else {
                    node.extent()
                };
                debug_assert!(frame.depth <= DEPTH_MAX);
                self.finish(node, frame.anchor, nodes, depth)
            }
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err(Flaw {
                        line,
                        column,
                        found: "an alias (*) stands inside what it repeats".to_owned(),
                        cure: "write out what is meant".to_owned(),
                    });
                };
                if DEPTH_MAX < self.frames.len() + anchored.depth {
                    return Err(Builder::too_deep(line, column));
                }
                if NODES_MAX < self.nodes + anchored.nodes {
                    return Err(Builder::too_many(line, column));
                }
                self.nodes += anchored.nodes;
                let mut node = anchored.node.clone();
                (node.line, node.column) = (line, column);
                self.finish(node, 0, 1, 0)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, line: u32, column: u32, anchor: usize, open: Open) -> Result<(), Flaw> {
        let depth = self.frames.len() + 1;
        if DEPTH_MAX < depth {
            return Err(Builder::too_deep(line, column));
        }
        self.frames.push(Frame {
            line,
            column,
            anchor,
            open,
            depth,
        });
        Ok(())
    }

    /// Puts a complete value where it belongs: as a key, a value, an item or the root.
    fn finish(
        &mut self,
        node: Node,
        anchor: usize,
        nodes: usize,
        depth: usize,
    ) -> Result<(), Flaw> {
        self.nodes += 1;
        if NODES_MAX < self.nodes {
            return Err(Builder::too_many(node.line, node.column));
        }
        if anchor != 0 {
            let node = node.clone();
            self.anchors.insert(anchor, Anchored { node, nodes, depth });
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map {
                entries,
                key: key @ Some(_),
                again,
                ..
            } => {
                let key = key.take();
                if let (Some(key), false) = (key, *again) {
                    entries.push((key, node));
                }
            }
            Open::Map {
                seen, key, again, ..
            } => {
                let Node {
                    line,
                    column,
                    value,
                } = node;
                let Value::Scalar { text, .. } = value else {
                    let found = "a map or list stands where a field's name should be";
                    return Err(Flaw {
                        line,
                        column,
                        found: found.to_owned(),
                        cure: "write a name, then a colon; quote a value that begins with { or ["
                            .to_owned(),
                    });
                };
                let first = seen.get(&text).copied();
                seen.entry(text.clone()).or_insert(line);
                *again = first.is_some() || text == "<<";
                let flaw = match first {
                    Some(first) => Some((
                        format!("the field {text} is given twice"),
                        format!("it is on line {first} already: remove one of them"),
                    )),
                    None if text == "<<" => Some((
                        "a merge key (<<) stands here".to_owned(),
                        "write the fields out".to_owned(),
                    )),
                    None => None,
                };
                *key = Some(Key { text, line, column });
                if let Some((found, cure)) = flaw {
                    self.flaw(line, column, &found, &cure);
                }
            }
        }
        Ok(())
    }

    /// Only the tag that says what a value is anyway may stand there.
    fn refuse_tag(&mut self, tag: Option<&Tag>, known: &str, line: u32, column: u32) {
        if tag.is_some_and(|tag| tag.core_suffix() != Some(known)) {
            self.flaw(line, column, "a YAML tag (!) stands here", "remove it");
        }
    }

    fn place(&self, span: Span) -> (u32, u32) {
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(span.start.col()).unwrap_or(u32::MAX);
        (
            line.saturating_add(self.lines_before),
            column.saturating_add(1),
        )
    }

    fn flaw(&mut self, line: u32, column: u32, found: &str, cure: &str) {
        let (found, cure) = (found.to_owned(), cure.to_owned());
        self.flaws.push(Flaw {
            line,
            column,
            found,
            cure,
        });
    }

    fn too_deep(line: u32, column: u32) -> Flaw {
        Flaw {
            line,
            column,
            found: "maps and lists nest deeper than 64".to_owned(),
            cure: "no resource needs that: check the brackets and aliases".to_owned(),
        }
    }

    fn too_many(line: u32, column: u32) -> Flaw {
        Flaw {
            line,
            column,
            found: "the document has more than 1048576 values".to_owned(),
            cure: "split it into several documents, and do not repeat by aliases".to_owned(),
        }
    }

    fn scan_flaw(&self, error: &ScanError) -> Flaw {
        let marker = error.marker();
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(marker.col()).unwrap_or(u32::MAX);
        let info = error.info();
        let cure = if info.contains("recursion") {
            "maps and lists may nest at most 64 deep"
        } else if info.contains("bracket") {
            "close each bracket and brace once, and quote a text that has them"
        } else if info.contains("block mapping") || info.contains("block collection") {
            "begin all fields of a map in the same column"
        } else if info.contains("tab") {
            "indent with spaces"
        } else if info.contains("anchor") {
            "write the value out, or define its anchor (&) above in the same document"
        } else if info.contains("mapping values") {
            "quote a value that contains a colon and a space, and check the indentation"
        } else if info.contains("quoted") {
            "close the quotes"
        } else if info.contains("flow") {
            "close the bracket or brace"
        } else {
            "check the indentation, colons and quotes just above"
        };
        Flaw {
            line: line.saturating_add(self.lines_before),
            column: column.saturating_add(1),
            found: format!("not valid YAML: {info}"),
            cure: cure.to_owned(),
        }
    }
}
