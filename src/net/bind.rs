//! From an endpoint to bound sockets. They belong to no runtime yet, so all of this can be undone by dropping them.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, TcpKeepalive, Type};

use super::inherited::Inherited;
use super::udp;
use super::unix::{UnixNode, bind_path};
use crate::config::{Endpoint, Host, HostPort, SocketOptions, Timeout, Transport, UnixAddress};

/// Time between keepalive probes, and how many may go unanswered.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// A bound socket; a stream socket listens already.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// UDP.
    Udp(UdpSocket),
    /// Unix stream; the node unless it is abstract or inherited.
    Unix(UnixListener, Option<UnixNode>),
    /// Unix datagram.
    Unixgram(UnixDatagram, Option<UnixNode>),
}

/// A bound socket with what there is to say of it.
#[derive(Debug)]
pub struct Bound {
    /// The socket, not blocking.
    pub socket: Socket,
    /// What is bound in fact, for example `tcp://127.0.0.1:41235` or `unix:///run/polygate/echo.sock`.
    pub address: String,
    /// The internet address, if it has one.
    pub inet: Option<SocketAddr>,
    /// Its inode, by which the kernel's statistics name it.
    pub inode: u64,
}

/// What could not be bound, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind {endpoint}: {source}")]
pub struct BindError {
    /// The endpoint as configured, and the address where it is a name.
    pub endpoint: String,
    /// The system's error.
    pub source: io::Error,
}

/// A bound and listening socket of the admin API.
#[derive(Debug, Clone)]
pub struct AdminSocket {
    /// Whether it serves `metrics_bind` only.
    pub metrics_only: bool,
    /// As configured.
    pub endpoint: Endpoint,
    /// As start-up prints it: `http://127.0.0.1:9900` or `unix:///PATH`.
    pub url: String,
    /// The socket; when the last clone is dropped it is closed, and a Unix node removed.
    pub socket: Arc<Bound>,
}

impl Bound {
    /// [`settle`]s it, if it was bound beside an old one.
    ///
    /// # Errors
    /// The system's, of listening.
    pub fn settle(&mut self, options: &SocketOptions) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(socket) => settle(Transport::Tcp, socket, None, options),
            Socket::Udp(socket) => settle(Transport::Udp, socket, None, options),
            Socket::Unix(socket, node) => settle(Transport::Unix, socket, node.as_mut(), options),
            Socket::Unixgram(socket, node) => settle(Transport::Unixgram, socket, node.as_mut(), options),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Udp(socket) => socket.as_fd(),
            Socket::Unix(socket, _) => socket.as_fd(),
            Socket::Unixgram(socket, _) => socket.as_fd(),
        }
    }
}

/// The addresses that a host and port stand for, each once.
///
/// # Errors
/// The resolver's, and `NotFound` when a name has no address.
pub fn resolve(at: &HostPort) -> io::Result<Vec<SocketAddr>> {
    let name = match &at.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, at.port)]),
        Host::Name(name) => name,
    };
    let mut addresses: Vec<SocketAddr> = (name.as_str(), at.port).to_socket_addrs()?.collect();
    addresses.sort();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{name} has no address")));
    }
    Ok(addresses)
}

/// Binds an endpoint: one socket, or one for each address of a name, or each inherited socket of the name.
/// With `share` an address is taken beside an old socket of ours that leaves: a port that the old one allows it
/// for (SO_REUSEPORT), or a Unix node, which is moved aside until it is known whether the new one stays
/// ([`settle`]). A stream socket bound so does not listen yet, and so takes no connection from the old one.
/// `stall` is the longest that a peer may take nothing.
///
/// # Errors
/// The first that could not be bound; those bound before it are closed.
pub fn bind(
    endpoint: &Endpoint,
    options: &SocketOptions,
    stall: Timeout,
    inherited: &Inherited,
    share: bool,
) -> Result<Vec<Bound>, BindError> {
    let one = |bound: io::Result<Bound>| bound.map(|b| vec![b]);
    let all = match endpoint {
        Endpoint::Tcp(at) | Endpoint::Udp(at) => {
            let transport = endpoint.transport();
            let named = matches!(at.host, Host::Name(_));
            let bind =
                |at| inet(transport, at, (options, stall), share).map_err(|e| with_address(e, at, named));
            resolve(at).and_then(|all| all.into_iter().map(bind).collect())
        }
        Endpoint::Unix(at) => one(unix_stream(at, options, share)),
        Endpoint::Unixgram(at) => one(unix_datagram(at, options, share)),
        Endpoint::Inherited(transport, name) => inherited
            .copies(*transport, name)
            .and_then(|all| all.into_iter().map(|fd| adopt(*transport, fd, (options, stall))).collect()),
    };
    all.map_err(|source| BindError { endpoint: endpoint.to_string(), source })
}

fn inet(
    transport: Transport,
    at: SocketAddr,
    (options, stall): (&SocketOptions, Timeout),
    share: bool,
) -> io::Result<Bound> {
    let tcp = transport == Transport::Tcp;
    let (kind, protocol) = if tcp { (Type::STREAM, Protocol::TCP) } else { (Type::DGRAM, Protocol::UDP) };
    let socket = socket2::Socket::new(Domain::for_address(at), kind.nonblocking(), Some(protocol))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if tcp {
        // Without it a restart would wait for connections in TIME_WAIT. On UDP it would let anybody of the
        // same user take the port away.
        socket.set_reuse_address(true)?;
    }
    if share {
        socket.set_reuse_port(true)?;
    }
    tune(transport, &socket, options, stall)?;
    socket.bind(&SockAddr::from(at))?;
    if tcp {
        if !share {
            socket.listen(backlog(options))?;
        }
        finish(Socket::Tcp(OwnedFd::from(socket).into()))
    } else {
        let socket = UdpSocket::from(OwnedFd::from(socket));
        udp::ask_for_destination(&socket)?;
        finish(Socket::Udp(socket))
    }
}

/// A name may stand for several addresses: the error says which.
fn with_address(error: io::Error, at: SocketAddr, named: bool) -> io::Error {
    if named { io::Error::new(error.kind(), format!("{at}: {error}")) } else { error }
}

fn backlog(options: &SocketOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

/// Applies what a reload may change to a socket: buffers, and what accepted connections inherit from a TCP
/// listener (Linux copies these options on accept, so that it costs nothing per connection).
///
/// # Errors
/// The system's.
pub fn tune(
    transport: Transport,
    socket: &impl AsFd,
    options: &SocketOptions,
    stall: Timeout,
) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(usize::try_from(size.bytes()).unwrap_or(usize::MAX))?;
    }
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(usize::try_from(size.bytes()).unwrap_or(usize::MAX))?;
    }
    if transport != Transport::Tcp {
        return Ok(());
    }
    socket.set_tcp_nodelay(options.nodelay)?;
    match options.keepalive.get() {
        None => {
            socket.set_keepalive(false)?;
            socket.set_tcp_user_timeout(None)
        }
        Some(idle) => {
            let probes = TcpKeepalive::new()
                .with_time(idle)
                .with_interval(KEEPALIVE_INTERVAL)
                .with_retries(KEEPALIVE_PROBES);
            socket.set_tcp_keepalive(&probes)?;
            socket.set_tcp_user_timeout(user_timeout(idle, stall))
        }
    }
}

/// How long data may go unacknowledged (TCP_USER_TIMEOUT): as long as silence may last. It also ends a peer that
/// is there and takes nothing (tcp(7)), so it is no shorter than `stall`, and none where that is off.
fn user_timeout(idle: Duration, stall: Timeout) -> Option<Duration> {
    let silence = idle + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES;
    stall.get().map(|stall| stall.max(silence))
}

/// Asks for another accept queue; on a socket that listens already it changes the length.
///
/// # Errors
/// The system's.
pub fn relisten(socket: &impl AsFd, options: &SocketOptions) -> io::Result<()> {
    SockRef::from(socket).listen(backlog(options))
}

/// Makes a socket that was bound beside an old one the only one: it listens at last, nobody else may bind the
/// port, and the node that was moved aside for it is removed.
///
/// # Errors
/// The system's, of listening.
pub fn settle(
    transport: Transport,
    socket: &impl AsFd,
    node: Option<&mut UnixNode>,
    options: &SocketOptions,
) -> io::Result<()> {
    let listened = if transport.is_stream() { relisten(socket, options) } else { Ok(()) };
    set_reuse_port(socket, false);
    node.into_iter().for_each(UnixNode::settle);
    listened
}

/// Lets another socket of ours bind an overlapping address (SO_REUSEPORT), or forbids it again.
pub fn set_reuse_port(socket: &impl AsFd, share: bool) {
    let _ = SockRef::from(socket).set_reuse_port(share);
}

fn unix_stream(at: &UnixAddress, options: &SocketOptions, share: bool) -> io::Result<Bound> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    tune(Transport::Unix, &socket, options, Timeout::OFF)?;
    let node = unix_bind(&socket, at, Type::STREAM, options, share)?;
    if !share {
        socket.listen(backlog(options))?;
    }
    finish(Socket::Unix(OwnedFd::from(socket).into(), node))
}

fn unix_datagram(at: &UnixAddress, options: &SocketOptions, share: bool) -> io::Result<Bound> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::DGRAM.nonblocking(), None)?;
    tune(Transport::Unixgram, &socket, options, Timeout::OFF)?;
    let node = unix_bind(&socket, at, Type::DGRAM, options, share)?;
    finish(Socket::Unixgram(OwnedFd::from(socket).into(), node))
}

fn unix_bind(
    socket: &socket2::Socket,
    at: &UnixAddress,
    kind: Type,
    options: &SocketOptions,
    share: bool,
) -> io::Result<Option<UnixNode>> {
    match at {
        UnixAddress::Path(path) => bind_path(socket, path, kind, options.unix_mode.0, share).map(Some),
        UnixAddress::Abstract(name) => {
            // socket2 takes a path with a leading NUL for an abstract name (unix(7)).
            socket.bind(&SockAddr::unix(format!("\0{name}"))?).map(|()| None)
        }
    }
}

/// Takes a copy of an inherited socket as its own. Its address, mode and node are the parent's.
fn adopt(
    transport: Transport,
    fd: OwnedFd,
    (options, stall): (&SocketOptions, Timeout),
) -> io::Result<Bound> {
    let socket = socket2::Socket::from(fd);
    socket.set_nonblocking(true)?;
    tune(transport, &socket, options, stall)?;
    if transport.is_stream() {
        socket.listen(backlog(options))?;
    }
    let fd = OwnedFd::from(socket);
    let socket = match transport {
        Transport::Tcp => Socket::Tcp(fd.into()),
        Transport::Unix => Socket::Unix(fd.into(), None),
        Transport::Unixgram => Socket::Unixgram(fd.into(), None),
        Transport::Udp => {
            let socket = UdpSocket::from(fd);
            udp::ask_for_destination(&socket)?;
            Socket::Udp(socket)
        }
    };
    finish(socket)
}

/// Looks at what was bound: the kernel chose the port where it was 0.
fn finish(socket: Socket) -> io::Result<Bound> {
    let name = SockRef::from(&socket.as_fd()).local_addr()?;
    let inet = name.as_socket();
    let transport = match &socket {
        Socket::Tcp(_) => Transport::Tcp,
        Socket::Udp(_) => Transport::Udp,
        Socket::Unix(..) => Transport::Unix,
        Socket::Unixgram(..) => Transport::Unixgram,
    };
    let address = match (inet, name.as_pathname(), name.as_abstract_namespace()) {
        (Some(at), _, _) => format!("{transport}://{at}"),
        (_, Some(path), _) => format!("{transport}://{}", path.display()),
        (_, _, Some(name)) => format!("{transport}://@{}", String::from_utf8_lossy(name)),
        _ => format!("{transport}://"),
    };
    let inode = rustix::fs::fstat(socket.as_fd())?.st_ino;
    Ok(Bound { socket, address, inet, inode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_takes_nothing_is_not_given_up_before_its_stall() {
        let idle = Duration::from_secs(60);
        let after = |stall| user_timeout(idle, stall).map(|limit| limit.as_secs());
        assert_eq!(after(Timeout::after_secs(30)), Some(90));
        assert_eq!(after(Timeout::after_secs(600)), Some(600));
        assert_eq!(after(Timeout::OFF), None);
    }
}
