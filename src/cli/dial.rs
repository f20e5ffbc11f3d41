//! The other side of `connect` and `ping`: an endpoint as a client sees it, and the way there.

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{
    SocketAddr as UnixAddr, UnixDatagram as StdUnixDatagram, UnixStream as StdUnixStream,
};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use polygate::config::{BadValue, Endpoint, Host, HostPort, Period, SYSTEM_ROOTS, UnixAddress};
use polygate::net::tls::Connector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket, UnixDatagram, UnixStream};

use super::exit::{Exit, Failure};
use super::terminal::escape;

/// The largest datagram there is, UDP's header not counted.
pub(crate) const LARGEST_DATAGRAM: usize = 65_507;

/// An endpoint that one can connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// As it is.
    Plain(Endpoint),
    /// TCP with TLS in it.
    Tls(HostPort),
}

/// What carries bytes in order, both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A socket that is connected.
pub(crate) enum Line {
    /// TCP or a Unix stream.
    Stream(Box<dyn Duplex>),
    /// UDP or Unix datagrams.
    Datagrams(Datagrams),
}

/// Datagrams to one peer and from it.
pub(crate) enum Datagrams {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

// === impl Target ===

impl FromStr for Target {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let at = match text.strip_prefix("tls://") {
            Some(at) => format!("tcp://{at}").parse(),
            None => text.parse(),
        };
        match at? {
            Endpoint::Inherited(..) => Err(BadValue::new("an inherited socket is nothing to connect to")
                .help("write its address: tcp://HOST:PORT, udp://HOST:PORT, unix://PATH or unixgram://PATH")),
            Endpoint::Tcp(HostPort { port: 0, .. }) | Endpoint::Udp(HostPort { port: 0, .. }) => {
                Err(BadValue::new("nobody can be reached on port 0")
                    .help("`polygate listeners` shows the port that the kernel chose"))
            }
            Endpoint::Tcp(at) if text.starts_with("tls://") => Ok(Target::Tls(at)),
            endpoint => Ok(Target::Plain(endpoint)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Plain(endpoint) => f.write_str(&escape(&endpoint.to_string())),
            Target::Tls(at) => write!(f, "tls://{at}"),
        }
    }
}

impl Target {
    /// Whether what arrives is a stream of bytes (or else datagrams).
    pub(crate) fn is_stream(&self) -> bool {
        match self {
            Target::Plain(endpoint) => endpoint.transport().is_stream(),
            Target::Tls(_) => true,
        }
    }

    /// Connects within `timeout`. Over TLS the peer must show a certificate that `ca` trusts.
    pub(crate) async fn dial(&self, timeout: Duration, ca: Option<&Path>) -> Result<Line, Failure> {
        let connector = match self {
            Target::Tls(_) => Some(trust(ca)?),
            Target::Plain(_) => None,
        };
        match tokio::time::timeout(timeout, self.open(connector)).await {
            Ok(line) => line.map_err(|error| self.unreachable(&error)),
            Err(_) => {
                let error = format!("no answer within {}", seconds(timeout));
                Err(Failure::new(Exit::Unavailable, format!("cannot connect to {self}: {error}")))
            }
        }
    }

    async fn open(&self, connector: Option<Connector>) -> io::Result<Line> {
        Ok(match (self, connector) {
            (Target::Plain(Endpoint::Tcp(at)), _) => Line::Stream(Box::new(tcp(at).await?)),
            (Target::Plain(Endpoint::Unix(at)), _) => Line::Stream(Box::new(unix(at).await?)),
            (Target::Plain(Endpoint::Udp(at)), _) => Line::Datagrams(Datagrams::Udp(udp(at).await?)),
            (Target::Plain(Endpoint::Unixgram(at)), _) => Line::Datagrams(Datagrams::Unix(unixgram(at)?)),
            (Target::Tls(at), Some(connector)) => {
                let stream = tcp(at).await?;
                Line::Stream(Box::new(connector.connect(&host_port(at).0, stream).await?))
            }
            // No target holds one, and whoever wants TLS has a connector.
            (Target::Plain(Endpoint::Inherited(..)) | Target::Tls(_), _) => {
                return Err(io::Error::from(io::ErrorKind::Unsupported));
            }
        })
    }

    /// What is said when nobody can be reached there.
    pub(crate) fn unreachable(&self, error: &io::Error) -> Failure {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let exit = match error.kind() {
            PermissionDenied => Exit::NoPermission,
            _ => Exit::Unavailable,
        };
        let advice = match error.kind() {
            ConnectionRefused | NotFound => "; is the listener up, and is this its address?",
            _ => "",
        };
        Failure::new(exit, format!("cannot connect to {self}: {}{advice}", plain(error)))
    }
}

/// The system's word without Rust's number behind it.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A duration as options have it: `10s`, `500ms`.
pub(crate) fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 && duration.subsec_nanos() == 0 {
        return format!("{}s", duration.as_secs());
    }
    format!("{}ms", duration.as_millis())
}

/// A duration of the command line.
pub(crate) fn period(text: &str) -> Result<Duration, String> {
    text.parse::<Period>().map(Period::get).map_err(|error| error.to_string())
}

/// Runs a client's work on a runtime of this thread. What it leaves on other threads is not waited for: one of them
/// may sit in a read of standard input.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// Whom to trust over TLS: what `ca` names, else `$POLYGATE_CA`, else what the system trusts.
fn trust(ca: Option<&Path>) -> Result<Connector, Failure> {
    let variable = std::env::var_os("POLYGATE_CA").filter(|value| !value.is_empty()).map(PathBuf::from);
    let file = ca.map(Path::to_path_buf).or(variable).unwrap_or_else(|| SYSTEM_ROOTS.into());
    let text = std::fs::read_to_string(&file).map_err(|error| {
        let message =
            format!("cannot read {}: {error} (name the certificates to trust: --ca)", file.display());
        Failure::new(Exit::Usage, message)
    })?;
    Connector::new(&text).map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))
}

// === the ways there ===

fn host_port(at: &HostPort) -> (String, u16) {
    let host = match &at.host {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.clone(),
    };
    (host, at.port)
}

fn unix_address(at: &UnixAddress) -> io::Result<UnixAddr> {
    match at {
        UnixAddress::Path(path) => UnixAddr::from_pathname(path),
        UnixAddress::Abstract(name) => UnixAddr::from_abstract_name(name),
    }
}

async fn tcp(at: &HostPort) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(host_port(at)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn unix(at: &UnixAddress) -> io::Result<UnixStream> {
    let address = unix_address(at)?;
    // A full backlog makes the kernel wait, so that this is nothing for the runtime's own thread.
    let connect = move || StdUnixStream::connect_addr(&address);
    let stream = tokio::task::spawn_blocking(connect).await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

async fn udp(at: &HostPort) -> io::Result<UdpSocket> {
    let mut last = io::Error::other("the name has no address");
    for address in tokio::net::lookup_host(host_port(at)).await? {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        match socket.connect(address).await {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn unixgram(at: &UnixAddress) -> io::Result<UnixDatagram> {
    // The empty path lets the kernel choose an abstract name: without one nobody could answer.
    let socket = StdUnixDatagram::bind("")?;
    socket.connect_addr(&unix_address(at)?)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

// === impl Datagrams ===

impl Datagrams {
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = match self {
            Datagrams::Udp(socket) => socket.send(bytes).await,
            Datagrams::Unix(socket) => socket.send(bytes).await,
        };
        sent.map(drop)
    }

    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Datagrams::Udp(socket) => socket.recv(buffer).await,
            Datagrams::Unix(socket) => socket.recv(buffer).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_endpoint_that_can_be_reached() {
        for text in ["tcp://127.0.0.1:7", "udp://[::1]:7", "unix:///run/a.sock", "unixgram://@a", "tls://h:1"]
        {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for (text, part) in [("tcp://h:0", "port 0"), ("fd+tcp://x", "inherited"), ("h:80", "lacks a scheme")]
        {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn durations_are_shown_as_options_have_them() {
        assert_eq!(seconds(Duration::from_secs(10)), "10s");
        assert_eq!(seconds(Duration::from_millis(1500)), "1500ms");
    }
}
