//! The functions at the far end: listening ports that answer 202 and keep count.
//!
//! A port is prompt, or slow (it answers after a fixed time), or dead (its connections are
//! refused). Each event is counted once for each port; a second arrival is a duplicate. The time
//! from the intended send to the arrival is recorded when it was meant to be sent within the
//! window of the current measurement.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::rig::Window;
use crate::wire;

/// 202: taken, and whatever the body is, it is no reply.
const TAKEN: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
/// 400: refused for good.
const REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\nbad order";
/// The largest request read. Beyond it the connection is closed and counted as unreadable.
const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// Connections that may wait to be accepted at a port that was dead.
const LISTEN_BACKLOG: i32 = 1024;

/// How a port behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Habit {
    Prompt,
    Slow(Duration),
    Refusing,
    Dead,
}

/// What reached one port.
pub(crate) struct Port {
    pub(crate) habit: Habit,
    /// First arrivals of an event here.
    pub(crate) arrived: u64,
    /// First arrivals within the window.
    pub(crate) arrived_in_window: u64,
    pub(crate) duplicates: u64,
    seen: Vec<u64>,
    listener: Option<TcpListener>,
    /// Keeps a dead port from being given to somebody else.
    reserved: Option<OwnedFd>,
}

struct Guest {
    stream: TcpStream,
    port: usize,
    generation: u64,
    received: Vec<u8>,
}

/// All ports, their connections and what they counted.
pub(crate) struct Sink {
    pub(crate) ports: Vec<Port>,
    /// From the intended send to the arrival, nanoseconds.
    pub(crate) end_to_end: Histogram<u64>,
    /// Requests that were not HTTP/1.1 with a content-length.
    pub(crate) unreadable: u64,
    arrived: u64,
    guests: Vec<Option<Guest>>,
    free: Vec<usize>,
    generations: u64,
    late: VecDeque<Late>,
}

struct Late {
    due: u64,
    guest: usize,
    generation: u64,
}

/// Which of the sink's sockets the poll woke for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Woken {
    Port(usize),
    Guest(usize),
}

impl Sink {
    pub(crate) fn new(end_to_end: Histogram<u64>) -> Self {
        Self {
            ports: Vec::new(),
            end_to_end,
            unreadable: 0,
            arrived: 0,
            guests: Vec::new(),
            free: Vec::new(),
            generations: 0,
            late: VecDeque::new(),
        }
    }

    /// Opens one more port on loopback and returns its address.
    pub(crate) fn open(
        &mut self,
        poll: &OwnedFd,
        habit: Habit,
        token: impl Fn(Woken) -> EventData,
    ) -> io::Result<SocketAddr> {
        let (listener, reserved, address) = if habit == Habit::Dead {
            let (reserved, address) = bind_without_listening()?;
            (None, Some(reserved), address)
        } else {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            epoll::add(
                poll,
                &listener,
                token(Woken::Port(self.ports.len())),
                EventFlags::IN,
            )?;
            let address = listener.local_addr()?;
            (Some(listener), None, address)
        };
        self.ports.push(Port {
            habit,
            arrived: 0,
            arrived_in_window: 0,
            duplicates: 0,
            seen: Vec::new(),
            listener,
            reserved,
        });
        Ok(address)
    }

    /// Brings a dead port to life: it listens and is prompt from now on.
    pub(crate) fn heal(
        &mut self,
        poll: &OwnedFd,
        place: usize,
        token: impl Fn(Woken) -> EventData,
    ) -> io::Result<()> {
        let port = &mut self.ports[place];
        if let Some(reserved) = port.reserved.take() {
            rustix::net::listen(&reserved, LISTEN_BACKLOG)?;
            let listener = TcpListener::from(reserved);
            listener.set_nonblocking(true)?;
            epoll::add(poll, &listener, token(Woken::Port(place)), EventFlags::IN)?;
            port.listener = Some(listener);
            port.habit = Habit::Prompt;
        }
        Ok(())
    }

    /// Forgets the last measurement's times and counts; what arrived before stays known.
    pub(crate) fn start_window(&mut self) {
        self.end_to_end.reset();
        for port in &mut self.ports {
            port.arrived_in_window = 0;
        }
    }

    /// First arrivals at prompt ports.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// The ports that answer at once.
    pub(crate) fn prompt(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.habit == Habit::Prompt)
    }

    /// When the next late answer is due, in nanoseconds of the rig.
    pub(crate) fn due(&self) -> Option<u64> {
        self.late.front().map(|late| late.due)
    }

    /// Sends the late answers whose time has come.
    pub(crate) fn answer_late(&mut self, now: u64) {
        while self.late.front().is_some_and(|late| late.due <= now) {
            let Some(late) = self.late.pop_front() else {
                return;
            };
            let guest = self.guests.get_mut(late.guest).and_then(Option::as_mut);
            if let Some(guest) = guest.filter(|guest| guest.generation == late.generation)
                && guest.stream.write_all(TAKEN).is_err()
            {
                self.leave(late.guest);
            }
        }
    }

    /// Takes in what a socket has to say.
    pub(crate) fn woken(
        &mut self,
        poll: &OwnedFd,
        socket: Woken,
        now: u64,
        window: Window,
        token: impl Fn(Woken) -> EventData,
    ) -> io::Result<()> {
        match socket {
            Woken::Port(port) => self.accept(poll, port, token),
            Woken::Guest(guest) => {
                if !self.hear(guest, now, window) {
                    self.leave(guest);
                }
                Ok(())
            }
        }
    }

    fn accept(
        &mut self,
        poll: &OwnedFd,
        port: usize,
        token: impl Fn(Woken) -> EventData,
    ) -> io::Result<()> {
        while let Some(listener) = &self.ports[port].listener {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.guests.push(None);
                self.guests.len() - 1
            });
            epoll::add(
                poll,
                &stream,
                token(Woken::Guest(place)),
                EventFlags::IN | EventFlags::ET,
            )?;
            self.generations += 1;
            let generation = self.generations;
            self.guests[place] = Some(Guest {
                stream,
                port,
                generation,
                received: Vec::new(),
            });
        }
        Ok(())
    }

    /// Reads until there is no more; false when the connection is at its end.
    fn hear(&mut self, place: usize, now: u64, window: Window) -> bool {
        let Some(guest) = self.guests.get_mut(place).and_then(Option::as_mut) else {
            return true;
        };
        let mut fresh = [0; READ_BYTES];
        loop {
            let got = match guest.stream.read(&mut fresh) {
                Ok(0) => return false,
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            guest.received.extend_from_slice(&fresh[..got]);
            let mut read = 0;
            loop {
                match wire::request(&guest.received[read..]) {
                    Ok(Some(message)) => {
                        read += message.bytes;
                        let port = &mut self.ports[guest.port];
                        if port.count(&message.said, now, window, &mut self.end_to_end) {
                            self.arrived += 1;
                        }
                        match port.habit {
                            Habit::Slow(delay) => self.late.push_back(Late {
                                due: now + delay.as_nanos() as u64,
                                guest: place,
                                generation: guest.generation,
                            }),
                            Habit::Refusing if guest.stream.write_all(REFUSED).is_err() => {
                                return false;
                            }
                            Habit::Refusing => {}
                            _ if guest.stream.write_all(TAKEN).is_err() => return false,
                            _ => {}
                        }
                    }
                    Ok(None) if guest.received.len() - read <= REQUEST_BYTES_MAX => break,
                    Ok(None) | Err(wire::Unreadable) => {
                        self.unreadable += 1;
                        return false;
                    }
                }
            }
            guest.received.drain(..read);
            // A short read means there is no more: the next bytes wake us again.
            if got < READ_BYTES {
                return true;
            }
        }
    }

    fn leave(&mut self, place: usize) {
        if self.guests.get_mut(place).and_then(Option::take).is_some() {
            self.free.push(place);
        }
    }
}

impl Port {
    /// Where a port that listens is.
    #[cfg(test)]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Counts an arrival; true for the first of its event at a prompt port.
    fn count(
        &mut self,
        stamp: &wire::Stamp,
        now: u64,
        window: Window,
        end_to_end: &mut Histogram<u64>,
    ) -> bool {
        if let Some(number) = stamp.number {
            let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
            if self.seen.len() <= word {
                self.seen.resize(word + 1, 0);
            }
            if self.seen[word] & bit != 0 {
                self.duplicates += 1;
                return false;
            }
            self.seen[word] |= bit;
        }
        self.arrived += 1;
        self.arrived_in_window += u64::from(window.contains(now));
        if let Some(at) = stamp.at.filter(|&at| window.contains(at))
            && self.habit == Habit::Prompt
        {
            end_to_end.saturating_record(now.saturating_sub(at));
        }
        self.habit == Habit::Prompt
    }
}

/// A port that refuses connections and that nobody else is given meanwhile.
fn bind_without_listening() -> io::Result<(OwnedFd, SocketAddr)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    let address = SocketAddrV4::try_from(getsockname(&socket)?)?;
    Ok((socket, address.into()))
}
