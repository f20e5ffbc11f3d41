//! The account of what a handler has begun with a sender of datagrams.

use std::sync::Arc;

use crate::stats::{CloseReason, ConnId, Meter, Peer, Phase};

use super::Replier;

/// What goes on with a sender of datagrams beyond one answer. It is in the connection list (`kind` is `flow`), and is
/// killed as a conn is: by [`Meter::arm`] with the task that serves it. Dropping it settles its account, whatever ended
/// it.
#[derive(Debug)]
pub struct Flow {
    meter: Arc<Meter>,
    outcome: CloseReason,
    settled: Option<CloseReason>,
}

impl Flow {
    /// Opens the account of what begins with that sender. The phase says which clocks run, as it does for a conn.
    pub fn open(replier: &Replier, peer: Peer, phase: Phase) -> Self {
        let meter = Meter::open(replier.site.clone(), peer, None, phase);
        Flow { meter, outcome: CloseReason::Drain, settled: None }
    }

    /// Its number: the one in logs and in the connection list.
    pub fn id(&self) -> ConnId {
        self.meter.id()
    }

    /// The account.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Says why it ends, where nobody kills it.
    pub fn ends_because(&mut self, reason: CloseReason) {
        self.outcome = reason;
    }

    /// Settles it now, and says why it ended.
    pub fn settle(&mut self) -> CloseReason {
        if let Some(reason) = self.settled {
            return reason;
        }
        let (meter, reason) = (&self.meter, self.meter.settle(self.outcome));
        self.settled = Some(reason);
        let site = meter.site();
        tracing::debug!(
            target: "polygate::flow",
            conn = meter.id().0, listener = %site.ledger.listener(), peer = %meter.peer(), handler = site.handler,
            received_bytes = meter.received(), sent_bytes = meter.sent(), reason = reason.as_str(),
            "closed"
        );
        reason
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.settle();
    }
}
