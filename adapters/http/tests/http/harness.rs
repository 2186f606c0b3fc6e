//! A source with a recording door, a sink, and raw sockets on the other side of both.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapters_http::source::{self, Door, IngestBudget, Readiness, Source, SourceStats};
use adapters_http::{sink, sink::HttpSink};
use broker::admission::BrokerFacts;
use broker::records::envelope::Context;
use broker::trace::TraceParent;
use broker::{Attempted, Clock, Refusal, Request, Sink as _, WallTime};
use event::{Batch, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, timeout};
use triggers::{BrokerName, Destination, Format};

/// No step of a test takes so long; what does, hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test as a worker's thread would.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        timeout(PATIENCE, test).await.expect("the test hangs");
    });
}

/// What went through the door, and what it shall say next.
#[derive(Clone, Default)]
pub(crate) struct Recording {
    pub(crate) published: Rc<RefCell<Vec<(Context, Batch)>>>,
    pub(crate) refuse_next: Rc<RefCell<Option<Refusal>>>,
    /// When set, publishing waits until it is notified: a slow disk.
    pub(crate) held: Rc<RefCell<Option<Rc<tokio::sync::Notify>>>>,
    pub(crate) waiting: Rc<Cell<usize>>,
}

/// The limit of broker `shop/small`.
pub(crate) const SMALL: usize = 70_000;

impl Door for Recording {
    fn broker(&self, name: &BrokerName) -> Result<Arc<BrokerFacts>, Refusal> {
        let event_bytes_max = match name.to_string().as_str() {
            "shop/orders" | "default/default" => 1024 * 1024,
            "shop/small" => SMALL,
            _ => return Err(Refusal::NoSuchBroker(name.clone())),
        };
        Ok(Arc::new(BrokerFacts {
            name: name.clone(),
            number: 1,
            event_bytes_max,
        }))
    }

    async fn publish(
        &self,
        _to: &BrokerFacts,
        context: &Context,
        batch: &Batch,
    ) -> Result<(), Refusal> {
        let held = self.held.borrow().clone();
        if let Some(held) = held {
            self.waiting.set(self.waiting.get() + 1);
            held.notified().await;
        }
        if let Some(refusal) = self.refuse_next.borrow_mut().take() {
            return Err(refusal);
        }
        self.published
            .borrow_mut()
            .push((context.clone(), batch.clone()));
        Ok(())
    }
}

/// A source that runs.
pub(crate) struct Served {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) door: Recording,
    pub(crate) stats: Arc<SourceStats>,
    pub(crate) readiness: Arc<Mutex<Readiness>>,
    pub(crate) stop: watch::Sender<Option<Instant>>,
    pub(crate) serving: JoinHandle<usize>,
}

pub(crate) fn serve(settings: source::Settings, budget_bytes: usize) -> Served {
    let listener = source::bind("127.0.0.1:0".parse().unwrap(), 1)
        .unwrap()
        .remove(0);
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(None);
    let door = Recording::default();
    let readiness = Arc::new(Mutex::new(Readiness::Ready));
    let health = {
        let readiness = Arc::clone(&readiness);
        Arc::new(move || readiness.lock().unwrap().clone())
    };
    let source = Source::new(
        door.clone(),
        settings,
        IngestBudget::new(budget_bytes),
        health,
    );
    let stats = source.stats();
    let listener = TcpListener::from_std(listener).unwrap();
    let serving = tokio::task::spawn_local(source::serve(listener, source, stopped));
    Served {
        address,
        door,
        stats,
        readiness,
        stop,
        serving,
    }
}

pub(crate) fn serve_default() -> Served {
    serve(source::Settings::default(), IngestBudget::BYTES_MAX_DEFAULT)
}

impl Served {
    pub(crate) async fn client(&self) -> Peer {
        Peer::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends `request` on a connection of its own.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        let mut client = self.client().await;
        client.say(request).await;
        client.hear().await
    }

    pub(crate) fn published(&self) -> Vec<Event> {
        let published = self.door.published.borrow();
        published
            .iter()
            .flat_map(|(_, batch)| batch.events.clone())
            .collect()
    }
}

/// A message as it came: of a request the first line is its request line, of an answer its
/// status line.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) first_line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.as_str());
        let first = found.next();
        assert_eq!(found.next(), None, "{name} came twice");
        first
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The other end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// As [`Peer::say`], where the other side may close before it has heard all.
    pub(crate) async fn try_say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next message, with the body that its content-length announces.
    pub(crate) async fn hear(&mut self) -> Message {
        self.try_hear()
            .await
            .expect("the connection was closed instead")
    }

    /// `None` when the connection ends before a message.
    pub(crate) async fn try_hear(&mut self) -> Option<Message> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if !self.more().await {
                assert!(self.buffer.is_empty(), "half a head: {:?}", self.buffer);
                return None;
            }
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let first_line = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
        while self.buffer.len() < end + 4 + length {
            assert!(self.more().await, "half a body");
        }
        let body = self.buffer[end + 4..end + 4 + length].to_vec();
        self.buffer.drain(..end + 4 + length);
        Some(Message {
            first_line,
            headers,
            body,
        })
    }

    /// Waits until the other side closes; what it still says is thrown away.
    pub(crate) async fn until_closed(&mut self) {
        while self.more().await {
            self.buffer.clear();
        }
    }

    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(read) if read > 0)
    }
}

/// A binary event of `data`, as a request to `path`.
pub(crate) fn post(path: &str, headers: &str, data: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: weft\r\nce-specversion: 1.0\r\nce-id: 1\r\n\
         ce-source: /s\r\nce-type: t\r\n{headers}Content-Length: {}\r\n\r\n{data}",
        data.len()
    )
}

/// A server for a sink, which does as the test says.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) address: std::net::SocketAddr,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) async fn accept(&self) -> Peer {
        Peer::new(self.listener.accept().await.unwrap().0)
    }

    pub(crate) fn request(&self) -> Request {
        request(&format!("http://{}/in?x=1", self.address))
    }

    /// Hears one request on a new connection and answers it with `answer`.
    pub(crate) async fn answer_one(&self, answer: impl AsRef<[u8]>) -> (Peer, Message) {
        let mut peer = self.accept().await;
        let message = peer.hear().await;
        // A sink that has read enough closes.
        peer.try_say(answer).await;
        (peer, message)
    }
}

pub(crate) fn request(uri: &str) -> Request {
    let event = Event::build("1", "/s", "t")
        .datacontenttype("application/json")
        .data(b"{\"a\": 1}")
        .finish()
        .unwrap();
    Request {
        destination: Destination::parse(uri).unwrap(),
        event,
        format: Format::AsItCame,
        add: vec![("knativearrivaltime", "2026-11-21T09:00:00Z".to_owned())],
        namespace: "shop".into(),
        attempt: 1,
        deadline: Some(WallTime(1_700_000_000_123)),
        trace: TraceParent {
            trace_id: [0xab; 16],
            span_id: [0xcd; 8],
            flags: 1,
        },
        tracestate: Some("a=1".to_owned()),
        forwarded: vec![("x-request-id".to_owned(), b"r-1".to_vec())],
        timeout: PATIENCE,
    }
}

/// A clock that stands at 1994-11-06T08:49:37Z.
pub(crate) struct Standing;

impl Clock for Standing {
    fn wall(&self) -> WallTime {
        WallTime(784_111_777_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

pub(crate) fn sink() -> HttpSink {
    sink_with(sink::Settings::default())
}

pub(crate) fn sink_with(settings: sink::Settings) -> HttpSink {
    HttpSink::new(settings, Arc::new(Standing))
}

/// What a sink makes of one answer, behind which the connection is closed.
pub(crate) async fn attempt(answer: impl AsRef<[u8]>) -> Attempted {
    let (server, sink) = (Server::start().await, sink());
    let (attempted, ()) = tokio::join!(sink.send(server.request()), async {
        drop(server.answer_one(answer).await);
    });
    attempted
}

/// An answer with a body of the announced length.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
