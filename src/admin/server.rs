//! The API's own accept loop: every step of a connection has a deadline and every number a limit, so that
//! clients who stay silent, drip or do not read cannot lock others out.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::Routers;
use super::extract::{Client, Scheme};
use super::timed::Timed;
use crate::net::tls::Acceptor;
use crate::net::{AdminSocket, Backoff, Bound, Socket, Stream, classify};
use crate::stats::{AcceptError, AdminCut, Peer, Stats};
use crate::supervisor::Supervisor;

/// Connections at once, over all sockets of the API. The next waits in the kernel's backlog.
const MAX_CONNECTIONS: usize = 96;

/// The same for `metrics_bind`, where anybody may come: who floods it does not shut the API.
const MAX_METRICS_CONNECTIONS: usize = 16;

/// How long clients may take.
#[derive(Clone, Copy)]
struct Deadlines {
    /// From the accept, or the last answer, to the end of a request's head: hyper's clock starts when it
    /// waits for a request, so this is the limit of silent and of idle connections too.
    header: Duration,
    /// With taking nothing of what is sent to them.
    stall: Duration,
}

const DEADLINES: Deadlines = Deadlines { header: Duration::from_secs(10), stall: Duration::from_secs(30) };

/// How long requests may go on after the end was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// Memory for what a connection has sent and was not read yet; heads of requests must fit.
const BUFFER_BYTES: usize = 64 * 1024;

/// Serves the admin API on the supervisor's admin sockets, following each change of them, until
/// `shutdown` is cancelled. What is being answered then is finished, within five seconds.
pub async fn serve(supervisor: Supervisor, shutdown: CancellationToken) {
    let mut sockets = supervisor.admin_sockets();
    let tls = supervisor.admin_tls();
    let server = Server {
        routers: super::routers(supervisor.clone()),
        permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        metrics_permits: Arc::new(Semaphore::new(MAX_METRICS_CONNECTIONS)),
        deadlines: DEADLINES,
        tls,
        stats: supervisor.stats().clone(),
        tasks: TaskTracker::new(),
        shutdown: shutdown.clone(),
    };
    let mut serving = Vec::new();
    while !shutdown.is_cancelled() {
        server.reconcile(&mut serving, &sockets.borrow_and_update());
        tokio::select! {
            changed = sockets.changed() => if changed.is_err() {
                shutdown.cancelled().await;
            },
            () = shutdown.cancelled() => {}
        }
    }
    drop(serving);
    server.tasks.close();
    if tokio::time::timeout(GRACE, server.tasks.wait()).await.is_err() {
        tracing::warn!(left = server.tasks.len(), "admin requests were cut off");
    }
}

/// A socket that is served, until the token is cancelled.
struct Serving {
    socket: Arc<Bound>,
    stop: CancellationToken,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What all sockets share.
#[derive(Clone)]
struct Server {
    routers: Routers,
    permits: Arc<Semaphore>,
    metrics_permits: Arc<Semaphore>,
    deadlines: Deadlines,
    /// What TLS is begun with; none where the API has none.
    tls: tokio::sync::watch::Receiver<Option<Acceptor>>,
    stats: Arc<Stats>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    /// Starts to serve what is new and stops what left. A socket that is in both is not touched.
    fn reconcile(&self, serving: &mut Vec<Serving>, wanted: &[AdminSocket]) {
        serving.retain(|old| wanted.iter().any(|new| Arc::ptr_eq(&old.socket, &new.socket)));
        for new in wanted {
            if serving.iter().any(|old| Arc::ptr_eq(&old.socket, &new.socket)) {
                continue;
            }
            let stop = self.shutdown.child_token();
            serving.push(Serving { socket: new.socket.clone(), stop: stop.clone() });
            let (server, socket, metrics_only) = (self.clone(), new.socket.clone(), new.metrics_only);
            self.tasks.spawn(async move {
                let url = socket.address.clone();
                if let Err(error) = server.accept_loop(socket, metrics_only, stop).await {
                    tracing::error!(%error, address = url, "the admin API is not served");
                }
            });
        }
    }

    /// Accepts until told to stop. The error is one of registering; those of accept never end the loop.
    async fn accept_loop(
        &self,
        socket: Arc<Bound>,
        metrics_only: bool,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let (routes, permits) = match metrics_only {
            true => (&self.routers.metrics, &self.metrics_permits),
            false => (&self.routers.api, &self.permits),
        };
        let socket = Listening::new(socket)?;
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                accepted = accept(permits, &socket) => accepted,
                () = stop.cancelled() => return Ok(()),
            };
            match accepted {
                Ok((permit, stream, peer)) => {
                    backoff.reset();
                    let (server, routes, stop) = (self.clone(), routes.clone(), stop.clone());
                    self.tasks.spawn(async move {
                        if let Some((stream, scheme)) = server.secured(stream, metrics_only, &stop).await {
                            server.conn(routes, (stream, scheme), peer, stop).await;
                        }
                        drop(permit);
                    });
                }
                // The peer has gone before we came: nothing to wait for.
                Err(error) if classify(&error) == AcceptError::Econnaborted => {}
                Err(error) => {
                    if backoff.may_log() {
                        tracing::warn!(%error, "the admin API cannot accept connections");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_pause()) => {}
                        () = stop.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    /// Begins TLS where the API has it: on TCP, and not where metrics alone are served. None: it failed.
    async fn secured(
        &self,
        stream: Stream,
        metrics_only: bool,
        stop: &CancellationToken,
    ) -> Option<(Stream, Scheme)> {
        let acceptor = self.tls.borrow().clone();
        let acceptor = acceptor.filter(|_| !metrics_only && matches!(stream, Stream::Tcp(_)));
        let Some(acceptor) = acceptor else { return Some((stream, Scheme("http"))) };
        let shake = tokio::time::timeout(self.deadlines.header, acceptor.accept(stream));
        let secured = tokio::select! {
            shaken = shake => shaken,
            () = stop.cancelled() => return None,
        };
        match secured {
            Ok(Ok(stream)) => return Some((Stream::Tls(Box::new(stream)), Scheme("https"))),
            Ok(Err((error, _))) => tracing::debug!(%error, "an admin connection has no TLS"),
            Err(_) => tracing::debug!("an admin connection dawdles over its handshake"),
        }
        self.stats.control().admin_cut(AdminCut::Handshake);
        None
    }

    /// Serves one connection until it ends or `stop` is cancelled; then until what it asks for is answered.
    async fn conn(
        &self,
        routes: Router,
        (stream, scheme): (Stream, Scheme),
        peer: Peer,
        stop: CancellationToken,
    ) {
        let client = Client(Arc::new(peer));
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(client.clone());
            request.extensions_mut().insert(scheme);
            let routes = routes.clone();
            async move {
                Ok::<_, Infallible>(routes.oneshot(request).await.unwrap_or_else(|never| match never {}))
            }
        });
        let timed = Timed::new(stream, self.deadlines.stall, stop.clone());
        let owing = timed.owing();
        let io = TokioIo::new(timed);
        let mut conn = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.deadlines.header)
                .max_buf_size(BUFFER_BYTES)
                .serve_connection(io, service)
                .with_upgrades()
        );
        let ended = tokio::select! {
            ended = conn.as_mut() => ended,
            () = stop.cancelled() => {
                conn.as_mut().graceful_shutdown();
                conn.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, peer = %client, "admin connection ended");
            match why_cut(&error) {
                // Nobody is cut off who has had its answers and asks for nothing more.
                Some(AdminCut::Request) if !owing.load(Relaxed) => {}
                Some(cut) => self.stats.control().admin_cut(cut),
                None => {}
            }
        }
    }
}

/// Which deadline ended a connection, if one did.
fn why_cut(error: &hyper::Error) -> Option<AdminCut> {
    if error.is_timeout() {
        return Some(AdminCut::Request);
    }
    let cause = error.source()?.downcast_ref::<io::Error>()?;
    (cause.kind() == io::ErrorKind::TimedOut).then_some(AdminCut::Stall)
}

/// The permit comes first: what cannot be served yet stays in the backlog.
async fn accept(
    permits: &Arc<Semaphore>,
    socket: &Listening,
) -> io::Result<(OwnedSemaphorePermit, Stream, Peer)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    Ok((permit, stream, peer))
}

/// A listening socket, registered with this thread's runtime. It is a copy, because the supervisor keeps the
/// socket; the original is held as well, so that it closes (and a Unix node goes) after the copy.
struct Listening {
    copy: Copied,
    _socket: Arc<Bound>,
}

enum Copied {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    fn new(socket: Arc<Bound>) -> io::Result<Self> {
        let copy = match &socket.socket {
            Socket::Tcp(listener) => Copied::Tcp(TcpListener::from_std(listener.try_clone()?)?),
            Socket::Unix(listener, _) => Copied::Unix(UnixListener::from_std(listener.try_clone()?)?),
            Socket::Udp(_) | Socket::Unixgram(..) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Listening { copy, _socket: socket })
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.copy {
            Copied::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Only time is lost where this fails.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::Inet(peer)))
            }
            Copied::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = Stream::unix_peer(&stream);
                Ok((Stream::Unix(stream), peer))
            }
        }
    }
}

#[cfg(test)]
mod tests;
