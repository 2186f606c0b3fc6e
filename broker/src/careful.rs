//! Careful mode: what may have ended the process goes one delivery at a time, over all workers, each
//! behind a durable intent ([`crate::poison`]).
//!
//! Shared by the workers. A worker asks before it sends; in a node that isn't careful that costs one
//! load. Whoever must wait looks again when a turn has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::guarded::Panics;
use crate::records::started::{Before, Started, Which};
use crate::records::{FORWARD, Number};

/// What the workers of a careful node share.
#[derive(Debug)]
pub(crate) struct Careful {
    on: AtomicBool,
    /// The process before ended otherwise than in order: what lands first is made durable at once,
    /// so that another end finds it.
    hurried: bool,
    state: Mutex<State>,
    turns: watch::Sender<u64>,
    /// Panics that were caught, so that they did not end the process.
    pub(crate) panics: Panics,
}

#[derive(Debug, Default)]
struct State {
    suspects: BTreeSet<Which>,
    /// What ends as poison, and why.
    condemned: BTreeMap<Which, Box<str>>,
    turn: Option<Turn>,
}

/// Whose turn it is.
#[derive(Debug)]
struct Turn {
    which: Which,
    at: At,
}

/// Where a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The intent is being written down.
    Intending,
    /// It is durable, and the delivery is about to be sent. Where it can't leave after all, as
    /// behind an open breaker, its intent is taken back.
    Ready,
    /// The attempt is being made.
    InTheAir,
}

/// What a worker may do with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Send it.
    Go,
    /// Write the intent down; then it may go.
    Intend,
    /// Another has the turn.
    Wait,
    /// End it as poison, for this reason.
    Bury(Box<str>),
}

impl Careful {
    /// As the start decided.
    pub(crate) fn new(started: &Started, quarantine_after: u32) -> Self {
        let mut state = State::default();
        let careful = 0 < quarantine_after && quarantine_after <= started.ends;
        if careful {
            state.suspects.extend(&started.suspects);
        }
        for (which, times) in &started.accused {
            if quarantine_after <= *times {
                let why = format!(
                    "weft ended at least {} times while this was in the air, the last time alone",
                    quarantine_after.saturating_add(1)
                );
                state.condemned.insert(*which, why.into());
            }
        }
        let on = !state.suspects.is_empty() || !state.condemned.is_empty();
        Self {
            on: AtomicBool::new(on),
            hurried: started.before == Before::NotInOrder && quarantine_after > 0,
            state: Mutex::new(state),
            turns: watch::Sender::new(0),
            panics: Panics::default(),
        }
    }

    /// Whether anything must be asked.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether the process before ended otherwise than in order.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// How many suspects are left.
    pub(crate) fn suspects(&self) -> usize {
        self.state().suspects.len()
    }

    /// How many suspects of this trigger are left, forwarded ones too.
    pub(crate) fn suspects_of(&self, number: Number) -> usize {
        if !self.is_on() {
            return 0;
        }
        let state = self.state();
        let whose = state.suspects.iter().map(|(whose, _)| whose & !FORWARD);
        whose.filter(|whose| *whose == number).count()
    }

    /// Tells when a turn has ended.
    pub(crate) fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    /// May this be sent now?
    pub(crate) fn ask(&self, which: Which) -> Leave {
        let mut state = self.state();
        if let Some(why) = state.condemned.get(&which) {
            return Leave::Bury(why.clone());
        }
        if !state.suspects.contains(&which) {
            return Leave::Go;
        }
        match &mut state.turn {
            Some(turn) if turn.which == which && turn.at == At::Ready => {
                turn.at = At::InTheAir;
                Leave::Go
            }
            Some(turn) if turn.at != At::Ready => Leave::Wait,
            _ => {
                let at = At::Intending;
                state.turn = Some(Turn { which, at });
                Leave::Intend
            }
        }
    }

    /// The intent of whoever has the turn is durable.
    pub(crate) fn intended(&self, which: Which) {
        if let Some(turn) = &mut self.state().turn
            && turn.which == which
        {
            turn.at = At::Ready;
        }
    }

    /// A delivery of this lane has the turn and can't leave now: it stays a suspect, and the turn
    /// is free. Which; its intent must be taken back.
    pub(crate) fn stays(&self, number: Number) -> Option<Which> {
        let mut state = self.state();
        let turn = state.turn.as_ref()?;
        let which = turn.which;
        if which.0 != number || turn.at != At::Ready {
            return None;
        }
        state.turn = None;
        drop(state);
        self.turns.send_modify(|turns| *turns += 1);
        Some(which)
    }

    /// This was let go and couldn't be sent after all: it stays a suspect, and the turn is free.
    /// Whether it had the turn; its intent must be taken back then.
    pub(crate) fn stayed(&self, which: Which) -> bool {
        let mut state = self.state();
        let turn = state.turn.as_ref();
        if turn.is_none_or(|turn| turn.which != which || turn.at != At::InTheAir) {
            return false;
        }
        state.turn = None;
        drop(state);
        self.turns.send_modify(|turns| *turns += 1);
        true
    }

    /// Whether this was tried behind an intent, and is in the air.
    pub(crate) fn is_tried(&self, which: Which) -> bool {
        let state = self.state();
        let turn = state.turn.as_ref();
        turn.is_some_and(|turn| turn.which == which && turn.at == At::InTheAir)
    }

    /// Only these triggers have lanes: nothing of the others goes anywhere.
    pub(crate) fn only(&self, lanes: impl Fn(Number) -> bool) {
        self.let_go(|(number, _)| !lanes(*number));
    }

    /// This has landed, and that is durable.
    pub(crate) fn landed(&self, which: Which) {
        self.let_go(|other| *other == which);
    }

    /// This trigger is gone, and its deliveries with it.
    pub(crate) fn forget(&self, number: Number) {
        self.let_go(|(whose, _)| *whose == number);
    }

    /// This must not be sent: it ends as poison.
    pub(crate) fn condemn(&self, which: Which, why: &str) {
        self.state().condemned.insert(which, why.into());
        self.on.store(true, Ordering::Relaxed);
    }

    fn let_go(&self, goes: impl Fn(&Which) -> bool) {
        if !self.is_on() {
            return;
        }
        let mut state = self.state();
        let before = state.suspects.len() + state.condemned.len();
        state.suspects.retain(|which| !goes(which));
        state.condemned.retain(|which, _| !goes(which));
        if before == state.suspects.len() + state.condemned.len() {
            return;
        }
        if state.turn.as_ref().is_some_and(|turn| goes(&turn.which)) {
            state.turn = None;
        }
        if state.suspects.is_empty() && state.condemned.is_empty() {
            self.on.store(false, Ordering::Relaxed);
            tracing::info!("all that was suspected of ending the process is through");
        }
        drop(state);
        self.turns.send_modify(|turns| *turns += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
