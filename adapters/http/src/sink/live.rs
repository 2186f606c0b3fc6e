//! One connection, driven by whoever uses it.

use std::cell::Cell;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most headers of an answer; over it the attempt fails.
const HEADERS_MAX: usize = 512;

/// What is read ahead of the parser, and so the largest head of an answer; over it the attempt
/// fails.
const BUFFER_BYTES_MAX: usize = 160 * 1024;

type Http<S> = http1::Connection<TokioIo<Ear<S>>, Full<Bytes>>;

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection could be opened; the text is a sentence already.
    #[error("{0}")]
    NoConnection(String),
    /// The connection broke before the first byte of an answer.
    #[error("connection {how} before an answer")]
    Broke {
        how: &'static str,
        /// Whether it had carried an answer before.
        reused: bool,
    },
    /// The connection broke inside an answer.
    #[error("connection broke in the middle of the answer")]
    BrokeInside,
    /// What came back isn't HTTP.
    #[error("the answer is not HTTP: {0}")]
    NotHttp(hyper::Error),
    /// Anything else that hyper says.
    #[error("the request could not be sent: {0}")]
    Other(hyper::Error),
}

impl Failure {
    /// See the module of the sink: only what an idle connection's end explains.
    pub(super) fn may_be_sent_again(&self) -> bool {
        matches!(self, Self::Broke { reused: true, .. })
    }

    fn of(error: hyper::Error, heard: bool, reused: bool) -> Self {
        let how = match io_kind(&error) {
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => "reset",
            Some(io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => "closed",
            None if error.is_incomplete_message() => "closed",
            None if error.is_canceled() || error.is_closed() => "closed",
            None if error.is_parse() => return Self::NotHttp(error),
            _ => return Self::Other(error),
        };
        if heard {
            Self::BrokeInside
        } else {
            Self::Broke { how, reused }
        }
    }
}

/// hyper wraps what the socket said once or twice.
fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

/// What a connection is made of: a socket, or what stands for one.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Stream for S {}

/// An open connection with nothing on it, or with one request.
pub(super) struct Live<S: Stream> {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    http: Option<Pin<Box<Http<S>>>>,
    /// Whether a byte has come since the last request was sent.
    heard: Rc<Cell<bool>>,
    reused: bool,
}

impl<S: Stream> Live<S> {
    /// Takes a connected socket.
    pub(super) async fn open(stream: S) -> Result<Self, Failure> {
        let heard = Rc::new(Cell::new(false));
        let ear = Ear {
            stream,
            heard: Rc::clone(&heard),
        };
        let (sender, http) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(ear))
            .await
            .map_err(Failure::Other)?;
        Ok(Self {
            sender,
            http: Some(Box::pin(http)),
            heard,
            reused: false,
        })
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a connection that says it is not usable.
    pub(super) async fn send(
        &mut self,
        message: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, Failure> {
        self.heard.set(false);
        let answered = beside(&mut self.http, self.sender.send_request(message)).await;
        answered.map_err(|error| Failure::of(error, self.heard.get(), self.reused))
    }

    /// The next piece of an answer's body. `None` at its end.
    pub(super) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<Result<Frame<Bytes>, Failure>> {
        let frame = beside(&mut self.http, body.frame()).await?;
        Some(frame.map_err(|_broken| Failure::BrokeInside))
    }

    /// Whether the next request can be sent: the peer hasn't closed, said `Connection: close` or
    /// sent what nobody asked for.
    pub(super) async fn is_usable(&mut self) -> bool {
        self.reused = true;
        beside(&mut self.http, std::future::ready(())).await;
        self.http.is_some() && self.sender.is_ready()
    }
}

/// Does `work` while driving the connection that it waits for.
async fn beside<S: Stream, W: Future>(http: &mut Option<Pin<Box<Http<S>>>>, work: W) -> W::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        // How it ended, the one who waits for an answer is told; dropping it tells him also
        // when hyper didn't.
        if http
            .as_mut()
            .is_some_and(|http| http.as_mut().poll(cx).is_ready())
        {
            *http = None;
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// The socket, and whether anything was heard from it.
struct Ear<S> {
    stream: S,
    heard: Rc<Cell<bool>>,
}

impl<S: Stream> AsyncRead for Ear<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.set(true);
        }
        read
    }
}

impl<S: Stream> AsyncWrite for Ear<S> {
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
