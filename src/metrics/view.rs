//! Everything that one scrape shows, gathered once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::kernel::Drops;
use super::process::Process;
use crate::config::Transport;
use crate::net::sock_diag::{self, Queue};
use crate::stats::{DatagramDrop, LedgerSnapshot, Snapshot, UpstreamSnapshot};
use crate::supervisor::{EndpointView, ListenerView, State, Supervisor};

/// What there is to show.
pub(super) struct View {
    pub(super) snapshot: Snapshot,
    pub(super) listeners: Vec<ListenerView>,
    pub(super) ready: bool,
    /// None where the kernel does not let us ask.
    pub(super) queues: Option<HashMap<u64, Queue>>,
    /// Datagrams that the kernel dropped, by listener.
    pub(super) kernel_drops: HashMap<String, u64>,
    /// None where `/proc` is not mounted.
    pub(super) process: Option<Process>,
    pub(super) runtime: Runtime,
}

/// The data plane's runtime.
#[derive(Default)]
pub(super) struct Runtime {
    pub(super) workers: u64,
    pub(super) alive_tasks: u64,
    pub(super) global_queue_depth: u64,
    pub(super) busy_seconds: f64,
}

impl View {
    pub(super) fn gather(supervisor: &Supervisor, drops: &mut Drops) -> Self {
        let listeners = supervisor.listeners();
        let queues = queues();
        if let Some(queues) = &queues {
            drops.update(&listeners, queues);
        }
        let total = |listener: &ListenerView| {
            let name = &listener.config.name;
            (name.clone(), drops.of(name))
        };
        View {
            snapshot: supervisor.stats().snapshot(),
            ready: supervisor.readiness().iter().all(|(_, up)| up.is_ok()),
            kernel_drops: listeners.iter().map(total).collect(),
            queues,
            listeners,
            process: Process::read().ok(),
            runtime: Runtime::of(supervisor.data_runtime()),
        }
    }

    /// Every endpoint of every upstream.
    pub(super) fn upstreams(&self, f: impl FnMut(&UpstreamSnapshot)) {
        self.snapshot.upstreams.iter().for_each(f);
    }

    /// All ledgers.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = &LedgerSnapshot> {
        self.snapshot.ledgers.iter()
    }

    /// The ledgers of stream transports.
    pub(super) fn streams(&self) -> impl Iterator<Item = &LedgerSnapshot> {
        self.snapshot.ledgers.iter().filter(|ledger| ledger.transport.is_stream())
    }

    /// The ledgers of datagram transports.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &LedgerSnapshot> {
        self.snapshot.ledgers.iter().filter(|ledger| !ledger.transport.is_stream())
    }

    /// The datagrams of a ledger that were not answered, the kernel's own drops included.
    pub(super) fn dropped(&self, ledger: &LedgerSnapshot) -> impl Iterator<Item = (DatagramDrop, u64)> {
        // The kernel drops on UDP sockets only: a Unix datagram's sender waits or is told.
        let kernel = match ledger.transport {
            Transport::Udp => self.kernel_drops.get(&*ledger.listener).copied().unwrap_or(0),
            _ => 0,
        };
        ledger.datagrams.dropped.iter().map(move |(reason, n)| match reason {
            DatagramDrop::KernelBuffer => (*reason, n + kernel),
            _ => (*reason, *n),
        })
    }

    /// The type of the handler behind a ledger.
    pub(super) fn handler(&self, ledger: &LedgerSnapshot) -> &str {
        let listener = self.listeners.iter().find(|l| *l.config.name == *ledger.listener);
        listener.map_or("", |l| &l.config.handler.kind)
    }

    /// Every listener with each of its transports.
    pub(super) fn sites(&self) -> impl Iterator<Item = (&ListenerView, Transport)> {
        self.listeners.iter().flat_map(|l| l.config.transports().iter().map(move |t| (l, t)))
    }

    /// The accept queues of every listener and stream transport, summed over its endpoints.
    pub(super) fn accept_queues(&self) -> impl Iterator<Item = (&str, Transport, u64, u64)> {
        let streams = self.sites().filter(|(_, transport)| transport.is_stream());
        streams.filter_map(|(listener, transport)| {
            let queues = self.queues.as_ref()?;
            let endpoints = listener.endpoints.iter().filter(|e| e.transport == transport);
            let (mut length, mut limit) = (0, 0);
            for queue in endpoints.filter_map(|e| queues.get(&e.inode)) {
                length += u64::from(queue.length);
                limit += u64::from(queue.limit);
            }
            Some((&*listener.config.name, transport, length, limit))
        })
    }

    /// The bound endpoints, each address once.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&ListenerView, &EndpointView)> {
        self.listeners.iter().flat_map(|l| {
            let first = |(index, endpoint): &(usize, &EndpointView)| {
                let before = &l.endpoints[..*index];
                !before.iter().any(|e| e.address == endpoint.address && e.transport == endpoint.transport)
            };
            l.endpoints.iter().enumerate().filter(first).map(move |(_, endpoint)| (l, endpoint))
        })
    }
}

/// Whether a listener accepts on all endpoints of a transport.
pub(super) fn is_up(listener: &ListenerView, transport: Transport) -> bool {
    listener.state == State::Running && listener.endpoints.iter().any(|e| e.transport == transport)
}

/// Asks the kernel. That it does not answer (a sandbox without AF_NETLINK) is logged once.
fn queues() -> Option<HashMap<u64, Queue>> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    match sock_diag::dump() {
        Ok(queues) => Some(queues),
        Err(error) => {
            if !WARNED.swap(true, Relaxed) {
                tracing::warn!(%error, "no accept queues and kernel drops in the metrics: sock_diag failed");
            }
            None
        }
    }
}

impl Runtime {
    fn of(handle: &tokio::runtime::Handle) -> Self {
        let metrics = handle.metrics();
        let workers = metrics.num_workers();
        let busy = (0..workers).map(|worker| metrics.worker_total_busy_duration(worker).as_secs_f64());
        Runtime {
            workers: workers as u64,
            alive_tasks: metrics.num_alive_tasks() as u64,
            global_queue_depth: metrics.global_queue_depth() as u64,
            busy_seconds: busy.sum(),
        }
    }
}
