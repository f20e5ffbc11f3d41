//! Reading and writing through a conn: everything is counted.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Conn;
use crate::net::chunk::Chunk;
use crate::net::stream::Stream;

impl Conn {
    /// Reads what is there, at most `limit` bytes (at most 64 KiB). None is the peer's end. While it
    /// waits no buffer is held.
    pub fn read_chunk(&mut self, limit: usize) -> impl Future<Output = io::Result<Option<Chunk>>> + Send {
        poll_fn(move |cx| self.poll_chunk(cx, limit))
    }

    /// The same for handlers that wait for something else, too, and so poll themselves.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<Option<Chunk>>> {
        Chunk::read(limit, |buf| Pin::new(&mut *self).poll_read(cx, buf))
    }

    /// What has come already; none if nothing has. An end or an error shows itself in the next read.
    pub fn try_chunk(&mut self, limit: usize) -> Option<Chunk> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.poll_chunk(&mut cx, limit) {
            Poll::Ready(Ok(chunk)) => chunk,
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }

    /// What stands behind urgent data that is left in place: a read ends before it, and the reactor, which takes a
    /// short read for the last one, does not tell of the rest.
    pub fn chunk_behind_urgent(&mut self, limit: usize) -> Option<Chunk> {
        let Stream::Tcp(stream) = &self.stream else { return None };
        let read = Chunk::read(limit, |buf| {
            let room = buf.initialize_unfilled();
            match rustix::net::recv(stream, room, rustix::net::RecvFlags::DONTWAIT) {
                Ok((n, _)) => buf.advance(n),
                // An end or an error shows itself in the next read.
                Err(_) => return Poll::Pending,
            }
            Poll::Ready(Ok(()))
        });
        match read {
            Poll::Ready(Ok(Some(chunk))) => {
                self.meter.add_received(chunk.len());
                Some(chunk)
            }
            _ => None,
        }
    }

    /// Writes two pieces as if they were one, with one system call where the kernel takes them.
    pub async fn write_pair(&mut self, first: &[u8], second: &[u8]) -> io::Result<()> {
        let mut slices = [IoSlice::new(first), IoSlice::new(second)];
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.write_vectored(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => IoSlice::advance_slices(&mut rest, n),
            }
        }
        Ok(())
    }

    /// Counts a write's result, and marks the time while the peer does not take it.
    fn wrote(&mut self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.set_blocked(poll.is_pending());
        if let Poll::Ready(Ok(n)) = poll {
            self.meter.add_sent(n);
        }
        poll
    }
}

impl AsyncRead for Conn {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The difference is counted: the buffer may hold something already.
        let before = buf.filled().len();
        let room = buf.remaining();
        let poll = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = poll {
            let n = buf.filled().len() - before;
            this.meter.add_received(n);
            this.ended |= n == 0 && room > 0;
        }
        poll
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
