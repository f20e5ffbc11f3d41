//! Answers to datagrams: what came of sending one, at once or later.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;

use rustix::net::{SendFlags, SocketAddrUnix};

use super::{Binding, Listening};
use crate::net::Replier;
use crate::net::udp::{self, Source};
use crate::stats::{DatagramDrop, Ledger};

/// Where an answer goes.
#[derive(Debug, Clone)]
pub(super) enum To {
    Inet(SocketAddr, Source),
    Unix(SocketAddrUnix),
}

/// The way back. It does not keep the socket open: an endpoint that is closed answers nobody.
pub(super) fn replier(binding: &Binding, listening: &Weak<Listening>, to: To) -> Replier {
    let (ledger, listening) = (binding.site.ledger.clone(), listening.clone());
    Replier::new(binding.site.clone(), move |bytes| {
        let open = listening.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let done = match (&*open, &to) {
            (Listening::Udp(socket), To::Inet(peer, source)) => {
                udp::send(socket.get_ref().as_raw_fd(), bytes, *peer, *source)
            }
            (Listening::Unixgram(socket, _), To::Unix(at)) => send_unix(socket.get_ref(), bytes, at),
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        match &done {
            Ok(()) => sent(&ledger, bytes.len()),
            Err(error) => ledger.datagrams.drop_one(send_failure(error)),
        }
        done
    })
}

/// A peer that does not read gets nothing: it must not stall the others.
pub(super) fn send_unix(
    socket: &std::os::unix::net::UnixDatagram,
    bytes: &[u8],
    to: &SocketAddrUnix,
) -> io::Result<()> {
    rustix::net::sendto(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, to)?;
    Ok(())
}

pub(super) fn send_failure(error: &io::Error) -> DatagramDrop {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::MSGSIZE) => DatagramDrop::TooLarge,
        _ => DatagramDrop::SendError,
    }
}

pub(super) fn sent(ledger: &Ledger, len: usize) {
    ledger.datagrams.sent.fetch_add(1, Relaxed);
    ledger.datagrams.sent_bytes.fetch_add(len as u64, Relaxed);
}
