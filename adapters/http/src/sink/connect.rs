//! From a host and a port to a connected socket.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout};
use triggers::Destination;

use super::Settings;
use super::live::Failure;

/// How long what a name resolved to is used before it is asked for again. The system's resolver
/// tells no time to live; GUARANTEES 30 clamps it to 5 s at least.
const RESOLVED_FOR: Duration = Duration::from_secs(5);

/// How many names are remembered; when full, all are forgotten and asked for anew.
const NAMES_KEPT_MAX: usize = 1024;

/// How long an address has before the next one is tried beside it (RFC 8305, §5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// How many of a name's addresses are tried; further ones are left out.
const ADDRESSES_MAX: usize = 8;

/// Opens connections.
pub(super) struct Connector {
    names: RefCell<HashMap<Box<str>, Resolved>>,
    connect_time_max: Duration,
    resolve_time_max: Duration,
}

struct Resolved {
    addresses: Vec<SocketAddr>,
    until: Instant,
}

impl Connector {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            names: RefCell::default(),
            connect_time_max: settings.connect_time_max,
            resolve_time_max: settings.resolve_time_max,
        }
    }

    /// Connects to `destination`, trying its addresses in order.
    pub(super) async fn connect(&self, destination: &Destination) -> Result<TcpStream, Failure> {
        let (host, port) = (destination.host(), destination.port());
        let addresses = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_name) => self
                .resolve(host, port)
                .await
                .map_err(Failure::NoConnection)?,
        };
        let failed = match timeout(self.connect_time_max, race(&addresses)).await {
            Ok(Ok(stream)) => {
                stream
                    .set_nodelay(true)
                    .map_err(|error| no_connection(host, port, None, &error))?;
                return Ok(stream);
            }
            Ok(Err((address, error))) => {
                return Err(no_connection(host, port, Some(address), &error));
            }
            Err(_late) => self.connect_time_max,
        };
        let text = format!("connecting to {host}:{port} timed out after {failed:?}");
        Err(Failure::NoConnection(text))
    }

    /// What `host` stands for. When it can't be resolved now, what it stood for last is used on.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let known = |resolved: &Resolved| {
            let with_port = resolved
                .addresses
                .iter()
                .map(|a| SocketAddr::new(a.ip(), port));
            with_port.collect::<Vec<_>>()
        };
        if let Some(fresh) = self
            .names
            .borrow()
            .get(host)
            .filter(|resolved| Instant::now() < resolved.until)
        {
            return Ok(known(fresh));
        }
        let found = match timeout(self.resolve_time_max, lookup_host((host, port))).await {
            Ok(Ok(found)) => Ok(found.take(ADDRESSES_MAX).collect::<Vec<_>>()),
            Ok(Err(error)) => Err(format!("cannot resolve host {host}: {error}")),
            Err(_late) => Err(format!(
                "cannot resolve host {host} within {:?}",
                self.resolve_time_max
            )),
        };
        let mut names = self.names.borrow_mut();
        match found {
            Ok(addresses) if addresses.is_empty() => {
                Err(format!("cannot resolve host {host}: it has no address"))
            }
            Ok(addresses) => {
                if names.len() >= NAMES_KEPT_MAX {
                    names.clear();
                }
                let until = Instant::now() + RESOLVED_FOR;
                names.insert(
                    host.into(),
                    Resolved {
                        addresses: addresses.clone(),
                        until,
                    },
                );
                Ok(addresses)
            }
            Err(text) => names.get(host).map(known).ok_or(text),
        }
    }
}

/// Connects to the first address that answers; each next one gets its chance when the one before
/// has failed, or has been silent for a while.
async fn race(addresses: &[SocketAddr]) -> Result<TcpStream, (SocketAddr, io::Error)> {
    let mut waiting = addresses.iter().copied();
    let mut trying = FuturesUnordered::new();
    let try_one = |address| async move {
        TcpStream::connect(address)
            .await
            .map_err(|error| (address, error))
    };
    trying.extend(waiting.next().map(try_one));
    loop {
        tokio::select! {
            biased;
            Some(tried) = trying.next() => match tried {
                Ok(stream) => return Ok(stream),
                Err(failed) => match waiting.next() {
                    Some(next) => trying.push(try_one(next)),
                    None if trying.is_empty() => return Err(failed),
                    None => {}
                },
            },
            () = sleep(NEXT_ADDRESS_AFTER), if waiting.len() > 0 => {
                trying.extend(waiting.next().map(try_one));
            }
        }
    }
}

/// A failed connection, in words for whoever wrote the address.
fn no_connection(host: &str, port: u16, address: Option<SocketAddr>, error: &io::Error) -> Failure {
    let mut whom = format!("{host}:{port}");
    if let Some(address) = address.map(|address| address.to_string())
        && address != whom
    {
        whom = format!("{whom} ({address})");
    }
    Failure::NoConnection(match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused by {whom}"),
        io::ErrorKind::ConnectionReset => format!("connection reset by {whom}"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("no route to {whom}")
        }
        io::ErrorKind::TimedOut => format!("connecting to {whom} timed out"),
        _ => format!("cannot connect to {whom}: {error}"),
    })
}
