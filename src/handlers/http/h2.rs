//! HTTP/2 on one connection (RFC 9113), by hyper, with every limit set.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;

use super::Inner;
use super::body::MAX_BODY;
use super::frames::Frames;
use super::h1::NOT_ALLOWED;
use super::head::Method;
use super::page::{self, Page};
use super::refusal::Refusal;
use crate::config::{Timeout, Timeouts};
use crate::handler::{Conn, Phase};
use crate::stats::{Meter, Stats};

/// Streams that a client may have open at once (RFC 9113, 5.1.2).
const MAX_STREAMS: u32 = 100;

/// Streams that a client may reset before they were taken up: beyond that it is told to go (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// Resets that we may owe a client's mistakes.
const MAX_LOCAL_RESETS: usize = 100;

/// The longest list of header fields, in bytes, as HTTP/1.1 has it. It bounds CONTINUATION frames, too.
const MAX_FIELDS: u32 = super::MAX_HEAD as u32;

/// Windows: request bodies are thrown away, so little is enough.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// Frames, and what waits to be written for a stream.
const MAX_FRAME: u32 = 16 * 1024;
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// A client that is silent is asked whether it is there, and has so long to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a connection; `begun` is what has come behind the preface.
pub(super) async fn serve(http: &Arc<Inner>, conn: &mut Conn, begun: Vec<u8>) -> io::Result<()> {
    let meter = conn.meter().clone();
    meter.set_protocol("h2");
    // A kill is heard, so that the client is told to go.
    meter.set_listens(true);
    let mut frames = Frames::default();
    frames.take(&begun);
    let now = meter.site().stats.now_ms();
    let preface = super::PREFACE.iter().copied().chain(begun).collect();
    let shared = Arc::new(Shared {
        transport: Inner::counts_index(conn),
        http: http.clone(),
        timeouts: meter.site().timeouts,
        steps: Mutex::new(Steps {
            open: 0,
            asks_since_ms: Some(now),
            partial_since_ms: None,
            idle_since_ms: now,
        }),
        meter,
    });
    shared.enter(|steps| steps.partial_since_ms = frames.is_partial().then_some(now));
    let io = TokioIo::new(Io { begun: preface, at: 0, conn, frames, shared: &shared });
    let result = run(io, &shared).await;
    match result {
        Ok(()) => Ok(()),
        // The client's mistakes have been answered with GOAWAY; only a failing socket is an error of ours.
        Err(error) => match std::error::Error::source(&error).and_then(|s| s.downcast_ref::<io::Error>()) {
            Some(io) => Err(io::Error::new(io.kind(), error.to_string())),
            None => Ok(()),
        },
    }
}

async fn run(io: TokioIo<Io<'_>>, shared: &Arc<Shared>) -> hyper::Result<()> {
    let service = service_fn(|request| answer(shared.clone(), request));
    let mut connection = pin!(builder().serve_connection(io, service));
    let (mut is_armed, mut is_leaving) = (false, false);
    poll_fn(|cx| {
        if !is_armed {
            shared.meter.wake_on_signal(cx);
            is_armed = true;
        }
        if !is_leaving && (shared.meter.is_draining() || shared.meter.verdict().is_some()) {
            // GOAWAY. What is open may finish; after a kill the clocks do not wait for it.
            is_leaving = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await
}

fn builder() -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams::default());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        .max_header_list_size(MAX_FIELDS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .adaptive_window(false)
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .auto_date_header(false);
    builder
}

/// Runs a connection's streams, and ends them with it.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut streams = locked(&self.0);
        while streams.try_join_next().is_some() {}
        streams.spawn(stream);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the requests of one connection share.
struct Shared {
    http: Arc<Inner>,
    transport: usize,
    timeouts: Timeouts,
    meter: Arc<Meter>,
    steps: Mutex<Steps>,
}

/// What the clocks must know: pings, and header blocks that never end, keep no connection open.
struct Steps {
    /// Requests under way.
    open: usize,
    /// Since when the first request is waited for: a connection begins with one, as in HTTP/1.1.
    asks_since_ms: Option<u64>,
    /// Since when a frame or a header block is not complete.
    partial_since_ms: Option<u64>,
    /// Since when no request is under way.
    idle_since_ms: u64,
}

impl Shared {
    /// Changes the steps, and has the clock run that fits them.
    fn enter(&self, change: impl FnOnce(&mut Steps)) {
        let mut steps = locked(&self.steps);
        change(&mut steps);
        let stats: &Stats = &self.meter.site().stats;
        let (phase, since) = match (steps.open, steps.asks_since_ms.or(steps.partial_since_ms)) {
            (0, Some(since)) if !self.is_idle_first(since, steps.idle_since_ms) => (Phase::Request, since),
            (0, _) => (Phase::Idle, steps.idle_since_ms),
            (_, Some(since)) => (Phase::Request, since),
            (_, None) => (Phase::Work, stats.now_ms()),
        };
        self.meter.set_phase_since(phase, since);
    }

    /// Whether the idle clock runs out before that of a request: one that begins again and again must not
    /// stop it.
    fn is_idle_first(&self, request_since_ms: u64, idle_since_ms: u64) -> bool {
        let end = |since_ms: u64, limit: Timeout| {
            limit.get().map_or(u128::MAX, |limit| u128::from(since_ms) + limit.as_millis())
        };
        end(idle_since_ms, self.timeouts.idle) < end(request_since_ms, self.timeouts.request)
    }
}

/// A request that is under way. When it is dropped it is answered, or its stream was reset.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.enter(|steps| {
            steps.open += 1;
            steps.asks_since_ms = None;
        });
        UnderWay(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.enter(|steps| {
            steps.open -= 1;
            steps.idle_since_ms = self.0.meter.site().stats.now_ms();
            self.0.meter.add_requests(1);
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let started = Instant::now();
    let _under_way = UnderWay::begin(&shared);
    let http = &*shared.http;
    // Looked up when the connection began.
    let Some(counts) = http.counts[shared.transport].get() else { return Ok(Response::default()) };
    let _in_flight = counts.waiting(1);
    let method = Method::of(request.method().as_str().as_bytes());
    let body = throw_away(request.into_body());
    let complete = match shared.timeouts.request.get() {
        Some(limit) => tokio::time::timeout(limit, body).await.unwrap_or(Err(Refusal::TIMEOUT)),
        None => body.await,
    };
    let response = match complete {
        Err(refusal) => {
            counts.refused(refusal.status);
            Page::refusal(refusal)
        }
        Ok(()) => {
            if let Some(delay) = http.delay {
                tokio::time::sleep(delay).await;
            }
            counts.answered(method);
            match method {
                Method::Get | Method::Head => http.page.response(),
                _ => Page::refusal(NOT_ALLOWED),
            }
        }
    };
    shared.meter.site().ledger.observe_units(1, started.elapsed());
    Ok(page::dated(response))
}

/// Reads a body to its end, at most [`MAX_BODY`] of it.
async fn throw_away(mut body: Incoming) -> Result<(), Refusal> {
    let mut seen = 0_u64;
    while let Some(frame) = body.frame().await {
        // The stream was reset, or is wrong: nobody hears the answer.
        let frame = frame.map_err(|_| Refusal::BAD_CHUNK)?;
        seen += frame.data_ref().map_or(0, |data| data.len() as u64);
        if seen > MAX_BODY {
            return Err(Refusal::BODY_TOO_LARGE);
        }
    }
    Ok(())
}

/// The connection, before whose next bytes others come that have been read already; it looks at its frames.
struct Io<'a> {
    begun: Vec<u8>,
    at: usize,
    conn: &'a mut Conn,
    frames: Frames,
    shared: &'a Shared,
}

impl AsyncRead for Io<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.at < this.begun.len() {
            let n = buf.remaining().min(this.begun.len() - this.at);
            buf.put_slice(&this.begun[this.at..this.at + n]);
            this.at += n;
            if this.at == this.begun.len() {
                (this.begun, this.at) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut *this.conn).poll_read(cx, buf);
        if poll.is_ready() {
            let was_partial = this.frames.is_partial();
            let ended = this.frames.take(&buf.filled()[before..]);
            let is_partial = this.frames.is_partial();
            if is_partial != was_partial || (is_partial && ended) {
                let now = this.shared.meter.site().stats.now_ms();
                this.shared.enter(|steps| steps.partial_since_ms = is_partial.then_some(now));
            }
        }
        poll
    }
}

impl AsyncWrite for Io<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().conn).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().conn).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.conn.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().conn).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().conn).poll_shutdown(cx)
    }
}
