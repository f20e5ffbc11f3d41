//! Commit: makes a prepared configuration true. It cannot fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Inner;
use super::live::{Key, Leaving, Live, LiveListener, LiveSocket, keys, site_address};
use super::prepare::{ADMIN_SOCKET, NewSocket, Prepared, kept_sockets};

use crate::config::{Config, Listener, Timeout};
use crate::handler::Built;
use crate::listener::{Binding, Door, Pause, Rules};
use crate::net::AdminSocket;
use crate::net::tls::Acceptor;
use crate::stats::{CloseReason, Meter, Site};

/// Starts what is new, rebinds what stays and has changed, lets go of what left. Must be called inside the
/// data runtime's context, where the loops are started. Returns the sockets that left and are about to be closed.
pub(super) fn commit(
    inner: &Inner,
    live: &mut Live,
    prepared: Prepared,
    generation: u64,
    room: usize,
) -> Vec<Leaving> {
    let Prepared { config, mut handlers, handovers, sockets, admin, admin_tls } = prepared;
    if let Some(accounts) = inner.accounts.current() {
        accounts.configure(&config.accounts);
    }
    inner.process.set_limit(config.limits.max_connections.min(room));
    // Before the handlers that name them get their first connection.
    inner.upstreams.apply(&config.upstreams);
    let old = std::mem::take(&mut live.listeners);
    let mut new = BTreeMap::new();
    let mut touched = Vec::new();
    for listener in &config.listeners {
        let Some((built, tls)) = handlers.remove(&listener.name) else { continue };
        let before = old.get(&listener.name);
        let kept = before.filter(|before| before.config == *listener);
        let entry = match kept {
            Some(same) => LiveListener {
                config: listener.clone(),
                built,
                tls,
                door: same.door.clone(),
                rules: same.rules.clone(),
                keys: same.keys.clone(),
                generation: same.generation,
            },
            None => {
                touched.push(listener.name.clone());
                changed(inner, before, listener, (built, tls), generation)
            }
        };
        new.insert(listener.name.clone(), entry);
    }
    live.listeners = old;
    live.hand_over(handovers);
    let leaving = take_leaving(live, &config);
    live.listeners = new;
    start(inner, live, sockets, &touched);
    // After the new ones listen: their loops take what is queued, and end.
    let leaving = leaving.into_values().flatten();
    let (mut closing, mut left) = (Vec::new(), BTreeMap::new());
    for LiveSocket { running, id, drain, .. } in leaving {
        closing.push(Leaving::Listener(running.watch()));
        left.insert(id, drain);
    }
    let_go(inner, left, config.reload.drain);
    inner.stats.retain(|name, transport| {
        config.listener(name).is_some_and(|listener| listener.transports().contains(transport))
    });
    let (inet, unix) = live.own_datagram_addresses();
    inner.own.set(inet, unix);
    inner.admin_tls.send_replace(admin_tls.as_ref().map(|(_, acceptor)| acceptor.clone()));
    live.admin_tls = admin_tls;
    closing.extend(replace_admin(inner, admin));
    closing
}

/// Hands the admin API its sockets, and returns those that left.
fn replace_admin(inner: &Inner, mut admin: Vec<AdminSocket>) -> Vec<Leaving> {
    // Nobody else has the new ones yet.
    for new in admin.iter_mut().filter_map(|new| Arc::get_mut(&mut new.socket)) {
        if let Err(error) = new.settle(&ADMIN_SOCKET) {
            tracing::error!(target: "polygate::supervisor", %error, address = new.address, "cannot listen");
        }
    }
    let has =
        |all: &[AdminSocket], one: &AdminSocket| all.iter().any(|s| Arc::ptr_eq(&s.socket, &one.socket));
    let mut left = Vec::new();
    inner.admin.send_if_modified(|current| {
        let gone = current.iter().filter(|old| !has(&admin, old));
        left.extend(gone.map(|old| Leaving::Admin(Arc::downgrade(&old.socket))));
        let urls = |all: &[AdminSocket]| all.iter().map(|one| one.url.clone()).collect::<Vec<_>>();
        let same = urls(current) == urls(&admin) && admin.iter().all(|new| has(current, new));
        if !same {
            *current = admin;
        }
        !same
    });
    left
}

/// Asks the conns of sockets that left to finish, and ends those that have not after `reload.drain`.
fn let_go(inner: &Inner, left: BTreeMap<u64, CancellationToken>, limit: Timeout) {
    left.values().for_each(CancellationToken::cancel);
    let stats = inner.stats.clone();
    let of_left = move |act: &dyn Fn(&Meter)| {
        stats.each_live(|meter| {
            if left.contains_key(&meter.site().socket) {
                act(meter);
            }
        });
    };
    of_left(&Meter::notice_drain);
    if let Some(limit) = limit.get() {
        // In the background: the reload has been answered long before.
        inner.data.spawn(async move {
            tokio::time::sleep(limit).await;
            of_left(&|meter| {
                meter.kill(CloseReason::Drain);
            });
        });
    }
}

/// A listener that is new or has changed. What it counts across its conns goes on, unless it starts anew.
fn changed(
    inner: &Inner,
    before: Option<&LiveListener>,
    listener: &Listener,
    (built, tls): (Built, Option<Acceptor>),
    generation: u64,
) -> LiveListener {
    let limits = &listener.limits;
    let (rate, total) = (limits.accept_rate, limits.accept_total);
    let door = match before.map(|before| &before.door) {
        Some(door) if !door.stopped().is_cancelled() && door.total() == total => {
            door.set_rate(rate);
            // Who changes a listener wants it to run.
            door.set_pause(Pause::No);
            door.clone()
        }
        Some(door) => Arc::new(door.renewed(rate, total)),
        None => Arc::new(Door::new(limits.max_connections, rate, total)),
    };
    door.gate.set_limit(limits.max_connections);
    let rules = Arc::new(Rules {
        built: built.clone(),
        allow: listener.allow.clone(),
        deny: listener.deny.clone(),
        overload: limits.overload,
        per_peer: limits.max_connections_per_ip,
        spares_loopback: limits.per_ip_spares_loopback,
        door: door.clone(),
        process: inner.process.clone(),
        hold: inner.hold.clone(),
        datagrams: listener.datagrams.clone(),
        own: inner.own.clone(),
        tls: tls.clone().filter(|_| !built.starts_tls),
        proxy: listener.proxy_protocol.clone(),
    });
    LiveListener { config: listener.clone(), built, tls, door, rules, keys: keys(listener), generation }
}

/// Takes out the sockets that the new configuration does not keep. `live.listeners` are still the old ones.
fn take_leaving(live: &mut Live, config: &Config) -> BTreeMap<Key, Vec<LiveSocket>> {
    let kept = kept_sockets(live, config);
    let (stay, leave) =
        std::mem::take(&mut live.sockets).into_iter().partition(|(key, _)| kept.contains(key));
    live.sockets = stay;
    leave
}

fn start(inner: &Inner, live: &mut Live, mut sockets: BTreeMap<Key, Vec<NewSocket>>, touched: &[String]) {
    let Live { listeners, sockets: running, drain, last_socket, .. } = live;
    for listener in listeners.values() {
        let is_touched = touched.contains(&listener.config.name);
        for key in &listener.keys {
            if let Some(kept) = running.get(key).filter(|_| is_touched) {
                for socket in kept {
                    let site = site(inner, listener, (socket.id, &socket.drain), &socket.view, socket.inet);
                    socket.running.rebind(Binding { rules: listener.rules.clone(), site });
                    if let Err(error) =
                        socket.running.tune(&listener.config.socket, listener.config.timeouts.stall)
                    {
                        let name = &listener.config.name;
                        tracing::warn!(target: "polygate::supervisor", listener = %name, %error, "cannot set socket options");
                    }
                }
            }
            let Some(new) = sockets.remove(key) else { continue };
            let started = new.into_iter().map(|new| {
                *last_socket += 1;
                let (id, drain) = (*last_socket, drain.child_token());
                let site = site(inner, listener, (id, &drain), &new.view, new.inet);
                if new.shared {
                    new.ready.stand_alone(&listener.config.socket);
                }
                let running = new.ready.start(Binding { rules: listener.rules.clone(), site });
                LiveSocket { running, id, drain, view: new.view, inet: new.inet }
            });
            running.insert(key.clone(), started.collect());
        }
    }
}

fn site(
    inner: &Inner,
    listener: &LiveListener,
    (socket, drain): (u64, &CancellationToken),
    view: &super::EndpointView,
    inet: Option<std::net::SocketAddr>,
) -> Arc<Site> {
    let ledger = inner.stats.open(&listener.config.name, view.transport);
    for counter in listener.built.counters.iter() {
        // Series that are known in advance are exported from the start.
        ledger.counters(*counter);
    }
    if let Some(service) = listener.built.stream.as_ref().filter(|_| view.transport.is_stream()) {
        service.starts(&ledger);
    }
    let (address, any_address) = site_address(view, inet);
    Arc::new(Site {
        ledger,
        handler: listener.built.kind,
        generation: listener.generation,
        timeouts: listener.config.timeouts,
        address,
        any_address,
        socket,
        drain: drain.clone(),
        stats: inner.stats.clone(),
    })
}
