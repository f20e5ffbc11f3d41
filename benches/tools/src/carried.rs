//! What is asked of a proxy besides small messages: a lot of bytes in one direction, and new connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::args::{Args, Failure};
use crate::process::Window;

/// How often the counters are looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Sends for ever at `at`, and reads it at `to` over some connections. The requests of the result are MiB.
pub fn bulk(args: &Args) -> Result<(), Failure> {
    let (at, to): (SocketAddr, SocketAddr) = (args.get("at")?, args.get("to")?);
    let source = TcpListener::bind(at)?;
    thread::spawn(move || {
        for stream in source.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = stream;
                let block = vec![b'x'; 256 * 1024];
                while stream.write_all(&block).is_ok() {}
            });
        }
    });
    let bytes = Arc::new(AtomicU64::new(0));
    for _ in 0..args.or("connections", 4)? {
        let (mut stream, bytes) = (TcpStream::connect(to)?, bytes.clone());
        thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                assert!(buffer[0] == b'x' && buffer[n - 1] == b'x', "what came is not what was sent");
                bytes.fetch_add(n as u64, Relaxed);
            }
        });
    }
    count(args, || bytes.load(Relaxed) >> 20)
}

/// Connects to an echo, has one answer, closes, and again.
pub fn connects(args: &Args) -> Result<(), Failure> {
    let to: SocketAddr = args.get("to")?;
    let done = Arc::new(AtomicU64::new(0));
    let failed = Arc::new(AtomicU64::new(0));
    for _ in 0..args.or("connections", 8)? {
        let (done, failed) = (done.clone(), failed.clone());
        thread::spawn(move || loop {
            match once(to) {
                Ok(()) => done.fetch_add(1, Relaxed),
                Err(_) => failed.fetch_add(1, Relaxed),
            };
        });
    }
    count(args, || done.load(Relaxed))?;
    match failed.load(Relaxed) {
        0 => Ok(()),
        n => Err(format!("{n} connections failed").into()),
    }
}

fn once(to: SocketAddr) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut bytes = [b'x'; 64];
    stream.write_all(&bytes)?;
    Ok(stream.read_exact(&mut bytes)?)
}

/// Looks at a counter until the window is over.
fn count(args: &Args, counter: impl Fn() -> u64) -> Result<(), Failure> {
    let mut window = Window::new(args)?;
    while !window.look(counter())? {
        thread::sleep(LOOK);
    }
    Ok(())
}
