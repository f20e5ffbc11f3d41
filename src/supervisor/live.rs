//! What is live: listeners with their sockets. Owned by whoever holds the supervisor's lock.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use tokio_util::sync::CancellationToken;

use super::view::{EndpointView, ListenerView, State};
use crate::config::{Endpoint, Listener, Tls, Transport, UnixAddress, Validity};
use crate::handler::Built;
use crate::listener::{Door, Hold, LoopWatch, Pause, Rules, Running};
use crate::net::tls::Acceptor;
use crate::net::{self, Bound};

/// What a socket is known by from one configuration to the next: its endpoint. Where the kernel chooses
/// the port no two are the same, so those belong to their listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Fixed(Endpoint),
    Chosen { listener: String, endpoint: Endpoint, nth: usize },
}

/// The keys of a listener's endpoints, in order.
pub(super) fn keys(listener: &Listener) -> Vec<Key> {
    let chosen = |e: &Endpoint| matches!(e, Endpoint::Tcp(at) | Endpoint::Udp(at) if at.port == 0);
    let mut keys = Vec::with_capacity(listener.bind.len());
    for (index, endpoint) in listener.bind.iter().enumerate() {
        let endpoint = endpoint.clone();
        keys.push(if chosen(&endpoint) {
            let nth = listener.bind[..index].iter().filter(|e| **e == endpoint).count();
            Key::Chosen { listener: listener.name.clone(), endpoint, nth }
        } else {
            Key::Fixed(endpoint)
        });
    }
    keys
}

/// One socket with its loop.
#[derive(Debug)]
pub(super) struct LiveSocket {
    pub(super) running: Running,
    /// Its number, and what its conns are asked to finish by: when the gateway drains, or the socket leaves.
    pub(super) id: u64,
    pub(super) drain: CancellationToken,
    pub(super) view: EndpointView,
    pub(super) inet: Option<SocketAddr>,
}

impl LiveSocket {
    pub(super) fn place(&self) -> Option<Place> {
        Place::of(self.view.transport, self.inet, &self.view.address)
    }
}

/// A socket that an endpoint of another spelling takes over: it is bound to the very address that the new one
/// names, for example by the port that the kernel chose for port 0.
#[derive(Debug)]
pub(super) struct Handover {
    /// [`LiveSocket::id`].
    pub(super) socket: u64,
    pub(super) to: Key,
    /// The new endpoint, as configured.
    pub(super) bind: String,
}

/// One listener.
#[derive(Debug)]
pub(super) struct LiveListener {
    pub(super) config: Listener,
    pub(super) built: Built,
    /// What its TLS is begun with.
    pub(super) tls: Option<Acceptor>,
    pub(super) door: Arc<Door>,
    pub(super) rules: Arc<Rules>,
    pub(super) keys: Vec<Key>,
    pub(super) generation: u64,
}

/// What the views may see of a listener without waiting for a reload that is under way.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) config: Listener,
    pub(super) generation: u64,
    pub(super) door: Arc<Door>,
    pub(super) hold: Arc<Hold>,
    pub(super) endpoints: Vec<(EndpointView, LoopWatch)>,
    pub(super) certificate: Option<Validity>,
}

impl Published {
    /// Its own, or the gateway's; `drained`: that one has no connection left.
    pub(super) fn state(&self, drained: bool) -> State {
        match self.door.pause() {
            _ if self.door.stopped().is_cancelled() => State::Stopped,
            _ if self.hold.is_closed() => State::Draining,
            Pause::Paused => State::Paused,
            Pause::Draining => State::Draining,
            Pause::No if self.hold.is_set() && drained => State::Paused,
            Pause::No if self.hold.is_set() => State::Draining,
            Pause::No => State::Running,
        }
    }

    pub(super) fn view(&self, drained: bool) -> ListenerView {
        ListenerView {
            config: self.config.clone(),
            state: self.state(drained),
            endpoints: self.endpoints.iter().map(|(view, _)| view.clone()).collect(),
            generation: self.generation,
            certificate: self.certificate,
        }
    }

    /// Whether one of its loops still runs.
    pub(super) fn has_loops(&self) -> bool {
        self.endpoints.iter().any(|(_, watch)| watch.is_up())
    }

    /// A listener that should accept and has lost a loop is not up.
    pub(super) fn readiness(&self) -> Result<(), String> {
        match self.endpoints.iter().find(|(_, watch)| !watch.is_up()) {
            Some((view, _)) if self.state(false) == State::Running => {
                Err(format!("{} is not served", view.address))
            }
            None if self.endpoints.is_empty() => Err("it has no socket".into()),
            _ => Ok(()),
        }
    }
}

/// Everything that is live.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) listeners: BTreeMap<String, LiveListener>,
    /// An endpoint may be several sockets: a name with several addresses, an inherited name.
    pub(super) sockets: BTreeMap<Key, Vec<LiveSocket>>,
    /// The admin API's certificate, and what TLS is begun with.
    pub(super) admin_tls: Option<(Tls, Acceptor)>,
    /// Sockets beside which a new one may be bound for the moment.
    pub(super) sharing: Vec<Neighbour>,
    /// Every site that still may have conns; asked to drain at shutdown.
    pub(super) drain: CancellationToken,
    /// The number of the last socket.
    pub(super) last_socket: u64,
}

impl Live {
    pub(super) fn new(drain: CancellationToken) -> Self {
        Live {
            listeners: BTreeMap::new(),
            sockets: BTreeMap::new(),
            sharing: Vec::new(),
            drain,
            admin_tls: None,
            last_socket: 0,
        }
    }

    /// Lets a second socket be bound beside those.
    pub(super) fn share(&mut self, neighbours: &[Neighbour]) {
        neighbours.iter().for_each(|neighbour| neighbour.share_port(true));
        self.sharing.extend_from_slice(neighbours);
    }

    /// Forbids it again.
    pub(super) fn stop_sharing(&mut self) {
        self.sharing.drain(..).for_each(|neighbour| neighbour.share_port(false));
    }

    /// Gives sockets to the endpoints that have their addresses now.
    pub(super) fn hand_over(&mut self, handovers: Vec<Handover>) {
        for Handover { socket: id, to, bind } in handovers {
            let holder = self.sockets.values_mut().find(|sockets| sockets.iter().any(|s| s.id == id));
            let Some(sockets) = holder else { continue };
            for mut socket in sockets.extract_if(.., |socket| socket.id == id).collect::<Vec<_>>() {
                socket.view.bind.clone_from(&bind);
                self.sockets.entry(to.clone()).or_default().push(socket);
            }
        }
    }

    /// What the views may see of the listeners, in the order of the configuration.
    pub(super) fn publish(&self, order: &[Listener], hold: &Arc<Hold>) -> Vec<Published> {
        let published = |listener: &LiveListener| {
            let sockets = listener.keys.iter().filter_map(|key| self.sockets.get(key)).flatten();
            Published {
                config: listener.config.clone(),
                generation: listener.generation,
                door: listener.door.clone(),
                hold: hold.clone(),
                endpoints: sockets.map(|socket| (socket.view.clone(), socket.running.watch())).collect(),
                certificate: listener.tls.as_ref().map(Acceptor::validity),
            }
        };
        order.iter().filter_map(|l| self.listeners.get(&l.name)).map(published).collect()
    }

    /// The addresses of the datagram endpoints, for the loop guard.
    pub(super) fn own_datagram_addresses(&self) -> (HashSet<SocketAddr>, HashSet<String>) {
        let datagrams = self.sockets.values().flatten().filter(|s| !s.view.transport.is_stream());
        let mut inet = HashSet::new();
        let mut unix = HashSet::new();
        for socket in datagrams {
            match socket.inet {
                Some(at) => drop(inet.insert(at)),
                None => drop(unix.insert(without_scheme(&socket.view.address).to_string())),
            }
        }
        (inet, unix)
    }
}

/// `127.0.0.1:7` of `tcp://127.0.0.1:7`.
pub(super) fn without_scheme(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, rest)| rest)
}

/// Where a socket is bound in fact, as far as another one could be in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A port, of TCP or UDP.
    Inet(Transport, SocketAddr),
    /// The node of a Unix socket of either kind.
    Node(PathBuf),
}

impl Place {
    /// Of a bound socket; none is nobody's way.
    pub(super) fn of(transport: Transport, inet: Option<SocketAddr>, address: &str) -> Option<Self> {
        let path = without_scheme(address);
        match inet {
            Some(at) => Some(Place::Inet(transport, at)),
            None => path.starts_with('/').then(|| Place::Node(path.into())),
        }
    }

    /// Of a socket to come: several where a name has several addresses. One that cannot be resolved has none;
    /// binding it will say why.
    pub(super) fn to_come(endpoint: &Endpoint) -> Vec<Self> {
        match endpoint {
            Endpoint::Tcp(at) | Endpoint::Udp(at) if at.port != 0 => {
                let addresses = net::resolve(at).unwrap_or_default();
                addresses.into_iter().map(|at| Place::Inet(endpoint.transport(), at)).collect()
            }
            Endpoint::Unix(UnixAddress::Path(path)) | Endpoint::Unixgram(UnixAddress::Path(path)) => {
                vec![Place::Node(path.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// Whether the two cannot be bound at once.
    pub(super) fn overlaps(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Inet(one, a), Place::Inet(two, b)) => {
                let any = a.ip().is_unspecified() || b.ip().is_unspecified();
                one == two && a.port() == b.port() && (a == b || any && a.is_ipv4() == b.is_ipv4())
            }
            (a, b) => a == b,
        }
    }
}

/// A socket that leaves, beside which a new one may be bound.
#[derive(Debug, Clone)]
pub(super) enum Neighbour {
    Listener(LoopWatch),
    Admin(Arc<Bound>),
}

impl Neighbour {
    fn share_port(&self, share: bool) {
        match self {
            Neighbour::Listener(watch) => watch.share_port(share),
            Neighbour::Admin(bound) => net::set_reuse_port(&bound.socket, share),
        }
    }
}

/// A socket that leaves and is not closed yet.
#[derive(Debug)]
pub(super) enum Leaving {
    Listener(LoopWatch),
    Admin(Weak<Bound>),
}

impl Leaving {
    /// Whether it is open still.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Leaving::Listener(watch) => watch.is_up(),
            Leaving::Admin(bound) => bound.strong_count() > 0,
        }
    }
}

/// What the conns of a socket have in common.
pub(super) fn site_address(view: &EndpointView, inet: Option<SocketAddr>) -> (String, bool) {
    (without_scheme(&view.address).to_string(), inet.is_some_and(|at| at.ip().is_unspecified()))
}
