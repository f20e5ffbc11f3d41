//! HTTP/1.1 on a connection: bytes into the reader, answers out, one write for what one read brought.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::AsyncWrite;

use super::Inner;
use super::counts::Counts;
use super::head::Method;
use super::page::{Persistence, append_error};
use super::reader::{Reader, Request, Step};
use super::refusal::Refusal;
use crate::handler::{Conn, Phase};
use crate::net::Chunk;
use crate::stats::CloseReason;

/// The most that one read takes.
const READ: usize = 16 * 1024;

/// How long an idle connection may still bring a request when it is asked to finish: one that the client sent
/// before it could know is answered, and told that it was the last.
const LAST_CALL: Duration = Duration::from_millis(500);

/// Answers are written when so much has come together, and when there is nothing more to answer.
const FULL: usize = 32 * 1024;

pub(super) const NOT_ALLOWED: Refusal = Refusal { status: 405, why: "only GET and HEAD are answered" };

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

thread_local! {
    /// A buffer for answers, used again and again. While one waits for its peer, another is made.
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What ended HTTP/1.1 on a connection.
pub(super) enum End {
    /// The connection is over.
    Over,
    /// The peer speaks HTTP/2; what has come behind the preface.
    Http2(Vec<u8>),
}

/// What a connection waits for has happened.
enum Event {
    Bytes(Chunk),
    /// The peer's end.
    End,
    /// A kill that is not for a request out of time.
    Killed,
    /// A drain, between two requests.
    LastCall,
    /// The request that has begun is out of time.
    Late,
}

/// How an answer's chunk went.
enum Flow {
    On,
    End(End),
}

/// One connection.
pub(super) struct Talk<'a> {
    conn: &'a mut Conn,
    http: &'a Inner,
    counts: &'a Counts,
    reader: Reader,
    /// Answers to be written.
    out: Vec<u8>,
    /// How many they are.
    answers: u64,
    /// When the requests came that they answer.
    came: Instant,
    /// Whether the peer is known to speak HTTP/1.1.
    is_known: bool,
    /// Whether the conn's signals wake this task.
    is_armed: bool,
    /// Whether the request clock runs.
    is_begun: bool,
}

impl<'a> Talk<'a> {
    pub(super) fn new(conn: &'a mut Conn, http: &'a Inner, counts: &'a Counts) -> Self {
        Talk {
            conn,
            http,
            counts,
            reader: Reader::new(),
            out: Vec::new(),
            answers: 0,
            came: Instant::now(),
            is_known: false,
            is_armed: false,
            is_begun: false,
        }
    }

    /// Serves requests to the end.
    pub(super) async fn run(&mut self) -> io::Result<End> {
        loop {
            match self.event().await? {
                Event::Bytes(chunk) => {
                    if let Flow::End(end) = self.answer(chunk).await? {
                        return Ok(end);
                    }
                }
                Event::End if self.is_begun => {
                    self.refuse(Refusal::CUT_OFF, Method::Other).await?;
                    return Ok(End::Over);
                }
                Event::End | Event::Killed => return Ok(End::Over),
                Event::LastCall => {
                    let last = tokio::time::timeout(LAST_CALL, self.conn.read_chunk(READ));
                    // Boxed, so that a conn is not as large for the sake of its end.
                    match Box::pin(last).await {
                        Ok(Ok(Some(chunk))) => {
                            if let Flow::End(end) = self.answer(chunk).await? {
                                return Ok(end);
                            }
                        }
                        _ => return Ok(End::Over),
                    }
                }
                Event::Late => {
                    self.refuse(Refusal::TIMEOUT, Method::Other).await?;
                    return Ok(End::Over);
                }
            }
        }
    }

    /// Waits for bytes, without a buffer. Between two requests a drain ends the wait, within one its clock.
    async fn event(&mut self) -> io::Result<Event> {
        let _guard = self.reader.is_in_body().then(|| self.counts.waiting(1));
        let conn = &mut *self.conn;
        let (armed, begun) = (&mut self.is_armed, self.is_begun);
        poll_fn(move |cx| {
            match conn.poll_chunk(cx, READ) {
                Poll::Ready(read) => {
                    return Poll::Ready(read.map(|chunk| chunk.map_or(Event::End, Event::Bytes)));
                }
                Poll::Pending => {}
            }
            if !*armed {
                conn.meter().wake_on_signal(cx);
                *armed = true;
            }
            if !begun && conn.is_draining() {
                return Poll::Ready(Ok(Event::LastCall));
            }
            match conn.meter().verdict() {
                Some(CloseReason::Request) if begun => Poll::Ready(Ok(Event::Late)),
                Some(_) if begun => Poll::Ready(Ok(Event::Killed)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Answers what a read has brought.
    async fn answer(&mut self, mut chunk: Chunk) -> io::Result<Flow> {
        let now = Instant::now();
        if !self.reader.is_in_body() {
            self.came = now;
        }
        self.out = OUT.take();
        let mut at = 0;
        let flow = loop {
            let mut rest = &chunk[at..];
            let step = self.reader.next(&mut rest);
            at = chunk.len() - rest.len();
            match step {
                Step::More => break Flow::On,
                Step::Expects => self.out.extend_from_slice(CONTINUE),
                Step::Request(request) => {
                    if self.is_begun {
                        self.leave(Phase::Open);
                    }
                    let now = self.pause(now).await?;
                    // At a drain the last answer says that it is the last; none is while more has come already.
                    let is_last = at == chunk.len() && self.conn.is_draining();
                    let further = if is_last && request.keeps { self.conn.try_chunk(READ) } else { None };
                    let keeps = request.keeps && (!is_last || further.is_some());
                    self.one(Request { keeps, ..request }, now).await?;
                    if !keeps {
                        break Flow::End(End::Over);
                    }
                    if let Some(further) = further {
                        (chunk, at) = (further, 0);
                    }
                }
                Step::Refused(refusal, method) => {
                    self.refuse(refusal, method).await?;
                    return Ok(Flow::End(End::Over));
                }
                Step::Http2 => break Flow::End(End::Http2(rest.to_vec())),
            }
        };
        self.begin();
        self.flush(false).await?;
        if matches!(flow, Flow::End(End::Over)) {
            // Whatever still comes is thrown away; no clock of a request runs meanwhile.
            self.conn.enter(Phase::Work);
        }
        OUT.set(std::mem::take(&mut self.out));
        Ok(flow)
    }

    /// Starts the clock of a request of which part has come; nothing but its end stops it.
    fn begin(&mut self) {
        if self.reader.has_begun() && !self.is_begun {
            self.is_begun = true;
            self.conn.meter().set_listens(true);
            self.conn.enter(Phase::Request);
        }
    }

    /// Goes on to another step when the request is complete, or refused.
    fn leave(&mut self, phase: Phase) {
        self.is_begun = false;
        self.conn.meter().set_listens(false);
        self.conn.enter(phase);
    }

    /// Appends one answer.
    async fn one(&mut self, request: Request, now: Instant) -> io::Result<()> {
        let Request { method, .. } = request;
        let persistence = Persistence::of(&request);
        self.answers += 1;
        if !matches!(method, Method::Get | Method::Head) {
            append_error(&mut self.out, NOT_ALLOWED, method, persistence, now);
            self.counts.answered(method);
        } else {
            self.http.page.append(&mut self.out, method == Method::Head, persistence, now);
            self.counts.answered(method);
            if method == Method::Get && self.http.page.behind().is_some() {
                self.flush(true).await?;
            }
        }
        if self.out.len() >= FULL {
            self.flush(false).await?;
        }
        Ok(())
    }

    /// Lets an answer wait, if it should, and gives the time after that.
    async fn pause(&mut self, now: Instant) -> io::Result<Instant> {
        let Some(delay) = self.http.delay else { return Ok(now) };
        self.flush(false).await?;
        let _guard = self.counts.waiting(1);
        self.conn.enter(Phase::Work);
        // Boxed, so that a conn without a delay is not as large.
        Box::pin(tokio::time::sleep(delay)).await;
        self.conn.enter(Phase::Open);
        Ok(Instant::now())
    }

    /// Answers a request that is refused, and lets the answer arrive.
    async fn refuse(&mut self, refusal: Refusal, method: Method) -> io::Result<()> {
        if matches!(refusal.status, 413 | 414 | 431) {
            self.conn.ends_because(CloseReason::TooLarge);
        }
        self.conn.lingers_long();
        self.leave(Phase::Work);
        self.counts.refused(refusal.status);
        self.answers += 1;
        append_error(&mut self.out, refusal, method, Persistence::Closes, Instant::now());
        self.flush(false).await
    }

    /// Writes what has come together, and the page's body behind it if asked for.
    async fn flush(&mut self, with_body: bool) -> io::Result<()> {
        let body = if with_body { self.http.page.behind().unwrap_or_default() } else { &[] };
        let (out, conn, counts) = (&self.out, &mut *self.conn, self.counts);
        if out.is_empty() {
            return Ok(());
        }
        let answers = self.answers;
        let mut guard = None;
        let mut written = 0_usize;
        poll_fn(|cx| {
            loop {
                let rest = match written.checked_sub(out.len()) {
                    None => &out[written..],
                    Some(at) => &body[at..],
                };
                let poll = if rest.is_empty() {
                    Pin::new(&mut *conn).poll_flush(cx).map_ok(|()| 0)
                } else if written < out.len() && !body.is_empty() {
                    let slices = [io::IoSlice::new(rest), io::IoSlice::new(body)];
                    Pin::new(&mut *conn).poll_write_vectored(cx, &slices)
                } else {
                    Pin::new(&mut *conn).poll_write(cx, rest)
                };
                if poll.is_pending() {
                    guard.get_or_insert_with(|| counts.waiting(answers));
                }
                match ready!(poll)? {
                    0 if rest.is_empty() => return Poll::Ready(Ok(())),
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    n => written += n,
                }
            }
        })
        .await
        .map(|()| self.answered())
    }

    /// Accounts for the answers that are written.
    fn answered(&mut self) {
        self.out.clear();
        let now = Instant::now();
        if self.answers > 0 {
            let meter = self.conn.meter();
            if !std::mem::replace(&mut self.is_known, true) {
                meter.set_protocol("http/1.1");
            }
            meter.add_requests(self.answers);
            meter.site().ledger.observe_units(self.answers, now - self.came);
            self.answers = 0;
        }
        self.came = now;
    }
}
