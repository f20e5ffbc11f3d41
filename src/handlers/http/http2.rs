//! HTTP/2 on one connection (RFC 9113), by hyper, with every limit set.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, DATE, HeaderValue, SERVER};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::MAX_BODY;
use super::request::{GET, HEAD, METHODS};
use super::{Counts, Http, InFlight, Options, reply};
use crate::config::Timeouts;
use crate::handler::Conn;
use crate::stats::{CloseReason, Ledger};

/// Streams that a client may have open at once (RFC 9113, 5.1.2).
const MAX_STREAMS: u32 = 100;

/// Streams that a client may reset before they were taken up: beyond that it is told to go (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// Resets that we may owe a client's mistakes.
const MAX_LOCAL_RESETS: usize = 100;

/// The longest list of header fields, in bytes, as HTTP/1.1 has it.
const MAX_FIELDS: u32 = 16 * 1024;

/// Windows: request bodies are thrown away, so little is enough.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// Frames, and what waits to be written for a stream.
const MAX_FRAME: u32 = 16 * 1024;
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// How often the clocks of a connection are looked at.
const TICK: Duration = Duration::from_millis(500);

/// What the requests of one connection share.
struct Shared {
    options: Options,
    delay: Option<Duration>,
    body: Bytes,
    timeouts: Timeouts,
    counts: Counts,
    ledger: Arc<Ledger>,
    /// Requests that have begun, and those that are answered.
    begun: AtomicU64,
    answered: AtomicU64,
}

/// Serves a connection of which these bytes have been read already.
pub(super) async fn serve(http: &Http, conn: &mut Conn, counts: &Counts, begun: Vec<u8>) -> io::Result<()> {
    conn.describe("protocol", "h2");
    let draining = conn.draining();
    let timeouts = conn.meter().site().timeouts;
    let shared = Arc::new(Shared {
        options: http.options.clone(),
        delay: http.delay,
        body: if reply::has_body(http.options.status) {
            http.options.body.clone().into()
        } else {
            Bytes::new()
        },
        timeouts,
        counts: counts.clone(),
        ledger: conn.meter().site().ledger.clone(),
        begun: AtomicU64::new(0),
        answered: AtomicU64::new(0),
    });
    let reason = {
        let io = TokioIo::new(Rewound { begun, at: 0, conn: &mut *conn });
        run(io, &shared, draining).await
    };
    match reason {
        Ended::Reason(reason) => {
            conn.ends_because(reason);
            Ok(())
        }
        Ended::Done => Ok(()),
        Ended::Failed(error) => Err(error),
    }
}

enum Ended {
    Done,
    Reason(CloseReason),
    Failed(io::Error),
}

async fn run(io: TokioIo<Rewound<'_>>, shared: &Arc<Shared>, draining: impl Future<Output = ()>) -> Ended {
    let service = service_fn(|request| answer(shared.clone(), request));
    let mut connection = pin!(builder().serve_connection(io, service));
    let mut draining = pin!(draining);
    let mut clocks = Clocks::new(shared);
    let mut drains = false;
    loop {
        tokio::select! {
            result = &mut connection => return ended(result),
            () = &mut draining, if !drains => {
                drains = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(TICK) => if let Some(reason) = clocks.tick(shared) {
                // GOAWAY, and a moment for it to leave.
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(TICK, &mut connection).await;
                return Ended::Reason(reason);
            },
        }
    }
}

fn ended(result: hyper::Result<()>) -> Ended {
    match result {
        Ok(()) => Ended::Done,
        // The client's mistakes have been answered with GOAWAY; only a failing socket is an error of ours.
        Err(error) => match std::error::Error::source(&error).and_then(|s| s.downcast_ref::<io::Error>()) {
            Some(io) => Ended::Failed(io::Error::new(io.kind(), error.to_string())),
            None => Ended::Done,
        },
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
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
        .auto_date_header(false);
    builder
}

/// The clocks that count requests instead of bytes: pings and the pieces of a header that never ends keep no
/// connection open.
struct Clocks {
    since: Instant,
    seen: (u64, u64),
}

impl Clocks {
    fn new(_: &Shared) -> Self {
        Clocks { since: Instant::now(), seen: (0, 0) }
    }

    fn tick(&mut self, shared: &Shared) -> Option<CloseReason> {
        let now = (shared.begun.load(Relaxed), shared.answered.load(Relaxed));
        if now != self.seen {
            (self.seen, self.since) = (now, Instant::now());
        }
        let (begun, answered) = now;
        let (limit, reason) = match begun {
            0 => (shared.timeouts.request, CloseReason::Request),
            // Each request that is under way has a clock of its own.
            _ if begun > answered => return None,
            _ => (shared.timeouts.idle, CloseReason::Idle),
        };
        limit.get().filter(|limit| self.since.elapsed() >= *limit).map(|_| reason)
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let started = Instant::now();
    shared.begun.fetch_add(1, Relaxed);
    // Counts as answered also when the client resets the stream and this future is dropped.
    let _under_way = UnderWay { shared: &shared, _in_flight: InFlight::begin(&shared.counts) };
    let method = request.method().as_str();
    let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
    let body = throw_away(request.into_body());
    let complete = match shared.timeouts.request.get() {
        Some(limit) => tokio::time::timeout(limit, body).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT)),
        None => body.await,
    };
    match complete {
        Err(status) => shared.counts.refused(status.as_u16()),
        Ok(()) => shared.counts.answered(method),
    }
    let response = match complete {
        Err(status) => plain(status),
        Ok(()) if method != GET && method != HEAD => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        Ok(()) => {
            if let Some(delay) = shared.delay {
                tokio::time::sleep(delay).await;
            }
            configured(&shared)
        }
    };
    shared.ledger.observe_units(1, started.elapsed());
    Ok(response)
}

struct UnderWay<'a> {
    shared: &'a Shared,
    _in_flight: InFlight,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.shared.answered.fetch_add(1, Relaxed);
    }
}

/// Reads a body to its end, at most [`MAX_BODY`] of it.
async fn throw_away(mut body: Incoming) -> Result<(), StatusCode> {
    let mut seen = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        seen += frame.data_ref().map_or(0, |data| data.len() as u64);
        if seen > MAX_BODY {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
    Ok(())
}

fn configured(shared: &Shared) -> Response<Full<Bytes>> {
    let Options { status, content_type, headers, .. } = &shared.options;
    let mut response = Response::new(Full::new(shared.body.clone()));
    *response.status_mut() = StatusCode::from_u16(*status).unwrap_or_default();
    let fields = response.headers_mut();
    if reply::has_body(*status)
        && let Ok(value) = HeaderValue::from_str(content_type)
    {
        fields.insert(CONTENT_TYPE, value);
    }
    for (name, value) in headers {
        // The options have been checked; what hyper would not send all the same is left out.
        if let (Ok(name), Ok(value)) =
            (hyper::header::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            fields.append(name, value);
        }
    }
    signed(response)
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let text = format!("{} {}\n", status.as_str(), status.canonical_reason().unwrap_or_default());
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    signed(response)
}

fn signed(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let mut date = Vec::with_capacity(29);
    reply::append_date(&mut date);
    let fields = response.headers_mut();
    fields.insert(SERVER, HeaderValue::from_static("polygate"));
    if let Ok(date) = HeaderValue::from_bytes(&date) {
        fields.insert(DATE, date);
    }
    response
}

/// A connection before whose next bytes others come, which have been read already.
struct Rewound<'a> {
    begun: Vec<u8>,
    at: usize,
    conn: &'a mut Conn,
}

impl AsyncRead for Rewound<'_> {
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
        Pin::new(&mut *this.conn).poll_read(cx, buf)
    }
}

impl AsyncWrite for Rewound<'_> {
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
