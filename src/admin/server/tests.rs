//! The accept loop on real sockets, with routes made for it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::time::Instant;

use axum::routing::{get, post};
use tokio::sync::Notify;

use super::super::Routers;
use super::*;
use crate::admin::body::TomlText;
use crate::config::{Endpoint, SocketOptions, Timeout, UnixMode};
use crate::net::{Inherited, bind};

fn socket(endpoint: &str) -> AdminSocket {
    let options = SocketOptions {
        backlog: 128,
        nodelay: true,
        keepalive: Timeout::OFF,
        receive_buffer: None,
        send_buffer: None,
        unix_mode: UnixMode(0o600),
    };
    let endpoint: Endpoint = endpoint.parse().unwrap();
    let bound = bind(&endpoint, &options, Timeout::OFF, &Inherited::default(), false).unwrap().remove(0);
    AdminSocket { endpoint, url: bound.address.clone(), socket: Arc::new(bound), metrics_only: false }
}

fn address(socket: &AdminSocket) -> SocketAddr {
    socket.socket.inet.unwrap()
}

fn server(routes: Router) -> Server {
    Server {
        routers: Routers { api: routes.clone(), metrics: routes },
        permits: Arc::new(Semaphore::new(2)),
        metrics_permits: Arc::new(Semaphore::new(2)),
        stats: Arc::default(),
        tls: tokio::sync::watch::Sender::new(None).subscribe(),
        deadlines: Deadlines { header: Duration::from_millis(150), stall: Duration::from_millis(150) },
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// How many have been cut off over their handshake, their request, and their reading.
fn cuts(server: &Server) -> [u64; AdminCut::COUNT] {
    std::array::from_fn(|reason| server.stats.control().admin_cuts(AdminCut::ALL[reason]))
}

/// Runs what blocks beside the server.
async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(f).await.unwrap()
}

/// Sends and reads until the other side closes.
fn until_closed(mut stream: impl std::io::Read + std::io::Write, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_and_closed_when_it_idles() {
    let (server, socket) = (server(hello()), socket("tcp://127.0.0.1:0"));
    let mut serving = Vec::new();
    server.reconcile(&mut serving, std::slice::from_ref(&socket));
    let at = address(&socket);
    let text = blocking(move || until_closed(connect(at), &[GET, GET].concat())).await;
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert_eq!(text.matches("hello").count(), 2);
    assert_eq!(cuts(&server), [0, 0, 0], "whoever has its answers is not cut off");
}

#[tokio::test]
async fn who_says_nothing_or_half_a_request_is_cut_off_and_others_are_served() {
    let (server, socket) = (server(hello()), socket("tcp://127.0.0.1:0"));
    let mut serving = Vec::new();
    server.reconcile(&mut serving, std::slice::from_ref(&socket));
    let at = address(&socket);
    // Both permits are taken, so the third waits until one of these is cut off.
    let text = blocking(move || {
        let (silent, half) = (connect(at), connect(at));
        (&half).write_all(b"GET / HT").unwrap();
        let text = until_closed(connect(at), GET);
        assert_eq!(until_closed(silent, b""), "");
        drop(half);
        text
    })
    .await;
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    eventually(|| cuts(&server) == [0, 2, 0]).await;
}

#[tokio::test]
async fn who_leaves_half_a_request_after_an_answer_is_cut_off() {
    let (server, socket) = (server(hello()), socket("tcp://127.0.0.1:0"));
    let mut serving = Vec::new();
    server.reconcile(&mut serving, std::slice::from_ref(&socket));
    let at = address(&socket);
    blocking(move || {
        let mut stream = connect(at);
        stream.write_all(GET).unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        assert!(until_closed(stream, b"GET / HT").ends_with("hello"));
    })
    .await;
    eventually(|| cuts(&server) == [0, 1, 0]).await;
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    const SIZE: usize = 32 << 20;
    let routes = Router::new().route("/", get(|| async { vec![b'x'; SIZE] }));
    let (server, socket) = (server(routes), socket("tcp://127.0.0.1:0"));
    let mut serving = Vec::new();
    server.reconcile(&mut serving, std::slice::from_ref(&socket));
    let at = address(&socket);
    let mut stalled = connect(at);
    stalled.write_all(GET).unwrap();
    // The loop holds one of the two permits while it waits for a connection.
    eventually(|| server.permits.available_permits() == 0).await;
    eventually(|| server.permits.available_permits() == 1).await;
    let mut rest = Vec::new();
    let _ = stalled.read_to_end(&mut rest);
    assert!(rest.len() < SIZE);
    assert_eq!(cuts(&server), [0, 0, 1]);
}

#[tokio::test]
async fn who_sends_too_much_gets_to_read_so() {
    let routes = Router::new().route("/", post(|TomlText(text): TomlText| async { text }));
    let (server, socket) = (server(routes), socket("tcp://127.0.0.1:0"));
    let mut serving = Vec::new();
    server.reconcile(&mut serving, std::slice::from_ref(&socket));
    let at = address(&socket);
    for head in ["Content-Length: 8000000", "Transfer-Encoding: chunked"] {
        let text = blocking(move || {
            let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n7a1200\r\n");
            until_closed(connect(at), &[head.as_bytes(), &vec![b'#'; 7_999_992]].concat())
        });
        let text = text.await;
        assert!(text.starts_with("HTTP/1.1 413 Payload Too Large"), "{text}");
    }
}

#[tokio::test]
async fn a_socket_that_left_is_closed_and_its_requests_are_answered() {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (asked2, go2) = (asked.clone(), go.clone());
    let routes = Router::new().route(
        "/",
        get(move || async move {
            asked2.notify_one();
            go2.notified().await;
            "done"
        }),
    );
    let server = server(routes);
    let (old, new) = (socket("tcp://127.0.0.1:0"), socket("tcp://127.0.0.1:0"));
    let (old_at, new_at) = (address(&old), address(&new));
    let mut serving = Vec::new();
    server.reconcile(&mut serving, std::slice::from_ref(&old));
    let answer = tokio::spawn(blocking(move || until_closed(connect(old_at), GET)));
    asked.notified().await;
    server.reconcile(&mut serving, std::slice::from_ref(&new));
    drop(old);
    // The old port closes while a request is still being answered.
    eventually(|| TcpStream::connect(old_at).is_err()).await;
    go.notify_one();
    let text = answer.await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("done"), "{text}");
    go.notify_one();
    let text = blocking(move || until_closed(connect(new_at), GET)).await;
    assert!(text.ends_with("done"), "{text}");
}

#[tokio::test]
async fn a_unix_socket_goes_with_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let server = server(hello());
    let mut serving = Vec::new();
    server.reconcile(&mut serving, &[socket(&format!("unix://{}", path.display()))]);
    let there = path.clone();
    let text = blocking(move || until_closed(StdUnixStream::connect(there).unwrap(), GET)).await;
    assert!(text.contains("hello"), "{text}");
    server.reconcile(&mut serving, &[]);
    eventually(|| !Path::exists(&path)).await;
}

#[tokio::test]
async fn at_the_end_idle_connections_close_at_once() {
    let mut server = server(hello());
    server.deadlines.header = Duration::from_secs(60);
    let socket = socket("tcp://127.0.0.1:0");
    let mut serving = Vec::new();
    server.reconcile(&mut serving, std::slice::from_ref(&socket));
    let at = address(&socket);
    let idle = blocking(move || {
        let mut stream = connect(at);
        stream.write_all(GET).unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"hello") {
            let mut part = [0; 1000];
            let length = stream.read(&mut part).unwrap();
            text.extend_from_slice(&part[..length]);
        }
        stream
    })
    .await;
    server.shutdown.cancel();
    assert_eq!(blocking(move || until_closed(idle, b"")).await, "");
    server.tasks.close();
    tokio::time::timeout(Duration::from_secs(10), server.tasks.wait()).await.expect("all tasks end");
}
