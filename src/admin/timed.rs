//! A stream with deadlines where hyper has none: for writes, so that who does not read what it asked for
//! is cut off; and for the end, so that who is still sending gets to read the answer.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// How long what still comes is thrown away at the end. Closing with unread bytes in the buffer would
/// reset the connection, and the reset overtakes the answer: a 413, for example.
const LINGER: Duration = Duration::from_secs(1);

/// A stream with deadlines.
pub(super) struct Timed<S> {
    stream: S,
    /// How long a write may wait.
    stall: Duration,
    /// When this is cancelled nobody waits for the peer at the end.
    stop: CancellationToken,
    /// Whether the peer has asked for something that it has no answer to, or has asked for nothing yet.
    owing: Arc<AtomicBool>,
    /// Runs while the stream takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs after our end was sent.
    lingers: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Timed<S> {
    pub(super) fn new(stream: S, stall: Duration, stop: CancellationToken) -> Self {
        Timed { stream, stall, stop, owing: Arc::new(AtomicBool::new(true)), stalled: None, lingers: None }
    }

    /// Says, while it lives and after, whether more has come since the last that was sent.
    pub(super) fn owing(&self) -> Arc<AtomicBool> {
        self.owing.clone()
    }

    /// Tries to write; the clock runs from the first time that the stream takes nothing.
    fn timed<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = write(Pin::new(&mut self.stream), cx) {
            self.stalled = None;
            return Poll::Ready(result);
        }
        let limit = self.stall;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The same for what carries an answer.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let n = ready!(self.timed(cx, write))?;
        self.owing.store(false, Relaxed);
        Poll::Ready(Ok(n))
    }

    /// Throws away what comes until the peer ends too, or for a second.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.lingers.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut bytes = [0; 4096];
        while clock.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Pending if !self.stop.is_cancelled() => return Poll::Pending,
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.owing.store(true, Relaxed);
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.written(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.timed(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(self.timed(cx, |stream, cx| stream.poll_shutdown(cx)))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    fn pair() -> (Timed<DuplexStream>, DuplexStream, CancellationToken) {
        let (ours, theirs) = duplex(10);
        let stop = CancellationToken::new();
        (Timed::new(ours, STALL, stop.clone()), theirs, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off_and_who_takes_a_little_is_not() {
        let (mut stream, mut theirs, _) = pair();
        let reader = tokio::spawn(async move {
            for _ in 0..5 {
                sleep(STALL - Duration::from_secs(1)).await;
                theirs.read_exact(&mut [0; 10]).await.unwrap();
            }
            theirs
        });
        let started = Instant::now();
        let error = stream.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 5 * 29 + 30);
        drop(reader.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn who_still_sends_is_heard_out_for_a_second() {
        let (mut stream, mut theirs, _) = pair();
        let sender = tokio::spawn(async move { theirs.write_all(&[0; 1000]).await.map(|()| theirs) });
        let started = Instant::now();
        stream.shutdown().await.unwrap();
        assert_eq!(started.elapsed(), LINGER);
        drop(sender.await.unwrap().expect("all that was sent was taken"));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_peer_that_has_ended_or_when_all_end() {
        let (mut stream, theirs, stop) = pair();
        let started = Instant::now();
        stop.cancel();
        stream.shutdown().await.unwrap();
        drop(theirs);
        let (mut stream, theirs, _) = pair();
        drop(theirs);
        let _ = stream.shutdown().await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
