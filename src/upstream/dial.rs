//! Connects to a member: addresses of a name by turns (RFC 8305), each within the time that one try has.

use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use super::member::Member;
use super::tls::Secure;
use crate::config::{Endpoint, Host, HostPort, UnixAddress};
use crate::net::Stream;
use crate::stats::ConnectFailure;

/// How long an address is tried alone before the next one is tried beside it (RFC 8305, 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Addresses of one name that are tried at most.
const MAX_ADDRESSES: usize = 8;

/// How long a full queue of a Unix socket is waited for between two tries.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// Why a member could not be connected.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", .reason.as_str())]
pub struct Failure {
    /// As metrics tell it.
    pub reason: ConnectFailure,
    /// The system's word.
    pub error: io::Error,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable, NotFound, TimedOut,
        };
        let reason = match error.kind() {
            TimedOut => ConnectFailure::Timeout,
            // A Unix socket that does not exist has nobody behind it either.
            ConnectionRefused | NotFound => ConnectFailure::Refused,
            HostUnreachable | NetworkDown | NetworkUnreachable => ConnectFailure::Unreachable,
            _ => ConnectFailure::Other,
        };
        Failure { reason, error }
    }
}

/// How a member is connected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialling<'a> {
    /// How long all of it may take.
    pub(super) timeout: Duration,
    /// How long a name's addresses are kept.
    pub(super) dns: Duration,
    /// A PROXY header, before everything else.
    pub(super) header: &'a [u8],
    /// TLS after it.
    pub(super) tls: Option<&'a Secure>,
}

/// Connects, says the header, and begins TLS where it is wanted.
pub(super) async fn dial(member: &Member, how: Dialling<'_>) -> Result<Stream, Failure> {
    let connecting = async {
        let mut stream = connect(member, how.dns).await?;
        stream.write_all(how.header).await?;
        match how.tls {
            Some(tls) => tls.begin(member.endpoint(), stream).await,
            None => Ok(stream),
        }
    };
    match tokio::time::timeout(how.timeout, connecting).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

async fn connect(member: &Member, dns: Duration) -> Result<Stream, Failure> {
    match member.endpoint() {
        Endpoint::Tcp(at) => {
            let addresses = resolve(member, at, dns).await?;
            let stream = happy_eyeballs(addresses).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        Endpoint::Unix(at) => Ok(Stream::Unix(unix(at).await?)),
        other => Err(io::Error::other(format!("{other} is not for connections")).into()),
    }
}

/// The addresses of a host. Those of a name are asked for again after `dns`; where that fails, the last ones
/// still serve.
pub(super) async fn resolve(
    member: &Member,
    at: &HostPort,
    dns: Duration,
) -> Result<Vec<SocketAddr>, Failure> {
    let name = match &at.host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, at.port)]),
        Host::Name(name) => name,
    };
    let known = member.locked(&member.resolved).clone();
    if let Some((when, addresses)) = &known
        && when.elapsed() < dns
    {
        return Ok(addresses.clone());
    }
    let found =
        tokio::net::lookup_host((name.as_str(), at.port)).await.map(|all| all.take(MAX_ADDRESSES).collect());
    match found {
        Ok(addresses) if !Vec::is_empty(&addresses) => {
            *member.locked(&member.resolved) = Some((Instant::now(), Vec::clone(&addresses)));
            Ok(addresses)
        }
        failed => match known {
            Some((_, addresses)) => {
                // Not asked again for every connection while the name server is away.
                *member.locked(&member.resolved) = Some((Instant::now(), addresses.clone()));
                Ok(addresses)
            }
            None => {
                let error = failed.err().unwrap_or_else(|| io::Error::other("the name has no address"));
                Err(Failure { reason: ConnectFailure::Dns, error })
            }
        },
    }
}

/// The first address that answers. IPv6 and IPv4 take turns, and a slow one does not hold up the next.
async fn happy_eyeballs(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut rest = by_turns(addresses).into_iter();
    let mut tries = JoinSet::new();
    let mut last = None;
    loop {
        if let Some(address) = rest.next() {
            tries.spawn(TcpStream::connect(address));
        } else if tries.is_empty() {
            return Err(last.unwrap_or_else(|| io::Error::other("no address")));
        }
        let more = rest.len() > 0;
        tokio::select! {
            Some(result) = tries.join_next() => match result.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if more => {}
        }
    }
}

fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (ours, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|at| at.is_ipv6() == first_is_v6);
    let mut turns = Vec::with_capacity(ours.len() + others.len());
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    loop {
        match (ours.next(), others.next()) {
            (None, None) => return turns,
            (one, other) => turns.extend(one.into_iter().chain(other)),
        }
    }
}

/// Connects to a Unix socket. Its queue may be full for a moment, which is no refusal.
async fn unix(at: &UnixAddress) -> io::Result<UnixStream> {
    loop {
        let connected = match at {
            UnixAddress::Path(path) => UnixStream::connect(path).await,
            UnixAddress::Abstract(name) => {
                // A leading NUL is how tokio names the abstract namespace.
                let bytes = [b"\0", name.as_bytes()].concat();
                UnixStream::connect(Path::new(std::ffi::OsStr::from_bytes(&bytes))).await
            }
        };
        match connected {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(QUEUE_PAUSE).await,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_resolvers_first_goes_first() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (a, b, c, d) = (at("[::1]:1"), at("[::2]:1"), at("10.0.0.1:1"), at("10.0.0.2:1"));
        assert_eq!(by_turns(vec![a, b, c, d]), [a, c, b, d]);
        assert_eq!(by_turns(vec![c, a, b]), [c, a, b]);
        assert_eq!(by_turns(vec![c, d]), [c, d]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let bad = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        assert_eq!(happy_eyeballs(vec![bad, good]).await.unwrap().peer_addr().unwrap(), good);
        assert_eq!(happy_eyeballs(vec![bad]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
