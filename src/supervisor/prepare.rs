//! Prepare: everything about a new configuration that can fail. Dropping what it returns undoes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Inner;
use super::live::{Key, Live, LiveListener, keys, may_overlap};
use super::view::{EndpointView, ReloadError};
use crate::accounts::Access;
use crate::config::{Config, Endpoint, Listener, SocketOptions, Timeout, Transport, UnixMode};
use crate::handler::{Built, Context};
use crate::listener::Ready;
use crate::net::{self, AdminSocket, Bound};

/// A new configuration with all that it needs.
pub(super) struct Prepared {
    pub(super) config: Config,
    /// The handler of each listener.
    pub(super) handlers: BTreeMap<String, Built>,
    /// The sockets that are new, ready to start.
    pub(super) sockets: BTreeMap<Key, Vec<NewSocket>>,
    /// The sockets of the admin API, old and new.
    pub(super) admin: Vec<AdminSocket>,
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
    let missing = missing(live, &config);
    // Those beside an old socket come last: once bound, a datagram socket takes some of the other's.
    let (beside, alone): (Vec<_>, Vec<_>) = missing.iter().partition(|missing| !missing.beside.is_empty());
    let mut sockets = BTreeMap::new();
    for missing in alone {
        sockets.insert(missing.key.clone(), bind_one(inner, live, missing)?);
    }
    let admin = bind_admin(inner, &config)?;
    for missing in beside {
        let takes_at_once = missing.endpoint.transport() == Transport::Udp;
        if !(dry_run && takes_at_once) {
            sockets.insert(missing.key.clone(), bind_one(inner, live, missing)?);
        }
    }
    drop(missing);
    Ok(Prepared { config, handlers, sockets, admin })
}

fn build_handlers(
    inner: &Inner,
    live: &Live,
    config: &Config,
) -> Result<BTreeMap<String, Built>, ReloadError> {
    let mut handlers = BTreeMap::new();
    for listener in &config.listeners {
        let (kind, options) = (&listener.handler.kind, &listener.handler.options);
        let same = (live.listeners.get(&listener.name))
            .filter(|old| (&old.config.handler.kind, &old.config.handler.options) == (kind, options));
        let built = match same {
            Some(old) => old.built.clone(),
            None => {
                let accounts = Access::new(inner.accounts.clone(), config.accounts.clone());
                let context = Context::new(&listener.name, &config.state_dir)
                    .with_accounts(accounts)
                    .with_upstreams(inner.upstreams.clone());
                inner.registry.build(kind, options, &context).map_err(|error| ReloadError::Build {
                    listener: listener.name.clone(),
                    handler: listener.handler.name.clone(),
                    reason: error.to_string(),
                })?
            }
        };
        handlers.insert(listener.name.clone(), built);
    }
    Ok(handlers)
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

/// An endpoint that has no socket yet.
struct Missing<'a> {
    listener: &'a Listener,
    endpoint: &'a Endpoint,
    key: Key,
    /// The sockets that leave and whose address overlaps.
    beside: Vec<Key>,
}

fn missing<'a>(live: &Live, config: &'a Config) -> Vec<Missing<'a>> {
    let kept = kept_sockets(live, config);
    let leaving: Vec<(&Key, &Endpoint)> = (live.sockets.keys())
        .filter(|key| !kept.contains(key))
        .filter_map(|key| if let Key::Fixed(endpoint) = key { Some((key, endpoint)) } else { None })
        .collect();
    let mut missing = Vec::new();
    for listener in &config.listeners {
        for (key, endpoint) in keys(listener).into_iter().zip(&listener.bind) {
            if !kept.contains(&key) {
                let overlapping = leaving.iter().filter(|(_, old)| may_overlap(old, endpoint));
                let beside = overlapping.map(|(key, _)| (*key).clone()).collect();
                missing.push(Missing { listener, endpoint, key, beside });
            }
        }
    }
    missing
}

fn bind_one(inner: &Inner, live: &mut Live, missing: &Missing<'_>) -> Result<Vec<NewSocket>, ReloadError> {
    let Missing { listener, endpoint, beside, .. } = missing;
    let share = !beside.is_empty();
    // Both sockets must allow the second one; commit, or giving up, forbids it again.
    live.share(beside);
    let fail =
        |endpoint: String, source| ReloadError::Bind { listener: listener.name.clone(), endpoint, source };
    let bound = net::bind(endpoint, &listener.socket, &inner.inherited, share);
    let bound = bound.map_err(|error| fail(error.endpoint, error.source))?;
    let ready: Result<Vec<_>, _> = bound.into_iter().map(|b| register(endpoint, b, share)).collect();
    ready.map_err(|source| fail(endpoint.to_string(), source))
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

/// The sockets of the admin API keep their endpoints' identity, too.
fn bind_admin(inner: &Inner, config: &Config) -> Result<Vec<AdminSocket>, ReloadError> {
    let current = inner.admin.borrow().clone();
    let mut sockets: Vec<AdminSocket> = Vec::new();
    let api = config.admin.bind.iter().map(|endpoint| (false, endpoint));
    let metrics = config.admin.metrics_bind.iter().map(|endpoint| (true, endpoint));
    for (metrics_only, endpoint) in api.chain(metrics) {
        // A name may be several sockets; one endpoint written twice with a port of the kernel's choice is two.
        let taken = |s: &&AdminSocket| sockets.iter().any(|have| Arc::ptr_eq(&have.socket, &s.socket));
        let kept: Vec<_> = (current.iter())
            .filter(|s| s.endpoint == *endpoint && s.metrics_only == metrics_only && !taken(s))
            .cloned()
            .collect();
        if !kept.is_empty() {
            let chosen = matches!(endpoint, Endpoint::Tcp(at) if at.port == 0);
            sockets.extend(kept.into_iter().take(if chosen { 1 } else { usize::MAX }));
            continue;
        }
        let bound = net::bind(endpoint, &ADMIN_SOCKET, &inner.inherited, false).map_err(|error| {
            ReloadError::Bind { listener: "admin".into(), endpoint: error.endpoint, source: error.source }
        })?;
        sockets.extend(bound.into_iter().map(|bound| AdminSocket {
            metrics_only,
            endpoint: endpoint.clone(),
            url: bound.address.replacen("tcp://", "http://", 1),
            socket: Arc::new(bound),
        }));
    }
    Ok(sockets)
}

/// Options of the admin API's sockets. Whoever may open the Unix one needs no token, so only its owner may.
const ADMIN_SOCKET: SocketOptions = SocketOptions {
    backlog: 128,
    nodelay: true,
    keepalive: Timeout::after_secs(60),
    receive_buffer: None,
    send_buffer: None,
    unix_mode: UnixMode(0o600),
};
