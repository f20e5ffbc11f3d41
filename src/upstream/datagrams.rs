//! Sockets that carry datagrams to one endpoint of an upstream, and back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::net::{UdpSocket, UnixDatagram};

use super::dial::{Failure, resolve};
use super::member::Member;
use crate::config::{Endpoint, UnixAddress};

/// What is waited for.
const READ_OR_FAIL: Interest = Interest::READABLE.add(Interest::ERROR);

/// A socket that is connected to an endpoint, so that answers of others do not reach it.
#[derive(Debug)]
pub enum Datagrams {
    /// UDP.
    Udp(UdpSocket),
    /// Unix.
    Unix(UnixDatagram),
}

impl Datagrams {
    /// Connects to a member. A name's addresses are kept for `dns`; the first one serves.
    pub(super) async fn dial(member: &Member, timeout: Duration, dns: Duration) -> Result<Self, Failure> {
        match tokio::time::timeout(timeout, Self::connect(member, dns)).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    pub(super) async fn connect(member: &Member, dns: Duration) -> Result<Self, Failure> {
        match member.endpoint() {
            Endpoint::Udp(at) => {
                let addresses = resolve(member, at, dns).await?;
                let to = *addresses.first().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                let any: SocketAddr = if to.is_ipv6() { ([0_u16; 8], 0).into() } else { ([0; 4], 0).into() };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(to).await?;
                Ok(Datagrams::Udp(socket))
            }
            Endpoint::Unixgram(UnixAddress::Path(path)) => {
                // An address of the kernel's choice (unix(7), autobind), so that it can be answered.
                let socket = autobound()?;
                socket.connect(path)?;
                Ok(Datagrams::Unix(socket))
            }
            other => Err(io::Error::other(format!("{other} cannot be dialled for datagrams")).into()),
        }
    }

    /// Sends one datagram, or says why not; it never waits. Asked of the kernel, since the reactor has not told yet
    /// that a new socket can be written to.
    ///
    /// # Errors
    /// What the kernel says: a full queue, or that nobody is there.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match self {
            Datagrams::Udp(socket) => Ok(send(socket, bytes, flags)?),
            Datagrams::Unix(socket) => Ok(send(socket, bytes, flags)?),
        }
    }

    /// Waits until something has come. No buffer is held meanwhile.
    ///
    /// # Errors
    /// What became of a datagram that was sent: `ConnectionRefused` where ICMP says that nobody is there.
    pub async fn readable(&self) -> io::Result<()> {
        loop {
            let ready = match self {
                Datagrams::Udp(socket) => socket.ready(READ_OR_FAIL).await?,
                Datagrams::Unix(socket) => socket.ready(READ_OR_FAIL).await?,
            };
            // Reading tells of an error, too.
            if ready.is_readable() {
                return Ok(());
            }
            // An error alone does not make the socket readable.
            let error = match self {
                Datagrams::Udp(socket) => socket.take_error()?,
                Datagrams::Unix(socket) => socket.take_error()?,
            };
            if let Some(error) = error {
                return Err(error);
            }
            // Somebody else has had the error: it is waited for the next one.
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = match self {
                Datagrams::Udp(socket) => socket.try_io(Interest::ERROR, nothing),
                Datagrams::Unix(socket) => socket.try_io(Interest::ERROR, nothing),
            };
        }
    }

    /// Takes what has come; `WouldBlock` if nothing has.
    ///
    /// # Errors
    /// What the kernel says, `ConnectionRefused` among it where nobody listens there.
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Datagrams::Udp(socket) => socket.try_recv(buffer),
            Datagrams::Unix(socket) => socket.try_recv(buffer),
        }
    }
}

fn autobound() -> io::Result<UnixDatagram> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    bind(&socket, &SocketAddrUnix::new_unnamed())?;
    UnixDatagram::from_std(std::os::unix::net::UnixDatagram::from(socket))
}
