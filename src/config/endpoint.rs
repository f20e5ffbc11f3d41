//! Endpoints: an address with its transport, as `bind` writes it.

use std::fmt;
use std::path::PathBuf;

pub(super) mod parse;

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Unix stream socket.
    Unix,
    /// Unix datagram socket.
    Unixgram,
}

impl Transport {
    /// All of them, in the order in which they are listed everywhere.
    pub const ALL: [Transport; 4] = [Transport::Tcp, Transport::Udp, Transport::Unix, Transport::Unixgram];

    /// The name in endpoints, logs, metrics and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
            Transport::Unix => "unix",
            Transport::Unixgram => "unixgram",
        }
    }

    /// Whether connections are accepted (or else datagrams received).
    pub const fn is_stream(self) -> bool {
        matches!(self, Transport::Tcp | Transport::Unix)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transports(u8);

impl Transports {
    /// None.
    pub const NONE: Transports = Transports(0);
    /// TCP alone.
    pub const TCP: Transports = Transports(0b0001);
    /// TCP and Unix streams.
    pub const STREAMS: Transports = Transports(0b0101);
    /// UDP and Unix datagrams.
    pub const DATAGRAMS: Transports = Transports(0b1010);
    /// All four.
    pub const ALL: Transports = Transports(0b1111);

    /// Whether the set holds that transport.
    pub const fn contains(self, transport: Transport) -> bool {
        self.0 & (1 << transport as u8) != 0
    }

    /// Whether the sets share a transport.
    pub const fn intersects(self, other: Transports) -> bool {
        self.0 & other.0 != 0
    }

    /// The members.
    pub fn iter(self) -> impl Iterator<Item = Transport> {
        Transport::ALL.into_iter().filter(move |t| self.contains(*t))
    }
}

impl From<Transport> for Transports {
    fn from(transport: Transport) -> Self {
        Transports(1 << transport as u8)
    }
}

impl std::ops::BitAnd for Transports {
    type Output = Transports;
    fn bitand(self, other: Transports) -> Transports {
        Transports(self.0 & other.0)
    }
}

impl std::ops::BitOr for Transports {
    type Output = Transports;
    fn bitor(self, other: Transports) -> Transports {
        Transports(self.0 | other.0)
    }
}

/// Where a listener listens. Equality is the identity that a reload goes by: what the text says, with
/// Unix paths made absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// `tcp://HOST:PORT`
    Tcp(HostPort),
    /// `udp://HOST:PORT`
    Udp(HostPort),
    /// `unix://PATH` or `unix://@NAME`
    Unix(UnixAddress),
    /// `unixgram://PATH` or `unixgram://@NAME`
    Unixgram(UnixAddress),
    /// `fd+TRANSPORT://NAME`: sockets inherited from the parent under that name (LISTEN_FDNAMES).
    Inherited(Transport, String),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A name or an address.
    pub host: Host,
    /// The port; 0 lets the kernel choose.
    pub port: u16,
}

/// A host as written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An address literal.
    Ip(std::net::IpAddr),
    /// A name, resolved when the listener is prepared.
    Name(String),
}

/// The address of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnixAddress {
    /// A node in the file system; absolute.
    Path(PathBuf),
    /// A name in Linux's abstract namespace (`unix(7)`), written with a leading `@`.
    Abstract(String),
}

impl Endpoint {
    /// Its transport.
    pub const fn transport(&self) -> Transport {
        match self {
            Endpoint::Tcp(_) => Transport::Tcp,
            Endpoint::Udp(_) => Transport::Udp,
            Endpoint::Unix(_) => Transport::Unix,
            Endpoint::Unixgram(_) => Transport::Unixgram,
            Endpoint::Inherited(transport, _) => *transport,
        }
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixAddress::Path(path) => write!(f, "{}", path.display()),
            UnixAddress::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => std::net::SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(at) => write!(f, "tcp://{at}"),
            Endpoint::Udp(at) => write!(f, "udp://{at}"),
            Endpoint::Unix(at) => write!(f, "unix://{at}"),
            Endpoint::Unixgram(at) => write!(f, "unixgram://{at}"),
            Endpoint::Inherited(transport, name) => write!(f, "fd+{transport}://{name}"),
        }
    }
}

impl serde::Serialize for Endpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
