//! Listeners: one for each worker on one address, shared out by the kernel (`SO_REUSEPORT`).
//!
//! `SO_REUSEPORT` alone would let a second broker of the same user listen on our port and take
//! half of our connections unseen. So the address is first bound without it, which fails when
//! anybody listens there, in whatever manner.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections wait in the kernel for a worker to accept them; the kernel then leaves
/// further ones unanswered until they try again.
const ACCEPT_QUEUE: i32 = 1024;

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", meaning(source))]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

fn meaning(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there already".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; ports below 1024 need it".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine doesn't have that address".to_owned(),
        _ => error.to_string(),
    }
}

/// Binds `workers` listeners to `address`, non-blocking; port 0 is chosen once, for all.
///
/// # Errors
///
/// [`BindError`] names the address and the reason; no listener is left behind.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, BindError> {
    let fail = |source| BindError { address, source };
    let shared = workers > 1;
    if shared && address.port() != 0 {
        drop(open(address, false).map_err(fail)?);
    }
    let first = listen(address, shared).map_err(fail)?;
    let resolved = first.local_addr().map_err(fail)?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(listen(resolved, true).map_err(fail)?);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = open(address, shared)?;
    socket.listen(ACCEPT_QUEUE)?;
    Ok(socket.into())
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // Without it a restart would wait for the old connections' TIME_WAIT to pass.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn workers_share_one_port() {
        let listeners = bind(ANY, 3).unwrap();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|l| l.local_addr().unwrap().port())
            .collect();
        assert_eq!(listeners.len(), 3);
        assert!(
            ports.iter().all(|&port| port == ports[0] && port != 0),
            "{ports:?}"
        );
    }

    #[test]
    fn a_port_in_use_is_an_error_that_names_the_address_even_when_it_is_shared() {
        for (theirs, ours) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            let taken = bind(ANY, theirs).unwrap();
            let address = taken[0].local_addr().unwrap();
            let error = bind(address, ours).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("cannot listen on {address}: another process listens there already"),
            );
        }
    }
}
