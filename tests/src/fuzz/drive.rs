//! Runs a target without libFuzzer: its seeds, the finds of the past, and mutations of both, each from a
//! number that replays it.

use std::any::Any;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Target;
use super::mutate::mutate;
use crate::Seed;

/// No input may take so long; one that does hangs, or is worth a look.
const TOO_LONG: Duration = Duration::from_secs(30);

/// How far a target is driven.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// At least so many mutations, however long they take.
    pub mutations_min: u64,
    /// Then more, until this is over.
    pub time: Duration,
}

/// An input that a target doesn't hold for.
#[derive(Debug)]
pub struct Find {
    /// What it is called, or the number that replays it.
    pub origin: Origin,
    /// The input itself.
    pub bytes: Vec<u8>,
    /// What the target said.
    pub why: String,
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A seed, or a find of the past.
    File(String),
    /// A mutation.
    Seed(u64),
}

/// What a drive came to.
#[derive(Debug, Default)]
pub struct Driven {
    /// How often the target was run.
    pub executions: u64,
    /// Of those, the inputs that lie in the repository.
    pub files: u64,
    /// The first that it doesn't hold for.
    pub find: Option<Find>,
}

/// A target with what its inputs begin as.
#[derive(Debug)]
pub struct Drive {
    target: Target,
    inputs: Vec<(String, Vec<u8>)>,
}

impl Drive {
    /// With the seeds and finds that lie in `folder`'s `corpus` and `finds`.
    ///
    /// # Errors
    ///
    /// If they can't be read.
    pub fn of(target: Target, folder: &Path) -> io::Result<Self> {
        let mut inputs = Vec::new();
        for kind in ["corpus", "finds"] {
            read_folder(&folder.join(kind).join(target.name), &mut inputs)?;
        }
        inputs.sort();
        Ok(Self { target, inputs })
    }

    /// With these inputs.
    pub fn with(target: Target, inputs: Vec<(String, Vec<u8>)>) -> Self {
        Self { target, inputs }
    }

    /// Runs all inputs, then mutations numbered from `first` on, up to the first that fails.
    pub fn run(&self, first: u64, bounds: Bounds) -> Driven {
        let mut driven = Driven::default();
        for (name, bytes) in &self.inputs {
            driven.files += 1;
            if self.execute(Origin::File(name.clone()), bytes, &mut driven) {
                return driven;
            }
        }
        let began = Instant::now();
        let mut number = first;
        while number - first < bounds.mutations_min || began.elapsed() < bounds.time {
            if self.execute(Origin::Seed(number), &self.mutation(number), &mut driven) {
                return driven;
            }
            number += 1;
        }
        driven
    }

    /// Runs one mutation alone.
    pub fn replay(&self, number: u64) -> Driven {
        let mut driven = Driven::default();
        self.execute(Origin::Seed(number), &self.mutation(number), &mut driven);
        driven
    }

    /// The input of this number, always the same while the repository's inputs are.
    fn mutation(&self, number: u64) -> Vec<u8> {
        let mut seed = Seed::of(number);
        let any = |seed: &mut Seed| match self.inputs.is_empty() {
            true => Vec::new(),
            false => self.inputs[seed.within(0..self.inputs.len() as u64) as usize]
                .1
                .clone(),
        };
        let (mut bytes, other) = (any(&mut seed), any(&mut seed));
        let Target {
            words, bytes_max, ..
        } = self.target;
        mutate(&mut bytes, &other, words, bytes_max, &mut seed);
        bytes
    }

    /// Whether it failed; then it is noted.
    fn execute(&self, origin: Origin, bytes: &[u8], driven: &mut Driven) -> bool {
        driven.executions += 1;
        let began = Instant::now();
        let ran = catch_unwind(AssertUnwindSafe(|| (self.target.run)(bytes)));
        let took = began.elapsed();
        let why = match ran {
            Err(panic) => message(&*panic),
            Ok(()) if TOO_LONG < took => format!("it took {took:?}"),
            Ok(()) => return false,
        };
        driven.find = Some(Find {
            origin,
            bytes: bytes.to_vec(),
            why,
        });
        true
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn read_folder(folder: &Path, inputs: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        // Nothing was found yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path: PathBuf = entry?.path();
        let bytes = fs::read(&path)?;
        inputs.push((path.display().to_string(), bytes));
    }
    Ok(())
}
