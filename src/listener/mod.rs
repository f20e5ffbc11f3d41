//! Listeners: loops that turn bound sockets into conns and packets, under limits.
//!
//! A loop belongs to a socket, not to a configuration: what it does with what comes is a [`Binding`] that a
//! reload replaces while the loop runs on. It ends when the supervisor lets go of the binding (then it
//! takes what the kernel has queued already, and closes), or when the listener has had its `accept_total`.

pub mod clocks;
mod datagram;
mod door;
mod guard;
mod incoming;
mod later;
mod prelude;
mod rate;
mod stream;
mod turn;

pub use door::{Door, Pause};
pub use guard::OwnAddresses;
pub use stream::GENTLE_REFUSALS;
pub use turn::Hold;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ipnet::IpNet;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::config::{self, Datagrams, Overload, ProxyProtocol, SocketOptions, Timeout, Transport};
use crate::handler::Built;
use crate::net::tls::Acceptor;
use crate::net::{self, Bound, Gate, Socket, UnixNode};
use crate::stats::{Peer, Site};

/// What a listener does with what comes, by one configuration.
#[derive(Debug)]
pub struct Rules {
    /// The handler.
    pub built: Built,
    /// Networks that may connect; empty is all.
    pub allow: Vec<IpNet>,
    /// Networks that may not.
    pub deny: Vec<IpNet>,
    /// What happens over a limit.
    pub overload: Overload,
    /// Conns at once from one peer.
    pub per_peer: usize,
    /// Whether loopback peers may have more.
    pub spares_loopback: bool,
    /// The listener's own state, which outlives configurations.
    pub door: Arc<Door>,
    /// The places of the whole process.
    pub process: Arc<Gate>,
    /// Whether the gateway as a whole accepts.
    pub hold: Arc<Hold>,
    /// Rules for datagrams.
    pub datagrams: Datagrams,
    /// The gateway's own addresses.
    pub own: Arc<OwnAddresses>,
    /// What TLS is begun with before the handler; none where it does so itself, or there is none.
    pub tls: Option<Acceptor>,
    /// Who may say where a connection comes from.
    pub proxy: Option<ProxyProtocol>,
}

impl Rules {
    /// Whether `allow` and `deny` let the peer in. Unix peers always pass: their permission is the node's mode.
    fn admits(&self, peer: &Peer) -> bool {
        peer.ip().is_none_or(|ip| self.admits_ip(ip))
    }

    fn admits_ip(&self, ip: IpAddr) -> bool {
        !config::contains(&self.deny, ip) && (self.allow.is_empty() || config::contains(&self.allow, ip))
    }
}

/// What a socket's loop works by.
#[derive(Debug)]
pub struct Binding {
    /// The listener's rules.
    pub rules: Arc<Rules>,
    /// What the conns of this socket have in common.
    pub site: Arc<Site>,
}

/// The node of a Unix socket, which goes before the socket is closed.
type Node = Mutex<Option<UnixNode>>;

/// A socket that is registered with the data runtime.
#[derive(Debug)]
enum Listening {
    Tcp(AsyncFd<std::net::TcpListener>),
    Unix(AsyncFd<UnixListener>, Node),
    Udp(AsyncFd<std::net::UdpSocket>),
    Unixgram(AsyncFd<UnixDatagram>, Node),
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listening::Tcp(socket) => socket.get_ref().as_fd(),
            Listening::Unix(socket, _) => socket.get_ref().as_fd(),
            Listening::Udp(socket) => socket.get_ref().as_fd(),
            Listening::Unixgram(socket, _) => socket.get_ref().as_fd(),
        }
    }
}

impl Listening {
    /// Removes the node of a Unix socket: nobody finds it from now on.
    fn unlink(&self) {
        if let Listening::Unix(_, node) | Listening::Unixgram(_, node) = self {
            drop(node.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    fn transport(&self) -> Transport {
        match self {
            Listening::Tcp(_) => Transport::Tcp,
            Listening::Unix(..) => Transport::Unix,
            Listening::Udp(_) => Transport::Udp,
            Listening::Unixgram(..) => Transport::Unixgram,
        }
    }
}

/// Registers a socket with the reactor.
#[expect(
    deprecated,
    reason = "its replacement is an unsafe fn; a socket of std keeps its descriptor, as that asks"
)]
fn watched<S: AsRawFd>(socket: S) -> io::Result<AsyncFd<S>> {
    AsyncFd::new(socket)
}

/// A socket that is registered and has no loop yet: the last step of preparing that may fail.
#[derive(Debug)]
pub struct Ready(Listening);

impl Ready {
    /// Registers a socket with the runtime that the caller has entered.
    ///
    /// # Errors
    /// The system's (epoll's limits).
    pub fn register(bound: Bound) -> io::Result<Self> {
        Ok(Ready(match bound.socket {
            Socket::Tcp(socket) => Listening::Tcp(watched(socket)?),
            Socket::Unix(socket, node) => Listening::Unix(watched(socket)?, Mutex::new(node)),
            Socket::Udp(socket) => Listening::Udp(watched(socket)?),
            Socket::Unixgram(socket, node) => Listening::Unixgram(watched(socket)?, Mutex::new(node)),
        }))
    }

    /// Makes a socket that was bound beside an old one the only one.
    pub fn stand_alone(&self, options: &SocketOptions) {
        let mut node = match &self.0 {
            Listening::Unix(_, node) | Listening::Unixgram(_, node) => {
                Some(node.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Listening::Tcp(_) | Listening::Udp(_) => None,
        };
        let node = node.as_deref_mut().and_then(Option::as_mut);
        if let Err(error) = net::settle(self.0.transport(), &self.0, node, options) {
            tracing::error!(target: "polygate::listener", %error, "cannot listen");
        }
    }

    /// Starts the loop on the runtime that the caller has entered.
    pub fn start(self, binding: Binding) -> Running {
        let listening = Arc::new(self.0);
        let socket = Arc::downgrade(&listening);
        let (sender, receiver) = watch::channel(Arc::new(binding));
        match *listening {
            Listening::Tcp(_) | Listening::Unix(..) => drop(tokio::spawn(stream::run(listening, receiver))),
            Listening::Udp(_) => drop(tokio::spawn(datagram::run_udp(listening, receiver))),
            Listening::Unixgram(..) => drop(tokio::spawn(datagram::run_unixgram(listening, receiver))),
        }
        Running { socket, binding: sender }
    }
}

/// A socket with a loop. Dropping it lets the loop take what is queued, and end.
#[derive(Debug)]
pub struct Running {
    /// Weak, so that a listener that stops by itself closes its ports at once.
    socket: Weak<Listening>,
    binding: watch::Sender<Arc<Binding>>,
}

/// A look at a loop from outside, without keeping it.
#[derive(Debug, Clone)]
pub struct LoopWatch(Weak<Listening>);

impl LoopWatch {
    /// Whether it does.
    pub fn is_up(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Lets a second socket of ours bind an overlapping address for the moment, or forbids it again.
    pub fn share_port(&self, share: bool) {
        if let Some(socket) = self.0.upgrade() {
            net::set_reuse_port(&*socket, share);
        }
    }
}

impl Running {
    /// Replaces what the loop works by. What was accepted keeps what it was accepted by.
    pub fn rebind(&self, binding: Binding) {
        self.binding.send_replace(Arc::new(binding));
    }

    /// What the loop works by.
    pub fn binding(&self) -> Arc<Binding> {
        self.binding.borrow().clone()
    }

    /// Watches the loop.
    pub fn watch(&self) -> LoopWatch {
        LoopWatch(self.socket.clone())
    }

    /// Applies socket options that may change while a socket is open.
    ///
    /// # Errors
    /// The system's.
    pub fn tune(&self, options: &SocketOptions, stall: Timeout) -> io::Result<()> {
        let Some(socket) = self.socket.upgrade() else { return Ok(()) };
        net::tune(socket.transport(), &*socket, options, stall)?;
        match &*socket {
            Listening::Tcp(_) | Listening::Unix(..) => net::relisten(&*socket, options)?,
            Listening::Udp(_) | Listening::Unixgram(..) => {}
        }
        match &*socket {
            Listening::Unix(_, node) | Listening::Unixgram(_, node) => {
                let node = node.lock().unwrap_or_else(PoisonError::into_inner);
                node.as_ref().map_or(Ok(()), |node| node.set_mode(options.unix_mode.0))
            }
            Listening::Tcp(_) | Listening::Udp(_) => Ok(()),
        }
    }
}
