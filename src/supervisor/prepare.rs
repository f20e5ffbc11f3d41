//! Prepare: everything about a new configuration that can fail. Dropping what it returns undoes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Inner;
use super::live::{Key, Live, keys, may_overlap};
use super::view::{EndpointView, ReloadError};
use crate::config::{Config, Endpoint, Listener, SocketOptions, Timeout, UnixMode};
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
}

/// Builds every handler that is new or changed, and binds every endpoint that is new. Must be called inside
/// the data runtime's context, where the sockets are registered.
pub(super) fn prepare(inner: &Inner, live: &Live, config: Config) -> Result<Prepared, ReloadError> {
    let handlers = build_handlers(inner, live, &config)?;
    let sockets = bind_sockets(inner, live, &config)?;
    let admin = bind_admin(inner, &config)?;
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
                let context = Context::new(&listener.name, &config.state_dir);
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

/// Whether the sockets of a key are there and may be kept for the listener. Those of a listener that has
/// stopped by itself are closed: one that is changed, or has its endpoint now, starts with new ones.
pub(super) fn keeps_sockets(live: &Live, listener: &Listener, key: &Key) -> bool {
    let owner = live.listeners.values().find(|old| old.keys.contains(key));
    owner.is_none_or(|old| !old.door.stopped().is_cancelled() || old.config == *listener)
}

fn bind_sockets(
    inner: &Inner,
    live: &Live,
    config: &Config,
) -> Result<BTreeMap<Key, Vec<NewSocket>>, ReloadError> {
    let wanted: Vec<Key> = config.listeners.iter().flat_map(keys).collect();
    let leaving: Vec<(&Key, &Endpoint)> = (live.sockets.keys())
        .filter(|key| !wanted.contains(key))
        .filter_map(|key| if let Key::Fixed(endpoint) = key { Some((key, endpoint)) } else { None })
        .collect();
    let mut sockets = BTreeMap::new();
    for listener in &config.listeners {
        for (key, endpoint) in keys(listener).into_iter().zip(&listener.bind) {
            if live.sockets.contains_key(&key) && keeps_sockets(live, listener, &key) {
                continue;
            }
            let old: Vec<_> = (leaving.iter())
                .filter(|(_, old)| may_overlap(old, endpoint))
                .filter_map(|(key, _)| live.sockets.get(key))
                .flatten()
                .collect();
            // Both must allow it while the second one binds; afterwards nobody else may join.
            old.iter().for_each(|socket| socket.running.share_port(true));
            let bound = net::bind(endpoint, &listener.socket, &inner.inherited, !old.is_empty());
            old.iter().for_each(|socket| socket.running.share_port(false));
            let fail = |endpoint: String, source| ReloadError::Bind {
                listener: listener.name.clone(),
                endpoint,
                source,
            };
            let bound = bound.map_err(|error| fail(error.endpoint, error.source))?;
            let ready = bound.into_iter().map(|b| register(endpoint, b, !old.is_empty()));
            let ready: Result<Vec<_>, _> = ready.collect();
            sockets.insert(key, ready.map_err(|source| fail(endpoint.to_string(), source))?);
        }
    }
    Ok(sockets)
}

fn register(endpoint: &Endpoint, bound: Bound, shared: bool) -> std::io::Result<NewSocket> {
    if shared {
        net::set_reuse_port(&bound.socket, false);
    }
    let view = EndpointView {
        bind: endpoint.to_string(),
        address: bound.address.clone(),
        transport: endpoint.transport(),
        inode: bound.inode,
    };
    let inet = bound.inet;
    Ok(NewSocket { ready: Ready::register(bound)?, view, inet })
}

/// The sockets of the admin API keep their endpoints' identity, too.
fn bind_admin(inner: &Inner, config: &Config) -> Result<Vec<AdminSocket>, ReloadError> {
    let current = inner.admin.borrow().clone();
    let mut sockets: Vec<AdminSocket> = Vec::new();
    for endpoint in &config.admin.bind {
        if let Some(kept) = current.iter().find(|s| s.endpoint == *endpoint) {
            sockets.push(kept.clone());
            continue;
        }
        let bound = net::bind(endpoint, &ADMIN_SOCKET, &inner.inherited, false).map_err(|error| {
            ReloadError::Bind { listener: "admin".into(), endpoint: error.endpoint, source: error.source }
        })?;
        sockets.extend(bound.into_iter().map(|bound| AdminSocket {
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
