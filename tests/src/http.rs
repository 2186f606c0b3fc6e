//! HTTP with plain sockets and threads: a client that publishes, and a function that remembers.
//!
//! Nothing of the program under test is used here, so a mistake of its HTTP can't hide in ours.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a peer may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest head that is read.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// A request or an answer, as it came.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The first line.
    pub start: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// A header's value, empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        let mut pairs = self.headers.iter();
        pairs
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// An answer's status.
    pub fn status(&self) -> u16 {
        self.start
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    /// A request's path and query.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn read(from: &mut impl BufRead) -> io::Result<Option<Message>> {
        let mut start = String::new();
        if from.read_line(&mut start)? == 0 {
            return Ok(None);
        }
        let mut message = Message {
            start: start.trim_end().to_owned(),
            ..Message::default()
        };
        let mut bytes = start.len();
        loop {
            let mut line = String::new();
            bytes += from.read_line(&mut line)?;
            if bytes > HEAD_BYTES_MAX {
                return Err(io::Error::other("the head is too long"));
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            message
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if message
            .header("transfer-encoding")
            .eq_ignore_ascii_case("chunked")
        {
            message.body = chunks(from)?;
        } else if let Ok(length) = message.header("content-length").parse() {
            message.body = vec![0; length];
            from.read_exact(&mut message.body)?;
        }
        Ok(Some(message))
    }
}

fn chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let begin = body.len();
        body.resize(begin + length, 0);
        from.read_exact(&mut body[begin..])?;
        from.read_line(&mut String::new())?;
        if length == 0 {
            return Ok(body);
        }
    }
}

/// One connection to a server.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Nobody listens there.
    pub fn connect(to: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let stream = BufReader::new(stream);
        Ok(Client { stream })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    ///
    /// The connection broke: nobody knows whether the request was taken.
    pub fn call(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Message> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        let request = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request)?;
        let answer = Message::read(&mut self.stream)?;
        answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    /// Publishes a binary-mode event from `/shop` to `default/default`.
    ///
    /// # Errors
    ///
    /// As of [`Client::call`].
    pub fn publish(&mut self, id: &str, ty: &str) -> io::Result<Message> {
        self.publish_with(id, ty, &[])
    }

    /// Publishes with further headers.
    ///
    /// # Errors
    ///
    /// As of [`Client::call`].
    pub fn publish_with(
        &mut self,
        id: &str,
        ty: &str,
        further: &[(&str, &str)],
    ) -> io::Result<Message> {
        let mut headers = vec![
            ("ce-specversion", "1.0"),
            ("ce-id", id),
            ("ce-source", "/shop"),
            ("ce-type", ty),
            ("content-type", "application/json"),
        ];
        headers.extend(further);
        self.call("POST", "/default/default", &headers, br#"{"amount": 10}"#)
    }
}

/// One request that reached a function.
#[derive(Debug, Clone)]
pub struct Received {
    /// The request.
    pub request: Message,
    /// When it was read.
    pub began: Instant,
    /// When its answer was on its way; none if the connection broke before.
    pub ended: Option<Instant>,
}

impl Received {
    /// The event's `id`.
    pub fn id(&self) -> &str {
        self.request.header("ce-id")
    }

    /// `Weft-Attempt`.
    pub fn attempt(&self) -> u32 {
        self.request.header("weft-attempt").parse().unwrap_or(0)
    }
}

/// What a function answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Besides `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl From<u16> for Answer {
    fn from(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::default()
        }
    }
}

impl From<(u16, String)> for Answer {
    fn from((status, body): (u16, String)) -> Answer {
        Answer {
            status,
            body: body.into_bytes(),
            ..Answer::default()
        }
    }
}

type Answering = dyn Fn(&Message) -> Answer + Send + Sync;

/// A function over real HTTP that remembers every request.
pub struct Function {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    ends: Arc<AtomicBool>,
}

impl Function {
    /// A function on a free port that gives each request the status `answer` says.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start(answer: impl Fn(&Message) -> u16 + Send + Sync + 'static) -> Function {
        Function::listen("127.0.0.1:0", answer)
    }

    /// A function that answers with a body, too.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start_with(
        answer: impl Fn(&Message) -> (u16, String) + Send + Sync + 'static,
    ) -> Function {
        Function::listen("127.0.0.1:0", answer)
    }

    /// As [`Function::start`], at an address that no other function gets when this one is gone: a node that
    /// remembers it finds nobody there.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start_apart(answer: impl Fn(&Message) -> u16 + Send + Sync + 'static) -> Function {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let at = format!("127.0.1.{}:0", NEXT.fetch_add(1, Ordering::Relaxed));
        Function::listen(&at, answer)
    }

    /// A function at this address, with all that an answer can have.
    ///
    /// # Panics
    ///
    /// If it isn't free.
    pub fn listen<A: Into<Answer>>(
        at: &str,
        answer: impl Fn(&Message) -> A + Send + Sync + 'static,
    ) -> Function {
        let listener = TcpListener::bind(at).expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (memory, ended) = (Arc::clone(&received), Arc::clone(&ends));
        let answer: Arc<Answering> = Arc::new(move |request| answer(request).into());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (memory, ended) = (Arc::clone(&memory), Arc::clone(&ended));
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    // A caller that was killed breaks its connections; that is its business.
                    drop(attend(&stream, &memory, &ended, &*answer));
                });
            }
        });
        Function {
            address,
            received,
            ends,
        }
    }

    /// Its address as a URI, with this path.
    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far, in the order in which they came.
    pub fn received(&self) -> Vec<Received> {
        self.look(|received| received.to_vec())
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.look(<[Received]>::len)
    }

    /// Looks at all requests without copying them.
    pub fn look<T>(&self, look: impl FnOnce(&[Received]) -> T) -> T {
        look(&self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the accept loop, so that the port comes free.
        drop(TcpStream::connect(self.address));
    }
}

fn attend(
    stream: &TcpStream,
    received: &Mutex<Vec<Received>>,
    ended: &AtomicBool,
    answer: &Answering,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Message::read(&mut reader)? {
        if ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        let index = {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            let (request, began) = (request.clone(), Instant::now());
            received.push(Received {
                request,
                began,
                ended: None,
            });
            received.len() - 1
        };
        let answer = answer(&request);
        let mut head = format!("HTTP/1.1 {} Said\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", answer.body.len());
        let mut out = stream;
        out.write_all(&[head.as_bytes(), &answer.body].concat())?;
        let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
        received[index].ended = Some(Instant::now());
    }
    Ok(())
}
