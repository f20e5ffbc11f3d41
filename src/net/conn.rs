//! One accepted stream with its account: what a handler sees.

mod before;
mod reads;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::Level;

use super::chunk::Chunk;
use super::gate::Permit;
use super::stream::Stream;
use super::tls::Facts;
use crate::stats::{CloseReason, ConnId, Counter, Counters, EventKind, Meter, Peer, Phase, RejectReason};

/// How long a closed conn waits for the peer to end, so that the last bytes sent arrive: a close with
/// unread input would reset the connection and take them with it (RFC 1122, 4.2.2.13).
const LINGER: Duration = Duration::from_secs(1);

/// How much input is thrown away meanwhile.
const LINGER_BYTES: usize = 256 * 1024;

/// The same for a peer that is told something while it still sends a lot.
const LONG_LINGER: Duration = Duration::from_secs(5);

/// How much of that is thrown away.
const LONG_LINGER_BYTES: usize = 64 * 1024 * 1024;

/// One accepted stream. Reads and writes through `AsyncRead` and `AsyncWrite` are counted; dropping
/// it settles its account once, whatever ended it.
#[derive(Debug)]
pub struct Conn {
    stream: Stream,
    meter: Arc<Meter>,
    /// Whether the peer has sent its FIN.
    ended: bool,
    /// Whether a write waits for the peer; spares the hot path a look at the meter.
    blocked: bool,
    /// Whether it ends with a reset instead of in order.
    resets: bool,
    outcome: Option<CloseReason>,
    /// Whether its end may take longer than usual.
    lingers_long: bool,
    /// Why no handler gets it.
    rejected: Option<RejectReason>,
    prelude: Option<Box<dyn Prelude>>,
    tls: Option<Box<Facts>>,
    permit: Permit,
}

/// What a listener does before the handler gets a conn: reads a PROXY header, begins TLS.
pub trait Prelude: Send + Sync {
    /// Does it, or says why the conn is turned away.
    fn run<'a>(
        self: Box<Self>,
        conn: &'a mut Conn,
    ) -> Pin<Box<dyn Future<Output = Result<(), RejectReason>> + Send + 'a>>;
}

impl std::fmt::Debug for dyn Prelude {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prelude")
    }
}

impl Conn {
    /// Joins a stream and its account.
    pub fn new(stream: Stream, meter: Arc<Meter>, permit: Permit) -> Self {
        tracing::debug!(
            target: "polygate::conn",
            conn = meter.id().0,
            listener = %meter.site().ledger.listener(),
            transport = %meter.site().ledger.transport(),
            peer = %meter.peer(),
            handler = meter.site().handler,
            "opened"
        );
        meter.site().stats.events().publish(EventKind::Connection, || {
            let mut data = facts(&meter);
            data["state"] = "opened".into();
            data
        });
        Conn {
            stream,
            meter,
            ended: false,
            blocked: false,
            resets: false,
            outcome: None,
            lingers_long: false,
            rejected: None,
            prelude: None,
            tls: None,
            permit,
        }
    }

    /// Its number: the one in logs and in the connection list.
    pub fn id(&self) -> ConnId {
        self.meter.id()
    }

    /// The other side.
    pub fn peer(&self) -> &Peer {
        self.meter.peer()
    }

    /// The name of the listener that accepted it.
    pub fn listener(&self) -> &str {
        self.meter.site().ledger.listener()
    }

    /// Its account.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The cells of a number that the handler declared.
    pub fn counters(&self, counter: Counter) -> Arc<Counters> {
        self.meter.site().ledger.counters(counter)
    }

    /// The stream itself; what goes past the conn must be counted by whoever lets it.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Marks the time while a side that is relayed to does not take what it gets.
    pub(super) fn set_blocked(&mut self, waits: bool) {
        if waits != self.blocked {
            self.blocked = waits;
            self.meter.set_blocked(waits);
        }
    }

    /// Notes that the peer has sent its FIN, where it was not read through the conn.
    pub(super) fn set_ended(&mut self) {
        self.ended = true;
    }

    /// Our side of the connection, where it is an internet address.
    pub fn local(&self) -> Option<std::net::SocketAddr> {
        match self.stream.plain() {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) | Stream::Tls(_) | Stream::Closed => None,
        }
    }

    /// Leaves urgent data of TCP (RFC 9293, 3.8.5) where it was sent, among all the other.
    pub fn take_urgent_inline(&self) {
        if let Stream::Tcp(stream) = &self.stream {
            let _ = socket2::SockRef::from(stream).set_out_of_band_inline(true);
        }
    }

    /// Makes the close a reset, so that the peer does not take what it has for all there was.
    pub fn reset_on_close(&mut self) {
        self.stream.reset_on_close();
        self.resets = true;
    }

    /// Says something about the conn for the connection list.
    pub fn describe(&self, key: &'static str, value: impl Into<String>) {
        self.meter.describe(key, value.into());
    }

    /// Resolves when the conn is asked to finish: no new request should begin. It borrows nothing, so that a
    /// handler may wait for it while it reads.
    pub fn draining(&self) -> WaitForCancellationFutureOwned {
        self.meter.site().drain.clone().cancelled_owned()
    }

    /// Whether it has been asked to finish; costs nothing, for handlers that look between two requests.
    pub fn is_draining(&self) -> bool {
        self.meter.is_draining()
    }

    /// Enters a step, which says what clock runs.
    pub fn enter(&self, phase: Phase) {
        self.meter.set_phase(phase);
    }

    /// Resolves when the conn is killed. A handler that waits for it has a second to say goodbye; one that
    /// never does is dropped at once. Like [`Conn::draining`] it borrows nothing.
    pub fn killed(&self) -> impl Future<Output = CloseReason> + Send + Unpin + use<> {
        let meter = self.meter.clone();
        poll_fn(move |cx| meter.poll_killed(cx))
    }

    /// Says why the handler ends the conn, where `Ok` alone would not tell.
    pub fn ends_because(&mut self, reason: CloseReason) {
        self.outcome = Some(reason);
    }

    /// Says that the peer has just been told something that must arrive although it still sends.
    pub fn lingers_long(&mut self) {
        self.lingers_long = true;
    }

    /// Ends the conn in order after its handler: FIN, and until the peer's own end what still comes is
    /// thrown away. Dropping it then settles it.
    pub(crate) async fn finish(&mut self, result: io::Result<()>) {
        if self.rejected.is_some() {
            // An alert or a refusal should arrive.
            if self.stream.shutdown().await.is_ok() {
                Box::pin(linger(&mut self.stream, LINGER, LINGER_BYTES)).await;
            }
            return;
        }
        match result {
            Ok(()) => {
                let natural = if self.ended { CloseReason::Client } else { CloseReason::Handler };
                self.outcome.get_or_insert(natural);
                if self.resets {
                    return;
                }
                if self.stream.shutdown().await.is_ok() && !self.ended {
                    // Boxed, so that every conn is not as large as the few that linger.
                    let (time, bytes) = match self.lingers_long {
                        true => (LONG_LINGER, LONG_LINGER_BYTES),
                        false => (LINGER, LINGER_BYTES),
                    };
                    Box::pin(linger(&mut self.stream, time, bytes)).await;
                }
            }
            Err(error) => {
                let reason = reason_of(&error);
                if reason == CloseReason::IoError {
                    self.meter.site().ledger.handler_error();
                    tracing::debug!(target: "polygate::conn", conn = self.id().0, %error, "failed");
                }
                self.outcome.get_or_insert(reason);
            }
        }
    }
}

/// What every event about a conn says.
fn facts(meter: &Meter) -> Value {
    let site = meter.site();
    json!({
        "conn": meter.id().0,
        "listener": &**site.ledger.listener(),
        "transport": site.ledger.transport().as_str(),
        "handler": site.handler,
        "peer": meter.peer().to_string(),
    })
}

/// Reads and forgets, until the peer ends or a bound is met.
async fn linger(stream: &mut Stream, time: Duration, bytes: usize) {
    let drain = async {
        let mut seen = 0;
        while seen < bytes {
            match poll_fn(|cx| Chunk::read(16 * 1024, |buf| Pin::new(&mut *stream).poll_read(cx, buf))).await
            {
                Ok(Some(chunk)) => seen += chunk.len(),
                Ok(None) | Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(time, drain).await;
}

impl Stream {
    /// Closes in order a stream that no handler had: FIN, then what still comes is thrown away for at most a second.
    pub(crate) async fn close_gently(mut self) {
        if self.shutdown().await.is_ok() {
            linger(&mut self, LINGER, LINGER_BYTES).await;
        }
    }
}

/// A peer that goes away is the peer's doing; anything else is an error of the socket.
fn reason_of(error: &io::Error) -> CloseReason {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => {
            CloseReason::Client
        }
        Kind::UnexpectedEof => CloseReason::Client,
        _ => CloseReason::IoError,
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if let Some(reason) = self.rejected
            && self.meter.verdict().is_none()
        {
            let (meter, site) = (&self.meter, self.meter.site());
            tracing::info!(
                target: "polygate::conn",
                conn = meter.id().0,
                listener = %site.ledger.listener(),
                peer = %meter.peer(),
                reason = reason.as_str(),
                "turned away"
            );
            site.stats.events().publish(EventKind::Connection, || {
                let mut data = facts(meter);
                data["state"] = "rejected".into();
                data["reason"] = reason.as_str().into();
                data
            });
            return meter.turn_away(reason);
        }
        let reason = match self.outcome {
            Some(reason) => reason,
            None if std::thread::panicking() => {
                self.meter.site().ledger.handler_panic();
                CloseReason::Panic
            }
            // Dropped by a kill, whose own reason goes first; or with the runtime.
            None => CloseReason::Drain,
        };
        let reason = self.meter.settle(reason);
        let events = self.meter.site().stats.events();
        if reason == CloseReason::Panic {
            events.publish(EventKind::Panic, || facts(&self.meter));
        }
        events.publish(EventKind::Connection, || {
            let (meter, mut data) = (&self.meter, facts(&self.meter));
            let age_ms = meter.site().stats.now_ms().saturating_sub(meter.started_ms());
            data["state"] = "closed".into();
            data["reason"] = reason.as_str().into();
            data["received_bytes"] = meter.received().into();
            data["sent_bytes"] = meter.sent().into();
            data["duration_seconds"] = (age_ms as f64 / 1000.0).into();
            data
        });
        if tracing::enabled!(target: "polygate::conn", Level::INFO) {
            let (meter, site) = (&self.meter, self.meter.site());
            let age_ms = site.stats.now_ms().saturating_sub(meter.started_ms());
            tracing::info!(
                target: "polygate::conn",
                conn = meter.id().0,
                listener = %site.ledger.listener(),
                transport = %site.ledger.transport(),
                peer = %meter.peer(),
                handler = site.handler,
                tls = self.tls.as_ref().map(|facts| facts.version.as_str()),
                received_bytes = meter.received(),
                sent_bytes = meter.sent(),
                duration_seconds = age_ms as f64 / 1000.0,
                reason = reason.as_str(),
                "closed"
            );
        }
    }
}
