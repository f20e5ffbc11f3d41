//! What one read gave, in a buffer borrowed from the thread's pool.
//!
//! A conn that waits holds no buffer: a chunk is taken for one read call and given back when nothing was
//! there. So ten thousand idle conns share a handful of buffers.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Buffers that a thread keeps for later; more are freed. Bounds what stays after a peak to 1 MiB a thread.
const KEPT_PER_THREAD: usize = 16;

/// The largest chunk, and so the most that a conn has queued for a slow peer.
pub(super) const MAX_CHUNK: usize = 64 * 1024;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Received bytes. Dropping it gives the buffer back.
#[derive(Debug)]
pub struct Chunk {
    buffer: Vec<u8>,
    filled: usize,
}

impl Chunk {
    /// An empty one with room for `limit` bytes (1 to 64 KiB).
    pub(super) fn with_room(limit: usize) -> Self {
        let limit = limit.clamp(1, MAX_CHUNK);
        let mut buffer = POOL.with_borrow_mut(Vec::pop).unwrap_or_default();
        if buffer.len() < limit {
            buffer.resize(limit, 0);
        }
        Chunk { buffer, filled: 0 }
    }

    pub(super) fn room(&mut self, limit: usize) -> &mut [u8] {
        let end = limit.clamp(1, MAX_CHUNK).min(self.buffer.len());
        &mut self.buffer[..end]
    }

    pub(super) fn fill(&mut self, n: usize) {
        self.filled = n;
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // The pool is gone while the thread ends; then the buffer goes too.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT_PER_THREAD {
                pool.push(buffer);
            }
        });
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

    #[test]
    fn a_buffer_comes_back_to_the_pool() {
        let mut chunk = Chunk::with_room(100);
        chunk.room(100)[..2].copy_from_slice(b"hi");
        chunk.fill(2);
        assert_eq!(&*chunk, b"hi");
        let address = chunk.buffer.as_ptr();
        drop(chunk);
        assert_eq!(Chunk::with_room(50).buffer.as_ptr(), address);
    }

    #[test]
    fn a_pooled_buffer_gives_no_more_room_than_asked_for() {
        drop(Chunk::with_room(1000));
        assert_eq!(Chunk::with_room(10).room(10).len(), 10);
        assert_eq!(Chunk::with_room(1 << 20).room(1 << 20).len(), MAX_CHUNK);
    }
}
