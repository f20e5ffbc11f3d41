//! HTTP/1.1 on one connection: what has come is answered in order, with one write where it came together.
//!
//! A connection that waits for its next request holds no buffer: what one read gave is answered from where it
//! is, and only the beginning of a head that is not complete is kept.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::body::Skipper;
use super::reply::{CONTINUE, Replies, Template, Then};
use super::request::{self, Fault, Framing, GET, HEAD, Head};
use super::{Counts, Http, InFlight};
use crate::handler::Conn;
use crate::net::Chunk;
use crate::stats::{CloseReason, Ledger, Phase};

/// What one read takes at most.
const READ: usize = 16 * 1024;

/// Answers are written when so much has come together, and longer bodies are written from where they are.
const WRITE: usize = 32 * 1024;

/// How long an idle connection may still bring a request when it is asked to finish: one that the client sent
/// before it could know is answered, and told that it was the last.
const LAST_CALL: Duration = Duration::from_millis(500);

/// What an HTTP/2 client that knows the server sends first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How the HTTP/1.1 part of a connection ends.
pub(super) enum End {
    /// It is to be closed.
    Closed,
    /// The client speaks HTTP/2; these bytes, the preface first, have been read already.
    Http2(Vec<u8>),
}

/// What a read gave.
enum Input {
    Chunk(Chunk),
    /// The client's end.
    End,
    /// A request did not become complete in time.
    OutOfTime,
    /// The gateway drains, and no request was under way.
    Drained,
}

/// What stands at the front of the input.
enum Step {
    /// Not enough of it yet.
    More,
    /// A client that speaks HTTP/2.
    Http2,
    /// A head whose client waits before it sends the body.
    Continue,
    /// A complete request.
    Request(Head),
}

/// One connection.
struct Engine<'a> {
    http: &'a Http,
    counts: &'a Counts,
    ledger: Arc<Ledger>,
    /// The beginning of a head.
    pending: Vec<u8>,
    /// The request whose body is coming.
    body: Option<(Head, Skipper)>,
    /// Set while a request is not complete.
    begun: Option<(Instant, InFlight)>,
    /// Whether nothing has been answered yet, so that a preface may come.
    is_new: bool,
    /// Whether the connection drains.
    drains: bool,
    /// Answers since the last write, and whether the connection closes after it.
    answered: u64,
    closes: bool,
}

pub(super) async fn serve(http: &Http, conn: &mut Conn, counts: &Counts) -> io::Result<End> {
    let ledger = conn.meter().site().ledger.clone();
    let mut draining = pin!(conn.draining());
    let mut engine = Engine {
        http,
        counts,
        ledger,
        pending: Vec::new(),
        body: None,
        begun: None,
        is_new: true,
        drains: false,
        answered: 0,
        closes: false,
    };
    loop {
        let chunk = match engine.read(conn, draining.as_mut()).await? {
            Input::Chunk(chunk) => chunk,
            Input::End if engine.is_partial() => {
                return engine.refuse(conn, Fault::BadRequest, Out::new()).await;
            }
            Input::OutOfTime => return engine.refuse(conn, Fault::Timeout, Out::new()).await,
            Input::End | Input::Drained => return Ok(End::Closed),
        };
        if let Some(end) = engine.take(conn, &chunk).await? {
            return Ok(end);
        }
    }
}

impl Engine<'_> {
    /// Whether a request has begun and is not complete.
    fn is_partial(&self) -> bool {
        !self.pending.is_empty() || self.body.is_some()
    }

    async fn read(
        &mut self,
        conn: &mut Conn,
        draining: Pin<&mut WaitForCancellationFutureOwned>,
    ) -> io::Result<Input> {
        let input = |chunk: Option<Chunk>| chunk.map_or(Input::End, Input::Chunk);
        if self.is_partial() {
            if self.begun.is_none() {
                self.begun = Some((Instant::now(), InFlight::begin(self.counts)));
                conn.enter(Phase::Request);
            }
            let killed = conn.killed();
            return tokio::select! {
                biased;
                chunk = conn.read_chunk(READ) => Ok(input(chunk?)),
                reason = killed => Ok(match reason {
                    CloseReason::Request => Input::OutOfTime,
                    _ => Input::Drained,
                }),
            };
        }
        if !self.drains {
            tokio::select! {
                biased;
                chunk = conn.read_chunk(READ) => return Ok(input(chunk?)),
                () = draining => self.drains = true,
            }
        }
        match tokio::time::timeout(LAST_CALL, conn.read_chunk(READ)).await {
            Ok(chunk) => Ok(input(chunk?)),
            Err(_) => Ok(Input::Drained),
        }
    }

    /// Answers what is complete and keeps the rest.
    async fn take(&mut self, conn: &mut Conn, chunk: &[u8]) -> io::Result<Option<End>> {
        let started = Instant::now();
        let pending = std::mem::take(&mut self.pending);
        let joined;
        let mut input: &[u8] = if pending.is_empty() {
            chunk
        } else {
            // Without a line's end a head has not become complete: it is looked at once a line, not once a byte.
            let grows = pending.len() + chunk.len() <= request::MAX_HEAD && !self.may_be_preface(&pending);
            joined = [&*pending, chunk].concat();
            if grows && !chunk.contains(&b'\n') {
                self.pending = joined;
                return Ok(None);
            }
            &joined
        };
        let mut out = Out::new();
        loop {
            let (step, taken) = match self.step(input) {
                Ok(step) => step,
                Err(fault) => return self.refuse(conn, fault, out).await.map(Some),
            };
            input = &input[taken..];
            match step {
                Step::More => break,
                Step::Http2 => return Ok(Some(End::Http2(input.to_vec()))),
                Step::Continue => out.0.extend_from_slice(CONTINUE),
                Step::Request(head) => {
                    self.answer(conn, head, &mut out).await?;
                    if self.closes {
                        break;
                    }
                }
            }
        }
        self.flush(conn, &mut out, started).await?;
        if self.closes {
            return Ok(Some(End::Closed));
        }
        self.pending.extend_from_slice(input);
        Ok(None)
    }

    fn may_be_preface(&self, bytes: &[u8]) -> bool {
        self.is_new && bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes)
    }

    /// What stands at the front, and how many bytes of it are used up.
    fn step(&mut self, input: &[u8]) -> Result<(Step, usize), Fault> {
        if let Some((head, skipper)) = &mut self.body {
            let (taken, complete) = skipper.skip(input)?;
            let head = *head;
            if complete {
                self.body = None;
                return Ok((Step::Request(head), taken));
            }
            return Ok((Step::More, taken));
        }
        if input.is_empty() || self.may_be_preface(input) {
            return Ok((Step::More, 0));
        }
        if self.is_new && input.starts_with(PREFACE) {
            return Ok((Step::Http2, 0));
        }
        let Some((head, taken)) = request::parse(input)? else { return Ok((Step::More, 0)) };
        self.is_new = false;
        if head.framing == Framing::Length(0) {
            return Ok((Step::Request(head), taken));
        }
        // A body that is too long is refused before it is sent.
        self.body = Some((head, Skipper::new(head.framing)?));
        let sent_already = input.len() > taken;
        if head.expects_continue && !sent_already {
            return Ok((Step::Continue, taken));
        }
        let (_, rest) = input.split_at(taken);
        let (step, more) = self.step(rest)?;
        Ok((step, taken + more))
    }

    async fn answer(&mut self, conn: &mut Conn, head: Head, out: &mut Out) -> io::Result<()> {
        if let Some(delay) = self.http.delay {
            self.write(conn, out).await?;
            let _counted = self.begun.is_none().then(|| InFlight::begin(self.counts));
            conn.enter(Phase::Work);
            tokio::time::sleep(delay).await;
            conn.enter(Phase::Open);
        }
        self.drains |= conn.is_draining();
        self.closes = !head.keep_alive || self.drains;
        let then = match (self.closes, head.is_old) {
            (true, _) => Then::Close,
            (false, true) => Then::GoOnOld,
            (false, false) => Then::GoOn,
        };
        let Replies { ok, not_allowed } = &self.http.replies;
        let is_head = head.method == HEAD;
        let template: &Template = match head.method {
            GET | HEAD => &ok[then as usize],
            _ => &not_allowed[then as usize],
        };
        self.counts.answered(head.method);
        self.answered += 1;
        match template.long_body().filter(|_| !is_head) {
            Some(body) => {
                template.append(true, &mut out.0);
                self.write(conn, out).await?;
                conn.write_all(body).await
            }
            None => {
                template.append(is_head, &mut out.0);
                if out.0.len() >= WRITE { self.write(conn, out).await } else { Ok(()) }
            }
        }
    }

    async fn write(&mut self, conn: &mut Conn, out: &mut Out) -> io::Result<()> {
        if !out.0.is_empty() {
            conn.write_all(&out.0).await?;
            out.0.clear();
        }
        Ok(())
    }

    /// Writes the answers, and accounts for the requests that they belong to.
    async fn flush(&mut self, conn: &mut Conn, out: &mut Out, started: Instant) -> io::Result<()> {
        self.write(conn, out).await?;
        let answered = std::mem::take(&mut self.answered);
        if answered > 0 {
            let begun = self.begun.take().map(|(at, _)| {
                conn.enter(Phase::Open);
                at
            });
            self.ledger.observe_units(answered, begun.unwrap_or(started).elapsed());
        }
        Ok(())
    }

    /// Answers what cannot be served, after what came before it, and closes.
    async fn refuse(&mut self, conn: &mut Conn, fault: Fault, mut out: Out) -> io::Result<End> {
        Replies::fault(fault).append(false, &mut out.0);
        self.counts.refused(fault.code());
        self.answered += 1;
        if matches!(fault, Fault::ContentTooLarge | Fault::UriTooLong | Fault::FieldsTooLarge) {
            conn.ends_because(CloseReason::TooLarge);
        }
        self.flush(conn, &mut out, Instant::now()).await?;
        Ok(End::Closed)
    }
}

/// Answers to be written, in a buffer of the thread's.
struct Out(Vec<u8>);

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers that a thread keeps, and how large one may be.
const SPARES: usize = 4;
const SPARE_SIZE: usize = 2 * WRITE;

impl Out {
    fn new() -> Self {
        Out(SPARE.with_borrow_mut(Vec::pop).unwrap_or_default())
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        buffer.clear();
        // The pool is gone while the thread ends.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARES && buffer.capacity() <= SPARE_SIZE {
                spare.push(buffer);
            }
        });
    }
}
