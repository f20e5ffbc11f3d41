//! Datagrams carried to an upstream: a flow for each sender and endpoint, with a socket of its own to one endpoint of
//! the upstream, so that answers find their way back.
//!
//! A flow begins with a sender's first datagram and ends when nothing has moved for `timeouts.idle`. Once its socket is
//! there datagrams go straight from the receive loop to the kernel; nothing waits for anybody.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::mpsc;

use super::Options;
use crate::handler::{
    Answer, Counter, CounterKind, Counters, Flow as Account, Ledger, Packet, Phase, Replier,
};
use crate::stats::{CloseReason, Meter, Peer};
use crate::upstream::{Datagrams, Lease, Pool};

/// Datagrams that wait for a flow's socket.
const QUEUE: usize = 32;

/// The longest datagram.
const LONGEST: usize = 64 * 1024;

/// Why a flow ended.
const EXPIRED: &[&str] = &["idle", "responses", "upstream", "admin", "drain"];

/// Why a datagram was not carried.
const DROPPED: &[&str] = &["max_flows", "queue", "upstream", "draining"];

const ACTIVE: Counter = Counter {
    name: "polygate_flows_active",
    help: "Flows of datagrams.",
    kind: CounterKind::Gauge,
    labels: &[],
};
const CREATED: Counter = Counter {
    name: "polygate_flows_created_total",
    help: "Flows of datagrams that were begun.",
    kind: CounterKind::Counter,
    labels: &[],
};
const EXPIRED_TOTAL: Counter = Counter {
    name: "polygate_flows_expired_total",
    help: "Flows of datagrams that ended.",
    kind: CounterKind::Counter,
    labels: &[("reason", EXPIRED)],
};
const DROPPED_TOTAL: Counter = Counter {
    name: "polygate_flows_dropped_total",
    help: "Datagrams that were not carried.",
    kind: CounterKind::Counter,
    labels: &[("reason", DROPPED)],
};

/// What `forward` counts of datagrams.
pub(super) const COUNTERS: &[Counter] = &[ACTIVE, CREATED, EXPIRED_TOTAL, DROPPED_TOTAL];

/// The cells of one listener and transport.
#[derive(Debug)]
struct Counts {
    active: Arc<Counters>,
    created: Arc<Counters>,
    expired: Arc<Counters>,
    dropped: Arc<Counters>,
}

/// Why a datagram was not carried, in the order of the label.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
enum Lost {
    MaxFlows = 0,
    Queue = 1,
    Upstream = 2,
    Draining = 3,
}

/// Who has a flow: endpoint and sender.
type Key = (Box<str>, Peer);

/// The flows of one handler.
#[derive(Debug, Default)]
pub(super) struct Flows {
    all: Mutex<HashMap<Key, Arc<Flow>>>,
    counts: OnceLock<Arc<Counts>>,
}

/// One flow, as the receive loop sees it.
#[derive(Debug)]
struct Flow {
    /// Until the socket is there, datagrams wait.
    early: mpsc::Sender<Box<[u8]>>,
    socket: OnceLock<Datagrams>,
    meter: Arc<Meter>,
    requests: AtomicU64,
}

impl Flows {
    fn locked(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flow>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.locked().is_empty()
    }

    /// Looks the cells up; they are the first listener's that serves datagrams, and a handler has one.
    pub(super) fn starts(&self, ledger: &Ledger) {
        let of = |counter| ledger.counters(counter);
        let counts = Counts {
            active: of(ACTIVE),
            created: of(CREATED),
            expired: of(EXPIRED_TOTAL),
            dropped: of(DROPPED_TOTAL),
        };
        let _ = self.counts.set(Arc::new(counts));
    }
}

/// Gives a datagram to its sender's flow, or begins one. Called in the receive loop: it never waits.
pub(super) fn carry(flows: &Arc<Flows>, pool: &Arc<Pool>, options: &Options, packet: &Packet<'_>) -> Answer {
    let key: Key = (packet.local().into(), packet.peer().clone());
    let known = flows.locked().get(&key).cloned();
    if let Some(flow) = known {
        let number = flow.requests.fetch_add(1, Relaxed) + 1;
        if options.requests.is_none_or(|most| number <= most) {
            flow.send(flows, packet.bytes());
            return Answer::Silence;
        }
        // It has had its requests: it goes on with answers alone, and this one begins the next.
        flows.locked().remove(&key);
    }
    begin(flows, pool, options, packet, key)
}

fn begin(flows: &Arc<Flows>, pool: &Arc<Pool>, options: &Options, packet: &Packet<'_>, key: Key) -> Answer {
    // A reply without an address to go to is counted as that.
    let Some(replier) = packet.replier() else { return Answer::Reply };
    if flows.counts.get().is_none() {
        flows.starts(&replier.ledger);
    }
    let mut all = flows.locked();
    let full = all.len() >= options.max_flows;
    if full || packet.is_draining() || replier.site.drain.is_cancelled() {
        flows.dropped(if full { Lost::MaxFlows } else { Lost::Draining });
        return Answer::Silence;
    }
    let account = Account::open(&replier, packet.peer().clone(), Phase::Open);
    let meter = account.meter().clone();
    let (early, waiting) = mpsc::channel(QUEUE);
    let flow =
        Arc::new(Flow { early, socket: OnceLock::new(), meter: meter.clone(), requests: AtomicU64::new(1) });
    flow.send(flows, packet.bytes());
    all.insert(key.clone(), flow.clone());
    drop(all);
    if let Some(counts) = flows.counts.get() {
        counts.created.add(&[], 1);
        counts.active.add(&[], 1);
    }
    let ends = Ends { flows: flows.clone(), flow: flow.clone(), key, account };
    let talk = Talk { pool: pool.clone(), flow, replier, waiting, responses: options.responses, ends };
    let task = tokio::spawn(talk.run());
    meter.arm(task.abort_handle());
    Answer::Silence
}

impl Flows {
    fn dropped(&self, why: Lost) {
        if let Some(counts) = self.counts.get() {
            counts.dropped.add(&[why as usize], 1);
        }
    }
}

impl Flow {
    fn send(&self, flows: &Flows, bytes: &[u8]) {
        self.meter.add_received(bytes.len());
        match self.socket.get() {
            None => {
                if self.early.try_send(bytes.into()).is_err() {
                    flows.dropped(Lost::Queue);
                }
            }
            Some(socket) => self.send_now(flows, socket, bytes),
        }
    }

    fn send_now(&self, flows: &Flows, socket: &Datagrams, bytes: &[u8]) {
        match socket.try_send(bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => flows.dropped(Lost::Queue),
            // What a datagram before came to; the task hears of it, too.
            Err(_) => flows.dropped(Lost::Upstream),
        }
    }
}

/// Settles a flow, whatever ended it.
struct Ends {
    flows: Arc<Flows>,
    flow: Arc<Flow>,
    key: Key,
    account: Account,
}

impl Drop for Ends {
    fn drop(&mut self) {
        let mut all = self.flows.locked();
        if all.get(&self.key).is_some_and(|flow| Arc::ptr_eq(flow, &self.flow)) {
            all.remove(&self.key);
        }
        drop(all);
        let reason = self.account.settle();
        if let Some(counts) = self.flows.counts.get() {
            counts.active.sub(&[], 1);
            let at = match reason {
                CloseReason::Idle | CloseReason::FirstByte | CloseReason::Lifetime => 0,
                CloseReason::Handler => 1,
                CloseReason::Upstream | CloseReason::IoError => 2,
                CloseReason::Admin => 3,
                _ => 4,
            };
            counts.expired.add(&[at], 1);
        }
    }
}

/// The task of one flow.
struct Talk {
    pool: Arc<Pool>,
    flow: Arc<Flow>,
    replier: Replier,
    waiting: mpsc::Receiver<Box<[u8]>>,
    /// After so many answers it ends.
    responses: Option<u64>,
    ends: Ends,
}

thread_local! {
    /// What answers are read into; none is held while a flow waits.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; LONGEST]);
}

impl Talk {
    async fn run(mut self) {
        let meter = self.flow.meter.clone();
        meter.describe("upstream", self.pool.name().to_owned());
        // Boxed, so that a flow is not as large as one that is being connected.
        let reason = match Box::pin(self.pool.connect_datagrams(&meter)).await {
            Ok((lease, socket)) => {
                meter.describe("endpoint", lease.member().endpoint().to_string());
                self.talk(&lease, socket).await
            }
            Err(error) => {
                let listener = meter.site().ledger.listener();
                tracing::warn!(target: "polygate::upstream", conn = meter.id().0, %listener, upstream = self.pool.name(), %error, "refused");
                CloseReason::Upstream
            }
        };
        self.ends.account.ends_because(reason);
    }

    async fn talk(&mut self, lease: &Lease, socket: Datagrams) -> CloseReason {
        let flow = self.flow.clone();
        let socket = flow.socket.get_or_init(|| socket);
        // Nothing waits after this: whoever comes now finds the socket.
        while let Ok(datagram) = self.waiting.try_recv() {
            flow.send_now(&self.ends.flows, socket, &datagram);
        }
        let mut answered = 0;
        loop {
            // The clocks end it when nothing moves for too long.
            if let Err(error) = socket.readable().await {
                // ICMP says that nobody is there: another endpoint may serve the next flow.
                self.pool.failed(lease, &error);
                return CloseReason::Upstream;
            }
            let received = BUFFER.with_borrow_mut(|buffer| {
                let n = socket.try_recv(buffer)?;
                flow.meter.add_sent(n);
                Ok::<_, io::Error>(self.replier.send(&buffer[..n]))
            });
            match received {
                Ok(sent) => {
                    answered += 1;
                    if answered == 1 {
                        self.pool.answered(lease);
                    }
                    if sent.is_err_and(|error| error.kind() == io::ErrorKind::NotConnected) {
                        return CloseReason::Drain;
                    }
                    if self.responses.is_some_and(|most| answered >= most) {
                        return CloseReason::Handler;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.pool.failed(lease, &error);
                    return CloseReason::Upstream;
                }
            }
            tokio::task::consume_budget().await;
        }
    }
}
