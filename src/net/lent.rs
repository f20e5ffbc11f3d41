//! A conn's own socket in the hands of a process: its bytes do not pass through here, and are asked of the kernel.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::Shutdown;

use super::conn::Conn;
use super::sock_diag::connection::{Carried, carried};
use super::stream::Stream;

/// A conn whose socket is lent. Meanwhile nothing is read or written through the conn: the socket blocks, because
/// O_NONBLOCK is shared by all descriptors of it and programs do not expect it.
#[derive(Debug)]
pub struct Lent<'a> {
    conn: &'a mut Conn,
    local: SocketAddr,
    peer: SocketAddr,
    seen: Carried,
    returned: bool,
}

/// What a look at a lent connection told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is there, and its bytes are counted.
    Open,
    /// It is gone.
    Gone,
    /// The kernel does not tell.
    Unknown,
}

impl Conn {
    /// Whether its socket can be lent: bytes go to and from the kernel as they are, and it counts them.
    pub fn can_be_lent(&self) -> bool {
        matches!(self.stream(), Stream::Tcp(_))
    }

    /// Lends the socket until what is returned is [given back](Lent::give_back). Dropping it instead ends the
    /// connection, whoever still has the socket.
    ///
    /// # Errors
    /// The socket's, and one that cannot be lent.
    pub fn lend(&mut self) -> io::Result<Lent<'_>> {
        let Stream::Tcp(stream) = self.stream() else { return Err(io::ErrorKind::Unsupported.into()) };
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        set_blocking(stream, true)?;
        Ok(Lent { conn: self, local, peer, seen: Carried { received: 0, sent: 0 }, returned: false })
    }
}

impl Lent<'_> {
    /// One more descriptor of the socket.
    ///
    /// # Errors
    /// There are no more.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        match self.conn.stream() {
            Stream::Tcp(stream) => stream.as_fd().try_clone_to_owned(),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The conn, to be looked at.
    pub fn conn(&self) -> &Conn {
        self.conn
    }

    /// Counts what has been carried since the last look.
    pub fn look(&mut self) -> Look {
        match carried(self.local, self.peer) {
            Ok(Some(now)) => {
                let more =
                    |now: u64, seen: u64| usize::try_from(now.saturating_sub(seen)).unwrap_or(usize::MAX);
                let meter = self.conn.meter();
                meter.add_received(more(now.received, self.seen.received));
                meter.add_sent(more(now.sent, self.seen.sent));
                self.seen = now;
                Look::Open
            }
            Ok(None) => Look::Gone,
            Err(_) => Look::Unknown,
        }
    }

    /// Ends the loan: whoever had the socket is gone, and the conn may be used again.
    ///
    /// # Errors
    /// The socket's.
    pub fn give_back(mut self) -> io::Result<()> {
        self.look();
        if let Stream::Tcp(stream) = self.conn.stream() {
            set_blocking(stream, false)?;
        }
        self.returned = true;
        Ok(())
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if self.returned {
            return;
        }
        self.look();
        if let Stream::Tcp(stream) = self.conn.stream() {
            let _ = set_blocking(stream, false);
            let _ = rustix::net::shutdown(stream, Shutdown::Both);
        }
    }
}

fn set_blocking(socket: impl std::os::fd::AsFd, blocks: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(&socket)?;
    flags.set(OFlags::NONBLOCK, !blocks);
    Ok(fcntl_setfl(&socket, flags)?)
}
