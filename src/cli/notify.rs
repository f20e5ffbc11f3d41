//! Tells systemd how the gateway is: ready, reloading, stopping, and alive (sd_notify(3)). Without
//! `$NOTIFY_SOCKET` none of it does anything.

use std::future::pending;
use std::time::Duration;

use polygate::supervisor::{Running, Supervisor};
use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// The gateway accepts. `systemctl start` returns, and what waits for the unit goes on.
pub(crate) fn ready(running: &Running) {
    send(&[NotifyState::Ready, NotifyState::Status(&status(running))]);
}

/// The configuration is being read again; [`ready`] ends it, whatever came of it.
pub(crate) fn reloading() {
    // The time is what systemd 253 and later match the reload by.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// The configuration that runs has changed.
pub(crate) fn changed(running: &Running) {
    send(&[NotifyState::Status(&status(running))]);
}

/// The gateway drains, and ends after that.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Sends signs of life for as long as it is polled, where the unit has a `WatchdogSec`: twice as often as it
/// asks, and only while the data plane still runs tasks.
pub(crate) async fn watchdog(supervisor: &Supervisor) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else {
        return pending().await;
    };
    beat(patience, supervisor).await;
}

async fn beat(patience: Duration, supervisor: &Supervisor) {
    let mut ticks = interval(patience / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        let answer = supervisor.data_runtime().spawn(async {});
        match timeout(patience, answer).await {
            Ok(_) => send(&[NotifyState::Watchdog]),
            Err(_) => {
                let seconds = asked.elapsed().as_secs_f64();
                tracing::error!(target: "polygate::run", seconds, "the data plane does not run tasks");
            }
        }
    }
}

/// What `systemctl status` shows.
fn status(running: &Running) -> String {
    let listeners = running.config.listeners.len();
    let plural = if listeners == 1 { "" } else { "s" };
    format!("generation {}, {listeners} listener{plural}", running.generation)
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(target: "polygate::run", %error, "cannot notify systemd");
    }
}
