//! A connection's socket, with a scan and a clock beside it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Settings;
use super::scan::{Scan, Violation};

/// What one connection is doing, shared by its socket, its requests and its timer; they all
/// live in one task.
#[derive(Debug)]
pub(super) struct Activity {
    in_flight: Cell<u32>,
    served: Cell<u64>,
    /// Whether a head has begun to arrive and isn't whole yet.
    head_begun: Cell<bool>,
    /// When the head began, or when the last request ended.
    since: Cell<Instant>,
    found: Cell<Option<(u64, Violation)>>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            in_flight: Cell::new(0),
            served: Cell::new(0),
            head_begun: Cell::new(false),
            since: Cell::new(Instant::now()),
            found: Cell::new(None),
        }
    }

    /// A request's head is whole. Says what is wrong with it, if the scan saw something.
    pub(super) fn begin(self: &Rc<Self>) -> (InFlight, Option<Violation>) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.served.set(self.served.get() + 1);
        self.head_begun.set(false);
        let violation = self
            .found
            .get()
            .filter(|(head, _)| *head <= self.served.get())
            .map(|(_, what)| what);
        (InFlight(Rc::clone(self)), violation)
    }

    /// Until when the peer may go on like this; busy connections are asked about again later.
    pub(super) fn deadline(&self, now: Instant, settings: &Settings) -> Instant {
        if self.in_flight.get() > 0 {
            now + settings.head_time_max
        } else if self.head_begun.get() {
            self.since.get() + settings.head_time_max
        } else {
            self.since.get() + settings.idle_time_max
        }
    }

    /// Whether a head has begun to arrive and isn't whole yet.
    pub(super) fn is_in_head(&self) -> bool {
        self.head_begun.get()
    }

    fn heard(&self) {
        if self.in_flight.get() == 0 && !self.head_begun.replace(true) {
            self.since.set(Instant::now());
        }
    }
}

/// A request being served; dropping it is its end.
pub(super) struct InFlight(Rc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let left = self.0.in_flight.get() - 1;
        self.0.in_flight.set(left);
        if left == 0 {
            self.0.since.set(Instant::now());
        }
    }
}

/// The socket. For HTTP/2 it only repeats the bytes that were read to tell the version.
pub(super) struct Tap<S> {
    stream: S,
    /// What was read to tell the version, to be read again; then empty.
    replay: Vec<u8>,
    watch: Option<(Scan, Rc<Activity>)>,
}

impl<S> Tap<S> {
    /// For HTTP/1.1.
    pub(super) fn watched(stream: S, replay: Vec<u8>, activity: Rc<Activity>) -> Self {
        Self {
            stream,
            replay,
            watch: Some((Scan::new(), activity)),
        }
    }

    /// For HTTP/2, which frames its heads.
    pub(super) fn plain(stream: S, replay: Vec<u8>) -> Self {
        Self {
            stream,
            replay,
            watch: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.replay.is_empty() {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
        } else {
            let some = this.replay.len().min(buf.remaining());
            buf.put_slice(&this.replay[..some]);
            this.replay.drain(..some);
        }
        if let Some((scan, activity)) = &mut this.watch {
            let read = &buf.filled()[before..];
            if !read.is_empty() {
                if activity.in_flight.get() == 0 {
                    scan.resume(activity.served.get());
                }
                activity.heard();
                scan.feed(read);
                activity.found.set(scan.found);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
