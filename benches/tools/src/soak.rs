//! Clients of every transport that talk until standard input ends, and notice everything that goes wrong: a
//! byte that is missing or different, a connection that is refused or reset, a datagram without an answer.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::args::{Args, Failure};
use crate::udp::stamp;

/// Nothing takes longer than this unless it is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Datagrams that a socket has under way. A Unix socket's queue holds ten (`net.unix.max_dgram_qlen`).
const UDP_WINDOW: usize = 8;
const UNIX_WINDOW: usize = 4;

/// What the clients of one kind came to.
struct Kind {
    name: &'static str,
    rounds: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
}

/// One round of a client by its number, or, with none, the end: what is under way is waited for. Returns the
/// bytes that came back.
type Round = Box<dyn FnMut(Option<u64>) -> Result<usize, Failure> + Send>;

pub fn run(args: &Args) -> Result<(), Failure> {
    let tcp: SocketAddr = args.get("tcp")?;
    let udp: SocketAddr = args.get("udp")?;
    let unix: PathBuf = args.get("unix")?;
    let unixgram: PathBuf = args.get("unixgram")?;
    let folder: PathBuf = args.get("folder")?;
    let ended = Arc::new(AtomicBool::new(false));
    let mut kinds = Vec::new();
    let mut threads = Vec::new();
    let mut add = |name, count: usize, make: &dyn Fn(usize) -> Result<Round, Failure>| {
        let kind = Arc::new(Kind {
            name,
            rounds: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        for id in 0..count {
            let (kind, ended, round) = (kind.clone(), ended.clone(), make(id)?);
            threads.push(thread::spawn(move || client(&kind, id, round, &ended)));
        }
        kinds.push(kind);
        Ok::<_, Failure>(())
    };
    add("tcp_stream", 8, &|id| {
        let stream = TcpStream::connect(tcp)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(pipelined(stream, id))
    })?;
    add("unix_stream", 2, &|id| {
        let stream = UnixStream::connect(&unix)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(pipelined(stream, id))
    })?;
    add("tcp_short", 4, &|id| {
        Ok(Box::new(move |number| number.map_or(Ok(0), |number| short(tcp, id, number))))
    })?;
    add("udp", 2, &|id| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(udp)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let receiver = socket.try_clone()?;
        Ok(windowed(id, UDP_WINDOW, move |b| socket.send(b), move |b| receiver.recv(b)))
    })?;
    add("unixgram", 2, &|id| {
        let own = folder.join(format!("client{id}"));
        let _ = fs::remove_file(&own);
        let socket = UnixDatagram::bind(&own)?;
        socket.connect(&unixgram)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let receiver = socket.try_clone()?;
        Ok(windowed(id, UNIX_WINDOW, move |b| socket.send(b), move |b| receiver.recv(b)))
    })?;

    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    ended.store(true, Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a client panicked")?;
    }
    let mut failures = 0;
    for kind in kinds {
        failures += kind.failures.load(Relaxed);
        println!(
            "{:<12} {:>9} rounds {:>13} bytes {:>3} failures",
            kind.name,
            kind.rounds.load(Relaxed),
            kind.bytes.load(Relaxed),
            kind.failures.load(Relaxed)
        );
    }
    if failures == 0 { Ok(()) } else { Err(format!("{failures} failures").into()) }
}

/// Does rounds until the end. A client that failed stops: what follows a loss means nothing.
fn client(kind: &Kind, id: usize, mut round: Round, ended: &AtomicBool) {
    for number in 0.. {
        let number = (!ended.load(Relaxed)).then_some(number);
        match round(number) {
            Ok(bytes) => {
                kind.rounds.fetch_add(1, Relaxed);
                kind.bytes.fetch_add(bytes as u64, Relaxed);
            }
            Err(error) => {
                kind.failures.fetch_add(1, Relaxed);
                eprintln!("{} {id}, round {number:?}: {error}", kind.name);
                return;
            }
        }
        if number.is_none() {
            return;
        }
        // So that the clients leave the machine some time for the reloads.
        thread::sleep(Duration::from_micros(200));
    }
}

/// Sizes of all kinds, from one byte to 16 KiB.
fn size(id: usize, number: u64) -> usize {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(id as u32 * 7 + 11);
    1 + (mixed % (16 * 1024)) as usize
}

/// Each round writes one piece and reads the one before, so that bytes are always under way.
fn pipelined(mut stream: impl Read + Write + Send + 'static, id: usize) -> Round {
    let mut under_way = None;
    Box::new(move |number| {
        let piece = number.map(|number| {
            let mut piece = vec![0; size(id, number)];
            stamp(&mut piece, id, number);
            piece
        });
        stream.write_all(piece.as_deref().unwrap_or_default())?;
        let Some(expected) = std::mem::replace(&mut under_way, piece) else { return Ok(0) };
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer)?;
        if answer == expected { Ok(answer.len()) } else { Err("a byte is not what was sent".into()) }
    })
}

/// A connection for one question: all of the answer, and then the end.
fn short(to: SocketAddr, id: usize, number: u64) -> Result<usize, Failure> {
    let mut question = vec![0; size(id, number)];
    stamp(&mut question, id, number);
    let mut stream =
        TcpStream::connect_timeout(&to, PATIENCE).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&question).map_err(|error| format!("write: {error}"))?;
    stream.shutdown(Shutdown::Write).map_err(|error| format!("shutdown: {error}"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|error| format!("read: {error}"))?;
    if answer == question { Ok(answer.len()) } else { Err("the answer is not what was sent".into()) }
}

/// Each round sends one datagram, and with a full window takes the answer to the oldest.
fn windowed(
    id: usize,
    window: usize,
    send: impl Fn(&[u8]) -> std::io::Result<usize> + Send + 'static,
    receive: impl Fn(&mut [u8]) -> std::io::Result<usize> + Send + 'static,
) -> Round {
    let mut under_way = VecDeque::new();
    let mut answer = vec![0; 64 * 1024];
    Box::new(move |number| {
        let mut bytes = 0;
        let keep = match number {
            Some(number) => {
                let mut question = vec![0; 16 + size(id, number) % 1_400];
                stamp(&mut question, id, number);
                send(&question).map_err(|error| format!("send: {error}"))?;
                under_way.push_back(question);
                window - 1
            }
            None => 0,
        };
        while under_way.len() > keep {
            let Some(expected) = under_way.pop_front() else { break };
            let n = receive(&mut answer).map_err(|error| format!("no answer: {error}"))?;
            if answer[..n] != expected[..] {
                return Err("an answer is missing or different".into());
            }
            bytes += n;
        }
        Ok(bytes)
    })
}
