//! Prepare: everything about a new configuration that can fail. Dropping what it returns undoes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Inner;
use super::live::{Handover, Key, Live, LiveListener, LiveSocket, Neighbour, Place, keys};
use super::view::{EndpointView, ReloadError};
use crate::accounts::Access;
use crate::config::{Config, Endpoint, Listener, PemError, SocketOptions, Timeout, Tls, Transport, UnixMode};
use crate::handler::{Built, Context};
use crate::listener::Ready;
use crate::net::tls::Acceptor;
use crate::net::{self, AdminSocket, Bound};

/// A new configuration with all that it needs.
pub(super) struct Prepared {
    pub(super) config: Config,
    /// The handler of each listener, and what its TLS is begun with.
    pub(super) handlers: BTreeMap<String, (Built, Option<Acceptor>)>,
    /// Sockets that stay under another endpoint.
    pub(super) handovers: Vec<Handover>,
    /// The sockets that are new, ready to start.
    pub(super) sockets: BTreeMap<Key, Vec<NewSocket>>,
    /// The sockets of the admin API, old and new.
    pub(super) admin: Vec<AdminSocket>,
    /// The certificate of the admin API.
    pub(super) admin_tls: Option<(Tls, Acceptor)>,
}

/// A bound socket, registered with the data runtime.
pub(super) struct NewSocket {
    pub(super) ready: Ready,
    pub(super) view: EndpointView,
    pub(super) inet: Option<std::net::SocketAddr>,
    /// Bound beside an old socket of ours: a stream socket of this kind does not listen before commit, so
    /// that no connection comes to it that a failure would reset.
    pub(super) shared: bool,
}

/// Builds every handler that is new or changed, and binds every endpoint that is new. Must be called inside
/// the data runtime's context, where the sockets are registered.
pub(super) fn prepare(
    inner: &Inner,
    live: &mut Live,
    config: Config,
    dry_run: bool,
) -> Result<Prepared, ReloadError> {
    let handlers = build_handlers(inner, live, &config)?;
    let admin_tls = admin_tls(live, &config)?;
    let handovers = handovers(live, &config);
    let mut admin = kept_admin(inner, &config);
    let leaving = leaving(inner, live, &config, &handovers, &admin);
    let missing = missing(live, &config, &handovers, &admin, &leaving);
    // Those beside an old socket come last: once bound, one takes what was meant for the other.
    let (beside, alone): (Vec<_>, Vec<_>) = missing.iter().partition(|missing| !missing.beside.is_empty());
    let mut sockets = BTreeMap::new();
    for missing in alone.into_iter().chain(beside) {
        if dry_run && missing.takes_at_once() {
            continue;
        }
        let bound = bind(inner, live, missing)?;
        match &missing.purpose {
            Purpose::Listener(key) => drop(sockets.insert(key.clone(), register_all(missing, bound)?)),
            Purpose::Admin { metrics_only } => {
                admin.extend(bound.into_iter().map(|b| admin_socket(missing.endpoint, *metrics_only, b)));
            }
        }
    }
    let order = |s: &AdminSocket| admin_binds(&config).position(|bind| bind == (s.metrics_only, &s.endpoint));
    admin.sort_by_key(order);
    for socket in &mut admin {
        socket.url = url(&socket.socket.address, admin_tls.is_some() && !socket.metrics_only);
    }
    drop(missing);
    Ok(Prepared { config, handlers, handovers, sockets, admin, admin_tls })
}

fn build_handlers(
    inner: &Inner,
    live: &Live,
    config: &Config,
) -> Result<BTreeMap<String, (Built, Option<Acceptor>)>, ReloadError> {
    let mut handlers = BTreeMap::new();
    for listener in &config.listeners {
        let (kind, options) = (&listener.handler.kind, &listener.handler.options);
        let before = live.listeners.get(&listener.name);
        let alpn = inner.registry.alpn(kind);
        let tls = acceptor(before, listener, alpn).map_err(|error| ReloadError::Build {
            listener: listener.name.clone(),
            handler: "tls".into(),
            reason: error.to_string(),
        })?;
        let same = before
            .filter(|old| (&old.config.handler.kind, &old.config.handler.options) == (kind, options))
            // One that begins TLS itself has the certificate inside.
            .filter(|old| !old.built.starts_tls || old.config.tls == listener.tls);
        let built = match same {
            Some(old) => old.built.clone(),
            None => {
                let accounts = Access::new(inner.accounts.clone(), config.accounts.clone());
                let context = Context::new(&listener.name, &config.state_dir)
                    .with_accounts(accounts)
                    .with_upstreams(inner.upstreams.clone())
                    .with_consoles(inner.consoles.clone())
                    .with_tls(tls.clone());
                inner.registry.build(kind, options, &context).map_err(|error| ReloadError::Build {
                    listener: listener.name.clone(),
                    handler: listener.handler.name.clone(),
                    reason: error.to_string(),
                })?
            }
        };
        handlers.insert(listener.name.clone(), (built, tls));
    }
    Ok(handlers)
}

/// What the admin API's TLS is begun with; what it had, where nothing has changed.
fn admin_tls(live: &Live, config: &Config) -> Result<Option<(Tls, Acceptor)>, ReloadError> {
    let Some(tls) = &config.admin.tls else { return Ok(None) };
    if let Some(same) = live.admin_tls.as_ref().filter(|(old, _)| old == tls) {
        return Ok(Some(same.clone()));
    }
    // HTTP/1.1 is all that the API speaks.
    match Acceptor::new(&tls.pem, tls.min_version, &["http/1.1"]) {
        Ok(acceptor) => Ok(Some((tls.clone(), acceptor))),
        Err(error) => Err(ReloadError::Build {
            listener: "admin".into(),
            handler: "tls".into(),
            reason: error.to_string(),
        }),
    }
}

/// As start-up prints it.
fn url(address: &str, tls: bool) -> String {
    address.replacen("tcp://", if tls { "https://" } else { "http://" }, 1)
}

/// What a listener's TLS is begun with: what it had, where nothing has changed, so that clients may resume.
fn acceptor(
    before: Option<&LiveListener>,
    listener: &Listener,
    alpn: &[&str],
) -> Result<Option<Acceptor>, PemError> {
    let Some(tls) = &listener.tls else { return Ok(None) };
    let same = before.filter(|old| {
        old.config.tls.as_ref() == Some(tls) && old.config.handler.kind == listener.handler.kind
    });
    match same.and_then(|old| old.tls.clone()) {
        Some(same) => Ok(Some(same)),
        None => Acceptor::new(&tls.pem, tls.min_version, alpn).map(Some),
    }
}

/// The sockets that the new configuration keeps: their key is named, and they are open. Those of a listener
/// that has stopped by itself are closed: one that is changed, or has its endpoint now, starts with new ones.
pub(super) fn kept_sockets(live: &Live, config: &Config) -> BTreeSet<Key> {
    let owners: BTreeMap<&Key, &LiveListener> =
        live.listeners.values().flat_map(|owner| owner.keys.iter().map(move |key| (key, owner))).collect();
    let is_open = |key: &Key, listener: &Listener| {
        let owner = owners.get(key);
        owner.is_none_or(|old| !old.door.stopped().is_cancelled() || old.config == *listener)
    };
    let mut kept = BTreeSet::new();
    for listener in &config.listeners {
        kept.extend(keys(listener).into_iter().filter(|key| is_open(key, listener)));
    }
    kept.retain(|key| live.sockets.contains_key(key));
    kept
}

/// Which sockets that would leave are bound to the very addresses that a new endpoint names.
fn handovers(live: &Live, config: &Config) -> Vec<Handover> {
    let kept = kept_sockets(live, config);
    let free: Vec<&LiveSocket> = (live.sockets.iter())
        .filter(|(key, _)| !kept.contains(key) && !is_inherited(key))
        .flat_map(|(_, sockets)| sockets)
        .filter(|socket| socket.running.watch().is_up())
        .collect();
    let mut handovers: Vec<Handover> = Vec::new();
    let new = config.listeners.iter().flat_map(|l| keys(l).into_iter().zip(&l.bind));
    for (to, endpoint) in new.filter(|(key, _)| !free.is_empty() && !live.sockets.contains_key(key)) {
        let (Endpoint::Tcp(_) | Endpoint::Udp(_)) = endpoint else { continue };
        let places = Place::to_come(endpoint);
        let found = places.iter().map(|place| free.iter().find(|s| s.place().as_ref() == Some(place)));
        // All of a name's addresses, or none: the others would have to be bound beside.
        let found: Vec<_> = found.collect::<Option<_>>().unwrap_or_default();
        let bind = endpoint.to_string();
        handovers.extend(found.iter().map(|s| Handover { socket: s.id, to: to.clone(), bind: bind.clone() }));
    }
    handovers
}

fn is_inherited(key: &Key) -> bool {
    matches!(key, Key::Fixed(Endpoint::Inherited(..)))
}

/// The sockets that leave, with where they are bound. Inherited ones stay open, so nothing can be bound beside.
fn leaving(
    inner: &Inner,
    live: &Live,
    config: &Config,
    handovers: &[Handover],
    kept_admin: &[AdminSocket],
) -> Vec<(Place, Neighbour)> {
    let kept = kept_sockets(live, config);
    let of_listeners = (live.sockets.iter())
        .filter(|(key, _)| !kept.contains(key) && !is_inherited(key))
        .flat_map(|(_, sockets)| sockets)
        .filter(|socket| !handovers.iter().any(|handover| handover.socket == socket.id))
        .filter_map(|socket| Some((socket.place()?, Neighbour::Listener(socket.running.watch()))));
    let current = inner.admin.borrow().clone();
    let of_admin = (current.into_iter())
        .filter(|old| !kept_admin.iter().any(|kept| Arc::ptr_eq(&kept.socket, &old.socket)))
        .filter(|old| !matches!(old.endpoint, Endpoint::Inherited(..)))
        .filter_map(|AdminSocket { endpoint, socket, .. }| {
            let place = Place::of(endpoint.transport(), socket.inet, &socket.address)?;
            Some((place, Neighbour::Admin(socket)))
        });
    of_listeners.chain(of_admin).collect()
}

/// An endpoint that has no socket yet.
struct Missing<'a> {
    /// The listener's name, or `admin`.
    owner: &'a str,
    options: &'a SocketOptions,
    stall: Timeout,
    endpoint: &'a Endpoint,
    purpose: Purpose,
    /// The sockets that leave and whose address overlaps.
    beside: Vec<Neighbour>,
}

/// What a socket is for.
enum Purpose {
    Listener(Key),
    Admin { metrics_only: bool },
}

impl Missing<'_> {
    /// Whether, once it is bound, something comes to it that was meant for the old socket: a datagram, or
    /// whoever looks for a Unix node. A TCP socket takes nothing before it listens.
    fn takes_at_once(&self) -> bool {
        !self.beside.is_empty() && self.endpoint.transport() != Transport::Tcp
    }
}

fn missing<'a>(
    live: &Live,
    config: &'a Config,
    handovers: &[Handover],
    kept_admin: &[AdminSocket],
    leaving: &[(Place, Neighbour)],
) -> Vec<Missing<'a>> {
    let kept = kept_sockets(live, config);
    let beside = |endpoint| {
        let places = if leaving.is_empty() { Vec::new() } else { Place::to_come(endpoint) };
        let overlap = leaving.iter().filter(|(old, _)| places.iter().any(|new| new.overlaps(old)));
        overlap.map(|(_, neighbour)| neighbour.clone()).collect()
    };
    let mut missing = Vec::new();
    for listener in &config.listeners {
        for (key, endpoint) in keys(listener).into_iter().zip(&listener.bind) {
            if !kept.contains(&key) && !handovers.iter().any(|handover| handover.to == key) {
                missing.push(Missing {
                    owner: &listener.name,
                    options: &listener.socket,
                    stall: listener.timeouts.stall,
                    endpoint,
                    purpose: Purpose::Listener(key),
                    beside: beside(endpoint),
                });
            }
        }
    }
    // One endpoint written twice with a port of the kernel's choice is two.
    let mut have: Vec<_> = kept_admin.iter().map(|s| (s.metrics_only, &s.endpoint)).collect();
    for (metrics_only, endpoint) in admin_binds(config) {
        match have.iter().position(|have| *have == (metrics_only, endpoint)) {
            Some(index) if is_chosen(endpoint) => drop(have.swap_remove(index)),
            Some(_) => {}
            None => missing.push(Missing {
                owner: "admin",
                options: &ADMIN_SOCKET,
                stall: ADMIN_STALL,
                endpoint,
                purpose: Purpose::Admin { metrics_only },
                beside: beside(endpoint),
            }),
        }
    }
    missing
}

fn is_chosen(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Tcp(at) if at.port == 0)
}

fn bind(inner: &Inner, live: &mut Live, missing: &Missing<'_>) -> Result<Vec<Bound>, ReloadError> {
    let Missing { options, stall, endpoint, beside, .. } = missing;
    // Both sockets must allow the second one; commit, or giving up, forbids it again.
    live.share(beside);
    let bound = net::bind(endpoint, options, *stall, &inner.inherited, !beside.is_empty());
    bound.map_err(|error| fail(missing, error.endpoint, error.source))
}

fn fail(missing: &Missing<'_>, endpoint: String, source: std::io::Error) -> ReloadError {
    ReloadError::Bind { listener: missing.owner.into(), endpoint, source }
}

fn register_all(missing: &Missing<'_>, bound: Vec<Bound>) -> Result<Vec<NewSocket>, ReloadError> {
    let shared = !missing.beside.is_empty();
    let ready = bound.into_iter().map(|bound| register(missing.endpoint, bound, shared));
    let ready: std::io::Result<_> = ready.collect();
    ready.map_err(|source| fail(missing, missing.endpoint.to_string(), source))
}

fn register(endpoint: &Endpoint, bound: Bound, shared: bool) -> std::io::Result<NewSocket> {
    let view = EndpointView {
        bind: endpoint.to_string(),
        address: bound.address.clone(),
        transport: endpoint.transport(),
        inode: bound.inode,
    };
    let inet = bound.inet;
    Ok(NewSocket { ready: Ready::register(bound)?, view, inet, shared })
}

/// The sockets of the admin API that stay: they keep their endpoints' identity, too.
fn kept_admin(inner: &Inner, config: &Config) -> Vec<AdminSocket> {
    let current = inner.admin.borrow().clone();
    let mut kept: Vec<AdminSocket> = Vec::new();
    for (metrics_only, endpoint) in admin_binds(config) {
        // A name may be several sockets; one endpoint written twice with a port of the kernel's choice is two.
        let taken = |s: &&AdminSocket| kept.iter().any(|have| Arc::ptr_eq(&have.socket, &s.socket));
        let found: Vec<_> = (current.iter())
            .filter(|s| s.endpoint == *endpoint && s.metrics_only == metrics_only && !taken(s))
            .cloned()
            .collect();
        kept.extend(found.into_iter().take(if is_chosen(endpoint) { 1 } else { usize::MAX }));
    }
    kept
}

/// The endpoints of the API, and those where only metrics and health are served.
fn admin_binds(config: &Config) -> impl Iterator<Item = (bool, &Endpoint)> {
    let api = config.admin.bind.iter().map(|endpoint| (false, endpoint));
    api.chain(config.admin.metrics_bind.iter().map(|endpoint| (true, endpoint)))
}

fn admin_socket(endpoint: &Endpoint, metrics_only: bool, bound: Bound) -> AdminSocket {
    AdminSocket {
        metrics_only,
        endpoint: endpoint.clone(),
        url: url(&bound.address, false),
        socket: Arc::new(bound),
    }
}

/// Options of the admin API's sockets. Whoever may open the Unix one needs no token, so only its owner may.
pub(super) const ADMIN_SOCKET: SocketOptions = SocketOptions {
    backlog: 128,
    nodelay: true,
    keepalive: Timeout::after_secs(60),
    receive_buffer: None,
    send_buffer: None,
    unix_mode: UnixMode(0o600),
};

/// As long as the API's own clock lets a client take nothing (`admin::server`).
const ADMIN_STALL: Timeout = Timeout::after_secs(30);
