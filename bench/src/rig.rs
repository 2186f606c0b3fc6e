//! One loop on one core that plays both ends: the callers that send and the sink that receives.
//!
//! Both ends in one thread share one clock and cost no switch between threads, which leaves the
//! other core to the server under test. While a measurement runs the loop polls without sleeping,
//! so that waking up is not measured as the server's time.
//!
//! **Closed loop**: each caller sends again once it was answered. With an `owed_max` it also waits
//! while more deliveries than that are outstanding, so the rate is one that the server sustains to
//! the far end, and not the rate at which it piles up a backlog.
//! **Open loop**: event k is meant to be sent at start + k ÷ rate, whatever the server does. Times
//! count from there, also when no caller was free, and events meant for the window are sent even
//! after its end; so a stall is seen by every event that it held up.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData};

use crate::calls::{Answers, Calls};
use crate::sink::{Habit, Sink, Woken};
use crate::wire::Request;

/// Events taken from the poll at once.
const EVENTS_MAX: usize = 512;
/// After a window's end, how long what is outstanding may take.
const DRAIN_MAX: Duration = Duration::from_secs(20);
/// Turns between two looks at the clock's slow questions (late answers, phases).
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// What a histogram tells apart: 1 µs to 2 minutes, three digits.
const HIGHEST_NANOSECONDS: u64 = 120_000_000_000;

/// When an event is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as the last one was answered.
    Closed,
    /// So many a second, by the clock.
    Open { per_second: u64 },
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) pace: Pace,
    /// Sent but not measured, first.
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
    /// No more events than this in all.
    pub(crate) events_max: u64,
    /// Deliveries each event leads to at prompt ports, in hundredths (98 of 100 functions: 98).
    pub(crate) deliveries_percent: u64,
    /// Closed loop: callers wait while more deliveries than this are outstanding.
    pub(crate) owed_max: Option<u64>,
}

/// The span of time whose events and answers count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Window {
    /// Before any measurement: nothing counts.
    const SHUT: Self = Self { from: 0, to: 0 };

    pub(crate) fn contains(self, at: u64) -> bool {
        self.from <= at && at < self.to
    }
}

/// What one measurement saw.
pub(crate) struct Seen<P> {
    pub(crate) window: Duration,
    pub(crate) answers: Answers,
    pub(crate) waits: Histogram<u64>,
    /// First arrivals at prompt ports within the window.
    pub(crate) arrived_in_window: u64,
    pub(crate) end_to_end: Histogram<u64>,
    /// Deliveries to prompt ports that had not arrived when the run was left.
    pub(crate) missing: u64,
    /// Events that were meant for the window and never sent: the server could not keep the rate.
    pub(crate) unsent: u64,
    /// What the caller's probe said at the window's start and end.
    pub(crate) probes: (P, P),
}

/// The loop and all its sockets.
pub(crate) struct Rig {
    poll: OwnedFd,
    started: Instant,
    ready: Vec<epoll::Event>,
    pub(crate) sink: Sink,
    calls: Option<Calls>,
    window: Window,
    deliveries_before: u64,
    drain_max: Duration,
}

impl Rig {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: epoll::create(CreateFlags::CLOEXEC)?,
            started: Instant::now(),
            ready: Vec::with_capacity(EVENTS_MAX),
            sink: Sink::new(histogram()),
            calls: None,
            window: Window::SHUT,
            deliveries_before: 0,
            drain_max: DRAIN_MAX,
        })
    }

    /// Opens one more port of the sink.
    pub(crate) fn open(&mut self, habit: Habit) -> io::Result<SocketAddr> {
        self.sink.open(&self.poll, habit, sink_token)
    }

    /// Brings a dead port of the sink to life.
    pub(crate) fn heal(&mut self, place: usize) -> io::Result<()> {
        self.sink.heal(&self.poll, place, sink_token)
    }

    /// Connects the callers; earlier ones are closed.
    pub(crate) fn connect(
        &mut self,
        target: SocketAddr,
        connections: usize,
        functions: usize,
        request: &Request,
    ) -> io::Result<()> {
        self.calls = None;
        let waits = histogram();
        let calls = Calls::connect(
            &self.poll,
            target,
            connections,
            functions,
            request,
            waits,
            call_token,
        )?;
        self.calls = Some(calls);
        Ok(())
    }

    /// Closes the callers' connections, as senders do before a server is stopped.
    pub(crate) fn disconnect(&mut self) {
        self.calls = None;
    }

    /// Events sent since the callers were connected.
    pub(crate) fn sent(&self) -> u64 {
        self.calls.as_ref().map_or(0, |calls| calls.sent)
    }

    /// Lets time pass; the sink goes on answering.
    pub(crate) fn rest(&mut self, span: Duration) -> io::Result<()> {
        let until = self.now() + nanoseconds(span);
        while self.now() < until {
            let left = Duration::from_nanos(until.saturating_sub(self.now()));
            self.turn(left.min(LONGEST_WAIT))?;
        }
        Ok(())
    }

    /// Runs one measurement; `probe` is asked at the window's start and end.
    pub(crate) fn run<P>(
        &mut self,
        load: &Load,
        mut probe: impl FnMut() -> io::Result<P>,
    ) -> io::Result<Seen<P>> {
        let start = self.now();
        let from = start + nanoseconds(load.warm);
        self.window = Window {
            from,
            to: from + nanoseconds(load.measured),
        };
        self.sink.start_window();
        self.deliveries_before = self.sink.arrived();
        let sent_before = self.calls()?.sent;
        self.calls()?.start_window();
        let (mut before, mut after) = (None, None);
        loop {
            let now = self.now();
            if before.is_none() && self.window.from <= now {
                before = Some(probe()?);
            }
            let sent = self.calls()?.sent - sent_before;
            let counted_out = load.events_max <= sent;
            let done = counted_out && self.calls()?.in_the_air() == 0;
            if before.is_some() && after.is_none() && (self.window.to <= now || done) {
                after = Some(probe()?);
                // A run bounded by its number of events ends the window when the last is answered.
                self.window.to = self.window.to.min(now);
            }
            let more = match load.pace {
                _ if counted_out => false,
                Pace::Closed => after.is_none(),
                Pace::Open { per_second } => due(start, sent, per_second) < self.window.to,
            };
            if after.is_some() && !more && self.settled(load, sent_before) {
                break;
            }
            if self.window.to + nanoseconds(self.drain_max) < now {
                break;
            }
            if more {
                self.send_due(load, start, sent_before)?;
            }
            self.turn(Duration::ZERO)?;
        }
        let unsent = match load.pace {
            Pace::Closed => 0,
            Pace::Open { per_second } => {
                let span = self.window.to.saturating_sub(start);
                let sent = self.calls()?.sent - sent_before;
                (u128::from(span) * u128::from(per_second) / 1_000_000_000)
                    .saturating_sub(u128::from(sent)) as u64
            }
        };
        let missing = self.owed(load, sent_before);
        let window = Duration::from_nanos(self.window.to.saturating_sub(self.window.from));
        let arrived_in_window = self.sink.prompt().map(|port| port.arrived_in_window).sum();
        let end_to_end = self.sink.end_to_end.clone();
        let (Some(before), Some(after)) = (before, after) else {
            return Err(io::Error::other("the run ended before its window did"));
        };
        let calls = self.calls()?;
        Ok(Seen {
            window,
            answers: calls.answers,
            waits: calls.waits.clone(),
            arrived_in_window,
            end_to_end,
            missing,
            unsent,
            probes: (before, after),
        })
    }

    fn send_due(&mut self, load: &Load, start: u64, sent_before: u64) -> io::Result<()> {
        loop {
            let owed = self.owed(load, sent_before);
            let (at, window_end) = (self.now(), self.window.to);
            let calls = self.calls()?;
            let sent = calls.sent - sent_before;
            if !calls.rested() || load.events_max <= sent {
                return Ok(());
            }
            match load.pace {
                Pace::Closed if load.owed_max.is_some_and(|max| max <= owed) => return Ok(()),
                Pace::Closed => calls.send(at),
                Pace::Open { per_second } => {
                    let due = due(start, sent, per_second);
                    if at < due || window_end <= due {
                        return Ok(());
                    }
                    calls.send(due);
                }
            }
        }
    }

    /// Deliveries to prompt ports that are still to come, if all sent were taken.
    fn owed(&self, load: &Load, sent_before: u64) -> u64 {
        let Some(calls) = &self.calls else { return 0 };
        let untaken = calls.answers.refused + calls.answers.lost;
        let sent = (calls.sent - sent_before).saturating_sub(untaken);
        let arrived = self.sink.arrived() - self.deliveries_before;
        (sent * load.deliveries_percent / 100).saturating_sub(arrived)
    }

    fn settled(&self, load: &Load, sent_before: u64) -> bool {
        let in_the_air = self.calls.as_ref().map_or(0, Calls::in_the_air);
        in_the_air == 0 && self.owed(load, sent_before) == 0
    }

    fn turn(&mut self, longest: Duration) -> io::Result<()> {
        let wait = Timespec {
            tv_sec: longest.as_secs() as _,
            tv_nsec: longest.subsec_nanos().into(),
        };
        self.ready.clear();
        let room = rustix::buffer::spare_capacity(&mut self.ready);
        match epoll::wait(&self.poll, room, Some(&wait)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for place in 0..self.ready.len() {
            let data = self.ready[place].data.u64();
            let (kind, index) = (data >> 32, (data & u64::from(u32::MAX)) as usize);
            let now = self.now();
            match (kind, &mut self.calls) {
                (CALLER, Some(calls)) => {
                    calls.woken(&self.poll, index, now, self.window, call_token)?;
                }
                (CALLER, None) => {}
                (PORT, _) => {
                    let port = Woken::Port(index);
                    self.sink
                        .woken(&self.poll, port, now, self.window, sink_token)?;
                }
                _ => {
                    let guest = Woken::Guest(index);
                    self.sink
                        .woken(&self.poll, guest, now, self.window, sink_token)?;
                }
            }
        }
        if self.sink.due().is_some() {
            let now = self.now();
            self.sink.answer_late(now);
        }
        Ok(())
    }

    fn calls(&mut self) -> io::Result<&mut Calls> {
        self.calls
            .as_mut()
            .ok_or_else(|| io::Error::other("no callers are connected"))
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}

/// When event `number` of an open loop is meant to be sent.
fn due(start: u64, number: u64, per_second: u64) -> u64 {
    start + (u128::from(number) * 1_000_000_000 / u128::from(per_second)) as u64
}

fn nanoseconds(span: Duration) -> u64 {
    span.as_nanos() as u64
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, HIGHEST_NANOSECONDS, 3)
        .expect("the bounds are constants that the crate takes")
}

const CALLER: u64 = 0;
const PORT: u64 = 1;
const GUEST: u64 = 2;

fn call_token(place: usize) -> EventData {
    EventData::new_u64(CALLER << 32 | place as u64)
}

fn sink_token(socket: Woken) -> EventData {
    EventData::new_u64(match socket {
        Woken::Port(place) => PORT << 32 | place as u64,
        Woken::Guest(place) => GUEST << 32 | place as u64,
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// A rig whose callers send to its own port, so that what is known of both ends can be compared.
    fn rig_to_itself(habit: Habit, connections: usize) -> Rig {
        let mut rig = Rig::new().unwrap();
        let port = rig.open(habit).unwrap();
        let request = Request::event(&port.to_string(), "/", "test", 1024);
        rig.connect(port, connections, 1, &request).unwrap();
        rig
    }

    const LOAD: Load = Load {
        pace: Pace::Closed,
        warm: Duration::ZERO,
        measured: Duration::from_secs(10),
        events_max: 500,
        deliveries_percent: 100,
        owed_max: None,
    };

    #[test]
    fn every_event_sent_is_taken_and_arrives_once() {
        let mut rig = rig_to_itself(Habit::Prompt, 8);
        let seen = rig.run(&LOAD, || Ok(())).unwrap();
        assert_eq!(
            (seen.answers.taken, seen.answers.refused, seen.answers.lost),
            (500, 0, 0)
        );
        assert_eq!(
            (rig.sent(), rig.sink.arrived(), seen.missing),
            (500, 500, 0)
        );
        assert_eq!(rig.sink.ports[0].duplicates, 0);
        assert!(
            seen.window < LOAD.measured,
            "the window ends with the last answer"
        );
    }

    #[test]
    fn the_same_number_again_is_a_duplicate() {
        let mut rig = rig_to_itself(Habit::Prompt, 1);
        rig.run(
            &Load {
                events_max: 5,
                ..LOAD
            },
            || Ok(()),
        )
        .unwrap();
        // New callers begin to count at zero.
        let port = rig.sink.ports[0].address().unwrap();
        let request = Request::event(&port.to_string(), "/", "test", 1024);
        rig.connect(port, 1, 1, &request).unwrap();
        let again = Load {
            events_max: 7,
            deliveries_percent: 0,
            ..LOAD
        };
        rig.run(&again, || Ok(())).unwrap();
        assert_eq!((rig.sink.arrived(), rig.sink.ports[0].duplicates), (7, 5));
    }

    #[test]
    fn an_open_loop_counts_from_when_an_event_was_meant_to_be_sent() {
        let mut rig = rig_to_itself(Habit::Slow(Duration::from_millis(20)), 1);
        // 20 events in 200 ms, of which one caller gets one off every 20 ms: the last waits for
        // all before it.
        let load = Load {
            pace: Pace::Open { per_second: 100 },
            measured: Duration::from_millis(200),
            events_max: u64::MAX,
            deliveries_percent: 0,
            ..LOAD
        };
        let seen = rig.run(&load, || Ok(())).unwrap();
        assert_eq!(
            (seen.answers.taken, seen.unsent, seen.waits.len()),
            (20, 0, 20)
        );
        let longest = Duration::from_nanos(seen.waits.max());
        assert!(Duration::from_millis(200) < longest, "{longest:?}");
    }

    #[test]
    fn callers_wait_while_too_much_is_owed() {
        let mut rig = rig_to_itself(Habit::Prompt, 4);
        // Each event is said to lead to two deliveries, of which only one ever comes.
        let load = Load {
            measured: Duration::from_millis(50),
            deliveries_percent: 200,
            owed_max: Some(10),
            ..LOAD
        };
        rig.drain_max = Duration::from_millis(50);
        let seen = rig.run(&load, || Ok(())).unwrap();
        assert_eq!((rig.sent(), seen.missing), (10, 10));
    }

    #[test]
    fn a_dead_port_refuses() {
        let mut rig = Rig::new().unwrap();
        let port = rig.open(Habit::Dead).unwrap();
        let refused = TcpStream::connect(port).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
