//! Who is on the other side, and the number of a conn.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

/// The number of a conn, never reused in a gateway's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The other side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An internet address.
    Inet(SocketAddr),
    /// A process on this machine, by the credentials that the kernel vouches for (`unix(7)`, SO_PEERCRED).
    Unix {
        /// User.
        uid: u32,
        /// Process.
        pid: i32,
    },
    /// A bound Unix datagram socket, by its path or `@name`.
    UnixAddress(Box<str>),
    /// A Unix datagram socket without an address.
    Unnamed,
}

impl Peer {
    /// The internet address, if it has one; an IPv4-mapped one as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Inet(at) => Some(at.ip().to_canonical()),
            _ => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Inet(at) => SocketAddr::new(at.ip().to_canonical(), at.port()).fmt(f),
            Peer::Unix { uid, pid } => write!(f, "uid={uid},pid={pid}"),
            Peer::UnixAddress(address) => f.write_str(address),
            Peer::Unnamed => f.write_str("unnamed"),
        }
    }
}
