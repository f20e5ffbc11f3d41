//! Steering by hand: single listeners paused, resumed and drained.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::live::Live;
use super::{POLL, State, Supervisor};
use crate::config::Plan;
use crate::listener::{Binding, Door, Pause};
use crate::stats::{CloseReason, EventKind, Meter, Site};

impl Supervisor {
    /// Stops accepting on a listener and keeps its ports; false: there is none of that name. What comes waits with the
    /// kernel, as far as its queues reach.
    pub fn pause(&self, name: &str) -> bool {
        self.set_pause(name, Pause::Paused).is_some()
    }

    /// Accepts again, after a pause or a drain; false: there is no listener of that name. While the gateway drains, it
    /// accepts once that is taken back.
    pub fn resume(&self, name: &str) -> bool {
        self.set_pause(name, Pause::No).is_some()
    }

    /// Returns the door and the number of the change.
    fn set_pause(&self, name: &str, pause: Pause) -> Option<(Arc<Door>, u64)> {
        let door = self.inner.published().iter().find(|l| l.config.name == name).map(|l| l.door.clone())?;
        let number = door.set_pause(pause);
        self.tell_listener(name);
        Some((door, number))
    }

    /// What each listener is now.
    fn states(&self) -> HashMap<String, State> {
        let drained = self.is_drained();
        let published = self.inner.published();
        published.iter().map(|listener| (listener.config.name.clone(), listener.state(drained))).collect()
    }

    /// Says on the bus what a listener is now.
    fn tell_listener(&self, name: &str) {
        let Some(state) = self.states().remove(name) else { return };
        tracing::info!(target: "polygate::lifecycle", listener = name, ?state, "listener");
        self.inner
            .stats
            .events()
            .publish(EventKind::Listener, || json!({ "listener": name, "state": state }));
    }

    /// Says on the bus what a reload has done to listeners.
    pub(super) fn tell_plan(&self, plan: &Plan) {
        let states = self.states();
        let publish = |name: &str, change: &str, what: &[String]| {
            let state = states.get(name);
            self.inner.stats.events().publish(EventKind::Listener, || {
                let mut event = json!({ "listener": name, "change": change });
                if let Some(state) = state {
                    event["state"] = json!(state);
                }
                if !what.is_empty() {
                    event["what"] = what.into();
                }
                event
            });
        };
        plan.added.iter().for_each(|name| publish(name, "added", &[]));
        plan.changed.iter().for_each(|changed| publish(&changed.name, "changed", &changed.what));
        plan.removed.iter().for_each(|name| publish(name, "removed", &[]));
    }

    /// Pauses a listener and asks its connections to finish; those that have not after `at_most` are killed. False:
    /// there is none of that name. Whatever is asked of the listener next (a resume, another drain, a reload that
    /// changes it) ends this one.
    pub fn drain_listener(&self, name: &str, at_most: Option<Duration>) -> bool {
        let Some((door, number)) = self.set_pause(name, Pause::Draining) else { return false };
        let (supervisor, name) = (self.clone(), name.to_owned());
        self.inner.course.control().spawn(async move {
            {
                // Not before: a reload that is under way may be about to give it other sites.
                let mut live = supervisor.inner.live.lock().await;
                if !door.is_at(number) {
                    return;
                }
                live.renew_sites(|listener| listener == name).iter().for_each(CancellationToken::cancel);
            }
            supervisor.each_asked(&name, Meter::notice_drain);
            let empty = async {
                while door.is_at(number) && supervisor.count_asked(&name) > 0 {
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
            if !door.is_at(number) {
                return;
            }
            if !in_time {
                supervisor.each_asked(&name, |meter| {
                    meter.kill(CloseReason::Drain);
                });
            }
            supervisor.pause(&name);
        });
        true
    }

    /// The conns of a listener that have been asked to finish.
    fn each_asked(&self, name: &str, mut act: impl FnMut(&Meter)) {
        self.inner.stats.each_live(|meter| {
            let site = meter.site();
            if site.drain.is_cancelled() && **site.ledger.listener() == *name {
                act(meter);
            }
        });
    }

    fn count_asked(&self, name: &str) -> usize {
        let mut count = 0;
        self.each_asked(name, |_| count += 1);
        count
    }
}

impl Live {
    /// Gives the sockets of those listeners new sites, so that who comes later is not asked to finish, and returns
    /// what those who are there are asked by.
    pub(super) fn renew_sites(&mut self, of: impl Fn(&str) -> bool) -> Vec<CancellationToken> {
        let listeners = self.listeners.values().filter(|listener| of(&listener.config.name));
        let keys: Vec<_> = listeners.flat_map(|listener| listener.keys.clone()).collect();
        let mut old = Vec::new();
        let sockets = self.sockets.iter_mut().filter(|(key, _)| keys.contains(key));
        for socket in sockets.flat_map(|(_, sockets)| sockets) {
            let drain = self.drain.child_token();
            let before = socket.running.binding();
            let site = Site { drain: drain.clone(), ..Site::like(&before.site) };
            socket.running.rebind(Binding { rules: before.rules.clone(), site: site.into() });
            old.push(std::mem::replace(&mut socket.drain, drain));
        }
        old
    }
}
