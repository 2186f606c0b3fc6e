//! What a worker keeps of a destination: how many requests it has in the air, which lanes wait
//! for a place there, and how it has answered. A worker owns its destinations, so nothing here
//! is locked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::answer::Answer;
use crate::histogram::Histogram;

/// One destination of one worker.
#[derive(Debug)]
pub struct Destination {
    /// Scheme, authority and path.
    pub key: Arc<str>,
    /// Requests sent and not heard of.
    pub in_flight: u32,
    /// Lanes (by slot) that have something to send and wait for a place.
    pub waiting: VecDeque<u32>,
    /// How many lanes send here; a destination without any is forgotten.
    pub lanes: u32,
    /// How long each attempt took.
    pub attempt_seconds: Histogram,
    /// From an event's arrival to its delivery, with what it waited.
    pub end_to_end_seconds: Histogram,
    /// Answers by class: 2xx, 3xx, 4xx, 5xx, other, none.
    pub answers: [u64; ANSWER_CLASSES.len()],
}

/// The classes that answers are counted by.
pub const ANSWER_CLASSES: [&str; 6] = ["2xx", "3xx", "4xx", "5xx", "other", "none"];

impl Destination {
    /// A destination that nothing has been sent to yet.
    pub fn new(key: Arc<str>) -> Self {
        Self {
            key,
            in_flight: 0,
            waiting: VecDeque::new(),
            lanes: 0,
            attempt_seconds: Histogram::default(),
            end_to_end_seconds: Histogram::default(),
            answers: [0; ANSWER_CLASSES.len()],
        }
    }

    /// Counts an answer.
    pub fn count(&mut self, answer: &Answer, latency: Duration) {
        let class = match answer {
            Answer::TimedOut | Answer::Unreachable(_) => 5,
            answered => match answered.code() {
                200..=299 => 0,
                300..=399 => 1,
                400..=499 => 2,
                500..=599 => 3,
                _ => 4,
            },
        };
        self.answers[class] += 1;
        self.attempt_seconds.record(latency);
    }
}
