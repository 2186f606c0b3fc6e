//! Chance that can be replayed: every random choice of a test comes from one printed seed.

use broker::rng::Rng;

/// Where a test's chance begins. `SEED=…` in the environment replaces what the test would take.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The number that replays it.
    pub number: u64,
    rng: Rng,
}

impl Seed {
    /// The seed of the environment, or else this one.
    ///
    /// # Panics
    ///
    /// If `SEED` isn't a number.
    pub fn or(number: u64) -> Seed {
        let number = match std::env::var("SEED") {
            Ok(text) => text.parse().expect("SEED is a number"),
            Err(_) => number,
        };
        Seed::of(number)
    }

    /// Exactly this seed.
    pub fn of(number: u64) -> Seed {
        let rng = Rng::new(number);
        Seed { number, rng }
    }

    /// The seeds to run: the one of the environment alone, or else all of `range`.
    pub fn all(range: std::ops::Range<u64>) -> Vec<Seed> {
        match std::env::var("SEED") {
            Ok(_) => vec![Seed::or(0)],
            Err(_) => range.map(Seed::of).collect(),
        }
    }

    /// A number in `range`, which isn't empty.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.rng.bits() % (range.end - range.start)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.rng.bits()
    }

    /// One of `choices`, which aren't empty.
    pub fn of_these<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.within(0..choices.len() as u64) as usize].clone()
    }
}
