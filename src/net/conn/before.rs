//! What happens to a conn before its handler: PROXY header, TLS handshake.

use std::io;
use std::sync::Arc;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;

use super::{Conn, Prelude};
use crate::net::gate::{PeerCounts, PeerKey};
use crate::net::stream::Stream;
use crate::net::tls::{Acceptor, Facts, HandshakeError};
use crate::stats::{CloseReason, Meter, Peer, Phase, RejectReason, TlsFailure};

impl Conn {
    /// The same with something to be done before its handler gets it.
    #[must_use]
    pub fn with_prelude(mut self, prelude: Box<dyn Prelude>) -> Self {
        self.prelude = Some(prelude);
        self
    }

    /// Does what comes before the handler.
    pub(crate) async fn prepare(&mut self) -> io::Result<()> {
        let Some(prelude) = self.prelude.take() else { return Ok(()) };
        match prelude.run(self).await {
            Ok(()) => {
                self.enter(Phase::Open);
                Ok(())
            }
            Err(reason) => {
                self.turn_away(reason);
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    /// Says that no handler could serve it, so that it counts as rejected.
    pub fn turn_away(&mut self, reason: RejectReason) {
        self.rejected = Some(reason);
        // Its end has a time of its own; the clock of the handshake has nothing more to say.
        self.enter(Phase::Work);
    }

    /// Says who the peer is in truth, where a proxy has told.
    pub fn name_peer(&self, peer: Peer) {
        self.meter.name_peer(peer);
    }

    /// Counts the conn among its peer's, taken by [`PeerCounts::try_enter`].
    pub fn count_peer(&mut self, counts: Arc<PeerCounts>, key: PeerKey) {
        self.permit.count_peer(counts, key);
    }

    /// Says a last word to one that is turned away, as far as the kernel takes it at once.
    pub fn refuse(&self, word: &[u8]) {
        let _ = self.stream.try_write(word);
    }

    /// Waits for something to come and looks at it without taking it. 0 is the peer's end. Not after TLS has begun.
    ///
    /// # Errors
    /// The socket's.
    pub async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = &self.stream;
        std::future::poll_fn(|cx| {
            stream.poll_io(cx, Interest::READABLE, |socket| {
                Ok(recv(socket, &mut *buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT)?.0)
            })
        })
        .await
    }

    /// Takes so many bytes that [`Conn::peek`] has shown, uncounted.
    ///
    /// # Errors
    /// The socket's.
    pub async fn skip(&mut self, mut n: usize) -> io::Result<()> {
        let mut scratch = [0; 536];
        while n > 0 {
            let most = n.min(scratch.len());
            let (stream, room) = (&self.stream, &mut scratch[..most]);
            n -= std::future::poll_fn(|cx| {
                stream.poll_io(cx, Interest::READABLE, |socket| {
                    Ok(recv(socket, &mut *room, RecvFlags::DONTWAIT)?.0)
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Begins TLS. What has been read ahead must be nothing: it came in the clear. Counts how it went, and says what
    /// came of it in the connection list. From here on reads and writes go through it.
    ///
    /// # Errors
    /// Why the handshake failed; the alert has been sent, and nothing more should be.
    pub async fn start_tls(&mut self, acceptor: &Acceptor) -> Result<(), HandshakeError> {
        let under_way = Handshake { meter: self.meter.clone(), done: false };
        let outcome = acceptor.accept(self.stream.take()).await;
        under_way.done();
        match outcome {
            Ok(stream) => {
                let facts = stream.facts();
                self.meter.site().ledger.tls_handshake(facts.version);
                self.describe_tls(&facts);
                self.tls = Some(Box::new(facts));
                self.stream = Stream::Tls(Box::new(stream));
                Ok(())
            }
            Err((error, stream)) => {
                self.stream = stream;
                self.meter.site().ledger.tls_failure(error.reason);
                tracing::debug!(target: "polygate::conn", conn = self.id().0, %error, "no TLS");
                Err(error)
            }
        }
    }

    /// What the TLS handshake came to; none where there is no TLS.
    pub fn tls(&self) -> Option<&Facts> {
        self.tls.as_deref()
    }

    fn describe_tls(&self, facts: &Facts) {
        self.describe("tls", facts.version.as_str());
        self.describe("tls_cipher", facts.cipher_suite.as_str());
        let others =
            [("tls_server_name", &facts.sni), ("tls_protocol", &facts.alpn), ("tls_client", &facts.client)];
        for (key, value) in others {
            if let Some(value) = value {
                self.describe(key, value.as_str());
            }
        }
    }
}

/// A handshake under way: one that the clock ends is a failure, too.
struct Handshake {
    meter: Arc<Meter>,
    done: bool,
}

impl Handshake {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let out_of_time = matches!(self.meter.verdict(), Some(CloseReason::Handshake | CloseReason::Request));
        if !self.done && out_of_time {
            self.meter.site().ledger.tls_failure(TlsFailure::Timeout);
        }
    }
}
