//! Carries bytes between a conn and another stream, both ways, until both have ended.
//!
//! Small messages go through a buffer of the thread's pool, and an idle connection holds none. Where a direction
//! fills its buffers again and again, and both sides are plain sockets, it goes through a pipe instead
//! (`splice(2)`): the bytes stay in the kernel. When the flood ends it goes back to buffers.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::{AsyncRead, AsyncWrite, Interest};

use super::chunk::Chunk;
use super::conn::Conn;
use super::stream::Stream;

/// What one read takes at most.
const READ: usize = 16 * 1024;

/// So many full reads in a row are a flood.
const FLOOD: u32 = 4;

/// What a pipe holds: the largest that any user may ask for by default (`pipe(7)`).
const PIPE: usize = 1 << 20;

/// So many small pieces in a row through a pipe are the end of a flood.
const CALM: u32 = 8;

/// How many rounds one poll goes at most before others have their turn.
const ROUNDS: u32 = 32;

/// How carrying ended.
#[derive(Debug)]
pub enum Relayed {
    /// Both sides have ended in order.
    Done,
    /// The conn failed.
    ConnFailed(io::Error),
    /// The other stream failed.
    OtherFailed(io::Error),
}

/// Which side an error is of.
enum Side {
    From,
    To,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    /// What was read and is not written yet.
    held: Option<(Chunk, usize)>,
    pipe: Option<Pipe>,
    full_reads: u32,
    /// Whether TLS may hold something that the peer did not take.
    unflushed: bool,
    ended: bool,
    shut: bool,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
    small: u32,
}

impl Conn {
    /// Carries what comes to `other`, and what comes from there back. Everything is counted and stands under the
    /// conn's clocks.
    pub async fn relay(&mut self, other: &mut Stream) -> Relayed {
        self.carry(other, Until::Both).await
    }

    /// The same until `other` has ended and all that came from it has been passed on. That it takes no more of what
    /// comes to it is its own affair: it may still have something to say.
    pub async fn relay_until_other_ends(&mut self, other: &mut Stream) -> Relayed {
        self.carry(other, Until::Other).await
    }

    async fn carry(&mut self, other: &mut Stream, until: Until) -> Relayed {
        let (mut there, mut back) = (Way::default(), Way::default());
        poll_fn(|cx| {
            // Both are polled each time: either may have been woken.
            let mut one = there.poll(cx, self, other, Towards::Other);
            if until == Until::Other && matches!(one, Poll::Ready(Err((Side::To, _)))) {
                there.give_up();
                self.set_blocked(false);
                one = Poll::Ready(Ok(()));
            }
            if let Poll::Ready(Err((side, error))) = one {
                return Poll::Ready(match side {
                    Side::From => Relayed::ConnFailed(error),
                    Side::To => Relayed::OtherFailed(error),
                });
            }
            let two = back.poll(cx, self, other, Towards::Conn);
            if let Poll::Ready(Err((side, error))) = two {
                return Poll::Ready(match side {
                    Side::From => Relayed::OtherFailed(error),
                    Side::To => Relayed::ConnFailed(error),
                });
            }
            if two.is_ready() && (one.is_ready() || until == Until::Other) {
                Poll::Ready(Relayed::Done)
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Towards {
    Other,
    Conn,
}

/// When all is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Both,
    Other,
}

type Moved = Poll<Result<(), (Side, io::Error)>>;

impl Way {
    /// Moves what can be moved. Ready when this direction has ended and its end has been passed on.
    fn poll(&mut self, cx: &mut Context<'_>, conn: &mut Conn, other: &mut Stream, towards: Towards) -> Moved {
        if self.shut {
            return Poll::Ready(Ok(()));
        }
        let blocked = self.is_holding();
        let moved = self.advance(cx, conn, other, towards);
        if blocked || self.is_holding() {
            // Whoever does not take what was sent, the client or the endpoint, stands under the stall clock.
            conn.set_blocked(self.is_holding());
        }
        moved
    }

    /// Nothing more goes this way.
    fn give_up(&mut self) {
        *self = Way { shut: true, ..Way::default() };
    }

    fn is_holding(&self) -> bool {
        self.held.is_some() || self.unflushed || self.pipe.as_ref().is_some_and(|pipe| pipe.held > 0)
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut Conn,
        other: &mut Stream,
        towards: Towards,
    ) -> Moved {
        for _ in 0..ROUNDS {
            if self.pipe.is_some() {
                if !ready!(self.splice(cx, conn, other, towards))? {
                    continue;
                }
            } else {
                ready!(self.write_held(cx, conn, other, towards))?;
                if !self.ended {
                    ready!(self.read(cx, conn, other, towards))?;
                    continue;
                }
            }
            let shut = match towards {
                Towards::Other => Pin::new(&mut *other).poll_shutdown(cx),
                Towards::Conn => Pin::new(&mut *conn).poll_shutdown(cx),
            };
            // A side that is gone already needs no FIN.
            let _ = ready!(shut);
            self.shut = true;
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn read(&mut self, cx: &mut Context<'_>, conn: &mut Conn, other: &mut Stream, towards: Towards) -> Moved {
        let read = match towards {
            Towards::Other => Chunk::read(READ, |buf| Pin::new(&mut *conn).poll_read(cx, buf)),
            Towards::Conn => Chunk::read(READ, |buf| Pin::new(&mut *other).poll_read(cx, buf)),
        };
        match ready!(read).map_err(|error| (Side::From, error))? {
            None => self.ended = true,
            Some(chunk) => {
                self.full_reads = if chunk.len() == READ { self.full_reads + 1 } else { 0 };
                self.held = Some((chunk, 0));
                if self.full_reads >= FLOOD && conn.stream().is_plain() && other.is_plain() {
                    self.full_reads = 0;
                    // Without descriptors to spare it goes on through buffers.
                    self.pipe = Pipe::new().ok();
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn write_held(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut Conn,
        other: &mut Stream,
        towards: Towards,
    ) -> Moved {
        while let Some((chunk, at)) = &mut self.held {
            let rest = &chunk[*at..];
            let written = match towards {
                Towards::Other => Pin::new(&mut *other).poll_write(cx, rest),
                Towards::Conn => Pin::new(&mut *conn).poll_write(cx, rest),
            };
            match ready!(written).map_err(|error| (Side::To, error))? {
                0 => return Poll::Ready(Err((Side::To, io::ErrorKind::WriteZero.into()))),
                n => *at += n,
            }
            if *at == chunk.len() {
                self.held = None;
                let to = if towards == Towards::Other { &*other } else { conn.stream() };
                self.unflushed = !to.is_plain();
            }
        }
        if self.unflushed {
            let flushed = match towards {
                Towards::Other => Pin::new(&mut *other).poll_flush(cx),
                Towards::Conn => Pin::new(&mut *conn).poll_flush(cx),
            };
            ready!(flushed).map_err(|error| (Side::To, error))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Moves what can be moved through the pipe; true when the source has ended and all of it is through.
    fn splice(
        &mut self,
        cx: &mut Context<'_>,
        conn: &mut Conn,
        other: &mut Stream,
        towards: Towards,
    ) -> Poll<Result<bool, (Side, io::Error)>> {
        ready!(self.write_held(cx, conn, other, towards))?;
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(self.ended)) };
        if pipe.held == 0 && !self.ended {
            let from = if towards == Towards::Other { conn.stream() } else { &*other };
            let filled = ready!(pipe.fill(cx, from)).map_err(|error| (Side::From, error))?;
            if towards == Towards::Other {
                conn.meter().add_received(filled);
            }
            self.ended = filled == 0;
            if self.ended && towards == Towards::Other {
                conn.set_ended();
            }
            pipe.small = if filled < READ { pipe.small + 1 } else { 0 };
        }
        while pipe.held > 0 {
            let to = if towards == Towards::Other { &*other } else { conn.stream() };
            let drained = ready!(pipe.drain(cx, to)).map_err(|error| (Side::To, error))?;
            if towards == Towards::Conn {
                conn.meter().add_sent(drained);
            }
        }
        if pipe.small >= CALM {
            self.pipe = None;
        }
        Poll::Ready(Ok(self.ended))
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where the user has too many pipes already it stays at its first size.
        let _ = fcntl_setpipe_size(&write, PIPE);
        Ok(Pipe { read, write, held: 0, small: 0 })
    }

    /// Takes what the socket has; 0 is its end.
    fn fill(&mut self, cx: &mut Context<'_>, from: &Stream) -> Poll<io::Result<usize>> {
        let write = self.write.as_fd();
        let n = ready!(from.poll_io(cx, Interest::READABLE, |socket| through(socket, write, PIPE)))?;
        self.held = n;
        Poll::Ready(Ok(n))
    }

    /// Gives the socket what the pipe holds.
    fn drain(&mut self, cx: &mut Context<'_>, to: &Stream) -> Poll<io::Result<usize>> {
        let (read, held) = (self.read.as_fd(), self.held);
        let n = ready!(to.poll_io(cx, Interest::WRITABLE, |socket| through(read, socket, held)))?;
        self.held -= n;
        Poll::Ready(Ok(n))
    }
}

fn through(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}
