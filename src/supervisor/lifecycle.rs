//! The gateway's life, one state for all that may end it: running, draining, drained, stopping.
//!
//! A drain stops accepting and asks connections to finish; it may be taken back. A shutdown does the same, closes the
//! ports, ends what is left when the grace is over, and is not taken back; it may only be hurried. Signals, the admin
//! API and a program around the gateway ask here, and whoever changes the state says so on the bus of events.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{POLL, Supervisor};
use crate::stats::{CloseReason, EventKind};

/// How long killed conns may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(2);

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

impl Lifecycle {
    /// As the log and the API write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Lifecycle::Running => "running",
            Lifecycle::Draining => "draining",
            Lifecycle::Drained => "drained",
            Lifecycle::Stopping => "stopping",
        }
    }
}

/// How the gateway is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shutdown {
    /// As on SIGTERM: `/readyz` says 503 for `shutdown.delay`, connections may finish for `shutdown.grace`.
    Graceful,
    /// Without waiting for anybody.
    Now,
}

/// The gateway's life as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// The step.
    pub state: Lifecycle,
    /// When it began.
    pub since: SystemTime,
    /// How it is ending, if it is.
    pub ending: Option<Shutdown>,
}

/// What became of the conns at a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Finished by themselves.
    pub finished: u64,
    /// Killed: when the grace ran out, or nobody was waited for.
    pub killed: u64,
}

/// The state, and what is under way.
#[derive(Debug)]
pub(super) struct Course {
    life: watch::Sender<Life>,
    /// Steps are taken one at a time, so that none happens after what it belongs to has been taken back.
    drain: Mutex<Option<Drain>>,
    drained: watch::Sender<Option<Drained>>,
    /// Where it goes on, whoever asked.
    control: Handle,
}

/// A drain that has not been taken back.
#[derive(Debug)]
struct Drain {
    began: Instant,
    /// Cancelled when it is taken back, or a shutdown goes on from there.
    over: CancellationToken,
}

impl Course {
    pub(super) fn new(control: Handle) -> Self {
        let life = Life { state: Lifecycle::Running, since: SystemTime::now(), ending: None };
        Course {
            life: watch::Sender::new(life),
            drain: Mutex::default(),
            drained: watch::Sender::new(None),
            control,
        }
    }

    pub(super) fn control(&self) -> &Handle {
        &self.control
    }

    fn locked(&self) -> MutexGuard<'_, Option<Drain>> {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supervisor {
    /// The gateway's life as it is now.
    pub fn life(&self) -> Life {
        *self.inner.course.life.borrow()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.life().state == Lifecycle::Drained
    }

    /// Whether it takes new connections, as far as it is the gateway's to say.
    pub fn is_accepting(&self) -> bool {
        !self.inner.hold.is_set() && !self.inner.hold.is_closed()
    }

    /// Notes a step, and says it. What ends does not begin again.
    fn enter(&self, state: Lifecycle) {
        let changed = self.inner.course.life.send_if_modified(|life| {
            let changes = life.state != state && life.state != Lifecycle::Stopping;
            if changes {
                (life.state, life.since) = (state, SystemTime::now());
            }
            changes
        });
        if changed {
            self.inner.stats.control().set_draining(state != Lifecycle::Running);
            self.tell_life();
        }
    }

    /// Says on the bus where the gateway is in its life.
    pub(super) fn tell_life(&self) {
        let (state, active) = (self.life().state, self.active());
        tracing::info!(target: "polygate::lifecycle", state = state.as_str(), active, "the gateway is {}", state.as_str());
        let event = || json!({ "state": state, "connections_active": active });
        self.inner.stats.events().publish(EventKind::Lifecycle, event);
    }

    /// Drains the gateway without ending it: `/readyz` says 503, after `shutdown.delay` no listener accepts, with all
    /// ports kept, and connections are asked to finish. One that drains or ends already goes on.
    pub fn drain(&self) {
        let over = {
            let mut drain = self.inner.course.locked();
            if drain.is_some() || self.life().ending.is_some() {
                return;
            }
            let over = CancellationToken::new();
            *drain = Some(Drain { began: Instant::now(), over: over.clone() });
            self.enter(Lifecycle::Draining);
            over
        };
        let supervisor = self.clone();
        self.inner.course.control().spawn(async move {
            let steps = supervisor.drain_by_steps(&over);
            over.run_until_cancelled(steps).await;
        });
    }

    async fn drain_by_steps(&self, over: &CancellationToken) {
        // Taken back meanwhile, no further step is made.
        let step = |act: &mut dyn FnMut()| {
            let _order = self.inner.course.locked();
            if !over.is_cancelled() {
                act();
            }
        };
        if let Some(delay) = self.running().config.shutdown.delay.get() {
            tokio::time::sleep(delay).await;
        }
        step(&mut || self.inner.hold.set(true));
        {
            let mut live = self.inner.live.lock().await;
            step(&mut || {
                live.renew_sites(|_| true).iter().for_each(CancellationToken::cancel);
                self.inner.stats.each_live(|meter| meter.notice_drain());
            });
        }
        while self.active() > 0 {
            tokio::time::sleep(POLL).await;
        }
        step(&mut || self.enter(Lifecycle::Drained));
    }

    /// Takes a drain back: the listeners accept again, but those that an operator has paused. False: the gateway ends,
    /// and that is not taken back.
    pub fn undrain(&self) -> bool {
        let mut drain = self.inner.course.locked();
        if self.life().ending.is_some() {
            return false;
        }
        if let Some(drain) = drain.take() {
            drain.over.cancel();
            self.inner.hold.set(false);
            self.enter(Lifecycle::Running);
        }
        true
    }

    /// Ends the gateway, or hurries an end that is under way; [`Supervisor::ended`] waits for it. What was asked for
    /// before is not made slower.
    pub fn shut_down(&self, how: Shutdown) {
        let drain = {
            let drain = self.inner.course.locked();
            let mut is_first = false;
            self.inner.course.life.send_if_modified(|life| {
                is_first = life.ending.is_none();
                let changes = life.ending < Some(how);
                if changes {
                    life.ending = Some(how);
                }
                changes
            });
            if !is_first {
                return;
            }
            if self.life().state == Lifecycle::Running {
                self.enter(Lifecycle::Draining);
            }
            // A drain goes on from where it is.
            drain.as_ref().map(|drain| {
                drain.over.cancel();
                drain.began
            })
        };
        let supervisor = self.clone();
        self.inner.course.control().spawn(async move {
            supervisor.end(drain.unwrap_or_else(Instant::now)).await;
        });
    }

    /// The end, step by step. `began`: since when `/readyz` has said that it comes.
    async fn end(&self, began: Instant) {
        let settings = self.running().config.shutdown.clone();
        if let Some(delay) = settings.delay.get() {
            self.unless_hurried(tokio::time::sleep(delay.saturating_sub(began.elapsed()))).await;
        }
        let open = self.active() as u64;
        self.close().await;
        self.unless_hurried(self.idle(settings.grace.get())).await;
        let killed = self.kill_all(CloseReason::Drain);
        self.idle(Some(KILL_WAIT)).await;
        self.enter(Lifecycle::Drained);
        self.enter(Lifecycle::Stopping);
        let drained = Drained { finished: open.saturating_sub(killed), killed };
        self.inner.course.drained.send_replace(Some(drained));
    }

    async fn unless_hurried(&self, wait: impl Future<Output = ()>) {
        let mut life = self.inner.course.life.subscribe();
        tokio::select! {
            // The sender lives as long as the supervisor.
            _ = life.wait_for(|life| life.ending == Some(Shutdown::Now)) => {}
            () = wait => {}
        }
    }

    /// Resolves when somebody has asked the gateway to end, with how.
    pub async fn shutdown_asked(&self) -> Shutdown {
        let mut life = self.inner.course.life.subscribe();
        let asked = life.wait_for(|life| life.ending.is_some()).await;
        asked.ok().and_then(|life| life.ending).unwrap_or(Shutdown::Now)
    }

    /// Resolves when the gateway has ended, as [`Supervisor::shut_down`] asks for.
    pub async fn ended(&self) -> Drained {
        let mut drained = self.inner.course.drained.subscribe();
        let ended = drained.wait_for(Option::is_some).await;
        ended.ok().and_then(|drained| *drained).unwrap_or(Drained { finished: 0, killed: 0 })
    }
}
