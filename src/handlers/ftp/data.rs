//! Data connections: where they come from or go to, and the wait for them (RFC 959, 3.2; RFC 2428; RFC 2577).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::counts::{Counts, DataFailure, DataMode, Held};
use super::ports::{Lease, Pool, listen};

/// What the client asked for last; used by one transfer.
#[derive(Debug)]
pub(super) struct Data {
    mode: DataMode,
    way: Way,
    /// Who alone may be on the other side.
    peer: IpAddr,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Way {
    /// The client connects to this.
    Passive { listener: TcpListener, _lease: Option<Lease>, _held: Held },
    /// It is connected to, from that address of ours.
    Active { to: SocketAddr, from: IpAddr },
}

impl Data {
    /// Listens for a client at the address that it has reached.
    ///
    /// # Errors
    /// [`DataFailure::NoPort`] where no port of the range is free.
    pub(super) fn passive(
        mode: DataMode,
        pool: Option<&Arc<Pool>>,
        (local, peer): (IpAddr, IpAddr),
        counts: &Arc<Counts>,
    ) -> Result<Self, DataFailure> {
        let found = match pool {
            Some(pool) => pool.listen(local).map(|(listener, lease)| (listener, Some(lease))),
            None => listen(SocketAddr::new(local, 0)).ok().map(|listener| (listener, None)),
        };
        let Some((listener, lease)) = found else {
            counts.not_connected(mode, DataFailure::NoPort);
            return Err(DataFailure::NoPort);
        };
        let way = Way::Passive { listener, _lease: lease, _held: counts.port_in_use() };
        Ok(Data { mode, way, peer: peer.to_canonical(), counts: counts.clone() })
    }

    /// Will connect to the client.
    pub(super) fn active(mode: DataMode, to: SocketAddr, from: IpAddr, counts: &Arc<Counts>) -> Self {
        Data { mode, way: Way::Active { to, from }, peer: to.ip().to_canonical(), counts: counts.clone() }
    }

    /// How it comes about.
    pub(super) fn mode(&self) -> DataMode {
        self.mode
    }

    /// The port that is listened on.
    pub(super) fn port(&self) -> Option<u16> {
        match &self.way {
            Way::Passive { listener, .. } => listener.local_addr().ok().map(|at| at.port()),
            Way::Active { .. } => None,
        }
    }

    /// Waits for the client, or connects to it. Whoever else comes is turned away, and the client is still waited
    /// for.
    ///
    /// # Errors
    /// Why there is no connection; it has been counted.
    pub(super) async fn connect(self, at_most: Duration) -> Result<TcpStream, DataFailure> {
        let connected = match timeout(at_most, self.connected()).await {
            Ok(connected) => connected.map_err(|error| match error.kind() {
                io::ErrorKind::ConnectionRefused => DataFailure::Refused,
                io::ErrorKind::TimedOut => DataFailure::Timeout,
                _ => DataFailure::Io,
            }),
            Err(_) => Err(DataFailure::Timeout),
        };
        match &connected {
            Ok(_) => self.counts.connected(self.mode),
            Err(why) => self.counts.not_connected(self.mode, *why),
        }
        connected
    }

    async fn connected(&self) -> io::Result<TcpStream> {
        match &self.way {
            Way::Passive { listener, .. } => loop {
                let (stream, peer) = listener.accept().await?;
                if peer.ip().to_canonical() == self.peer {
                    return Ok(stream);
                }
                self.counts.not_connected(self.mode, DataFailure::PeerMismatch);
                tracing::warn!(target: "polygate::ftp", %peer, expected = %self.peer, "a stranger's data connection");
            },
            Way::Active { to, from } => {
                let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                // Where the control connection has another family than the client named, the kernel chooses.
                if from.is_ipv4() == to.is_ipv4() {
                    socket.bind(SocketAddr::new(*from, 0))?;
                }
                socket.connect(*to).await
            }
        }
    }
}
