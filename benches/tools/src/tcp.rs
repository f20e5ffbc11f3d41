//! The closed loop over TCP: each connection has one request under way, and the next one leaves when the
//! answer has come back whole and right. One thread, one epoll.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::args::{Args, Failure};
use crate::process::Window;

/// One connection, which asks and looks at the answers.
pub trait Client {
    /// Sends the next request.
    fn send(&mut self, id: usize) -> Result<(), Failure>;
    /// Takes what came; true if it completes the answer.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool, Failure>;
}

/// Asks an echo.
struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answered: usize,
    number: u64,
}

impl Client for Connection {
    /// Every request differs from every other, so that an answer to the wrong one is noticed.
    fn send(&mut self, id: usize) -> Result<(), Failure> {
        self.number += 1;
        let words = [self.number, id as u64];
        for (i, byte) in self.request.iter_mut().enumerate() {
            *byte = words[(i / 8) % 2].to_le_bytes()[i % 8] ^ i as u8;
        }
        self.answered = 0;
        match self.stream.write(&self.request)? {
            n if n == self.request.len() => Ok(()),
            n => Err(format!("the kernel took {n} bytes of a request").into()),
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool, Failure> {
        let n = read(&mut self.stream, buffer)?;
        if self.request.get(self.answered..self.answered + n) != Some(&buffer[..n]) {
            return Err("an answer is not what was sent".into());
        }
        self.answered += n;
        Ok(n > 0 && self.answered == self.request.len())
    }
}

/// What has come; 0 is nothing.
pub fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize, Failure> {
    match stream.read(buffer) {
        Ok(0) => Err("the server closed a connection".into()),
        Ok(n) => Ok(n),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error.into()),
    }
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let size = args.or("size", 64)?;
    closed_loop(args, |stream| Connection { stream, request: vec![0; size], answered: 0, number: 0 })
}

pub fn closed_loop<C: Client>(args: &Args, client: impl Fn(TcpStream) -> C) -> Result<(), Failure> {
    let to: SocketAddr = args.get("to")?;
    let count: usize = args.or("connections", 64)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(count);
    for id in 0..count {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, &stream, EventData::new_u64(id as u64), EventFlags::IN)?;
        connections.push(client(stream));
    }
    for (id, connection) in connections.iter_mut().enumerate() {
        connection.send(id)?;
    }
    let mut window = Window::new(args)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Vec::with_capacity(count);
    let mut requests = 0;
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let id = event.data.u64() as usize;
            if connections[id].receive(&mut buffer)? {
                requests += 1;
                connections[id].send(id)?;
            }
        }
        if window.look(requests)? {
            return Ok(());
        }
    }
}
