//! The callers: connections to the server under test that send events and read the answers.
//!
//! No pipelining: a connection has one request in the air. Whoever lost its connection opens
//! another, up to a bound; a run with more losses than that is a failed run.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use hdrhistogram::Histogram;
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::rig::Window;
use crate::wire::{self, Request};

/// Connections lost in one run before it is given up.
const LOST_MAX: u64 = 1_000;
const READ_BYTES: usize = 4 * 1024;

struct Caller {
    stream: TcpStream,
    request: Request,
    written: usize,
    received: Vec<u8>,
    /// When the request in the air was meant to be sent; none when the caller rests.
    intended: Option<u64>,
}

/// What came of one measurement at the callers' side.
#[derive(Default, Clone, Copy)]
pub(crate) struct Answers {
    /// Answers of 2xx.
    pub(crate) taken: u64,
    /// Answers of 2xx that came within the window.
    pub(crate) taken_in_window: u64,
    /// Any other answer.
    pub(crate) refused: u64,
    /// The status of the last refusal.
    pub(crate) refused_status: u16,
    /// Connections that ended with a request in the air.
    pub(crate) lost: u64,
}

/// All connections to one server.
pub(crate) struct Calls {
    target: SocketAddr,
    callers: Vec<Caller>,
    rested: Vec<usize>,
    functions: usize,
    /// Events sent so far; also the number of the next.
    pub(crate) sent: u64,
    pub(crate) answers: Answers,
    /// From the intended send to the answer, nanoseconds.
    pub(crate) waits: Histogram<u64>,
}

impl Calls {
    /// Connects `connections` callers. Events go to `functions` types in turn.
    pub(crate) fn connect(
        poll: &OwnedFd,
        target: SocketAddr,
        connections: usize,
        functions: usize,
        request: &Request,
        waits: Histogram<u64>,
        token: impl Fn(usize) -> EventData,
    ) -> io::Result<Self> {
        let mut callers = Vec::with_capacity(connections);
        for place in 0..connections {
            let stream = connect(poll, target, token(place))?;
            let request = request.clone();
            callers.push(Caller {
                stream,
                request,
                written: 0,
                received: Vec::new(),
                intended: None,
            });
        }
        Ok(Self {
            target,
            callers,
            rested: (0..connections).collect(),
            functions,
            sent: 0,
            answers: Answers::default(),
            waits,
        })
    }

    /// Forgets the last measurement's times and counts.
    pub(crate) fn start_window(&mut self) {
        self.waits.reset();
        self.answers = Answers::default();
    }

    /// Requests in the air.
    pub(crate) fn in_the_air(&self) -> usize {
        self.callers.len() - self.rested.len()
    }

    pub(crate) fn rested(&self) -> bool {
        !self.rested.is_empty()
    }

    /// Sends the next event by a rested caller. There must be one.
    pub(crate) fn send(&mut self, intended: u64) {
        let Some(place) = self.rested.pop() else {
            return;
        };
        let caller = &mut self.callers[place];
        let function = (self.sent % self.functions as u64) as usize;
        caller.request.set(self.sent, intended, function);
        caller.intended = Some(intended);
        caller.written = 0;
        self.sent += 1;
        // A failure shows when reading: the poll wakes for it.
        caller.write();
    }

    /// Takes in what a connection has to say.
    pub(crate) fn woken(
        &mut self,
        poll: &OwnedFd,
        place: usize,
        now: u64,
        window: Window,
        token: impl Fn(usize) -> EventData,
    ) -> io::Result<()> {
        let caller = &mut self.callers[place];
        caller.write();
        let heard = caller.hear();
        match heard {
            Heard::Nothing => return Ok(()),
            Heard::Status(status) => {
                if !(200..300).contains(&status) {
                    self.answers.refused += 1;
                    self.answers.refused_status = status;
                } else {
                    self.answers.taken += 1;
                    self.answers.taken_in_window += u64::from(window.contains(now));
                    if let Some(at) = caller.intended.filter(|&at| window.contains(at)) {
                        self.waits.saturating_record(now.saturating_sub(at));
                    }
                }
            }
            Heard::End => {
                caller.stream = connect(poll, self.target, token(place))?;
                caller.received.clear();
                if caller.intended.is_none() {
                    return Ok(());
                }
                self.answers.lost += 1;
                if LOST_MAX < self.answers.lost {
                    return Err(io::Error::other(format!(
                        "{LOST_MAX} connections were lost"
                    )));
                }
            }
        }
        if caller.intended.take().is_some() {
            self.rested.push(place);
        }
        Ok(())
    }
}

enum Heard {
    Nothing,
    Status(u16),
    End,
}

impl Caller {
    fn write(&mut self) {
        let bytes = self.request.bytes();
        while self.intended.is_some() && self.written < bytes.len() {
            match self.stream.write(&bytes[self.written..]) {
                Ok(wrote) => self.written += wrote,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn hear(&mut self) -> Heard {
        let mut fresh = [0; READ_BYTES];
        loop {
            match self.stream.read(&mut fresh) {
                Ok(0) => return Heard::End,
                Ok(got) => self.received.extend_from_slice(&fresh[..got]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Heard::End,
            }
            match wire::answer(&self.received) {
                // One request is in the air, so there is nothing behind its answer.
                Ok(Some(message)) => {
                    self.received.clear();
                    return Heard::Status(message.said);
                }
                Ok(None) => {}
                Err(wire::Unreadable) => return Heard::End,
            }
        }
    }
}

fn connect(poll: &OwnedFd, target: SocketAddr, token: EventData) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target)?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let wanted = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(poll, &stream, token, wanted)?;
    Ok(stream)
}
