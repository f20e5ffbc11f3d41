//! The receive loops: a datagram in, at most one out, and the loop never ends for anything that comes.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SocketAddrUnix};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::incoming::{Incoming, answer};
use super::later::{send_failure, send_unix, sent};
use super::rate::SourceRates;
use super::turn::{Turn, tell_stopped, turn};
use super::{Binding, Listening};
use crate::net::classify;
use crate::net::udp::{self, BATCH, Batch, SLOT};
use crate::stats::Peer;

/// The pause after an error of receive, so that one that stays does not spin.
const PAUSE: Duration = Duration::from_millis(10);

/// How long an answer may wait for the send buffer.
const SEND_WAIT: Duration = Duration::from_millis(100);

/// How many batches a loop that ends takes at most: more than a receive buffer holds. What comes faster than it
/// is answered must not keep the loop.
const LAST_BATCHES: usize = 1024;

/// Receives from a UDP socket until the binding is let go or the listener stops.
pub(super) async fn run_udp(listening: Arc<Listening>, mut binding: watch::Receiver<Arc<Binding>>) {
    let Listening::Udp(socket) = &*listening else { return };
    let mut state = UdpLoop::new(socket, Arc::downgrade(&listening));
    loop {
        let current = binding.borrow_and_update().clone();
        let serves = current.rules.serves();
        let lingers = !serves && current.rules.lingers();
        state.draining = !serves;
        let turn = tokio::select! {
            biased;
            turn = turn(&mut binding, &current, serves) => turn,
            () = current.rules.lingered(), if lingers => Turn::Again,
            never = state.receive_all(&current), if serves || lingers => match never {},
        };
        match turn {
            Turn::Again => {}
            Turn::TakeTheRest => {
                state.take_what_is_queued(&current);
                // The port of a listener that left is given back at once; where the gateway ends, nobody else wants it.
                if current.rules.hold.is_closed() {
                    tokio::select! {
                        biased;
                        () = current.rules.lingered() => {}
                        never = state.receive_all(&current) => match never {},
                    }
                }
                return;
            }
            Turn::End => {
                state.send_waiting(&current);
                return tell_stopped(&current);
            }
        }
    }
}

/// Whether a call is made only when the reactor has told that it may succeed, or at any rate: when a loop
/// ends, the reactor may not have told yet of the last ones.
#[derive(Clone, Copy)]
enum Ask {
    Reactor,
    Kernel,
}

/// A loop that may be left at any await and entered again, with another binding, without losing a datagram.
struct UdpLoop<'a> {
    socket: &'a AsyncFd<std::net::UdpSocket>,
    listening: Weak<Listening>,
    batch: Batch,
    rates: SourceRates,
    /// Datagrams in the batch, and the next one to look at.
    held: usize,
    next: usize,
    /// An answer of that length stands in the slot before `next` and waits for the send buffer.
    waiting: Option<usize>,
    /// Whether only what has begun is served. Looked at once a turn, not with each datagram.
    draining: bool,
}

impl<'a> UdpLoop<'a> {
    fn new(socket: &'a AsyncFd<std::net::UdpSocket>, listening: Weak<Listening>) -> Self {
        UdpLoop {
            socket,
            listening,
            batch: Batch::new(socket.get_ref()),
            rates: SourceRates::new(),
            held: 0,
            next: 0,
            waiting: None,
            draining: false,
        }
    }

    async fn receive_all(&mut self, binding: &Binding) -> Infallible {
        loop {
            self.answer_held(binding).await;
            match self.receive(binding, Ask::Reactor) {
                Ok(()) => tokio::task::consume_budget().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(self.socket.readable().await.map(|mut guard| guard.retain_ready()));
                }
                Err(error) => pause_after(&error, binding).await,
            }
        }
    }

    fn receive(&mut self, binding: &Binding, ask: Ask) -> io::Result<()> {
        let limit = usize::try_from(binding.rules.datagrams.max_size.bytes()).unwrap_or(SLOT);
        let batch = &mut self.batch;
        let held = match ask {
            Ask::Reactor => {
                self.socket.try_io(Interest::READABLE, |s| batch.receive(s.as_raw_fd(), limit))?
            }
            Ask::Kernel => batch.receive(self.socket.as_raw_fd(), limit)?,
        };
        binding.site.ledger.datagrams.observe_batch(held);
        (self.held, self.next) = (held, 0);
        Ok(())
    }

    async fn answer_held(&mut self, binding: &Binding) {
        let now = Instant::now();
        loop {
            if self.waiting.is_some() {
                let _ = tokio::time::timeout(SEND_WAIT, self.socket.writable()).await;
                self.send_waiting(binding);
            }
            if self.next == self.held {
                return;
            }
            self.next += 1;
            self.answer_one(binding, now);
        }
    }

    /// Answers the datagram before `next`, or leaves the answer waiting.
    fn answer_one(&mut self, binding: &Binding, now: Instant) {
        let (received, slot) = self.batch.get(self.next - 1);
        let incoming = Incoming {
            peer: Peer::Inet(received.peer),
            inet: Some((received.peer, received.source)),
            from: None,
            listening: &self.listening,
            len: received.len,
            truncated: received.truncated,
            draining: self.draining,
        };
        let Some(len) = answer(binding, &mut self.rates, &incoming, slot, now) else { return };
        match self.send(binding, len, Ask::Reactor) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.waiting = Some(len),
            Err(error) => binding.site.ledger.datagrams.drop_one(send_failure(&error)),
        }
    }

    /// Sends an answer that waited, or gives it up.
    fn send_waiting(&mut self, binding: &Binding) {
        let Some(len) = self.waiting.take() else { return };
        if let Err(error) = self.send(binding, len, Ask::Kernel) {
            binding.site.ledger.datagrams.drop_one(send_failure(&error));
        }
    }

    fn send(&mut self, binding: &Binding, len: usize, ask: Ask) -> io::Result<()> {
        let (received, slot) = self.batch.get(self.next - 1);
        let bytes = &slot[..len];
        let send = |s: &std::net::UdpSocket| udp::send(s.as_raw_fd(), bytes, received.peer, received.source);
        match ask {
            Ask::Reactor => self.socket.try_io(Interest::WRITABLE, send)?,
            Ask::Kernel => send(self.socket.get_ref())?,
        }
        sent(&binding.site.ledger, len);
        Ok(())
    }

    /// Answers what the kernel has queued already.
    fn take_what_is_queued(&mut self, binding: &Binding) {
        let now = Instant::now();
        self.send_waiting(binding);
        for _ in 0..LAST_BATCHES {
            while self.next < self.held {
                self.next += 1;
                self.answer_one(binding, now);
                self.send_waiting(binding);
            }
            if self.receive(binding, Ask::Kernel).is_err() {
                return;
            }
        }
    }
}

/// Receives from a Unix datagram socket until the binding is let go or the listener stops.
pub(super) async fn run_unixgram(listening: Arc<Listening>, mut binding: watch::Receiver<Arc<Binding>>) {
    let Listening::Unixgram(socket, _) = &*listening else { return };
    let weak = Arc::downgrade(&listening);
    let (slot, rates) = (vec![0; SLOT], SourceRates::new());
    let mut state = UnixgramLoop { socket, listening: weak, slot, rates, draining: false };
    loop {
        let current = binding.borrow_and_update().clone();
        let serves = current.rules.serves();
        let lingers = !serves && current.rules.lingers();
        state.draining = !serves;
        let turn = tokio::select! {
            biased;
            turn = turn(&mut binding, &current, serves) => turn,
            () = current.rules.lingered(), if lingers => Turn::Again,
            never = state.receive_all(&current), if serves || lingers => match never {},
        };
        match turn {
            Turn::Again => {}
            Turn::TakeTheRest => return state.take_what_is_queued(&listening, &current),
            Turn::End => return tell_stopped(&current),
        }
    }
}

struct UnixgramLoop<'a> {
    socket: &'a AsyncFd<std::os::unix::net::UnixDatagram>,
    listening: Weak<Listening>,
    slot: Vec<u8>,
    rates: SourceRates,
    draining: bool,
}

impl UnixgramLoop<'_> {
    /// Answers what the kernel has queued already. The node goes first, so that nothing is sent to a socket
    /// that is about to be closed.
    fn take_what_is_queued(&mut self, listening: &Listening, binding: &Binding) {
        listening.unlink();
        let _ = (0..LAST_BATCHES).try_for_each(|_| self.some(binding, Ask::Kernel));
    }

    async fn receive_all(&mut self, binding: &Binding) -> Infallible {
        loop {
            match self.some(binding, Ask::Reactor) {
                Ok(()) => tokio::task::consume_budget().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(self.socket.readable().await.map(|mut guard| guard.retain_ready()));
                }
                Err(error) => pause_after(&error, binding).await,
            }
        }
    }

    /// Receives and answers up to a batch. An error means that nothing more is there.
    fn some(&mut self, binding: &Binding, ask: Ask) -> io::Result<()> {
        let mut count = 0;
        let end = loop {
            if count == BATCH {
                break Ok(());
            }
            match self.one(binding, ask) {
                Ok(()) => count += 1,
                Err(error) => break Err(error),
            }
        };
        if count > 0 {
            binding.site.ledger.datagrams.observe_batch(count);
        }
        end
    }

    fn one(&mut self, binding: &Binding, ask: Ask) -> io::Result<()> {
        let limit = usize::try_from(binding.rules.datagrams.max_size.bytes()).unwrap_or(SLOT).min(SLOT);
        let room = &mut self.slot[..limit];
        // With MSG_TRUNC the length is the datagram's own, not what fitted (recv(2)).
        let mut receive = |s: &std::os::unix::net::UnixDatagram| {
            let (_, len, from) = rustix::net::recvfrom(s, &mut *room, RecvFlags::TRUNC)?;
            Ok((len, from))
        };
        let (len, from) = match ask {
            Ask::Reactor => self.socket.try_io(Interest::READABLE, receive)?,
            Ask::Kernel => receive(self.socket.get_ref())?,
        };
        let from = from.and_then(|any| SocketAddrUnix::try_from(any).ok()).filter(|at| !at.is_unnamed());
        let incoming = Incoming {
            peer: from.as_ref().map_or(Peer::Unnamed, |at| Peer::UnixAddress(name(at).into())),
            inet: None,
            from: from.as_ref(),
            listening: &self.listening,
            len: len.min(limit),
            truncated: len > limit,
            draining: self.draining,
        };
        let answered = answer(binding, &mut self.rates, &incoming, &mut self.slot, Instant::now());
        let (Some(len), Some(to)) = (answered, from) else { return Ok(()) };
        let ledger = &binding.site.ledger;
        match send_unix(self.socket.get_ref(), &self.slot[..len], &to) {
            Ok(()) => sent(ledger, len),
            Err(error) => ledger.datagrams.drop_one(send_failure(&error)),
        }
        Ok(())
    }
}

/// Counts an error of receive, and pauses.
async fn pause_after(error: &io::Error, binding: &Binding) {
    let ledger = &binding.site.ledger;
    ledger.accept_error(classify(error));
    tracing::debug!(target: "polygate::listener", listener = %ledger.listener(), %error, "cannot receive");
    tokio::time::sleep(PAUSE).await;
}

/// A path, or `@` and an abstract name.
fn name(at: &SocketAddrUnix) -> String {
    match at.abstract_name() {
        Some(name) => format!("@{}", String::from_utf8_lossy(name)),
        None => String::from_utf8_lossy(at.path_bytes().unwrap_or_default()).into_owned(),
    }
}
