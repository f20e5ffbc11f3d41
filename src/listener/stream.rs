//! The accept loop: a place first, then the connection.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use serde_json::json;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;

use super::prelude::Before;
use super::turn::{Turn, tell_stopped, turn};
use super::{Binding, Listening, Rules};
use crate::config::{Overload, Transport};
use crate::net::{Backoff, Conn, PeerKey, Permit, Stream, classify};
use crate::stats::{AcceptError, EventKind, Meter, Peer, Phase, RejectReason};

/// Refused connections that are closed in order at once; more are just closed.
pub const GENTLE_REFUSALS: usize = 64;

/// How many connections a loop that ends takes at most: more than the usual backlog holds. Those that come
/// faster than they are taken must not keep the loop.
const LAST_CONNECTIONS: usize = 65_536;

/// Accepted sockets do not block, and no child inherits them.
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

static REFUSALS: AtomicUsize = AtomicUsize::new(0);

/// Accepts until the binding is let go or the listener stops.
pub(super) async fn run(listening: Arc<Listening>, mut binding: watch::Receiver<Arc<Binding>>) {
    let mut backoff = Backoff::default();
    loop {
        let current = binding.borrow_and_update().clone();
        let serves = current.rules.serves();
        let turn = tokio::select! {
            biased;
            turn = turn(&mut binding, &current, serves) => turn,
            never = accept_all(&listening, &current, &mut backoff), if serves => match never {},
        };
        match turn {
            Turn::Again => {}
            Turn::TakeTheRest => return take_what_is_queued(&listening, &current),
            Turn::End => return tell_stopped(&current),
        }
    }
}

/// Accepts for ever. Every await in here may be dropped without losing a connection.
async fn accept_all(listening: &Listening, binding: &Binding, backoff: &mut Backoff) -> Infallible {
    let rules = &binding.rules;
    loop {
        readable(listening).await;
        // Only with a connection waiting is a place taken, so that an endpoint where nobody comes holds none.
        let permit = match rules.overload {
            Overload::Defer => Some(Permit::take(&rules.door.gate, &rules.process).await),
            Overload::Refuse | Overload::Reset => None,
        };
        match accept(listening) {
            Ok(Some((stream, peer))) => {
                backoff.reset();
                admit(binding, stream, peer, permit);
            }
            Ok(None) => {}
            Err(error) => {
                drop(permit);
                pause_after(&error, backoff, binding).await;
            }
        }
        // A queue that never empties must not keep the worker.
        tokio::task::consume_budget().await;
    }
}

/// Takes the connections that the kernel has completed already: closing the socket would reset them.
fn take_what_is_queued(listening: &Listening, binding: &Binding) {
    // The node goes first, so that nobody connects to a socket that is about to be closed.
    listening.unlink();
    for _ in 0..LAST_CONNECTIONS {
        // Asked directly: the reactor may not have told yet of the last ones.
        match accept_with(listening, |socket| Ok(acceptfrom_with(socket, FLAGS)?)) {
            Ok(Some((stream, peer))) => {
                match Permit::try_take(&binding.rules.door.gate, &binding.rules.process) {
                    Some(permit) => admit(binding, stream, peer, Some(permit)),
                    None => turn_away(binding, stream, RejectReason::Draining),
                }
            }
            Ok(None) => return,
            Err(error) => {
                let kind = classify(&error);
                binding.site.ledger.accept_error(kind);
                if kind != AcceptError::Econnaborted {
                    return;
                }
            }
        }
    }
}

async fn readable(listening: &Listening) {
    // The readiness stays set until an accept finds nothing; an error shows itself in the accept.
    match listening {
        Listening::Tcp(socket) => drop(socket.readable().await.map(|mut guard| guard.retain_ready())),
        Listening::Unix(socket, _) => drop(socket.readable().await.map(|mut guard| guard.retain_ready())),
        Listening::Udp(_) | Listening::Unixgram(..) => {}
    }
}

/// Accepts one if one is there and the reactor says so.
fn accept(listening: &Listening) -> io::Result<Option<(Stream, Peer)>> {
    let ready = Interest::READABLE;
    let call = |socket: BorrowedFd<'_>| Ok(acceptfrom_with(socket, FLAGS)?);
    accept_with(listening, |socket| match listening {
        Listening::Tcp(watched) => watched.try_io(ready, |_| call(socket)),
        Listening::Unix(watched, _) => watched.try_io(ready, |_| call(socket)),
        Listening::Udp(_) | Listening::Unixgram(..) => Err(io::ErrorKind::WouldBlock.into()),
    })
}

type Accepted = (OwnedFd, Option<SocketAddrAny>);

fn accept_with(
    listening: &Listening,
    call: impl Fn(BorrowedFd<'_>) -> io::Result<Accepted>,
) -> io::Result<Option<(Stream, Peer)>> {
    let (fd, peer) = match call(listening.as_fd()) {
        Ok(accepted) => accepted,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(error) => return Err(error),
    };
    if listening.transport() == Transport::Tcp {
        let peer = peer.and_then(|any| SocketAddr::try_from(any).ok());
        let stream = TcpStream::from_std(StdTcpStream::from(fd))?;
        return Ok(Some((Stream::Tcp(stream), peer.map_or(Peer::Unnamed, Peer::Inet))));
    }
    let stream = UnixStream::from_std(StdUnixStream::from(fd))?;
    let peer = Stream::unix_peer(&stream);
    Ok(Some((Stream::Unix(stream), peer)))
}

/// Hands a connection to the handler, or turns it away.
fn admit(binding: &Binding, stream: Stream, peer: Peer, permit: Option<Permit>) {
    match examine(&binding.rules, &peer, permit) {
        Ok(permit) => {
            let Some(service) = binding.rules.built.stream.clone() else { return };
            let local = own_address(binding, &stream);
            if binding.rules.has_prelude() {
                let meter = Meter::open(binding.site.clone(), peer, local, Phase::Handshake);
                let prelude = Box::new(Before(binding.rules.clone()));
                return service.spawn(Conn::new(stream, meter, permit).with_prelude(prelude));
            }
            let meter = Meter::open(binding.site.clone(), peer, local, Phase::Open);
            service.spawn(Conn::new(stream, meter, permit));
        }
        Err(reason) => {
            tracing::debug!(
                target: "polygate::conn",
                listener = %binding.site.ledger.listener(),
                %peer,
                reason = reason.as_str(),
                "turned away"
            );
            turn_away(binding, stream, reason);
        }
    }
}

/// Our side, where the endpoint is bound to all addresses and so does not tell.
fn own_address(binding: &Binding, stream: &Stream) -> Option<SocketAddr> {
    match stream {
        Stream::Tcp(stream) if binding.site.any_address => stream.local_addr().ok(),
        _ => None,
    }
}

fn examine(rules: &Rules, peer: &Peer, permit: Option<Permit>) -> Result<Permit, RejectReason> {
    if !rules.trusts_headers_of(peer) {
        return Err(RejectReason::ProxyHeader);
    }
    // Whom a PROXY header names is examined when it has been read.
    if rules.proxy.is_none() && !rules.admits(peer) {
        return Err(RejectReason::Acl);
    }
    if !rules.door.in_rate() {
        return Err(RejectReason::Rate);
    }
    let permit = permit.or_else(|| Permit::try_take(&rules.door.gate, &rules.process));
    let mut permit = permit.ok_or(RejectReason::MaxConnections)?;
    let spared = rules.spares_loopback && peer.ip().is_some_and(|ip| ip.is_loopback());
    if let Some(key) = PeerKey::of(peer).filter(|_| rules.proxy.is_none()) {
        // Counted even if spared: a reload may end that.
        let limit = if spared { usize::MAX } else { rules.per_peer };
        if !rules.door.peers.try_enter(key, limit) {
            return Err(RejectReason::PerIp);
        }
        permit.count_peer(rules.door.peers.clone(), key);
    }
    if !rules.door.take_one() {
        return Err(RejectReason::Draining);
    }
    Ok(permit)
}

/// Closes a connection that no handler gets: with the handler's word where it has one, or by a reset.
fn turn_away(binding: &Binding, stream: Stream, reason: RejectReason) {
    let site = &binding.site;
    site.ledger.reject(reason);
    if site.ledger.should_tell(reason, site.stats.now_ms()) {
        site.stats.events().publish(EventKind::Limit, || {
            json!({
                "listener": &**site.ledger.listener(),
                "transport": site.ledger.transport().as_str(),
                "reason": reason.as_str(),
                "rejected_total": site.ledger.rejected(reason),
            })
        });
    }
    if binding.rules.overload == Overload::Reset {
        return stream.reset_on_close();
    }
    let says = binding.rules.tls.is_none();
    if let Some(word) = binding.rules.built.refusals[reason as usize].as_ref().filter(|_| says) {
        let _ = stream.try_write(word);
    }
    let place = Refusal::new();
    if place.is_within_limit {
        tokio::spawn(async move {
            stream.close_gently().await;
            drop(place);
        });
    }
}

/// One of the refused connections that are being closed in order.
struct Refusal {
    is_within_limit: bool,
}

impl Refusal {
    fn new() -> Self {
        Refusal { is_within_limit: REFUSALS.fetch_add(1, Relaxed) < GENTLE_REFUSALS }
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        REFUSALS.fetch_sub(1, Relaxed);
    }
}

/// Counts an error of accept, and pauses unless it concerns that one connection only.
async fn pause_after(error: &io::Error, backoff: &mut Backoff, binding: &Binding) {
    let kind = classify(error);
    binding.site.ledger.accept_error(kind);
    if kind == AcceptError::Econnaborted {
        return;
    }
    if backoff.may_log() {
        let listener = binding.site.ledger.listener();
        tracing::warn!(target: "polygate::listener", %listener, %error, "cannot accept, trying again");
    }
    tokio::time::sleep(backoff.next_pause()).await;
}
