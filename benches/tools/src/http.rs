//! HTTP/1.1, kept alive: a client for the closed loop, and the least that hyper needs to answer it.

use std::convert::Infallible;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::args::{Args, Failure};
use crate::tcp::{self, Client};

const BODY: &[u8] = b"Hello, World\n";

/// What is asked: as little as a request may have, or what a browser sends.
fn request(kind: &str) -> Result<&'static [u8], Failure> {
    match kind {
        "small" => Ok(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "browser" => Ok(b"GET /index.html?from=bench HTTP/1.1\r\nHost: localhost:8080\r\n\
            User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
            Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
            Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
            Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\n\
            Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nPriority: u=0, i\r\n\r\n"),
        _ => Err("request is small or browser".into()),
    }
}

struct Connection {
    stream: TcpStream,
    request: &'static [u8],
    answer: Vec<u8>,
}

impl Client for Connection {
    fn send(&mut self, _: usize) -> Result<(), Failure> {
        self.answer.clear();
        match self.stream.write(self.request)? {
            n if n == self.request.len() => Ok(()),
            n => Err(format!("the kernel took {n} bytes of a request").into()),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool, Failure> {
        let n = tcp::read(&mut self.stream, buffer)?;
        self.answer.extend_from_slice(&buffer[..n]);
        is_whole(&self.answer)
    }
}

/// Whether the answer is there; an error if it is not the right one.
pub fn is_whole(answer: &[u8]) -> Result<bool, Failure> {
    if !answer.ends_with(BODY) {
        return Ok(false);
    }
    if answer.starts_with(b"HTTP/1.1 200 OK\r\n") { Ok(true) } else { Err("an answer is not 200".into()) }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let request = request(&args.or("request", "small".to_owned())?)?;
    tcp::closed_loop(args, |stream| Connection { stream, request, answer: Vec::new() })
}

/// hyper as one writes it first: a task a connection, one service.
pub fn hyper(args: &Args) -> Result<(), Failure> {
    let at: SocketAddr = args.get("at")?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async move { tokio::spawn(serve(at)).await })?
}

async fn serve(at: SocketAddr) -> Result<(), Failure> {
    let listener = TcpListener::bind(at).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY))))
        });
        let http1 = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http1.serve_connection(TokioIo::new(stream), service));
    }
}
