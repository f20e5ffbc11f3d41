//! The account of one conn.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::labels::{CloseReason, RejectReason};
use super::ledger::Ledger;
use super::peer::{ConnId, Peer};
use super::{Stats, locked};
use crate::config::Timeouts;

/// What the conns that an endpoint accepts under one configuration have in common. They keep it as long
/// as they live, whatever a reload changes.
#[derive(Debug)]
pub struct Site {
    /// Where the conns are counted; names listener and transport.
    pub ledger: Arc<Ledger>,
    /// The handler's type.
    pub handler: &'static str,
    /// The configuration's generation.
    pub generation: u64,
    /// The clocks.
    pub timeouts: Timeouts,
    /// The address of the endpoint, for conns whose own local address is not kept.
    pub address: String,
    /// Whether the endpoint is bound to all addresses, so that each conn keeps its own.
    pub any_address: bool,
    /// The socket that accepted them, by a number that no other has.
    pub socket: u64,
    /// Cancelled when its conns are asked to finish.
    pub drain: CancellationToken,
    /// For the clock.
    pub stats: Arc<Stats>,
}

impl Site {
    /// The same for conns that come later.
    pub fn like(other: &Site) -> Self {
        Site {
            ledger: other.ledger.clone(),
            handler: other.handler,
            generation: other.generation,
            timeouts: other.timeouts,
            address: other.address.clone(),
            any_address: other.any_address,
            socket: other.socket,
            drain: other.drain.clone(),
            stats: other.stats.clone(),
        }
    }
}

/// What a conn is waiting for, as far as the clocks tell steps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// TLS handshake or PROXY header.
    Handshake = 0,
    /// Open; before the first byte the `first_byte` clock runs, then `idle`.
    Open = 1,
    /// Part of a request has come: the `request` clock runs.
    Request = 2,
    /// The handler works for the peer: neither `request` nor `idle` runs.
    Work = 3,
    /// Nothing is under way: `idle` runs since then, whatever bytes move (keep-alive pings, say).
    Idle = 4,
}

/// The account of one conn. Its task alone adds to it; the clocks and the views read it.
#[derive(Debug)]
pub struct Meter {
    id: ConnId,
    site: Arc<Site>,
    peer: Peer,
    /// Who it is in truth, where a proxy has told.
    named: OnceLock<Box<Peer>>,
    local: Option<SocketAddr>,
    started_ms: u64,
    received: AtomicU64,
    sent: AtomicU64,
    phase: AtomicU8,
    phase_since_ms: AtomicU64,
    /// When the write began that the peer does not take, plus one; 0: none.
    blocked_since_ms: AtomicU64,
    /// What the clocks saw last: the bytes, and when they last changed. Idleness is measured by the
    /// clocks' ticks, so that counting a byte needs no look at the clock.
    seen_bytes: AtomicU64,
    active_ms: AtomicU64,
    /// Why it is being killed; 0 is not at all, else a [`CloseReason`] plus one.
    verdict: AtomicU8,
    verdict_ms: AtomicU64,
    /// Whether the handler waits for [`Meter::poll_killed`], and so is given time to say goodbye.
    listens: AtomicBool,
    /// Whether the conn has been asked to finish.
    draining: AtomicBool,
    /// Requests that were answered.
    requests: AtomicU64,
    /// What it speaks, where its handler knows several.
    protocol: OnceLock<&'static str>,
    task: OnceLock<AbortHandle>,
    rest: Mutex<Option<Box<Rest>>>,
}

/// What most conns never need.
#[derive(Debug, Default)]
struct Rest {
    details: Vec<(&'static str, String)>,
    waker: Option<Waker>,
}

impl Meter {
    /// Opens an account and enters it into its ledger. It must be settled once ([`Meter::settle`]).
    pub fn open(site: Arc<Site>, peer: Peer, local: Option<SocketAddr>, phase: Phase) -> Arc<Self> {
        let now = site.stats.now_ms();
        let meter = Arc::new(Meter {
            id: site.stats.next_id(),
            peer,
            named: OnceLock::new(),
            local,
            started_ms: now,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            phase: AtomicU8::new(phase as u8),
            phase_since_ms: AtomicU64::new(now),
            blocked_since_ms: AtomicU64::new(0),
            seen_bytes: AtomicU64::new(0),
            active_ms: AtomicU64::new(now),
            verdict: AtomicU8::new(0),
            verdict_ms: AtomicU64::new(0),
            listens: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            protocol: OnceLock::new(),
            task: OnceLock::new(),
            rest: Mutex::default(),
            site,
        });
        meter.site.ledger.enter(&meter);
        // One that is accepted while its listener drains; whoever began that may have been here before it.
        meter.notice_drain();
        meter
    }

    /// Its number.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// What it shares with the other conns of its endpoint.
    pub fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// The other side.
    pub fn peer(&self) -> &Peer {
        self.named.get().map_or(&self.peer, |named| named)
    }

    /// Says who the peer is in truth; once.
    pub fn name_peer(&self, peer: Peer) {
        let _ = self.named.set(Box::new(peer));
    }

    /// Our side, where it is not the endpoint's own address.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    /// When it was accepted, in milliseconds since the gateway's start.
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Counts received bytes. Only the conn's task may call it: a plain add, no locked instruction.
    pub fn add_received(&self, n: usize) {
        self.received.store(self.received.load(Relaxed).wrapping_add(n as u64), Relaxed);
    }

    /// Counts sent bytes; like [`Meter::add_received`].
    pub fn add_sent(&self, n: usize) {
        self.sent.store(self.sent.load(Relaxed).wrapping_add(n as u64), Relaxed);
    }

    /// Says that a write waits for the peer, or no longer does.
    pub fn set_blocked(&self, blocked: bool) {
        let since = if blocked { self.site.stats.now_ms() + 1 } else { 0 };
        self.blocked_since_ms.store(since, Relaxed);
    }

    /// Since when a write waits for the peer.
    pub fn blocked_since_ms(&self) -> Option<u64> {
        self.blocked_since_ms.load(Relaxed).checked_sub(1)
    }

    /// Enters a step.
    pub fn set_phase(&self, phase: Phase) {
        self.set_phase_since(phase, self.site.stats.now_ms());
    }

    /// Enters a step that began before, in milliseconds since the gateway's start.
    pub fn set_phase_since(&self, phase: Phase, since_ms: u64) {
        self.phase_since_ms.store(since_ms, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// The step, and since when.
    pub fn phase(&self) -> (Phase, u64) {
        let phase = match self.phase.load(Relaxed) {
            0 => Phase::Handshake,
            2 => Phase::Request,
            3 => Phase::Work,
            4 => Phase::Idle,
            _ => Phase::Open,
        };
        (phase, self.phase_since_ms.load(Relaxed))
    }

    /// When bytes last moved, to the precision of the clocks' ticks; to be called at each tick.
    pub fn tick(&self, now_ms: u64) -> u64 {
        let bytes = self.received().wrapping_add(self.sent());
        if bytes != self.seen_bytes.swap(bytes, Relaxed) {
            self.active_ms.store(now_ms, Relaxed);
        }
        self.active_ms.load(Relaxed)
    }

    /// What the handler says of the conn, for the connection list. A key said again replaces the value.
    pub fn describe(&self, key: &'static str, value: String) {
        let mut rest = locked(&self.rest);
        let details = &mut rest.get_or_insert_default().details;
        match details.iter_mut().find(|(k, _)| *k == key) {
            Some(entry) => entry.1 = value,
            None => details.push((key, value)),
        }
    }

    /// What the handler said.
    pub fn details(&self) -> Vec<(&'static str, String)> {
        let mut details = locked(&self.rest).as_ref().map(|rest| rest.details.clone()).unwrap_or_default();
        if let Some(protocol) = self.protocol.get() {
            details.push(("protocol", (*protocol).to_owned()));
            details.push(("requests", self.requests.load(Relaxed).to_string()));
        }
        details
    }

    /// Gives the account the task that a kill ends. A kill that came first takes effect here.
    pub fn arm(&self, task: AbortHandle) {
        let _ = self.task.set(task);
        if self.verdict().is_some() {
            self.cut();
        }
    }

    /// Finished now, for that reason; the first reason stays. Returns false if it was being killed
    /// already. A handler that waits for the kill ([`Meter::poll_killed`]) has a moment to say goodbye,
    /// then the clocks [`cut`](Meter::cut) it; any other is cut here.
    pub fn kill(&self, reason: CloseReason) -> bool {
        if self.verdict().is_none() {
            self.verdict_ms.store(self.site.stats.now_ms(), Relaxed);
        }
        if self.verdict.compare_exchange(0, reason as u8 + 1, Relaxed, Relaxed).is_err() {
            return false;
        }
        let rest = locked(&self.rest);
        if self.listens.load(Relaxed) {
            rest.as_ref().and_then(|rest| rest.waker.as_ref()).inspect(|waker| waker.wake_by_ref());
        } else {
            drop(rest);
            self.cut();
        }
        true
    }

    /// Looks whether the conn's listener drains, and then wakes a task that waits with
    /// [`Meter::wake_on_signal`]. To be called by whoever makes a listener drain; the clocks do it, too.
    pub fn notice_drain(&self) {
        if !self.is_draining() && self.site.drain.is_cancelled() {
            self.draining.store(true, Relaxed);
            let rest = locked(&self.rest);
            rest.as_ref().and_then(|rest| rest.waker.as_ref()).inspect(|waker| waker.wake_by_ref());
        }
    }

    /// Whether it has been asked to finish: no new request should begin.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Has the task of `cx` woken when the conn is asked to finish, and when it is killed while its handler
    /// [may say goodbye](Meter::set_listens). Once is enough for a task.
    pub fn wake_on_signal(&self, cx: &Context<'_>) {
        let mut rest = locked(&self.rest);
        rest.get_or_insert_default().waker = Some(cx.waker().clone());
    }

    /// Says whether the handler wants a moment to say goodbye when the conn is killed, or to be dropped.
    pub fn set_listens(&self, listens: bool) {
        // Under the lock, so that a kill sees either the handler that listens or its task to abort.
        let _rest = locked(&self.rest);
        self.listens.store(listens, Relaxed);
    }

    /// Counts answered requests; like [`Meter::add_received`].
    pub fn add_requests(&self, n: u64) {
        self.requests.store(self.requests.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Says what it speaks, for the connection list; the first word stays.
    pub fn set_protocol(&self, protocol: &'static str) {
        let _ = self.protocol.set(protocol);
    }

    /// Ends the task at its next await, whatever it does.
    pub fn cut(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// Why it is being killed.
    pub fn verdict(&self) -> Option<CloseReason> {
        self.verdict.load(Relaxed).checked_sub(1).and_then(CloseReason::from_index)
    }

    /// Since when it is being killed.
    pub fn killed_since_ms(&self) -> Option<u64> {
        self.verdict().map(|_| self.verdict_ms.load(Relaxed))
    }

    /// Ready once the conn is being killed. From the first call on a kill leaves the handler a moment to
    /// say goodbye.
    pub fn poll_killed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut rest = locked(&self.rest);
        self.listens.store(true, Relaxed);
        if let Some(reason) = self.verdict() {
            return Poll::Ready(reason);
        }
        rest.get_or_insert_default().waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Closes the account: takes it out of the live ones and adds it to the closed ones. A kill's reason
    /// goes before the given one.
    pub fn settle(&self, reason: CloseReason) -> CloseReason {
        let reason = self.verdict().unwrap_or(reason);
        self.site.ledger.settle(self, reason);
        reason
    }

    /// Closes the account of one that no handler got: it is not closed, but rejected.
    pub fn turn_away(&self, reason: RejectReason) {
        self.site.ledger.turn_away(self, reason);
    }
}
