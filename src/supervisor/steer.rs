//! Steering by hand: listeners paused, resumed and drained, and the whole gateway drained, resumed and shut down.
//!
//! The gateway's life is a state that everybody may watch: running, draining, drained, stopping. Whoever changes it
//! says so on the bus of events.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::live::Live;
use super::{POLL, State, Supervisor};
use crate::listener::{Binding, Pause};
use crate::stats::{CloseReason, EventKind, Meter, Site};

/// Where the gateway is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// It accepts.
    Running,
    /// It has been asked to finish: it says so on `/readyz`, then accepts no more, and lets connections end.
    Draining,
    /// It accepts nothing and no connection is left.
    Drained,
    /// It ends.
    Stopping,
}

/// How the gateway is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// As on SIGTERM.
    Graceful,
    /// Without waiting for anybody.
    Now,
}

/// The state of the gateway's life, and what was asked of it.
#[derive(Debug)]
pub(super) struct Steering {
    lifecycle: watch::Sender<Lifecycle>,
    shutdown: watch::Sender<Option<Shutdown>>,
    /// The drain that is under way, and the listeners that it has paused.
    drain: Mutex<Option<(AbortHandle, Vec<String>)>>,
}

impl Default for Steering {
    fn default() -> Self {
        Steering {
            lifecycle: watch::Sender::new(Lifecycle::Running),
            shutdown: watch::Sender::new(None),
            drain: Mutex::default(),
        }
    }
}

impl Supervisor {
    /// Where the gateway is in its life.
    pub fn lifecycle(&self) -> Lifecycle {
        *self.inner.steering.lifecycle.borrow()
    }

    /// Notes a step of the gateway's life, and says it. What ends does not begin again.
    pub(crate) fn enter(&self, step: Lifecycle) {
        let changed = self.inner.steering.lifecycle.send_if_modified(|now| {
            let changes = *now != step && *now != Lifecycle::Stopping;
            if changes {
                *now = step;
            }
            changes
        });
        if changed {
            let active = self.active();
            tracing::info!(target: "polygate::lifecycle", state = ?step, active, "the gateway is {step:?}");
            self.inner
                .stats
                .events()
                .publish(EventKind::Lifecycle, || json!({ "state": step, "connections_active": active }));
        }
    }

    /// Stops accepting on a listener and keeps its ports; false: there is none of that name. What comes waits with the
    /// kernel, as far as its queues reach.
    pub fn pause(&self, name: &str) -> bool {
        self.set_pause(name, Pause::Paused)
    }

    /// Accepts again, after a pause or a drain; false: there is no listener of that name.
    pub fn resume(&self, name: &str) -> bool {
        self.set_pause(name, Pause::No)
    }

    fn set_pause(&self, name: &str, pause: Pause) -> bool {
        let door = self.inner.published().iter().find(|l| l.config.name == name).map(|l| l.door.clone());
        let Some(door) = door else { return false };
        door.set_pause(pause);
        self.tell_listener(name);
        true
    }

    /// Says on the bus what a listener is now.
    fn tell_listener(&self, name: &str) {
        let state = self.inner.published().iter().find(|l| l.config.name == name).map(|l| l.view().state);
        if let Some(state) = state {
            tracing::info!(target: "polygate::lifecycle", listener = name, ?state, "listener");
            self.inner
                .stats
                .events()
                .publish(EventKind::Listener, || json!({ "listener": name, "state": state }));
        }
    }

    /// Pauses a listener and asks its connections to finish; those that have not after `at_most` are killed. False:
    /// there is none of that name.
    pub async fn drain_listener(&self, name: &str, at_most: Option<Duration>) -> bool {
        if !self.set_pause(name, Pause::Draining) {
            return false;
        }
        let left = {
            let mut live = self.inner.live.lock().await;
            renew_sites(&mut live, name)
        };
        left.iter().for_each(CancellationToken::cancel);
        self.each_of_listener(name, Meter::notice_drain);
        let (supervisor, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let empty = async {
                while supervisor.of_listener(&name) > 0 {
                    tokio::time::sleep(POLL).await;
                }
            };
            let in_time = match at_most {
                Some(limit) => tokio::time::timeout(limit, empty).await.is_ok(),
                None => {
                    empty.await;
                    true
                }
            };
            // Whoever resumed it meanwhile wants its connections.
            let drains = |door: &crate::listener::Door| door.pause() == Pause::Draining;
            let door =
                supervisor.inner.published().iter().find(|l| l.config.name == name).map(|l| l.door.clone());
            let Some(door) = door.filter(|door| drains(door)) else { return };
            if !in_time {
                supervisor.each_of_listener(&name, |meter| {
                    meter.kill(CloseReason::Drain);
                });
            }
            door.set_pause(Pause::Paused);
            supervisor.tell_listener(&name);
        });
        true
    }

    fn each_of_listener(&self, name: &str, mut act: impl FnMut(&Meter)) {
        self.inner.stats.each_live(|meter| {
            if **meter.site().ledger.listener() == *name {
                act(meter);
            }
        });
    }

    fn of_listener(&self, name: &str) -> usize {
        let mut count = 0;
        self.each_of_listener(name, |_| count += 1);
        count
    }

    /// Drains the gateway without ending it: `/readyz` says 503, after `shutdown.delay` every listener is paused with
    /// its ports kept, and connections are asked to finish. One that drains already goes on.
    pub fn drain(&self) {
        if self.lifecycle() != Lifecycle::Running {
            return;
        }
        self.inner.stats.control().set_draining(true);
        self.enter(Lifecycle::Draining);
        let delay = self.running().config.shutdown.delay;
        let supervisor = self.clone();
        let task = tokio::spawn(async move {
            if let Some(delay) = delay.get() {
                tokio::time::sleep(delay).await;
            }
            let running: Vec<String> = (supervisor.listeners().iter())
                .filter(|listener| listener.state == State::Running)
                .map(|listener| listener.config.name.clone())
                .collect();
            for name in &running {
                if let Some((_, paused)) = &mut *supervisor.inner.steering.locked() {
                    paused.push(name.clone());
                }
                supervisor.drain_listener(name, None).await;
            }
            while supervisor.active() > 0 {
                tokio::time::sleep(POLL).await;
            }
            supervisor.enter(Lifecycle::Drained);
        });
        *self.inner.steering.locked() = Some((task.abort_handle(), Vec::new()));
    }

    /// Takes a drain back: what it has paused accepts again. False: the gateway ends, and that is not taken back.
    pub fn undrain(&self) -> bool {
        if self.lifecycle() == Lifecycle::Stopping {
            return false;
        }
        let drain = self.inner.steering.locked().take();
        if let Some((task, paused)) = drain {
            task.abort();
            for name in paused {
                self.resume(&name);
            }
            self.inner.stats.control().set_draining(false);
            self.enter(Lifecycle::Running);
        }
        true
    }

    /// Asks whoever runs the gateway to end it.
    pub fn ask_for_shutdown(&self, how: Shutdown) {
        self.inner.steering.shutdown.send_replace(Some(how));
    }

    /// Resolves when the gateway is asked to end.
    pub async fn shutdown_asked(&self) -> Shutdown {
        let mut asked = self.inner.steering.shutdown.subscribe();
        loop {
            if let Some(how) = *asked.borrow_and_update() {
                return how;
            }
            if asked.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Steering {
    fn locked(&self) -> std::sync::MutexGuard<'_, Option<(AbortHandle, Vec<String>)>> {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the sockets of a listener new sites, so that who comes later is not asked to finish, and returns what those
/// who are there are asked by.
fn renew_sites(live: &mut Live, name: &str) -> Vec<CancellationToken> {
    let Some(listener) = live.listeners.get(name) else { return Vec::new() };
    let mut old = Vec::new();
    let keys = listener.keys.clone();
    let sockets = live.sockets.iter_mut().filter(|(key, _)| keys.contains(key));
    for socket in sockets.flat_map(|(_, sockets)| sockets) {
        let drain = live.drain.child_token();
        let before = socket.running.binding();
        let site = Site { drain: drain.clone(), ..Site::like(&before.site) };
        socket.running.rebind(Binding { rules: before.rules.clone(), site: site.into() });
        old.push(std::mem::replace(&mut socket.drain, drain));
    }
    old
}
