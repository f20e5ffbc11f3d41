//! What makes a loop look up from its socket: another binding, a pause, the end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Binding, Pause, Rules};
use crate::stats::EventKind;

/// How often a loop that drains looks whether its handler has finished.
const LOOK: Duration = Duration::from_millis(50);

/// Whether the gateway as a whole accepts. One for all listeners, so that none is forgotten: neither one that a reload
/// adds meanwhile nor one that it changes. What the operator wants of a single listener is at its
/// [`Door`](super::Door) and is not touched.
#[derive(Debug)]
pub struct Hold {
    held: watch::Sender<bool>,
    closing: CancellationToken,
}

impl Default for Hold {
    fn default() -> Self {
        Hold { held: watch::Sender::new(false), closing: CancellationToken::new() }
    }
}

impl Hold {
    /// Stops accepting and keeps the ports, or accepts again.
    pub fn set(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Whether nothing is accepted.
    pub fn is_set(&self) -> bool {
        *self.held.borrow()
    }

    /// Ends every loop: each takes what is queued, and closes its socket. It is not taken back.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }
}

impl Rules {
    /// Whether what comes is served now.
    pub(super) fn serves(&self) -> bool {
        self.door.pause() == Pause::No && !self.hold.is_set()
    }

    /// Whether what has begun with senders of datagrams goes on although nothing new is served: while the listener, or
    /// the gateway, drains, and until the handler has finished with them.
    pub(super) fn lingers(&self) -> bool {
        let drains = self.hold.is_set() || self.hold.is_closed() || self.door.pause() == Pause::Draining;
        drains && self.built.datagram.as_ref().is_some_and(|handler| handler.is_busy())
    }

    /// Waits until that is no longer so.
    pub(super) async fn lingered(&self) {
        while self.lingers() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until what comes is served (`true`), or is not.
    async fn serves_again(&self, serves: bool) {
        let (mut pause, mut held) = (self.door.watch_pause(), self.hold.held.subscribe());
        while self.serves() != serves {
            tokio::select! {
                // The senders live as long as the rules.
                _ = pause.changed() => {}
                _ = held.changed() => {}
            }
        }
    }
}

/// What a loop does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It looks at its binding again, and at whether it serves.
    Again,
    /// It takes what the kernel has queued, and ends.
    TakeTheRest,
    /// It ends at once: the listener has had its `accept_total`.
    End,
}

/// Waits for a reason to stop doing what the loop does; `serves` is what it believes. It may be dropped at any time.
pub(super) async fn turn(
    binding: &mut watch::Receiver<Arc<Binding>>,
    current: &Binding,
    serves: bool,
) -> Turn {
    let rules = &current.rules;
    tokio::select! {
        biased;
        changed = binding.changed() => match changed {
            Ok(()) => Turn::Again,
            // The supervisor has let go of the socket.
            Err(_) => Turn::TakeTheRest,
        },
        () = rules.hold.closing.cancelled() => Turn::TakeTheRest,
        () = rules.door.stopped().cancelled() => Turn::End,
        () = rules.serves_again(!serves) => Turn::Again,
    }
}

/// Says once on the bus that a listener has had its `accept_total`.
pub(super) fn tell_stopped(binding: &Binding) {
    if binding.rules.door.tells_stopped() {
        let site = &binding.site;
        let listener = &**site.ledger.listener();
        tracing::info!(target: "polygate::lifecycle", listener, state = "stopped", "listener");
        site.stats
            .events()
            .publish(EventKind::Listener, || json!({ "listener": listener, "state": "stopped" }));
    }
}
