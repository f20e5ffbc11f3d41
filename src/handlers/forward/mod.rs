//! `forward`: carries connections to an endpoint of an upstream.
//!
//! The upstream is chosen and dialled in the connection's own task; a dial that fails tries another endpoint
//! before the client hears of anything. Then bytes go both ways under the connection's clocks and accounts.

mod flows;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use proxy_header::{ProxiedAddress, ProxyHeader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{SendProxy, Timeout, Timeouts, Transports};
use crate::handler::{
    Answer, BuildError, Conn, Context, Counter, DatagramHandler, Handler, Packet, StreamHandler,
};
use crate::net::tls::is_alert;
use crate::net::{Relayed, Stream};
use crate::stats::{CloseReason, Peer};
use crate::upstream::Pool;
use flows::Flows;

/// Options of `forward`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "forward")]
pub struct Options {
    /// The entry of [upstreams] that connections or datagrams are carried to.
    upstream: String,
    /// Flows of datagrams at once: 1 to 1,000,000. More are shed.
    #[serde(default = "max_flows")]
    #[schemars(range(min = 1, max = 1_000_000))]
    max_flows: usize,
    /// After so many datagrams of a sender its next one begins another flow. Default: no limit.
    #[serde(default)]
    #[schemars(range(min = 1))]
    requests: Option<u64>,
    /// After so many answers a flow ends. Default: no limit.
    #[serde(default)]
    #[schemars(range(min = 1))]
    responses: Option<u64>,
}

/// A flow takes a file descriptor.
fn max_flows() -> usize {
    4096
}

/// The `forward` handler.
#[derive(Debug)]
pub struct Forward {
    pool: Arc<Pool>,
    options: Options,
    flows: Arc<Flows>,
}

impl Handler for Forward {
    const NAME: &'static str = "forward";
    const TRANSPORTS: Transports = Transports::ALL;
    const COUNTERS: &'static [Counter] = flows::COUNTERS;
    const KEEPS_FLOWS: bool = true;
    type Options = Options;

    fn upstream(options: &Options) -> Option<(&'static str, &str)> {
        Some(("upstream", &options.upstream))
    }

    fn new(options: Options, context: &Context) -> Result<Self, BuildError> {
        let pool = context.upstreams()?.get(&options.upstream);
        Ok(Forward { pool, options, flows: Arc::default() })
    }

    fn default_timeouts() -> Timeouts {
        // Databases keep connections open for as long as their clients like.
        Timeouts { idle: Timeout::after_secs(3600), ..Timeouts::RAW }
    }
}

impl DatagramHandler for Forward {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        flows::carry(&self.flows, &self.pool, &self.options, packet)
    }

    fn is_busy(&self) -> bool {
        !self.flows.is_empty()
    }
}

impl StreamHandler for Forward {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        conn.describe("upstream", self.pool.name());
        let meter = conn.meter().clone();
        // Boxed, so that a connection that is carried is not as large as one that is being made.
        let connecting = Box::pin(async { self.pool.connect(&meter, &self.header(conn)).await });
        let (lease, mut stream) = match connecting.await {
            Ok(connected) => connected,
            Err(error) => {
                tracing::warn!(target: "polygate::upstream", conn = conn.id().0, listener = conn.listener(), upstream = self.pool.name(), %error, "refused");
                conn.ends_because(CloseReason::Upstream);
                return Ok(());
            }
        };
        conn.describe("endpoint", lease.member().endpoint().to_string());
        if let Stream::Tls(tls) = &stream {
            conn.describe("upstream_tls", tls.facts().version.as_str());
        }
        match conn.relay(&mut stream).await {
            Relayed::Done => Ok(()),
            Relayed::ConnFailed(error) => {
                // The endpoint must not take what it got for all there was.
                stream.reset_on_close();
                Err(error)
            }
            Relayed::OtherFailed(error) => {
                tracing::debug!(target: "polygate::upstream", conn = conn.id().0, upstream = self.pool.name(), %error, "the endpoint failed");
                if is_alert(&error) {
                    self.pool.refused(&lease, &error);
                }
                conn.ends_because(CloseReason::Upstream);
                conn.reset_on_close();
                Ok(())
            }
        }
    }
}

impl Forward {
    /// The PROXY header of a connection, if the upstream wants one.
    fn header(&self, conn: &Conn) -> Vec<u8> {
        let version = self.pool.config().map_or(SendProxy::Off, |config| config.send_proxy);
        let header = match (conn.peer(), conn.local()) {
            (Peer::Inet(peer), Some(local)) => {
                let (peer, local) = same_family(*peer, local);
                ProxyHeader::with_address(ProxiedAddress::stream(peer, local))
            }
            // A Unix peer has no address: LOCAL says that the connection is the proxy's own.
            _ => ProxyHeader::with_local(),
        };
        let mut bytes = Vec::new();
        // Addresses of one family can always be written.
        let _ = match version {
            SendProxy::Off => Ok(()),
            SendProxy::V1 => header.encode_v1(&mut bytes),
            SendProxy::V2 => header.encode_v2(&mut bytes),
        };
        bytes
    }
}

/// Both addresses as IPv4 where both can be, else both as IPv6.
fn same_family(peer: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let mapped = |at: SocketAddr| match at {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    };
    let (peer, local) = (canonical(peer), canonical(local));
    if peer.is_ipv4() == local.is_ipv4() { (peer, local) } else { (mapped(peer), mapped(local)) }
}
