//! An accepted stream of any transport: a closed set, so that what is special to one (splice, TLS facts) is a
//! `match` away and nothing on the way is virtual.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::TlsStream;
use crate::stats::Peer;

/// An accepted stream.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
    /// Either of them, with TLS on it.
    Tls(Box<TlsStream<Stream>>),
    /// None: it has been taken.
    Closed,
}

impl Stream {
    /// Who is on the other side of a Unix stream, by the kernel's word.
    pub fn unix_peer(stream: &UnixStream) -> Peer {
        match stream.peer_cred() {
            Ok(cred) => Peer::Unix { uid: cred.uid(), pid: cred.pid().unwrap_or(0) },
            Err(_) => Peer::Unnamed,
        }
    }

    /// Whether bytes go to and from the kernel as they are, so that it may move them itself.
    pub fn is_plain(&self) -> bool {
        matches!(self, Stream::Tcp(_) | Stream::Unix(_))
    }

    /// Does what may block when the reactor says that it will not, and asks to be woken where it still does.
    pub(super) fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let ready = match (self, interest) {
                (Stream::Tcp(stream), Interest::READABLE) => stream.poll_read_ready(cx),
                (Stream::Tcp(stream), _) => stream.poll_write_ready(cx),
                (Stream::Unix(stream), Interest::READABLE) => stream.poll_read_ready(cx),
                (Stream::Unix(stream), _) => stream.poll_write_ready(cx),
                // Only plain streams are asked; these have nothing that the kernel could move itself.
                (Stream::Tls(_) | Stream::Closed, _) => return Poll::Ready(Err(closed())),
            };
            ready!(ready)?;
            let done = match self {
                Stream::Tcp(stream) => stream.try_io(interest, || call(stream.as_fd())),
                Stream::Unix(stream) => stream.try_io(interest, || call(stream.as_fd())),
                Stream::Tls(_) | Stream::Closed => return Poll::Ready(Err(closed())),
            };
            match done {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Makes the close that follows a reset instead of an orderly end: the peer gets RST at once. Unix
    /// streams know no reset; they are closed.
    pub fn reset_on_close(&self) {
        match self {
            Stream::Tcp(stream) => {
                let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
            }
            Stream::Tls(stream) => stream.get_ref().reset_on_close(),
            Stream::Unix(_) | Stream::Closed => {}
        }
    }

    /// The stream below TLS, or itself.
    pub fn plain(&self) -> &Stream {
        match self {
            Stream::Tls(stream) => stream.get_ref(),
            plain => plain,
        }
    }

    /// The stream itself; what stays is closed.
    pub(super) fn take(&mut self) -> Stream {
        std::mem::replace(self, Stream::Closed)
    }

    /// Writes what the kernel takes at once; for refusals, which nobody waits for. Asked of the kernel, since the
    /// reactor has not told yet that a new connection can be written to.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match self {
            Stream::Tcp(stream) => Ok(send(stream, bytes, flags)?),
            Stream::Unix(stream) => Ok(send(stream, bytes, flags)?),
            // What is written beside TLS would break it.
            Stream::Tls(_) | Stream::Closed => Err(closed()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Closed => Poll::Ready(Err(closed())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Closed => Poll::Ready(Err(closed())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Closed => Poll::Ready(Err(closed())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            // Neither transport buffers in user space.
            Stream::Tcp(_) | Stream::Unix(_) | Stream::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Closed => Poll::Ready(Ok(())),
        }
    }
}

fn closed() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
