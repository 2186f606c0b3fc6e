//! Idle connections by address, the most recently used first, so that what isn't needed ages
//! out.
//!
//! An idle connection is polled by nobody; whether its peer has closed it is seen when it is
//! taken. One task sweeps what has lain too long, and ends when nothing lies there.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Settings;
use super::live::Live;

/// The idle connections of one worker.
pub(super) struct Pool {
    idle: RefCell<HashMap<Rc<str>, VecDeque<Idle>>>,
    count: Cell<usize>,
    sweeping: Cell<bool>,
    time_max: Duration,
    per_authority_max: usize,
    count_max: usize,
}

struct Idle {
    live: Live<TcpStream>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(settings: &Settings) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            count: Cell::new(0),
            sweeping: Cell::new(false),
            time_max: settings.idle_time_max,
            per_authority_max: settings.idle_per_authority_max,
            count_max: settings.idle_max,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.count.get()
    }

    /// The most recently used connection to `authority` that is still open.
    pub(super) async fn take(&self, authority: &str) -> Option<Live<TcpStream>> {
        loop {
            let mut live = self.pop(authority)?;
            if live.is_usable().await {
                return Some(live);
            }
        }
    }

    fn pop(&self, authority: &str) -> Option<Live<TcpStream>> {
        let mut idle = self.idle.borrow_mut();
        let lying = idle.get_mut(authority)?;
        let newest = lying.pop_back()?;
        self.count.set(self.count.get() - 1);
        if newest.since.elapsed() < self.time_max {
            return Some(newest.live);
        }
        // The newest is too old, so all are.
        self.count.set(self.count.get() - lying.len());
        lying.clear();
        None
    }

    /// Keeps a usable connection, or closes it when there are enough.
    pub(super) fn put(self: &Rc<Self>, authority: &Rc<str>, live: Live<TcpStream>) {
        if self.count.get() >= self.count_max {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let lying = match idle.get_mut(authority) {
            Some(lying) => lying,
            None => idle.entry(Rc::clone(authority)).or_default(),
        };
        if lying.len() < self.per_authority_max {
            lying.push_back(Idle {
                live,
                since: Instant::now(),
            });
            self.count.set(self.count.get() + 1);
            if !self.sweeping.replace(true) {
                // It ends by itself, and with the pool; without it, idle sockets would stay.
                drop(tokio::task::spawn_local(sweep(
                    Rc::downgrade(self),
                    self.time_max,
                )));
            }
        }
    }
}

/// Closes what has lain too long, until nothing lies there.
async fn sweep(pool: Weak<Pool>, time_max: Duration) {
    loop {
        sleep(time_max).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle.borrow_mut();
        idle.retain(|_authority, lying| {
            while lying
                .front()
                .is_some_and(|oldest| oldest.since.elapsed() >= time_max)
            {
                lying.pop_front();
                pool.count.set(pool.count.get() - 1);
            }
            !lying.is_empty()
        });
        if idle.is_empty() {
            pool.sweeping.set(false);
            return;
        }
    }
}
