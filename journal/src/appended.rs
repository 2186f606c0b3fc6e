//! Waiting for the disk: what `append` returns, and how a whole frame's waiters are woken.
//!
//! Each append that waits has a [`Slot`], its one allocation. The committer puts the result in and
//! wakes the task. A task of a current-thread runtime is woken from another thread by a system
//! call, for each task; with a hundred appends a frame that costs more than the frame. So a thread
//! may have a [`Desk`]: its finished slots are laid there, its [`Porter`] is woken, once, and wakes
//! the others from within their own runtime, where that is a push to a list. A porter that is gone
//! lets the desk fall back to waking each: no waiter depends on another one being polled.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::lock::lock;
use crate::queue::{Pushed, Shared, Work};
use crate::record::{Group, Offset};

/// Why a group was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A refusal: nothing is wrong with the journal.
    #[error("group is {got} bytes, the journal takes at most {limit}")]
    TooLarge { got: usize, limit: usize },
    /// No segment may be opened: the log has its `bytes_max` or the disk is down to its `min_free`.
    /// Nothing of the group was stored. Passes when `reclaim` has freed a segment.
    #[error("no space for another segment: {used} of {limit} bytes are used")]
    NoSpace { used: u64, limit: u64 },
    /// A write or sync failed once. What the disk holds is unknown from then on, so the journal
    /// takes nothing more until it is opened, and recovered, again. The group may turn out to have
    /// been stored.
    #[error("journal stopped after an i/o failure")]
    Stopped,
    /// The journal was closed, in order, before this.
    #[error("journal is closed")]
    Closed,
}

pub(crate) type Outcome = Result<Range<Offset>, AppendError>;

/// Where the result of one append arrives.
#[derive(Debug)]
pub(crate) struct Slot {
    desk: Option<Arc<Desk>>,
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

impl Slot {
    pub(crate) fn new(desk: Option<Arc<Desk>>) -> Arc<Self> {
        Arc::new(Self {
            desk,
            state: Mutex::default(),
        })
    }

    /// Whether the desk's porter promises to announce what waits.
    pub(crate) fn is_promised(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.promise())
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Outcome> {
        let mut state = lock(&self.state);
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    fn wake(&self) {
        let waker = lock(&self.state).waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The waiters of one frame, sorted by whom to wake.
#[derive(Default)]
pub(crate) struct Finished {
    desks: Vec<(Arc<Desk>, Vec<Arc<Slot>>)>,
    single: Vec<Arc<Slot>>,
}

impl Finished {
    pub(crate) fn put(&mut self, slot: Arc<Slot>, outcome: Outcome) {
        lock(&slot.state).outcome = Some(outcome);
        match &slot.desk {
            None => self.single.push(slot),
            Some(desk) => match self.desks.iter_mut().find(|(at, _)| Arc::ptr_eq(at, desk)) {
                Some((_, slots)) => slots.push(slot),
                None => self.desks.push((Arc::clone(desk), vec![slot])),
            },
        }
    }

    /// Whether a porter is about to wake some of them.
    pub(crate) fn has_desks(&self) -> bool {
        self.desks
            .iter()
            .any(|(desk, _)| !lock(&desk.state).unattended)
    }

    /// Wakes everybody whose outcome was put.
    pub(crate) fn wake(self) {
        for (desk, slots) in self.desks {
            desk.lay_down(slots);
        }
        for slot in self.single {
            slot.wake();
        }
    }
}

/// Where the finished appends of one thread are laid for its porter.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    state: Mutex<DeskState>,
}

#[derive(Debug, Default)]
struct DeskState {
    finished: Vec<Arc<Slot>>,
    porter: Option<Waker>,
    /// The porter is to announce what waits.
    asked: bool,
    /// The porter has gone, or was never set to work.
    unattended: bool,
}

impl Desk {
    /// Has the porter announce what is being appended. `false` when there is none.
    fn promise(&self) -> bool {
        let mut state = lock(&self.state);
        if !state.unattended && !std::mem::replace(&mut state.asked, true) {
            let porter = state.porter.take();
            drop(state);
            if let Some(porter) = porter {
                porter.wake();
            }
            return true;
        }
        !state.unattended
    }

    fn lay_down(&self, mut slots: Vec<Arc<Slot>>) {
        let mut state = lock(&self.state);
        if state.unattended {
            drop(state);
            slots.iter().for_each(|slot| slot.wake());
            return;
        }
        state.finished.append(&mut slots);
        state.asked = true;
        let porter = state.porter.take();
        drop(state);
        if let Some(porter) = porter {
            porter.wake();
        }
    }
}

/// Wakes the tasks of one runtime whose appends have finished. Spawn it on the runtime whose tasks
/// use the [`crate::LocalJournal`] it came with; it never ends by itself. Dropping it is safe: its
/// tasks are woken one by one from then on.
///
/// It also hands over what the tasks append: only when the runtime has done what was ready does it
/// nudge the committer. On a core that both share, a committer that helps itself interrupts the
/// runtime for a handful of groups, and pays a write and a sync for each handful.
#[must_use = "appends of this handle wait until the porter is polled or dropped"]
pub struct Porter {
    desk: Arc<Desk>,
    shared: Arc<Shared>,
    /// The others of the runtime have their turn.
    yielding: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Porter {
    pub(crate) fn new(shared: Arc<Shared>) -> (Arc<Desk>, Self) {
        let desk = Arc::new(Desk::default());
        let porter = Self {
            desk: Arc::clone(&desk),
            shared,
            yielding: None,
        };
        (desk, porter)
    }
}

impl Future for Porter {
    type Output = std::convert::Infallible;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.desk.state);
        state.porter = Some(context.waker().clone());
        let finished = std::mem::take(&mut state.finished);
        let asked = std::mem::take(&mut state.asked);
        drop(state);
        finished.iter().for_each(|slot| slot.wake());
        if asked && self.yielding.is_none() {
            self.yielding = Some(Box::pin(tokio::task::yield_now()));
        }
        if let Some(yielding) = &mut self.yielding
            && yielding.as_mut().poll(context).is_ready()
        {
            self.yielding = None;
            self.shared.announce();
        }
        Poll::Pending
    }
}

impl Drop for Porter {
    fn drop(&mut self) {
        let mut state = lock(&self.desk.state);
        state.unattended = true;
        let finished = std::mem::take(&mut state.finished);
        drop(state);
        finished.iter().for_each(|slot| slot.wake());
        self.shared.nudge();
    }
}

/// Resolves when the group is durable, with its offsets.
///
/// # Cancel safety
///
/// Dropping it doesn't take the group back: it may still be written. Only a group that was still
/// waiting for room in the queue is then certainly not.
#[must_use = "whether the group was stored is known only when this resolves"]
pub struct Appended {
    state: State,
}

enum State {
    /// The queue was full.
    Room {
        shared: Arc<Shared>,
        work: Work,
        group: Option<Group>,
        desk: Option<Arc<Desk>>,
    },
    Waiting(Arc<Slot>),
    Refused(AppendError),
    Resolved,
}

impl Appended {
    pub(crate) fn begin(
        shared: &Arc<Shared>,
        work: Work,
        group: Option<Group>,
        desk: Option<Arc<Desk>>,
    ) -> Self {
        let state = match shared.push(work, group, desk, None) {
            Pushed::Waiting(slot) => State::Waiting(slot),
            Pushed::Refused(error) => State::Refused(error),
            Pushed::NoRoom(group, desk) => State::Room {
                shared: Arc::clone(shared),
                work,
                group,
                desk,
            },
        };
        Self { state }
    }
}

impl Future for Appended {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        if let State::Room {
            shared,
            work,
            group,
            desk,
        } = &mut self.state
        {
            let pushed = shared.push(*work, group.take(), desk.take(), Some(context.waker()));
            match pushed {
                Pushed::Waiting(slot) => self.state = State::Waiting(slot),
                Pushed::Refused(error) => self.state = State::Refused(error),
                Pushed::NoRoom(back, at) => {
                    (*group, *desk) = (back, at);
                    return Poll::Pending;
                }
            }
        }
        let outcome = match &self.state {
            State::Waiting(slot) => std::task::ready!(slot.poll(context)),
            State::Refused(error) => Err(error.clone()),
            State::Room { .. } | State::Resolved => panic!("polled after it had resolved"),
        };
        self.state = State::Resolved;
        Poll::Ready(outcome)
    }
}
