//! What is wrong with a configuration, where, and what to write instead.
//!
//! A problem names the field by its path, says what was found and how to mend it, so that a
//! newcomer never has to look up what a message means. Problems of all files are reported
//! together.

use std::fmt;
use std::sync::Arc;

/// A position in a file. Lines and columns count from 1; 0 means "the whole file".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// One mistake: its place, what was found there, and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: Arc<str>,
    /// Counted from 1; 0 when the problem is the file's as a whole.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
    /// The field by its path and what was found: `spec.storage.segmentBytes is 7`.
    pub message: String,
    /// What to write instead: `it must be at least 1Mi`. May be empty.
    pub cure: String,
}

impl Problem {
    /// A problem at `place`.
    pub fn at(place: Place, message: impl Into<String>, cure: impl Into<String>) -> Problem {
        Problem {
            file: place.file,
            line: place.line,
            column: place.column,
            message: message.into(),
            cure: cure.into(),
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: self.line,
            column: self.column,
        }
    }
}

/// `node.yaml:12:21  spec.storage.segmentBytes is 7, it must be at least 1Mi`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.place(), self.message)?;
        match self.cure.as_str() {
            "" => Ok(()),
            cure => write!(f, ", {cure}"),
        }
    }
}

/// Everything that `weft check` says: what was found in order, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub counts: crate::catalog::Counts,
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether there is nothing to mend.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A headline, then a line for each problem, indented, in the order of files and lines.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problems.is_empty() {
            return write!(f, "no problems: {}", self.counts);
        }
        let mut files: Vec<&str> = self.problems.iter().map(|p| p.file.as_ref()).collect();
        files.sort_unstable();
        files.dedup();
        write!(
            f,
            "{} in {}; in order: {}",
            plural(self.problems.len(), "problem"),
            plural(files.len(), "file"),
            self.counts
        )?;
        let mut problems: Vec<&Problem> = self.problems.iter().collect();
        problems.sort_by_key(|p| p.place());
        for problem in problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// "1 problem", "2 problems".
pub(crate) fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// One step into a document: a field of a map or an item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// `spec.filters[0].exact`, or "the document" for its root.
pub(crate) fn path_text(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                // A key with dots, such as an annotation's, would read as several fields.
                if key.contains('.') || key.is_empty() {
                    text.push_str(&format!("{key:?}"));
                } else {
                    text.push_str(key);
                }
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    if text.is_empty() {
        text.push_str("the document");
    }
    text
}

/// Where a check stands in a document: a chain through the callers' frames, so that walking a
/// good resource allocates nothing.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Option<StepRef<'a>>,
}

#[derive(Clone, Copy)]
enum StepRef<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The document's root.
    pub(crate) const ROOT: At<'static> = At {
        parent: None,
        step: None,
    };

    pub(crate) fn key(&'a self, key: &'a str) -> At<'a> {
        At {
            parent: Some(self),
            step: Some(StepRef::Key(key)),
        }
    }

    pub(crate) fn index(&'a self, index: usize) -> At<'a> {
        At {
            parent: Some(self),
            step: Some(StepRef::Index(index)),
        }
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = self.parent.map(At::steps).unwrap_or_default();
        match self.step {
            Some(StepRef::Key(key)) => steps.push(Step::Key(key.to_owned())),
            Some(StepRef::Index(index)) => steps.push(Step::Index(index)),
            None => {}
        }
        steps
    }
}

/// A mistake that knows its field but not yet its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) steps: Vec<Step>,
    /// What was found, to be read after the field's path: `is 7`.
    pub(crate) found: String,
    pub(crate) cure: String,
}

impl Fault {
    /// What a reader sees of it, without its place.
    pub(crate) fn message(&self) -> String {
        format!("{} {}", path_text(&self.steps), self.found)
    }
}

/// Collects the faults of one resource.
#[derive(Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, at: At<'_>, found: impl Into<String>, cure: impl Into<String>) {
        self.0.push(Fault {
            steps: at.steps(),
            found: found.into(),
            cure: cure.into(),
        });
    }

    /// The value, or `None` with the fault noted.
    pub(crate) fn take<T>(&mut self, at: At<'_>, value: Result<T, Wrong>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(Wrong { found, cure }) => {
                self.add(at, found, cure);
                None
            }
        }
    }
}

/// Why a value can't be used, without knowing which field it stands in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}, {cure}")]
pub struct Wrong {
    /// What was found, to be read after the field's name: `is "7 days"`.
    pub found: String,
    /// What to write instead.
    pub cure: String,
}

impl Wrong {
    pub(crate) fn new(found: impl Into<String>, cure: impl Into<String>) -> Wrong {
        Wrong {
            found: found.into(),
            cure: cure.into(),
        }
    }
}
