//! The way back to the sender of a datagram, for answers that take their time.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::stats::{Ledger, Site};

/// Sends to whoever sent a datagram, from the address that it was sent to, for as long as that endpoint is open.
/// What is sent is counted with the listener's datagrams.
#[derive(Clone)]
pub struct Replier {
    /// The account of the listener's transport.
    pub ledger: Arc<Ledger>,
    /// What the datagrams of this endpoint have in common.
    pub site: Arc<Site>,
    send: Arc<Sends>,
}

type Sends = dyn Fn(&[u8]) -> io::Result<()> + Send + Sync;

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replier").field("listener", self.ledger.listener()).finish_non_exhaustive()
    }
}

impl Replier {
    /// One that sends by that function, which does not block.
    pub fn new(site: Arc<Site>, send: impl Fn(&[u8]) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Replier { ledger: site.ledger.clone(), site, send: Arc::new(send) }
    }

    /// Sends one datagram, or none: there is no queue.
    ///
    /// # Errors
    /// What the kernel says, [`WouldBlock`](io::ErrorKind::WouldBlock) among it, and `NotConnected` once the endpoint
    /// is closed.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        (self.send)(bytes)
    }
}
