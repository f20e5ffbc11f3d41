//! What one read gave, in a buffer borrowed from the thread's pool.
//!
//! A conn that waits holds no buffer: a chunk is taken for one read call and given back when nothing was
//! there. So ten thousand idle conns share a handful of buffers.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::task::Poll;

use tokio::io::ReadBuf;

/// Buffers that a thread keeps for later; more are freed. Bounds what stays after a peak to 1 MiB a thread.
const KEPT_PER_THREAD: usize = 16;

/// The largest chunk, and so the most that a conn has queued for a slow peer.
pub(super) const MAX_CHUNK: usize = 64 * 1024;

thread_local! {
    /// The buffer that the next read takes. Apart from the others, since one is nearly always enough, and taking it
    /// out of a cell is all that a read then costs.
    static NEXT: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    /// The others.
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Received bytes. Dropping it gives the buffer back.
#[derive(Debug)]
pub struct Chunk {
    buffer: Box<[u8]>,
    filled: usize,
}

impl Chunk {
    /// What one read of at most `limit` bytes (1 to 64 KiB) gives; none is the end. The buffer goes back at once
    /// when there is nothing in it, since most reads of a waiting conn find nothing.
    #[inline]
    pub(super) fn read(
        limit: usize,
        read: impl FnOnce(&mut ReadBuf<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<Option<Self>>> {
        let limit = limit.clamp(1, MAX_CHUNK);
        let mut buffer = match NEXT.take() {
            Some(buffer) if buffer.len() >= limit => buffer,
            _ => provide(limit),
        };
        let mut buf = ReadBuf::new(&mut buffer[..limit]);
        let poll = read(&mut buf);
        let filled = buf.filled().len();
        let chunk = Chunk { buffer, filled };
        match poll {
            Poll::Ready(Ok(())) => Poll::Ready(Ok((filled > 0).then_some(chunk))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A buffer that is large enough: one of the others, or a new one.
#[cold]
fn provide(limit: usize) -> Box<[u8]> {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.filter(|buffer| buffer.len() >= limit).unwrap_or_else(|| vec![0; limit].into())
}

/// Keeps one more besides the next.
#[cold]
fn keep(buffer: Box<[u8]>) {
    // The pool is gone while the thread ends; then the buffer goes too.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() + 1 < KEPT_PER_THREAD {
            spare.push(buffer);
        }
    });
}

impl Drop for Chunk {
    #[inline]
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        if let Ok(Some(displaced)) = NEXT.try_with(|next| next.replace(Some(buffer))) {
            keep(displaced);
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

impl DerefMut for Chunk {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.filled]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(limit: usize, bytes: &'static [u8]) -> Option<Chunk> {
        let read = |buf: &mut ReadBuf<'_>| {
            buf.put_slice(&bytes[..bytes.len().min(buf.remaining())]);
            Poll::Ready(Ok(()))
        };
        match Chunk::read(limit, read) {
            Poll::Ready(chunk) => chunk.unwrap(),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_buffer_comes_back_to_the_pool() {
        let first = chunk(100, b"hi").unwrap();
        assert_eq!(&*first, b"hi");
        let address = first.buffer.as_ptr();
        drop(first);
        assert_eq!(chunk(50, b"again").unwrap().buffer.as_ptr(), address);
    }

    #[test]
    fn whoever_waits_or_ends_holds_no_buffer() {
        assert!(chunk(100, b"").is_none());
        assert!(Chunk::read(100, |_| Poll::Pending).is_pending());
        assert_eq!(NEXT.take().map(|buffer| buffer.len()), Some(100));
        SPARE.with_borrow(|spare| assert!(spare.is_empty()));
    }

    #[test]
    fn a_pooled_buffer_gives_no_more_room_than_asked_for() {
        drop(chunk(1000, b"x"));
        assert_eq!(chunk(3, b"abcdef").unwrap().len(), 3);
        static LARGE: [u8; 2 * MAX_CHUNK] = [0; 2 * MAX_CHUNK];
        assert_eq!(chunk(1 << 20, &LARGE).unwrap().len(), MAX_CHUNK);
    }
}
